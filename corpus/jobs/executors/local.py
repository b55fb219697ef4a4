"""A pool of processes on this machine; the death of a worker costs one task."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType

from corpus.jobs.tasks import Failed, Result, Task

DEATHS_ALLOWED = 1
"""A task whose worker dies is retried once; a second death is blamed on the task."""

_STOP_SECONDS = 5.0


class LocalExecutor:
    """Runs tasks in this process, or in several."""

    def share(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Return all tasks."""
        return tasks

    def run(
        self, attempt: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int, gpus: int
    ) -> Iterator[tuple[Task, Result]]:
        """Yield every task with its result; one worker runs in this process."""
        if workers <= 1 or len(tasks) <= 1:
            for task in tasks:
                yield task, attempt(task)
            return
        with _Pool(attempt, min(workers, len(tasks))) as pool:
            yield from pool.run(tasks)


class _Pool:
    """Workers with one task at a time, so that it is known which task a death affects."""

    def __init__(self, attempt: Callable[[Task], Result], size: int) -> None:
        self._attempt = attempt
        self._workers = [_Worker(attempt) for _ in range(size)]

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Result]]:
        waiting = deque(tasks)
        deaths: Counter[str] = Counter()
        while True:
            for worker in self._workers:
                if worker.task is None and waiting:
                    worker.start(waiting.popleft())
            busy = {worker.connection: worker for worker in self._workers if worker.task}
            if not busy:
                return
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                task, result = worker.finish()
                if result is None:
                    self._workers[self._workers.index(worker)] = _Worker(self._attempt)
                    deaths[task.name] += 1
                    if deaths[task.name] <= DEATHS_ALLOWED:
                        waiting.append(task)
                        continue
                    result = Failed(f"{worker.death}, {deaths[task.name]} times on this shard")
                yield task, result

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
    """A process that does tasks one by one."""

    def __init__(self, attempt: Callable[[Task], Result]) -> None:
        # Spawned, not forked: a forked child of a process with torch or BLAS threads can hang.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.task: Task | None = None
        self.death = ""
        self._process = context.Process(target=_serve, args=(theirs, attempt))
        self._process.start()
        theirs.close()  # so that the worker's death closes the pipe

    def start(self, task: Task) -> None:
        self.task = task
        with contextlib.suppress(BrokenPipeError):  # it died idle; `finish` finds the pipe closed
            self.connection.send(task)

    def finish(self) -> tuple[Task, Result | None]:
        """Return the task and its result; None if the process died during it."""
        task, self.task = self.task, None
        assert task is not None
        try:
            result: Result = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            self.death = _cause_of_death(self._process.exitcode)
            return task, None
        return task, result

    def stop(self) -> None:
        """End the process: at once if it is busy, since its result is no longer needed."""
        self.connection.close()  # an idle one reads the end of its tasks
        if self.task is not None:
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


def _serve(connection: Connection, attempt: Callable[[Task], Result]) -> None:
    """Do tasks until there are no more."""
    # An interrupt from the keyboard reaches all processes; the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # takes temporary files along
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send(attempt(task))


def _die_with_parent() -> None:
    """End this process when its parent is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
