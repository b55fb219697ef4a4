"""Write a classifier as fastText does, so that fastText and its users can read it.

Layout: fastText 0.9.3, version 12; see `lid.fasttext_model.model_file`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpus.files import atomic_path
from lid.fasttext_model.model_file import LABEL_PREFIX, MAGIC, SOFTMAX, VERSION

_SUPERVISED, _LABEL = 3, 1
_WINDOW, _NEGATIVES, _UPDATE_RATE, _SAMPLING = 5, 5, 100, 1e-4  # fastText's defaults, unused here
_NO_WORDS = 2_000_000_000
_NOT_PRUNED = -1


def write_ngram_model(
    path: Path,
    rows: NDArray[np.float32],
    output: NDArray[np.float32],
    classes: Sequence[str],
    *,
    lines: Sequence[int],
    min_ngram: int,
    max_ngram: int,
    epochs: int,
) -> None:
    """Write a model of character n-grams with a softmax.

    Args:
        path: The file.
        rows: N-gram vectors, [buckets, dim].
        output: Class vectors, [classes, dim].
        classes: Names of the classes, without fastText's prefix.
        lines: Lines of each class in an epoch.
        min_ngram: Shortest n-gram.
        max_ngram: Longest n-gram.
        epochs: Passes over the lines.
    """
    buckets, dim = rows.shape
    settings = (dim, _WINDOW, epochs, _NO_WORDS, _NEGATIVES, 1, SOFTMAX, _SUPERVISED)
    ngrams = (buckets, min_ngram, max_ngram, _UPDATE_RATE)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<14id", MAGIC, VERSION, *settings, *ngrams, _SAMPLING))
        file.write(struct.pack("<3i2q", len(classes), 0, len(classes), sum(lines), _NOT_PRUNED))
        for name, count in zip(classes, lines, strict=True):
            file.write((LABEL_PREFIX + name).encode("utf-8") + b"\0")
            file.write(struct.pack("<qb", count, _LABEL))
        for matrix in (rows, output):
            file.write(struct.pack("<?2q", False, *matrix.shape))
            file.write(np.ascontiguousarray(matrix, np.float32).data)
