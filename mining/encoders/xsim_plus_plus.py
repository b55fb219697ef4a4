"""English sentences with small changes that alter their meaning, for xsim++.

Three kinds, after Chen et al. 2023 (section 3): numbers, entities, and what they call causality
(negations and antonyms). Theirs come from parsers and taggers, these are rules: figures of xsim++
compare with each other, not with published ones.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

ENGLISH = "eng_Latn"
"""The language that the rules are for."""

_PER_KIND = {"number": 4, "entity": 8, "causality": 4}
"""Maximum altered sentences of each kind; most of Chen et al.'s have other entities."""

_DIGITS = re.compile(r"\d+")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NUMBER_WORDS = (
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "fifteen",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "hundred",
    "thousand",
    "million",
    "billion",
)
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SETS = (_NUMBER_WORDS, _MONTHS, _DAYS)
_ENTITY = re.compile(r"(?<=[a-z,;:] )(?!I\b)[A-Z][\w'’-]+(?: (?:of |the |de |von )*[A-Z][\w'’-]+)*")
_NEGATABLE = re.compile(
    r"\b(is|are|was|were|can|could|will|would|should|must|has|have|had|do|does|did)\b(?! not\b|n't)"
)
_NEGATION = re.compile(r"\b(cannot|not|never|no longer)\b ?")
_ANTONYMS = (
    ("more", "less"),
    ("increase", "decrease"),
    ("increased", "decreased"),
    ("before", "after"),
    ("first", "last"),
    ("high", "low"),
    ("higher", "lower"),
    ("large", "small"),
    ("larger", "smaller"),
    ("early", "late"),
    ("earlier", "later"),
    ("old", "new"),
    ("good", "bad"),
    ("better", "worse"),
    ("best", "worst"),
    ("most", "fewest"),
    ("all", "few"),
    ("many", "few"),
    ("always", "never"),
    ("often", "rarely"),
    ("with", "without"),
    ("inside", "outside"),
    ("above", "below"),
    ("over", "under"),
    ("north", "south"),
    ("east", "west"),
    ("northern", "southern"),
    ("eastern", "western"),
    ("hot", "cold"),
    ("warm", "cool"),
    ("long", "short"),
    ("strong", "weak"),
    ("easy", "difficult"),
    ("possible", "impossible"),
    ("likely", "unlikely"),
    ("won", "lost"),
    ("win", "lose"),
    ("begin", "end"),
    ("began", "ended"),
    ("open", "closed"),
    ("rich", "poor"),
    ("safe", "unsafe"),
    ("rise", "fall"),
    ("rose", "fell"),
    ("up", "down"),
    ("left", "right"),
    ("men", "women"),
    ("day", "night"),
    ("morning", "evening"),
    ("because of", "despite"),
    ("since", "until"),
    ("agreed", "refused"),
    ("accepted", "rejected"),
    ("alive", "dead"),
    ("public", "private"),
)
_OPPOSITES = {
    word: other for pair in _ANTONYMS for word, other in (pair, pair[::-1]) if word != other
}
_OPPOSITE = re.compile(rf"\b({'|'.join(sorted(_OPPOSITES, key=len, reverse=True))})\b")


class Altered(NamedTuple):
    """An altered sentence."""

    text: str
    row: int
    """Of the sentence it was made from."""

    kind: str
    """`number`, `entity` or `causality`."""


def alter_sentences(sentences: Sequence[str]) -> list[Altered]:
    """Return altered sentences in the order of their originals, each text once, none an original.

    The same sentences give the same ones every time.
    """
    entities = sorted({found for text in sentences for found in _ENTITY.findall(text)})
    seen = set(sentences)
    altered = []
    for row, text in enumerate(sentences):
        rng = np.random.default_rng((1, row))
        for kind, made in (
            ("number", _alter_numbers(text, rng)),
            ("entity", _alter_entities(text, entities, rng)),
            ("causality", _alter_causality(text)),
        ):
            count = 0
            for other in made:
                if count == _PER_KIND[kind]:
                    break
                if other not in seen:
                    seen.add(other)
                    altered.append(Altered(other, row, kind))
                    count += 1
    return altered


def _alter_numbers(text: str, rng: np.random.Generator) -> Iterator[str]:
    """Yield the text with one number changed: digits of the same count, or a word of its kind."""
    for words in _SETS:
        for match in re.finditer(rf"\b({'|'.join(words)})\b", text):
            yield _replace(text, match, words[(words.index(match[0]) + 3) % len(words)])
    found = list(_NUMBER.finditer(text))
    for _ in range(_PER_KIND["number"] if found else 0):
        for match in found:
            yield _replace(text, match, _DIGITS.sub(lambda run: _other(run[0], rng), match[0]))


def _other(digits: str, rng: np.random.Generator) -> str:
    low = 10 ** (len(digits) - 1) if len(digits) > 1 and digits[0] != "0" else 0
    # Digits beyond those of a 64-bit number stay as they are.
    head, tail = digits[:15], digits[15:]
    made = int(rng.integers(min(low, 10**14), 10 ** len(head)))
    return str(made).zfill(len(head)) + tail


def _alter_entities(text: str, entities: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    """Yield the text with one name exchanged for one of another sentence."""
    found = list(_ENTITY.finditer(text))
    for _ in range(_PER_KIND["entity"] if found else 0):
        for match in found:
            yield _replace(text, match, entities[int(rng.integers(len(entities)))])


def _alter_causality(text: str) -> Iterator[str]:
    """Yield the text with a negation more or less, or a word turned into its opposite."""
    for match in _NEGATION.finditer(text):
        yield _replace(text, match, "can " if match[1] == "cannot" else "").replace("  ", " ")
    for match in _OPPOSITE.finditer(text):
        yield _replace(text, match, _OPPOSITES[match[1]])
    for match in _NEGATABLE.finditer(text):
        negated = "cannot" if match[1] == "can" else f"{match[1]} not"
        yield _replace(text, match, negated)


def _replace(text: str, match: re.Match[str], replacement: str) -> str:
    return text[: match.start()] + replacement + text[match.end() :]
