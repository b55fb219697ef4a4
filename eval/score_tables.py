"""The tables of a scoring run, made from its cells: scores, intervals, averages, warnings, page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from corpus.files import write_text
from corpus.jobs.run import Outcome, Task
from corpus.languages import Direction, parse_direction
from eval.config import ScoreConfig
from eval.hypotheses import COPY, Systems
from eval.pages.grid_data import grid_data
from eval.pages.page_data import (
    check_files,
    example_segments,
    language_intervals,
    page_languages,
    read_checks,
)
from eval.pages.score_page import render_scores
from eval.statistics.averages import ResampledMeans, average
from eval.statistics.buckets import (
    LanguageTable,
    built_in_table,
    make_buckets,
    read_directions,
    read_language_table,
)
from eval.statistics.cells import Grid, read_cells, read_resamples
from eval.statistics.readme_tables import latex_tables, markdown_tables
from eval.statistics.results import Row, Scores, write_result

PERFECT = 100.0

Cells = Sequence[tuple[Direction, Mapping[str, Any]]]
"""Rows of cells files with their directions."""


def make_tables(task: Task, *, systems: Systems, grid: Grid, config: ScoreConfig) -> Outcome:
    """Write the tables and the page from the cells of all targets."""
    targets: list[str] = task.arguments["targets"]
    cells = [
        (Direction(row["source"], target), row)
        for target in targets
        for row in read_cells(grid.cells(target))
    ]
    scored: dict[str, set[Direction]] = defaultdict(set)
    for direction, row in cells:
        scored[row["system"]].add(direction)
    expected = {direction for found in scored.values() for direction in found}
    expected |= {parse_direction(text) for text in task.arguments["directions"]}
    missing = {system: sorted(expected - found) for system, found in sorted(scored.items())}
    buckets = find_buckets(expected, config)
    scores = Scores(
        [make_row(direction, row) for direction, row in cells],
        average(
            {(row["system"], row["metric"], pair): row["value"] for pair, row in cells},
            buckets,
            _gather(targets, grid, buckets),
            grid.confidence,
        ),
        missing,
        _find_warnings(cells) + _say_missing(missing, len(expected)),
    )
    files = write_result(grid.output, scores)
    pages = {
        "averages.md": markdown_tables(scores.averages),
        "averages.tex": latex_tables(scores.averages),
        "report.html": _render(scores, targets, systems, grid, config),
    }
    for name, text in pages.items():
        write_text(grid.output / name, text)
    files += [grid.output / name for name in pages]
    return Outcome(counts={"scores": len(cells)}, outputs=tuple(files))


def _render(
    scores: Scores, targets: Sequence[str], systems: Systems, grid: Grid, config: ScoreConfig
) -> str:
    """Return the page."""
    directions = {row.direction for row in scores.rows}
    data = grid_data(
        {(row.system, row.metric, row.direction): row.value for row in scores.rows},
        list(systems),
        page_languages(directions, find_table(config)),
        language_intervals(targets, grid),
        example_segments(scores.rows, systems, grid, config.page_directions, config.page_lines),
    )
    return render_scores(scores, data, read_checks(check_files(grid.output)))


def find_buckets(
    directions: set[Direction], config: ScoreConfig
) -> dict[str, frozenset[Direction]]:
    """Return the buckets that a config asks for."""
    supervised = read_directions(config.supervised) if config.supervised is not None else None
    return make_buckets(directions, find_table(config), config.pivot, supervised)


def find_table(config: ScoreConfig) -> LanguageTable:
    """Return what is known of languages: a person's own table, or the built-in one."""
    if config.languages is not None:
        return read_language_table(config.languages)
    return built_in_table(config.counts)


def make_row(direction: Direction, cell: Mapping[str, Any]) -> Row:
    """Return the row of scores of a cell."""
    return Row(
        cell["system"], direction, cell["metric"], cell["value"], cell["n"], cell["signature"],
        cell["low"], cell["high"], cell["sentence_mean"],
    )  # fmt: skip


def _gather(
    targets: Sequence[str], grid: Grid, buckets: Mapping[str, frozenset[Direction]]
) -> ResampledMeans | None:
    if not grid.resamples:
        return None
    means = ResampledMeans(buckets)
    for target in targets:
        groups: dict[tuple[str, str], list[int]] = defaultdict(list)
        rows = read_cells(grid.cells(target))
        for place, row in enumerate(rows):
            groups[row["system"], row["metric"]].append(place)
        resamples = read_resamples(grid.cells(target))
        for (system, metric), places in groups.items():
            pairs = [Direction(rows[place]["source"], target) for place in places]
            means.add(system, metric, pairs, resamples[places])
    return means


def _find_warnings(cells: Cells) -> list[str]:
    """Say what is odd in the hypotheses: by system and file, not by path.

    So results say the same wherever the run lies.
    """
    warnings = []
    files: dict[tuple[str, str], list[Direction]] = defaultdict(list)
    seen: set[tuple[str, Direction]] = set()
    for direction, row in cells:
        system, lines = row["system"], row["n"]
        if system != COPY and (system, direction) not in seen:
            seen.add((system, direction))
            files[system, row["hypotheses"]].append(direction)
            where = f"{system}/{direction}.txt"
            if row["empty"]:
                share = f"{row['empty']} of {lines} lines are empty"
                warnings.append(f"{where}: {share}, the first is line {row['first_empty']}")
            if row["equal_to_source"]:
                share = f"{row['equal_to_source']} of {lines} lines are equal to the source"
                first = row["first_equal_to_source"]
                warnings.append(f"{where}: {share}, the first is line {first}")
            if row["invalid"]:
                warnings.append(f"{where}: {row['invalid']} of {lines} lines are not UTF-8")
        if row["value"] >= PERFECT and row["metric"] != "ter":
            warnings.append(
                f"{system} scores {row['value']:g} {row['metric']} in {direction}: are these the"
                " references themselves?"
            )
    for (system, _), directions in files.items():
        if len(directions) > 1:
            names = ", ".join(f"{direction}.txt" for direction in directions[:5])
            warnings.append(
                f"{system}: {len(directions)} files have the same content: {names}; was one copied"
                " over another?"
            )
    return warnings


def _say_missing(missing: Mapping[str, Sequence[Direction]], expected: int) -> list[str]:
    return [
        f"{system}: {len(lacking)} of {expected} directions are missing"
        for system, lacking in missing.items()
        if lacking
    ]
