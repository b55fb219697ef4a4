"""Model FLOPs utilization: how much of a device's peak throughput training uses.

MFU = model FLOPs per second / peak FLOPs per second, where model FLOPs are those that the forward
and the backward pass need, without what activation checkpointing computes again (Chowdhery et al.
2022, PaLM, appendix B).
"""

import time
from typing import NamedTuple

import torch
from torch import nn

from nmt.model.moe.gate import MAX_CHOICES
from nmt.model.translator import Translator, moe_layers

_FLOPS_PER_PARAMETER = 6
"""A multiplication and an addition forward, and twice that backward."""

_PRODUCTS = 5
_SIDE = {"cpu": 512, "cuda": 8192}
"""Rows and columns of the matrices that the peak is measured with."""


class TokenFlops(NamedTuple):
    """Floating-point operations of training on one token, padding left out."""

    source: int
    """The encoder, and the projections of its output in the decoder."""

    target: int
    """The rest of the decoder, and the output embedding."""

    def of(self, source_tokens: float, target_tokens: float) -> float:
        """Return the operations for a number of tokens of each side."""
        return self.source * source_tokens + self.target * target_tokens


def token_flops(model: Translator) -> TokenFlops:
    """Count operations as 6 per parameter that a token meets; attention scores are left out.

    Of a Mixture-of-Experts layer a token meets two experts. Embedding look-ups are free.
    """
    encoder = _active(model.encoder)
    decoder = _active(model.decoder)
    memory = sum(
        parameter.numel()
        for name, parameter in model.decoder.named_parameters()
        if ".encoder_decoder_attn.k_proj." in name or ".encoder_decoder_attn.v_proj." in name
    )
    output = model.output_weight.numel()
    return TokenFlops(
        source=_FLOPS_PER_PARAMETER * (encoder + memory),
        target=_FLOPS_PER_PARAMETER * (decoder - memory + output),
    )


def _active(stack: nn.Module) -> int:
    total = sum(parameter.numel() for parameter in stack.parameters())
    for _, layer in moe_layers(stack):
        experts = sum(parameter.numel() for parameter in layer.experts.parameters())
        choices = min(MAX_CHOICES, layer.num_experts)
        total -= experts - experts // layer.num_experts * choices
    return total


def measure_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return operations per second of a large matrix product, the best of a few."""
    side = _SIDE.get(device.type, _SIDE["cpu"])
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(_PRODUCTS):
        _finish(device)
        started = time.perf_counter()
        matrix @ matrix
        _finish(device)
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
