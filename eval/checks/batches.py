"""What the checks share: hypotheses into one language with sources and references, and rates.

A batch is a shard: references are read and counted once for all directions into a language, and
40,602 directions are 202 shards a system. Where each direction of a test set has its own lines, a
batch is a direction.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import DataError, UserError
from corpus.files import read_lines, read_object, write_json
from corpus.jobs import Outcome, Task, run_job
from corpus.languages import Direction
from corpus.test_sets.files import TestFiles, open_test_files
from eval.hypotheses import find_systems, read_hypotheses

logger = logging.getLogger(__name__)

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
    tests: TestFiles

    @property
    def name(self) -> str:
        """Names the shard."""
        own = self.target if self.tests.by_language else self.directions[0]
        return f"{self.system}/{own}"

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions, in the order of the sources."""
        return tuple(Direction(source, self.target) for source in self.sources)

    @property
    def references(self) -> Path:
        """The file of the references; of several, the first."""
        return self.tests.reference_files(self.directions[0])[0]

    def text(self, source: str) -> Path:
        """Return the file of a source language in the test set."""
        return self.tests.source_file(Direction(source, self.target))

    def read(self, index: int) -> list[str]:
        """Read the hypotheses from one source, a line for each reference.

        Of hypotheses for a whole set of which some lines are not scored, the others are returned.

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
        path = self.hypotheses[index]
        return read_hypotheses(path, references, str(self.references), self.tests.keep)


def find_batches(
    hypotheses: Sequence[Path],
    test_set: Path,
    split: str,
    texts: Path,
    references: Sequence[str] = (),
) -> list[Batch]:
    """Return the batches of all systems in the order given, each by target language.

    Args:
        hypotheses: Directories, a system each.
        test_set: As it was published; see `corpus.test_sets.find`.
        split: Which part of it; the usual one if empty.
        texts: Directory for its lines, where they are not files of lines already.
        references: Translators whose references are taken, where there are several; of those that
            are left the first is used, which a warning says.

    Raises:
        UserError: If a directory is missing, or there is no such test set, split or language.
        DataError: If the test set is damaged.
    """
    systems = find_systems(hypotheses)
    every = sorted({direction for files in systems.values() for direction in files})
    tests = open_test_files(test_set, split, every, texts, references)
    _check_languages(tests, every)
    logger.info("test set: %s", tests.describe())
    if tests.references:
        _warn_of_references(tests, every)
    batches = []
    for system, files in systems.items():
        by_target = sorted(files, key=lambda direction: (direction.target, direction.source))
        groups = itertools.groupby(
            by_target,
            key=lambda direction: direction.target if tests.by_language else str(direction),
        )
        for _, group in groups:
            directions = list(group)
            batches.append(
                Batch(
                    system=system,
                    target=directions[0].target,
                    sources=tuple(direction.source for direction in directions),
                    hypotheses=tuple(files[direction] for direction in directions),
                    tests=tests,
                )
            )
    return batches


def _check_languages(tests: TestFiles, directions: Sequence[Direction]) -> None:
    """Refuse languages of which a set in FLORES-200's layout, read in place, has no file."""
    files: dict[Path, str] = {}
    for direction in directions:
        files[tests.source_file(direction)] = direction.source
        files[tests.reference_files(direction)[0]] = direction.target
    for path, language in sorted(files.items()):
        if not path.is_file():
            raise UserError(f"{tests.path}/{tests.split} has no file for `{language}`")


def _warn_of_references(tests: TestFiles, directions: Sequence[Direction]) -> None:
    files = {tests.reference_files(direction) for direction in directions}
    several = sorted(paths for paths in files if len(paths) > 1)
    empty = sum(not line.strip() for paths in several for line in read_lines(paths[0]))
    lacking = f", which lacks {empty:,} lines" if empty else ""
    logger.warning(
        "%s: of several references the first is taken%s; --config references=[NAME] chooses",
        tests.describe(),
        lacking,
    )


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


def found_by_direction(
    batches: Sequence[Batch], results: Sequence[dict[str, Any]]
) -> Iterator[tuple[Batch, Direction, dict[str, Any], dict[str, Any]]]:
    """Yield batch, direction, what was found in it, and the result of the whole batch."""
    for batch, result in zip(batches, results, strict=True):
        for direction, found in zip(batch.directions, result["directions"], strict=True):
            yield batch, direction, found, result


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
