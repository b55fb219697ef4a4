"""Familiarity: how much of a line's 5-grams and words a language's training text holds.

0 is a typical line of the language, -1 one standard deviation below; `thresholds.tsv` holds the
least that an answer needs (`min_familiarity`, -0.7).

A classifier must choose among the languages it knows, and is often sure of the nearest one when a
line is in none of them. The share of the line's character 5-grams and words that occur in the
chosen language's own training text tells the two apart: it is much lower for another language,
however near. What share is typical differs between languages (little text, long words), so it is
measured on each language's training lines with the line itself left out, and a line is judged by
its distance from that in standard deviations.

The sets are bitmaps of 2^bits bits a class, addressed by a hash: one in five to fifteen lookups of
an unknown n-gram says "known", for every language alike.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpus.errors import DataError
from corpus.files import read_lines, write_lines
from lid.engine.kernel import (
    CHARACTERS,
    COUNTS,
    FOREIGN,
    GRAMS,
    KNOWN_GRAMS,
    KNOWN_WORDS,
    OTHERS_GRAMS,
    OTHERS_WORDS,
    SECOND,
    WORDS,
)

GRAM = 5
"""Length of the n-grams (measured: 5-grams and words reject most, 3- to 6-grams tried)."""

CONFIDENCE_WEIGHT = 0.2
"""What a unit of log-odds of the class counts against a standard deviation of familiarity."""

OTHER_WEIGHT = 0.2
"""What a standard deviation of familiarity to the second best class counts against a line: one
that two languages know equally well is often in a third, their neighbor."""

DOUBTFUL = 0.0
"""Familiarity to the best class below which the second best begins to count; it counts whole one
standard deviation further down. Only lines so little familiar pay for a second lookup."""

MOST_FOREIGN = 0.3
"""Share of characters in scripts of other languages above which a line is strange to its class:
Japanese to Chinese, where Japanese is not known."""

_LOWEST, _HIGHEST = -6.0, 4.0
_FOREIGN = -12.0
_PRIOR_LINES = 20
_LEAST_SPREAD = 0.05
"""Spread of shares below which training text is too uniform to judge other text by."""

_SEPARATOR = ord("|")
_SPACE = ord(" ")
_MULTIPLY, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_WORD_SEED = np.uint64(0xA24BAED4963EE407)
_BLOCK_LINES = 2_000
_HEADER = "language\tgrams_mean\tgrams_sd\twords_mean\twords_sd\tcharacters"

Bits = NDArray[np.int64]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class TypicalLine:
    """What is typical for a class's own lines: shares known, and their spread."""

    grams_mean: float
    grams_sd: float
    words_mean: float
    words_sd: float
    characters: float
    """Mean length of a line; the spread of a shorter one is wider."""


NO_PROFILE = TypicalLine(0.0, 1.0, 0.0, 1.0, 1.0)
"""For classes without a profile: the noise."""


def typical_rows(classes: Sequence[str], typical: Mapping[str, TypicalLine]) -> NDArray[np.float64]:
    """Return the fields of each class's `TypicalLine`, `NO_PROFILE` where it has none, [C, 5]."""
    rows = [
        (one.grams_mean, one.grams_sd, one.words_mean, one.words_sd, one.characters)
        for one in (typical.get(name, NO_PROFILE) for name in classes)
    ]
    return np.array(rows, np.float64)


def hash_lines(lines: Sequence[str], bits: int) -> tuple[Bits, Bits, Bits, Bits]:
    """Return the bits of 5-grams and words of prepared lines, and the line of each.

    The same numbers as `look_up` in `lid/engine/kernel.cpp`: a 5-gram is hashed by Horner's
    rule over its code points, with a separator for a space and for either end; a word by ascending
    powers.

    Returns:
        5-gram bits [G], their lines [G], word bits [W], their lines [W].
    """
    padded = "|" + "||".join(lines) + "|"
    points = np.frombuffer(padded.encode("utf-32-le"), np.uint32).astype(np.uint64)
    lengths = np.fromiter(map(len, lines), np.int64, len(lines))
    line = np.repeat(np.arange(len(lines)), lengths + 2)
    is_edge = np.zeros(len(points), bool)
    ends = np.cumsum(lengths + 2)
    is_edge[ends - 1] = True
    is_edge[ends - lengths - 2] = True
    is_space = points == _SPACE
    points[is_space] = _SEPARATOR
    with np.errstate(over="ignore"):
        grams = np.zeros(max(len(points) - GRAM + 1, 0), np.uint64)
        for offset in range(GRAM):
            grams *= _MULTIPLY
            grams += points[offset : offset + len(grams)]
        inside = line[: len(grams)] == line[GRAM - 1 :][: len(grams)]
        in_word = ~(is_edge | is_space)
        starts = np.flatnonzero(in_word[1:] & ~in_word[:-1]) + 1
        lasts = np.flatnonzero(in_word[:-1] & ~in_word[1:])
        # Sums over words from one running sum: its terms have the powers of the whole text, which
        # are taken back to those of the word.
        powers, inverses = _powers(1 << len(points).bit_length())
        running = np.cumsum(points * powers[: len(points)], dtype=np.uint64)
        words = (running[lasts] - running[starts - 1]) * inverses[starts] + _WORD_SEED
    return (
        _bit(grams[inside], bits),
        line[: len(grams)][inside],
        _bit(words, bits),
        line[starts],
    )


@functools.lru_cache(maxsize=4)
def _powers(size: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the first powers of the multiplier and of its inverse, modulo 2^64."""
    inverse = np.uint64(pow(int(_MULTIPLY), -1, 1 << 64))
    powers, inverses = (
        np.cumprod(np.append(np.uint64(1), np.full(size - 1, factor)), dtype=np.uint64)
        for factor in (_MULTIPLY, inverse)
    )
    return powers, inverses


def _bit(hashes: NDArray[np.uint64], bits: int) -> Bits:
    with np.errstate(over="ignore"):
        mixed = (hashes ^ (hashes >> np.uint64(32))) * _MIX
    return (mixed >> np.uint64(64 - bits)).astype(np.int64)


def _blocks(lines: Sequence[str], bits: int) -> Iterator[tuple[int, tuple[Bits, Bits, Bits, Bits]]]:
    for start in range(0, len(lines), _BLOCK_LINES):
        yield start, hash_lines(lines[start : start + _BLOCK_LINES], bits)


def build_profile(lines: Sequence[str], bits: int) -> tuple[NDArray[np.uint8], TypicalLine, int]:
    """Return the bitmap of a class's prepared lines, what is typical for them, and their number.

    A 5-gram or word counts as known to a line if another line has its bit as well.
    """
    hashed = [
        ((grams, start + gram_lines), (words, start + word_lines))
        for start, (grams, gram_lines, words, word_lines) in _blocks(lines, bits)
    ]
    owner = np.full(1 << bits, -1, np.int32)  # of each bit, one of the lines that have it
    for found, rows in itertools.chain.from_iterable(hashed):
        owner[found] = rows
    is_shared = np.zeros(1 << bits, bool)
    for found, rows in itertools.chain.from_iterable(hashed):
        is_shared[found[owner[found] != rows]] = True
    shares = []
    for part in zip(*hashed, strict=True):
        found, rows = (np.concatenate(values) for values in zip(*part, strict=True))
        whole = np.bincount(rows, minlength=len(lines))
        known = np.bincount(rows, weights=is_shared[found], minlength=len(lines))
        shares.append(known[whole > 0] / whole[whole > 0])
    gram_share, word_share = shares or (np.zeros(1), np.zeros(1))
    typical = TypicalLine(
        float(gram_share.mean()),
        float(gram_share.std()),
        float(word_share.mean()),
        float(word_share.std()),
        sum(map(len, lines)) / max(len(lines), 1),
    )
    return np.packbits(owner >= 0, bitorder="little"), typical, len(lines)


def smooth_spreads(measured: Mapping[str, tuple[TypicalLine, int]]) -> dict[str, TypicalLine]:
    """Shrink the spreads of classes with few lines towards the mean spread of all."""
    if not measured:
        return {}
    gram_variance = float(np.mean([typical.grams_sd**2 for typical, _ in measured.values()]))
    word_variance = float(np.mean([typical.words_sd**2 for typical, _ in measured.values()]))

    def drawn(own: float, number: int, mean: float) -> float:
        variance = (number * own**2 + _PRIOR_LINES * mean) / (number + _PRIOR_LINES)
        return max(float(np.sqrt(variance)), _LEAST_SPREAD)

    return {
        name: TypicalLine(
            typical.grams_mean,
            drawn(typical.grams_sd, number, gram_variance),
            typical.words_mean,
            drawn(typical.words_sd, number, word_variance),
            typical.characters,
        )
        for name, (typical, number) in measured.items()
    }


def familiarity(
    counts: NDArray[np.int32],
    typical: NDArray[np.float64],
    best: Labels,
    scores: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return how familiar lines are to the classes chosen for them, in standard deviations.

    own = (z of 5-grams + z of words) / 2 + 0.2 · log(score / (1 - score))
    familiarity = own - 0.2 · doubt · other,  doubt = own's distance below 0, 1 at most

    where `other` is the mean z for the second best class. Each z is narrowed by
    sqrt(length / typical length) for shorter lines and held in [-6, 4]. A line too large a part of
    which is in other scripts has -12.

    Args:
        counts: What was counted, [N, COUNTS] of `lid.engine.kernel`.
        typical: The fields of each class's `TypicalLine`, in order, [C, 5].
        best: The class chosen for each line, [N].
        scores: Its probability, [N].

    Returns:
        [N]; 0 is typical for a line of the language.
    """
    own = _own_familiarity(counts, typical[best], scores)
    second = counts[:, SECOND]
    other = _mean_z(counts, (OTHERS_GRAMS, OTHERS_WORDS), typical[second])
    doubt = np.where(second < 0, 0.0, np.clip(DOUBTFUL - own, 0.0, 1.0))
    found = own - OTHER_WEIGHT * doubt * other
    is_foreign = counts[:, FOREIGN] > MOST_FOREIGN * counts[:, CHARACTERS]
    return np.asarray(np.where(is_foreign, _FOREIGN, found))


def _own_familiarity(
    counts: NDArray[np.int32], typical: NDArray[np.float64], scores: NDArray[np.float32]
) -> NDArray[np.float64]:
    odds = np.clip(scores.astype(np.float64), 1e-4, 1 - 1e-4)
    own = _mean_z(counts, (KNOWN_GRAMS, KNOWN_WORDS), typical)
    return np.asarray(own + CONFIDENCE_WEIGHT * np.log(odds / (1 - odds)))


def _mean_z(
    counts: NDArray[np.int32], known: tuple[int, int], typical: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean z-score of the shares of known 5-grams and words, [N]."""
    numbers = np.maximum(counts, 1).astype(np.float64)
    length = np.sqrt(np.minimum(1.0, numbers[:, CHARACTERS] / np.maximum(typical[:, 4], 1.0)))
    grams, words = (
        (counts[:, part] / numbers[:, whole] - mean) / spread * length
        for part, whole, (mean, spread) in zip(
            known, (GRAMS, WORDS), (typical.T[:2], typical.T[2:4]), strict=True
        )
    )
    return np.asarray((np.clip(grams, _LOWEST, _HIGHEST) + np.clip(words, _LOWEST, _HIGHEST)) / 2)


def count_familiar(
    lines: Sequence[str],
    labels: Labels,
    scores: NDArray[np.float32],
    profiles: NDArray[np.uint8],
    typical: NDArray[np.float64],
) -> NDArray[np.int32]:
    """Count the 5-grams and words of each line that its classes know; equals the compiled pass.

    Args:
        lines: Prepared lines, N.
        labels: The best and the second best class of each, -1 for none, [N, 2].
        scores: Probability of the best, [N].
        profiles: Bitmaps of all classes.
        typical: What is typical for each, [C, 5].

    Returns:
        [N, COUNTS]; `FOREIGN` is left at 0.
    """
    bits = (profiles.shape[1] * 8).bit_length() - 1
    counts = np.zeros((len(lines), COUNTS), np.int32)
    counts[:, CHARACTERS] = np.fromiter(map(len, lines), np.int32, len(lines))
    counts[:, SECOND] = labels[:, 1]
    grams, gram_lines, words, word_lines = hash_lines(lines, bits)
    best, second = labels.T.astype(np.int64)
    asked = []
    for found, rows, whole in ((grams, gram_lines, GRAMS), (words, word_lines, WORDS)):
        number = np.bincount(rows, minlength=len(lines))
        counts[:, whole] = number
        asked.append((found >> 3, (found & 7).astype(np.uint8), number))
    for (places, shifts, number), column in zip(asked, (KNOWN_GRAMS, KNOWN_WORDS), strict=True):
        counts[:, column] = _count_known(places, shifts, number, np.maximum(best, 0), profiles)
    counts[best < 0, :CHARACTERS] = 0
    own = _own_familiarity(counts, typical[best], scores)
    is_doubtful = (best >= 0) & (second >= 0) & (own < DOUBTFUL)
    rows = np.flatnonzero(is_doubtful)
    for (places, shifts, number), column in zip(asked, (OTHERS_GRAMS, OTHERS_WORDS), strict=True):
        kept = np.repeat(is_doubtful, number)
        counts[rows, column] = _count_known(
            places[kept], shifts[kept], number[rows], second[rows], profiles
        )
    return counts


def _count_known(
    places: Bits,
    shifts: NDArray[np.uint8],
    number: Bits,
    classes: NDArray[np.int64],
    profiles: NDArray[np.uint8],
) -> NDArray[np.int32]:
    """Return how many of each line's bits its class has, [N].

    Args:
        places: Bytes of the bits of all lines, one line after the other, [G].
        shifts: Where in its byte each is, [G].
        number: How many bits each line has, [N].
        classes: Of the lines, [N].
        profiles: Bitmaps of all classes.
    """
    places = np.repeat(classes * profiles.shape[1], number) + places
    known = profiles.reshape(-1)[places] >> shifts & 1
    summed = np.append(0, np.cumsum(known, dtype=np.int32))
    stops = np.cumsum(number)
    return np.asarray(summed[stops] - summed[stops - number], np.int32)


def write_typical_lines(path: Path, typical: Mapping[str, TypicalLine]) -> None:
    """Write `familiarity.tsv`."""
    rows = [
        f"{name}\t{one.grams_mean:.5f}\t{one.grams_sd:.5f}\t{one.words_mean:.5f}"
        f"\t{one.words_sd:.5f}\t{one.characters:.1f}"
        for name, one in typical.items()
    ]
    write_lines(path, [_HEADER, *rows])


def read_typical_lines(path: Path) -> dict[str, TypicalLine]:
    """Read `familiarity.tsv`.

    Raises:
        DataError: If a line has no five numbers.
    """
    typical = {}
    for number, line in enumerate(read_lines(path)[1:], 2):
        name, *values = line.split("\t")
        try:
            typical[name] = TypicalLine(*map(float, values))
        except (TypeError, ValueError):
            raise DataError(f"{path}:{number}: `{line}` is not a class with five numbers") from None
    return typical
