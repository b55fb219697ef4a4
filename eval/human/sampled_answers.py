"""What people answered on pages of `tongues eval sample`, by what kind of item it was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from corpus.errors import DataError
from corpus.languages import Direction
from eval.human.judgments import Judgment
from eval.human.published_tables import Check
from eval.human.sampling import ATTENTION, CALIBRATION, Item


def split_answers(
    answers: Sequence[Judgment], items: Sequence[Item], path: Path
) -> tuple[list[Judgment], list[Judgment], list[Check]]:
    """Return the judgments of systems, those of calibration items, and the attention checks.

    An item that several systems wrote is a judgment of each.

    Args:
        answers: What the pages saved.
        items: The sample.
        path: Where it is, for messages.

    Raises:
        DataError: If an answer is of no item of the sample.
    """
    by_name: dict[tuple[str, Direction], list[Item]] = defaultdict(list)
    for item in items:
        by_name[item.item, item.direction].append(item)
    judgments: list[Judgment] = []
    calibration: list[Judgment] = []
    checks: list[Check] = []
    for answer in answers:
        rows = by_name.get((answer.item, answer.direction))
        if rows is None:
            raise DataError(
                f"{answer.evaluator} scored item {answer.item} of {answer.direction}, which {path}"
                " does not have; is it of another sample?"
            )
        for row in rows:
            if row.kind == ATTENTION:
                passed = row.lowest <= answer.score <= row.highest
                checks.append(Check(answer.evaluator, passed))
            elif row.kind == CALIBRATION:
                calibration.append(answer)
            else:
                judgments.append(answer._replace(system=row.system))
    return judgments, calibration, checks
