"""Safetensors files, read and written span by span, so that no model is ever held in memory.

The format (https://github.com/huggingface/safetensors, README): eight bytes with the length of the
header, the header as JSON, the tensors one after the other. A tensor is written from spans of other
files' tensors, as many bytes at a time as `_CHUNK_BYTES`.
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch

from corpus.errors import DataError
from corpus.files import atomic_path

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_LENGTH = struct.Struct("<Q")
_ALIGNMENT = 8
_CHUNK_BYTES = 1 << 24
_METADATA = "__metadata__"

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""What weights may be, by the format's names, in the order in which `safetensors` writes them."""


class Stored(NamedTuple):
    """Where a tensor is."""

    path: Path
    key: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """First byte in the file."""

    @property
    def num_elements(self) -> int:
        """Number of its elements."""
        return count_elements(self.shape)


class Span(NamedTuple):
    """Elements of a stored tensor, one after the other in memory."""

    stored: Stored
    begin: int
    length: int


class NewTensor(NamedTuple):
    """A tensor to write: its spans in order."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    spans: tuple[Span, ...]


def count_elements(shape: Sequence[int]) -> int:
    """Return how many elements a shape has."""
    count = 1
    for size in shape:
        count *= size
    return count


def read_header(path: Path) -> dict[str, Stored]:
    """Return the tensors of a file.

    Raises:
        DataError: If the file is missing, truncated or of another format.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_LENGTH.size)
        length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else size
        if _LENGTH.size + length > size:
            raise DataError(f"{path} is truncated, or no safetensors file: its header is not whole")
        header = file.read(length)
    begin = _LENGTH.size + length
    try:
        entries = json.loads(header)
        entries.pop(_METADATA, None)
        tensors = {key: _stored(path, key, entry, begin) for key, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no safetensors file: its header is damaged") from error
    end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    if begin + end != size:
        raise DataError(
            f"{path} is damaged: its header tells of {begin + end:,} bytes, it has {size:,}"
        )
    return tensors


def _stored(path: Path, key: str, entry: Mapping[str, Any], begin: int) -> Stored:
    first, last = entry["data_offsets"]
    stored = Stored(path, key, entry["dtype"], tuple(entry["shape"]), begin + first)
    dtype = DTYPES.get(stored.dtype)
    if dtype is not None and stored.num_elements * dtype.itemsize != last - first:
        raise ValueError(key)
    return stored


def whole(stored: Stored) -> Span:
    """Return all of a tensor."""
    return Span(stored, 0, stored.num_elements)


def rows(stored: Stored, begin: int, end: int) -> Span:
    """Return some rows, along the first dimension."""
    width = count_elements(stored.shape[1:])
    return Span(stored, begin * width, (end - begin) * width)


def are_equal(one: Stored, other: Stored) -> bool:
    """Whether two tensors of one shape and type hold the same bytes."""
    spans = (whole(one), whole(other))
    with one.path.open("rb") as first, other.path.open("rb") as second:
        pairs = zip(_chunks(first, spans[0]), _chunks(second, spans[1]), strict=True)
        return all(bytes(a) == bytes(b) for a, b in pairs)


def is_zero(stored: Stored) -> bool:
    """Whether a tensor holds zeros only."""
    with stored.path.open("rb") as file:
        return all(not any(chunk) for chunk in _chunks(file, whole(stored)))


def size_of(tensor: NewTensor) -> int:
    """Return the bytes of a tensor to write."""
    return count_elements(tensor.shape) * DTYPES[tensor.dtype].itemsize


def write_tensors(
    path: Path, tensors: Sequence[NewTensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a file, whole or not at all, in the order and with the header of `safetensors`.

    That is by type, then by name, so that equal weights make equal bytes.

    Raises:
        DataError: If a source is shorter than its header says.
    """
    ranks = list(DTYPES)
    ordered = sorted(tensors, key=lambda new: (ranks.index(new.dtype), new.key))
    header = _header(ordered, metadata)
    with atomic_path(path) as temporary, temporary.open("wb") as output:
        output.write(_LENGTH.pack(len(header)) + header)
        for tensor in ordered:
            for span in tensor.spans:
                with span.stored.path.open("rb") as source:
                    for chunk in _chunks(source, span):
                        output.write(_convert(chunk, span.stored.dtype, tensor.dtype))


def read_into(stored: Stored, tensor: torch.Tensor) -> None:
    """Fill a contiguous tensor, in its own type, a chunk at a time.

    Raises:
        DataError: If the stored one is of another shape, no weights, or not whole.
    """
    if stored.dtype not in DTYPES or stored.shape != tuple(tensor.shape):
        raise DataError(
            f"{stored.path}: `{stored.key}` is {stored.dtype} {list(stored.shape)}; the model has"
            f" {list(tensor.shape)}"
        )
    flat, begin = tensor.detach().view(-1), 0
    with stored.path.open("rb") as file:
        for chunk in _chunks(file, whole(stored)):
            values = torch.frombuffer(chunk, dtype=DTYPES[stored.dtype])
            flat[begin : begin + len(values)].copy_(values)
            begin += len(values)


def _header(tensors: Sequence[NewTensor], metadata: Mapping[str, str] | None) -> bytes:
    entries: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    begin = 0
    for tensor in tensors:
        end = begin + size_of(tensor)
        shape = list(tensor.shape)
        entries[tensor.key] = {"dtype": tensor.dtype, "shape": shape, "data_offsets": [begin, end]}
        begin = end
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % _ALIGNMENT)


def _chunks(file: IO[bytes], span: Span) -> Iterator[memoryview]:
    """Yield the bytes of a span; each is gone when the next one comes."""
    width = DTYPES[span.stored.dtype].itemsize
    file.seek(span.stored.begin + span.begin * width)
    left = span.length * width
    buffer = memoryview(bytearray(min(_CHUNK_BYTES, left)))
    while left:
        part = buffer[: min(len(buffer), left)]
        if file.readinto(part) != len(part):  # type: ignore[attr-defined]  # a buffered reader
            raise DataError(f"{span.stored.path} ends inside the tensor `{span.stored.key}`")
        left -= len(part)
        yield part


def _convert(chunk: memoryview, source: str, target: str) -> bytes | memoryview:
    if source == target:
        return chunk
    values = torch.frombuffer(chunk, dtype=DTYPES[source]).to(DTYPES[target])
    return values.view(torch.uint8).numpy().tobytes()
