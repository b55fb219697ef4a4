"""Data of the page of scores beside the scores: languages, intervals, example lines, checks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.errors import DataError
from corpus.files import read_json
from corpus.languages import Direction, check_language
from eval.checks.content import RULES
from eval.checks.contrast import Preference
from eval.hypotheses import COPY, Systems
from eval.metrics.metrics import find_metric
from eval.pages.grid_data import GridLanguage, Interval, SegmentLine, Segments
from eval.statistics.buckets import LanguageTable
from eval.statistics.cells import (
    Grid,
    load_statistics,
    read_cells,
    read_hypotheses,
    read_resamples,
)
from eval.statistics.learned_results import LearnedResults, learned_files, read_learned
from eval.statistics.results import Row
from eval.statistics.significance import interval
from eval.statistics.store import read_references, read_text
from eval.statistics.system_table import list_systems

CHECK_FIGURES = {
    "off_target": ("off_target_rate", "reference_rate"),
    "hallucination": ("suspect_rate", "reference_rate"),
    "toxicity": ("added_rate",),
    "content": (
        "suspect_rate",
        "reference_rate",
        *(f"{rule}_{kind}" for rule in RULES for kind in ("rate", "reference_rate")),
    ),
}
"""Checks whose summaries `tongues eval check` writes beside the scores, and the means shown."""

CONTRAST = "contrast"
"""Name of its table beside the scores."""

LONGEST_SHOWN = 2_000
"""Characters of a line on the page; the longest of FLORES-200 has 597."""

_SIDES = ("source", "target")
_DECIMALS = 2


def page_languages(directions: Iterable[Direction], table: LanguageTable) -> list[GridLanguage]:
    """Return the languages of directions, sorted by code, with what a table knows of them."""
    families = table.columns.get("family", {})
    return [
        GridLanguage(
            code=code,
            name=check_language(code).name,
            script=check_language(code).script,
            family=families.get(code, ""),
            level=table.levels.get(code, ""),
            lines=table.sentences.get(code, 0),
        )
        for code in sorted({code for direction in directions for code in direction})
    ]


def language_intervals(
    cells: Mapping[str, Path], confidence: float
) -> dict[tuple[str, str], dict[str, dict[str, Interval]]]:
    """Return by system and metric the interval of each language's mean, as source and as target.

    Resample i has the same lines in every direction, so a mean over directions is resampled as
    one score is; see `eval.statistics.averages`.

    Args:
        cells: Cells file of each target language.
        confidence: Of the intervals.
    """
    sums: dict[tuple[str, str, str, str], tuple[int, NDArray[np.float64]]] = {}
    for target, path in cells.items():
        resamples = read_resamples(path).astype(np.float64)
        if not resamples.shape[-1]:  # none were asked for, or a test set of one line
            continue
        rows = read_cells(path)
        for row, scores in zip(rows, resamples, strict=True):
            for side, code in (("source", row["source"]), ("target", target)):
                key = (row["system"], row["metric"], side, code)
                n, whole = sums.get(key, (0, np.zeros(len(scores))))
                sums[key] = (n + 1, whole + scores)
    found: dict[tuple[str, str], dict[str, dict[str, Interval]]] = defaultdict(
        lambda: {side: {} for side in _SIDES}
    )
    for (system, metric, side, code), (n, whole) in sums.items():
        low, high = interval(whole / n, confidence)
        found[system, metric][side][code] = (round(low, _DECIMALS), round(high, _DECIMALS))
    return dict(found)


def example_segments(
    rows: Sequence[Row], systems: Systems, grid: Grid, directions: int, lines: int
) -> Segments | None:
    """Return lines of the directions with the lowest scores of the first system.

    Of a direction's lines every n-th is taken in the order of their own scores, so that bad, usual
    and good ones are there.

    Args:
        rows: All scores.
        systems: Files of the systems, in the order of the page.
        grid: Where the texts are.
        directions: How many directions.
        lines: How many lines of each.
    """
    metric = grid.metrics[0]
    first = next((name for name in systems if name != COPY), None)
    own = sorted(
        (row.value, row.direction) for row in rows if (row.system, row.metric) == (first, metric)
    )
    if first is None or not own or not directions or not lines:
        return None
    return Segments(
        metric=metric,
        directions={
            direction: _lines_of(direction, systems, first, grid, metric, lines)
            for _, direction in sorted(own[:directions], key=lambda one: one[1])
        },
    )


def _lines_of(
    direction: Direction, systems: Systems, first: str, grid: Grid, metric: str, count: int
) -> list[SegmentLine]:
    sources = read_text(grid.tests.source_file(direction)).lines
    references = read_references(grid.tests.reference_files(direction))
    names = [name for name, files in systems.items() if direction in files]
    texts = [read_hypotheses(systems[name][direction], grid) for name in names]
    statistics, _ = load_statistics(grid, direction.target, references, texts)
    scores = dict(zip(names, find_metric(metric).score_sentences(statistics[metric]), strict=True))
    order = np.argsort(scores[first], kind="stable")
    places = sorted({int(place) for place in np.linspace(0, len(order) - 1, count)})
    hypotheses = {name: text.lines for name, text in zip(names, texts, strict=True)}
    return [
        SegmentLine(
            line=line + 1,
            source=_clip(sources[line]),
            reference=_clip(references.lines[line]),
            hypotheses=[
                _clip(hypotheses[name][line]) if name in scores else None for name in systems
            ],
            scores=[
                round(float(scores[name][line]), _DECIMALS) if name in scores else None
                for name in systems
            ],
        )
        for line in sorted(order[places].tolist())
    ]


def _clip(text: str) -> str:
    """Cut long lines: a loop of megabytes would make the page as large."""
    left = len(text) - LONGEST_SHOWN
    return text if left <= 0 else f"{text[:LONGEST_SHOWN]} […and {left:,} characters more]"


class Findings(NamedTuple):
    """What other commands wrote beside the scores."""

    learned: LearnedResults = LearnedResults()
    """Of `tongues eval learned`."""
    checks: Mapping[str, dict[str, Any]] = {}
    """Of `tongues eval check`: summaries by system, by name of the check."""
    contrast: Sequence[Mapping[str, Any]] = ()
    """Of `tongues eval contrast`: the rows of its table."""

    def list_systems(self) -> list[str]:
        """Return the systems, those of learned scores first and in their order."""
        checked = sorted(system for check in self.checks.values() for system in check)
        contrasted = [row["system"] for row in self.contrast]
        return list(dict.fromkeys([*list_systems(self.learned.table), *checked, *contrasted]))


def finding_files(output: Path) -> list[Path]:
    """Return the files that `read_findings` reads."""
    files = [output / f"{name}.json" for name in (*CHECK_FIGURES, CONTRAST)]
    return [*(file for file in files if file.is_file()), *learned_files(output)]


def read_findings(output: Path) -> Findings:
    """Read what lies beside the scores.

    Raises:
        DataError: If a file is damaged.
    """
    return Findings(read_learned(output), _read_checks(output), _read_contrast(output))


def _read_contrast(output: Path) -> list[Mapping[str, Any]]:
    path = output / f"{CONTRAST}.json"
    if not path.is_file():
        return []
    found = read_json(path)
    rows = found.get("rows") if isinstance(found, dict) else None
    columns = {"system", "direction", *Preference._fields}
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and row.keys() >= columns for row in rows
    ):
        raise DataError(
            f"{path} is not what `tongues eval contrast` writes; run it again, or move the file"
        )
    return rows


def _read_checks(output: Path) -> dict[str, dict[str, Any]]:
    checks = {}
    for path in (output / f"{name}.json" for name in CHECK_FIGURES):
        if not path.is_file():
            continue
        summary = read_json(path)
        systems = summary.get("systems", summary) if isinstance(summary, dict) else None
        if not isinstance(systems, dict) or not all(
            _is_summary(found, CHECK_FIGURES[path.stem]) for found in systems.values()
        ):
            raise DataError(
                f"{path} is not what `tongues eval check` writes; run it again, or move the file"
            )
        checks[path.stem] = systems
    return checks


def _is_summary(found: Any, figures: Sequence[str]) -> bool:
    if not isinstance(found, dict) or not isinstance(found.get("into"), dict):
        return False
    return all(map(_is_mean, [*(found.get(name) for name in figures), *found["into"].values()]))


def _is_mean(found: Any) -> bool:
    if not isinstance(found, dict):
        return False
    counts = (found.get("n"), found.get("n_missing"))
    value = found.get("mean", "")
    return all(isinstance(one, int) for one in counts) and (
        value is None or isinstance(value, int | float)
    )
