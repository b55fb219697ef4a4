"""A Ray cluster: that of RAY_ADDRESS, one running on this machine, or one started here.

Paths go through Ray, never data: all nodes see the same file system under the same names, and have
the same packages.
"""

import contextlib
import logging
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    WorkerCrashedError,
)

from corpus.jobs.executors.local import DEATHS_ALLOWED
from corpus.jobs.tasks import Failed, Raised, Result, Task

logger = logging.getLogger(__name__)

LOSSES_ALLOWED = 5
"""The loss of a node is seldom caused by the task, unless it happens repeatedly."""

_AHEAD = 2
"""Tasks handed to Ray for each of its CPUs, so that none of them waits for the next."""

_LOOK_SECONDS = 5.0
"""Seconds between checks whether the cluster has grown."""


class ClusterExecutor:
    """Runs tasks on all CPUs of a Ray cluster, or on all its GPUs."""

    def share(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Return all tasks."""
        return tasks

    def run(
        self, attempt: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int, gpus: int
    ) -> Iterator[tuple[Task, Result]]:
        """Yield every task with its result; a cluster that is started here has `workers` CPUs."""
        if not tasks:
            return
        _connect(workers)
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_attempt_in)
        here = os.getcwd()  # noqa: PTH109 - as the paths of the tasks are relative to it
        waiting = deque(tasks)
        deaths: Counter[str] = Counter()
        losses: Counter[str] = Counter()
        pending: dict[Any, Task] = {}
        try:
            while waiting or pending:
                while waiting and len(pending) < _AHEAD * _cpus():
                    task = waiting.popleft()
                    pending[remote.remote(attempt, task, here)] = task
                finished, _ = ray.wait(list(pending), timeout=_LOOK_SECONDS)
                for reference in finished:
                    task = pending.pop(reference)
                    result = _fetch(reference, task, deaths, losses)
                    if result is None:
                        waiting.append(task)
                    else:
                        yield task, result
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)


def _connect(workers: int) -> None:
    if ray.is_initialized():
        return
    handler = signal.getsignal(signal.SIGTERM)
    # Ray has its workers import from the directory it is started in, where files of others may lie.
    with contextlib.chdir(Path(__file__).resolve().parents[3]):
        _join_or_start(workers)
    signal.signal(signal.SIGTERM, handler)  # Ray's would end the command with exit code 0


def _join_or_start(workers: int) -> None:
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.WARNING)
    except ConnectionError:
        logger.info("no Ray cluster is running: starting one here with %d CPUs", workers)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )


def _cpus() -> int:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("CPU", 1)))


def _attempt_in(attempt: Callable[[Task], Result], task: Task, folder: str) -> Result:
    os.chdir(folder)
    return attempt(task)


def _fetch(reference: Any, task: Task, deaths: Counter[str], losses: Counter[str]) -> Result | None:
    """Return a task's result; None if its worker or node died and it must be retried."""
    try:
        result: Result = ray.get(reference)
    except (NodeDiedError, LocalRayletDiedError) as error:
        losses[task.name] += 1
        reason, again = str(error), losses[task.name] <= LOSSES_ALLOWED
    except (WorkerCrashedError, OutOfMemoryError) as error:
        deaths[task.name] += 1
        reason, again = str(error), deaths[task.name] <= DEATHS_ALLOWED
    except RayError as error:
        return Raised(RuntimeError(f"Ray: {task.name}: {error}"))
    else:
        return result
    return None if again else Failed(" ".join(reason.split()))
