"""MinHash signatures of documents (Broder 1997), and their bands (Leskovec et al., chapter 3).

The share of equal values in two signatures estimates the Jaccard index of the documents' shingles.
14 bands of 8 values, as FineWeb has them (Penedo et al. 2024), find 77 % of pairs at an index of
.75, 92 % at .8, 99.95 % at .9, and 5 % at .5. Shingles are 24 bytes of the text without case and
punctuation: four words of most scripts. All hashes are the same on every machine.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from corpus.text import sentence_key

BANDS, _BAND_VALUES = 14, 8
VALUES = BANDS * _BAND_VALUES
_SHINGLE_BYTES = 24
_BLOCK = 1 << 12
_PIECE_BYTES = 1 << 20
_PRIME = 0x100000001B3
"""Of the 64-bit hash by Fowler, Noll and Vo."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
UInt32 = npt.NDArray[np.uint32]
UInt64 = npt.NDArray[np.uint64]


def _mixed(values: UInt64) -> UInt64:
    """Return 64-bit numbers whose every bit depends on all (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_SEEDS = _mixed(np.arange(1, 2 * VALUES + 1, dtype=np.uint64) * _GOLDEN)
_FACTORS, _TERMS = _SEEDS[:VALUES, None] | np.uint64(1), _SEEDS[VALUES:, None]


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(_PRIME, exponent, 1 << 64))


def shingle_hashes(data: bytes) -> UInt64:
    """Return the hash of each run of 24 bytes, or of all bytes where there are fewer."""
    window = np.frombuffer(data.ljust(_SHINGLE_BYTES, b"\0"), np.uint8).astype(np.uint64)
    for width in (1, 2, 4):
        window = window[:-width] * _power(width) + window[width:]
    eight = window
    sixteen = eight[:-8] * _power(8) + eight[8:]
    return _mixed(sixteen[:-8] * _power(8) + eight[16:])


def signature(text: str) -> UInt32 | None:
    """Return the signature of a document, [112]; None for one without letters and digits."""
    data = sentence_key(text).encode("utf-8", "replace")
    if not data:
        return None
    least = np.full(VALUES, np.iinfo(np.uint64).max, np.uint64)
    for begin in range(0, max(1, len(data) - _SHINGLE_BYTES + 1), _PIECE_BYTES):
        hashes = shingle_hashes(data[begin : begin + _PIECE_BYTES + _SHINGLE_BYTES - 1])
        for start in range(0, len(hashes), _BLOCK):
            products = _FACTORS * hashes[start : start + _BLOCK]
            products += _TERMS
            np.minimum(least, products.min(axis=1), out=least)
    return (least >> np.uint64(32)).astype(np.uint32)


def band_hashes(values: UInt32) -> list[int]:
    """Return a 64-bit hash of each band of a signature; equal bands have equal ones."""
    parts = values.astype("<u4").reshape(BANDS, _BAND_VALUES)
    return [
        int.from_bytes(
            hashlib.blake2b(part.tobytes(), digest_size=8, salt=bytes([band])).digest(), "big"
        )
        for band, part in enumerate(parts)
    ]


def similarity(first: UInt32, second: UInt32) -> float:
    """Return the estimated Jaccard index of two documents."""
    return float((first == second).mean())
