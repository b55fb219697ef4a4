"""The twin of the compiled counting: n-grams numbered exactly, order by order, all lines at once.

An n-gram's number stands for its segment, the number of its first n - 1 symbols and its last one,
so equal numbers are equal n-grams of one segment.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Symbols = NDArray[np.uint32]

_PUNCTUATION = frozenset(string.punctuation)
_CHARACTER_ORDER, _WORD_ORDER, _TOKEN_ORDER = 6, 2, 4


def count_chrf(
    references: Sequence[str], hypotheses: Sequence[Sequence[str]]
) -> tuple[Int32, Int32]:
    """Return what `eval.metrics.counts.count_chrf` does."""
    own_characters = _characters(references)
    numbers: dict[str, int] = {}
    own_words = _number(map(chrf_words, references), numbers)
    rows = []
    for lines in hypotheses:
        characters = _characters(lines)
        words = _number(map(chrf_words, lines), numbers)
        rows.append(
            np.column_stack(
                [
                    np.diff(characters[1]),
                    _matches(*own_characters, *characters, _CHARACTER_ORDER),
                    np.diff(words[1]),
                    _matches(*own_words, *words, _WORD_ORDER),
                ]
            )
        )
    lengths = np.column_stack([np.diff(own_characters[1]), np.diff(own_words[1])])
    columns = 2 + _CHARACTER_ORDER + _WORD_ORDER
    return stack(rows, len(references), columns), lengths.astype(np.int32)


def count_bleu(
    references: Sequence[str], hypotheses: Sequence[Sequence[str]]
) -> tuple[Int32, Int32]:
    """Return what `eval.metrics.counts.count_bleu` does."""
    numbers: dict[str, int] = {}
    own = _number((line.split() for line in references), numbers)
    rows = [
        count_ids(*own, *_number((line.split() for line in lines), numbers)) for lines in hypotheses
    ]
    lengths = np.diff(own[1]).astype(np.int32)[:, None]
    return stack(rows, len(references), 1 + _TOKEN_ORDER), lengths


def count_ids(
    reference_ids: Symbols, reference_offsets: Int64, ids: Symbols, offsets: Int64
) -> Int64:
    """Return tokens and matched 1- to 4-grams of each line, [N, 5]."""
    matches = _matches(reference_ids, reference_offsets, ids, offsets, _TOKEN_ORDER)
    return np.column_stack([np.diff(offsets), matches])


def stack(rows: Sequence[Int64], lines: int, columns: int) -> Int32:
    """Return the counts of all systems, [H, N, columns]."""
    if not rows:
        return np.zeros((0, lines, columns), np.int32)
    return np.stack(rows).astype(np.int32)


def chrf_words(line: str) -> list[str]:
    """Split as chrF++ does: one punctuation mark goes off a word's end, or else off its front."""
    words = []
    for word in line.split():
        if len(word) == 1:
            words.append(word)
        elif word[-1] in _PUNCTUATION:
            words += [word[:-1], word[-1]]
        elif word[0] in _PUNCTUATION:
            words += [word[0], word[1:]]
        else:
            words.append(word)
    return words


def _characters(lines: Sequence[str]) -> tuple[Symbols, Int64]:
    parts = ["".join(line.split()) for line in lines]
    data = "".join(parts).encode("utf-32-le", "surrogatepass")
    return np.frombuffer(data, np.uint32), _offsets(map(len, parts), len(parts))


def _number(lines: Iterable[Sequence[str]], numbers: dict[str, int]) -> tuple[Symbols, Int64]:
    tokens = list(lines)
    flat = chain.from_iterable(tokens)
    offsets = _offsets(map(len, tokens), len(tokens))
    ids = (numbers.setdefault(token, len(numbers)) for token in flat)
    return np.fromiter(ids, np.uint32, int(offsets[-1])), offsets


def _offsets(lengths: Iterable[int], lines: int) -> Int64:
    offsets = np.zeros(lines + 1, np.int64)
    np.cumsum(np.fromiter(lengths, np.int64, lines), out=offsets[1:])
    return offsets


def _matches(
    reference: Symbols, reference_offsets: Int64, own: Symbols, own_offsets: Int64, order: int
) -> Int64:
    """Return the clipped matches of 1- to `order`-grams of each line, [N, order]."""
    lines = len(own_offsets) - 1
    lengths = np.concatenate([np.diff(reference_offsets), np.diff(own_offsets)])
    symbols = np.concatenate([reference, own]).astype(np.int64)
    segment = np.repeat(np.tile(np.arange(lines), 2), lengths)
    ends = np.repeat(np.cumsum(lengths), lengths)
    is_own = np.arange(len(symbols)) >= len(reference)
    matches = np.zeros((lines, order), np.int64)
    if not len(symbols):
        return matches
    _, symbols = np.unique(symbols, return_inverse=True)
    span = int(symbols.max()) + 1
    at = np.arange(len(symbols))
    prefix = segment
    for n in range(1, order + 1):
        at = at[at + n <= ends[at]]
        if not len(at):
            break
        _, number = np.unique(prefix[at] * span + symbols[at + n - 1], return_inverse=True)
        kinds = int(number.max()) + 1
        own_counts = np.bincount(number[is_own[at]], minlength=kinds)
        reference_counts = np.bincount(number[~is_own[at]], minlength=kinds)
        owner = np.zeros(kinds, np.int64)
        owner[number] = segment[at]
        both = np.minimum(own_counts, reference_counts)
        matches[:, n - 1] = np.bincount(owner, weights=both, minlength=lines)
        prefix = np.zeros(len(symbols), np.int64)
        prefix[at] = number
    return matches
