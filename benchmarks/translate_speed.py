"""Tokens per CPU second of beam search: this package, fairseq2's search, transformers' `generate`.

    python benchmarks/translate_speed.py --work DIR

The same batches, beam 4, one thread. Two models are trained here to copy, dense and with experts,
so that translations end by themselves after different lengths: minutes of CPU, once, into DIR. All
systems have their weights (exported with `tongues nmt export`), and hypotheses and
log-probabilities are compared. Two more have NLLB-200 600M's width and vocabulary, a third of its
layers and random weights, each system its own; all hypotheses go to the length limit, so that only
speed is compared. Systems take turns batch by batch, so that other work counts less; the best turn
counts.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM
from transformers.utils import logging as transformers_logging

from corpus.config import load_config
from corpus.console import format_table
from nmt.fairseq import BatchLayout
from nmt.interop.config import ExportConfig
from nmt.interop.export_model import export_to_transformers
from nmt.model.config import MoEConfig
from nmt.model.directory import TrainedModel, load_model
from nmt.model.translator import create_model
from nmt.training.config import TrainConfig
from nmt.training.train import train
from nmt.translation.decoding.beam import BeamSearch, Hypothesis
from nmt.translation.decoding.decoder import DecoderState
from nmt.translation.decoding.scores import Symbols
from nmt.vocabulary.config import VocabularyConfig
from nmt.vocabulary.train import train_vocabulary
from nmt.vocabulary.vocabulary import Vocabulary

BEAM = 4
BATCH = 32
WORDS = [a + b + c for a in "bkmt" for b in ("a", "i", "o", "u") for c in ("ra", "li", "no", "s")]
LANGUAGES = ("qaa_Latn", "qab_Latn")
MODELS = {"small-dense": 0, "small-4-experts": 4, "wide-dense": 0, "wide-8-experts": 8}
"""Experts of each model."""

WIDE_SHAPE: dict[str, Any] = {
    "model_dim": 1024, "ffn_inner_dim": 4096, "num_encoder_layers": 4, "num_decoder_layers": 4,
    "num_encoder_attn_heads": 16, "num_decoder_attn_heads": 16, "max_seq_len": 512,
    "vocab_size": 256_206, "moe_every_n_layers": 4, "pad_idx": 1,
}  # fmt: skip
WIDE_LENGTH = 24
WIDE_BATCH = 8


@dataclasses.dataclass(frozen=True)
class Batch:
    """Padded sources and what may come of them."""

    source: Tensor
    lengths: list[int]
    limit: int


Found = tuple[list[int], float]
"""Tokens of a hypothesis without prompt and end, and its log-probability."""


def main() -> None:
    """Train, export, compare, time, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--sentences", type=int, default=96)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    rows = []
    for name in arguments.models:
        num_experts = MODELS[name]
        directory = make_trained(arguments.work, 0 if "wide" in name else num_experts, arguments)
        model = load_model(directory)
        if "wide" in name:
            model, theirs, batches = make_wide(model, num_experts)
        else:
            theirs = load_exported(directory, arguments.work / f"exported{num_experts}")
            batches = make_batches(model, arguments.sentences)
        rows += compare(name, model, theirs, batches, arguments.turns)
    header = ["model", "system", "tokens", "CPU s", "tokens/CPU s", "ratio", "same", "worst"]
    print(format_table(header, rows))


def make_trained(work: Path, num_experts: int, arguments: argparse.Namespace) -> Path:
    """Train a small model to copy random words; a finished one is used again."""
    chooser = random.Random(5)
    path = work / "bitext" / f"{LANGUAGES[0]}-{LANGUAGES[1]}.tsv"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [random_line(chooser) for _ in range(6000)]
        path.write_text("".join(f"{line}\t{line}\n" for line in lines), encoding="utf-8")
    train_vocabulary([path.parent], work / "vocabulary", VocabularyConfig(size=200))
    output = work / f"model{num_experts}"
    recipe = [
        f"vocabulary={work / 'vocabulary'}", f"bitext.primary={path.parent}", "model.size=small",
        f"model.num_experts={num_experts}", "batches.max_tokens=3000", "batches.max_length=120",
        "optimizer.learning_rate=0.004", "optimizer.warmup_updates=40",
        "optimizer.schedule=linear", f"updates={arguments.updates}", "checkpoint_every=100",
        "validate_every=100", "report_every=100", "threads=1",
    ]  # fmt: skip
    train(load_config(TrainConfig, None, recipe), output)
    return output


def random_line(chooser: random.Random) -> str:
    """Return 2 to 24 words."""
    return " ".join(chooser.choices(WORDS, k=chooser.randint(2, 24)))


def load_exported(model: Path, directory: Path) -> torch.nn.Module:
    """Return the same weights as transformers has them."""
    export_to_transformers(model, directory, ExportConfig())
    loaded: torch.nn.Module = AutoModelForSeq2SeqLM.from_pretrained(directory)
    return loaded.eval()


def make_batches(model: TrainedModel, sentences: int) -> list[Batch]:
    """Return unseen lines in batches, sorted by length."""
    chooser = random.Random(9)
    vocabulary = model.vocabulary
    language = vocabulary.language_index(LANGUAGES[0])
    encoded = vocabulary.encode([random_line(chooser) for _ in range(sentences)])
    rows = sorted(([language, *row, vocabulary.end_index] for row in encoded), key=len)
    chosen = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    return [pad(part, vocabulary.pad_index, 2 * len(part[-1]) + 10) for part in chosen]


def pad(rows: Sequence[list[int]], pad_index: int, limit: int) -> Batch:
    """Return rows as a batch."""
    width = max(map(len, rows))
    source = torch.tensor([row + [pad_index] * (width - len(row)) for row in rows])
    return Batch(source, [len(row) for row in rows], limit)


def make_wide(
    small: TrainedModel, num_experts: int
) -> tuple[TrainedModel, torch.nn.Module, list[Batch]]:
    """Return a wide model with random weights in both forms, and one batch for it."""
    from transformers import M2M100Config, NllbMoeConfig

    torch.manual_seed(1)
    config = MoEConfig(**WIDE_SHAPE, num_experts=num_experts, expert_output_masking_p=0.0)
    shape = {
        "vocab_size": config.vocab_size,
        "d_model": config.model_dim,
        "encoder_layers": config.num_encoder_layers,
        "decoder_layers": config.num_decoder_layers,
        "encoder_attention_heads": config.num_encoder_attn_heads,
        "decoder_attention_heads": config.num_decoder_attn_heads,
        "encoder_ffn_dim": config.ffn_inner_dim,
        "decoder_ffn_dim": config.ffn_inner_dim,
        "max_position_embeddings": config.max_seq_len,
        "decoder_start_token_id": 2,
    }
    if num_experts:
        shape |= {
            "num_experts": num_experts,
            "encoder_sparse_step": config.moe_every_n_layers,
            "decoder_sparse_step": config.moe_every_n_layers,
        }
    theirs_config = NllbMoeConfig(**shape) if num_experts else M2M100Config(**shape)
    theirs = AutoModelForSeq2SeqLM.from_config(theirs_config).eval()
    ours = create_model(config).eval()
    model = TrainedModel(ours, small.vocabulary, small.directions)
    chooser = torch.Generator().manual_seed(2)
    text = torch.randint(10, 250_000, (WIDE_BATCH, WIDE_LENGTH), generator=chooser)
    rows = [[256_000, *row, 2] for row in text.tolist()]
    return model, theirs, [pad(rows, 1, WIDE_LENGTH)]


def compare(
    name: str,
    model: TrainedModel,
    theirs: torch.nn.Module,
    batches: Sequence[Batch],
    turns: int,
) -> list[list[str]]:
    """Time the systems in turns; compare hypotheses with ours where they end by themselves."""
    target = model.vocabulary.language_index(LANGUAGES[1])
    half = dataclasses.replace(model, translator=copy.deepcopy(model.translator).to(torch.bfloat16))
    systems: dict[str, Callable[[Batch], list[Found]]] = {
        "tongues": lambda batch: search_ours(model, batch, target),
        "tongues, bfloat16": lambda batch: search_ours(half, batch, target),
        "fairseq2": lambda batch: search_fairseq2(model, batch, target),
        "transformers": lambda batch: search_transformers(theirs, model.vocabulary, batch, target),
    }
    seconds = {system: [0.0] * turns for system in systems}
    found: dict[str, list[Found]] = {}
    for turn in range(turns):
        for system in systems:
            found[system] = []
        for batch in batches:
            for system, search in systems.items():
                begun = time.process_time()
                with torch.inference_mode():
                    found[system] += search(batch)
                seconds[system][turn] += time.process_time() - begun
    rates = {
        system: sum(len(tokens) + 1 for tokens, _ in found[system]) / min(seconds[system])
        for system in systems
    }
    return [
        [
            name,
            system,
            str(sum(len(tokens) + 1 for tokens, _ in found[system])),
            f"{min(seconds[system]):.2f}",
            f"{rates[system]:.1f}",
            f"{rates[system] / rates['transformers']:.2f}",
            *agreement(found["tongues"], found[system]),
        ]
        for system in systems
    ]


def agreement(ours: Sequence[Found], others: Sequence[Found]) -> tuple[str, str]:
    """Return how many hypotheses are the same, and the largest difference of log-probabilities.

    fairseq2 counts the language token too, so that its log-probabilities are others.
    """
    same = [(a, b) for a, b in zip(ours, others, strict=True) if a[0] == b[0]]
    worst = max((abs(a[1] - b[1]) for a, b in same), default=float("nan"))
    return f"{len(same)}/{len(ours)}", f"{worst:.1e}"


def search_ours(model: TrainedModel, batch: Batch, target: int) -> list[Found]:
    """Search with this package."""
    words = model.vocabulary
    search = BeamSearch(
        DecoderState(model.translator, batch.source, batch.lengths),
        model.translator.output_weight,
        Symbols(words.pad_index, words.unknown_index, words.end_index),
        beam_size=BEAM,
        length_penalty=1.0,
    )
    hypotheses: list[Hypothesis] = search.run(target, [batch.limit] * len(batch.lengths))
    return [(hypothesis.tokens, hypothesis.log_probability) for hypothesis in hypotheses]


def search_fairseq2(model: TrainedModel, batch: Batch, target: int) -> list[Found]:
    """Search with fairseq2's generator."""
    from fairseq2.data.tokenizers import VocabularyInfo
    from fairseq2.generation.beam_search import BeamSearchSeq2SeqGenerator

    words = model.vocabulary
    generator = BeamSearchSeq2SeqGenerator(
        model.translator,
        VocabularyInfo(
            size=len(model.translator.output_weight),
            unk_idx=words.unknown_index,
            bos_idx=words.begin_index,
            eos_idx=words.end_index,
            pad_idx=words.pad_index,
        ),
        beam_size=BEAM,
        max_gen_len=(0.0, batch.limit),
        unk_penalty=torch.inf,
    )
    prompts = torch.tensor([[words.end_index, target]] * len(batch.lengths))
    output = generator(
        batch.source,
        BatchLayout.of(batch.source, batch.lengths),
        prompts,
        BatchLayout.of(prompts),
    )
    found = []
    for hypotheses in output.hypotheses:
        best = hypotheses[0]
        assert best.score is not None
        found.append((best.seq.tolist()[:-1], float(best.score) * (len(best.seq) + 1)))
    return found


def search_transformers(
    theirs: torch.nn.Module, vocabulary: Vocabulary, batch: Batch, target: int
) -> list[Found]:
    """Search with `generate`; stops with as many hypotheses as beams, as fairseq does."""
    pad_index = vocabulary.pad_index
    output = theirs.generate(  # type: ignore[operator]
        input_ids=batch.source,
        attention_mask=(batch.source != pad_index).long(),
        forced_bos_token_id=target,
        num_beams=BEAM,
        max_new_tokens=batch.limit + 1,
        early_stopping=True,
        length_penalty=1.0,
        suppress_tokens=[vocabulary.unknown_index, pad_index],
        return_dict_in_generate=True,
        output_scores=True,
    )
    found = []
    for row, score in zip(output.sequences.tolist(), output.sequences_scores.tolist(), strict=True):
        text = row[2:]  # after </s> and the language
        if vocabulary.end_index in text:
            text = text[: text.index(vocabulary.end_index)]
        found.append((text, score * (len(text) + 2)))
    return found


if __name__ == "__main__":
    main()
