"""Runs of many shards as one, so that a bucket is read from few files however many shards."""

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from corpus import stores
from corpus.files import atomic_path, read_object, write_json
from corpus.jobs import RECEIPTS, Executor, Outcome, Task, forget_outdated, hold_lock, run_job
from mining.sentences.duplicates import join_copies
from mining.sentences.runs import (
    FAN_IN,
    LANGUAGE_BYTES,
    RUN_SUFFIX,
    RunWriter,
    keys_of,
    language_of,
    merge_runs,
    open_run,
    prefix_changes,
)

GATHER_JOB = "gather"
_LEAST = 16
FEW = 16
"""So many runs are not gathered: each bucket reads all of them."""

_LOCK = ".lock"


def group_runs(runs: Sequence[Path]) -> list[Sequence[Path]]:
    """Return runs in groups to be merged: about as many groups as runs in each."""
    size = min(FAN_IN, max(_LEAST, int(np.ceil(np.sqrt(len(runs))))))
    groups = -(-len(runs) // size)
    edges = [round(number * len(runs) / groups) for number in range(groups + 1)] if groups else []
    return [runs[start:end] for start, end in itertools.pairwise(edges)]


def gather_runs(task: Task, *, folder: Path, keep_copies: bool) -> Outcome:
    """Merge the runs that are a task's inputs to `folder/<task>.arrows`.

    Counts the sentences of each language, all copies included.
    """
    path = folder / f"{task.name}{RUN_SUFFIX}"
    counts: Counter[str] = Counter()
    merged = merge_runs(task.inputs)
    with atomic_path(path) as temporary, RunWriter(temporary) as run:
        for batch in merged if keep_copies else join_copies(merged):
            _count(batch, counts)
            run.add(batch)
    return Outcome(counts=counts, outputs=(path,))


def count_rows(runs: Sequence[Path]) -> Counter[str]:
    """Return the sentences of each language in some runs, all copies included."""
    counts: Counter[str] = Counter()
    for path in runs:
        with open_run(path) as run:
            for block in range(run.blocks):
                _count(run.read_keys(block), counts)
    return counts


def _count(batch: pa.RecordBatch, counts: Counter[str]) -> None:
    if not batch.num_rows:
        return
    keys = keys_of(batch)
    starts = np.flatnonzero(prefix_changes(keys, LANGUAGE_BYTES))
    copies = np.add.reduceat(batch.column("copies").to_numpy().astype(np.int64), starts)
    for key, count in zip(keys[starts], copies.tolist(), strict=True):
        counts[language_of(bytes(key))] += count


class Gathering(NamedTuple):
    """How the jobs over a command's own files are run."""

    name: str
    """Of the job that gathers; its levels have numbers."""

    output: Path
    workers: int
    executor: Executor

    def gather(
        self, runs: Sequence[Path], folder: Path, *, keep_copies: bool, most: int = FAN_IN
    ) -> tuple[list[Path], Mapping[str, int]]:
        """Merge runs level by level, until there are few.

        Args:
            runs: Of all shards.
            folder: Gets a directory for each level.
            keep_copies: Whether copies of one text stay apart.
            most: How many runs there may be in the end.

        Returns:
            The runs, and the rows of each language in them.
        """
        counts: Mapping[str, int] = {}
        for level in itertools.count(1):
            tasks = [
                Task(name=f"{number:04d}", inputs=tuple(group))
                for number, group in enumerate(group_runs(runs))
            ]
            gathered = folder / str(level)
            work = functools.partial(gather_runs, folder=gathered, keep_copies=keep_copies)
            counts = self.run(f"{self.name}-{level}", tasks, work)
            runs = [gathered / f"{task.name}{RUN_SUFFIX}" for task in tasks]
            if len(runs) <= most:
                break
        return list(runs), counts

    def run(
        self, name: str, tasks: Sequence[Task], work: Callable[[Task], Outcome]
    ) -> Mapping[str, int]:
        """Run a job over this command's own files: what was made of others before is redone."""
        with hold_lock(self.output / RECEIPTS / _LOCK, name, wait=True):
            forget_outdated(self.output / RECEIPTS / name, tasks, keep_others=False)
        return run_job(
            name=name,
            tasks=tasks,
            work=work,
            output=self.output,
            workers=self.workers,
            executor=self.executor,
        ).counts


def list_runs(listed: Path, runs: Sequence[Path]) -> None:
    """List runs with the digests of their rows in a file, the input of all buckets."""
    digests = {}
    for path in runs:
        with open_run(path) as run:
            digests[path.relative_to(listed.parent).as_posix()] = run.digest
    stores.fetch(listed)
    if not listed.exists() or read_object(listed) != digests:
        write_json(listed, digests)
        stores.upload(listed)
