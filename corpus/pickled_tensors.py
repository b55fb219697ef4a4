"""Weights pickled by torch (`pytorch_model.bin`, `*.ckpt`), found in their file, not loaded.

torch writes a zip archive without compression: `data.pkl`, a pickled dictionary whose tensors refer
to storages, and a file for each storage (torch/serialization.py, `_save`). The pickle is read with
nothing allowed but dictionaries and tensors, and a tensor becomes the place of its bytes in the
file, so that no foreign code runs and no weight is held in memory. Checkpoints of a training hold
more than weights: of such a one, whatever is not made of dictionaries and tensors becomes an object
that does nothing.
"""

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus.errors import DataError, UserError

_DTYPES = {
    "FloatStorage": ("F32", 4), "HalfStorage": ("F16", 2), "BFloat16Storage": ("BF16", 2),
    "DoubleStorage": ("F64", 8), "LongStorage": ("I64", 8), "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2), "CharStorage": ("I8", 1), "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
}  # fmt: skip
"""Names of safetensors' types and their bytes by torch's storages."""

_LONGEST_PICKLE = 1 << 28
_LOCAL_HEADER = struct.Struct("<26xHH")
"""Lengths of the name and the extra field in a zip entry's own header (APPNOTE 4.3.7)."""


class Stored(NamedTuple):
    """Where a tensor is."""

    path: Path
    key: str
    dtype: str
    """As safetensors names it: `F32`, `BF16`, …"""
    shape: tuple[int, ...]
    begin: int
    """First byte in the file."""

    @property
    def num_elements(self) -> int:
        """Number of its elements."""
        return count_elements(self.shape)


def count_elements(shape: Sequence[int]) -> int:
    """Return how many elements a shape has."""
    count = 1
    for size in shape:
        count *= size
    return count


class _Storage(NamedTuple):
    key: str
    kind: str
    num_elements: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read_pickled(path: Path, within: Sequence[str] = ()) -> dict[str, Stored]:
    """Return the tensors of a file that `torch.save` wrote of a state dictionary.

    Args:
        path: The file.
        within: Keys under which a training's checkpoint may have the state dictionary; the first
            that is there is read, and what is beside it may be anything.

    Raises:
        UserError: If it is of torch before 1.6.
        DataError: If it is damaged, compressed, or holds anything but tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            entries = {info.filename: info for info in archive.infolist()}
            (pickled,) = (name for name in entries if name.endswith("/data.pkl"))
            folder = pickled.removesuffix("data.pkl")
            order = entries.get(f"{folder}byteorder")
            if order is not None and archive.read(order) != b"little":
                raise DataError(f"{path} has numbers of big-endian order, which is not read")
            if entries[pickled].file_size > _LONGEST_PICKLE:
                raise DataError(f"{path}: {pickled} has {entries[pickled].file_size:,} bytes")
            kind = _CheckpointUnpickler if within else _Unpickler
            state = kind(io.BytesIO(archive.read(pickled))).load()
            if isinstance(state, dict):
                state = next((state[key] for key in within if key in state), state)
            return _stored(path, state, folder, entries, file)
    except zipfile.BadZipFile as error:
        raise UserError(
            f"{path} is not a zip archive: it is damaged, or of torch before 1.6. Such a file is"
            " read and rewritten by torch if you trust it: torch.save(torch.load(OLD), NEW)"
        ) from error
    except (
        pickle.UnpicklingError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        EOFError,
        OverflowError,
        MemoryError,
        NotImplementedError,
        struct.error,
    ) as error:
        raise DataError(f"{path} holds no weights that can be read: {error}") from error


class _Unpickler(pickle.Unpickler):
    """Makes dictionaries and the places of tensors, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"`{module}.{name}` has no place among weights")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _, num_elements = pid
        if kind != "storage" or storage not in _DTYPES:
            raise pickle.UnpicklingError(f"{pid!r} is not a storage")
        return _Storage(str(key), storage, int(num_elements))


class _Inert(dict[Any, Any]):
    """Stands for an object of a class that is not loaded, whatever it is made of."""

    def __new__(cls, *_: Any, **__: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Take no state."""

    def __call__(self, *_: Any, **__: Any) -> "_Inert":
        return _Inert()

    def append(self, item: Any) -> None:
        """Take no item, where it stands for a list."""

    def extend(self, items: Any) -> None:
        """Take no items."""

    def add(self, item: Any) -> None:
        """Take no item, where it stands for a set."""


class _CheckpointUnpickler(_Unpickler):
    """Makes inert objects of everything else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except pickle.UnpicklingError:
            return _Inert

    def persistent_load(self, pid: Any) -> Any:
        return super().persistent_load(pid) if pid[1] in _DTYPES else _Inert()


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(stride))


def _rebuild_parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


def _stored(
    path: Path, state: Any, folder: str, entries: Mapping[str, zipfile.ZipInfo], file: Any
) -> dict[str, Stored]:
    """Return where the tensors of a state dictionary are.

    Raises:
        DataError: If something in it is not a tensor, or a tensor is not all in its storage.
    """
    if not isinstance(state, dict):
        raise DataError(f"{path} holds no dictionary of tensors")
    found = {}
    for key, tensor in state.items():
        if not isinstance(tensor, _Tensor) or not isinstance(tensor.storage, _Storage):
            raise DataError(f"{path}: `{key}` is not a tensor; this is not a state dictionary")
        dtype, width = _DTYPES[tensor.storage.kind]
        if not _is_contiguous(tensor.shape, tensor.stride):
            raise DataError(f"{path}: the tensor `{key}` is not stored row by row")
        entry = entries[f"{folder}data/{tensor.storage.key}"]
        end = (tensor.offset + count_elements(tensor.shape)) * width
        if entry.compress_type != zipfile.ZIP_STORED:
            raise DataError(f"{path} is compressed, as torch does not write it")
        if tensor.offset < 0 or min(tensor.shape, default=0) < 0 or end > entry.file_size:
            raise DataError(f"{path}: the tensor `{key}` is not all there")
        begin = _data_begin(file, entry) + tensor.offset * width
        found[str(key)] = Stored(path, str(key), dtype, tensor.shape, begin)
    return found


def _is_contiguous(shape: Sequence[int], stride: Sequence[int]) -> bool:
    wanted = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != wanted:
            return False
        wanted *= size
    return True


def _data_begin(file: Any, entry: zipfile.ZipInfo) -> int:
    file.seek(entry.header_offset)
    name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    return entry.header_offset + _LOCAL_HEADER.size + int(name) + int(extra)
