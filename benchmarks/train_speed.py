"""Tokens per CPU second of training, in `tongues nmt train` and in transformers' plain loop.

    python benchmarks/train_speed.py [--widths 128,256,512] [--threads 1]

For each width a Mixture-of-Experts and a dense model of as much arithmetic per token. Two sides on
the same batches: `tongues nmt train`, whole, and transformers' model of the same shape
(`NllbMoeForConditionalGeneration`, `M2M100ForConditionalGeneration`) in a plain loop: forward, the
same label-smoothed loss by `torch.nn.functional.cross_entropy`, its own balance loss, backward,
clipping, fused AdamW. Both keep freed memory. Bitext is of constructed languages. CPU time between
one batch and the next, checkpoint and reports out of the way; the first updates do not count. Sides
take turns, and the ratio is the median of the turns' ratios. Tokens are source and target ones,
padding left out. The floor is the arithmetic of those tokens at the speed of one large product, by
the faster of torch's two libraries, measured between the turns.
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
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    NllbMoeConfig,
    NllbMoeForConditionalGeneration,
)
from transformers.models.nllb_moe.modeling_nllb_moe import load_balancing_loss_func

from corpus.config import load_config
from corpus.constructed.generate import ConstructedWorld
from corpus.files import write_lines
from corpus.processes import share_processors
from nmt.data.batches import Batch, BatchStream
from nmt.model.config import MoEConfig, named_config
from nmt.model.translator import create_model
from nmt.products import multiply
from nmt.sizing.flops import token_flops
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
SMOOTHING = 0.1
PEAK_SIZE = 2048
SHAPES = {128: (256, 4), 256: (1024, 4), 512: (2048, 8)}
"""Width to inner width of a feed-forward network or expert, and attention heads."""


def main() -> None:
    """Make data, run the sides in turns for each model, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--widths", default="128,256,512", help=f"Of {', '.join(map(str, SHAPES))}."
    )
    parser.add_argument("--models", default="dense,moe")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--updates", type=int, default=24)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--no-masking", action="store_true", help="Without EOM and its savings.")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    share_processors()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory(0)
    print(f"<!-- {arguments.updates} updates of {MAX_TOKENS:,} positions, {arguments.turns} turns,")
    print(f"{arguments.threads} threads, torch {torch.__version__} -->\n")
    print(
        "| width | model | tokens per CPU s | transformers | times it (each turn) | of the floor |"
    )
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_data(work)
        for width in map(int, arguments.widths.split(",")):
            for kind in arguments.models.split(","):
                compare(work, width, kind == "moe", arguments)


def compare(work: Path, width: int, is_mixture: bool, arguments: argparse.Namespace) -> None:
    """Run both sides in turns; print a row."""
    ours, theirs, shares = [], [], []
    masking = 0.0 if arguments.no_masking else named_config("small").expert_output_masking_p
    model = shape_of(width, is_mixture)
    vocabulary = Vocabulary.load(work / "vocabulary")
    config = replace(named_config("small"), **model, vocab_size=vocabulary.size)
    flops = token_flops(create_model(config))
    for turn in range(arguments.turns):
        output = work / f"{width}-{is_mixture}-{turn}"
        recipe = {**model, "expert_output_masking_p": masking}
        speed, batches = run_trainer(work, output, recipe, arguments)
        ours.append(speed)
        theirs.append(run_loop(batches, config, vocabulary, masking))
        source = sum(int(batch.source_lengths.sum()) for batch in batches)
        target = sum(int((batch.target_lengths - 1).sum()) for batch in batches)
        shares.append(speed * flops.of(source, target) / (source + target) / peak())
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    median = statistics.median
    print(
        f"| {width} | {'Mixture-of-Experts' if is_mixture else 'dense'} | {median(ours):,.0f} |"
        f" {median(theirs):,.0f} | {median(ratios):.2f} ({', '.join(f'{r:.2f}' for r in ratios)}) |"
        f" {median(shares):.0%} |",
        flush=True,
    )


def shape_of(width: int, is_mixture: bool) -> dict[str, int]:
    """Return what differs from `small`; a token meets two experts in every n-th layer."""
    inner, heads = SHAPES[width]
    shape = named_config("small")
    layers = shape.num_encoder_layers + shape.num_decoder_layers
    mixtures = sum(
        count // shape.moe_every_n_layers
        for count in (shape.num_encoder_layers, shape.num_decoder_layers)
    )
    return {
        "model_dim": width,
        "ffn_inner_dim": inner if is_mixture else inner * (layers + mixtures) // layers,
        "num_experts": shape.num_experts if is_mixture else 0,
        "num_encoder_attn_heads": heads,
        "num_decoder_attn_heads": heads,
    }


def peak() -> float:
    """Return operations per CPU second of a large product by the faster library."""
    rows, columns = torch.randn(PEAK_SIZE, PEAK_SIZE), torch.randn(PEAK_SIZE, PEAK_SIZE)
    seconds = []
    for product in (torch.mm, multiply):
        product(rows, columns)
        started = time.process_time()
        product(rows, columns)
        seconds.append(time.process_time() - started)
    return 2.0 * PEAK_SIZE**3 / min(seconds)


def make_data(work: Path) -> None:
    """Write bitext and a vocabulary."""
    pairs = ConstructedWorld(1, 1.0).say_nested(PAIRS, {TARGET: PAIRS})[TARGET]
    write_lines(work / "bitext" / f"{SOURCE}-{TARGET}.tsv", [f"{a}\t{b}" for a, b in pairs])
    train_vocabulary([work / "bitext"], work / "vocabulary", VocabularyConfig(size=PIECES))


def run_trainer(
    work: Path, output: Path, model: dict[str, Any], arguments: argparse.Namespace
) -> tuple[float, list[Batch]]:
    """Train by `tongues nmt train`; return tokens per CPU second and the batches."""
    updates = arguments.updates
    recipe = {
        "model": {"size": "small", **model}, "vocabulary": str(work / "vocabulary"),
        "bitext": {"primary": str(work / "bitext")}, "batches": {"max_tokens": MAX_TOKENS},
        "optimizer": {"warmup_updates": 1}, "updates": updates,
        "threads": arguments.threads, "label_smoothing": SMOOTHING,
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


def run_loop(
    batches: list[Batch], shape: MoEConfig, vocabulary: Vocabulary, masking: float
) -> float:
    """Train transformers' model on the batches; return tokens per CPU second."""
    torch.manual_seed(0)
    model = transformers_model(shape, vocabulary, masking).train()
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
        options = {"output_router_logits": True} if shape.num_experts else {}
        output = model(
            input_ids=source,
            attention_mask=is_source.long(),
            decoder_input_ids=inputs,
            decoder_attention_mask=is_target.long(),
            use_cache=False,
            **options,
        )
        loss = torch.nn.functional.cross_entropy(
            output.logits.flatten(0, 1),
            labels.masked_fill(~is_target, -100).flatten(),
            label_smoothing=SMOOTHING,
        )
        if shape.num_experts:
            for side in (output.encoder_router_logits, output.decoder_router_logits):
                logits, experts = model._unpack_router_logits(side)
                loss = loss + BALANCE_WEIGHT * load_balancing_loss_func(logits, experts)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return speed_of(seen)


def transformers_model(shape: MoEConfig, vocabulary: Vocabulary, masking: float) -> Any:
    """Return transformers' model of the same shape, with its default attention."""
    options = {
        "vocab_size": shape.vocab_size,
        "d_model": shape.model_dim,
        "pad_token_id": vocabulary.pad_index,
        "encoder_layers": shape.num_encoder_layers,
        "decoder_layers": shape.num_decoder_layers,
        "encoder_ffn_dim": shape.ffn_inner_dim,
        "decoder_ffn_dim": shape.ffn_inner_dim,
        "encoder_attention_heads": shape.num_encoder_attn_heads,
        "decoder_attention_heads": shape.num_decoder_attn_heads,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "dropout": shape.dropout_p,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "max_position_embeddings": shape.max_seq_len,
    }
    if not shape.num_experts:
        config = M2M100Config(**options, activation_function="relu")
        config._attn_implementation = "sdpa"
        return M2M100ForConditionalGeneration(config)
    config = NllbMoeConfig(
        **options,
        num_experts=shape.num_experts,
        encoder_sparse_step=shape.moe_every_n_layers,
        decoder_sparse_step=shape.moe_every_n_layers,
        moe_token_dropout=masking,
        router_dtype="float32",
    )
    return NllbMoeForConditionalGeneration(config)


if __name__ == "__main__":
    main()
