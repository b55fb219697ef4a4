"""Alignment of two documents by dynamic programming over sentence vectors.

After Vecalign (Thompson and Koehn 2019): sentences are paired one to one, one to two or two to one,
where two are embedded as one text, or left out, in the order of both documents. A pair costs its
cosine distance relative to the usual one, so that the cost means the same everywhere. Vecalign's
approximation in linear time is not needed for pages of some hundred sentences.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mining.search.margin import Float32

STEPS = ((1, 1), (1, 2), (2, 1), (1, 0), (0, 1))
"""Sentences of source and target that a step takes."""

_SMALLEST = 1e-3


class Aligned(NamedTuple):
    """A pair of one or two sentences in a row."""

    source: int
    """First sentence."""

    sources: int
    """How many."""

    target: int
    targets: int
    score: float
    """1 for equal vectors, 0 for any two sentences."""


class Spans(NamedTuple):
    """Vectors of a document, of unit length."""

    single: Float32
    """Of each sentence, [N, D]."""

    double: Float32
    """Of each sentence joined with the next, [N - 1, D]."""


def align(
    source: Spans, target: Spans, samples: tuple[Float32, Float32], skip_cost: float
) -> list[Aligned]:
    """Return the pairs of the cheapest alignment, in order.

    Args:
        source: N sentences.
        target: M sentences.
        samples: Vectors of any sentences of source and target language, [S, D] each.
        skip_cost: Of a sentence that is left out; pairs cost their relative distance, and twice
            that with a third sentence, as in Vecalign.
    """
    distances = {
        (1, 1): relative_distance(source.single, target.single, samples),
        (1, 2): relative_distance(source.single, target.double, samples),
        (2, 1): relative_distance(source.double, target.single, samples),
    }
    steps = _cheapest(distances, len(source.single), len(target.single), skip_cost)
    i, j = steps.shape[0] - 1, steps.shape[1] - 1
    found = []
    while i or j:
        step = STEPS[steps[i, j]]
        i, j = i - step[0], j - step[1]
        if all(step):
            score = 1.0 - float(distances[step][i, j])
            found.append(Aligned(i, step[0], j, step[1], score))
    return found[::-1]


def relative_distance(
    source: Float32, target: Float32, samples: tuple[Float32, Float32]
) -> Float32:
    """Return cosine distances by the mean distance of both sides to any sentence, [N, M].

    distance = (1 - cos(x, y)) / usual
    usual = mean of 1 - cos(x, any target) and of 1 - cos(any source, y)
    """
    usual_source = (1.0 - source @ samples[1].T).mean(axis=1)
    usual_target = (1.0 - target @ samples[0].T).mean(axis=1)
    usual = (usual_source[:, None] + usual_target[None, :]) / 2
    relative: Float32 = (1.0 - source @ target.T) / np.maximum(usual, _SMALLEST)
    return relative


def _cheapest(
    distances: dict[tuple[int, int], Float32], sources: int, targets: int, skip_cost: float
) -> npt.NDArray[np.int8]:
    """Return the last step of the cheapest way to each pair of places, [N + 1, M + 1].

    Places on a diagonal depend on earlier diagonals only and are computed at once.
    """
    costs = np.full((sources + 1, targets + 1), np.inf)
    costs[0, 0] = 0.0
    steps = np.zeros((sources + 1, targets + 1), np.int8)
    for diagonal in range(1, sources + targets + 1):
        i = np.arange(max(0, diagonal - targets), min(sources, diagonal) + 1)
        j = diagonal - i
        best = np.full(len(i), np.inf)
        last = np.zeros(len(i), np.int8)
        for number, step in enumerate(STEPS):
            there = np.flatnonzero((i >= step[0]) & (j >= step[1]))
            before = i[there] - step[0], j[there] - step[1]
            total = costs[before] + skip_cost
            if all(step):
                total = costs[before] + distances[step][before] * float(step[0] * step[1])
            better = total < best[there]
            best[there[better]] = total[better]
            last[there[better]] = number
        costs[i, j], steps[i, j] = best, last
    return steps
