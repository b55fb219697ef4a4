"""Calibration without known pairs: by second choices, and by the corpus's own most mutual pairs.

Second choices (`mining.search.decoys`) give the share `false` of false pairs that reach a margin.
Of P pairs, T of them translations,

    kept = right + (P - T) * false     with     right <= T,

so that at any margin T is at least (kept - P * false) / (1 - false). The largest of these bounds is
taken for T. A pair is mutual where each sentence is the other's best candidate; of the T pairs that
are right, the most mutual ones show how much lower the second choices of translated sentences
score than those of others (`relief`), which known pairs show otherwise.

This holds for one-to-one retrieval (`max`, `intersect`): elsewhere every sentence has a pair, and
too much depends on how second choices are modeled. On real text it errs to too few translations
(docs/experiments.md). What the encoder does not put first is not seen: recall is of the others.
"""

import numpy as np

from mining.search.decoys import FEWEST, Decoys, Float64, wrong_pairs
from mining.search.expected_precision import Expected, precision_of
from mining.search.margin import Int64, Pairs

_MUTUAL_SHARE = 0.6
"""Of the pairs that are right, as many of the best mutual ones are taken for translations."""

_MOST_FALSE = 0.8
"""A margin that more of the false pairs reach tells little about T."""

_MOST_RIGHT = 0.99
_SMALLEST = 1e-9
_ROUNDS = 4
"""The share of false pairs depends a little on T."""

_MODEL_ERROR = 0.13
"""Relative error of the number of wrong pairs, whatever the samples: 0.1 was seen on text without
translations (`expected_precision`), and nine of ten are within 1.28 times of it."""

_NINE_TENTHS = 1.2816
"""Of a normal distribution, nine tenths lie below so many standard deviations."""


def with_mutual(decoys: Decoys, second: Pairs, mutual: Pairs, grid: Float64, kept: Int64) -> Decoys:
    """Return second choices with those of the most mutual pairs as those of found translations.

    Args:
        decoys: Second choices; none of found translations.
        second: The same with their sentences.
        mutual: Pairs that are each other's best, best first.
        grid: Thresholds, ascending, the first not above any pair, [G].
        kept: Pairs that reach each, [G].
    """
    count = int(_MUTUAL_SHARE * _most_found(grid, kept, decoys))
    best = mutual.source[:count], mutual.target[:count]
    found = (
        second.score[np.isin(second.source, best[0])],
        second.score[np.isin(second.target, best[1])],
    )
    return decoys._replace(found=found, num_found=len(best[0]))


def can_calibrate(decoys: Decoys) -> bool:
    """Say whether there are enough second choices for an estimate."""
    return len(decoys.scores) >= FEWEST


def expect_by_mutual(grid: Float64, kept: Int64, decoys: Decoys) -> Expected:
    """Return what thresholds are expected to keep.

    Args:
        grid: Thresholds, ascending, the first not above any pair, [G].
        kept: Pairs that reach each, [G].
        decoys: What `with_mutual` returned.
    """
    wrong = _wrong(grid, kept, decoys, _most_found(grid, kept, decoys))
    precision = precision_of(wrong, kept)
    right = np.maximum.accumulate((precision * kept)[::-1])[::-1]
    translated = float(right.max(initial=0.0))
    fewer_found = _most_found(grid, kept, decoys, error=_MODEL_ERROR)
    high = _wrong(grid, kept, decoys, fewer_found) * (1.0 + _MODEL_ERROR)
    high = np.minimum(np.maximum(_nine_tenths(high), wrong), kept)
    return Expected(
        translated=translated,
        kept=kept,
        precision=precision,
        precision_low=precision_of(high, kept),
        recall=right / max(translated, 1.0),
    )


def _wrong(grid: Float64, kept: Int64, decoys: Decoys, found: float) -> Float64:
    """Return the false pairs that reach each threshold, of those that `found` leaves, [G]."""
    pairs = int(kept.max(initial=0))
    wrong = max(pairs - found, 0.0) * _false_share(grid, pairs, decoys, found)
    return np.minimum(wrong, kept)


def _most_found(grid: Float64, kept: Int64, decoys: Decoys, error: float = 0.0) -> float:
    """Return the largest lower bound of the translations among the pairs, T.

    Args:
        grid: Thresholds, [G].
        kept: Pairs that reach each, [G].
        decoys: Second choices.
        error: Share by which more false pairs may reach a threshold than second choices say.
    """
    pairs = int(kept.max(initial=0))
    found = 0.0
    for _ in range(_ROUNDS):
        false = _false_share(grid, pairs, decoys, found) * (1.0 + error)
        bounds = (kept - pairs * false) / np.maximum(1.0 - false, 1.0 - _MOST_FALSE)
        found = float(np.where(false <= _MOST_FALSE, bounds, 0.0).max(initial=0.0))
    return found


def _false_share(grid: Float64, pairs: int, decoys: Decoys, found: float) -> Float64:
    """Return the share of the false pairs that reach each threshold, all the lowest, [G]."""
    true_share = min(found / max(pairs, 1), _MOST_RIGHT)
    wrong = wrong_pairs(decoys, grid, max(pairs, 1), true_share)
    falling: Float64 = np.maximum.accumulate(wrong[::-1])[::-1]
    return falling / max(float(falling[0]), _SMALLEST)


def _nine_tenths(count: Float64) -> Float64:
    """Return what nine of ten do not exceed that have seen so many (Wilson and Hilferty 1931)."""
    shape = count + 1.0
    return np.asarray(shape * (1 - 1 / (9 * shape) + _NINE_TENTHS / (3 * np.sqrt(shape))) ** 3)
