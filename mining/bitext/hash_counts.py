"""Counts of 64-bit hashes, in eight bytes an occurrence."""

import numpy as np
import numpy.typing as npt

UInt64 = npt.NDArray[np.uint64]


class HashCounts:
    """A growing multiset of hashes, as a few sorted arrays.

    A Python set takes about ten times the memory. Arrays of like size are merged, so that there are
    at most log2(n) of them.
    """

    def __init__(self) -> None:
        self._runs: list[UInt64] = []

    def counts(self, hashes: UInt64) -> npt.NDArray[np.int64]:
        """Return how often each hash was added, [N]."""
        total = np.zeros(len(hashes), np.int64)
        for run in self._runs:
            total += np.searchsorted(run, hashes, "right") - np.searchsorted(run, hashes, "left")
        return total

    def add(self, hashes: UInt64) -> None:
        """Add hashes, each as often as it occurs."""
        if not len(hashes):
            return
        run = np.sort(hashes)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)
