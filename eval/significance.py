"""Whether two systems differ: approximate randomization over segments, and many directions.

Riezler and Maxwell 2005 for the test; Benjamini and Hochberg 1995 for the false discovery rate.
sacrebleu's paired bootstrap is not used: it takes the absolute difference before centering and
finds differences under a true null two to three times as often as it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Statistics = NDArray[np.int64]
_BLOCK = 500


def randomization_p_value(
    first: Statistics,
    second: Statistics,
    score: Callable[[Statistics], float],
    trials: int,
    seed: int,
) -> float:
    """Return the two-sided p-value of the difference in corpus score.

    Each trial swaps the two systems' outputs in a random half of the segments.
    p = (1 + trials with at least the observed difference) / (1 + trials).

    Args:
        first: Statistics of the first system's segments, [N, S].
        second: Statistics of the second system's segments, [N, S].
        score: Corpus score of summed statistics.
        trials: Number of trials.
        seed: With the same seed and N, the same segments are swapped: FLORES is multi-parallel,
            so directions are tested on the same draws.

    Raises:
        ValueError: If the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"statistics of shapes {first.shape} and {second.shape}")
    generator = np.random.default_rng(seed)
    sum_first, sum_second = first.sum(axis=0), second.sum(axis=0)
    observed = abs(score(sum_first) - score(sum_second))
    change = (second - first).astype(np.float64)
    extreme = 0
    for start in range(0, trials, _BLOCK):
        size = min(_BLOCK, trials - start)
        swapped = generator.integers(0, 2, (size, len(first))).astype(np.float64)
        # Exact: sums of integers far below 2^53.
        moved = (swapped @ change).astype(np.int64)
        for row in moved:
            difference = abs(score(sum_first + row) - score(sum_second - row))
            extreme += difference >= observed
    return (1 + extreme) / (1 + trials)


def discoveries(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Say which p-values are discoveries at false discovery rate `alpha`.

    With the p-values in order, all up to the largest k with p_k ≤ alpha · k / m are.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    count = 0
    for rank, index in enumerate(order, 1):
        if p_values[index] <= alpha * rank / len(p_values):
            count = rank
    found = set(order[:count])
    return [index in found for index in range(len(p_values))]
