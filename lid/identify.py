"""Identification of a stream of lines, in order, a batch at a time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator

from corpus.protocols import LanguageIdentifier, Prediction

BATCH_LINES = 1_000
"""Lines read before the first answer is written."""


def identify_stream(
    lines: Iterable[str], identifier: LanguageIdentifier, counts: Counter[str]
) -> Iterator[Prediction]:
    """Yield one prediction per line, in order; count the answers in `counts`."""
    stream = iter(lines)
    while batch := list(itertools.islice(stream, BATCH_LINES)):
        for prediction in identifier.identify(batch):
            counts[prediction.language] += 1
            yield prediction
