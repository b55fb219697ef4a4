"""Tokens per CPU second of training the `small` Mixture-of-Experts, in fairseq2's Trainer and not.

    python benchmarks/train_speed.py

Three sides on the same batches: `tongues nmt train` with the `small` Mixture-of-Experts; the same
with a dense model of equal arithmetic per token; and transformers' model of the same shape,
`NllbMoeForConditionalGeneration`, in a plain loop (forward with its own losses, backward, clipping,
fused AdamW). Bitext is of constructed languages. CPU time on one thread between one batch and the
next, checkpoint and reports out of the way; the first updates do not count. Sides take turns, and
ratios are of medians over turns. Tokens are source and target ones, padding left out.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import NllbMoeConfig, NllbMoeForConditionalGeneration

from corpus.config import load_config
from corpus.constructed.generate import ConstructedWorld
from corpus.files import write_lines
from corpus.processes import share_processors
from nmt.data.batches import Batch, BatchStream
from nmt.model.config import named_config
from nmt.threads import keep_freed_memory
from nmt.training.config import TrainConfig
from nmt.training.train import train
from nmt.vocabulary.config import VocabularyConfig
from nmt.vocabulary.train import train_vocabulary
from nmt.vocabulary.vocabulary import Vocabulary

SOURCE, TARGET = "qaa_Latn", "qac_Cyrl"
PAIRS, PIECES = 4000, 2000
MAX_TOKENS = 4096
UNCOUNTED = 4
BALANCE_WEIGHT = 0.01
MOE, DENSE, PEER = "this, Mixture-of-Experts", "this, dense", "transformers' NllbMoe, plain loop"


def main() -> None:
    """Make data, run the sides in turns, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--no-masking", action="store_true", help="Without EOM and its savings.")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    share_processors()
    torch.set_num_threads(1)
    keep_freed_memory()
    shape = named_config("small")
    masking = 0.0 if arguments.no_masking else shape.expert_output_masking_p
    # A token meets two experts in every n-th layer: as many dense networks in all.
    layers = shape.num_encoder_layers + shape.num_decoder_layers
    mixtures = sum(
        count // shape.moe_every_n_layers
        for count in (shape.num_encoder_layers, shape.num_decoder_layers)
    )
    dense = {"num_experts": 0, "ffn_inner_dim": shape.ffn_inner_dim * (layers + mixtures) // layers}
    speeds: dict[str, list[float]] = {MOE: [], DENSE: [], PEER: []}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_data(work)
        for turn in range(arguments.turns):
            batches: list[Batch] = []
            for side, model in ((MOE, {"expert_output_masking_p": masking}), (DENSE, dense)):
                output = work / f"{side}-{turn}"
                speed, batches = run_trainer(work, output, model, arguments.updates)
                speeds[side].append(speed)
            vocabulary = Vocabulary.load(work / "vocabulary")
            speeds[PEER].append(run_loop(batches, vocabulary, masking))
    print(f"<!-- small: {shape.model_dim} x {shape.ffn_inner_dim}, {shape.num_experts} experts,")
    print(
        f"dense {dense['ffn_inner_dim']}; {arguments.updates} updates of {MAX_TOKENS:,} positions,"
    )
    print(f"masking {masking}, torch {torch.__version__}, one thread -->\n")
    print("| side | tokens per CPU second | times the dense one |\n|---|---|---|")
    base = statistics.median(speeds[DENSE])
    for side, own in speeds.items():
        speed = statistics.median(own)
        print(f"| {side} | {speed:,.0f} | {speed / base:.2f} |")


def make_data(work: Path) -> None:
    """Write bitext and a vocabulary."""
    pairs = ConstructedWorld(1, 1.0).say_nested(PAIRS, {TARGET: PAIRS})[TARGET]
    write_lines(work / "bitext" / f"{SOURCE}-{TARGET}.tsv", [f"{a}\t{b}" for a, b in pairs])
    train_vocabulary([work / "bitext"], work / "vocabulary", VocabularyConfig(size=PIECES))


def run_trainer(
    work: Path, output: Path, model: dict[str, Any], updates: int
) -> tuple[float, list[Batch]]:
    """Train by `tongues nmt train`; return tokens per CPU second and the batches."""
    recipe = {
        "model": {"size": "small", **model}, "vocabulary": str(work / "vocabulary"),
        "bitext": {"primary": str(work / "bitext")}, "batches": {"max_tokens": MAX_TOKENS},
        "optimizer": {"warmup_updates": 1}, "updates": updates, "threads": 1,
        "report_every": updates, "validate_every": updates, "checkpoint_every": updates,
        "compute": {"peak_teraflops": 1.0, "tensorboard": False},
    }  # fmt: skip
    path = work / "train.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    with watched_batches() as seen:
        train(load_config(TrainConfig, path), output)
    return speed_of(seen), [batch for _, batch in seen]


@contextmanager
def watched_batches() -> Iterator[list[tuple[float, Batch]]]:
    """Note when the trainer asks for each batch."""
    seen: list[tuple[float, Batch]] = []
    plain: Callable[[BatchStream], Batch] = BatchStream.__next__

    def watch(stream: BatchStream) -> Batch:
        started = time.process_time()
        batch = plain(stream)
        seen.append((started, batch))
        return batch

    BatchStream.__next__ = watch  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        BatchStream.__next__ = plain  # type: ignore[method-assign]


def speed_of(seen: list[tuple[float, Batch]]) -> float:
    """Return tokens per CPU second from the first counted batch to the last one."""
    counted = seen[UNCOUNTED:]
    tokens = sum(
        int(batch.source_lengths.sum() + (batch.target_lengths - 1).sum())
        for _, batch in counted[:-1]
    )
    return tokens / (counted[-1][0] - counted[0][0])


def run_loop(batches: list[Batch], vocabulary: Vocabulary, masking: float) -> float:
    """Train transformers' model on the batches; return tokens per CPU second."""
    torch.manual_seed(0)
    model = NllbMoeForConditionalGeneration(transformers_config(vocabulary, masking)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    seen = []
    for batch in batches:
        seen.append((time.process_time(), batch))
        source, target = torch.from_numpy(batch.source), torch.from_numpy(batch.target)
        inputs, labels = target[:, :-1], target[:, 1:]
        places = torch.arange(inputs.shape[1])
        is_target = places < torch.from_numpy(batch.target_lengths - 1).unsqueeze(1)
        is_source = torch.arange(source.shape[1]) < torch.from_numpy(
            batch.source_lengths
        ).unsqueeze(1)
        loss = model(
            input_ids=source,
            attention_mask=is_source.long(),
            decoder_input_ids=inputs,
            decoder_attention_mask=is_target.long(),
            output_router_logits=True,
            labels=labels.masked_fill(~is_target, -100),
        ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return speed_of(seen)


def transformers_config(vocabulary: Vocabulary, masking: float) -> NllbMoeConfig:
    """Return the shape of `small` as transformers writes it."""
    shape = replace(named_config("small"), vocab_size=vocabulary.size)
    return NllbMoeConfig(
        vocab_size=shape.vocab_size,
        d_model=shape.model_dim,
        pad_token_id=vocabulary.pad_index,
        encoder_layers=shape.num_encoder_layers,
        decoder_layers=shape.num_decoder_layers,
        encoder_ffn_dim=shape.ffn_inner_dim,
        decoder_ffn_dim=shape.ffn_inner_dim,
        encoder_attention_heads=shape.num_encoder_attn_heads,
        decoder_attention_heads=shape.num_decoder_attn_heads,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        dropout=shape.dropout_p,
        attention_dropout=0.0,
        activation_dropout=0.0,
        num_experts=shape.num_experts,
        encoder_sparse_step=shape.moe_every_n_layers,
        decoder_sparse_step=shape.moe_every_n_layers,
        moe_token_dropout=masking,
        router_aux_loss_coef=BALANCE_WEIGHT,
        router_dtype="float32",
        max_position_embeddings=shape.max_seq_len,
    )


if __name__ == "__main__":
    main()
