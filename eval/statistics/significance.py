"""Resampling of test lines: intervals, tests of a difference, control over many directions.

Riezler and Maxwell 2005 for approximate randomization, Koehn 2004 for the bootstrap, Benjamini and
Hochberg 1995 for the false discovery rate. sacrebleu's paired bootstrap is here by its name only:
it takes the absolute difference before centering and finds differences under a true null two to
three times as often as it says.

All draws depend on the number of lines and the seed alone: FLORES is multi-parallel, so the same
lines are drawn in every direction. They are drawn as sacrebleu draws them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.config import BOOTSTRAP, RANDOMIZATION, SACREBLEU_BOOTSTRAP

Statistics = NDArray[np.int64]
Float64 = NDArray[np.float64]
Score = Callable[[NDArray[Any]], Float64]
"""Corpus scores of summed statistics, [..., S] to [...]."""

POWER = 0.8
"""Of the minimum detectable difference: how often a true difference of that size is found."""

_BLOCK = 2_000
_EXACT_IN_FLOAT32 = 1 << 24
TIE = 1e-9
"""Differences closer than this are equal: sums of the same lines in another order may differ."""


@functools.lru_cache(maxsize=4)
def bootstrap_draws(lines: int, resamples: int, seed: int) -> NDArray[np.float32]:
    """Return how often each line is in each resample, [resamples, lines]."""
    generator = np.random.default_rng(seed)
    chosen = generator.choice(lines, size=(resamples, lines), replace=True)
    chosen += np.arange(resamples)[:, None] * lines
    counts = np.bincount(chosen.ravel(), minlength=resamples * lines)
    return counts.reshape(resamples, lines).astype(np.float32)


@functools.lru_cache(maxsize=4)
def swap_draws(lines: int, trials: int, seed: int) -> NDArray[np.bool_]:
    """Return which lines the two systems swap in each trial, [trials, lines]."""
    generator = np.random.default_rng(seed)
    swapped: NDArray[np.bool_] = generator.integers(2, size=(trials, lines), dtype=bool)
    return swapped


def can_resample(statistics: Statistics) -> bool:
    """Whether there are lines to draw from: resamples of a single line are all that line."""
    return len(statistics) > 1


def resample_scores(statistics: Statistics, score: Score, resamples: int, seed: int) -> Float64:
    """Return the corpus score of each bootstrap resample, [resamples].

    Args:
        statistics: Of the segments, [N, S].
        score: Corpus scores of summed statistics.
        resamples: How many.
        seed: Of the draws.
    """
    draws = bootstrap_draws(len(statistics), resamples, seed)
    largest = int(statistics.max(initial=0)) * len(statistics)
    return score(_sum_lines(draws, statistics, largest))


def interval(scores: NDArray[Any], confidence: float) -> tuple[float, float]:
    """Return the percentile interval of resampled scores."""
    ordered = np.sort(scores)
    outside = int(len(ordered) * (1 - confidence) / 2)
    return float(ordered[outside]), float(ordered[len(ordered) - outside - 1])


def p_value(
    test: str, first: Statistics, second: Statistics, score: Score, draws: int, seed: int
) -> float:
    """Return the p-value of the test of that name; see `eval.config.TESTS`."""
    tests = {
        RANDOMIZATION: randomization_p_value,
        BOOTSTRAP: bootstrap_p_value,
        SACREBLEU_BOOTSTRAP: sacrebleu_bootstrap_p_value,
    }
    return tests[test](first, second, score, draws, seed)


def randomization_p_value(
    first: Statistics, second: Statistics, score: Score, trials: int, seed: int
) -> float:
    """Return the two-sided p-value of the difference in corpus score.

    Each trial swaps the two systems' outputs in a random half of the segments.
    p = (1 + trials with at least the observed difference) / (1 + trials).

    Args:
        first: Statistics of the first system's segments, [N, S].
        second: Statistics of the second system's segments, [N, S].
        score: Corpus scores of summed statistics.
        trials: Number of trials.
        seed: Of the swaps.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_shapes(first, second)
    sum_first, sum_second = first.sum(axis=0), second.sum(axis=0)
    observed = abs(float(score(sum_first)) - float(score(sum_second)))
    change = second - first
    largest = int(np.abs(change).max(initial=0)) * len(first)
    swaps = swap_draws(len(first), trials, seed)
    extreme = 0
    for start in range(0, trials, _BLOCK):
        moved = _sum_lines(swaps[start : start + _BLOCK], change, largest)
        difference = np.abs(score(sum_first + moved) - score(sum_second - moved))
        extreme += int((difference >= observed - TIE).sum())
    return (1 + extreme) / (1 + trials)


def bootstrap_p_value(
    first: Statistics, second: Statistics, score: Score, resamples: int, seed: int
) -> float:
    """Return the two-sided p-value of the paired bootstrap, centered before the absolute value.

    p = (1 + resamples whose difference is at least the observed one away from the mean of all
    resampled differences) / (1 + resamples).

    Raises:
        ValueError: If the shapes differ.
    """
    differences, observed = _resample_differences(first, second, score, resamples, seed)
    return centered_p_value(differences, observed)


def centered_p_value(differences: NDArray[Any], observed: float) -> float:
    """Return the p-value of `bootstrap_p_value` from resampled differences, [resamples]."""
    differences = differences.astype(np.float64)
    centered = np.abs(differences - differences.mean())
    return float((1 + (centered >= abs(observed) - TIE).sum()) / (1 + len(differences)))


def sacrebleu_bootstrap_p_value(
    first: Statistics, second: Statistics, score: Score, resamples: int, seed: int
) -> float:
    """Return the p-value of sacrebleu's paired bootstrap, for numbers that compare with it.

    Do not decide by it: it centers absolute differences, and its p-values are too small. Where no
    resample differs it is 1 here; sacrebleu gives its smallest value to identical systems.

    Raises:
        ValueError: If the shapes differ.
    """
    differences, observed = _resample_differences(first, second, score, resamples, seed)
    absolute = np.abs(differences)
    if abs(observed) <= TIE and absolute.max(initial=0.0) <= TIE:
        return 1.0
    extreme = (absolute - absolute.mean() > abs(observed)).sum()
    return float((1 + extreme) / (1 + resamples))


def minimum_detectable(differences: NDArray[Any], alpha: float) -> float:
    """Return the difference that a test at `alpha` finds with probability `POWER`.

    (z of 1 - alpha / 2, plus z of the power) times the standard deviation of resampled differences.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(POWER)) * float(np.std(differences))


def discoveries(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Return which p-values are discoveries at false discovery rate `alpha`.

    With the p-values in order, all up to the largest k with p_k ≤ alpha · k / m are.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    count = 0
    for rank, index in enumerate(order, 1):
        if p_values[index] <= alpha * rank / len(p_values):
            count = rank
    found = set(order[:count])
    return [index in found for index in range(len(p_values))]


def _resample_differences(
    first: Statistics, second: Statistics, score: Score, resamples: int, seed: int
) -> tuple[Float64, float]:
    _check_shapes(first, second)
    observed = float(score(second.sum(axis=0))) - float(score(first.sum(axis=0)))
    ours = resample_scores(second, score, resamples, seed)
    return ours - resample_scores(first, score, resamples, seed), observed


def _check_shapes(first: Statistics, second: Statistics) -> None:
    if first.shape != second.shape:
        raise ValueError(f"statistics of shapes {first.shape} and {second.shape}")


def _sum_lines(weights: NDArray[Any], statistics: Statistics, largest: int) -> Float64:
    """Return weights @ statistics, exactly; `largest` bounds every sum."""
    kind = np.float32 if largest < _EXACT_IN_FLOAT32 else np.float64
    summed = weights.astype(kind, copy=False) @ statistics.astype(kind)
    result: Float64 = summed.astype(np.float64)
    return result
