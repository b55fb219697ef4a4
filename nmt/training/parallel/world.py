"""Coordination of a training's processes besides tensors, and how they end together.

It uses the key-value store of torch.distributed's rendezvous, which rank 0 or torchrun holds. It
works before there are process groups, between machines, and while others are busy.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from corpus.errors import LostProcessError, OtherProcessError, Preempted, TonguesError
from nmt.training.parallel.launch import Place, find_place

logger = logging.getLogger(__name__)

_FAILURE = "failure"
_WANTED, _HEARD = "stop/wanted", "stop/heard"
_LEFT = "left"
_POLL_SECONDS = 0.05
_WATCH_SECONDS = 1.0
_GRACE_SECONDS = 20.0
"""Seconds in which other processes may notice a failure themselves before they are ended."""

_LINGER_SECONDS = 5.0
"""Seconds for which rank 0 keeps the store, so that others can read why all end."""

_INTERRUPTED = 130

_MEETING = timedelta(minutes=15)
_BROKEN = re.compile(r"gloo|NCCL|[Cc]onnection|[Bb]roken pipe|[Ss]ocket|recv|TCPStore")


class World:
    """The processes that train one model together; a single process needs no communication.

    Attributes:
        place: Which of how many this is.
    """

    def __init__(self, place: Place, store: Any = None) -> None:
        self.place = place
        self._store = store
        self._num_asked = 0
        self._has_agreed = False

    @property
    def rank(self) -> int:
        """This process, from 0."""
        return self.place.rank

    @property
    def size(self) -> int:
        """How many there are."""
        return self.place.size

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process has rank 0, which writes all outputs."""
        return self.place.rank == 0

    def publish(self, key: str, word: str) -> None:
        """Publish a value for the others."""
        if self._store is not None:
            self._store.set(key, word)

    def wait_for(self, key: str) -> str:
        """Return the value published under a key; wait for it as long as the others work."""
        while not self._store.check([key]):
            self._raise_failure()
            time.sleep(_POLL_SECONDS)
        word: str = self._store.get(key).decode()
        return word

    @contextmanager
    def first(self, name: str) -> Iterator[None]:
        """Run the block on rank 0 first, then on the others, which find one-time work done."""
        if not self.is_rank_zero:
            self.wait_for(f"first/{name}")
        yield
        if self.is_rank_zero:
            self.publish(f"first/{name}", "done")

    def barrier(self, name: str) -> None:
        """Wait for all processes, before operations in which a failure of one goes unnoticed."""
        if self._store is None:
            return
        here = self._store.add(f"meet/{name}", 1)
        while here < self.size:
            self._raise_failure()
            time.sleep(_POLL_SECONDS)
            here = self._store.add(f"meet/{name}", 0)

    def agrees_to_stop(self, is_wanted: bool) -> bool:
        """Return whether all stop now, at the request of any; each calls this once per update.

        Rank 0 decides for each update, so that all stop after the same one.
        """
        self._num_asked += 1
        if self._store is None:
            self._has_agreed = is_wanted
        elif self.is_rank_zero:
            self._has_agreed = bool(is_wanted or self._store.check([_WANTED]))
            self._store.set(_HEARD, f"{self._num_asked} {int(self._has_agreed)}")
        else:
            if is_wanted:
                self._store.set(_WANTED, "yes")
            self._has_agreed = self._wait_for_decision()
        return self._has_agreed

    def _wait_for_decision(self) -> bool:
        """Wait until rank 0 has decided for this update; it may be further already."""
        while True:
            number, stops = (int(part) for part in self.wait_for(_HEARD).split())
            if number >= self._num_asked:
                # Rank 0 goes no further than the update at which it stops.
                return bool(stops) and number == self._num_asked
            self._raise_failure()
            time.sleep(_POLL_SECONDS / 10)

    @contextmanager
    def failure_scope(self) -> Iterator[None]:
        """Run the block; a failure of one process ends all, and that process reports it.

        Raises:
            OtherProcessError: On the others.
            LostProcessError: If one ended without a word.
        """
        if self._store is None:
            yield
            return
        watch = _Watch(self._store.clone(), self.place)
        watch.start()
        try:
            yield
        except BaseException as error:
            shown = self._common_failure(error)
            logger.debug("process %d of %d:", self.rank, self.size, exc_info=error)
            if shown is error:
                raise
            raise shown from None
        finally:
            watch.stop()
            self._leave()

    def _common_failure(self, error: BaseException) -> BaseException:
        """Return what this process is to raise: only the first to fail reports the reason."""
        if isinstance(error, OtherProcessError):
            return error
        if isinstance(error, Preempted) and self._has_agreed:
            return error if self.is_rank_zero else OtherProcessError(error.exit_code)
        code = _exit_code(error)
        try:
            if _is_broken_connection(error):
                time.sleep(_WATCH_SECONDS)  # the process that broke it may be about to report why
            word = f"{self.rank} {code}"
            first = self._store.compare_set(_FAILURE, "", word).decode()
        except RuntimeError:  # the store is gone, and with it the process that held it
            return LostProcessError(f"process {self.rank} of {self.size} lost process 0: {error}")
        if first != word:
            return OtherProcessError(int(first.split()[1]))
        if _is_broken_connection(error):
            return LostProcessError(
                f"process {self.rank} of {self.size} lost another one, which reported no error;"
                " was it killed for lack of memory? Run the same command again to resume from the"
                f" last checkpoint. ({_root_line(error)})"
            )
        logger.error("process %d of %d failed", self.rank, self.size)
        return error

    def _raise_failure(self) -> None:
        if self._store.check([_FAILURE]):
            raise OtherProcessError(int(self._store.get(_FAILURE).decode().split()[1]))

    def _leave(self) -> None:
        """Close process groups; rank 0, which may hold the store, exits last."""
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
        deadline = time.monotonic() + _LINGER_SECONDS
        try:
            left = self._store.add(_LEFT, 1)
            while self.is_rank_zero and left < self.size and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                left = self._store.add(_LEFT, 0)
        except RuntimeError:  # the store is gone: all have left, or rank 0 was killed
            pass


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED
    return error.exit_code if isinstance(error, TonguesError) else 1


def _is_broken_connection(error: BaseException | None) -> bool:
    """Whether an error or its cause is that of a collective whose peer is gone."""
    while error is not None:
        if isinstance(error, RuntimeError) and _BROKEN.search(str(error)):
            return True
        error = error.__cause__
    return False


def _root_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().split("\n")[0]


class _Watch:
    """Ends this process when another failed and it hangs without noticing.

    A collective on GPUs, for example, waits for a lost process until its timeout.
    """

    def __init__(self, store: Any, place: Place) -> None:
        self._store = store
        self._place = place
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_WATCH_SECONDS):
            try:
                code = self._failure()
            except RuntimeError:  # rank 0 is gone
                code = 1
            if code is not None:
                if not self._stopped.wait(_GRACE_SECONDS):
                    logger.error(
                        "process %d of %d ends: another failed, and it was waiting for that one",
                        self._place.rank,
                        self._place.size,
                    )
                    logging.shutdown()
                    os._exit(code)
                return

    def _failure(self) -> int | None:
        if not self._store.check([_FAILURE]):
            return None
        return int(self._store.get(_FAILURE).decode().split()[1])


def join_world() -> World:
    """Join the other processes that torchrun or srun started, if any.

    Only rank 0 writes the log.
    """
    place = find_place()
    if place.size == 1:
        return World(place)
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=_MEETING))
    if place.rank:
        for room in ("corpus", "nmt"):
            if logging.getLogger(room).level == logging.INFO:  # not with --verbose
                logging.getLogger(room).setLevel(logging.WARNING)
    return World(place, PrefixStore("tongues", store))
