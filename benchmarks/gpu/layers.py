"""Part 2: time of a Mixture-of-Experts layer over that of a dense layer of equal arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from harness import Setting
from models import moe_layer
from torch import Tensor, nn

RATIO_GOAL = 1.2
DEFAULT_MASKING = 0.2
PEER_EXPERTS = 32
"""transformers' layer computes every expert on masks of all tokens: beyond this it takes long."""


def run(setting: Setting) -> None:
    """Time forward and backward for each number of experts."""
    dim, inner, tokens = (64, 128, 256) if setting.tiny else (1024, 4096, 8192)
    for experts in (8,) if setting.tiny else (8, 32, 128):
        inputs = torch.randn(tokens // 64, 64, dim, device=setting.device, dtype=setting.half)
        layers: dict[str, nn.Module] = {
            "dense": nn.Sequential(nn.Linear(dim, 2 * inner), nn.ReLU(), nn.Linear(2 * inner, dim))
        }
        for masking in (0.0, DEFAULT_MASKING):
            layers[f"experts, masking {masking}"] = moe_layer(dim, inner, experts, masking)
        if experts <= PEER_EXPERTS:
            peer = transformers_layer(dim, inner, experts)
            if peer is None:
                setting.skip("transformers' NllbMoeSparseMLP", "transformers is not there")
            else:
                layers["transformers"] = peer
        dense = None
        for name, layer in layers.items():
            layer.to(setting.device, setting.half).train()
            taken = setting.seconds_of(step_of(layer, inputs))
            dense = dense or taken
            goal = {"goal": RATIO_GOAL} if name.startswith("experts") else {}
            setting.record(
                f"{experts} experts, {tokens:,} tokens: {name}", taken * 1000, "ms",
                ratio=taken / dense, **goal,
            )  # fmt: skip


def step_of(layer: nn.Module, inputs: Tensor) -> Callable[[], None]:
    """Return a step forward and backward, whose gradients begin at None."""
    leaf = inputs.clone().requires_grad_()
    gradient = torch.randn_like(inputs)

    def step() -> None:
        layer(leaf).backward(gradient)
        leaf.grad = None
        for parameter in layer.parameters():
            parameter.grad = None

    return step


def transformers_layer(dim: int, inner: int, experts: int) -> nn.Module | None:
    """Return transformers' layer, where it is installed."""
    try:
        from transformers import NllbMoeConfig
        from transformers.models.nllb_moe.modeling_nllb_moe import NllbMoeSparseMLP
    except ImportError:
        return None
    config = NllbMoeConfig(
        d_model=dim, num_experts=experts, encoder_ffn_dim=inner, expert_capacity=1 << 20,
        moe_token_dropout=0.0, router_dtype="float32",
    )  # fmt: skip
    return Peer(NllbMoeSparseMLP(config, inner))


class Peer(nn.Module):
    """transformers' layer without padding, as a function of its input alone."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, sequences: Tensor) -> Tensor:
        """Return the output without the gate's scores."""
        output = self.layer(sequences, None)
        return output[0] if isinstance(output, tuple) else output
