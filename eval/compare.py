"""Comparison of systems with a first one, direction by direction, with significance."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.config import dump_config
from corpus.errors import UserError
from corpus.files import make_directory, write_text
from corpus.flores import DEFAULT_SPLIT
from corpus.jobs import Outcome, Task, redo_changed, run_job
from corpus.languages import Direction
from corpus.records import read_as_written, write_table
from corpus.test_sets.files import open_test_files
from eval.config import CompareConfig
from eval.hypotheses import Systems, find_systems
from eval.metrics.metrics import find_metric, parse_metrics, sign
from eval.pages.comparison_page import render_comparison
from eval.statistics.averages import Average, ResampledMeans
from eval.statistics.buckets import ALL, find_buckets
from eval.statistics.cells import (
    TEST_SET,
    Grid,
    check_hypotheses,
    check_texts,
    load_target_statistics,
    make_grid,
    read_target,
    target_tasks,
)
from eval.statistics.comparisons import (
    COLUMNS,
    Comparison,
    Quoted,
    summarize_buckets,
    write_comparison,
)
from eval.statistics.learned_results import read_learned
from eval.statistics.published_scores import read_quoted
from eval.statistics.readme_tables import latex_systems, markdown_systems
from eval.statistics.results import Row, average_rows, plain_average
from eval.statistics.significance import (
    can_resample,
    discoveries,
    interval,
    minimum_detectable,
    p_value,
    resample_scores,
)
from eval.statistics.system_table import SystemScore, compare_in_table, plain_systems

PAGE = "comparison.html"
PAIRS = "pairs"
_PAIRS_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("baseline", pa.string()),
        ("system", pa.string()),
        ("first", pa.float64()),
        ("first_low", pa.float64()),
        ("first_high", pa.float64()),
        ("second", pa.float64()),
        ("second_low", pa.float64()),
        ("second_high", pa.float64()),
        ("p_value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("minimum_detectable", pa.float64()),
        ("n", pa.int32()),
        ("signature", pa.string()),
        ("first_resamples", pa.list_(pa.float32())),
        ("differences", pa.list_(pa.float32())),
    ]
)
"""The last two are those of the bootstrap resamples, the same lines in every direction."""
_RESAMPLES = ("first_resamples", "differences")


@dataclass(frozen=True)
class Compared:
    """The results of a comparison."""

    comparisons: Sequence[Comparison]
    quoted: Sequence[Quoted]
    unshared: Sequence[Direction]
    """Directions that the first system or another does not have."""
    buckets: Sequence[Mapping[str, Any]]
    table: Sequence[SystemScore] = ()
    """The scores beside each other; none where there are only published scores to compare with."""
    means: Sequence[Average] = ()
    """Of each system over all directions that it was compared in."""
    test_set: str = ""
    """The test set in words."""

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON has it, under the columns of the tables."""
        return {
            "systems": plain_systems(self.table),
            "averages": [plain_average(one) for one in self.means],
            "comparisons": [
                {name: getattr(one, name) for name in COLUMNS} | {"direction": str(one.direction)}
                for one in self.comparisons
            ],
            "buckets": [dict(row) for row in self.buckets],
            "quoted": [one._asdict() | {"direction": str(one.direction)} for one in self.quoted],
            "unshared": [str(direction) for direction in self.unshared],
            "test_set": self.test_set,
        }


def compare_systems(
    hypotheses: Sequence[Path],
    test_set: Path,
    split: str,
    output: Path,
    config: CompareConfig,
    quoted: Sequence[Path] = (),
) -> Compared:
    """Compare systems with the first in every direction that both have; write tables and a page.

    Raises:
        UserError: If there is nothing to compare with the first system, or they share no direction.
        DataError: If hypotheses and references differ in length, or quoted scores are damaged.
    """
    if len(hypotheses) + len(quoted) < 2 or not hypotheses:
        raise UserError(
            "compare takes --hypotheses at least twice, or once beside --quoted; it was given"
            f" {len(hypotheses)} times"
        )
    (metric,) = parse_metrics(config.metric)
    systems = find_systems(hypotheses)
    published = {
        path.name.split(".")[0]: read_quoted(path, metric, split or DEFAULT_SPLIT)
        for path in quoted
    }
    baseline, shared, unshared = _share(systems, hypotheses)
    directions = {pair for files in shared.values() for pair in files}
    tests = open_test_files(test_set, split, directions, output / TEST_SET, config.references)
    grid = make_grid(tests, output, [metric], config.as_scoring())
    make_directory(output)
    check_texts(shared, grid)
    tasks = [_with_test(task, config) for task in target_tasks(shared, grid)]
    check_hypotheses(redo_changed("compare", tasks, output), grid)
    run_job(
        name="compare",
        tasks=tasks,
        work=functools.partial(compare_target, grid=grid, baseline=baseline, config=config),
        output=output,
        workers=config.workers,
    )
    found = [(task.name, _pairs_file(grid, task.name)) for task in tasks]
    comparisons = _judge(found, metric, config.alpha)
    beside = _quote(comparisons, systems[baseline], published, metric)
    directions = {one.direction for one in comparisons}
    buckets = find_buckets(directions, config.as_scoring())
    summaries = summarize_buckets(
        comparisons, _read_differences(found), buckets, config.alpha, config.confidence
    )
    write_comparison(output, comparisons, beside, summaries)
    rows = _score_rows(found, metric)
    learned = read_learned(output)
    table = [
        *_beside_each_other(comparisons, rows, metric, list(systems), config.alpha),
        *learned.table,
    ]
    whole = {ALL: frozenset(directions)}
    resampled = _resample_means(found, metric, whole)
    means = [
        *average_rows(rows, whole, resampled, config.confidence),
        *learned.averages,
    ]
    for name, draw in (("comparison.md", markdown_systems), ("comparison.tex", latex_systems)):
        if table:
            write_text(output / name, draw(table, means, config.test))
        else:  # those of an earlier run may be of more systems
            (output / name).unlink(missing_ok=True)
    write_text(
        output / PAGE,
        render_comparison(table, means, comparisons, summaries, beside, unshared, config.test),
    )
    write_text(output / "config.yaml", dump_config(config))
    return Compared(comparisons, beside, unshared, summaries, table, means, tests.describe())


def _share(systems: Systems, hypotheses: Sequence[Path]) -> tuple[str, Systems, list[Direction]]:
    """Return the first system's name, the files that can be compared, and what cannot."""
    baseline, *others = systems
    shared: Systems = {baseline: {}}
    unshared: set[Direction] = set()
    for other in others:
        both = set(systems[baseline]) & set(systems[other])
        unshared |= set(systems[baseline]) ^ set(systems[other])
        shared[other] = {pair: systems[other][pair] for pair in sorted(both)}
        shared[baseline] |= {pair: systems[baseline][pair] for pair in sorted(both)}
    if others and not shared[baseline]:
        raise UserError(f"{hypotheses[0]} and {hypotheses[1]} have no direction in common")
    if not others:
        shared[baseline] = dict(systems[baseline])
    return baseline, shared, sorted(unshared)


def _with_test(task: Task, config: CompareConfig) -> Task:
    test = [config.test, config.trials, config.seed, config.alpha]
    arguments = {**task.arguments, "test": test, "columns": _PAIRS_SCHEMA.names}
    return Task(name=task.name, inputs=task.inputs, arguments=arguments)


def _score_rows(files: Iterable[tuple[str, Path]], metric: str) -> list[Row]:
    """Return the score of each system in each direction that it was tested in."""
    columns = [name for name in _PAIRS_SCHEMA.names if name not in _RESAMPLES]
    rows: dict[tuple[str, Direction], Row] = {}
    for row in _rows(files, columns):
        for system, side in ((row["baseline"], "first"), (row["system"], "second")):
            if system is not None:
                rows[system, row["direction"]] = Row(
                    system=system,
                    direction=row["direction"],
                    metric=metric,
                    value=row[side],
                    n=row["n"],
                    signature=row["signature"],
                    low=row[f"{side}_low"],
                    high=row[f"{side}_high"],
                )
    return list(rows.values())


def _beside_each_other(
    comparisons: Sequence[Comparison],
    rows: Sequence[Row],
    metric: str,
    systems: Sequence[str],
    alpha: float,
) -> list[SystemScore]:
    """Return the table of systems and directions; nothing where there is one system alone."""
    p_values = {
        (one.system, metric, one.direction): one.p_value
        for one in comparisons
        if one.system is not None and one.p_value is not None
    }
    if len({row.system for row in rows}) < 2:
        return []
    return compare_in_table(rows, [metric], systems, systems[0], p_values, alpha)


def _pairs_file(grid: Grid, target: str) -> Path:
    return grid.output / PAIRS / f"{target}.parquet"


def compare_target(task: Task, *, grid: Grid, baseline: str, config: CompareConfig) -> Outcome:
    """Compare all systems with the baseline in all directions into one target language."""
    names, texts, groups = read_target(task, grid)
    (metric,) = grid.metrics
    statistics = load_target_statistics(grid, task.name, texts, groups)[0][metric]
    places = {name: place for place, name in enumerate(names)}
    signatures = {
        names[place][1]: sign(
            metric, grid.models, task.name, references.digest, len(references.texts)
        )
        for references, own in groups
        for place in own
    }
    rows = [
        {
            "source": source,
            "baseline": baseline,
            "system": system,
            "signature": signatures[source],
            **_test(
                statistics[places[baseline, source]],
                statistics[places[system, source]],
                grid,
                config,
            ),
        }
        for system, source in names
        if system != baseline
    ]
    if not rows:  # there are only published numbers to compare with: its scores are wanted
        rows = [
            {
                "source": source,
                "baseline": baseline,
                "signature": signatures[source],
                "first": float(find_metric(metric).score(statistics[place].sum(axis=0))),
                "n": len(texts[place].lines),
            }
            for place, (_, source) in enumerate(names)
        ]
    write_table(_pairs_file(grid, task.name), pa.Table.from_pylist(rows, _PAIRS_SCHEMA))
    return Outcome(
        counts={"pairs": len(rows), "lines": sum(len(text.lines) for text in texts)},
        outputs=(_pairs_file(grid, task.name), grid.statistics(task.name)),
    )


def _test(
    first: NDArray[np.int64], second: NDArray[np.int64], grid: Grid, config: CompareConfig
) -> dict[str, Any]:
    score = find_metric(grid.metrics[0]).score
    values: dict[str, Any] = {
        "first": float(score(first.sum(axis=0))),
        "second": float(score(second.sum(axis=0))),
        "n": len(first),
        **dict.fromkeys(_RESAMPLES, np.empty(0, np.float32)),
    }
    if not can_resample(first):
        return values
    ours, theirs = (
        resample_scores(one, score, config.resamples, config.seed) for one in (second, first)
    )
    differences = ours - theirs
    low, high = interval(differences, config.confidence)
    for side, resampled in (("first", theirs), ("second", ours)):
        values[f"{side}_low"], values[f"{side}_high"] = interval(resampled, config.confidence)
    return {
        **values,
        "p_value": p_value(config.test, first, second, score, config.trials, config.seed),
        "low": low,
        "high": high,
        "minimum_detectable": minimum_detectable(differences, config.alpha),
        "first_resamples": theirs.astype(np.float32),
        "differences": differences.astype(np.float32),
    }


def _rows(files: Iterable[tuple[str, Path]], columns: Sequence[str]) -> Iterable[dict[str, Any]]:
    for target, path in files:
        for row in read_as_written(path, columns).to_pylist():
            yield {**row, "direction": Direction(row["source"], target)}


def _judge(files: Sequence[tuple[str, Path]], metric: str, alpha: float) -> list[Comparison]:
    """Read the pairs and find which differ once the false discovery rate is controlled.

    The rate is controlled over all directions and systems at once.
    """
    columns = [name for name in _PAIRS_SCHEMA.names if name not in _RESAMPLES]
    rows = sorted(_rows(files, columns), key=lambda row: (row["system"] or "", row["direction"]))
    tested = [row for row in rows if row["p_value"] is not None]
    significant = discoveries([row["p_value"] for row in tested], alpha)
    by_row = {id(row): found for row, found in zip(tested, significant, strict=True)}
    return [
        Comparison(
            direction=row["direction"],
            first=row["first"],
            second=row["second"],
            p_value=row["p_value"],
            significant=by_row.get(id(row), False),
            n=row["n"],
            baseline=row["baseline"],
            system=row["system"],
            metric=metric,
            low=row["low"],
            high=row["high"],
            minimum_detectable=row["minimum_detectable"],
            signature=row["signature"],
        )
        for row in rows
    ]


def _quote(
    comparisons: Sequence[Comparison],
    files: Mapping[Direction, Path],
    published: Mapping[str, Mapping[Direction, float]],
    metric: str,
) -> list[Quoted]:
    measured = {one.direction: one for one in comparisons}
    return [
        Quoted(name, direction, metric, measured[direction].first, value)
        for name, scores in published.items()
        for direction, value in sorted(scores.items())
        if direction in measured and direction in files
    ]


def _read_differences(
    files: Sequence[tuple[str, Path]],
) -> dict[tuple[str, Direction], NDArray[np.float32]]:
    found = {}
    for target, path in files:
        table = read_as_written(path, ["source", "system", "differences"])
        for source, system, row in zip(
            table.column("source").to_pylist(),
            table.column("system").to_pylist(),
            _list_rows(table, "differences"),
            strict=True,
        ):
            if system is not None:  # else it is the first system alone, beside quoted numbers
                found[system, Direction(source, target)] = row
    return found


def _resample_means(
    files: Sequence[tuple[str, Path]], metric: str, buckets: Mapping[str, frozenset[Direction]]
) -> ResampledMeans | None:
    """Return the systems' means in every resample; None if a direction could not be resampled."""
    means = ResampledMeans(buckets)
    for target, path in files:
        table = read_as_written(path, ["source", "baseline", "system", *_RESAMPLES])
        rows: dict[str, dict[Direction, NDArray[np.float32]]] = {}
        for source, baseline, system, first, difference in zip(
            *(table.column(name).to_pylist() for name in ("source", "baseline", "system")),
            *(_list_rows(table, name) for name in _RESAMPLES),
            strict=True,
        ):
            if not len(difference):
                return None
            direction = Direction(source, target)
            rows.setdefault(baseline, {})[direction] = first
            rows.setdefault(system, {})[direction] = first + difference
        for name, own in rows.items():
            means.add(name, metric, list(own), np.array(list(own.values())))
    return means


def _list_rows(table: pa.Table, name: str) -> list[NDArray[np.float32]]:
    """Return the lists of a column, not by way of Python's numbers: a grid has forty million."""
    lists = table.column(name).combine_chunks()
    # `values` and not `flatten`, which imports pyarrow.compute: a third of a second.
    values, ends = lists.values.to_numpy(), lists.offsets.to_numpy()
    return [values[begin:end] for begin, end in itertools.pairwise(ends)]
