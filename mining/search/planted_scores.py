"""Margins of planted sentences, by whether the pair that got them is right."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from mining.search.margin import Float32, Int64, Pairs


class Planted(NamedTuple):
    """How many known sentences are planted; the first `whole` of both sides are partners."""

    whole: int
    source: int
    """Planted source sentences, the whole pairs' included."""

    target: int


class PlantedScores(NamedTuple):
    """Margins of the pairs of planted sentences, by whether they are right."""

    found: Float32
    """Of whole pairs that found each other."""

    misled: tuple[Float32, Float32]
    """Of sources, and of targets, that have a partner and got another."""

    alone: tuple[Float32, Float32]
    """Of sources, and of targets, that have no partner and got one."""

    second: tuple[Float32, Float32]
    """Second choices of sources, and of targets, that found their partner."""


def planted_scores_of(
    pairs: Pairs, second: Pairs, sources: int, targets: int, planted: Planted
) -> PlantedScores:
    """Return the margins of the pairs of planted sentences, by whether they are right.

    Args:
        pairs: Selected pairs of a search space whose planted sentences come last.
        second: What is selected when these are taken away.
        sources: Source sentences before the planted ones.
        targets: Target sentences before the planted ones.
        planted: How many are planted.
    """
    source, target = pairs.source - sources, pairs.target - targets
    is_found = (source >= 0) & (source < planted.whole) & (source == target)

    def misled(side: Int64) -> Float32:
        scores: Float32 = pairs.score[(side >= 0) & (side < planted.whole) & ~is_found]
        return scores

    partners = np.unique(source[is_found])
    return PlantedScores(
        found=pairs.score[is_found],
        misled=(misled(source), misled(target)),
        alone=(pairs.score[source >= planted.whole], pairs.score[target >= planted.whole]),
        second=(
            second.score[np.isin(second.source - sources, partners)],
            second.score[np.isin(second.target - targets, partners)],
        ),
    )


def join_planted_scores(parts: Sequence[PlantedScores]) -> PlantedScores:
    """Join the margins of sentences that were planted part by part."""

    def join(sides: Iterable[tuple[Float32, Float32]]) -> tuple[Float32, Float32]:
        sources, targets = zip(*sides, strict=True)
        return np.concatenate(sources), np.concatenate(targets)

    return PlantedScores(
        found=np.concatenate([part.found for part in parts]),
        misled=join(part.misled for part in parts),
        alone=join(part.alone for part in parts),
        second=join(part.second for part in parts),
    )
