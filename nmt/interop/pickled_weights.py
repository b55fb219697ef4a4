"""Weights pickled by torch (`pytorch_model.bin`), found in their file without being loaded.

torch writes a zip archive without compression: `data.pkl`, a pickled dictionary whose tensors refer
to storages, and a file for each storage (torch/serialization.py, `_save`). The pickle is read with
nothing allowed but dictionaries and tensors, and a tensor becomes the place of its bytes in the
file, so that no foreign code runs and no weight is held in memory.
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
from nmt.model.tensor_files import Stored, count_elements

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


class _Storage(NamedTuple):
    key: str
    kind: str
    num_elements: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read_pickled(path: Path) -> dict[str, Stored]:
    """Return the tensors of a file that `torch.save` wrote of a state dictionary.

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
            state = _Unpickler(io.BytesIO(archive.read(pickled))).load()
            return _stored(path, state, folder, entries, file)
    except zipfile.BadZipFile as error:
        raise UserError(
            f"{path} is no zip archive: it is damaged, or of torch before 1.6. Such a file is read"
            " and rewritten by torch if you trust it: torch.save(torch.load(OLD), NEW)"
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
            raise pickle.UnpicklingError(f"{pid!r} is no storage")
        return _Storage(str(key), storage, int(num_elements))


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
        DataError: If something in it is no tensor, or a tensor is not all in its storage.
    """
    if not isinstance(state, dict):
        raise DataError(f"{path} holds no dictionary of tensors")
    found = {}
    for key, tensor in state.items():
        if not isinstance(tensor, _Tensor) or not isinstance(tensor.storage, _Storage):
            raise DataError(f"{path}: `{key}` is no tensor; this is no state dictionary")
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
