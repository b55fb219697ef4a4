"""Margin scores and the pairs they select (Artetxe and Schwenk 2019, sections 3.1 and 3.2)."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mining.search.config import Margin, Retrieval

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
_NO_MARGIN = np.float32(-np.inf)
_ROWS = 1 << 16
_ROUNDS = 64
"""Rounds of one-to-one matching before pairs are walked one by one."""


class Neighbors(NamedTuple):
    """The nearest sentences of the other language, by cosine."""

    ids: Int64
    """[N, k], best first."""

    cosines: Float32
    """[N, k]"""


class Pairs(NamedTuple):
    """Scored pairs of a source and a target sentence."""

    source: Int64
    target: Int64
    score: Float32


def ratio_margin(cosine: Float32, source_mean: Float32, target_mean: Float32) -> Float32:
    """Score each pair by how much closer it is than its own neighborhoods.

    score = cosine / ((source_mean + target_mean) / 2)

    Args:
        cosine: Cosine of each candidate pair, [P], in [-1, 1].
        source_mean: Mean cosine of the pair's source sentence to its k nearest targets, [P].
        target_mean: Mean cosine of the pair's target sentence to its k nearest sources, [P].

    Returns:
        Scores, [P]. 1.0 is "no closer than the neighbors"; higher is better. Where a neighborhood
        mean is not positive a ratio has no meaning, and the score is minus infinity.
    """
    mean = np.float32(0.5) * (source_mean + target_mean)
    is_positive = mean > 0
    ratio: Float32 = np.full(cosine.shape, _NO_MARGIN)
    np.divide(cosine, mean, out=ratio, where=is_positive)
    return ratio


def distance_margin(cosine: Float32, source_mean: Float32, target_mean: Float32) -> Float32:
    """Score each pair by cosine minus the mean of its neighborhoods; above 0 is closer."""
    mean = np.float32(0.5) * (source_mean + target_mean)
    return (cosine - mean).astype(np.float32, copy=False)


def margin_scores(
    cosine: Float32, source_mean: Float32, target_mean: Float32, margin: Margin
) -> Float32:
    """Score pairs with the margin of that name; `absolute` is the cosine itself."""
    if margin == "ratio":
        return ratio_margin(cosine, source_mean, target_mean)
    if margin == "distance":
        return distance_margin(cosine, source_mean, target_mean)
    return cosine


def neighborhood_means(neighbors: Neighbors) -> Float32:
    """Return the mean cosine of each sentence to its neighbors, [N]."""
    means: Float32 = neighbors.cosines.mean(axis=1, dtype=np.float32)
    return means


def best_candidates(
    neighbors: Neighbors,
    own_mean: Float32,
    other_mean: Float32,
    margin: Margin,
    without: Int64 | None = None,
) -> tuple[Int64, Float32]:
    """Return each sentence's neighbor of highest margin, and that margin; the lower id if equal.

    Args:
        neighbors: Of N sentences.
        own_mean: Mean cosine of each sentence to its neighbors, [N].
        other_mean: The same of every sentence of the other language.
        margin: Which margin.
        without: A neighbor of each sentence that does not count, [N]; of no sentence where it is
            negative. A sentence with no other neighbor gets the margin minus infinity.
    """
    ids, best = np.empty(len(own_mean), np.int64), np.empty(len(own_mean), np.float32)
    for start in range(0, len(ids), _ROWS):
        rows = slice(start, start + _ROWS)
        near = neighbors.ids[rows]
        own = np.broadcast_to(own_mean[rows, None], near.shape)
        scores = margin_scores(neighbors.cosines[rows], own, other_mean[near], margin)
        if without is not None:
            scores = np.where(near == without[rows, None], _NO_MARGIN, scores)
        best[rows] = scores.max(axis=1)
        is_best = scores == best[rows, None]
        ids[rows] = np.where(is_best, near, np.iinfo(np.int64).max).min(axis=1)
    return ids, best


def select_pairs(
    forward: Neighbors,
    backward: Neighbors,
    margin: Margin,
    retrieval: Retrieval,
    without: Pairs | None = None,
) -> Pairs:
    """Score the neighbors of both directions and select pairs, best first, ties by id.

    Args:
        forward: Nearest targets of every source sentence.
        backward: Nearest sources of every target sentence.
        margin: How pairs are scored.
        retrieval: `forward`: the best target of each source; `backward`: the best source of each
            target; `intersect`: where both agree; `max`: both, greedily from the highest score
            down, every sentence at most once.
        without: Pairs that are not to be selected, at most one of each sentence that has a say.
    """
    source_mean = neighborhood_means(forward)
    target_mean = neighborhood_means(backward)
    excluded: tuple[Int64 | None, Int64 | None] = (None, None)
    if without is not None:
        excluded = (
            _partners(without.source, without.target, len(source_mean)),
            _partners(without.target, without.source, len(target_mean)),
        )
    forward_ids, forward_scores = best_candidates(
        forward, source_mean, target_mean, margin, excluded[0]
    )
    backward_ids, backward_scores = best_candidates(
        backward, target_mean, source_mean, margin, excluded[1]
    )
    sources = np.arange(len(forward_ids), dtype=np.int64)
    targets = np.arange(len(backward_ids), dtype=np.int64)
    if retrieval == "forward":
        return sort_pairs(Pairs(sources, forward_ids, forward_scores))
    if retrieval == "backward":
        return sort_pairs(Pairs(backward_ids, targets, backward_scores))
    if retrieval == "intersect":
        agrees = backward_ids[forward_ids] == sources
        return sort_pairs(Pairs(sources[agrees], forward_ids[agrees], forward_scores[agrees]))
    return one_to_one(
        sort_pairs(
            Pairs(
                np.concatenate([sources, backward_ids]),
                np.concatenate([forward_ids, targets]),
                np.concatenate([forward_scores, backward_scores]),
            )
        )
    )


def _partners(own: Int64, other: Int64, count: int) -> Int64:
    """Return the partner of each of so many sentences; -1 for none."""
    partners = np.full(count, -1, np.int64)
    partners[own] = other
    return partners


def sort_pairs(pairs: Pairs) -> Pairs:
    """Return pairs best first, equal scores by source, then by target."""
    order = np.lexsort((pairs.target, pairs.source, -pairs.score))
    return Pairs(pairs.source[order], pairs.target[order], pairs.score[order])


def one_to_one(pairs: Pairs, rounds: int = _ROUNDS) -> Pairs:
    """Keep pairs greedily from the first on, every sentence at most once.

    A pair that is the first of those left for both its sentences is what the greedy way would keep;
    all such pairs are kept at once, those that share a sentence with them go, and so on. Few rounds
    are enough for what neighbors give; a chain that needs many is walked pair by pair.

    Args:
        pairs: Best first.
        rounds: After so many, pairs are walked one by one; the result is the same.
    """
    sources = int(pairs.source.max(initial=-1)) + 1
    targets = int(pairs.target.max(initial=-1)) + 1
    is_free = np.ones(sources, np.bool_), np.ones(targets, np.bool_)
    left: Int64 = np.arange(len(pairs.score), dtype=np.int64)
    kept: list[Int64] = []
    for _ in range(rounds):
        if not len(left):
            break
        source, target = pairs.source[left], pairs.target[left]
        first = _first(source, sources), _first(target, targets)
        places = np.arange(len(left))
        chosen = (first[0][source] == places) & (first[1][target] == places)
        kept.append(left[chosen])
        is_free[0][source[chosen]] = False
        is_free[1][target[chosen]] = False
        left = left[is_free[0][source] & is_free[1][target]]
    for row in left.tolist():
        source, target = pairs.source[row], pairs.target[row]
        if is_free[0][source] and is_free[1][target]:
            is_free[0][source] = is_free[1][target] = False
            kept.append(np.array([row], np.int64))
    rows = np.sort(np.concatenate([np.empty(0, np.int64), *kept]))
    return Pairs(pairs.source[rows], pairs.target[rows], pairs.score[rows])


def _first(values: Int64, size: int) -> Int64:
    """Return where each value stands first; of values that do not occur, anything."""
    first = np.empty(size, np.int64)
    # Of several assignments to one place the last one stays.
    first[values[::-1]] = np.arange(len(values) - 1, -1, -1)
    return first
