"""Human scores as others publish them: Google's MQM tables and WMT's ESA tables.

MQM (https://github.com/google/wmt-mqm-human-evaluation): TSV without quotes, a row for each error
that a rater marked, or one without error. A segment's score is the sum of its penalties (Freitag et
al. 2021, table 12): major 5, minor 1, minor punctuation 0.1, non-translation 25.

ESA (https://github.com/wmt-conference/wmt24-news-systems, humeval/tools.py): CSV without a header,
as Appraise exports it. As there, the tutorial and the documents that only fill up an account are
left out, and the last score of a rater counts. Rows of kind `BAD` are attention items: a damaged
translation that has to score below the undamaged one.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from corpus.errors import DataError, UserError
from corpus.files import open_lines
from corpus.languages import Direction, language_choices, parse_direction
from eval.human.judgments import SCALES, Judgment, Scale
from eval.tables import read_rows

_MQM_COLUMNS = frozenset({"system", "rater", "category", "severity"})
_MQM_SEGMENTS = ("globalSegId", "seg_id", "segment_id")
_MAJOR, _MINOR, _MINOR_PUNCTUATION, _NON_TRANSLATION = -5.0, -1.0, -0.1, -25.0
_SEVERITIES = {"major": _MAJOR, "critical": _MAJOR, "minor": _MINOR}
_NO_PENALTY = frozenset({"no-error", "no_error", "neutral", "trivial", ""})
_TEST_SEVERITY = "hotw"
"""`HOTW-test` rows say whether a rater found a planted error; they are no scores."""

_ESA_FIELDS = (
    "evaluator", "system", "segment", "kind", "source", "target", "score", "document", "flag",
    "spans", "start", "end",
)  # fmt: skip
_ESA_KINDS = frozenset({"TGT", "BAD", "REF", "CHK", "SRC"})
_FILL_UPS = ("#incomplete", "#dup")


class Check(NamedTuple):
    """An attention item that someone scored."""

    evaluator: str
    passed: bool


class Ratings(NamedTuple):
    """What a table holds."""

    scale: Scale
    judgments: list[Judgment]
    checks: list[Check]


def read_published(path: Path, direction: str | None, known: Collection[str]) -> Ratings | None:
    """Read a table of MQM or ESA; None where it is neither.

    Args:
        path: The table.
        direction: The one to read.
        known: Languages of the metrics, among which a code such as `zho` is looked for.

    Raises:
        UserError: If the file does not exist, or a direction is needed and not given.
        DataError: If a row is not as it should be; the message names the line.
    """
    wanted = parse_direction(direction) if direction is not None else None
    first = next(iter(open_lines(path)), "")
    header = first.split("\t")
    if set(header) >= _MQM_COLUMNS:
        return Ratings(SCALES["mqm"], _read_mqm(path, header, wanted), [])
    cells = next(iter(csv.reader([first])), [])
    if len(cells) == len(_ESA_FIELDS) and cells[3] in _ESA_KINDS:
        return _read_esa(path, wanted, known)
    return None


def penalty(category: str, severity: str) -> float:
    """Return what an error takes off, 0 or below.

    Raises:
        DataError: If the severity is unknown.
    """
    kind = severity.strip().lower()
    if kind in _NO_PENALTY or category.startswith("Source") or "Reinterpretation" in category:
        return 0.0
    if category.rstrip("!") == "Non-translation":
        return _NON_TRANSLATION
    if kind not in _SEVERITIES:
        raise DataError(f"severity `{severity}`; known: major, minor, critical, neutral, no-error")
    if kind == "minor" and category.startswith("Fluency/Punctuation"):
        return _MINOR_PUNCTUATION
    return _SEVERITIES[kind]


def _read_mqm(path: Path, header: list[str], direction: Direction | None) -> list[Judgment]:
    segment = next((name for name in _MQM_SEGMENTS if name in header), None)
    if segment is None:
        raise DataError(f"{path} has no column {' or '.join(_MQM_SEGMENTS)}, a segment's number")
    if direction is None:
        raise UserError(
            f"{path} is a table of MQM, which does not name its languages; add --config"
            " direction=eng_Latn-deu_Latn or what it is"
        )
    sums: dict[tuple[str, str, str], float] = defaultdict(float)
    for number, row in read_rows(path, [*_MQM_COLUMNS, segment]):
        if row["severity"].lower().startswith(_TEST_SEVERITY):
            continue
        try:
            sums[row["rater"], row[segment], row["system"]] += penalty(
                row["category"], row["severity"]
            )
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
    return [
        Judgment(rater, item, direction, score, system, str(direction))
        for (rater, item, system), score in sums.items()
    ]


def _read_esa(path: Path, wanted: Direction | None, known: Collection[str]) -> Ratings:
    latest: dict[tuple[str, ...], tuple[float, float, Direction]] = {}
    bad: dict[tuple[str, ...], tuple[float, float]] = {}
    for number, row in _esa_rows(path):
        if row["kind"] not in ("TGT", "BAD") or "tutorial" in row["system"]:
            continue
        score, end, document = float(row["score"]), float(row["end"]), row["document"]
        key = (
            row["evaluator"], row["system"], document.split("#")[0], row["segment"],
            row["source"], row["target"],
        )  # fmt: skip
        if row["kind"] == "BAD":
            if key not in bad or bad[key][1] <= end:
                bad[key] = (score, end)
        elif not any(mark in document for mark in _FILL_UPS):
            direction = _direction(path, number, row, wanted, known)
            if direction is not None and (key not in latest or latest[key][1] <= end):
                latest[key] = (score, end, direction)
    judgments = [
        Judgment(
            evaluator, f"{document}:{segment}", direction, score, _plain(system), str(direction)
        )
        for (evaluator, system, document, segment, _, _), (score, _, direction) in latest.items()
    ]
    checks = [
        Check(key[0], score < latest[key][0])
        for key, (score, _) in sorted(bad.items())
        if key in latest
    ]
    return Ratings(SCALES["esa"], judgments, checks)


def _esa_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    scale = SCALES["esa"]
    try:
        for number, cells in enumerate(csv.reader(open_lines(path)), 1):
            if cells:
                row = dict(zip(_ESA_FIELDS, cells, strict=True))
                float(row["end"])
                if not scale.lowest <= float(row["score"]) <= scale.highest:
                    raise DataError(f"{path}:{number}: score {row['score']}; {scale.describe()}")
                yield number, row
    except (csv.Error, ValueError) as error:
        raise DataError(f"{path} is not whole as a table of ESA: {error}") from None


def _plain(system: str) -> str:
    """Return the system's name without that of its campaign, as in `wmt23.ONLINE-A`."""
    campaign, dot, name = system.partition(".")
    return name if dot and campaign.startswith("wmt") else system


def _direction(
    path: Path,
    number: int,
    row: Mapping[str, str],
    wanted: Direction | None,
    known: Collection[str],
) -> Direction | None:
    """Return the direction of a row; None where another one is wanted."""
    meant = [set(language_choices(row[side])) for side in ("source", "target")]
    if wanted is not None:
        return wanted if wanted.source in meant[0] and wanted.target in meant[1] else None
    codes = []
    for side, possible in zip(("source", "target"), meant, strict=True):
        there = sorted(possible & set(known)) or sorted(possible)
        if len(there) != 1:
            raise DataError(
                f"{path}:{number}: the {side} language `{row[side]}` is"
                f" {', '.join(there) or 'unknown'}; say which with --config"
                " direction=SOURCE-TARGET"
            )
        codes.append(there[0])
    return Direction(*codes)
