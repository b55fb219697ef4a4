"""Published scores of others, for tables beside ours: quoted, never measured.

NLLB's per-direction files are CSV rows `eng_Latn-fra_Latn,48.1`. The Helsinki leaderboard
(github.com/Helsinki-NLP/OPUS-MT-leaderboard) has tab-separated rows `direction, test set, score`,
and `direction, test set, chrF, BLEU, model, lines, tokens` in `*.scores.txt`, with chrF in 0-1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import read_lines
from corpus.languages import Direction, parse_direction

_TEST_SETS = ("flores200", "flores-200")
_ALL_SCORES_COLUMNS = 7


def read_quoted(path: Path, metric: str, split: str) -> dict[Direction, float]:
    """Read the scores of one system, on the scale 0-100.

    Args:
        path: CSV or leaderboard file; the system has its name without suffixes.
        metric: Which number to take where a row has several, and whether 0-1 is meant.
        split: Test set's split; rows of the leaderboard for other test sets are left out.

    Raises:
        UserError: If the file does not exist.
        DataError: If a row is none of these, its direction is unknown or there twice, its score is
            negative or no number, or no row is of this test set.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a file of published scores")
    scores: dict[Direction, float] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        cells = line.split("\t") if "\t" in line else line.split(",")
        is_leaderboard = "\t" in line
        if is_leaderboard and len(cells) > 2 and not _is_test_set(cells[1], split):
            continue
        value = _read_score(cells, metric, is_leaderboard, place)
        if value is None:
            if number == 1:
                continue  # a header
            raise DataError(f"{place}: not a row of published scores: {line[:80]}")
        direction = _read_direction(cells[0], place)
        if not 0 <= value < math.inf:
            raise DataError(
                f"{place}: {value} is not a score. Where it stands for a missing one, as NLLB's -1"
                " does, delete the row."
            )
        if direction in scores:
            raise DataError(f"{place}: {direction} is there twice")
        scores[direction] = value
    if not scores:
        raise DataError(
            f"{path} has no scores of flores200-{split}: rows are `src-tgt,score`, or tab-separated"
            " direction, test set and score"
        )
    return scores


def _is_test_set(name: str, split: str) -> bool:
    return any(name == f"{test_set}-{split}" for test_set in _TEST_SETS)


def _read_score(
    cells: Sequence[str], metric: str, is_leaderboard: bool, place: str
) -> float | None:
    column = 1
    if is_leaderboard and len(cells) == _ALL_SCORES_COLUMNS:
        if metric not in ("chrf", "bleu"):
            raise DataError(f"{place}: such a file has chrF and BLEU, not {metric}")
        column = 2 if metric == "chrf" else 3
    elif is_leaderboard and len(cells) > 2:
        column = 2
    elif len(cells) != 2:
        return None
    try:
        value = float(cells[column])
    except ValueError:
        return None
    # The leaderboard gives chrF as a share; so do no others.
    return 100 * value if is_leaderboard and metric.startswith("chrf") else value


def _read_direction(text: str, place: str) -> Direction:
    try:
        return parse_direction(text.strip())
    except UserError as error:
        raise DataError(f"{place}: {error}") from None
