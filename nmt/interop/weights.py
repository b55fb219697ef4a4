"""Safetensors files written from spans of other files' tensors, chunk by chunk.

So no model is ever held in memory (`nmt.model.tensor_files` has the format).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from corpus.files import atomic_path
from corpus.pickled_tensors import Stored, count_elements
from nmt.model.tensor_files import (
    DTYPES,
    LENGTH,
    METADATA,
    Span,
    read_chunks,
    whole,
)

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_ALIGNMENT = 8


class NewTensor(NamedTuple):
    """A tensor to write: its spans in order."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    spans: tuple[Span, ...]


def rows(stored: Stored, begin: int, end: int) -> Span:
    """Return some rows, along the first dimension."""
    width = count_elements(stored.shape[1:])
    return Span(stored, begin * width, (end - begin) * width)


def are_equal(one: Stored, other: Stored) -> bool:
    """Whether two tensors of one shape and type hold the same bytes."""
    spans = (whole(one), whole(other))
    with one.path.open("rb") as first, other.path.open("rb") as second:
        pairs = zip(read_chunks(first, spans[0]), read_chunks(second, spans[1]), strict=True)
        return all(bytes(a) == bytes(b) for a, b in pairs)


def is_zero(stored: Stored) -> bool:
    """Whether a tensor holds zeros only."""
    with stored.path.open("rb") as file:
        return all(not any(chunk) for chunk in read_chunks(file, whole(stored)))


def size_of(tensor: NewTensor) -> int:
    """Return the bytes of a tensor to write."""
    return count_elements(tensor.shape) * DTYPES[tensor.dtype].itemsize


def write_tensors(
    path: Path, tensors: Sequence[NewTensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a file atomically, in the order and with the header of `safetensors`.

    That is by type, then by name, so that equal weights make equal bytes.

    Raises:
        DataError: If a source is shorter than its header says.
    """
    ranks = list(DTYPES)
    ordered = sorted(tensors, key=lambda new: (ranks.index(new.dtype), new.key))
    header = _header(ordered, metadata)
    with atomic_path(path) as temporary, temporary.open("wb") as output:
        output.write(LENGTH.pack(len(header)) + header)
        for tensor in ordered:
            for span in tensor.spans:
                with span.stored.path.open("rb") as source:
                    for chunk in read_chunks(source, span):
                        output.write(_convert(chunk, span.stored.dtype, tensor.dtype))


def _header(tensors: Sequence[NewTensor], metadata: Mapping[str, str] | None) -> bytes:
    entries: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    begin = 0
    for tensor in tensors:
        end = begin + size_of(tensor)
        shape = list(tensor.shape)
        entries[tensor.key] = {"dtype": tensor.dtype, "shape": shape, "data_offsets": [begin, end]}
        begin = end
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % _ALIGNMENT)


def _convert(chunk: memoryview, source: str, target: str) -> bytes | memoryview:
    if source == target:
        return chunk
    values = torch.frombuffer(chunk, dtype=DTYPES[source]).to(DTYPES[target])
    return values.view(torch.uint8).numpy().tobytes()
