"""The signals by which schedulers announce that they will end a process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from corpus.errors import Preempted

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What schedulers send before they kill: SIGTERM, and SIGUSR1 for Slurm's `--signal`."""


class Preemption:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self._signal: int | None = None
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
        """Ask for a stop after this update; SIGTERM once more stops at once.

        Raises:
            Preempted: Outside of updates, where there is nothing to save.
        """
        is_second = number == signal.SIGTERM and self._signal == signal.SIGTERM
        self._signal = number
        if is_second:
            raise KeyboardInterrupt
        if not self._can_wait:
            raise Preempted(
                f"stopped by {self.signal_name} before or after training. Run the same command"
                " again to go on."
            )

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
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
    def waiting_for_updates(self) -> Iterator[None]:
        """Let requests wait for the end of an update during the block."""
        self._can_wait = True
        try:
            yield
        finally:
            self._can_wait = False
