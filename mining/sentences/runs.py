"""Sorted runs: sentences of many languages in one file, in the order of their duplicate keys.

A run is an Arrow IPC stream of record batches, blocks of some hundred sentences, and behind its
end an index: the first key and the offset of each block. So the sentences of one language, or of a
range of its duplicate keys, are read without the others, and any Arrow library reads the stream.
Runs are merged block by block (Knuth, The Art of Computer Programming, volume 3, section 5.4):
memory depends on their number, not on their size, whatever the keys are.
"""

import functools
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus import stores
from corpus.errors import DataError, UserError
from corpus.files import digest_file

LANGUAGE_BYTES = 24
"""`twi_Latn_asan1239`, as long as a code can be, has 17."""

KEY_BYTES = LANGUAGE_BYTES + 8 + 8 + 8
TEMPLATE_BYTES = LANGUAGE_BYTES + 8
"""The part of a key that exact and near copies share."""

TEXT_BYTES = TEMPLATE_BYTES + 8
"""The part of a key that exact copies share."""

RUN_SCHEMA = pa.schema(
    [
        pa.field("key", pa.binary(KEY_BYTES), nullable=False),
        pa.field("copies", pa.uint32(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("lid_score", pa.float32()),
        pa.field("document", pa.string()),
        pa.field("position", pa.int32()),
    ]
)
"""A sentence of a run: its place in the order, and how many sentences of its text it stands for.

The key is the language's code with zeros behind it, the hash of `corpus.text.sentence_key`, that of
the text, and that of document and position, highest byte first; so keys compare as bytes.
"""

Keys = NDArray[np.bytes_]

RUN_SUFFIX = ".arrows"
WORK = ".work"
"""Folder of what a command keeps for itself, in its output."""
FAN_IN = 320
"""Most runs that are merged at a time. Two rounds do for 102,400 shards; a dump has 90,000."""

BLOCK_BYTES = 1 << 18
_BLOCK_ROWS = 1024
_READ_OPTIONS = pa.ipc.IpcReadOptions(use_threads=False)
_READ_KEYS = pa.ipc.IpcReadOptions(use_threads=False, included_fields=[0, 1])
_SCHEMA_MESSAGE = RUN_SCHEMA.serialize().to_pybytes()
_TRAILER = struct.Struct("<QQ16s8s")
_MAGIC = b"tongues1"
_HASHES = struct.Struct(">QQQ")


@functools.lru_cache(maxsize=4096)
def language_key(language: str) -> bytes:
    """Return what keys of a language begin with."""
    if not language.isascii() or len(language) >= LANGUAGE_BYTES:
        raise UserError(f"the identifier answers `{language}`, which is no code of a language")
    return language.encode("ascii").ljust(LANGUAGE_BYTES, b"\0")


def sentence_sort_key(language: str, template: int, text: int, place: int) -> bytes:
    """Return the key of a sentence from its language and three 64-bit hashes."""
    return language_key(language) + _HASHES.pack(template, text, place)


def language_of(key: bytes) -> str:
    """Return the language of a key."""
    return key[:LANGUAGE_BYTES].rstrip(b"\0").decode("ascii")


def key_range(language: str, bucket: int, buckets: int) -> tuple[bytes, bytes]:
    """Return the lowest key of a bucket of a language, and what all its keys are below.

    Buckets are equal ranges of the hash that exact and near copies share.
    """
    prefix = language_key(language)
    starts = [
        prefix + ((number << 64) // buckets).to_bytes(8, "big")
        for number in range(bucket, min(bucket + 2, buckets))
    ]
    return starts[0], starts[1] if len(starts) > 1 else prefix[:-1] + b"\1"


def keys_of(batch: pa.RecordBatch) -> Keys:
    """Return the keys of some sentences, [n], as fixed-width bytes, without copying them."""
    column = batch.column("key")
    buffer = column.buffers()[1]
    return np.frombuffer(buffer, f"S{KEY_BYTES}", batch.num_rows, column.offset * KEY_BYTES)


def hashes_of(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    """Return the hashes that exact and near copies share, [n]."""
    parts = np.ascontiguousarray(keys_of(batch)).view(np.uint8).reshape(-1, KEY_BYTES)
    shared = np.ascontiguousarray(parts[:, LANGUAGE_BYTES:TEMPLATE_BYTES])
    return shared.view(">u8").reshape(-1).astype(np.uint64)


def prefix_changes(keys: Keys, width: int, before: bytes = b"") -> NDArray[np.bool_]:
    """Return where the first `width` bytes of sorted keys differ from those of the key before."""
    prefixes = np.ascontiguousarray(keys).view(np.uint8).reshape(-1, KEY_BYTES)[:, :width]
    changes = np.ones(len(keys), np.bool_)
    changes[1:] = (prefixes[1:] != prefixes[:-1]).any(axis=1)
    if before and len(keys):
        changes[0] = prefixes[0].tobytes() != before[:width]
    return changes


def sort_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return sentences in the order of their keys."""
    return batch.take(pa.array(np.argsort(keys_of(batch), kind="stable")))


def _as_batch(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


class RunWriter:
    """Writes sentences that come in the order of their keys; to be used in a `with` block."""

    def __init__(self, path: Path, block_bytes: int = BLOCK_BYTES) -> None:
        self.rows = 0
        self._path = path
        self._block_bytes = block_bytes
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._keys: list[bytes] = []
        self._offsets: list[int] = []
        self._file = pa.OSFile(str(path), "wb")
        options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
        self._stream = pa.ipc.new_stream(self._file, RUN_SCHEMA, options=options)

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        if kind is None:
            self._flush(is_end=True)
        self._stream.close()
        end = self._file.tell()
        self._file.close()
        if kind is None:
            self._write_index(end)

    def add(self, batch: pa.RecordBatch) -> None:
        """Add sentences that follow those before."""
        if not batch.num_rows:
            return
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._waiting_rows >= _BLOCK_ROWS or self._waiting_bytes >= self._block_bytes:
            self._flush()

    def _flush(self, *, is_end: bool = False) -> None:
        """Write whole blocks, and at the end the rest."""
        if not self._waiting:
            return
        batch = _as_batch(self._waiting)
        rows = self._block_bytes * batch.num_rows // max(1, self._waiting_bytes)
        step = min(max(1, rows), _BLOCK_ROWS)
        end = batch.num_rows if is_end else batch.num_rows // step * step
        for start in range(0, end, step):
            block = batch.slice(start, min(step, end - start))
            self._keys.append(keys_of(block)[:1].tobytes())
            self._offsets.append(self._file.tell())
            self._stream.write_batch(block)
        rest = batch.slice(end)
        self._waiting = [rest] if rest.num_rows else []
        self._waiting_rows, self._waiting_bytes = rest.num_rows, rest.nbytes

    def _write_index(self, end: int) -> None:
        digest = digest_file(self._path)
        with self._path.open("ab") as file:
            file.write(b"".join(self._keys))
            file.write(np.array([*self._offsets, end], "<u8").tobytes())
            file.write(_TRAILER.pack(len(self._keys), end, bytes.fromhex(digest)[:16], _MAGIC))


class Run:
    """A run that is open for reading; see `open_run`."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        size = os.fstat(self._file.fileno()).st_size
        self._file.seek(max(0, size - _TRAILER.size))
        trailer = self._file.read(_TRAILER.size)
        if len(trailer) < _TRAILER.size or not trailer.endswith(_MAGIC):
            raise DataError(f"{path} is damaged: it has no index")
        self.blocks, end, digest, _ = _TRAILER.unpack(trailer)
        after = end + self.blocks * KEY_BYTES
        if after + (self.blocks + 1) * 8 + _TRAILER.size != size:
            raise DataError(f"{path} is damaged: its index does not fit its {size:,} bytes")
        self.digest = digest.hex()
        """Of all its sentences."""
        # Mapped, as a search looks at few pages of it.
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._keys: Keys = np.frombuffer(mapped, f"S{KEY_BYTES}", self.blocks, end)
        self._offsets = np.frombuffer(mapped, "<u8", self.blocks + 1, after)

    def find(self, low: bytes, high: bytes) -> range:
        """Return the blocks that may hold keys from `low` to below `high`; no bound is empty."""
        # What begins before `low` may hold it.
        first = int(np.searchsorted(self._keys, low, "left")) - 1 if low else 0
        last = int(np.searchsorted(self._keys, high, "left")) if high else self.blocks
        return range(max(0, first), max(0, last))

    def read(self, block: int) -> pa.RecordBatch:
        """Return a block.

        Raises:
            DataError: If it is damaged.
        """
        return self._read(block, _READ_OPTIONS)

    def read_keys(self, block: int) -> pa.RecordBatch:
        """Return the keys of a block, and how many sentences each stands for; errors as `read`."""
        return self._read(block, _READ_KEYS)

    def _read(self, block: int, options: pa.ipc.IpcReadOptions) -> pa.RecordBatch:
        try:
            start, end = (int(place) for place in self._offsets[block : block + 2])
            self._file.seek(start)
            data = self._file.read(end - start)
            # The stream's writer puts the schema before the first block only.
            stream = pa.BufferReader(data if not block else _SCHEMA_MESSAGE + data)
            return pa.ipc.open_stream(stream, options=options).read_next_batch()
        except (pa.ArrowException, OSError, StopIteration) as error:
            raise DataError(f"{self._path} is damaged: {error}. Delete it and run again.") from None


@contextmanager
def open_run(path: Path) -> Iterator[Run]:
    """Open a run.

    Raises:
        DataError: If it is not whole.
    """
    with stores.fetch(path).open("rb") as file:
        yield Run(path, file)


class _Cursor:
    """A place in the part of a run that is read."""

    def __init__(self, run: Run, low: bytes, high: bytes) -> None:
        self._run = run
        self._low, self._high = low, high
        self._blocks = run.find(low, high)
        self._next = 0
        self.batch: pa.RecordBatch = pa.RecordBatch.from_pylist([], RUN_SCHEMA)
        self.keys: Keys = np.empty(0, f"S{KEY_BYTES}")
        self.advance(0)

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after what is in memory."""
        return self._next == len(self._blocks)

    def advance(self, rows: int) -> None:
        """Pass some sentences, and load the next block if none are left."""
        self.keys = self.keys[rows:]
        self.batch = self.batch.slice(rows)
        while not len(self.keys) and not self.is_last:
            batch = self._run.read(self._blocks[self._next])
            self._next += 1
            keys = keys_of(batch)
            start = int(np.searchsorted(keys, self._low, "left")) if self._low else 0
            end = int(np.searchsorted(keys, self._high, "left")) if self._high else len(keys)
            self.batch, self.keys = batch.slice(start, max(0, end - start)), keys[start:end]


def merge_runs(
    paths: Sequence[Path], low: bytes = b"", high: bytes = b""
) -> Iterator[pa.RecordBatch]:
    """Yield the sentences of some runs with keys from `low` to below `high`, in order.

    Raises:
        DataError: If a run is damaged.
    """
    with ExitStack() as stack:
        cursors = [_Cursor(stack.enter_context(open_run(path)), low, high) for path in paths]
        while cursors := [cursor for cursor in cursors if len(cursor.keys)]:
            # All up to the least last key in memory are next: none that follows is below it.
            lasts = [cursor.keys[-1:] for cursor in cursors if not cursor.is_last]
            bound = np.sort(np.concatenate(lasts))[0] if lasts else None
            parts = []
            for cursor in cursors:
                rows = len(cursor.keys)
                if bound is not None:
                    rows = int(np.searchsorted(cursor.keys, bound, "right"))
                if rows:
                    parts.append(cursor.batch.slice(0, rows))
                    cursor.advance(rows)
            yield sort_batch(_as_batch(parts)) if len(parts) > 1 else parts[0]
