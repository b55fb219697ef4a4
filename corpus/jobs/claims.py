"""Who does which task of a job in an object store, where there are no locks.

A claim is an object that only one writer can make new, `receipts/<job>/claims/<digest of task>`.
Its owner renews it while it works; one that was not renewed for five minutes is free. Processes
that share scratch space see each other's locks as well, so that a claim of a killed one is free at
once. Should two processes do one task after all, they write the same bytes.
"""

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corpus import stores
from corpus.errors import DataError
from corpus.remote import RemoteFile

CLAIMS = "claims"
CLAIM_SECONDS = 300.0
"""A claim that was not renewed for so long is free. Clocks must not differ by as much."""

_RENEWALS = 4


class Claims:
    """Claims of the tasks of a job, by one process; does nothing where there are locks."""

    def __init__(self, receipts: Path, log: str) -> None:
        """Take the directory of a job's receipts, and the name of this process's log.

        The name is empty where what is claimed is no task.
        """
        self._directory = receipts / CLAIMS
        self._domain = stores.domain(receipts)
        self._log = log
        self._held: dict[str, RemoteFile] = {}
        self._begun: dict[str, float] = {}

    def take(self, task: str) -> bool:
        """Take a task that this process has the lock of; return whether nobody else has it."""
        place = stores.place_of(self._directory / _digest(task))
        if place is None:
            return True
        self._begun[task] = round(time.time(), 3)
        data = self._data(task)
        for is_last in (False, True):
            try:
                place.file.write(data, is_new=True)
            except FileExistsError:
                claim = _read(place.file)
                if claim is not None and claim["domain"] != self._domain and is_alive(claim):
                    return False
                if is_last or (claim is not None and claim["domain"] == self._domain):
                    place.file.write(data)
                    break
                place.file.remove()
            else:
                break
        self._held[task] = place.file
        return True

    def release(self) -> None:
        """Give up all tasks."""
        held, self._held = self._held, {}
        for file in held.values():
            file.remove()

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew what is held during the block."""
        if not self._domain:
            yield
            return
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(CLAIM_SECONDS / _RENEWALS):
                for task, file in list(self._held.items()):
                    with contextlib.suppress(DataError):  # it is tried again before it runs out
                        file.write(self._data(task))

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _data(self, task: str) -> bytes:
        claim = {
            "task": task, "log": self._log, "domain": self._domain, "begun": self._begun[task],
            "renewed": round(time.time(), 3),
        }  # fmt: skip
        return json.dumps(claim).encode()


def _digest(task: str) -> str:
    return hashlib.blake2b(task.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _read(file: RemoteFile) -> dict[str, Any] | None:
    """Return a claim; None if it is gone, damaged, or is not one."""
    try:
        claim = json.loads(file.read())
        return {key: claim[key] for key in ("task", "log", "domain", "begun", "renewed")}
    except (DataError, ValueError, KeyError, TypeError):
        return None


def is_alive(claim: dict[str, Any]) -> bool:
    """Return whether a claim was renewed lately."""
    return bool(time.time() - claim["renewed"] < CLAIM_SECONDS)


def is_claimed_elsewhere(receipts: Path, task: str) -> bool:
    """Return whether a process of other scratch space does a task."""
    place = stores.place_of(receipts / CLAIMS / _digest(task))
    claim = _read(place.file) if place is not None else None
    return claim is not None and claim["domain"] != stores.domain(receipts) and is_alive(claim)


def claims_of(receipts: Path) -> list[dict[str, Any]]:
    """Return the claims of a job in a store that were renewed lately."""
    place = stores.place_of(receipts / CLAIMS)
    if place is None:
        return []
    found = (_read(stores.place_below(place, name).file) for name in place.file.entries())
    return [claim for claim in found if claim is not None and claim["log"] and is_alive(claim)]
