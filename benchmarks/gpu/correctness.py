"""Part 1: a training step, beam search and exact search give on the device what a CPU gives."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from harness import Setting
from models import moe_layer, random_batch, with_spread_logits
from torch import Tensor

from mining.search.device import device_neighbors
from mining.search.exact import exact_neighbors
from mining.search.flat import FlatProducts
from mining.search.vectors import make_vectors
from nmt.model.config import MoEConfig, named_config
from nmt.model.moe.layer import MoEFeedForwardNetwork
from nmt.model.translator import Translator, create_model
from nmt.translation.decoding.beam import BeamSearch
from nmt.translation.decoding.decoder import DecoderState
from nmt.translation.decoding.scores import Symbols

FP32_LIMIT, BF16_LIMIT = 1e-4, 3e-2
"""Relative differences that the order of sums, and 8 bits of bfloat16, explain."""

LOGIT_LIMIT = 1e-3
SAME_FLOOR = 0.99
TEXT, SYMBOLS = 16, Symbols(0, 3, 2)


def run(setting: Setting) -> None:
    """Compare with the CPU in fp32, and in bfloat16 with looser limits."""
    torch.backends.cuda.matmul.allow_tf32 = False
    for dtype, limit in ((torch.float32, FP32_LIMIT), (torch.bfloat16, BF16_LIMIT)):
        compare_layer(setting, dtype, limit)
        for name, experts in (("dense", 0), ("Mixture-of-Experts", 8)):
            compare_step(setting, f"{name} model", experts, dtype, limit)
    compare_translations(setting)
    compare_neighbors(setting)


def relative(found: Tensor, expected: Tensor) -> float:
    """Return the length of a difference over the length of what is right."""
    difference = torch.linalg.vector_norm(found.cpu().float() - expected.float())
    return float(difference / torch.linalg.vector_norm(expected.float()))


def compare_layer(setting: Setting, dtype: torch.dtype, limit: float) -> None:
    """Compare the output and the gradients of a Mixture-of-Experts layer."""
    torch.manual_seed(1)
    dim, inner, tokens = (64, 128, 256) if setting.tiny else (1024, 4096, 4096)
    layer = moe_layer(dim, inner, 8)
    inputs = torch.randn(tokens // 64, 64, dim)
    there = copy.deepcopy(layer).to(setting.device)
    expected = _with_gradients(layer, inputs)
    with torch.autocast(setting.device.type, dtype, enabled=dtype != torch.float32):
        found = _with_gradients(there, inputs.to(setting.device))
    worst = max(relative(a, b) for a, b in zip(found, expected, strict=True))
    setting.record(f"layer with 8 experts, {dtype}", worst, "relative difference", limit=limit)


def _with_gradients(layer: MoEFeedForwardNetwork, inputs: Tensor) -> list[Tensor]:
    inputs = inputs.clone().requires_grad_()
    output = layer(inputs)
    output.float().square().mean().backward()
    assert inputs.grad is not None
    gradients = [parameter.grad for parameter in layer.parameters()]
    return [
        output.detach(),
        inputs.grad,
        *(gradient for gradient in gradients if gradient is not None),
    ]


def compare_step(
    setting: Setting, name: str, experts: int, dtype: torch.dtype, limit: float
) -> None:
    """Compare a loss and the gradients of all weights."""
    model = small_model(experts)
    there = copy.deepcopy(model).to(setting.device)
    batch = random_batch(4 if setting.tiny else 32, 24, len(model.output_weight))
    expected = batch.loss(model)
    expected.backward()
    with torch.autocast(setting.device.type, dtype, enabled=dtype != torch.float32):
        found = batch.to(setting.device).loss(there)
    found.backward()
    off = abs(float(found) - float(expected)) / float(expected)
    setting.record(f"loss of a {name}, {dtype}", off, "relative difference", limit=limit)
    flat = [
        torch.cat([p.grad.flatten().cpu() for p in side.parameters() if p.grad is not None])
        for side in (there, model)
    ]
    # A token whose experts are all but equally likely may meet another in half precision.
    limit = limit if dtype == torch.float32 or not experts else 0.3
    setting.record(
        f"gradients of a {name}, {dtype}", relative(*flat), "relative difference", limit=limit
    )


def small_model(experts: int) -> Translator:
    """Return a model without anything random in training."""
    torch.manual_seed(2)
    shape = named_config("small")
    config: MoEConfig = replace(
        shape, num_experts=experts, vocab_size=1000, dropout_p=0.0, attention_dropout_p=0.0,
        expert_output_masking_p=0.0,
    )  # fmt: skip
    return create_model(config).train()


def compare_translations(setting: Setting) -> None:
    """Compare hypotheses of a beam search with four beams, and their log-probabilities."""
    for experts in (0, 8):
        model = with_spread_logits(small_model(experts).eval())
        batch = random_batch(8 if setting.tiny else 64, TEXT, len(model.output_weight))
        found = {}
        for where in (torch.device("cpu"), setting.device):
            own = copy.deepcopy(model).to(where)
            with torch.inference_mode():
                state = DecoderState(own, batch.source.to(where), batch.source_lengths)
                search = BeamSearch(
                    state, own.output_weight, SYMBOLS, beam_size=4, length_penalty=1.0
                )
                found[where] = search.run(5, [2 * TEXT] * len(batch.source))
        here, there = found[torch.device("cpu")], found[setting.device]
        same = [(a, b) for a, b in zip(here, there, strict=True) if a.tokens == b.tokens]
        name = f"{experts} experts" if experts else "dense"
        setting.record(
            f"beam search, {name}, fp32", len(same) / len(here), "same hypotheses",
            floor=SAME_FLOOR,
        )  # fmt: skip
        worst = max((abs(a.log_probability - b.log_probability) for a, b in same), default=0.0)
        setting.record(
            f"beam search, {name}, fp32", worst, "difference of log-probabilities",
            limit=LOGIT_LIMIT,
        )  # fmt: skip


def compare_neighbors(setting: Setting) -> None:
    """Compare the search in half precision and exact scores with the one on a CPU."""
    count, dim = (400, 64) if setting.tiny else (20_000, 512)
    products = FlatProducts()
    random = np.random.default_rng(3)
    sides = [
        make_vectors(random.standard_normal((count, dim)).astype(np.float16), products)
        for _ in range(2)
    ]
    expected = exact_neighbors(sides[0], sides[1], products, neighbors=4, memory_mb=512)
    found = device_neighbors(
        sides[0], sides[1], setting.device, neighbors=4, memory_mb=512, dtype=torch.float16
    )
    same = np.mean([(a.ids == b.ids).all(1).mean() for a, b in zip(found, expected, strict=True)])
    setting.record(f"neighbors of {count:,} x {count:,}", float(same), "same rows", floor=1.0)
