"""Jobs whose changed inputs are done again instead of refused.

Elsewhere a receipt that does not match is an error, because old and new results would mix. Here
every result is found by the digests of its inputs, so nothing can mix: a receipt only saves looking
at files that did not change. One that no longer matches is dropped and its shard is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.jobs.receipts import is_done
from corpus.jobs.run import RECEIPTS, Outcome, Summary, Task, run_job


def drop_stale(name: str, tasks: Sequence[Task], output: Path) -> list[Task]:
    """Delete the receipts that no longer match; return the tasks that are to be done."""
    todo = []
    for task in tasks:
        receipt = output / RECEIPTS / name / f"{task.name}.json"
        try:
            done = is_done(receipt, arguments=task.arguments, inputs=task.inputs, config=None)
        except (UserError, DataError):
            receipt.unlink(missing_ok=True)
            done = False
        if not done:
            todo.append(task)
    return todo


def run_renewing_job(
    *,
    name: str,
    tasks: Sequence[Task],
    work: Callable[[Task], Outcome],
    output: Path,
    workers: int = 1,
) -> Summary:
    """Run a job as `run_job` does, after `drop_stale`; what it depends on is in its tasks."""
    drop_stale(name, tasks, output)
    return run_job(name=name, tasks=tasks, work=work, output=output, workers=workers)
