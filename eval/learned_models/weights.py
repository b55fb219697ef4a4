"""Weights of published checkpoints, read without running anything in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from corpus.errors import DataError, UserError
from corpus.pickled_tensors import Stored, read_pickled

_DTYPES: dict[str, tuple[type[Any], torch.dtype]] = {
    "F32": (np.float32, torch.float32),
    "F16": (np.float16, torch.float16),
    "BF16": (np.int16, torch.bfloat16),
    "F64": (np.float64, torch.float64),
    "I64": (np.int64, torch.int64),
}
_WITHIN = ("state_dict", "model")
"""Where checkpoints of Lightning and fairseq2 have their weights."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint: safetensors, or what torch pickled.

    Those of a pickled file are mapped into memory, not read.

    Raises:
        UserError: If it is of torch before 1.6.
        DataError: If it is damaged, or holds anything but tensors where its weights should be.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise DataError(f"{path} cannot be read: {error}") from error
    stored = read_pickled(path, _WITHIN)
    return {key: _map(one) for key, one in stored.items() if one.dtype in _DTYPES}


def _map(stored: Stored) -> Tensor:
    kind, dtype = _DTYPES[stored.dtype]
    if not stored.num_elements:
        return torch.zeros(stored.shape, dtype=dtype)
    data = np.memmap(stored.path, kind, "c", stored.begin, (stored.num_elements,))
    found = torch.from_numpy(data).reshape(stored.shape)
    return found.view(dtype) if found.dtype != dtype else found


def fill(module: nn.Module, weights: Mapping[str, Tensor], prefix: str, path: Path) -> None:
    """Fill a module with the weights whose names begin with a prefix.

    Raises:
        DataError: If a parameter has none, or one of another shape.
    """
    own = {key.removeprefix(prefix): one for key, one in weights.items() if key.startswith(prefix)}
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name not in own:
                raise DataError(f"{path} has no weights `{prefix}{name}`, which its model needs")
            if own[name].shape != parameter.shape:
                raise DataError(
                    f"{path}: `{prefix}{name}` is {list(own[name].shape)}, and its model has"
                    f" {list(parameter.shape)}. Is --encoder the one it was trained from?"
                )
            parameter.copy_(own[name])


def find_file(directory: Path, names: Sequence[str], what: str) -> Path:
    """Return the first of some files that a directory has.

    Raises:
        UserError: If it has none.
    """
    for name in names:
        if (directory / name).is_file():
            return directory / name
    raise UserError(f"{directory} has no {' or '.join(names)}: {what}")


def batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield places of texts of like length, whose number times the longest is at most `most`.

    A text longer than that has a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) + 1) * lengths[batch[0]] > most:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def pad(rows: Sequence[Sequence[int]], value: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return rows of tokens side by side, [N, T], and the mask of what is no padding, [N, T]."""
    longest = max(map(len, rows))
    tokens = torch.full((len(rows), longest), value, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return tokens.to(device), mask.to(device)


def by_batches(
    rows: Sequence[Sequence[int]], most: int, run: Callable[[list[int]], Sequence[Any]]
) -> list[Any]:
    """Return what `run` returned for each row, in order; it is given the places of a batch."""
    found: list[Any] = [None] * len(rows)
    for batch in batches([len(row) for row in rows], most):
        for place, one in zip(batch, run(batch), strict=True):
            found[place] = one
    return found
