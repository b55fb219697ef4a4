"""A pool of processes on this machine; the death of a worker costs one batch."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType

from corpus.jobs.executors.batches import Batches
from corpus.jobs.tasks import Failed, Result, Task, TaskAttempt

_STOP_SECONDS = 5.0


class LocalExecutor:
    """Runs tasks in this process, or in several."""

    def share(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Return all tasks."""
        return tasks

    def run(
        self, attempt: TaskAttempt, tasks: Sequence[Task], *, workers: int, gpus: int
    ) -> Iterator[tuple[Task, Result]]:
        """Yield every task with its result; one worker runs in this process."""
        if workers > 1 and len(tasks) > 1:
            with _Pool(attempt, min(workers, len(tasks))) as pool:
                yield from pool.run(tasks)
            return
        batches = Batches(tasks)
        while batch := batches.take(1):
            results = attempt(batch)
            batches.ended(batch, results)
            yield from zip(batch, results, strict=False)


class _Pool:
    """Workers with one batch at a time, so that it is known which tasks a death affects."""

    def __init__(self, attempt: TaskAttempt, size: int) -> None:
        self._attempt = attempt
        self._workers = [_Worker(attempt) for _ in range(size)]

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Result]]:
        batches = Batches(tasks)
        while True:
            for worker in self._workers:
                if not worker.batch and batches:
                    worker.start(batches.take(len(self._workers)))
            busy = {worker.connection: worker for worker in self._workers if worker.batch}
            if not busy:
                return
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                batch, results = worker.finish()
                if results is not None:
                    batches.ended(batch, results)
                    yield from zip(batch, results, strict=False)
                    continue
                self._workers[self._workers.index(worker)] = _Worker(self._attempt)
                if not batches.died(batch):
                    times = batches.deaths[batch[0].name]
                    yield batch[0], Failed(f"{worker.death}, {times} times on this shard")

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.stop()


class _Worker:
    """A process that does batches one by one."""

    def __init__(self, attempt: TaskAttempt) -> None:
        # Spawned, not forked: a forked child of a process with torch or BLAS threads can hang.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.batch: tuple[Task, ...] = ()
        self.death = ""
        self._process = context.Process(target=_serve, args=(theirs, attempt))
        self._process.start()
        theirs.close()  # so that the worker's death closes the pipe

    def start(self, batch: tuple[Task, ...]) -> None:
        self.batch = batch
        with contextlib.suppress(BrokenPipeError):  # it died idle; `finish` finds the pipe closed
            self.connection.send(batch)

    def finish(self) -> tuple[tuple[Task, ...], Sequence[Result] | None]:
        """Return the batch and its results; None if the process died during it."""
        batch, self.batch = self.batch, ()
        assert batch
        try:
            results: Sequence[Result] = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            self.death = _cause_of_death(self._process.exitcode)
            return batch, None
        return batch, results

    def stop(self) -> None:
        """End the process: at once if it is busy, since its result is no longer needed."""
        self.connection.close()  # an idle one reads the end of its tasks
        if self.batch:
            self._process.terminate()
        self._process.join(_STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        return "a worker process was killed (out of memory, perhaps: try fewer workers)"
    if exit_code is not None and exit_code < 0:
        return f"a worker process died of {signal.Signals(-exit_code).name}"
    return f"a worker process died with exit code {exit_code}"


def _serve(connection: Connection, attempt: TaskAttempt) -> None:
    """Do tasks until there are no more."""
    # An interrupt from the keyboard reaches all processes; the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # takes temporary files along
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            connection.send(attempt(connection.recv()))
        except (EOFError, ConnectionError):  # the job has ended, well or by another's failure
            return


def _die_with_parent() -> None:
    """End this process when its parent is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
