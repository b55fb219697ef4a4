"""A model with only those of its experts that the languages at hand use.

The gate keeps the rows of these experts, so that a token whose first or second choice is left out
goes to the best of the others. How many tokens that happens to is counted as they are translated.

Shape suffixes: T tokens; D model_dim; E experts of the whole model.
"""

# ruff: noqa: N803, N806 (shape suffixes)

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter

from corpus.errors import UserError
from nmt.model.moe.gate import MAX_CHOICES
from nmt.model.moe.layer import MoEFeedForwardNetwork

Kept = Mapping[str, Sequence[int]]
"""Numbers of the experts that stay, rising, by layer."""


def resize(layers: Iterable[tuple[str, MoEFeedForwardNetwork]], kept: Kept, total: int) -> None:
    """Give each layer room for the experts that it keeps; weights are for `read_weights` to fill.

    Raises:
        UserError: If they are not those of the model's layers.
    """
    by_name = dict(layers)
    if set(by_name) != set(kept) or any(max(numbers) >= total for numbers in kept.values()):
        raise UserError(
            f"the usage of experts is of another model: it has layers {', '.join(sorted(kept))};"
            f" this one has {', '.join(sorted(by_name))}, with {total} experts"
        )
    for name, layer in by_name.items():
        layer.num_experts = len(kept[name])
        for module in (layer.gate, layer.experts):
            for key, parameter in list(module.named_parameters(recurse=False)):
                shape = (len(kept[name]), *parameter.shape[1:])
                setattr(module, key, Parameter(parameter.new_empty(shape)))


class Weights(NamedTuple):
    """What was read of a model's file."""

    state: dict[str, Tensor]
    """All parameters, those by expert with the kept ones only."""

    gates: dict[str, Tensor]
    """Whole gate of each layer, [E, D]."""


def read_weights(path: Path, kept: Kept) -> Weights:
    """Read a file of weights without ever holding the experts that are left out."""
    state, gates = {}, {}
    with safetensors.safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118 (it is not a dictionary)
            layer = key.partition(".ffn.")[0]
            if layer not in kept or not _is_by_expert(key):
                state[key] = file.get_tensor(key)
                continue
            if key.endswith(".gate.weight"):
                gates[layer] = file.get_tensor(key)
            tensor = file.get_slice(key)
            state[key] = torch.cat([tensor[one : one + 1] for one in kept[layer]])
    return Weights(state, gates)


def _is_by_expert(key: str) -> bool:
    return ".ffn.gate." in key or ".ffn.experts." in key


class LostChoices:
    """Counts tokens that lost one of their experts, layer by layer.

    Attributes:
        num_tokens: Tokens that went through a layer, times the layers.
        num_lost: Those of which an expert among the first two choices is left out.
    """

    def __init__(
        self,
        layers: Iterable[tuple[str, MoEFeedForwardNetwork]],
        gates: Mapping[str, Tensor],
        kept: Kept,
    ) -> None:
        self.num_tokens = 0
        self._lost: Tensor | int = 0
        for name, layer in layers:
            device = layer.gate.weight.device
            gate_ED = gates[name].to(device).float()
            is_kept_E = torch.zeros(len(gate_ED), dtype=torch.bool, device=device)
            is_kept_E[torch.tensor(kept[name], device=device)] = True
            layer.register_forward_pre_hook(
                functools.partial(self._count, gate_ED=gate_ED, is_kept_E=is_kept_E)
            )

    @property
    def num_lost(self) -> int:
        """Return the count so far."""
        return int(self._lost)

    def _count(
        self, layer: nn.Module, inputs: tuple[Any, ...], *, gate_ED: Tensor, is_kept_E: Tensor
    ) -> None:
        assert isinstance(layer, MoEFeedForwardNetwork)
        tokens_TD = inputs[0].flatten(0, -2).float()
        choices = min(MAX_CHOICES, len(gate_ED))
        first_TK = nn.functional.linear(tokens_TD, gate_ED).topk(choices, dim=1).indices
        is_lost_T = ~is_kept_E[first_TK].all(dim=1)
        if layer.layout is not None and layer.layout.padded:
            is_lost_T &= (layer.layout.position_indices >= 0).flatten()
            self.num_tokens += sum(layer.layout.seq_lens)
        else:
            self.num_tokens += len(is_lost_T)
        # Stays on the device until it is read, so that no layer waits for a GPU.
        self._lost = self._lost + is_lost_T.sum()
