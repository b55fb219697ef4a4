"""Human scores of translations: a value for each item, means over items, calibrated.

The value of an item is the median of its annotators by XSTS (Licht et al. 2022), and their mean by
ESA (Kocmi et al. 2024, 0 to 100) and MQM (Freitag et al. 2021: the penalties of a segment, 0 or
below), as their authors have it. Only XSTS is calibrated.

Each group of annotators also scores one common calibration set whose mean is 3.0 by definition;
how far a group's own mean lies from that says how strict it is. `shift` adds the difference to all
its scores. That pushes scores over the ends of the scale; `moderated` keeps 1 and 5 where they are,
moves the group's calibration mean to the nominal one, and is linear between. (The papers describe
the fading in words only; this is the simplest map that does it, and it keeps the order of scores.)
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from corpus.errors import DataError, UserError
from corpus.languages import Direction, parse_direction
from eval.config import Calibration, ScaleName
from eval.tables import read_rows

LOWEST, HIGHEST = 1.0, 5.0
"""Ends of the XSTS scale."""


class Scale(NamedTuple):
    """What scores mean."""

    name: ScaleName
    lowest: float
    highest: float
    item_value: Callable[[Sequence[float]], float]
    """Of the scores that an item's annotators gave."""

    def describe(self) -> str:
        """Return the range in words."""
        if math.isinf(self.lowest):
            return f"{self.name.upper()} is a penalty of at most {self.highest:g}"
        return f"{self.name.upper()} goes from {self.lowest:g} to {self.highest:g}"


SCALES: Mapping[str, Scale] = {
    "xsts": Scale("xsts", LOWEST, HIGHEST, statistics.median),
    "esa": Scale("esa", 0.0, 100.0, statistics.fmean),
    "mqm": Scale("mqm", -math.inf, 0.0, statistics.fmean),
}

REQUIRED = ("evaluator", "item", "direction", "score")


class Judgment(NamedTuple):
    """One annotator's score of one item."""

    evaluator: str
    item: str
    direction: Direction
    score: float
    system: str
    """Empty where the table names none."""
    group: str
    """Whose calibration applies: the column `group`, else the direction."""


class HumanScore(NamedTuple):
    """The score of a direction of a system."""

    system: str
    direction: Direction
    group: str
    mean: float
    """Over items, of each one's value over its annotators; as given."""
    items: int
    evaluators: int
    values: tuple[tuple[float, ...], ...]
    """What each item got, for agreement."""


def read_judgments(path: Path, scale: Scale = SCALES["xsts"]) -> list[Judgment]:
    """Read a TSV with the columns evaluator, item, direction, score; system and group if present.

    Raises:
        UserError: If it does not exist.
        DataError: If a column is missing, a score is not on the scale, or an evaluator scored an
            item twice; the message names the line.
    """
    judgments: list[Judgment] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, cells in read_rows(path, REQUIRED):
        judgment = _judgment(path, number, cells, scale)
        key = (judgment.evaluator, judgment.item, str(judgment.direction), judgment.system)
        if key in seen:
            raise DataError(
                f"{path}:{number}: {judgment.evaluator} scored item {judgment.item} of"
                f" {judgment.direction} already in line {seen[key]}"
            )
        seen[key] = number
        judgments.append(judgment)
    if not judgments:
        raise DataError(f"{path} has a header and no scores")
    return judgments


def _judgment(path: Path, number: int, row: Mapping[str, str], scale: Scale) -> Judgment:
    try:
        direction = parse_direction(row["direction"])
        score = float(row["score"])
    except (UserError, ValueError) as error:
        raise DataError(f"{path}:{number}: {error}") from None
    if not scale.lowest <= score <= scale.highest:
        raise DataError(f"{path}:{number}: score {row['score']}; {scale.describe()}")
    if not row["evaluator"] or not row["item"]:
        raise DataError(f"{path}:{number}: a score needs an evaluator and an item")
    group = row.get("group") or str(direction)
    return Judgment(row["evaluator"], row["item"], direction, score, row.get("system", ""), group)


def score_directions(
    judgments: Sequence[Judgment], scale: Scale = SCALES["xsts"]
) -> list[HumanScore]:
    """Return the score of each direction of each system: mean over items of their values.

    Raises:
        DataError: If two groups of annotators scored one direction, whose calibrations differ.
    """
    rows: dict[tuple[str, Direction], list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        rows[judgment.system, judgment.direction].append(judgment)
    scores = []
    for (system, direction), own in sorted(rows.items()):
        groups = {judgment.group for judgment in own}
        if len(groups) > 1:
            raise DataError(
                f"{direction} was scored by the groups {', '.join(sorted(groups))}; a direction has"
                " one, since groups are calibrated each by itself"
            )
        values = _values_of_items(own)
        scores.append(
            HumanScore(
                system,
                direction,
                groups.pop(),
                statistics.fmean(map(scale.item_value, values)),
                len(values),
                len({judgment.evaluator for judgment in own}),
                values,
            )
        )
    return scores


def calibration_means(judgments: Sequence[Judgment]) -> dict[str, float]:
    """Return the mean of each group on the calibration set, of medians over its annotators."""
    rows: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        rows[judgment.group].append(judgment)
    return {
        group: statistics.fmean(map(statistics.median, _values_of_items(own)))
        for group, own in sorted(rows.items())
    }


def _values_of_items(judgments: Sequence[Judgment]) -> tuple[tuple[float, ...], ...]:
    values: dict[str, list[float]] = defaultdict(list)
    for judgment in judgments:
        values[judgment.item].append(judgment.score)
    return tuple(tuple(scores) for _, scores in sorted(values.items()))


def calibrate(score: float, calibration_mean: float, kind: Calibration, nominal: float) -> float:
    """Return a score as it would be if the group's calibration mean were the nominal one.

    none: s; shift: s + nominal - c; moderated: linear from (1, 1) over (c, nominal) to (5, 5).

    Raises:
        DataError: For `moderated`, if the group gave all calibration items one end of the scale.
    """
    if kind == "none":
        return score
    if kind == "shift":
        return score + nominal - calibration_mean
    if not LOWEST < calibration_mean < HIGHEST:
        raise DataError(
            f"the mean on the calibration set is {calibration_mean:g}, an end of the scale; nothing"
            " can be calibrated by that"
        )
    if score <= calibration_mean:
        return LOWEST + (score - LOWEST) * (nominal - LOWEST) / (calibration_mean - LOWEST)
    return HIGHEST - (HIGHEST - score) * (HIGHEST - nominal) / (HIGHEST - calibration_mean)
