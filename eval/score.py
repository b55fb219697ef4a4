"""`tongues eval score`: systems against a test set, by target language; then the tables."""

from __future__ import annotations

import functools
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corpus.config import dump_config
from corpus.errors import UserError
from corpus.files import make_directory, write_text
from corpus.jobs import Outcome, Task, redo_changed, run_job
from corpus.languages import Direction, parse_direction
from corpus.test_sets.files import open_test_files
from corpus.text import UNSPACED_SCRIPTS
from eval.config import ScoreConfig
from eval.hypotheses import COPY, Systems, find_systems
from eval.metrics.metrics import find_metric, signed_tokenizer
from eval.metrics.tokenizers import DEFAULT as DEFAULT_TOKENIZER
from eval.pages.grid_data import grid_data
from eval.pages.page_data import (
    Findings,
    example_segments,
    finding_files,
    language_intervals,
    page_languages,
    read_findings,
)
from eval.pages.score_page import render_scores
from eval.statistics.averages import ResampledMeans
from eval.statistics.buckets import find_buckets, find_table
from eval.statistics.cells import (
    TEST_SET,
    Grid,
    check_hypotheses,
    check_texts,
    make_grid,
    read_cells,
    read_resamples,
    score_target,
    target_tasks,
)
from eval.statistics.readme_tables import (
    latex_systems,
    latex_tables,
    markdown_systems,
    markdown_tables,
)
from eval.statistics.results import Row, Scores, average_rows, read_result, write_result
from eval.statistics.sacrebleu_check import check_with_sacrebleu
from eval.statistics.significance import centered_p_value
from eval.statistics.slices import FILE as SLICES_FILE
from eval.statistics.slices import Slice, read_parts, slice_parts, write_slices
from eval.statistics.system_table import FILE as SYSTEMS_FILE
from eval.statistics.system_table import SystemScore, compare_in_table, write_systems

logger = logging.getLogger(__name__)

_LOGGED_WARNINGS = 20
PERFECT = 100.0

Cells = Sequence[tuple[Direction, Mapping[str, Any]]]
"""Rows of cells files with their directions."""


def score_systems(
    hypotheses: Sequence[Path],
    test_set: Path,
    split: str,
    output: Path,
    metrics: Sequence[str],
    config: ScoreConfig,
    manifest: Path | None = None,
    baseline: str | None = None,
) -> Scores:
    """Score every direction of every system; write tables and report.html.

    All files are checked before the first is scored; files that did not change since the last run
    are not scored again.

    Args:
        hypotheses: Directories, a system each.
        test_set: The references: a public test set as it was published; see
            `corpus.test_sets.find`.
        split: Which part of it; the usual one if empty.
        output: Directory of the tables.
        metrics: Names that `parse_metrics` gave.
        config: How to score.
        manifest: Table of further systems.
        baseline: System that the others are tested against; by default the first.

    Raises:
        UserError: If the baseline is none of the systems, or a directory, a language or the
            SentencePiece model is missing.
        DataError: If hypotheses and references differ in length.
        TonguesError: If sacrebleu scores a cell otherwise.
    """
    systems = find_systems(hypotheses, manifest)
    every = sorted({direction for files in systems.values() for direction in files})
    if baseline is not None and baseline not in systems:
        raise UserError(
            f"--baseline {baseline} is none of the systems: {', '.join(systems)}. They are named"
            " after their directories, or in the manifest."
        )
    first = baseline or next(iter(systems))
    tests = open_test_files(test_set, split, every, output / TEST_SET, config.references)
    grid = make_grid(tests, output, metrics, config)
    if COPY in config.baselines:
        systems[COPY] = {direction: tests.source_file(direction) for direction in every}
    make_directory(output)
    check_texts(systems, grid)
    for direction in every if config.slices else ():
        slice_parts(tests, direction, (), config.slices)
        if tests.by_language:
            break  # all have the same columns
    tasks = target_tasks(systems, grid)
    todo = redo_changed("score", tasks, output)
    check_hypotheses(todo, grid)
    run_job(
        name="score",
        tasks=tasks,
        work=functools.partial(score_target, grid=grid),
        output=output,
        workers=config.workers,
    )
    scores = _write_tables(tasks, systems, grid, config, first)
    # Which cells there are may change from run to run; the config beside them is the last one.
    write_text(output / "config.yaml", dump_config(config))
    for warning in scores.warnings[:_LOGGED_WARNINGS]:
        logger.warning("%s", warning)
    more = len(scores.warnings) - _LOGGED_WARNINGS
    if more > 0:
        logger.warning("and %d more warnings, in %s", more, output / "scores.json")
    if config.check_with_sacrebleu:
        done = check_with_sacrebleu(scores, systems, grid, config.check_with_sacrebleu, config.seed)
        logger.info(
            "%d cells scored with sacrebleu too, %d segments: all equal", done.cells, done.segments
        )
    return scores


def _write_tables(
    tasks: Sequence[Task], systems: Systems, grid: Grid, config: ScoreConfig, baseline: str
) -> Scores:
    """Write the tables again if any of their inputs changed; return their content."""
    files = [file for file in (config.languages, config.supervised) if file is not None]
    for file in files:
        if not file.is_file():
            raise UserError(f"{file} does not exist")
    found = finding_files(grid.output)
    task = Task(
        name="scores",
        inputs=(
            *(grid.cells(task.name) for task in tasks),
            *(grid.slices_file(task.name) for task in tasks if grid.slices),
            *files,
            *found,
        ),
        arguments={
            "targets": [task.name for task in tasks],
            "directions": [str(parse_direction(text)) for text in config.directions],
            "files": [str(config.languages), str(config.supervised)],
            "checks": [path.relative_to(grid.output).as_posix() for path in found],
            "page": [config.page_directions, config.page_lines],
            "counts": config.counts,
            "pivot": config.pivot,
            "systems": list(systems),
            "baseline": baseline,
            "test_set": grid.tests.describe(),
        },
    )
    work = functools.partial(
        make_tables, systems=systems, grid=grid, config=config, baseline=baseline
    )
    redo_changed("tables", [task], grid.output)
    run_job(name="tables", tasks=[task], work=work, output=grid.output)
    return read_result(grid.output)


def make_tables(
    task: Task, *, systems: Systems, grid: Grid, config: ScoreConfig, baseline: str
) -> Outcome:
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
    rows = [make_row(direction, row) for direction, row in cells]
    scores = Scores(
        rows,
        average_rows(rows, buckets, _gather(targets, grid, buckets), grid.confidence),
        missing,
        [
            *_find_warnings(cells),
            *_warn_of_tokenizers(cells),
            *_warn_of_missing(missing, len(expected)),
        ],
        grid.tests.describe(),
    )
    files = write_result(grid.output, scores)
    slices = [
        one
        for target in targets
        if grid.slices
        for one in read_parts(grid.slices_file(target), target)
    ]
    if slices:
        files.append(write_slices(grid.output, slices))
    else:
        (grid.output / SLICES_FILE).unlink(missing_ok=True)
    table: list[SystemScore] = []
    if len(systems.keys() - {COPY}) > 1:
        p_values = _test_systems(targets, grid, baseline)
        table = compare_in_table(
            scores.rows, grid.metrics, list(systems), baseline, p_values, 1 - grid.confidence
        )
        files.append(write_systems(grid.output, table))
    findings = read_findings(grid.output)
    pages = {
        "averages.md": markdown_tables(scores.averages),
        "averages.tex": latex_tables(scores.averages),
        "report.html": _render(scores, table, slices, findings, targets, systems, grid, config),
    }
    if table:
        both = [*table, *findings.learned.table]
        means = [*scores.averages, *findings.learned.averages]
        pages["systems.md"] = markdown_systems(both, means)
        pages["systems.tex"] = latex_systems(both, means)
    else:  # those of an earlier run may be of more systems
        for name in (SYSTEMS_FILE, "systems.md", "systems.tex"):
            (grid.output / name).unlink(missing_ok=True)
    for name, text in pages.items():
        write_text(grid.output / name, text)
    files += [grid.output / name for name in pages]
    return Outcome(counts={"scores": len(cells)}, outputs=tuple(files))


def _render(
    scores: Scores,
    table: Sequence[SystemScore],
    slices: Sequence[Slice],
    findings: Findings,
    targets: Sequence[str],
    systems: Systems,
    grid: Grid,
    config: ScoreConfig,
) -> str:
    """Return the page."""
    directions = {row.direction for row in scores.rows}
    known = find_table(config)
    data = grid_data(
        {(row.system, row.metric, row.direction): row.value for row in scores.rows},
        list(systems),
        page_languages(directions, known),
        language_intervals({target: grid.cells(target) for target in targets}, grid.confidence),
        example_segments(scores.rows, systems, grid, config.page_directions, config.page_lines),
        known.published_with,
    )
    return render_scores(scores, data, findings, table, slices)


def make_row(direction: Direction, cell: Mapping[str, Any]) -> Row:
    """Return the row of scores of a cell."""
    return Row(
        system=cell["system"],
        direction=direction,
        metric=cell["metric"],
        value=cell["value"],
        n=cell["n"],
        signature=cell["signature"],
        low=cell["low"],
        high=cell["high"],
        sentence_mean=cell["sentence_mean"],
    )


def _test_systems(
    targets: Sequence[str], grid: Grid, baseline: str
) -> dict[tuple[str, str, Direction], float]:
    """Return the p-value of each system against the baseline, by metric and direction."""
    p_values = {}
    for target in targets:
        rows = read_cells(grid.cells(target))
        resamples = read_resamples(grid.cells(target))
        if not resamples.size:
            continue
        places = {(row["system"], row["source"], row["metric"]): i for i, row in enumerate(rows)}
        for place, row in enumerate(rows):
            first = places.get((baseline, row["source"], row["metric"]))
            if first is None or row["system"] in (baseline, COPY):
                continue
            differences = resamples[place].astype(np.float64) - resamples[first]
            observed = row["value"] - rows[first]["value"]
            key = (row["system"], row["metric"], Direction(row["source"], target))
            p_values[key] = centered_p_value(differences, observed)
    return p_values


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
    """Describe suspicious hypotheses by system and file, without the path.

    So results are the same wherever the run is.
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
        if row["value"] >= PERFECT and find_metric(row["metric"]).higher_is_better:
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


def _warn_of_tokenizers(cells: Cells) -> list[str]:
    """Warn where a metric was computed with several tokenizers, or with one that does not fit."""
    targets: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for direction, row in cells:
        if find_metric(row["metric"]).depends_on_tokenizer:
            targets[row["metric"]][signed_tokenizer(row["signature"])].add(direction.target)
    warnings = []
    for metric, found in sorted(targets.items()):
        if len(found) > 1:
            listed = "; ".join(
                f"{name} for {_list(codes)}" for name, codes in sorted(found.items())
            )
            warnings.append(
                f"{metric} was computed with several tokenizers ({listed}): means over them are"
                " marked, since such scores do not compare"
            )
        unsplit = {code for code in found[DEFAULT_TOKENIZER] if code[4:8] in UNSPACED_SCRIPTS}
        if unsplit:
            warnings.append(
                f"{metric} into {_list(unsplit)}: the tokenizer {DEFAULT_TOKENIZER} does not split"
                " text without spaces; rely on spbleu or chrf++"
            )
    return warnings


def _list(codes: Collection[str]) -> str:
    shown = sorted(codes)[:5]
    more = len(codes) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _warn_of_missing(missing: Mapping[str, Sequence[Direction]], expected: int) -> list[str]:
    return [
        f"{system}: {len(lacking)} of {expected} directions are missing"
        for system, lacking in missing.items()
        if lacking
    ]
