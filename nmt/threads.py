"""Threads that share a machine politely. Imported before torch, which reads this at its start."""

import os

SPIN_COUNT = 10_000
"""Rounds a waiting OpenMP thread spins before it sleeps, some tens of microseconds."""


def share_processors() -> None:
    """Let waiting threads sleep.

    By default they spin for milliseconds at each of the thousands of barriers of an update, and
    where another program holds one of the processors, training becomes twenty times slower.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
