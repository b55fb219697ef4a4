"""Where tasks run. Executors do not know what a task does; tasks do not know executors.

`local` is a pool of processes on this machine, `ray` a Ray cluster, `slurm` one rank of an array.
All run the same task function, which writes the receipts itself, so a job can be started with one
executor and finished with another. Small tasks travel in batches (`batches`).
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from corpus.errors import UserError
from corpus.jobs.executors.local import LocalExecutor
from corpus.jobs.tasks import Result, Task, TaskAttempt

EXECUTORS = ("local", "ray", "slurm")


class Executor(Protocol):
    """Runs the tasks of a job somewhere."""

    def share(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Return the tasks, of all of the job's, that this process is responsible for."""
        ...

    def run(
        self, attempt: TaskAttempt, tasks: Sequence[Task], *, workers: int, gpus: int
    ) -> Iterator[tuple[Task, Result]]:
        """Yield every task once with its result, in the order in which they end.

        Args:
            attempt: Picklable; raises nothing but KeyboardInterrupt.
            tasks: What to do.
            workers: Processes on this machine.
            gpus: GPUs that each task needs; on this machine `workers` says how many share them.
        """
        ...


LOCAL: Executor = LocalExecutor()


def find_executor(name: str) -> Executor:
    """Return the executor of that name.

    Raises:
        UserError: If there is none, or `slurm` is asked for outside a job array.
    """
    # Imported when asked for: Ray is an optional package.
    if name == "ray":
        from corpus.jobs.executors.ray_cluster import ClusterExecutor

        return ClusterExecutor()
    if name == "slurm":
        from corpus.jobs.executors.slurm_array import ArrayExecutor

        return ArrayExecutor.from_environment()
    if name != "local":
        raise UserError(f"no executor `{name}`; there are {', '.join(EXECUTORS)}")
    return LOCAL
