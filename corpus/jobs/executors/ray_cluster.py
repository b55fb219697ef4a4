"""A Ray cluster: that of RAY_ADDRESS, one running on this machine, or one started here.

Paths go through Ray, never data: all nodes see the same file system under the same names, and have
the same packages.
"""

import contextlib
import logging
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
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

from corpus.jobs.executors.batches import Batches
from corpus.jobs.tasks import Failed, Raised, Result, Task, TaskAttempt

logger = logging.getLogger(__name__)

LOSSES_ALLOWED = 5
"""The loss of a node is seldom caused by the task, unless it happens repeatedly."""

_AHEAD = 2
"""Batches handed to Ray for each of its CPUs, so that none of them waits for the next."""

_LOOK_SECONDS = 5.0
"""Seconds between checks whether the cluster has grown."""


class ClusterExecutor:
    """Runs tasks on all CPUs of a Ray cluster, or on all its GPUs."""

    def share(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Return all tasks."""
        return tasks

    def run(
        self, attempt: TaskAttempt, tasks: Sequence[Task], *, workers: int, gpus: int
    ) -> Iterator[tuple[Task, Result]]:
        """Yield every task with its result; a cluster that is started here has `workers` CPUs."""
        if not tasks:
            return
        _connect(workers)
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_attempt_in)
        here = os.getcwd()  # noqa: PTH109 - as the paths of the tasks are relative to it
        batches = Batches(tasks)
        losses: Counter[str] = Counter()
        pending: dict[Any, tuple[Task, ...]] = {}
        try:
            while batches or pending:
                places = _AHEAD * _cpus()
                while batches and len(pending) < places:
                    batch = batches.take(places)
                    pending[remote.remote(attempt, batch, here)] = batch
                finished, _ = ray.wait(list(pending), timeout=_LOOK_SECONDS)
                for reference in finished:
                    batch = pending.pop(reference)
                    results = _fetch(reference, batch, batches, losses)
                    yield from zip(batch, results, strict=False)
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
            address="local",  # else Ray looks again, and one that just began takes no num_cpus
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )


def _cpus() -> int:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("CPU", 1)))


def _attempt_in(attempt: TaskAttempt, batch: Sequence[Task], folder: str) -> Sequence[Result]:
    os.chdir(folder)
    return attempt(batch)


def _fetch(
    reference: Any, batch: tuple[Task, ...], batches: Batches, losses: Counter[str]
) -> Sequence[Result]:
    """Return the results of a batch; none if its worker or node died and it is to be retried."""
    try:
        results: Sequence[Result] = ray.get(reference)
    except (NodeDiedError, LocalRayletDiedError) as error:
        reason = str(error)
        losses.update(task.name for task in batch)
        if all(losses[task.name] <= LOSSES_ALLOWED for task in batch):
            batches.ended(batch, ())
            return ()
    except (WorkerCrashedError, OutOfMemoryError) as error:
        reason = str(error)
        if batches.died(batch):
            return ()
    except RayError as error:
        return [Raised(RuntimeError(f"Ray: {batch[0].name}: {error}"))]
    else:
        batches.ended(batch, results)
        return results
    return [Failed(" ".join(reason.split()))] * len(batch)
