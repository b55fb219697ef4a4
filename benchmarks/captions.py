"""Scores on Multi30k's test set against CPU seconds of training, here and in transformers' loop.

    python benchmarks/captions.py --work WORK --output OUT     WORK: of recipes/captions/run.sh

Two sides with the same vocabulary, shape, batches, updates, loss, optimizer and schedule, one
thread each, in two processes of which one runs at a time: they take turns of a minute (SIGSTOP,
SIGCONT). `tongues nmt train`, and `M2M100ForConditionalGeneration` from fresh weights: forward,
loss with label smoothing, backward, clipping, fused AdamW. At each validation both translate the
test set greedily; CPU seconds are those of updates, so that neither translations nor checkpoints
count. Scores are 13a, cased, with 95 % intervals over bootstrap resamples. Nothing is selected on
the test set: the curve is shown whole.

Writes curves.json and curves.svg to the output, and prints a table. Interrupted, it starts over.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from train_speed import watched_batches
from transformers import M2M100Config, M2M100ForConditionalGeneration

from corpus.config import load_config
from corpus.console import format_table
from corpus.files import write_text
from corpus.flores import read_split
from corpus.languages import Direction, parse_direction
from eval.metrics.metrics import MetricModels, Scorer, find_metric
from eval.statistics.significance import interval, resample_scores
from nmt.data.batches import Batch, BatchStream
from nmt.data.phases import Curriculum
from nmt.data.tokenize import direction_pairs, tokenize
from nmt.model.config import MoEConfig, resolve_config
from nmt.training.config import TrainConfig, resolve
from nmt.training.train import train
from nmt.vocabulary.vocabulary import Vocabulary

SPLIT = "devtest"
SIDES = {"ours": "tongues nmt train", "peer": "transformers, plain loop"}
COLORS = {"ours": "#0b62a4", "peer": "#b34700"}
TURN_SECONDS = 60
METRICS = ("bleu", "chrf++")
RESAMPLES = 1000


def main() -> None:
    """Run both sides in turns, score them, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--direction", default="eng_Latn-deu_Latn")
    parser.add_argument("--updates", type=int, default=30_000)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.side:
        torch.set_num_threads(1)
        logging.disable(logging.WARNING)
        run = run_ours if arguments.side == "ours" else run_peer
        run(training_config(arguments), arguments.output)
        return
    take_turns([[sys.executable, *sys.argv, "--side", side] for side in SIDES])
    curves = {side: read_points(arguments.output, side) for side in SIDES}
    scored = {side: [score(arguments, point) for point in curves[side]] for side in SIDES}
    write_text(arguments.output / "curves.json", json.dumps(scored, indent=1))
    write_text(arguments.output / "curves.svg", draw(scored))
    rows = [
        [SIDES[side], point["update"], f"{point['seconds']:.0f}", *map(shown, METRICS, [point] * 2)]
        for side in SIDES
        for point in scored[side]
    ]
    print(format_table(["side", "updates", "CPU s", *METRICS], rows))


def shown(metric: str, point: dict[str, Any]) -> str:
    """Return a score with its interval."""
    low, high = point[f"{metric}_interval"]
    return f"{point[metric]:.1f} [{low:.1f}, {high:.1f}]"


def training_config(arguments: argparse.Namespace) -> TrainConfig:
    """Return the recipe's config with this number of updates."""
    recipe = Path(__file__).parents[1] / "recipes" / "captions" / "bilingual.yaml"
    every = arguments.updates // arguments.points
    overrides = {
        "vocabulary": arguments.work / "vocabulary", "bitext.primary": arguments.work / "bitext",
        "flores": arguments.work / "flores", "directions": f"[{arguments.direction}]",
        "validation_split": SPLIT, "chrf.sentences": 1_000_000, "validation_sentences": 1,
        "updates": every * arguments.points, "validate_every": every, "checkpoint_every": every,
        "report_every": every, "optimizer.warmup_updates": min(1000, arguments.updates // 10),
        "threads": 1, "selection.keep": "last", "compute.tensorboard": "false",
        "compute.peak_teraflops": 1,
    }  # fmt: skip
    return load_config(
        TrainConfig, recipe, [f"{name}={value}" for name, value in overrides.items()]
    )


def take_turns(commands: Sequence[Sequence[str]]) -> None:
    """Run processes, of which one at a time goes on for a minute."""
    running = [subprocess.Popen(command) for command in commands]
    for process in running:
        process.send_signal(signal.SIGSTOP)
    while running:
        for process in list(running):
            process.send_signal(signal.SIGCONT)
            try:
                code = process.wait(TURN_SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGSTOP)
                continue
            running.remove(process)
            if code:
                for other in running:
                    other.kill()
                raise SystemExit(f"{process.args} ended with {code}")


def add_point(output: Path, side: str, update: int, seconds: float, texts: Sequence[str]) -> None:
    """Note a point of a curve."""
    with (output / f"{side}.jsonl").open("a", encoding="utf-8") as file:
        json.dump({"update": update, "seconds": seconds, "hypotheses": list(texts)}, file)
        file.write("\n")


def read_points(output: Path, side: str) -> list[dict[str, Any]]:
    """Return the points of a side's curve."""
    lines = (output / f"{side}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def run_ours(config: TrainConfig, output: Path) -> None:
    """Train by `tongues nmt train`; the scorer of validations notes their translations."""
    (output / "ours.jsonl").unlink(missing_ok=True)
    every = config.validate_every
    assert every is not None

    with watched_batches() as seen:

        def note(hypotheses: Sequence[str], references: Sequence[str]) -> float:
            # Called for the baselines, too: the sources themselves, and the translations moved on.
            if list(hypotheses) != sources and len(seen) not in noted:
                noted.add(len(seen))
                add_point(output, "ours", len(seen), training_seconds(seen, every), hypotheses)
            return 0.0

        noted: set[int] = set()

        direction = parse_direction(config.directions[0])
        assert config.flores is not None
        sources = read_split(config.flores, SPLIT, [direction.source])[direction.source]
        train(config, output / "model", load_scorer=lambda: note)


def training_seconds(seen: list[tuple[float, Batch]], every: int) -> float:
    """Return the CPU seconds of the updates so far, an update after a validation at the mean.

    Between the batches of such an update and of the one before lies the validation.
    """
    steps = [
        later[0] - earlier[0]
        for i, (earlier, later) in enumerate(itertools.pairwise(seen), 1)
        if i % every
    ]
    return sum(steps) / max(len(steps), 1) * len(seen)


def run_peer(config: TrainConfig, output: Path) -> None:
    """Train transformers' model on the same batches, in a plain loop."""
    (output / "peer.jsonl").unlink(missing_ok=True)
    config = resolve(config)
    updates, warmup, every = config.updates, config.optimizer.warmup_updates, config.validate_every
    assert config.flores is not None
    vocabulary = Vocabulary.load(config.vocabulary_directory)
    direction = parse_direction(config.directions[0])
    sources = read_split(config.flores, SPLIT, [direction.source])[direction.source]
    shape = resolve_config(config.model, vocabulary.size, vocabulary.pad_index)
    torch.manual_seed(config.seed)
    model = peer_model(shape, vocabulary)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=config.optimizer.learning_rate,
        betas=(0.9, 0.98),
        eps=config.optimizer.epsilon,
        weight_decay=config.optimizer.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min((i + 1) / warmup, (updates - i) / max(updates - warmup, 1))
    )
    seconds = 0.0
    for i, batch in enumerate(same_batches(config, vocabulary, output), 1):
        started = time.process_time()
        inputs, labels = (
            torch.from_numpy(batch.target[:, :-1]),
            torch.from_numpy(batch.target[:, 1:]),
        )
        is_target = torch.arange(labels.shape[1]) < torch.from_numpy(
            batch.target_lengths - 1
        ).unsqueeze(1)
        is_source = torch.arange(batch.source.shape[1]) < torch.from_numpy(
            batch.source_lengths
        ).unsqueeze(1)
        logits = model(
            input_ids=torch.from_numpy(batch.source),
            attention_mask=is_source.long(),
            decoder_input_ids=inputs,
            decoder_attention_mask=is_target.long(),
        ).logits
        loss = functional.cross_entropy(
            logits.flatten(0, 1),
            labels.masked_fill(~is_target, -100).flatten(),
            label_smoothing=config.label_smoothing,
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        seconds += time.process_time() - started
        if i % every == 0:
            texts = translate(model, vocabulary, direction, sources)
            add_point(output, "peer", i, seconds, texts)
        if i == updates:
            return


def same_batches(config: TrainConfig, vocabulary: Vocabulary, output: Path) -> Iterator[Batch]:
    """Return the sequence of batches that `tongues nmt train` takes."""
    bitext = tokenize(config.training_data, vocabulary, output / "tokens")
    pairs = direction_pairs(bitext, vocabulary, config.directions)
    counts = {direction: len(there) for direction, there in pairs.items()}
    curriculum = Curriculum(config.curriculum, counts)
    stream = BatchStream(bitext, pairs, vocabulary, curriculum, config.batches, config.seed)
    while True:
        yield next(stream)


def peer_model(shape: MoEConfig, vocabulary: Vocabulary) -> Any:
    """Return transformers' model of the same shape, with fresh weights."""
    return M2M100ForConditionalGeneration(
        M2M100Config(
            vocab_size=shape.vocab_size,
            d_model=shape.model_dim,
            encoder_layers=shape.num_encoder_layers,
            decoder_layers=shape.num_decoder_layers,
            encoder_ffn_dim=shape.ffn_inner_dim,
            decoder_ffn_dim=shape.ffn_inner_dim,
            encoder_attention_heads=shape.num_encoder_attn_heads,
            decoder_attention_heads=shape.num_decoder_attn_heads,
            encoder_layerdrop=0.0,
            decoder_layerdrop=0.0,
            dropout=shape.dropout_p,
            attention_dropout=shape.attention_dropout_p,
            activation_dropout=0.0,
            max_position_embeddings=shape.max_seq_len,
            pad_token_id=vocabulary.pad_index,
            eos_token_id=vocabulary.end_index,
            decoder_start_token_id=vocabulary.end_index,
        )
    ).train()


def translate(
    model: Any, vocabulary: Vocabulary, direction: Direction, sources: list[str]
) -> list[str]:
    """Translate greedily, as validations here do."""
    rows = [
        vocabulary.source_row(direction.source, pieces) for pieces in vocabulary.encode(sources)
    ]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    texts = [""] * len(rows)
    model.eval()
    for begin in range(0, len(order), 50):
        chosen = order[begin : begin + 50]
        width = max(len(rows[i]) for i in chosen)
        source = torch.full((len(chosen), width), vocabulary.pad_index)
        for place, i in enumerate(chosen):
            source[place, : len(rows[i])] = torch.tensor(rows[i])
        with torch.inference_mode():
            found = model.generate(
                source,
                attention_mask=(source != vocabulary.pad_index).long(),
                forced_bos_token_id=vocabulary.language_index(direction.target),
                max_new_tokens=width + 30,
                num_beams=1,
                do_sample=False,
            )
        for i, row in zip(chosen, found.tolist(), strict=True):
            own = row[2:]  # </s> __tgt__
            end = own.index(vocabulary.end_index) if vocabulary.end_index in own else len(own)
            texts[i] = vocabulary.decode(own[:end])
    model.train()
    return texts


def score(arguments: argparse.Namespace, point: dict[str, Any]) -> dict[str, Any]:
    """Return a point with scores in the place of its translations."""
    target = parse_direction(arguments.direction).target
    references = read_split(arguments.work / "flores", SPLIT, [target])[target]
    result = {"update": point["update"], "seconds": point["seconds"]}
    for metric in METRICS:
        scorer = Scorer(metric, references, MetricModels(), target)
        result[metric], _ = scorer.score(point["hypotheses"])
        drawn = resample_scores(
            scorer.statistics(point["hypotheses"]), find_metric(metric).score, RESAMPLES, seed=1
        )
        result[f"{metric}_interval"] = interval(drawn, 0.95)
    return result


def draw(curves: dict[str, list[dict[str, Any]]]) -> str:
    """Return a drawing of BLEU against CPU minutes, with intervals."""
    width, height, left, bottom = 640, 360, 48, 40
    points = [point for own in curves.values() for point in own]
    last = max(point["seconds"] for point in points)
    most = max(10.0, max(point["bleu_interval"][1] for point in points))

    def at(seconds: float, value: float) -> tuple[float, float]:
        return (
            left + (width - left - 12) * seconds / last,
            height - bottom - (height - bottom - 30) * value / most,
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for value in range(0, int(most) + 1, 10 if most > 20 else 5):
        x, y = at(0, value)
        parts.append(f'<path d="M{x},{y:.1f}H{width - 12}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    for share in range(5):
        seconds = last * share / 4
        x, y = at(seconds, 0)
        parts.append(
            f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{seconds / 60:.1f}</text>'
        )
    parts.append(
        f'<text x="{width / 2}" y="{height - 6}" text-anchor="middle">CPU minutes</text>'
        '<text x="8" y="16">BLEU on test_2016, 95 % intervals</text>'
    )
    for number, (side, own) in enumerate(curves.items()):
        color = COLORS[side]
        line = " ".join("{:.1f},{:.1f}".format(*at(p["seconds"], p["bleu"])) for p in own)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        for point in own:
            x, top = at(point["seconds"], point["bleu_interval"][1])
            _, low = at(point["seconds"], point["bleu_interval"][0])
            parts.append(f'<path d="M{x:.1f},{top:.1f}V{low:.1f}" stroke="{color}"/>')
        parts.append(
            f'<text x="{width - 16}" y="{16 + 16 * number}" text-anchor="end"'
            f' fill="{color}">{SIDES[side]}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    main()
