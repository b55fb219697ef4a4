"""Splits inputs into sentences, and those that are too long for a model into parts."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import regex

from corpus.languages import Language
from corpus.split import iterate_sentences

Encode = Callable[[str], list[int]]

# Where a sentence is best cut, best first: after a clause, between words, between characters.
_CLAUSES = regex.compile(r"[\p{Pd},;:،؛、，；：·།]\s+|[、，；：།]|\s+(?=[(\[«“])")
_SPACES = regex.compile(r"\s+")
_CLUSTERS = regex.compile(r"\X")
_WORDS = regex.compile(r"[\p{L}\p{N}]")
_CLOSED_UP = frozenset({"Hans", "Hant", "Jpan"})
"""Scripts without a space between sentences; Thai, Lao, Khmer and Burmese put one there."""

_CHARACTERS_PER_TOKEN = 4
"""First guess at how much text fits; the search starts from it."""

_CLUSTER = 32
"""Longer than a letter and its marks in any meaningful text."""


class Segments(NamedTuple):
    """A line as the parts that are translated separately."""

    texts: list[str]
    encoded: list[list[int]]
    """Tokens of each text."""

    num_broken: int
    """Sentences that were too long."""


def whole_sentences(line: str) -> list[str]:
    """Return the sentences of a line; what has no letter or digit stays with the one before it.

    Joined, they are the line.
    """
    sentences: list[str] = []
    begin = ""
    for part in iterate_sentences(line):
        if _WORDS.search(part):
            sentences.append(begin + part)
            begin = ""
        elif sentences:
            sentences[-1] += part
        else:
            begin += part
    if begin:
        sentences.append(begin)
    return sentences


def split_line(line: str, encode: Encode, limit: int) -> Segments:
    """Return the sentences of a line, those with more than `limit` tokens in parts.

    Nothing is left out: the parts joined are the line, but for white space.
    """
    texts: list[str] = []
    encoded: list[list[int]] = []
    num_broken = 0
    for sentence in whole_sentences(line):
        pieces = encode(sentence)
        if len(pieces) <= limit:
            texts.append(sentence)
            encoded.append(pieces)
            continue
        num_broken += 1
        parts = list(break_sentence(sentence, encode, limit))
        texts += parts
        encoded += map(encode, parts)
    kept = [i for i, pieces in enumerate(encoded) if pieces]
    return Segments([texts[i] for i in kept], [encoded[i] for i in kept], num_broken)


def break_sentence(sentence: str, encode: Encode, limit: int) -> Iterator[str]:
    """Yield parts of at most `limit` tokens, cut at punctuation, spaces, or between characters."""
    start = 0
    while start < len(sentence):
        fitting = _fitting_end(sentence, start, encode, limit)
        end = fitting if fitting == len(sentence) else _cut(sentence, start, fitting)
        yield sentence[start:end]
        start = end


def _fitting_end(text: str, start: int, encode: Encode, limit: int) -> int:
    """Return up to where a text has at most `limit` tokens from a place on; a character at least.

    By bisection, with windows that do not grow with the text: a line may be a whole book.
    """
    fits, above = start + 1, start + limit * _CHARACTERS_PER_TOKEN
    while above < len(text) and len(encode(text[start:above])) <= limit:
        fits, above = above, start + 2 * (above - start)
    if above >= len(text):
        above = len(text) + 1
    while above - fits > 1:
        middle = (fits + above) // 2
        if len(encode(text[start:middle])) <= limit:
            fits = middle
        else:
            above = middle
    return fits


def _cut(text: str, start: int, fitting: int) -> int:
    """Return the best place to cut at or before `fitting`, in the second half of what fits."""
    for place in (_CLAUSES, _SPACES, _CLUSTERS):
        half = (start + fitting) // 2
        begin = half if place is not _CLUSTERS else max(start, fitting - _CLUSTER)
        # Looked at a little beyond, lest a letter be cut from its marks.
        ends = [match.end() for match in place.finditer(text, begin, fitting + _CLUSTER)]
        inside = [end for end in ends if start < end <= fitting]
        if inside:
            return int(inside[-1])
    return fitting


def join_translations(parts: list[str], target: str) -> str:
    """Join the translations of a line's parts, as the target's script puts sentences together."""
    between = "" if Language(target, "").script in _CLOSED_UP else " "
    return between.join(part for part in parts if part)
