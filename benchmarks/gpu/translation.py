"""Part 4: beam search with the 600 M model, against transformers' `generate`."""

from __future__ import annotations

from dataclasses import replace

import torch
from harness import Setting
from models import random_batch

from nmt.model.config import MoEConfig, named_config
from nmt.model.translator import create_model
from nmt.translation.decoding.beam import BeamSearch
from nmt.translation.decoding.decoder import DecoderState
from nmt.translation.decoding.scores import Symbols

BEAM = 4
TARGET, END, PAD, UNKNOWN = 5, 2, 1, 3


def run(setting: Setting) -> None:
    """Translate batches of two sizes; random weights run to the length limit, as the peer must."""
    length, limit = (8, 8) if setting.tiny else (32, 40)
    config = replace(
        named_config("tiny" if setting.tiny else "600m"),
        vocab_size=1000 if setting.tiny else 256_206, num_experts=0, pad_idx=PAD,
    )  # fmt: skip
    torch.manual_seed(0)
    with setting.device:
        model = create_model(config).eval().to(setting.half)
    peer = transformers_model(setting, config)
    for sentences in (4,) if setting.tiny else (16, 128):
        batch = random_batch(sentences, length, config.vocab_size).to(setting.device)

        def search(batch=batch, sentences=sentences) -> None:  # type: ignore[no-untyped-def]
            with torch.inference_mode():
                state = DecoderState(model, batch.source, batch.source_lengths)
                BeamSearch(
                    state, model.output_weight, Symbols(PAD, UNKNOWN, END), beam_size=BEAM,
                    length_penalty=1.0,
                ).run(TARGET, [limit] * sentences)  # fmt: skip

        seconds = setting.seconds_of(search, turns=3, warmup=1)
        speed = sentences * limit / seconds
        setting.record(f"beam {BEAM}, {sentences} sentences: this", speed, "tokens/s")
        if peer is None:
            setting.skip(f"beam {BEAM}, {sentences} sentences: transformers", "it is not there")
            continue

        def generate(batch=batch) -> None:  # type: ignore[no-untyped-def]
            with torch.inference_mode():
                peer.generate(  # type: ignore[operator]
                    input_ids=batch.source, forced_bos_token_id=TARGET, num_beams=BEAM,
                    max_new_tokens=limit, min_new_tokens=limit, early_stopping=True,
                )  # fmt: skip

        theirs = sentences * limit / setting.seconds_of(generate, turns=3, warmup=1)
        setting.record(
            f"beam {BEAM}, {sentences} sentences: transformers", theirs, "tokens/s",
            ratio=speed / theirs, note="this / transformers",
        )  # fmt: skip


def transformers_model(setting: Setting, config: MoEConfig) -> torch.nn.Module | None:
    """Return transformers' model of the same shape, where it is installed."""
    try:
        from transformers import M2M100Config, M2M100ForConditionalGeneration
    except ImportError:
        return None
    shape = M2M100Config(
        vocab_size=config.vocab_size, d_model=config.model_dim, pad_token_id=PAD,
        encoder_layers=config.num_encoder_layers, decoder_layers=config.num_decoder_layers,
        encoder_attention_heads=config.num_encoder_attn_heads,
        decoder_attention_heads=config.num_decoder_attn_heads,
        encoder_ffn_dim=config.ffn_inner_dim, decoder_ffn_dim=config.ffn_inner_dim,
        max_position_embeddings=config.max_seq_len, decoder_start_token_id=END, eos_token_id=END,
    )  # fmt: skip
    model: torch.nn.Module = M2M100ForConditionalGeneration(shape)
    return model.eval().to(setting.device, setting.half)
