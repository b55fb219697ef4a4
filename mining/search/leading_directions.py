"""Search in leading directions, for vectors that lie mostly within a few dimensions.

With B the leading directions of all vectors, x = B a + t and t orthogonal to B, so that

    x y = a_x a_y + t_x t_y <= a_x a_y + |t_x| |t_y|

by Cauchy and Schwarz. What is on the right is an inner product of fewer numbers, the coordinates a
and one more for |t|: a bound from above that candidates can be kept by. Like the bound of
quantization it makes sure that a search is exact (`mining/search/exact.py`), and it is tight where
rests are short: those of a `bag` encoder of 1,024 dimensions are .14 with 64 directions, .06 with
96.
"""

import logging
from typing import NamedTuple

import numpy as np

from mining.search.kernel import PANEL, Float64, Frame
from mining.search.margin import Float32, Int64
from mining.search.vectors import Products, Vectors, mean_vector, row_blocks

logger = logging.getLogger(__name__)

_WORTH = 1 << 33
"""Multiplications below which a search is over before anything is measured."""

_SAMPLE = 512
"""Vectors of each side that directions are fitted to."""

_MOST = 256
"""Directions at most."""

_LEAST_SHARE = 0.8
"""Share of the squared lengths that directions must hold at least to be of any use."""

_ITERATIONS = 3
"""Of the subspace: spectra that are worth it fall fast."""

_TRIED = PANEL
"""Vectors of each side whose neighborhoods are looked at."""

_LOOKED_AT = 1 << 15
"""Vectors of the other side that are looked at for them, or more."""

SPARE = 28
"""Candidates kept beyond the neighbors wanted: with fewer more rows need a second pass."""

_SPARES = (8, 12, 16, 20, SPARE, 60)

_BESIDES = 70
"""What every product costs besides multiplying, in multiplications."""

DEEPER = 16
"""How many times more candidates the second pass keeps."""

_GAIN = 0.9
"""Share of the cost of the usual search that another must stay below: few rows are looked at."""


class Plan(NamedTuple):
    """How a search begins. It is a matter of time: no plan changes the result."""

    frames: tuple[Frame, Frame]
    """How vectors of both sides are written."""

    kept: int
    """Candidates that are kept of each vector."""


def plan_search(source: Vectors, target: Vectors, products: Products, neighbors: int) -> Plan:
    """Return the width and the number of candidates that should take the least time.

    Narrow products and few candidates leave more rows unsure of their neighbors, and these need a
    second pass. How many is judged by the neighborhoods of a few rows of both sides.

    Args:
        source: [N, D]
        target: [M, D]
        products: What multiplies.
        neighbors: How many are wanted, k.
    """
    sides = source, target
    means = mean_vector(source, products), mean_vector(target, products)
    usual = Plan(whole_frames(means), neighbors + SPARE)
    sizes, width = [len(side.matrix) for side in sides], source.matrix.shape[1]
    kept = neighbors + np.array(_SPARES)
    if sizes[0] * sizes[1] * width < _WORTH or min(sizes) < max(_SAMPLE, 2 * kept[-1]):
        return usual
    samples = [_sample(side, mean, products) for side, mean in zip(sides, means, strict=True)]
    most = min(_MOST, width // 2) // PANEL * PANEL
    directions = _leading_directions(np.concatenate(samples), most, products)
    widths = np.arange(2 * PANEL, directions.shape[1] + 1, PANEL)
    parts = [_rests_and_errors(sample, directions, widths, products) for sample in samples]
    cost = _cost_of_products(sizes, width, widths, kept, products.keeping)
    for own, other in ((0, 1), (1, 0)):
        step = len(samples[own]) // _TRIED // 2 * 2
        rests, errors = (part[::step][:_TRIED] for part in parts[own])
        tried = (samples[own][::step] + means[own])[:_TRIED]
        gaps = _gaps(tried, sides[other], products, neighbors, kept)
        # A bound is above its cosine by twice the product of the rests at most.
        bounds = 2 * rests * np.quantile(parts[other][0], 0.9, axis=0)
        bounds += errors + parts[other][1].max(axis=0)
        again = _cost_of_again(sizes[other], width, (neighbors + SPARE) * DEEPER, products.keeping)
        cost += again * (bounds[:, :, None] >= gaps[:, None, :]).mean(axis=0)
    best_width, best_kept = np.unravel_index(cost.argmin(), cost.shape)
    share = cost[best_width, best_kept] / cost[-1, _SPARES.index(SPARE)]
    if share > _GAIN:
        return usual
    frames = usual.frames
    if best_width < len(widths):
        frames = leading_frames(means, directions[:, : widths[best_width]], products)
    logger.info(
        "%d of %d dimensions and %d candidates should take %.0f %% of the time",
        (*widths, width)[best_width],
        width,
        kept[best_kept],
        100 * share,
    )
    return Plan(frames, int(kept[best_kept]))


def whole_frames(means: tuple[Float32, Float32]) -> tuple[Frame, Frame]:
    """Return frames that write vectors in all dimensions."""
    return Frame(*means), Frame(*means[::-1])


def leading_frames(
    means: tuple[Float32, Float32], basis: Float32, products: Products
) -> tuple[Frame, Frame]:
    """Return frames that write vectors in leading directions; the last is given up for the rest.

    With g = (D + 64) 2^-24 for the rounding of sums in float32, in any order, coordinates are off
    by g sqrt(P) |x| at most. With e = |B'B - 1|, squares of rests and products of coordinates are
    off by 2 g sqrt(P) + 2 g + 3 e at most, for vectors of length 1.

    Args:
        means: Of both sides, [D].
        basis: Directions, orthonormal to float32 or zeros, [D, P].
        products: What multiplies.
    """
    width, count = basis.shape
    basis = products.project(basis, _spread(count))
    exact = basis.astype(np.float64)
    gram = np.einsum("dp,dq->pq", exact, exact)
    # A column may be zeros: its coordinates are.
    error = float(np.linalg.norm(gram - np.diag(np.diag(gram) > 0.5)))
    sums = (width + 64) * 2.0**-24
    rounding = float(2 * sums * (np.sqrt(count) + 1) + 3 * error)
    return Frame(*means, basis, rounding), Frame(*means[::-1], basis, rounding)


def _spread(count: int) -> Float32:
    """Return a cosine transform of all coordinates but the last, which becomes zero, [P, P].

    It turns directions into others of the same space, none of which holds much more than the rest:
    codes have one scale for a vector, and it is finer so.
    """
    turn = np.zeros((count, count))
    j = np.arange(count - 1)
    turn[:-1, :-1] = np.cos(np.pi * (j[:, None] + 0.5) * j / (count - 1))
    turn[:-1, :-1] /= np.linalg.norm(turn[:-1, :-1], axis=0)
    return turn.astype(np.float32)


def _leading_directions(sample: Float32, count: int, products: Products) -> Float32:
    """Return directions that hold the most of a sample, the first one first; none if of no use.

    By subspace iteration from some of the sample. NumPy's linear algebra is not asked: its threads
    wait for each other by spinning, on a busy machine for seconds.

    Returns:
        [D, count] or [D, 0].
    """
    none = np.empty((sample.shape[1], 0), np.float32)
    if count < 2 * PANEL:
        return none
    turned = np.ascontiguousarray(sample.T)
    found = products.orthonormalize(turned[:, :: len(sample) // count][:, :count])
    for _ in range(_ITERATIONS):
        found = products.orthonormalize(products.project(turned, products.project(sample, found)))
    held, whole = np.square(products.project(sample, found)).sum(), np.square(sample).sum()
    return found if held > _LEAST_SHARE * whole else none


def _sample(side: Vectors, mean: Float32, products: Products) -> Float32:
    """Return some centered unit vectors, evenly spaced."""
    rows = slice(None, None, max(1, len(side.matrix) // _SAMPLE))
    return products.units(side.matrix[rows], side.norms[rows]) - mean


def _rests_and_errors(
    sample: Float32, directions: Float32, widths: Int64, products: Products
) -> tuple[Float32, Float32]:
    """Return what is left out of each vector, and about what quantization takes.

    Returns:
        Both [n, widths + 1], the last for all dimensions.
    """
    coordinates = products.project(sample, directions)
    whole = np.square(sample).sum(axis=1)
    rests = np.zeros((len(sample), len(widths) + 1), np.float32)
    largest = np.abs(sample).max(axis=1, keepdims=True) + np.zeros_like(rests)
    for i, width in enumerate(widths):
        turned = products.project(coordinates[:, :width], _spread(width))
        rests[:, i] = np.sqrt((whole - np.square(turned).sum(axis=1)).clip(0))
        largest[:, i] = np.maximum(np.abs(turned).max(axis=1), rests[:, i])
    # Rounding to steps of largest / 127 takes a step / sqrt(12) of a coordinate.
    errors = largest / 127 * np.sqrt(np.append(widths, sample.shape[1]) / 12)
    return rests, errors.astype(np.float32)


def _cost_of_products(
    sizes: list[int], width: int, widths: Int64, kept: Int64, per_kept: float
) -> Float64:
    """Return the cost of one pass as a share of all products in full width, [widths + 1, kept]."""
    inverse = sum(1 / size for size in sizes)
    # Projections are in float32, four times as dear as bytes.
    projected = np.append(4 * width * widths * inverse, 0)
    passes = np.append(widths, width) + _BESIDES + projected
    keeping = sum(_became_best(kept, size) / size for size in sizes)
    share: Float64 = (passes[:, None] + per_kept * keeping) / (width + _BESIDES)
    return share


def _cost_of_again(size: int, width: int, kept: int, per_kept: float) -> float:
    """Return the cost of the second pass for all rows, as a share of all products in full width.

    Among few candidates nearly all are kept, which takes several times as long as multiplying.
    """
    keeping = float(_became_best(np.array([kept]), size)[0]) / size
    return 1.0 + per_kept * keeping / (width + _BESIDES)


def _became_best(kept: Int64, size: int) -> Float64:
    """Return how many of so many candidates, in any order, become one of the best so far."""
    most = np.minimum(kept, size)
    became: Float64 = most * (1 + np.log(size / most))
    return became


def _gaps(
    tried: Float32, others: Vectors, products: Products, neighbors: int, kept: Int64
) -> Float32:
    """Return how far below the k-th best cosine the last one kept is, [n, kept].

    With every second of the others, half as many are nearer than any; and so on. But two at least:
    the nearest may be a translation, which lies far before all others. Those taken are odd ones and
    the tried even ones, so that not all lines of aligned files meet their translations.
    """
    step = 1
    while 4 * step <= neighbors and len(others.matrix) // (2 * step) >= _LOOKED_AT:
        step *= 2
    most = int(kept.max()) // step
    best = np.full((len(tried), most), -np.inf, np.float32)
    for rows in row_blocks(len(others.matrix), step << 10):
        own = slice(rows.start + step - 1, rows.stop, step)
        cosines = products.project(products.units(others.matrix[own], others.norms[own]), tried.T)
        every = np.concatenate([best, cosines.T], axis=1)
        best = np.partition(every, every.shape[1] - most, axis=1)[:, -most:]
    best.sort(axis=1)
    gaps: Float32 = best[:, [-(neighbors // step)]] - best[:, -(kept // step)]
    return gaps
