"""`tongues eval contrast`: which version of each sentence systems write."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus.errors import UserError
from corpus.files import read_json, write_json
from corpus.jobs import Outcome, Task, run_job
from corpus.languages import Direction
from eval.checks.contrast import Preference, count_outcomes, judge, read_pairs
from eval.config import ContrastConfig
from eval.hypotheses import find_systems, read_hypotheses
from eval.tables import write_table

COLUMNS = ("system", "direction", *Preference._fields)
LINE_COLUMNS = ("system", "direction", "line", "group", "outcome", "source", "hypothesis")


class _Cell(NamedTuple):
    system: str
    direction: Direction
    pairs: Path
    hypotheses: Path


def compare_contrasts(
    sets: Path, hypotheses: Sequence[Path], output: Path, config: ContrastConfig
) -> list[dict[str, Any]]:
    """Judge every system's translations of the contrast sets; write contrast.tsv and its lines.

    Args:
        sets: Directory of <source>-<target>.tsv files, a contrast set each.
        hypotheses: Directories of <source>-<target>.txt files, a system each, with a line for each
            row of the set.
        output: Directory of the tables.
        config: Of the intervals.

    Raises:
        UserError: If a directory is missing, or no system has translations of any set.
        JobError: If a set is damaged, or translations are of another length.
    """
    if not sets.is_dir():
        raise UserError(f"{sets} is not a directory of <source>-<target>.tsv files")
    cells = [
        _Cell(system, direction, sets / f"{direction}.tsv", path)
        for system, files in find_systems(hypotheses).items()
        for direction, path in sorted(files.items())
        if (sets / f"{direction}.tsv").is_file()
    ]
    if not cells:
        raise UserError(
            f"no system has translations of a contrast set in {sets}: files are named alike, as"
            " eng_Latn-fra_Latn.tsv and eng_Latn-fra_Latn.txt"
        )
    task = Task(
        name="all",
        inputs=tuple(path for cell in cells for path in (cell.pairs, cell.hypotheses)),
        arguments={"cells": [f"{cell.system} {cell.direction}" for cell in cells]},
    )
    work = functools.partial(_work, cells=cells, output=output, config=config)
    run_job(
        name="contrast",
        tasks=[task],
        work=work,
        output=output,
        config=config,
        config_name="contrast.yaml",
    )
    rows: list[dict[str, Any]] = read_json(output / "contrast.json")["rows"]
    return rows


def _work(task: Task, *, cells: Sequence[_Cell], output: Path, config: ContrastConfig) -> Outcome:
    rows: list[tuple[Any, ...]] = []
    lines: list[tuple[Any, ...]] = []
    for cell in cells:
        pairs = read_pairs(cell.pairs)
        texts = read_hypotheses(cell.hypotheses, [pair.source for pair in pairs], str(cell.pairs))
        target = cell.direction.target
        outcomes = [judge(text, pair, target) for text, pair in zip(texts, pairs, strict=True)]
        found = count_outcomes(pairs, outcomes, config.confidence)
        rows += [(cell.system, str(cell.direction), *row) for row in found]
        lines += [
            (cell.system, cell.direction, number, pair.group, outcome, pair.source, text)
            for number, (pair, outcome, text) in enumerate(
                zip(pairs, outcomes, texts, strict=True), 1
            )
        ]
    outputs = tuple(output / f"contrast{end}" for end in (".tsv", "_lines.tsv", ".json"))
    write_table(outputs[0], COLUMNS, rows)
    write_table(outputs[1], LINE_COLUMNS, lines)
    write_json(outputs[2], {"rows": [dict(zip(COLUMNS, row, strict=True)) for row in rows]})
    return Outcome(counts={"lines": len(lines)}, outputs=outputs)
