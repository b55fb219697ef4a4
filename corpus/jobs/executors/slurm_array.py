"""One rank of a Slurm job array or parallel step, which does every n-th task.

Ranks never wait for each other, since those of an array need not run at the same time. A run that
depends on the array (`sbatch --dependency`) continues when all have ended.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from corpus.errors import UserError
from corpus.jobs.executors.local import LocalExecutor
from corpus.jobs.tasks import Result, Task, TaskAttempt


@dataclass(frozen=True)
class ArrayExecutor:
    """Rank r of n does the tasks r, r + n, … in a pool of processes on its node."""

    rank: int
    ranks: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ArrayExecutor":
        """Read rank and ranks as Slurm sets them: of the array, and of the step in each element.

        Raises:
            UserError: If there is neither, or the array leaves elements out.
        """
        variables = {
            key: int(value)
            for key, value in environment.items()
            if key.startswith("SLURM_") and value.isdigit()
        }
        rank, ranks = _array_rank(variables)
        step_ranks = variables.get("SLURM_STEP_NUM_TASKS", 1)  # only `srun` sets it
        if ranks * step_ranks == 1 and "SLURM_ARRAY_TASK_ID" not in variables:
            raise UserError(
                "--executor slurm is for the elements of a Slurm job array or the ranks of `srun`,"
                " and neither SLURM_ARRAY_TASK_ID nor SLURM_STEP_NUM_TASKS above 1 is set."
                " recipes/mining/rank.sbatch is a script for `sbatch --array=0-15`."
            )
        procedure = variables.get("SLURM_PROCID", 0) if step_ranks > 1 else 0
        return cls(rank * step_ranks + procedure, ranks * step_ranks)

    def share(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Return this rank's tasks among all of the job's, done or not, so that ranks agree."""
        return tasks[self.rank :: self.ranks]

    def run(
        self, attempt: TaskAttempt, tasks: Sequence[Task], *, workers: int, gpus: int
    ) -> Iterator[tuple[Task, Result]]:
        """Yield every task with its result, from processes on this node."""
        return LocalExecutor().run(attempt, tasks, workers=workers, gpus=gpus)


def _array_rank(variables: Mapping[str, int]) -> tuple[int, int]:
    if "SLURM_ARRAY_TASK_ID" not in variables:
        return 0, 1
    identifier = variables["SLURM_ARRAY_TASK_ID"]
    first = variables.get("SLURM_ARRAY_TASK_MIN", 0)
    last = variables.get("SLURM_ARRAY_TASK_MAX", identifier)
    step = variables.get("SLURM_ARRAY_TASK_STEP", 1)
    ranks = (last - first) // step + 1
    if variables.get("SLURM_ARRAY_TASK_COUNT", ranks) != ranks:
        raise UserError(
            f"the Slurm array has {variables['SLURM_ARRAY_TASK_COUNT']} elements from {first} to"
            f" {last}, so some are left out, and their shards would not be processed. Give a whole"
            " range, as in --array=0-15; what is done is skipped."
        )
    return (identifier - first) // step, ranks
