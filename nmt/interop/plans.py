"""Which spans of a checkpoint make each tensor of the other layout."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.pickled_tensors import Stored
from nmt.interop.names import (
    COMPUTED,
    COPIES,
    OUR_EMBEDDINGS,
    OUTPUT_BIAS,
    SHARED,
    Pair,
    weight_pairs,
)
from nmt.interop.weights import NewTensor, are_equal, is_zero, rows
from nmt.model.config import MoEConfig
from nmt.model.tensor_files import DTYPES, Span, whole

TORCH_NAMES = {str(dtype).removeprefix("torch."): name for name, dtype in DTYPES.items()}
"""The format's name of a type by torch's."""


def plan_import(
    config: MoEConfig, stored: Mapping[str, Stored], dtype: str | None
) -> list[NewTensor]:
    """Return our tensors as spans of transformers'.

    Args:
        config: Shape of the model.
        stored: All tensors of the checkpoint.
        dtype: Type to write, by the format's name; None to keep what is there.

    Raises:
        UserError: If the output is not tied to the embedding, or has a bias.
        DataError: If a tensor is missing, left over, of another shape, or no floating-point one.
    """
    stored = _with_one_embedding(stored)
    pairs = weight_pairs(config)
    _check_keys(stored, [(key, pair.their_shape) for pair in pairs for key in pair.theirs])
    tensors = []
    for pair in pairs:
        parts = [stored[key] for key in pair.theirs]
        spans = tuple(whole(part) for part in parts)
        tensors.append(NewTensor(pair.ours, dtype or parts[0].dtype, pair.shape, spans))
    return tensors


def _with_one_embedding(stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """Return the tensors without copies of the embedding and computed sinusoids."""
    left = {key: tensor for key, tensor in stored.items() if key not in COMPUTED}
    bias = left.pop(OUTPUT_BIAS, None)
    if bias is not None and not is_zero(bias):
        raise UserError(f"{bias.path}: `{OUTPUT_BIAS}` is not zero, and ours have no output bias")
    copies = [left.pop(key) for key in (SHARED, *COPIES) if key in left]
    if not copies:
        raise DataError(f"{_place(stored)} has no tensor `{SHARED}`, nor {', '.join(COPIES)}")
    first = copies[0]
    for copy in copies[1:]:
        if (copy.shape, copy.dtype) != (first.shape, first.dtype) or not are_equal(first, copy):
            raise UserError(
                f"{copy.path}: `{copy.key}` is not `{first.key}` of {first.path}; ours have one"
                " embedding for source, target and output"
            )
    return {**left, SHARED: first}


def plan_export(
    config: MoEConfig, stored: Mapping[str, Stored], order: Sequence[int], dtype: str
) -> list[NewTensor]:
    """Return transformers' tensors as spans of ours.

    Args:
        config: Shape of the model.
        stored: All tensors of our file.
        order: Our index of each of transformers' token ids.
        dtype: Type to write, by the format's name.

    Raises:
        UserError: If the model has weights that transformers' models have no place for.
        DataError: If a tensor is missing, left over, or of another shape.
    """
    pairs = weight_pairs(config)
    there = [key for key in OUR_EMBEDDINGS if key in stored]
    embedding = stored[there[0]] if there else None
    left = {key: tensor for key, tensor in stored.items() if key not in OUR_EMBEDDINGS}
    if embedding is not None:
        left[pairs[0].ours] = embedding
    _check_keys(left, [(pair.ours, pair.shape) for pair in pairs])
    tensors = []
    for pair in pairs:
        for i, key in enumerate(pair.theirs):
            spans = _spans(pair, left[pair.ours], i, order)
            tensors.append(NewTensor(key, dtype, pair.their_shape, spans))
    return tensors


def _spans(pair: Pair, tensor: Stored, expert: int, order: Sequence[int]) -> tuple[Span, ...]:
    if pair.is_stacked:
        return (rows(tensor, expert, expert + 1),)
    if pair.theirs == (SHARED,):
        return tuple(rows(tensor, begin, end) for begin, end in _runs(order))
    return (whole(tensor),)


def _runs(order: Sequence[int]) -> list[tuple[int, int]]:
    """Return the ranges of consecutive numbers, in order."""
    runs: list[tuple[int, int]] = []
    for index in order:
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _check_keys(
    stored: Mapping[str, Stored], wanted: Sequence[tuple[str, tuple[int, ...]]]
) -> None:
    for key, shape in wanted:
        tensor = stored.get(key)
        if tensor is None:
            raise DataError(f"{_place(stored)} has no tensor `{key}`")
        if tensor.shape != shape:
            raise DataError(
                f"{tensor.path}: `{key}` is {_shape(tensor.shape)}; by the config it is"
                f" {_shape(shape)}"
            )
        if tensor.dtype not in DTYPES:
            raise DataError(
                f"{tensor.path}: `{key}` is of type {tensor.dtype}; weights are {', '.join(DTYPES)}"
            )
    extra = set(stored) - {key for key, _ in wanted}
    if extra:
        key = min(extra)
        raise DataError(
            f"{stored[key].path} has the tensor `{key}`, which a model of this config has no place"
            f" for; {len(extra):,} such tensors"
        )


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a number"


def _place(stored: Mapping[str, Stored]) -> Path:
    """Return the file of a checkpoint, or the directory of its shards."""
    paths = {tensor.path for tensor in stored.values()}
    return next(iter(paths)) if len(paths) == 1 else min(paths, default=Path()).parent
