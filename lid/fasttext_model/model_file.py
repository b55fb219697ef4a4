"""fastText's model files, read without fastText: what is in them, and whether they are whole.

fastText trusts the file: a truncated or foreign one crashes the process. So every length in the
file is checked against the file's size before fastText sees it. Layout: fastText 0.9.3, version 12
(fasttext.cc, Args::load, Dictionary::load, DenseMatrix::load, QuantMatrix::load).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from corpus.errors import DataError

MAGIC = 793_712_314
VERSION = 12
LABEL_PREFIX = "__label__"
_MODELS = {1: "cbow", 2: "skipgram", 3: "supervised"}
_LABEL, _WORD = 1, 0
_MOST_ENTRIES = 100_000_000


@dataclass(frozen=True)
class FastTextFile:
    """The head of a model file, and where its matrices lie."""

    path: Path
    dim: int
    min_count: int
    word_ngrams: int
    loss: int
    buckets: int
    min_ngram: int
    max_ngram: int
    words: int
    labels: tuple[str, ...]
    """Labels in the order of the output's rows, with their prefix."""

    is_quantized: bool
    input_rows: int
    input_at: int
    """Offset of the input matrix's values, where it is not quantized."""

    output_at: int
    """Offset of the output matrix's values, where that is not quantized; else 0."""

    def input_matrix(self) -> NDArray[np.float32]:
        """Return the vectors of words and n-grams, [words + buckets, dim], memory-mapped."""
        return np.memmap(self.path, np.float32, "r", self.input_at, (self.input_rows, self.dim))

    def output_matrix(self) -> NDArray[np.float32]:
        """Return the vectors of the labels, [labels, dim]."""
        mapped = np.memmap(self.path, np.float32, "r", self.output_at, (len(self.labels), self.dim))
        return np.array(mapped)


def read_fasttext_file(path: Path) -> FastTextFile:
    """Read the head of a supervised model and check that the file is whole.

    Raises:
        DataError: If it is not a fastText classifier, or truncated, or longer than it should be.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            return _read(path, file, size)
        except struct.error:
            raise DataError(f"{path} is cut off: it ends inside its head.") from None


def _read(path: Path, file: BinaryIO, size: int) -> FastTextFile:
    head = file.read(8)
    if len(head) < 8 or struct.unpack("<ii", head) != (MAGIC, VERSION):
        raise DataError(f"{path} is not a fastText model of version {VERSION}.")
    values = _unpack(file, "<12id")
    dim, _, _, min_count, _, word_ngrams, loss, model, buckets, min_ngram, max_ngram, _, _ = values
    if _MODELS.get(model) != "supervised":
        raise DataError(f"{path} holds {_MODELS.get(model, 'unknown')} vectors, not a classifier.")
    entries, words, label_count, _, pruned = _unpack(file, "<3i2q")
    if not (0 <= entries <= _MOST_ENTRIES and words + label_count == entries and dim > 0):
        raise DataError(f"{path} is damaged: its dictionary of {entries:,} entries cannot be.")
    labels = _read_labels(path, file, entries)
    if len(labels) != label_count:
        raise DataError(f"{path} is damaged: {label_count} labels announced, {len(labels)} found.")
    _skip(path, file, size, max(pruned, 0) * 8)
    is_quantized = bool(_unpack(file, "<?")[0])
    input_rows, input_at = _skip_matrix(path, file, size, dim, is_quantized)
    output_quantized = bool(_unpack(file, "<?")[0])
    output_rows, output_at = _skip_matrix(path, file, size, dim, is_quantized and output_quantized)
    if input_rows < words + (buckets if pruned < 0 else pruned):
        raise DataError(
            f"{path} is damaged: {input_rows:,} vectors, {words:,} words and {buckets:,} buckets."
        )
    if output_rows != label_count:
        raise DataError(f"{path} is damaged: {output_rows} label vectors for {label_count} labels.")
    if file.tell() != size:
        raise DataError(
            f"{path} is damaged: it has {size:,} bytes, and a whole file of its kind has"
            f" {file.tell():,}. Copy or download it again."
        )
    return FastTextFile(
        path, dim, min_count, word_ngrams, loss, buckets, min_ngram, max_ngram, words,
        tuple(labels), is_quantized, input_rows, input_at,
        0 if is_quantized and output_quantized else output_at,
    )  # fmt: skip


def _unpack(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _read_labels(path: Path, file: BinaryIO, entries: int) -> list[str]:
    """Read the dictionary: entries of a name, a zero byte, a count and a kind."""
    labels = []
    data = b""
    at = 0
    for _ in range(entries):
        while (end := data.find(b"\0", at)) < 0 or end + 10 > len(data):
            more = file.read(1 << 20)
            if not more:
                raise DataError(f"{path} is cut off: it ends inside its dictionary.")
            data = data[at:] + more
            at = 0
        if data[end + 9] == _LABEL:
            labels.append(data[at:end].decode("utf-8", "replace"))
        at = end + 10
    file.seek(at - len(data), 1)
    return labels


def _skip_matrix(
    path: Path, file: BinaryIO, size: int, dim: int, is_quantized: bool
) -> tuple[int, int]:
    """Pass a matrix; return its rows and where its values begin."""
    codes = parts = 0
    if is_quantized:
        has_norms, rows, columns, codes = _unpack(file, "<?qqi")
    else:
        has_norms = False
        rows, columns = _unpack(file, "<qq")
    if columns != dim or not 0 < rows <= size:
        raise DataError(
            f"{path} is cut off or damaged: a matrix of {rows:,} by {columns:,} does not fit into"
            f" its {size:,} bytes. Copy or download it again."
        )
    start = file.tell()
    if is_quantized:
        _skip(path, file, size, codes)
        parts = _skip_quantizer(path, file, size, dim)
        if codes != rows * parts:
            raise DataError(f"{path} is damaged: {codes:,} codes for {rows:,} rows.")
        if has_norms:
            _skip(path, file, size, rows)
            _skip_quantizer(path, file, size, 1)
    else:
        _skip(path, file, size, rows * columns * 4)
    return rows, start


def _skip_quantizer(path: Path, file: BinaryIO, size: int, dim: int) -> int:
    """Pass a product quantizer; return into how many parts it cuts a row."""
    own_dim, parts, _, _ = _unpack(file, "<4i")
    if own_dim != dim:
        raise DataError(f"{path} is damaged: a quantizer of {own_dim:,} for {dim:,} dimensions.")
    _skip(path, file, size, dim * 256 * 4)
    return parts


def _skip(path: Path, file: BinaryIO, size: int, length: int) -> None:
    if not 0 <= length <= size - file.tell():
        raise DataError(
            f"{path} is cut off or damaged: a part of {length:,} bytes does not fit into its"
            f" {size:,}. Copy or download it again."
        )
    file.seek(length, 1)
