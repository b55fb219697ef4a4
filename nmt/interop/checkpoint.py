"""Weights of a checkpoint in transformers' layout: safetensors or pickled, whole or in shards."""

import re
from collections.abc import Callable
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import read_json
from corpus.pickled_tensors import Stored, read_pickled
from nmt.interop.weights import INDEX_FILE, WEIGHTS_FILE
from nmt.model.tensor_files import read_header

PICKLED_FILE = "pytorch_model.bin"
PICKLED_INDEX_FILE = "pytorch_model.bin.index.json"

_Reader = Callable[[Path], dict[str, Stored]]
_KINDS: tuple[tuple[str, str, str, _Reader], ...] = (
    (INDEX_FILE, WEIGHTS_FILE, r"[\w.-]+\.safetensors", read_header),
    (PICKLED_INDEX_FILE, PICKLED_FILE, r"[\w.-]+\.bin", read_pickled),
)
"""Index, single file, names of shards, and what reads one; the first that is there is taken."""


def read_checkpoint(directory: Path) -> dict[str, Stored]:
    """Return the tensors of a directory: of one file, or of all shards of an index.

    Raises:
        UserError: If there are none.
        DataError: If a shard is missing or damaged, or lacks a tensor that the index promises.
    """
    for index, whole, names, read in _KINDS:
        if (directory / index).is_file():
            return _read_shards(directory, directory / index, names, read)
        if (directory / whole).is_file():
            return read(directory / whole)
    names = ", ".join(f"{whole} nor {index}" for index, whole, _, _ in _KINDS)
    raise UserError(f"{directory} has no weights: neither {names}")


def _read_shards(directory: Path, index: Path, names: str, read: _Reader) -> dict[str, Stored]:
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise DataError(f"{index} has no `weight_map`")
    tensors: dict[str, Stored] = {}
    for name in sorted(set(map(str, places.values()))):
        if not re.fullmatch(names, name):
            raise DataError(
                f"{index} names the shard `{name}`, which is not a file of weights here"
            )
        if not (directory / name).is_file():
            raise DataError(f"{directory / name} is missing; {index.name} lists it")
        tensors.update(read(directory / name))
    for key, name in places.items():
        if key not in tensors or tensors[key].path.name != name:
            raise DataError(
                f"{directory / name} has no tensor `{key}`, though {index.name} says so"
            )
    return tensors
