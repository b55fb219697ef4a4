"""Embedding files: row i is sentence i of the Parquet shard of that name.

`float16` is a plain `.npy` of unit vectors. `int8` takes half of it: a `.npy` of codes, and beside
it `<shard>.int8.safetensors` with what turns them back into vectors:

    x = center + (code * scale) @ rotation, divided by its length

`center` is the mean of the shard, `rotation` a random orthogonal matrix that spreads what max
pooling gathers in a few columns, `scale` the sentence's own. One clip for all sentences would cost
most of the neighbors; see docs/decisions/0009.
"""

from __future__ import annotations

import functools
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from corpus.errors import DataError, UserError
from corpus.files import atomic_path, make_directory, read_object, temporary_path
from corpus.jobs import check_digests

Float16 = npt.NDArray[np.float16]
Float32 = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]
Int64 = npt.NDArray[np.int64]
Storage = Literal["float16", "int8"]

EMBED_JOB = "embed"
SPACE_FILE = "space.json"
"""Beside the shards of a language: the space of the encoder that embedded them."""

ROTATION_SEED = 1
"""Of all files, so that the codes of two languages live in one rotated space."""

_BLOCK_ROWS = 1 << 14
_LEVELS = 127
_SMALLEST = 1e-12


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """An embedding file, mapped into memory; rows are read when they are asked for."""

    path: Path
    stored: Float16 | Int8
    """[N, D] as in the file."""

    scales: Float32 | None = None
    """Of int8 codes, [N]."""

    center: Float32 | None = None
    """Of int8 codes, [D]."""

    rotation_seed: int = ROTATION_SEED

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def dimension(self) -> int:
        """Width of an embedding."""
        return int(self.stored.shape[1])

    def take(self, rows: slice | Int64) -> Float32:
        """Return rows as unit vectors, [n, D]."""
        vectors = np.asarray(self.stored[rows], np.float32)
        if self.scales is not None and self.center is not None:
            vectors *= self.scales[rows, None]
            vectors = vectors @ rotation(self.dimension, self.rotation_seed) + self.center
        return unit(vectors)

    def blocks(self, rows: int = _BLOCK_ROWS) -> Iterator[Float32]:
        """Yield all rows as unit vectors, in order, in blocks."""
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))


def unit(vectors: Float32) -> Float32:
    """Return vectors divided by their lengths."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Float32 = (vectors / np.maximum(norms, np.float32(_SMALLEST))).astype(
        np.float32, copy=False
    )
    return scaled


@functools.lru_cache(maxsize=2)
def rotation(dimension: int, seed: int = ROTATION_SEED) -> Float32:
    """Return a random orthogonal matrix, [D, D]: the QR factor of Gaussian noise, signs fixed."""
    noise = np.random.default_rng((seed, dimension)).standard_normal((dimension, dimension))
    orthogonal, upper = np.linalg.qr(noise)
    signed: Float32 = (orthogonal * np.sign(np.diag(upper))).astype(np.float32)
    return signed


def embedding_files(path: Path) -> tuple[Path, ...]:
    """Return the files that an embedding file consists of: itself, and the scales of int8 codes."""
    scales = scales_path(path)
    return (path, scales) if scales.is_file() else (path,)


def scales_path(path: Path) -> Path:
    """Return where the scales of `DIR/<shard>.npy` lie."""
    return path.with_name(f"{path.stem}.int8.safetensors")


def check_one_space(files: Sequence[Path]) -> None:
    """Refuse vectors of encoders with different spaces.

    Args:
        files: `space.json` of languages, or what known pairs have in its place.

    Raises:
        UserError: Naming two such files; a missing file passes.
    """
    spaces = {read_object(file, space=str)["space"]: file for file in files if file.is_file()}
    if len(spaces) > 1:
        first, second = list(spaces.values())[:2]
        raise UserError(
            f"{first} and {second} name different spaces: what lies beside them was embedded by"
            " encoders that have nothing to do with each other. Embed all with one encoder, or with"
            " a teacher and its students."
        )


def open_array(path: Path) -> npt.NDArray[Any]:
    """Map a `.npy` into memory.

    Raises:
        DataError: If its header cannot be read, or describes fewer or more bytes than there are.
    """
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        offset = array.offset if isinstance(array, np.memmap) else path.stat().st_size
    except (
        OSError,
        ValueError,
        EOFError,
        OverflowError,
        TypeError,
        MemoryError,
        tokenize.TokenError,
    ) as error:
        # NumPy reads the header as Python source, and damaged source fails in many ways.
        raise DataError(f"{path} is not a readable .npy file: {error}") from error
    if offset + array.nbytes != path.stat().st_size:
        raise DataError(
            f"{path} is damaged: an array of shape {array.shape} ends at byte"
            f" {offset + array.nbytes:,}, and the file has {path.stat().st_size:,}"
        )
    return array


def check_embeddings(paths: Iterable[Path]) -> None:
    """Refuse embedding files that changed after `tongues mining embed` wrote them.

    Raises:
        DataError: Naming the file and both digests.
    """
    for path in paths:
        folder = path.parent
        task = f"{folder.name}/{path.stem}"
        check_digests(embedding_files(path), folder.parent, EMBED_JOB, [task])


def open_embeddings(path: Path, *, rows: int | None = None) -> Embeddings:
    """Open an embedding file of either storage.

    Args:
        path: `DIR/<language>/<shard>.npy`.
        rows: How many there must be, if that is known.

    Raises:
        DataError: If it is missing, damaged, of another layout, or has another number of rows.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; `tongues mining embed` makes it")
    stored = open_array(path)
    if stored.ndim != 2 or stored.dtype not in (np.float16, np.float32, np.int8):
        raise DataError(
            f"{path} holds {stored.dtype} of shape {stored.shape}; embeddings are float16 or int8"
            " of shape [sentences, dimension]"
        )
    if rows is not None and len(stored) != rows:
        raise DataError(
            f"{path} holds {len(stored):,} rows but its shard holds {rows:,} sentences. The"
            " embedding was interrupted, or made from other sentences; delete it and rerun"
            " `tongues mining embed`, which redoes this shard."
        )
    if stored.dtype != np.int8:
        return Embeddings(path=path, stored=stored)
    beside = scales_path(path)
    try:
        found = load_file(beside)
        scales, center = found["scales"], found["center"]
        seed = int(found["rotation_seed"][0])
    except (OSError, KeyError, IndexError, ValueError, SafetensorError) as error:
        raise DataError(
            f"{path} holds int8 codes, and {beside.name} cannot be read: {error}"
        ) from error
    if scales.shape != stored.shape[:1] or center.shape != stored.shape[1:]:
        raise DataError(f"{beside} is of another file than {path.name}; embed this shard again")
    return Embeddings(path=path, stored=stored, scales=scales, center=center, rotation_seed=seed)


def write_embeddings(
    path: Path, blocks: Iterable[Float32], *, rows: int, dimension: int, storage: Storage
) -> tuple[Path, ...]:
    """Write unit vectors as they come, whole or not at all; return the files.

    Args:
        path: `DIR/<language>/<shard>.npy`.
        blocks: Vectors in order, [n, D] each.
        rows: How many there are in all.
        dimension: D.
        storage: How they are stored.

    Raises:
        DataError: If a vector is not finite, or their number is another.
    """
    if storage == "float16":
        with atomic_path(path) as temporary:
            _write_float16(temporary, path, blocks, rows, dimension)
        return (path,)
    # The mean is known when all vectors are there, so int8 is made from a float16 file.
    half = temporary_path(path, "half")
    make_directory(path.parent)
    try:
        _write_float16(half, path, blocks, rows, dimension)
        _write_int8(path, np.load(half, mmap_mode="r"))
    finally:
        half.unlink(missing_ok=True)
    return (scales_path(path), path)


def write_array(path: Path, array: Float16) -> None:
    """Write an array as `.npy`, whole or not at all.

    On a full disk `np.save` reports the numbers it wrote, not that the disk is full.
    """
    header = {"descr": "<f2", "fortran_order": False, "shape": array.shape}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for rows in array:
            file.write(np.ascontiguousarray(rows, "<f2").data)


def quantize(turned: Float32) -> tuple[Int8, Float32]:
    """Return centered, rotated vectors as int8 codes, [n, D], and the scale of each, [n]."""
    scales = np.maximum(np.abs(turned).max(axis=1), np.float32(_SMALLEST)) / np.float32(_LEVELS)
    codes: Int8 = np.rint(turned / scales[:, None]).astype(np.int8)
    return codes, scales


def _write_float16(
    file: Path, named: Path, blocks: Iterable[Float32], rows: int, dimension: int
) -> None:
    """Write a `.npy` block by block, so that memory does not grow with the shard."""
    header = {"descr": "<f2", "fortran_order": False, "shape": (rows, dimension)}
    written = 0
    with file.open("wb") as output:
        np.lib.format.write_array_header_1_0(output, header)
        for block in blocks:
            if not np.isfinite(block).all():
                bad = written + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
                raise DataError(f"{named}: the embedding of sentence {bad} is not finite")
            output.write(np.ascontiguousarray(block, "<f2").tobytes())
            written += len(block)
    if written != rows:
        raise DataError(f"{named}: {written:,} embeddings for {rows:,} sentences")


def _write_int8(path: Path, vectors: Float16) -> None:
    """Write codes and scales; the codes, by which a reader knows the storage, come last."""
    rows, dimension = vectors.shape
    total = np.zeros(dimension, np.float64)
    for start in range(0, rows, _BLOCK_ROWS):
        total += vectors[start : start + _BLOCK_ROWS].sum(axis=0, dtype=np.float64)
    center = (total / max(rows, 1)).astype(np.float32)
    turned = rotation(dimension).T
    header = {"descr": "|i1", "fortran_order": False, "shape": (rows, dimension)}
    scales = np.empty(rows, np.float32)
    with atomic_path(path) as temporary:
        with temporary.open("wb") as output:
            np.lib.format.write_array_header_1_0(output, header)
            for start in range(0, rows, _BLOCK_ROWS):
                block = slice(start, start + _BLOCK_ROWS)
                codes, scales[block] = quantize(
                    (vectors[block].astype(np.float32) - center) @ turned
                )
                output.write(codes.tobytes())
        with atomic_path(scales_path(path)) as beside:
            seed = np.array([ROTATION_SEED], np.int64)
            save_file({"scales": scales, "center": center, "rotation_seed": seed}, beside)
