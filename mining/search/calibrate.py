"""What a threshold is worth: known pairs planted in the search space tell.

The best threshold moves with encoder, k and index, so it is not a constant but a measurement. Some
known pairs are planted whole: the share of them that is found is the recall. Of others only one
side is planted: whatever they are paired with is wrong, and tells how often a sentence without a
translation gets a pair. With N source sentences, of which T have a translation, a threshold keeps

    kept = T * recall + wrong,    wrong = (N - T) * alone + T * misled

where `alone` is the share of one-sided plants that get a pair, and `misled` the share of whole ones
that get another than their own. T is the least-squares solution over all thresholds, as `kept` is
known for each. The expected precision is 1 - wrong / kept.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.errors import DataError
from mining.search.config import Retrieval
from mining.search.margin import Float32, Int64, Neighbors, Pairs

Float64 = npt.NDArray[np.float64]

_STEPS = 100
_DECIMALS = 4
_BINS = 60


class Planted(NamedTuple):
    """How many known sentences are planted; the first `whole` of both sides are partners."""

    whole: int
    source: int
    """Planted source sentences, the whole pairs' included."""

    target: int


class Verdicts(NamedTuple):
    """Margins of pairs that planted sentences got, by what is known of them."""

    found: Float32
    """Of whole pairs that found each other."""

    misled: tuple[Float32, Float32]
    """Of sources, and of targets, that have a partner and got another."""

    alone: tuple[Float32, Float32]
    """Of sources, and of targets, that have no partner and got one."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a threshold is expected to keep."""

    threshold: float
    pairs: int
    """Mined pairs that score as high."""

    precision: float
    """Expected share of them that are translations."""

    recall: float
    """Share of the planted pairs that are found at this threshold."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Thresholds and what they are worth, lowest first."""

    translated: int
    """Estimated number of sentences that have a translation on the other side, T."""

    curve: tuple[Point, ...]

    def at(self, threshold: float) -> Point:
        """Return the point of the highest threshold of the curve that is not above this one."""
        below = [point for point in self.curve if point.threshold <= threshold]
        return below[-1] if below else self.curve[0]

    def threshold_for(self, precision: float) -> float:
        """Return the lowest threshold from which on the expected precision is reached.

        Raises:
            DataError: If none reaches it.
        """
        reached = None
        for point in reversed(self.curve):
            if point.precision < precision:
                break
            reached = point.threshold
        if reached is None:
            best = max(self.curve, key=lambda point: point.precision)
            raise DataError(
                f"no threshold keeps pairs of precision {precision}: {best.precision:.3f} is"
                f" expected at {best.threshold}, with {best.pairs:,} pairs. Lower"
                " `target_precision`, or use a better encoder."
            )
        return reached


def merge_neighbors(first: Neighbors, second: Neighbors, offset: int, count: int) -> Neighbors:
    """Return the nearest of two disjoint sets of candidates, best first, equal ones by id.

    Args:
        first: Neighbors among the one set, [N, k].
        second: Neighbors of the same N sentences among the other.
        offset: What is added to the ids of the second set.
        count: How many to keep.
    """
    ids = np.concatenate([first.ids, second.ids + offset], axis=1)
    cosines = np.concatenate([first.cosines, second.cosines], axis=1)
    order = np.lexsort((ids, -cosines), axis=1)[:, :count]
    return Neighbors(
        np.take_along_axis(ids, order, axis=1), np.take_along_axis(cosines, order, axis=1)
    )


def judge(pairs: Pairs, sources: int, targets: int, planted: Planted) -> Verdicts:
    """Tell the pairs of planted sentences by whether they are right.

    Args:
        pairs: Selected pairs of a search space whose planted sentences come last.
        sources: Source sentences before the planted ones.
        targets: Target sentences before the planted ones.
        planted: How many are planted.
    """
    source, target = pairs.source - sources, pairs.target - targets
    is_found = (source >= 0) & (source < planted.whole) & (source == target)

    def misled(side: Int64) -> Float32:
        scores: Float32 = pairs.score[(side >= 0) & (side < planted.whole) & ~is_found]
        return scores

    return Verdicts(
        found=pairs.score[is_found],
        misled=(misled(source), misled(target)),
        alone=(pairs.score[source >= planted.whole], pairs.score[target >= planted.whole]),
    )


def join_verdicts(parts: Sequence[Verdicts]) -> Verdicts:
    """Return the verdicts of sentences that were planted part by part."""
    return Verdicts(
        found=np.concatenate([part.found for part in parts]),
        misled=(
            np.concatenate([part.misled[0] for part in parts]),
            np.concatenate([part.misled[1] for part in parts]),
        ),
        alone=(
            np.concatenate([part.alone[0] for part in parts]),
            np.concatenate([part.alone[1] for part in parts]),
        ),
    )


def calibrate(
    scores: Float32,
    verdicts: Verdicts,
    planted: Planted,
    sources: int,
    targets: int,
    retrieval: Retrieval,
) -> Calibration:
    """Return what thresholds are expected to keep.

    Args:
        scores: Margins of the pairs mined without plants, [P].
        verdicts: Of the planted sentences.
        planted: How many were planted.
        sources: Source sentences of the corpus.
        targets: Target sentences of the corpus.
        retrieval: Whose sentences have at most one pair: both sides', or only one's.
    """
    grid = _thresholds(scores, verdicts.found)
    kept = _at_least(scores, grid).astype(np.float64)
    recall = _at_least(verdicts.found, grid) / planted.whole
    sides = {"forward": (0,), "backward": (1,)}.get(retrieval, (0, 1))
    # Wrong pairs counted by their sources, and by their targets, should agree; take the mean.
    base, slope = np.zeros(len(grid)), np.zeros(len(grid))
    for side in sides:
        lonely = (planted.source, planted.target)[side] - planted.whole
        alone = _at_least(verdicts.alone[side], grid) / lonely
        misled = _at_least(verdicts.misled[side], grid) / planted.whole
        base += (sources, targets)[side] * alone / len(sides)
        slope += (misled - alone) / len(sides)
    gain = recall + slope
    square = float(gain @ gain)
    translated = float(gain @ (kept - base)) / square if square else 0.0
    translated = min(max(translated, 0.0), float(min(sources, targets)))
    wrong = np.clip(base + translated * slope, 0.0, kept)
    precision = 1.0 - np.divide(wrong, kept, out=np.zeros(len(grid)), where=kept > 0)
    curve = tuple(
        Point(
            threshold=float(grid[i]),
            pairs=int(kept[i]),
            precision=round(float(precision[i]), _DECIMALS),
            recall=round(float(recall[i]), _DECIMALS),
        )
        for i in range(len(grid))
    )
    return Calibration(translated=round(translated), curve=curve)


def _thresholds(scores: Float32, found: Float32) -> Float64:
    """Return thresholds in even steps of the mined and of the found pairs, ascending."""
    steps = np.linspace(0, 1, _STEPS + 1)
    known = [values[np.isfinite(values)] for values in (scores, found)]
    points = [np.quantile(values.astype(np.float64), steps) for values in known if len(values)]
    if not points:
        return np.zeros(1)
    return np.unique(np.round(np.concatenate(points), _DECIMALS))


def _at_least(scores: Float32, grid: Float64) -> Int64:
    """Return how many scores reach each threshold."""
    ordered = np.sort(scores.astype(np.float64))
    counts: Int64 = len(ordered) - np.searchsorted(ordered, grid, side="left")
    return counts


def histogram(scores: Float32, verdicts: Verdicts | None) -> dict[str, list[float] | list[int]]:
    """Return counts of margins in even bins: of mined pairs, and of planted ones by verdict.

    The bins span the middle 99.8 % of the mined pairs; what lies beyond counts in the last ones.
    """
    finite = scores[np.isfinite(scores)].astype(np.float64)
    low, high = np.quantile(finite, [0.001, 0.999]) if len(finite) else (0.0, 1.0)
    edges = np.round(np.linspace(low, max(high, low + 1e-3), _BINS + 1), _DECIMALS)
    groups = {"mined": scores}
    if verdicts is not None:
        groups["found"] = verdicts.found
        groups["wrong"] = np.concatenate([*verdicts.misled, *verdicts.alone])
    counts = {
        name: np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].tolist()
        for name, values in groups.items()
    }
    return {"edges": edges.tolist(), **counts}


def as_json(calibration: Calibration | None, threshold: float) -> dict[str, object]:
    """Return the part of the calibration file that known pairs give; nulls where there are none."""
    if calibration is None:
        return {
            "expected_precision": None, "expected_recall": None, "translated": None, "curve": []
        }  # fmt: skip
    point = calibration.at(threshold)
    return {
        "expected_precision": point.precision,
        "expected_recall": point.recall,
        "translated": calibration.translated,
        "curve": [asdict(point) for point in calibration.curve],
    }
