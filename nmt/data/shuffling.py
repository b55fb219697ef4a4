"""Shuffled epochs of any size, any range of which can be computed without the rest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHUFFLED_WHOLE = 1 << 15
"""Epochs of up to this many items are shuffled as a list in memory."""

_FEISTEL_ROUNDS = 6
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class ShuffledEpochs:
    """The order of a set of items in consecutive epochs, each shuffled separately.

    Small sets are shuffled whole. Of large ones, which would cost seconds and gigabytes, an item's
    place is computed: a Feistel network permutes the numbers below a power of two, and a number
    that falls outside the set is permuted again until it falls inside (Black and Rogaway 2002,
    "Ciphers with arbitrary finite domains", section 3: cycle walking).
    """

    def __init__(self, size: int, seed: tuple[int, ...]) -> None:
        self._size = size
        self._seed = seed
        self._kept: tuple[int, NDArray[Any]] | None = None

    def items(self, cursor: int, count: int) -> NDArray[np.int64]:
        """Return the items at `count` places from `cursor` on, counted over all epochs."""
        parts = []
        while count:
            epoch, begin = divmod(cursor, self._size)
            end = min(begin + count, self._size)
            if self._size <= _SHUFFLED_WHOLE:
                parts.append(self._shuffled(epoch)[begin:end].astype(np.int64))
            else:
                parts.append(self._computed(epoch, np.arange(begin, end, dtype=np.uint64)))
            cursor += end - begin
            count -= end - begin
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _shuffled(self, epoch: int) -> NDArray[Any]:
        if self._kept is None or self._kept[0] != epoch:
            order = np.random.default_rng([*self._seed, epoch]).permutation(self._size)
            self._kept = epoch, order.astype(np.uint16)
        return self._kept[1]

    def _computed(self, epoch: int, places: NDArray[np.uint64]) -> NDArray[np.int64]:
        keys = np.random.default_rng([*self._seed, epoch]).integers(
            0, 1 << 64, _FEISTEL_ROUNDS, np.uint64
        )
        bits = (self._size - 1).bit_length()
        items = _permute(places, bits, keys)
        while (outside := np.flatnonzero(items >= self._size)).size:
            items[outside] = _permute(items[outside], bits, keys)
        return items.astype(np.int64)


def _permute(
    numbers: NDArray[np.uint64], bits: int, keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Permute the numbers below 2^bits: each half in turn is changed by a hash of the other."""
    low_bits = np.uint64(bits // 2)
    high_bits = np.uint64(bits) - low_bits
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    high_mask = (np.uint64(1) << high_bits) - np.uint64(1)
    high, low = numbers >> low_bits, numbers & low_mask
    for number, key in enumerate(keys):
        if number % 2:
            low = low ^ (_mix(high ^ key) & low_mask)
        else:
            high = high ^ (_mix(low ^ key) & high_mask)
    return (high << low_bits) | low


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash 64-bit numbers as SplitMix64 does in the end (Steele et al. 2014, section 4)."""
    values = (values ^ (values >> np.uint64(30))) * _MULTIPLIERS[0]
    values = (values ^ (values >> np.uint64(27))) * _MULTIPLIERS[1]
    return values ^ (values >> np.uint64(31))
