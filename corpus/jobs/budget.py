"""A budget of CPU time for jobs: when it is spent, no further task is begun."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.jobs.executors import Executor
from corpus.jobs.logs import read_log
from corpus.jobs.receipts import RECEIPTS, recorded_jobs
from corpus.jobs.tasks import Postponed, Result, Task, TaskAttempt


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
        self, attempt: TaskAttempt, tasks: Sequence[Task], *, workers: int, gpus: int
    ) -> Iterator[tuple[Task, Result]]:
        """Yield every task with its result; `Postponed` is that of one that was not begun."""
        limited = _Limited(attempt, self.directories, self.core_seconds)
        yield from self.executor.run(limited, tasks, workers=workers, gpus=gpus)


@dataclass(frozen=True)
class _Limited:
    """An attempt that looks at the budget before every task; picklable."""

    attempt: TaskAttempt
    directories: tuple[Path, ...]
    core_seconds: float

    def __call__(self, tasks: Sequence[Task]) -> Sequence[Result]:
        if core_seconds(self.directories) >= self.core_seconds:
            return [Postponed()] * len(tasks)
        return self.attempt(tasks[:1])


def core_seconds(directories: Sequence[Path]) -> float:
    """Return the CPU seconds of all finished tasks whose receipts are in some directories."""
    return sum(
        entry.cpu_seconds
        for directory in directories
        for job in recorded_jobs(directory)
        for entry in read_log(directory / RECEIPTS / job).receipts.values()
    )
