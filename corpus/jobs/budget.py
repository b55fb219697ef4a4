"""A budget of CPU time for jobs: when it is spent, no further task is begun."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.errors import DataError
from corpus.files import read_object
from corpus.jobs.executors import Executor
from corpus.jobs.job_config import RECEIPTS
from corpus.jobs.tasks import Postponed, Result, Task


@dataclass(frozen=True)
class WithinBudget:
    """An executor that begins no task once finished ones have used a budget.

    What was used is read from the receipts of some directories, so that it counts over all runs,
    processes and machines that share them. Tasks that are running when the budget is reached are
    finished, so it may be exceeded by a task per process.
    """

    executor: Executor
    directories: tuple[Path, ...]
    """Outputs of the jobs that share the budget."""

    core_seconds: float

    def share(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Return the tasks that this process is responsible for."""
        return self.executor.share(tasks)

    def run(
        self, attempt: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int, gpus: int
    ) -> Iterator[tuple[Task, Result]]:
        """Yield every task with its result; `Postponed` is that of one that was not begun."""
        limited = _Limited(attempt, self.directories, self.core_seconds)
        yield from self.executor.run(limited, tasks, workers=workers, gpus=gpus)


@dataclass(frozen=True)
class _Limited:
    """An attempt that looks at the budget first; picklable."""

    attempt: Callable[[Task], Result]
    directories: tuple[Path, ...]
    core_seconds: float

    def __call__(self, task: Task) -> Result:
        if core_seconds(self.directories) >= self.core_seconds:
            return Postponed()
        return self.attempt(task)


_read: dict[tuple[Path, int], float] = {}
"""CPU seconds of the receipts that were read, by path and time of change."""


def core_seconds(directories: Sequence[Path]) -> float:
    """Return the CPU seconds of all finished tasks whose receipts are in some directories."""
    total = 0.0
    for directory in directories:
        for path in (directory / RECEIPTS).rglob("[!.]*.json"):
            try:
                key = path, path.stat().st_mtime_ns
                if key not in _read:
                    _read[key] = float(read_object(path).get("cpu_seconds", 0.0))
            except (DataError, FileNotFoundError):
                continue  # another process is redoing it
            total += _read[key]
    return total
