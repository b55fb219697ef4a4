"""Safetensors files, read in chunks, so that no model is ever held twice in memory.

The format (https://github.com/huggingface/safetensors, README): eight bytes with the length of the
header, the header as JSON, the tensors one after the other.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch

from corpus.errors import DataError
from corpus.pickled_tensors import Stored, count_elements

LENGTH = struct.Struct("<Q")
METADATA = "__metadata__"
_CHUNK_BYTES = 1 << 24

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""What weights may be, by the format's names, in the order in which `safetensors` writes them."""


class Span(NamedTuple):
    """Elements of a stored tensor, one after the other in memory."""

    stored: Stored
    begin: int
    length: int


def read_header(path: Path) -> dict[str, Stored]:
    """Return the tensors of a file.

    Raises:
        DataError: If the file is missing, truncated or of another format.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LENGTH.size)
        length = LENGTH.unpack(start)[0] if len(start) == LENGTH.size else size
        if LENGTH.size + length > size:
            raise DataError(f"{path} is truncated, or no safetensors file: its header is not whole")
        header = file.read(length)
    begin = LENGTH.size + length
    try:
        entries = json.loads(header)
        entries.pop(METADATA, None)
        tensors = {key: _stored(path, key, entry, begin) for key, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a safetensors file: its header is damaged") from error
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


def read_into(stored: Stored, tensor: torch.Tensor, *, first_row: int = 0) -> None:
    """Fill a contiguous tensor, in its own type, a chunk at a time.

    Args:
        stored: What is read.
        tensor: All of it, or some of its rows.
        first_row: The first of those.

    Raises:
        DataError: If the stored one is of another shape, no weights, or not whole.
    """
    shape = tuple(tensor.shape)
    span = whole(stored)
    if first_row or stored.shape != shape:
        width = count_elements(stored.shape[1:])
        span = Span(stored, first_row * width, tensor.numel())
    fits = stored.shape == shape or (
        stored.shape[1:] == shape[1:] and span.begin + span.length <= stored.num_elements
    )
    if stored.dtype not in DTYPES or not fits:
        raise DataError(
            f"{stored.path}: `{stored.key}` is {stored.dtype} {list(stored.shape)}; the model has"
            f" {list(tensor.shape)}"
        )
    flat, begin = tensor.detach().view(-1), 0
    with stored.path.open("rb") as file:
        for chunk in read_chunks(file, span):
            values = torch.frombuffer(chunk, dtype=DTYPES[stored.dtype])
            flat[begin : begin + len(values)].copy_(values)
            begin += len(values)


def read_chunks(file: IO[bytes], span: Span) -> Iterator[memoryview]:
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
