"""Checkpoints of any number of processes: joined into one model, or resharded.

A checkpoint of fairseq2 is `step_N/` with `model/pp_00/tp_00/sdp_<shard>.pt` and `optimizer/…` for
each process that shares out the model, `trainer/rank_<rank>.pt` and `data_reader/dp_<rank>.pt` for
each process. Whatever is shared out is so along its first dimension, in the order of shards
(FSDP2's, and that of experts): joined, it is whole. Replicas are saved once.
"""

import gc
import logging
import pickle
import shutil
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parameter import Parameter
from torch.optim import Optimizer

from corpus.errors import DataError
from corpus.files import make_directory
from corpus.pickled_tensors import count_elements, read_pickled
from nmt.interop.weights import NewTensor, write_tensors
from nmt.model.tensor_files import whole
from nmt.training.checkpoints import step_directory
from nmt.training.directory import CHECKPOINTS, last_update
from nmt.training.fairseq import reset_non_persistent_buffers
from nmt.training.parallel.own_rows import row_range

P = TypeVar("P")

logger = logging.getLogger(__name__)

_SHARDS = "pp_00/tp_00/sdp_{:02d}.pt"
_TRAINER = "trainer/rank_{:02d}.pt"
_READER = "data_reader/dp_{:02d}.pt"
_NEW, _OLD = ".resharded", ".before"


@dataclass(frozen=True)
class Layout:
    """How a checkpoint is divided."""

    world_size: int
    """Processes that trained."""

    shards: int
    """Processes that shared out the model."""

    def __str__(self) -> str:
        return f"{self.world_size} processes with the model in {self.shards} shards"


def layout_of(step: Path) -> Layout:
    """Return how a checkpoint is divided, by its files."""
    shards = len(list((step / "model").glob("pp_00/tp_00/sdp_*.pt")))
    world_size = len(list((step / "trainer").glob("rank_*.pt")))
    if not shards or not world_size:
        raise DataError(f"{step} is not a checkpoint: it has no model or no trainer state")
    return Layout(world_size, shards)


def write_whole_weights(step: Path, create: Callable[[], nn.Module], path: Path) -> None:
    """Write the parameters of a checkpoint as one file of safetensors, atomically.

    They go from the files of the shards to the new one chunk by chunk, so that no process ever
    holds the model. The bytes are those that `nmt.model.directory.save_model` writes of it.

    Args:
        step: Directory of the checkpoint.
        create: Builds the model; it is called on the meta device.
        path: The file.

    Raises:
        DataError: If the checkpoint is damaged, or of another model.
    """
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in create().state_dict().items()}
    shards = [read_pickled(file) for file in _shard_files(step, "model")]
    tensors: list[NewTensor] = []
    seen: set[tuple[Path, int]] = set()
    for name, shape in shapes.items():
        parts = [_part(shard, name, step) for shard in shards]
        places = {(part.path, part.begin) for part in parts if part.num_elements}
        if places and places <= seen:
            continue  # it is tied to one before
        seen |= places
        chosen = _consecutive([part.shape for part in parts], shape, f"`{name}` of {step}")
        spans = tuple(whole(parts[i]) for i in chosen)
        tensors.append(NewTensor(name, parts[0].dtype, shape, spans))
    write_tensors(path, tensors)


def load_whole_state(step: Path, shapes: Mapping[str, torch.Size]) -> dict[str, Parameter]:
    """Return the parameters of a checkpoint, whole; those that are tied are one object.

    Args:
        step: Directory of the checkpoint.
        shapes: Shape of each whole parameter.
    """
    shards = [read_state(path) for path in _shard_files(step, "model")]
    whole: dict[str, Parameter] = {}
    tied: dict[int, Parameter] = {}
    for name, shape in shapes.items():
        parts = [_part(shard, name, step) for shard in shards]
        address = next((part.data_ptr() for part in parts if part.numel()), 0)
        if not address or address not in tied:
            joined = join(parts, shape, f"`{name}` of {step}")
            tied[address] = Parameter(joined, requires_grad=joined.is_floating_point())
        whole[name] = tied[address]
    return whole


def load_whole_model(step: Path, create: Callable[[], nn.Module]) -> nn.Module:
    """Return the model of a checkpoint, on the CPU; it is held once.

    Args:
        step: Directory of the checkpoint.
        create: Builds the model; it is called on the meta device.
    """
    with torch.device("meta"):
        model = create()
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    model.load_state_dict(load_whole_state(step, shapes), assign=True)
    for module in model.modules():  # positions, which are computed
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:
                module.register_buffer(name, torch.empty_like(buffer, device="cpu"), False)
    reset_non_persistent_buffers(model)
    return model


def join(parts: Sequence[Tensor], shape: torch.Size, what: str) -> Tensor:
    """Return the whole of which `parts` are consecutive rows, or copies.

    Raises:
        DataError: If they are neither.
    """
    chosen = _consecutive([tuple(part.shape) for part in parts], tuple(shape), what)
    return parts[chosen[0]] if len(chosen) == 1 else torch.cat([parts[i] for i in chosen])


def _consecutive(parts: Sequence[tuple[int, ...]], shape: tuple[int, ...], what: str) -> list[int]:
    """Return which parts, of these shapes, are the whole one after the other.

    Raises:
        DataError: If they are neither consecutive rows nor copies of the whole.
    """
    if parts[0] == shape:
        if all(part == shape or not count_elements(part) for part in parts):
            return [0]
    elif sum(part[0] for part in parts if part) == shape[0]:
        return [i for i, part in enumerate(parts) if count_elements(part)]
    found = ", ".join(map(str, parts))
    raise DataError(f"{what} has parts of {found}; its whole is {shape}")


def rows_of_shard(
    parts: Sequence[Tensor], shape: torch.Size, shards: int, rank: int, what: str
) -> Tensor:
    """Return a copy of the rows that a shard holds of the whole, as FSDP2 divides it.

    Args:
        parts: Consecutive rows of the whole, or copies of it.
        shape: Of the whole.
        shards: Shards in all.
        rank: Which one.
        what: Named in errors.
    """
    chosen = [parts[i] for i in _consecutive([tuple(p.shape) for p in parts], tuple(shape), what)]
    if not shape:
        return chosen[0].clone()
    begin, end = row_range(shape[0], shards, rank)
    rows, first = [], 0
    for part in chosen:
        rows.append(part[max(begin - first, 0) : max(end - first, 0)])
        first += len(part)
    return torch.cat(rows)


def fit_checkpoint(training: Path, layout: Layout, create: Callable[[], nn.Module]) -> bool:
    """Reshard the last checkpoint if the number of processes changed; return whether it did.

    Model and optimizer are divided anew, one shard after the other, so that no more than one is in
    memory. The trainer's state (update, schedule, loss
    scale) and the data's are the same for all; `Resumable` reseeds random numbers when the number
    of processes changes.
    """
    _undo_cut_change(training)
    update = last_update(training)
    if not update or layout_of(step_directory(training, update)) == layout:
        return False
    step = step_directory(training, update)
    before = layout_of(step)
    new = step.with_name(step.name + _NEW)
    shutil.rmtree(new, ignore_errors=True)
    for pattern in (_TRAINER, _READER):
        for rank in range(layout.world_size):
            source = step / pattern.format(rank if rank < before.world_size else 0)
            make_directory((new / pattern).parent)
            shutil.copyfile(source, new / pattern.format(rank))
    with torch.device("meta"):
        model = create()
    if before.shards == layout.shards:
        for kind in ("model", "optimizer"):
            shutil.copytree(step / kind, new / kind)
    else:
        _reshard_model(step, new, layout.shards, model)
        _reshard_optimizer(step, new, layout.shards, model)
    old = step.with_name(step.name + _OLD)
    step.rename(old)
    new.rename(step)
    shutil.rmtree(old)
    logger.info("%s was saved by %s; resuming with %s", step.name, before, layout)
    return True


def _undo_cut_change(training: Path) -> None:
    """Undo a change of layout that was interrupted before its last step; otherwise finish it."""
    for before in (training / CHECKPOINTS).glob(f"step_*{_OLD}"):
        step = before.with_suffix("")
        if step.exists():
            shutil.rmtree(before)
        else:
            before.rename(step)


def _reshard_model(step: Path, new: Path, shards: int, model: nn.Module) -> None:
    before = [read_state(path) for path in _shard_files(step, "model")]
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    for rank in range(shards):
        state: dict[str, Tensor] = {}
        tied: dict[int, Tensor] = {}
        for name, shape in shapes.items():
            parts = [_part(shard, name, step) for shard in before]
            address = next((part.data_ptr() for part in parts if part.numel()), 0)
            if address not in tied or not address:
                tied[address] = rows_of_shard(parts, shape, shards, rank, f"`{name}` of {step}")
            state[name] = tied[address]
        _save(state, new, "model", rank)


def _reshard_optimizer(step: Path, new: Path, shards: int, model: nn.Module) -> None:
    before = [read_state(path) for path in _shard_files(step, "optimizer")]
    shapes = [parameter.shape for parameter in model.parameters()]
    for rank in range(shards):
        state: dict[int, dict[str, Any]] = {}
        for index, entries in before[0]["state"].items():
            state[index] = {}
            for key, value in entries.items():
                if not isinstance(value, Tensor) or not value.dim():
                    state[index][key] = value
                    continue
                parts = [shard["state"][index][key] for shard in before]
                what = f"`{key}` of parameter {index}"
                state[index][key] = rows_of_shard(parts, shapes[index], shards, rank, what)
        _save({**before[0], "state": state}, new, "optimizer", rank)


def _shard_files(step: Path, kind: str) -> list[Path]:
    return [step / kind / _SHARDS.format(shard) for shard in range(layout_of(step).shards)]


def _part(shard: Mapping[str, P], name: str, step: Path) -> P:
    if name not in shard:
        raise DataError(f"{step} has no parameter `{name}`; it is of another model")
    return shard[name]


class _TensorUnpickler(pickle.Unpickler):
    """Accepts nothing but tensors, numbers, text and what holds them.

    torch's own restricted one does not know protocol 5, in which fairseq2 writes optimizers.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _TENSOR_PARTS or (module == "torch" and name.endswith("Storage")):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"`{module}.{name}` has no place in a checkpoint")


_TENSOR_PARTS = {("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict")}
_PICKLE = types.SimpleNamespace(
    __name__="pickle", Unpickler=_TensorUnpickler, UnpicklingError=pickle.UnpicklingError
)


def read_state(path: Path) -> dict[str, Any]:
    """Read the model's or the optimizer's file of one shard; tensors stay on disk until used.

    Raises:
        DataError: If the file is damaged, or holds anything else.
    """
    try:
        state: dict[str, Any] = torch.load(
            path, map_location="cpu", pickle_module=_PICKLE, weights_only=False, mmap=True
        )
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    return state


def _save(state: Mapping[str, Any], new: Path, kind: str, rank: int) -> None:
    path = new / kind / _SHARDS.format(rank)
    make_directory(path.parent)
    torch.save(dict(state), path)
    gc.collect()  # `torch.save` leaves cycles, which would hold each shard until some collection


def keep_plain_state(optimizer: Optimizer) -> None:
    """Store an optimizer's state in checkpoints as plain tensors, the rows of each process.

    Distributed tensors would be pickled with the processes they are of, and could be loaded by the
    same number of processes only.
    """
    optimizer.register_state_dict_post_hook(_to_plain)
    optimizer.register_load_state_dict_pre_hook(_to_distributed)


def _to_plain(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    plain = {
        index: {
            key: value.to_local() if isinstance(value, DTensor) else value
            for key, value in entries.items()
        }
        for index, entries in state["state"].items()
    }
    return {**state, "state": plain}


def _to_distributed(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    distributed = {
        index: {key: _like(parameters[index], value) for key, value in entries.items()}
        for index, entries in state["state"].items()
    }
    return {**state, "state": distributed}


def _like(parameter: Tensor, value: Any) -> Any:
    """Return a process's rows as a distributed tensor, where the parameter is one."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or not value.dim():
        return value
    return DTensor.from_local(
        value.to(parameter.device),
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )
