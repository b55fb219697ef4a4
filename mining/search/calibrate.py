"""Calibration of thresholds with known pairs that are planted in the search space.

The best threshold moves with encoder, k and index, so it is not a constant but a measurement. Some
known pairs are planted whole: the share of them that is found is the recall. Of others only one
side is planted: whatever they are paired with is wrong, which shows how often a sentence without a
translation gets a pair. The corpus's own second choices give the same estimate without plants. What
follows from both is in `mining.search.expected_precision`.
"""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from corpus.errors import DataError
from mining.search.config import Retrieval
from mining.search.decoys import Decoys, Float64, paired_once
from mining.search.expected_precision import Expected, expect
from mining.search.margin import Float32, Int64, Neighbors, Pairs
from mining.search.planted_scores import Planted, PlantedScores
from mining.search.self_calibration import can_calibrate, expect_by_mutual, with_mutual

CalibratedBy = Literal["known pairs", "mutual pairs"]

_STEPS = 100
_DECIMALS = 4
_BINS = 60


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a threshold is expected to keep."""

    threshold: float
    pairs: int
    """Mined pairs that score as high."""

    precision: float
    """Expected share of them that are translations."""

    precision_low: float
    """The share that nine of ten samples and explanations expect at least."""

    recall: float
    """Share of the planted pairs that are found at this threshold; without known pairs, of the
    translations that are found at all."""

    @property
    def f1(self) -> float:
        """Expected harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Thresholds and what they are expected to keep, lowest first."""

    translated: int
    """Estimated number of sentences that have a translation on the other side, T."""

    curve: tuple[Point, ...]

    by: CalibratedBy = "known pairs"

    def at(self, threshold: float) -> Point:
        """Return the point of the highest threshold of the curve that is not above this one."""
        below = [point for point in self.curve if point.threshold <= threshold]
        return below[-1] if below else self.curve[0]

    def best_threshold(self) -> float:
        """Return the threshold of the best expected F1, the highest of equal ones."""
        best = max(self.curve, key=lambda point: (point.f1, point.threshold))
        return best.threshold

    def threshold_for(self, precision: float) -> float:
        """Return the lowest threshold from which on the low precision reaches this one.

        Raises:
            DataError: If none reaches it.
        """
        reached = None
        for point in reversed(self.curve):
            if point.precision_low < precision:
                break
            reached = point.threshold
        if reached is None:
            best = max(self.curve, key=lambda point: point.precision_low)
            raise DataError(
                f"no threshold surely keeps pairs of precision {precision}: at least"
                f" {best.precision_low:.3f} is expected at {best.threshold}, with {best.pairs:,}"
                f" pairs ({best.precision:.3f} is likely). Lower `target_precision`, plant more"
                " pairs, or use a better encoder."
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


def calibrate(
    pairs: Float32,
    second: Float32,
    planted_scores: PlantedScores,
    planted: Planted,
    sizes: tuple[int, int],
    retrieval: Retrieval,
) -> Calibration:
    """Return what thresholds are expected to keep.

    Args:
        pairs: Margins of the pairs mined without plants, [P].
        second: Margins of the corpus's second choices.
        planted_scores: Of the planted sentences.
        planted: How many were planted.
        sizes: Source and target sentences of the corpus.
        retrieval: Whose sentences have at most one pair: both sides', or only one's.
    """
    sides = paired_once(retrieval)
    grid = _thresholds(pairs, planted_scores.found)
    decoys = Decoys(second, planted_scores.second, len(planted_scores.found), sides, sizes)
    expected = expect(grid, _at_least(pairs, grid), planted_scores, planted, decoys)
    return _calibration(grid, expected, "known pairs")


def calibrate_by_mutual(
    pairs: Float32, second: Pairs, mutual: Pairs, sizes: tuple[int, int], retrieval: Retrieval
) -> Calibration | None:
    """Return what thresholds are expected to keep, without known pairs.

    Args:
        pairs: Margins of the mined pairs, [P].
        second: The corpus's second choices; where they are too few, nothing is returned.
        mutual: Pairs that are each other's best, best first.
        sizes: Source and target sentences of the corpus.
        retrieval: Whose sentences have at most one pair: both sides', or only one's.
    """
    none = np.empty(0, np.float32)
    decoys = Decoys(second.score, (none, none), 0, paired_once(retrieval), sizes)
    if not can_calibrate(decoys):
        return None
    grid = _thresholds(pairs, none)
    kept = _at_least(pairs, grid)
    decoys = with_mutual(decoys, second, mutual, grid, kept)
    return _calibration(grid, expect_by_mutual(grid, kept, decoys), "mutual pairs")


def _calibration(grid: Float64, expected: Expected, by: CalibratedBy) -> Calibration:
    columns = (expected.precision, expected.precision_low, expected.recall)
    curve = tuple(
        Point(
            threshold=threshold,
            pairs=kept,
            precision=round(precision, _DECIMALS),
            precision_low=round(low, _DECIMALS),
            recall=round(recall, _DECIMALS),
        )
        for threshold, kept, precision, low, recall in zip(
            grid.tolist(), expected.kept.tolist(), *(c.tolist() for c in columns), strict=True
        )
    )
    return Calibration(translated=round(expected.translated), curve=curve, by=by)


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


def histogram(
    scores: Float32, planted_scores: PlantedScores | None
) -> dict[str, list[float] | list[int]]:
    """Return counts of margins in even bins: of mined pairs, and of planted ones, right and wrong.

    The bins span the middle 99.8 % of the mined pairs; what lies beyond counts in the last ones.
    """
    finite = scores[np.isfinite(scores)].astype(np.float64)
    low, high = np.quantile(finite, [0.001, 0.999]) if len(finite) else (0.0, 1.0)
    edges = np.round(np.linspace(low, max(high, low + 1e-3), _BINS + 1), _DECIMALS)
    groups = {"mined": scores}
    if planted_scores is not None:
        groups["found"] = planted_scores.found
        groups["wrong"] = np.concatenate([*planted_scores.misled, *planted_scores.alone])
    counts = {
        name: np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].tolist()
        for name, values in groups.items()
    }
    return {"edges": edges.tolist(), **counts}


def as_json(calibration: Calibration | None, threshold: float) -> dict[str, object]:
    """Return the part of the calibration file that known pairs give; nulls where there are none."""
    if calibration is None:
        return {
            "expected_precision": None, "expected_precision_low": None, "expected_recall": None,
            "calibrated_by": None, "translated": None, "curve": [],
        }  # fmt: skip
    point = calibration.at(threshold)
    return {
        "expected_precision": point.precision,
        "expected_precision_low": point.precision_low,
        "expected_recall": point.recall,
        "calibrated_by": calibration.by,
        "translated": calibration.translated,
        "curve": [asdict(point) for point in calibration.curve],
    }
