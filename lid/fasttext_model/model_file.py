"""fastText's model files, read without fastText: what they hold, and whether they are sound.

fastText trusts the file: it divides by its number of buckets, indexes by the numbers in it and
raises from C++ on the rest. So every field that it reads is checked before it sees the file.
Layout: fastText 0.9.3, version 12 (fasttext.cc, Args::load, Dictionary::load, DenseMatrix::load,
QuantMatrix::load, ProductQuantizer::load).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.errors import DataError

MAGIC = 793_712_314
VERSION = 12
LABEL_PREFIX = "__label__"

HIERARCHICAL_SOFTMAX, NEGATIVE_SAMPLING, SOFTMAX, ONE_VERSUS_ALL = 1, 2, 3, 4
_LOSSES = (HIERARCHICAL_SOFTMAX, NEGATIVE_SAMPLING, SOFTMAX, ONE_VERSUS_ALL)
_MODELS = {1: "cbow", 2: "skipgram", 3: "supervised"}
_WORD, _LABEL = 0, 1
_CENTROIDS = 256
"""Centroids of each part of a product quantizer."""

_MAX_ENTRIES = 100_000_000
_MAX_ENTRY_BYTES = 1 << 20
_MAX_NGRAM = 32
_MAX_WORD_NGRAMS = 32
_MAX_DIM = 1 << 16
_MAX_TOTAL_COUNT = 10**15
"""What fastText's Huffman tree takes for infinite."""

_MAX_SUM = 1e30
"""Largest product of weights that cannot overflow to infinity in a sum over a line."""

_BLOCK_VALUES = 1 << 22
_DICTIONARY_AT = struct.calcsize("<2i12id3i2q")
_ENTRY_TAIL = 9  # bytes after the zero byte of a name: count and type

_Values = NDArray[np.float32]


class _Spans(NamedTuple):
    """Float arrays of one matrix: offset in the file and number of values."""

    parts: tuple[tuple[int, int], ...]


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

    input_floats: _Spans = field(repr=False)
    output_floats: _Spans = field(repr=False)

    def input_matrix(self) -> _Values:
        """Return the vectors of words and n-grams, [words + buckets, dim], memory-mapped."""
        return np.memmap(self.path, np.float32, "r", self.input_at, (self.input_rows, self.dim))

    def output_matrix(self) -> _Values:
        """Return the vectors of the labels, [labels, dim]."""
        mapped = np.memmap(self.path, np.float32, "r", self.output_at, (len(self.labels), self.dim))
        return np.array(mapped)


def read_fasttext_file(path: Path) -> FastTextFile:
    """Read the head of a supervised model and check every field that fastText relies on.

    The weights themselves are not read; see `check_weights`.

    Raises:
        DataError: If it is not a fastText classifier, is truncated or longer than it should be,
            or a field is out of range.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            return _Reader(path, file, size).read()
        except struct.error:
            raise DataError(f"{path} is truncated: it ends inside its head.") from None


def read_words(head: FastTextFile) -> Iterator[str]:
    """Yield the words of a model's dictionary, `</s>` among them."""
    with head.path.open("rb") as file:
        file.seek(_DICTIONARY_AT)
        entries = _Reader(head.path, file, 0).entries(head.words)
        yield from (name.decode("utf-8", "replace") for name, _, _ in entries)


def check_weights(head: FastTextFile) -> None:
    """Check that all weights are finite and too small to overflow.

    fastText raises from C++ when a score is not a number.

    Raises:
        DataError: If a weight is not a finite number, or absurdly large.
    """
    largest = 1.0
    for name, spans in (("input", head.input_floats), ("output", head.output_floats)):
        own = 0.0
        for block in _float_blocks(head.path, spans):
            low, high = float(block.min()), float(block.max())
            if not (math.isfinite(low) and math.isfinite(high)):
                raise _damaged(head.path, f"its {name} matrix holds a value that is not finite")
            own = max(own, -low, high)
        # A quantized row is a centroid times a norm, so both are in the product.
        largest *= max(own, 1.0) ** (2 if head.is_quantized else 1)
    if largest * head.dim > _MAX_SUM:
        raise _damaged(head.path, f"its weights are as large as {largest:.1e}")


def _float_blocks(path: Path, spans: _Spans) -> Iterator[_Values]:
    for start, number in spans.parts:
        values = np.memmap(path, np.uint8, "r", start, (number * 4,)).view(np.float32)
        for first in range(0, number, _BLOCK_VALUES):
            yield np.asarray(values[first : first + _BLOCK_VALUES])


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path} is damaged: {what}. Copy or download it again.")


class _Matrix(NamedTuple):
    rows: int
    values_at: int
    floats: _Spans


class _Reader:
    """Reads the parts of a file in order; each method checks what it reads."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self._path, self._file, self._size = path, file, size

    def read(self) -> FastTextFile:
        head = self._file.read(8)
        if len(head) < 8 or struct.unpack("<ii", head) != (MAGIC, VERSION):
            raise DataError(f"{self._path} is not a fastText model of version {VERSION}.")
        (
            dim,
            window,
            epochs,
            min_count,
            negatives,
            word_ngrams,
            loss,
            model,
            buckets,
            min_ngram,
            max_ngram,
            update_rate,
        ) = self._integers("<12i")
        (sampling,) = struct.unpack("<d", self._file.read(8))
        if _MODELS.get(model) != "supervised":
            kind = _MODELS.get(model, "unknown")
            raise DataError(f"{self._path} holds {kind} vectors, not a classifier.")
        self._check_range("dim", dim, 1, _MAX_DIM)
        self._check_range("loss", loss, _LOSSES[0], _LOSSES[-1])
        self._check_range("max_ngram", max_ngram, 0, _MAX_NGRAM)
        self._check_range("min_ngram", min_ngram, 0, _MAX_NGRAM)
        self._check_range("word_ngrams", word_ngrams, 0, _MAX_WORD_NGRAMS)
        # fastText sets no buckets where it needs none, and divides by them where it does.
        needs_buckets = max_ngram > 0 or word_ngrams > 1
        self._check_range("buckets", buckets, int(needs_buckets), 2**31 - 1)
        for name, value in (
            ("window", window),
            ("epochs", epochs),
            ("min_count", min_count),
            ("negatives", negatives),
            ("update_rate", update_rate),
        ):
            self._check_range(name, value, 0, 2**31 - 1)
        if not (math.isfinite(sampling) and sampling >= 0):
            raise self._error(f"its sampling threshold is {sampling}")
        entries, words, label_count, tokens, pruned = self._integers("<3i2q")
        if not (0 < entries <= _MAX_ENTRIES and words >= 0 and words + label_count == entries):
            raise self._error(f"its dictionary of {entries:,} entries cannot be")
        self._check_range("number of labels", label_count, 1, _MAX_ENTRIES)
        self._check_range("number of tokens", tokens, 0, 2**62)
        labels = self._read_dictionary(words, label_count, loss)
        self._read_pruned(pruned, buckets)
        is_quantized = self._flag()
        if pruned >= 0 and not is_quantized:
            raise self._error("it is pruned but not quantized")
        input_matrix = self._read_matrix(dim, is_quantized)
        output_quantized = self._flag()
        if output_quantized and not is_quantized:
            raise self._error("its output is quantized and its input is not")
        output_matrix = self._read_matrix(dim, output_quantized)
        hashed = buckets if pruned < 0 else pruned
        if input_matrix.rows != words + hashed:
            raise self._error(
                f"{input_matrix.rows:,} vectors for {words:,} words and {hashed:,} buckets"
            )
        if output_matrix.rows != label_count:
            raise self._error(f"{output_matrix.rows:,} label vectors for {label_count:,} labels")
        if self._file.tell() != self._size:
            raise self._error(
                f"it has {self._size:,} bytes, and a whole file of its kind has"
                f" {self._file.tell():,}"
            )
        return FastTextFile(
            self._path,
            dim,
            min_count,
            word_ngrams,
            loss,
            buckets,
            min_ngram,
            max_ngram,
            words,
            labels,
            is_quantized,
            input_matrix.rows,
            input_matrix.values_at,
            0 if output_quantized else output_matrix.values_at,
            input_matrix.floats,
            output_matrix.floats,
        )

    def _error(self, what: str) -> DataError:
        return _damaged(self._path, what)

    def _integers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self._file.read(struct.calcsize(layout)))

    def _check_range(self, name: str, value: int, least: int, most: int) -> None:
        if not least <= value <= most:
            raise self._error(f"its {name} is {value:,}, not between {least:,} and {most:,}")

    def _flag(self) -> bool:
        (value,) = self._integers("<B")
        self._check_range("quantization flag", value, 0, 1)
        return bool(value)

    def _skip(self, length: int) -> int:
        """Pass a part of the file; return where it begins."""
        start = self._file.tell()
        if not 0 <= length <= self._size - start:
            raise DataError(
                f"{self._path} is truncated or damaged: a part of {length:,} bytes does not fit"
                f" into its {self._size:,}. Copy or download it again."
            )
        self._file.seek(length, 1)
        return start

    def _read_dictionary(self, words: int, label_count: int, loss: int) -> tuple[str, ...]:
        """Read the entries, words first; return the labels."""
        labels: list[str] = []
        counts: list[int] = []
        for number, (name, count, kind) in enumerate(self.entries(words + label_count)):
            expected = _WORD if number < words else _LABEL
            if kind != expected:
                raise self._error(f"entry {number:,} of its dictionary has the type {kind}")
            if not 0 <= count <= _MAX_TOTAL_COUNT:
                raise self._error(f"entry {number:,} of its dictionary was counted {count:,} times")
            if kind == _WORD:
                continue
            try:
                labels.append(name.decode("utf-8"))
            except UnicodeDecodeError:
                raise self._error(f"the label {name!r} is not valid UTF-8") from None
            counts.append(count)
        if len(set(labels)) != len(labels):
            raise self._error("a label occurs twice in its dictionary")
        # A Huffman tree of counts in another order may be as deep as it has labels.
        if loss == HIERARCHICAL_SOFTMAX and (
            sum(counts) >= _MAX_TOTAL_COUNT or counts != sorted(counts, reverse=True)
        ):
            raise self._error("its labels are not ordered by count")
        return tuple(labels)

    def entries(self, number: int) -> Iterator[tuple[bytes, int, int]]:
        """Yield the next entries of the dictionary: name, count and type."""
        data = b""
        at = 0
        for _ in range(number):
            while (end := data.find(b"\0", at)) < 0 or end + _ENTRY_TAIL + 1 > len(data):
                more = self._file.read(1 << 20)
                if not more:
                    raise DataError(f"{self._path} is truncated: it ends inside its dictionary.")
                data = data[at:] + more
                at = 0
                if end < 0 and len(data) > 2 * _MAX_ENTRY_BYTES:
                    raise self._error("a name in its dictionary does not end")
            count, kind = struct.unpack_from("<qb", data, end + 1)
            yield data[at:end], count, kind
            at = end + _ENTRY_TAIL + 1
        self._file.seek(at - len(data), 1)

    def _read_pruned(self, pruned: int, buckets: int) -> None:
        """Read which buckets a pruned model kept, and the row of each."""
        self._check_range("number of pruned buckets", pruned, -1, self._size)
        if pruned <= 0:
            return
        start = self._skip(pruned * 8)
        pairs = np.memmap(self._path, np.uint8, "r", start, (pruned * 8,)).view(np.int32)
        kept, rows = pairs[::2], pairs[1::2]
        if int(kept.min()) < 0 or int(kept.max()) >= buckets:
            raise self._error(f"it keeps a bucket that is not one of its {buckets:,}")
        if int(rows.min()) < 0 or int(rows.max()) >= pruned:
            raise self._error(f"a bucket it keeps has none of its {pruned:,} rows")

    def _read_matrix(self, dim: int, is_quantized: bool) -> _Matrix:
        has_norms = self._flag() if is_quantized else False
        rows, columns = self._integers("<qq")
        (codes,) = self._integers("<i") if is_quantized else (0,)
        if columns != dim or not 0 < rows <= self._size:
            raise DataError(
                f"{self._path} is truncated or damaged: a matrix of {rows:,} by {columns:,} does"
                f" not fit into its {self._size:,} bytes. Copy or download it again."
            )
        if not is_quantized:
            start = self._skip(rows * columns * 4)
            return _Matrix(rows, start, _Spans(((start, rows * columns),)))
        start = self._skip(codes)
        parts, floats = self._read_quantizer(dim)
        if codes != rows * parts:
            raise self._error(f"{codes:,} codes for {rows:,} rows of {parts:,} parts")
        spans = [floats]
        if has_norms:
            self._skip(rows)
            spans.append(self._read_quantizer(1)[1])
        return _Matrix(rows, start, _Spans(tuple(spans)))

    def _read_quantizer(self, dim: int) -> tuple[int, tuple[int, int]]:
        """Pass a product quantizer; return into how many parts it cuts a row, and its floats."""
        own_dim, parts, width, last_width = self._integers("<4i")
        if own_dim != dim:
            raise self._error(f"a quantizer of {own_dim:,} dimensions for {dim:,}")
        if width < 1:
            raise self._error(f"a quantizer with parts of {width:,} dimensions")
        if parts != -(-dim // width) or last_width != (dim % width or width):
            raise self._error(
                f"a quantizer that cuts {dim:,} dimensions into {parts:,} parts of {width:,}, the"
                f" last of {last_width:,}"
            )
        return parts, (self._skip(dim * _CENTROIDS * 4), dim * _CENTROIDS)
