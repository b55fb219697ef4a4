"""Part 3: whole updates of the 600 M model and of its Mixture-of-Experts: speed, MFU, memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from harness import Setting
from models import LABEL_SMOOTHING, RandomBatch, random_batch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    CheckpointImpl,
    apply_activation_checkpointing,
    checkpoint_wrapper,
)

from nmt.fairseq import TransformerDecoderLayer, TransformerEncoderLayer
from nmt.model.config import MoEConfig, named_config
from nmt.model.translator import compile_layers, create_model
from nmt.sizing.config import LayoutConfig
from nmt.sizing.flops import TokenFlops, measure_peak, token_flops
from nmt.sizing.memory import estimate_memory

DENSE_MFU_GOAL = 0.45
LENGTH = 64
RATE = 1e-5


def run(setting: Setting) -> None:
    """Run the dense model in all ways, then models with as many experts as memory holds."""
    peak = measure_peak(setting.device, setting.half)
    setting.record("one large product", peak / 1e12, f"TFLOP/s in {setting.half}")
    dense = shape(setting, 0)
    for compiled in (False, True):
        for checkpointed in (compiled,) if setting.tiny else (False, True):
            name = "dense" + ", compiled" * compiled + ", checkpointed" * checkpointed
            attempt(
                setting, name, functools.partial(
                    measure, setting, name, dense, peak, compiled=compiled,
                    checkpointed=checkpointed,
                ),
            )  # fmt: skip
    attempt(setting, "transformers", functools.partial(measure_peer, setting, dense, peak))
    for experts in (8,) if setting.tiny else (128, 64, 32):
        name = f"{experts} experts"
        step = functools.partial(measure, setting, name, shape(setting, experts), peak)
        if attempt(setting, name, step):
            break


def shape(setting: Setting, experts: int) -> MoEConfig:
    """Return the shape of the 600 M model, with experts in every fourth layer if wanted."""
    config = named_config("tiny" if setting.tiny else "600m")
    every = 2 if setting.tiny else 4
    vocabulary = 2000 if setting.tiny else config.vocab_size
    return replace(config, num_experts=experts, moe_every_n_layers=every, vocab_size=vocabulary)


def attempt(setting: Setting, name: str, step: Callable[[], None]) -> bool:
    """Run a step; note where memory does not suffice or a compiler is missing."""
    try:
        step()
    except torch.OutOfMemoryError as error:
        setting.skip(name, str(error).partition(".")[0])
        return False
    except ImportError as error:
        setting.skip(name, str(error))
        return False
    finally:
        if setting.is_gpu:
            torch.cuda.empty_cache()
    return True


def batch_of(setting: Setting, config: MoEConfig) -> RandomBatch:
    """Return a batch of some 16,000 positions of both sides."""
    return random_batch(4 if setting.tiny else 128, LENGTH, config.vocab_size).to(setting.device)


def measure(
    setting: Setting,
    name: str,
    config: MoEConfig,
    peak: float,
    *,
    compiled: bool = False,
    checkpointed: bool = False,
) -> None:
    """Record tokens per second, MFU and memory of updates with fused AdamW."""
    torch.manual_seed(0)
    with setting.device:
        model = create_model(config).train()
    if checkpointed:
        apply_activation_checkpointing(
            model,
            checkpoint_wrapper_fn=functools.partial(
                checkpoint_wrapper, checkpoint_impl=CheckpointImpl.NO_REENTRANT
            ),
            check_fn=lambda module: isinstance(
                module, TransformerEncoderLayer | TransformerDecoderLayer
            ),
        )
    if compiled:
        compile_layers(model, **({"backend": "eager"} if setting.tiny else {}))
    batch = batch_of(setting, config)
    update = update_of(setting, model, lambda: batch.loss(model))
    report(setting, name, batch, token_flops(model), peak, update)
    taken = setting.peak_memory_of(update)
    if taken is not None:
        layout = LayoutConfig(
            max_tokens=sum(batch.tokens), precision="bf16", activation_checkpointing=checkpointed
        )
        said = estimate_memory(model, config, layout).peak
        setting.record(
            f"{name}: memory",
            taken / 1e9,
            "GB",
            ratio=said / taken,
            note="`nmt describe` / measured",
        )


def update_of(
    setting: Setting, model: nn.Module, loss_of: Callable[[], Tensor]
) -> Callable[[], None]:
    """Return an update: mixed precision, clipping, fused AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), fused=True)

    def update() -> None:
        with torch.autocast(setting.device.type, torch.bfloat16, enabled=setting.is_gpu):
            loss = loss_of()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return update


def report(
    setting: Setting,
    name: str,
    batch: RandomBatch,
    flops: TokenFlops,
    peak: float,
    update: Callable[[], None],
) -> None:
    """Time updates and record their speed."""
    seconds = setting.seconds_of(update)
    setting.record(f"{name}: training", sum(batch.tokens) / seconds, "tokens/s")
    goal: dict[str, Any] = {"goal": DENSE_MFU_GOAL} if name.startswith("dense") else {}
    setting.record(f"{name}: MFU", flops.of(*batch.tokens) / seconds / peak, "of the peak", **goal)


def measure_peer(setting: Setting, config: MoEConfig, peak: float) -> None:
    """Record the speed of transformers' model of the same shape in the same loop."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    torch.manual_seed(0)
    peer = M2M100ForConditionalGeneration(
        M2M100Config(
            vocab_size=config.vocab_size, d_model=config.model_dim, pad_token_id=config.pad_idx,
            encoder_layers=config.num_encoder_layers, decoder_layers=config.num_decoder_layers,
            encoder_attention_heads=config.num_encoder_attn_heads,
            decoder_attention_heads=config.num_decoder_attn_heads,
            encoder_ffn_dim=config.ffn_inner_dim, decoder_ffn_dim=config.ffn_inner_dim,
            max_position_embeddings=config.max_seq_len, dropout=config.dropout_p,
            attention_dropout=config.attention_dropout_p, encoder_layerdrop=0.0,
            decoder_layerdrop=0.0,
        )
    )  # fmt: skip
    peer = peer.to(setting.device).train()
    batch = batch_of(setting, config)

    def loss() -> Tensor:
        logits = peer(input_ids=batch.source, decoder_input_ids=batch.target[:, :-1]).logits
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.target[:, 1:].flatten(), label_smoothing=LABEL_SMOOTHING
        )

    with torch.device("meta"):
        flops = token_flops(create_model(config))
    report(setting, "transformers", batch, flops, peak, update_of(setting, peer, loss))
    taken = setting.peak_memory_of(update_of(setting, peer, loss))
    if taken is not None:
        setting.record("transformers: memory", taken / 1e9, "GB")
