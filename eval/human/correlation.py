"""Correlation of two scores over directions: Pearson, Spearman, Kendall, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.human.agreement import percentile_interval

Floats = NDArray[np.float64]


class Correlation(NamedTuple):
    """A coefficient with its interval; None where one side does not vary or too few are there."""

    value: float | None
    low: float | None
    high: float | None


def pearson(x: Floats, y: Floats) -> float | None:
    """Return Pearson's r; None where x or y does not vary."""
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else None


def spearman(x: Floats, y: Floats) -> float | None:
    """Return Spearman's rho: Pearson's r of ranks, equal values sharing their mean rank."""
    return pearson(mean_ranks(x), mean_ranks(y))


def kendall(x: Floats, y: Floats) -> float | None:
    """Return Kendall's tau-b: (concordant - discordant) / sqrt(pairs untied in x * in y)."""
    sign_x, sign_y = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    scale = float(np.sqrt((sign_x**2).sum() * (sign_y**2).sum()))
    return float((sign_x * sign_y).sum()) / scale if scale > 0 else None


COEFFICIENTS: dict[str, Callable[[Floats, Floats], float | None]] = {
    "spearman": spearman,
    "kendall": kendall,
    "pearson": pearson,
}


def mean_ranks(values: Floats) -> Floats:
    """Return the rank of each value from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])


def correlate(
    x: Sequence[float],
    y: Sequence[float],
    coefficient: str,
    *,
    trials: int,
    seed: int,
    confidence: float,
) -> Correlation:
    """Return a coefficient with the percentile interval of bootstrap samples of the pairs.

    Args:
        x: One score of each direction.
        y: The other.
        coefficient: A name of `COEFFICIENTS`.
        trials: Bootstrap samples; those in which one side does not vary are left out.
        seed: Equal seeds and numbers of pairs draw the same samples, whatever the scores.
        confidence: Coverage of the interval.

    Raises:
        ValueError: If x and y differ in length.
    """
    if len(x) != len(y):
        raise ValueError(f"{len(x)} and {len(y)} scores")
    measure = COEFFICIENTS[coefficient]
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(first) < 2:
        return Correlation(None, None, None)
    if len(first) == 2:  # every line through two points is straight, in each sample too
        return Correlation(measure(first, second), None, None)
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(first), (trials, len(first)))
    sampled = [measure(first[draw], second[draw]) for draw in draws]
    interval = percentile_interval([value for value in sampled if value is not None], confidence)
    low, high = interval if interval is not None else (None, None)
    return Correlation(measure(first, second), low, high)
