"""Scores of false pairs, estimated by the corpus's own second choices.

Remove every mined pair and mine again. The translations are gone with the first choices, so what is
found is false, and it comes from the lines that are mined: decoys, as in the target-decoy search of
proteomics (Elias and Gygi 2007). They score lower than first choices, by how much is known: where
false candidates of a sentence that score above a margin come at a rate r, and sentences are more
and less crowded by a gamma distribution of shape S, then of the sentences have

    at least one: first(r) = 1 - (1 + r / S)^-S
    at least two: second(r) = first(r) - r * (1 + r / S)^-(S + 1)

So the share of second choices above a margin gives the rate there, and the rate the false first
choices. Translated sentences keep only one false choice more, not two; and as their translation
raises the mean of their neighborhood, the margins of their other neighbors are lower: they have
`relief` times the rate, which planted pairs show.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mining.search.config import Margin, Retrieval
from mining.search.margin import Float32, Neighbors, Pairs, select_pairs

Float64 = npt.NDArray[np.float64]

FEWEST = 80
"""Second choices that are needed for an estimate."""

_SHAPE = 8.0
"""Of the gamma distribution of crowdedness. On text without any translation, noise of NTREX-128
and NLLB-Seed experiments, shapes from 4 to infinity all fit the middle; 8 errs little in the
tail, and rather to too many false pairs."""

_RATES = np.concatenate([[0.0], np.geomspace(1e-6, 30.0, 2000)])
_TOP_RANK = 20
"""Above the margin of this rank, second choices are too few to count: the logarithm of the rate
continues as a straight line."""

_BODY = 0.25
"""The line is fitted from there to this share of the second choices."""

_LINE_POINTS = 20
_HIGH_RATE = 0.7
"""`relief` is counted above the margin where false candidates come at this rate."""

_LEAST_RELIEF, _MOST_RELIEF = 0.1, 2.0
_ROUNDS = 2
_PRIOR = 0.5
"""Translated sentences that `relief` is 1 for, before any was seen."""


class Decoys(NamedTuple):
    """Second choices of a corpus, and of the planted sentences that found their partners."""

    scores: Float32
    """Margins of the corpus's second choices, [P]."""

    found: tuple[Float32, Float32]
    """Margins that found sources, and found targets, got as second choices."""

    num_found: int
    """Planted pairs that found each other."""

    sides: tuple[int, ...]
    """Whose sentences have at most one pair: sources (0), targets (1)."""

    sizes: tuple[int, int]
    """Source and target sentences of the corpus."""


def paired_once(retrieval: Retrieval) -> tuple[int, ...]:
    """Return whose sentences have at most one pair: sources (0), targets (1)."""
    return {"forward": (0,), "backward": (1,)}.get(retrieval, (0, 1))


def second_choices(
    forward: Neighbors, backward: Neighbors, first: Pairs, margin: Margin, retrieval: Retrieval
) -> Pairs:
    """Return the pairs that are selected when the first ones are removed."""
    pairs = select_pairs(forward, backward, margin, retrieval, without=first)
    is_pair = np.isfinite(pairs.score)
    return Pairs(pairs.source[is_pair], pairs.target[is_pair], pairs.score[is_pair])


def first_share(rate: Float64) -> Float64:
    """Return the share of sentences with at least one false candidate at these rates."""
    share: Float64 = 1.0 - (1.0 + rate / _SHAPE) ** -_SHAPE
    return share


def second_share(rate: Float64) -> Float64:
    """Return the share of sentences with at least two false candidates at these rates."""
    share: Float64 = first_share(rate) - rate * (1.0 + rate / _SHAPE) ** -(_SHAPE + 1)
    return share


def wrong_pairs(decoys: Decoys, grid: Float64, pairs: int, true_share: float) -> Float64:
    """Return how many of the mined pairs are false and reach each threshold.

    Args:
        decoys: Second choices, at least `FEWEST`.
        grid: Thresholds.
        pairs: Mined pairs.
        true_share: Which share of them are translations.
    """
    ordered = np.sort(decoys.scores.astype(np.float64))
    translated = float(np.mean([true_share * pairs / decoys.sizes[side] for side in decoys.sides]))
    relief = 1.0
    for _ in range(_ROUNDS):
        relief = _relief(decoys, ordered, translated, relief)
    rate = _rates(ordered, grid, translated, relief)
    wrong: Float64 = pairs * (1.0 - true_share) * first_share(rate)
    return wrong


def _shares(rate: Float64, translated: float, relief: float) -> Float64:
    """Return the share of sentences with a second choice, translated ones among them."""
    share: Float64 = (1 - translated) * second_share(rate) + translated * first_share(relief * rate)
    return share


def _rates(ordered: Float64, grid: Float64, translated: float, relief: float) -> Float64:
    """Return the rate of false candidates above each threshold."""
    count = len(ordered)
    shares = _shares(_RATES, translated, relief)
    reached = count - np.searchsorted(ordered, grid, side="left")
    rate: Float64 = np.interp(reached / count, shares, _RATES)
    ranks = np.geomspace(_TOP_RANK, _BODY * count, _LINE_POINTS).astype(np.int64)
    margins = ordered[count - ranks]
    logs = np.log(np.interp(ranks / count, shares, _RATES))
    offsets = margins - margins.mean()
    spread = float(offsets @ offsets)
    if spread == 0:
        return rate
    line = logs.mean() + (grid - margins.mean()) * (float(offsets @ logs) / spread)
    above = grid > margins[0]
    rate[above] = np.exp(np.minimum(line[above], logs[0]))
    return rate


def _relief(decoys: Decoys, ordered: Float64, translated: float, relief: float) -> float:
    """Return how many times the rate of others translated sentences have, by planted ones."""
    high = np.array([_HIGH_RATE])
    rank = int(len(ordered) * float(_shares(high, translated, relief)[0]))
    margin = float(ordered[-max(rank, 1)])
    seen = _PRIOR * float(first_share(high)[0])
    most = _PRIOR
    for side in decoys.sides:
        seen += float((decoys.found[side] >= margin).sum())
        # So many of the sentences of a side get a second choice at all.
        most += decoys.num_found * min(len(ordered) / decoys.sizes[side], 1.0)
    left = max(1.0 - seen / most, 1e-3)
    rate = _SHAPE * (left ** (-1 / _SHAPE) - 1)
    return float(min(max(rate / _HIGH_RATE, _LEAST_RELIEF), _MOST_RELIEF))
