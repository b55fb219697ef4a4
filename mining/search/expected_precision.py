"""Estimates how many mined pairs are wrong, from plants and second choices.

With N sentences of a side, of which T have a translation, a threshold keeps

    kept = T * recall + wrong

`recall` is the share of planted pairs that found each other. Two estimates give `wrong`, and the
larger one is used:

    plants = (N - T) * alone + T * misled decoys = the estimate by second choices
    (`mining.search.decoys`)

where `alone` is the share of plants without a partner that got a pair, and `misled` that of plants
with one that got another. Plants tell it right where they are like the corpus, but what they are
taken for depends on what they are; second choices come from the corpus itself. T is not known:
each T is weighted by how well it explains `kept` at all thresholds, up to a relative error of the
model. The expected precision is the weighted mean of 1 - wrong / kept. The low one is what nine of
ten reach of all T and of all samples of plants that could as well have been drawn (bootstrap). Both
are made to rise with the threshold, as a q-value does.
"""

from typing import NamedTuple

import numpy as np

from mining.search.decoys import FEWEST, Decoys, Float64, wrong_pairs
from mining.search.margin import Float32, Int64
from mining.search.planted_scores import Planted, PlantedScores

_MODEL_ERROR = 0.1
"""Relative error of the expected count, whatever the samples: decoys were off by so much on text
without translations."""

_READINGS = 4
"""All thresholds together weigh as so many independent ones: counts are cumulative."""

_SHARES = 33
"""How many T are tried, from none to all that could be."""

_SAMPLES = 20
"""Bootstrap samples of the plants."""

_LOW = 0.1
"""Share of the weight that expects less than the low precision."""

_FEWEST_KEPT = 20
"""Thresholds that keep fewer pairs tell nothing; they get the precision of the next lower one."""


class Expected(NamedTuple):
    """What thresholds keep."""

    translated: float
    """T"""

    kept: Int64
    """[G]"""

    precision: Float64
    """[G]"""

    precision_low: Float64
    """[G]"""

    recall: Float64
    """[G]"""


def expect(
    grid: Float64, kept: Int64, planted_scores: PlantedScores, planted: Planted, decoys: Decoys
) -> Expected:
    """Return what thresholds are expected to keep.

    Args:
        grid: Thresholds, ascending, the first not above any mined pair, [G].
        kept: Mined pairs that reach each, [G].
        planted_scores: Of the planted sentences.
        planted: How many were planted.
        decoys: Second choices; left aside where they are too few.
    """
    pairs = int(kept.max(initial=0))
    found = len(planted_scores.found) / planted.whole
    at_most = min(found * min(decoys.sizes) / pairs, 1.0) if pairs else 0.0
    true_shares = np.linspace(0.0, at_most, _SHARES)
    translated = true_shares * pairs / found if found else np.zeros(_SHARES)
    recall, by_plants = _plants_say(grid, planted_scores, planted, decoys, translated)
    by_decoys = np.zeros((_SHARES, len(grid)))
    if len(decoys.scores) >= FEWEST:
        by_decoys = np.stack([wrong_pairs(decoys, grid, pairs, s) for s in true_shares.tolist()])
    # A higher threshold does not keep more; kept pairs are all that can be wrong.
    wrong = np.maximum(by_plants, by_decoys)
    wrong = np.minimum(np.maximum.accumulate(wrong[..., ::-1], axis=-1)[..., ::-1], kept)
    weights = _weigh(kept, wrong, recall, translated, planted)
    mean = weights[0] @ wrong[0]
    high = np.maximum(_quantile(wrong, weights, 1.0 - _LOW), mean)
    return Expected(
        translated=float(weights[0] @ translated),
        kept=kept,
        precision=precision_of(mean, kept),
        precision_low=precision_of(high, kept),
        recall=recall[0],
    )


def _plants_say(
    grid: Float64,
    planted_scores: PlantedScores,
    planted: Planted,
    decoys: Decoys,
    translated: Float64,
) -> tuple[Float64, Float64]:
    """Return the recall and the wrong pairs that plants tell of, those drawn first, then samples.

    Returns:
        Recall, [1 + samples, G], and wrong pairs for each T, [1 + samples, T, G].
    """
    random = np.random.default_rng(0)
    recall = _sampled_shares(planted_scores.found, planted.whole, grid, random)
    wrong = np.zeros((len(recall), len(translated), len(grid)))
    for side in decoys.sides:
        lonely = (planted.source, planted.target)[side] - planted.whole
        alone = _sampled_shares(planted_scores.alone[side], lonely, grid, random)[:, None]
        misled = _sampled_shares(planted_scores.misled[side], planted.whole, grid, random)[:, None]
        # Wrong pairs counted by their sources, and by their targets, should agree; take the mean.
        of_side = decoys.sizes[side] * alone + translated[None, :, None] * (misled - alone)
        wrong += of_side / len(decoys.sides)
    return recall, np.maximum(wrong, 0.0)


def _sampled_shares(
    scores: Float32, count: int, grid: Float64, random: np.random.Generator
) -> Float64:
    """Return the share of so many plants that reaches each threshold, as seen and as resampled.

    Args:
        scores: Of the plants that have one; the others reach none.
        count: Of all the plants.
        grid: Thresholds, [G].
        random: Draws the samples.

    Returns:
        [1 + samples, G]
    """
    places = np.searchsorted(grid, scores[np.isfinite(scores)].astype(np.float64), side="right")
    counts = np.bincount(places, minlength=len(grid) + 1)
    counts[0] += count - counts.sum()
    drawn = np.concatenate([counts[None], random.multinomial(count, counts / count, _SAMPLES)])
    shares: Float64 = drawn[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:] / count
    return shares


def _weigh(
    kept: Int64, wrong: Float64, recall: Float64, translated: Float64, planted: Planted
) -> Float64:
    """Return how much each T is worth for each sample of plants, [1 + samples, T]."""
    told = kept >= min(_FEWEST_KEPT, int(kept.max(initial=0)))
    count = np.maximum(kept[told], 1).astype(np.float64)
    share = recall[:, None, told]
    right = translated[None, :, None] * share
    expected = np.maximum(wrong[..., told] + right, 1.0)
    noise = translated[None, :, None] ** 2 * share * (1.0 - share) / planted.whole
    variance = _MODEL_ERROR**2 + 1.0 / count + noise / expected**2
    # Thresholds lie close where pairs do: each counts for the stretch that it stands for.
    stretch = np.abs(np.gradient(np.log(count))) + 1e-3 if len(count) > 1 else np.ones(1)
    misfit = (np.log((expected + 1) / (count + 1)) ** 2 / variance) @ (stretch / stretch.sum())
    weights: Float64 = np.exp(-0.5 * _READINGS * (misfit - misfit.min(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _quantile(values: Float64, weights: Float64, share: float) -> Float64:
    """Return what this share of the weight does not exceed, [G], of values [S, T, G]."""
    flat, weight = values.reshape(-1, values.shape[-1]), weights.ravel() / len(weights)
    order = np.argsort(flat, axis=0, kind="stable")
    row = (np.cumsum(weight[order], axis=0) >= share - 1e-9).argmax(axis=0)
    columns = np.arange(flat.shape[1])
    quantile: Float64 = flat[order[row, columns], columns]
    return quantile


def precision_of(wrong: Float64, kept: Int64) -> Float64:
    """Return the share that is right, never falling as the threshold rises; 0 of no pairs."""
    share = 1.0 - wrong / np.maximum(kept, 1)
    told = (kept > 0) & (kept >= min(_FEWEST_KEPT, int(kept.max(initial=0))))
    rising: Float64 = np.maximum.accumulate(np.where(told, share, 0.0))
    return rising
