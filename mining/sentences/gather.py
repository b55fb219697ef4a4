"""Runs of many shards as one, so that a bucket is read from few files however many shards."""

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from corpus.files import atomic_path
from corpus.jobs import Outcome, Task
from mining.sentences.duplicates import join_copies
from mining.sentences.runs import (
    FAN_IN,
    LANGUAGE_BYTES,
    RUN_SUFFIX,
    RunWriter,
    keys_of,
    language_of,
    merge_runs,
    prefix_changes,
)

GATHER_JOB = "gather"
_LEAST = 16


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


def _count(batch: pa.RecordBatch, counts: Counter[str]) -> None:
    if not batch.num_rows:
        return
    keys = keys_of(batch)
    starts = np.flatnonzero(prefix_changes(keys, LANGUAGE_BYTES))
    copies = np.add.reduceat(batch.column("copies").to_numpy().astype(np.int64), starts)
    for key, count in zip(keys[starts], copies.tolist(), strict=True):
        counts[language_of(bytes(key))] += count
