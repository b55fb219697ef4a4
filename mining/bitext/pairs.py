"""Checks of single pairs: lengths, copies, scripts; and the median length ratio."""

import math
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_TRIGRAM = 3
_LENGTH_SLACK = 5
"""Characters added to both lengths: a short sentence's ratio says little."""
_LOG_RATIO_LIMIT = 5.0
_LOG_RATIO_BINS = 1000


def median_length_ratio(tables: Iterable[pa.Table]) -> float:
    """Return the median of target by source length over all pairs, from a histogram in 1 % steps.

    A script of syllables writes a sentence in half the letters of an alphabet, so lengths are
    compared with what is usual for the pair of languages, not with 1.
    """
    edges = np.linspace(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT, _LOG_RATIO_BINS + 1)
    histogram = np.zeros(_LOG_RATIO_BINS, np.int64)
    for table in tables:
        source, target = (
            pc.utf8_length(table.column(name)).to_numpy().astype(np.float64) + _LENGTH_SLACK
            for name in ("source", "target")
        )
        histogram += np.histogram(np.clip(np.log(target / source), edges[0], edges[-1]), edges)[0]
    if not histogram.sum():
        return 1.0
    middle = int(np.searchsorted(np.cumsum(histogram), histogram.sum() / 2))
    return math.exp((edges[middle] + edges[middle + 1]) / 2)


def lengths_fit(source: str, target: str, expected: float, limit: float) -> bool:
    """Say whether the lengths' ratio is within a factor of `limit` of the expected one."""
    ratio = (len(target) + _LENGTH_SLACK) / (len(source) + _LENGTH_SLACK)
    return abs(math.log(ratio / expected)) <= math.log(limit)


def trigram_overlap(source_key: str, target_key: str) -> float:
    """Return the share of the smaller side's character trigrams that the other side has too.

    Args:
        source_key: `sentence_key` of one side.
        target_key: That of the other.
    """
    if source_key != target_key and not (set(source_key) & set(target_key)) - {" ", "0"}:
        return 0.0  # no letter in common: most pairs of two scripts
    left, right = _trigrams(source_key), _trigrams(target_key)
    smaller = min(len(left), len(right))
    return len(left & right) / smaller if smaller else float(left == right)


def _trigrams(text: str) -> set[str]:
    return {text[i : i + _TRIGRAM] for i in range(max(1, len(text) - _TRIGRAM + 1))}
