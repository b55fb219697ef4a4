"""The results of scoring, in memory and as files: scores.tsv, scores.json, averages.tsv."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import DataError, UserError
from corpus.files import read_json, write_lines, write_text
from corpus.languages import Direction, parse_direction
from eval.metrics.metrics import find_metric
from eval.statistics.averages import Average, ResampledMeans, average, write_averages
from eval.tables import read_rows, write_table

COLUMNS = ("system", "direction", "metric", "value", "n", "signature")
INTERVAL_COLUMNS = ("system", "direction", "metric", "value", "low", "high", "sentence_mean")


@dataclass(frozen=True)
class Row:
    """A line of `scores.tsv`, and of `intervals.tsv`."""

    system: str
    direction: Direction
    metric: str
    value: float
    n: int
    signature: str
    low: float | None = None
    """Ends of the bootstrap interval."""
    high: float | None = None
    sentence_mean: float | None = None
    """Plain mean of the sentences' scores."""


@dataclass(frozen=True)
class Scores:
    """All results of scoring."""

    rows: Sequence[Row]
    averages: Sequence[Average]
    missing: Mapping[str, Sequence[Direction]]
    """Directions that another system has and this one does not, by system."""
    warnings: Sequence[str]
    test_set: str = ""
    """The test set in words, with the codes of languages that it names otherwise."""


def average_rows(
    rows: Sequence[Row],
    buckets: Mapping[str, frozenset[Direction]],
    resampled: ResampledMeans | None = None,
    confidence: float = 0.95,
) -> list[Average]:
    """Return the averages of scores over buckets; see `eval.statistics.averages.average`."""
    return average(
        {(row.system, row.metric, row.direction): row.value for row in rows},
        buckets,
        resampled,
        confidence,
        {
            (row.system, row.metric, row.direction): row.signature
            for row in rows
            if find_metric(row.metric).depends_on_tokenizer
        },
    )


def write_result(output: Path, scores: Scores) -> list[Path]:
    """Write the tables; return their files."""
    rows = sorted(scores.rows, key=lambda row: (row.system, row.direction, row.metric))
    names = [str(row.direction) for row in rows]
    table = (
        # repr keeps every bit of the value.
        f"{row.system}\t{name}\t{row.metric}\t{row.value!r}\t{row.n}\t{row.signature}"
        for row, name in zip(rows, names, strict=True)
    )
    write_lines(output / "scores.tsv", ["\t".join(COLUMNS), *table])
    intervals = (
        (row.system, name, row.metric, row.value, row.low, row.high, row.sentence_mean)
        for row, name in zip(rows, names, strict=True)
    )
    write_table(output / "intervals.tsv", INTERVAL_COLUMNS, intervals)
    write_averages(output / "averages.tsv", scores.averages)
    _write_json(output / "scores.json", scores)
    files = ("scores.tsv", "intervals.tsv", "averages.tsv", "scores.json")
    return [output / name for name in files]


def plain_scores(scores: Scores) -> dict[str, Any]:
    """Return scores as JSON has them, in the order of scores.json."""
    rows = sorted(scores.rows, key=lambda row: (row.system, row.direction, row.metric))
    return {
        "scores": [{**vars(row), "direction": str(row.direction)} for row in rows],
        "averages": [plain_average(entry) for entry in scores.averages],
        "warnings": list(scores.warnings),
        "missing": {
            name: [str(pair) for pair in lacking] for name, lacking in scores.missing.items()
        },
        "test_set": scores.test_set,
    }


def _write_json(path: Path, scores: Scores) -> None:
    """Write one object, a line for each entry: indented JSON of a whole grid takes seconds."""
    plain = plain_scores(scores)
    last = [f'"{name}": {_dump(plain.pop(name))}' for name in ("missing", "test_set")]
    lists = [
        f'"{name}": [\n' + ",\n".join(map(_dump, lines)) + "\n]" for name, lines in plain.items()
    ]
    write_text(path, "{" + ",\n".join([*lists, *last]) + "}\n")


def plain_average(entry: Average) -> dict[str, object]:
    """Return an average as JSON has it."""
    plain = entry._asdict()
    if entry.tokenizers is None:
        del plain["tokenizers"]
    return plain


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def read_result(output: Path) -> Scores:
    """Read what `write_result` wrote.

    Raises:
        DataError: If it is not there or damaged.
    """
    path = output / "scores.json"
    found = read_json(path)
    try:
        return Scores(
            [
                Row(**{**row, "direction": Direction(*row["direction"].split("-"))})
                for row in found["scores"]
            ],
            [Average(**entry) for entry in found["averages"]],
            {
                system: [parse_direction(text) for text in lacking]
                for system, lacking in found["missing"].items()
            },
            found["warnings"],
            found.get("test_set", ""),
        )
    except (AttributeError, KeyError, TypeError, ValueError, UserError) as error:
        raise DataError(f"{path} is not what `tongues eval score` writes: {error}") from None


def read_scores(path: Path) -> list[Row]:
    """Read a `scores.tsv`.

    Raises:
        DataError: If a column is missing, or a row is not a score; the message names the line.
    """
    rows = []
    for number, cells in read_rows(path, COLUMNS):
        place = f"{path}:{number}"
        try:
            direction, n = parse_direction(cells["direction"]), int(cells["n"])
            value = float(cells["value"])
        except (UserError, ValueError) as error:
            raise DataError(f"{place}: not a row of scores: {error}") from None
        if not math.isfinite(value):
            raise DataError(f"{place}: the value is {value}, which is not a score; delete the row")
        rows.append(Row(cells["system"], direction, cells["metric"], value, n, cells["signature"]))
    return rows
