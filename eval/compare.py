"""Comparison of two systems, direction by direction, with significance."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from corpus.errors import DataError, UserError
from corpus.files import read_json, read_lines, write_json, write_lines
from corpus.flores import read_split
from corpus.jobs import Outcome, Task, run_job
from corpus.languages import Direction
from eval.config import CompareConfig
from eval.hypotheses import find_systems, read_hypotheses
from eval.metrics import MetricModels, Scorer, parse_metrics
from eval.significance import discoveries, randomization_p_value
from eval.spm import find_spm

COLUMNS = ("direction", "first", "second", "difference", "p_value", "significant", "n")


class Comparison(NamedTuple):
    """Two systems in one direction."""

    direction: Direction
    first: float
    second: float
    p_value: float
    significant: bool
    """After control of the false discovery rate over all directions."""
    n: int

    @property
    def difference(self) -> float:
        """How much better the second is."""
        return self.second - self.first


class _Pair(NamedTuple):
    direction: Direction
    first: Path
    second: Path
    references: Path
    output: Path


def compare_systems(
    hypotheses: Sequence[Path], flores: Path, split: str, output: Path, config: CompareConfig
) -> tuple[list[Comparison], list[Direction]]:
    """Compare two systems in every direction that both have; write comparison.tsv.

    Returns:
        The comparisons, and the directions that only one system has.

    Raises:
        UserError: If there are not two systems, or they share no direction.
        DataError: If hypotheses and references differ in length.
    """
    if len(hypotheses) != 2:
        raise UserError(f"compare takes --hypotheses twice; it was given {len(hypotheses)} times")
    (metric,) = parse_metrics(config.metric)
    (_, first), (_, second) = find_systems(hypotheses).items()
    shared = sorted(set(first) & set(second))
    if not shared:
        raise UserError(f"{hypotheses[0]} and {hypotheses[1]} have no direction in common")
    spm = find_spm(config.spm) if metric == "spbleu" else None
    texts = read_split(flores, split, sorted({code for pair in shared for code in pair}))
    pairs = {}
    for direction in shared:
        references = flores / split / f"{direction.target}.{split}"
        for path in (first[direction], second[direction]):
            read_hypotheses(path, texts[direction.target], str(references))
        file = output / "directions" / f"{direction}.json"
        pairs[str(direction)] = _Pair(
            direction, first[direction], second[direction], references, file
        )
    tasks = [
        Task(name=name, inputs=(pair.first, pair.second, pair.references, *([spm] if spm else [])))
        for name, pair in pairs.items()
    ]
    work = functools.partial(_compare, pairs=pairs, metric=metric, spm=spm, config=config)
    run_job(name="compare", tasks=tasks, work=work, output=output, config=config)
    comparisons = _judge(list(pairs.values()), config.alpha)
    _write(output, comparisons)
    return comparisons, sorted(set(first) ^ set(second))


def _compare(
    task: Task, *, pairs: dict[str, _Pair], metric: str, spm: Path | None, config: CompareConfig
) -> Outcome:
    pair = pairs[task.name]
    references = read_lines(pair.references)
    if not references:
        raise DataError(f"{pair.references} has no lines; there is nothing to compare on")
    scorer = Scorer(metric, references, MetricModels(spm=spm))
    first = scorer.statistics(read_lines(pair.first))
    second = scorer.statistics(read_lines(pair.second))
    p_value = randomization_p_value(
        first, second, scorer.score_statistics, config.trials, config.seed
    )
    write_json(
        pair.output,
        {
            "first": scorer.score_statistics(first.sum(axis=0)),
            "second": scorer.score_statistics(second.sum(axis=0)),
            "p_value": p_value,
            "n": len(references),
        },
    )
    return Outcome(counts={"lines": len(references)}, outputs=(pair.output,))


def _judge(pairs: Sequence[_Pair], alpha: float) -> list[Comparison]:
    found = [read_json(pair.output) for pair in pairs]
    significant = discoveries([entry["p_value"] for entry in found], alpha)
    return [
        Comparison(
            pair.direction, entry["first"], entry["second"], entry["p_value"], is_found, entry["n"]
        )
        for pair, entry, is_found in zip(pairs, found, significant, strict=True)
    ]


def _write(output: Path, comparisons: Sequence[Comparison]) -> None:
    rows = (
        f"{c.direction}\t{c.first!r}\t{c.second!r}\t{c.difference!r}\t{c.p_value!r}"
        f"\t{'yes' if c.significant else 'no'}\t{c.n}"
        for c in comparisons
    )
    write_lines(output / "comparison.tsv", ["\t".join(COLUMNS), *rows])
