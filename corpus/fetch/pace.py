"""A rate of requests that all processes of a job share, and the pauses that a server asks for.

The moment of the next request is in a file beside the job's outputs, under a lock: so the rate
holds however many processes, and machines with one file system, send them. Their clocks may differ
by seconds; a pause is never longer than the longest that is asked for.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from corpus.files import make_directory
from corpus.jobs.locks import hold_lock

LONGEST_PAUSE_SECONDS = 300.0
"""Longer waits, also those that a server asks for, are cut to this."""

_LOCK = "pace"


class Pace:
    """Requests at an even rate, over all processes that name the same file.

    Attributes:
        per_second: The rate.
    """

    def __init__(
        self,
        file: Path,
        per_second: float,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.per_second = per_second
        self._file = file
        self._clock = clock
        self._sleep = sleep
        # Locks of files are a process's own: between its threads they do nothing.
        self._threads = threading.Lock()

    def wait(self) -> None:
        """Wait for this request's turn."""
        with self._threads, hold_lock(self._lock_file, _LOCK, wait=True):
            now = self._clock()
            turn = max(now, self._read(now))
            self._write(turn + 1 / self.per_second)
        self._sleep(turn - now)

    def pause(self, seconds: float) -> None:
        """Let no process send a request for so long: the server is overloaded."""
        with self._threads, hold_lock(self._lock_file, _LOCK, wait=True):
            now = self._clock()
            self._write(max(self._read(now), now + min(seconds, LONGEST_PAUSE_SECONDS)))

    @property
    def _lock_file(self) -> Path:
        return self._file.with_name(f"{self._file.name}.lock")

    def _read(self, now: float) -> float:
        try:
            turn = float(self._file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):  # the first one, or half-written by a killed one
            return now
        # A file left by a clock that was ahead must not stop the job.
        return turn if now <= turn <= now + 2 * LONGEST_PAUSE_SECONDS else now

    def _write(self, turn: float) -> None:
        make_directory(self._file.parent)
        self._file.write_text(repr(turn), encoding="ascii")
