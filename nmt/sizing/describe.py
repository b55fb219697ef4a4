"""Parameters, operations and memory of a model, counted on the meta device."""

import dataclasses
from typing import Any

import torch

from nmt.model.config import named_config
from nmt.model.moe.gate import MAX_CHOICES
from nmt.model.translator import create_model, moe_layers
from nmt.sizing.config import LayoutConfig
from nmt.sizing.cost import estimate_cost
from nmt.sizing.flops import token_flops
from nmt.sizing.memory import estimate_memory, limit_training


def describe_size(
    size: str,
    vocabulary_size: int | None = None,
    layout: LayoutConfig | None = None,
    *,
    measured_mfu: float | None = None,
) -> dict[str, Any]:
    """Count the parameters, operations and memory of a named size.

    `active_parameters` are those that one token meets: all of the dense part, two experts of each
    Mixture-of-Experts layer. `flops_per_token` is for training on one source and one target token:
    three times the forward pass, of 2 operations per active parameter. The embedding counts once,
    as the output projection; its look-ups are free; attention scores are left out.
    `trained_parameters` are those that a layout leaves to train, LoRA's included.
    `memory_per_gpu` is in bytes, for a layout (`nmt.sizing.memory` has the formulas). `cost` is
    there where the layout says how many tokens are trained on (`nmt.sizing.cost`).

    Args:
        size: Name.
        vocabulary_size: Tokens; NLLB-200's by default.
        layout: GPUs; one by default.
        measured_mfu: The MFU of the training that `layout.cost` names.
    """
    config = named_config(size)
    if vocabulary_size is not None:
        config = dataclasses.replace(config, vocab_size=vocabulary_size)
    layout = layout or LayoutConfig()
    with torch.device("meta"):
        model = create_model(config)
    total = sum(parameter.numel() for parameter in model.parameters())
    experts = [
        sum(parameter.numel() for parameter in layer.experts.parameters())
        for _, layer in moe_layers(model)
    ]
    choices = min(MAX_CHOICES, config.num_experts)
    idle = sum(count - count // config.num_experts * choices for count in experts)
    flops = token_flops(model)
    with torch.device("meta"):
        limit_training(model, layout)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    memory = estimate_memory(model, config, layout)
    return {
        "size": size,
        "vocabulary_size": config.vocab_size,
        "total_parameters": total,
        "trained_parameters": trained,
        "active_parameters": total - idle,
        "expert_parameters": sum(experts),
        "flops_per_token": flops.source + flops.target,
        "flops_per_source_token": flops.source,
        "flops_per_target_token": flops.target,
        "model_dim": config.model_dim,
        "ffn_inner_dim": config.ffn_inner_dim,
        "encoder_layers": config.num_encoder_layers,
        "decoder_layers": config.num_decoder_layers,
        "experts": config.num_experts,
        "moe_every_n_layers": config.moe_every_n_layers,
        "memory_per_gpu": {**memory._asdict(), "peak": memory.peak},
        **({"cost": estimate_cost(flops, layout, measured_mfu)} if layout.cost.tokens else {}),
    }
