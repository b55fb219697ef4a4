"""Low-rank adaptation: small trained matrices beside frozen projections (Hu et al. 2021).

A projection y = x · Wᵀ becomes y = x · Wᵀ + scale · (x · downᵀ) · upᵀ, down [rank, inputs], up
[outputs, rank], which begins as zeros. Merged, W becomes W + scale · up · down, and the model has
the shape that it had.
"""

import json
import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import Parameter

from corpus.errors import DataError, UserError
from corpus.files import atomic_path
from corpus.languages import Direction, parse_direction
from nmt.model.freezing import is_in

_PROJECTIONS = {
    "attention": ("q_proj", "k_proj", "v_proj", "output_proj"),
    "feed_forward": ("inner_proj", "output_proj"),
}
_NAME = "lora"
_INSIDE = f".{_NAME}."
_FORMAT = "tongues"
"""The one entry of an adapter's metadata, as several would be in another order in every process."""


class Lora(nn.Module):
    """What is added to a projection's output."""

    def __init__(self, inputs: int, outputs: int, rank: int, scale: float, dropout_p: float):
        super().__init__()
        self.scale = scale
        self.dropout_p = dropout_p
        self.down = Parameter(torch.empty(rank, inputs))
        self.up = Parameter(torch.empty(outputs, rank))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin with nothing added."""
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        nn.init.zeros_(self.up)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what is added for [..., inputs]."""
        inputs = functional.dropout(inputs, self.dropout_p, self.training)
        return self.scale * functional.linear(functional.linear(inputs, self.down), self.up)


def add_lora(
    model: nn.Module, *, rank: int, scale: float, targets: Collection[str], dropout_p: float
) -> None:
    """Put adaptations beside the projections of a model.

    Args:
        model: A model.
        rank: Of each.
        scale: As in the formula above.
        targets: `attention`, `feed_forward` (networks that are no experts).
        dropout_p: On their inputs.

    Raises:
        UserError: If the model has no such projection.
    """
    projections = list(_projections(model, targets))
    if not projections:
        raise UserError(f"`lora.targets` is {', '.join(targets)}, which the model has none of")
    for module in projections:
        outputs, inputs = module.get_parameter("weight").shape
        module.register_module(_NAME, Lora(inputs, outputs, rank, scale, dropout_p))
        module.register_forward_hook(_add)


def _projections(model: nn.Module, targets: Collection[str]) -> Iterator[nn.Module]:
    for name, module in model.named_modules():
        kind = name.rpartition(".")[2]
        wanted = (target for target in targets if kind in _PROJECTIONS[target])
        if any(is_in(name + ".", [target]) for target in wanted):
            yield module


def _add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    added: Tensor = module.get_submodule(_NAME)(inputs[0])
    return output + added.to(output.dtype)


def freeze_all_but_lora(model: nn.Module, also: Collection[str]) -> None:
    """Leave everything as it is in training but the adaptations and some parts."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_lora(name) or is_in(name, also))


def is_lora(name: str) -> bool:
    """Return whether a parameter is part of an adaptation."""
    return _INSIDE in name


@torch.no_grad()
def merge_lora(model: nn.Module) -> None:
    """Add adaptations to the weights they stand beside, and take them away."""
    for module in list(model.modules()):
        lora = getattr(module, _NAME, None)
        if isinstance(lora, Lora):
            weight = module.get_parameter("weight")
            weight.add_((lora.scale * lora.up @ lora.down).to(weight.dtype))
            delattr(module, _NAME)
            hooks = module._forward_hooks
            for key in [key for key, hook in hooks.items() if hook is _add]:
                del hooks[key]


def save_adapter(
    path: Path,
    model: nn.Module,
    also: Collection[str],
    base: str,
    directions: Sequence[Direction],
) -> None:
    """Write what a training with adaptations changed.

    Args:
        path: The file.
        model: A model with adaptations.
        also: Parts that were trained too.
        base: Digest of the weights that it is for.
        directions: What it was trained on.
    """
    kept = {
        name: parameter.detach().contiguous()
        for name, parameter in model.named_parameters()
        if is_lora(name) or is_in(name, also)
    }
    scale = next(module.scale for module in model.modules() if isinstance(module, Lora))
    about = {"scale": scale, "base": base, "directions": sorted(map(str, directions))}
    metadata = {_FORMAT: json.dumps(about)}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(kept, str(temporary), metadata)


@torch.no_grad()
def apply_adapter(model: nn.Module, path: Path, base: str) -> None:
    """Merge an adapter file into the model that it is for.

    Args:
        model: The model.
        path: What `save_adapter` wrote.
        base: Digest of the model's weights.

    Raises:
        UserError: If the file is not an adapter, or one for another model.
        DataError: If it does not fit the model.
    """
    about = _read_about(path)
    try:
        tensors = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise DataError(f"{path} is not a readable adapter: {error}") from error
    if about.get("base") != base:
        raise UserError(
            f"{path} was trained on another model: its weights have the digest"
            f" {about.get('base')}, these {base}"
        )
    state = dict(model.named_parameters())
    try:
        for name, tensor in tensors.items():
            place, _, kind = name.partition(_INSIDE)
            if kind == "down":
                up = tensors[f"{place}{_INSIDE}up"]
                weight = state[f"{place}.weight"]
                weight.add_((about["scale"] * up @ tensor).to(weight.dtype))
            elif not kind:
                state[name].copy_(tensor)
    except (KeyError, RuntimeError) as error:
        raise DataError(f"{path} does not fit the model: {error}") from error


def adapter_directions(path: Path) -> tuple[Direction, ...]:
    """Return what an adapter file was trained on; nothing where it does not say.

    Raises:
        UserError: If the file is not an adapter.
        DataError: If it cannot be read.
    """
    return tuple(map(parse_direction, _read_about(path).get("directions", [])))


def _read_about(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"there is no adapter {path}")
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get(_FORMAT, "null"))
    except (safetensors.SafetensorError, ValueError) as error:
        raise DataError(f"{path} is not a readable adapter: {error}") from error
    if not isinstance(about, dict):
        raise UserError(f"{path} is not an adapter: `tongues nmt train` with `lora` writes one")
    return about
