"""The signals by which schedulers announce that they will end a process."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from corpus.errors import Preempted

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What schedulers send before they kill: SIGTERM, and SIGUSR1 for Slurm's `--signal`."""

_SAME_REQUEST_SECONDS = 5.0
"""A SIGTERM this soon after the first is the same one: Slurm sends it to torchrun and to the
processes under it, and torchrun passes it on to them."""


class Preemption:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._terminated_at: float | None = None
        self._can_wait = False

    @property
    def is_requested(self) -> bool:
        """Whether a signal came."""
        return self._signal is not None

    @property
    def signal_name(self) -> str:
        """The signal's name, or who else asked."""
        return signal.Signals(self._signal).name if self._signal else "another process"

    def request(self, number: int = signal.SIGUSR1, frame: FrameType | None = None) -> None:
        """Ask for a stop after this update; SIGTERM once more, seconds later, stops at once.

        Raises:
            Preempted: Outside of updates, where there is nothing to save.
        """
        if number == signal.SIGTERM:
            first, now = self._terminated_at, time.monotonic()
            if first is not None and now - first < _SAME_REQUEST_SECONDS:
                return
            self._terminated_at = now
            if first is not None:
                raise KeyboardInterrupt
        self._signal = number
        if not self._can_wait:
            raise Preempted(
                f"stopped by {self.signal_name} before or after training. Run the same command"
                " again to resume."
            )

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Take the schedulers' signals as requests during the block, in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.request) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferring_stops(self) -> Iterator[None]:
        """Let requests wait for the end of an update during the block."""
        self._can_wait = True
        try:
            yield
        finally:
            self._can_wait = False
