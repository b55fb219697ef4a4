"""What the checks share: hypotheses into one language with sources and references, and rates.

A batch is a shard: references are read and counted once for all directions into a language, and
40,602 directions are 202 shards a system.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import DataError, UserError
from corpus.files import read_lines, read_object, write_json
from corpus.flores import split_file, split_languages
from corpus.jobs import Outcome, Task, run_job
from corpus.languages import Direction, find_language
from eval.hypotheses import find_systems, read_hypotheses

CHECKS = "checks"
_KEPT_TEXTS = 256


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A system's hypotheses into one language."""

    system: str
    target: str
    sources: tuple[str, ...]
    hypotheses: tuple[Path, ...]
    """A file for each source."""
    flores: Path
    split: str

    @property
    def name(self) -> str:
        """Names the shard."""
        return f"{self.system}/{self.target}"

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions, in the order of the sources."""
        return tuple(Direction(source, self.target) for source in self.sources)

    @property
    def references(self) -> Path:
        """The file of the references."""
        return self.text(self.target)

    def text(self, language: str) -> Path:
        """Return the file of a language in the test set."""
        return split_file(self.flores, self.split, language)

    def read(self, index: int) -> list[str]:
        """Read the hypotheses from one source, a line for each reference.

        Raises:
            DataError: If there are more or fewer, or the source has.
        """
        references = read_text(self.references)
        source = self.text(self.sources[index])
        lines = len(read_text(source))
        if lines != len(references):
            raise DataError(
                f"{source} has {lines:,} lines and {self.references} has {len(references):,};"
                " the texts of a test set translate each other line by line"
            )
        return read_hypotheses(self.hypotheses[index], references, str(self.references))


def find_batches(hypotheses: Sequence[Path], flores: Path, split: str) -> list[Batch]:
    """Return the batches of all systems, sorted.

    Raises:
        UserError: If a directory is missing, or the split has no file for a language.
    """
    known = split_languages(flores, split)
    batches = []
    for system, files in sorted(find_systems(hypotheses).items()):
        for language in sorted({code for direction in files for code in direction}):
            if find_language(language, known) is None:
                raise UserError(f"{flores}/{split} has no file for `{language}`")
        by_target = sorted(files, key=lambda direction: (direction.target, direction.source))
        for target, group in itertools.groupby(by_target, key=lambda direction: direction.target):
            directions = list(group)
            batches.append(
                Batch(
                    system=system,
                    target=target,
                    sources=tuple(direction.source for direction in directions),
                    hypotheses=tuple(files[direction] for direction in directions),
                    flores=flores,
                    split=split,
                )
            )
    return batches


@functools.lru_cache(maxsize=_KEPT_TEXTS)
def read_text(path: Path) -> list[str]:
    """Read a text of the test set; what was read last is kept."""
    lines = read_lines(path)
    if not lines:
        raise DataError(f"{path} has no lines; there is nothing to check against")
    return lines


def run_batches(
    check: str,
    batches: Sequence[Batch],
    work: Callable[[Batch], dict[str, Any]],
    *,
    output: Path,
    config: Any,
    workers: int,
    more_inputs: Callable[[Batch], Sequence[Path]],
) -> list[dict[str, Any]]:
    """Run a check over batches as a job; return what `work` returned for each, in order.

    Args:
        check: Names the job, its results (`checks/<check>/…`) and its config (`<check>.yaml`).
        batches: The shards.
        work: Picklable; returns plain JSON values.
        output: Directory of the results.
        config: The check's own config.
        workers: Processes.
        more_inputs: Files a batch depends on beside hypotheses and references.
    """
    read_text.cache_clear()  # the files may have changed since another job of this process
    tasks = [
        Task(
            name=batch.name,
            inputs=(*batch.hypotheses, batch.references, *more_inputs(batch)),
            arguments={"sources": list(batch.sources)},
        )
        for batch in batches
    ]
    folder = output / CHECKS / check
    run_job(
        name=check,
        tasks=tasks,
        work=functools.partial(
            _run_batch, work=work, by_name={batch.name: batch for batch in batches}, folder=folder
        ),
        output=output,
        config=config,
        workers=workers,
        config_name=f"{check}.yaml",
    )
    return [read_object(_result(folder, batch.name), directions=list) for batch in batches]


def _run_batch(
    task: Task,
    *,
    work: Callable[[Batch], dict[str, Any]],
    by_name: dict[str, Batch],
    folder: Path,
) -> Outcome:
    batch = by_name[task.name]
    path = _result(folder, batch.name)
    write_json(path, work(batch))
    lines = len(read_text(batch.references)) * len(batch.sources)
    return Outcome(counts={"lines": lines}, outputs=(path,))


def _result(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def rate(count: int | None, n: int) -> float | None:
    """Return count / n; None where there is nothing to divide."""
    return None if count is None or n == 0 else count / n


def mean(values: Sequence[float | None]) -> dict[str, Any]:
    """Return the plain mean of the values that are not None, with how many are and are not."""
    there = [value for value in values if value is not None]
    return {
        "mean": sum(there) / len(there) if there else None,
        "n": len(there),
        "n_missing": len(values) - len(there),
    }
