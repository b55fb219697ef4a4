"""Does a Mixture-of-Experts help, and whom? An ablation on constructed languages, on one thread.

    python benchmarks/moe_ablation.py run --work DIR [--systems dense,moe] [--seeds 1,2,3]
    python benchmarks/moe_ablation.py table --work DIR

Two families of constructed languages, each with a high-, a low- and a very-low-resource language,
from and into the pivot. Every system makes the same updates on the same batches with the same
number of parameters active per token. A finished cell (system and seed) is kept, and an unfinished
training goes on from its last checkpoint. `table` prints what is there: chrF++ on devtest by
resource level, mean over seeds, and differences paired by seed and sentence.
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from corpus.config import load_config
from corpus.constructed.generate import ConstructedWorld
from corpus.files import read_json, read_lines, write_json, write_lines
from corpus.languages import parse_direction
from eval.metrics.metrics import MetricModels, Scorer, find_metric
from eval.statistics.significance import interval, resample_scores
from nmt.model.config import MoEConfig
from nmt.model.moe.gate import MAX_CHOICES
from nmt.model.translator import create_model, moe_layers
from nmt.training.config import TrainConfig
from nmt.training.curriculum import derive_entries
from nmt.training.curves import read_curves
from nmt.training.train import TRAINING_DIRECTORY, train
from nmt.translation.decoding.config import TranslateConfig
from nmt.translation.translate_files import translate_flores
from nmt.vocabulary.config import VocabularyConfig
from nmt.vocabulary.train import train_vocabulary

PIVOT = "qaa_Latn"
PAIRS = {
    "high": {"qac_Cyrl": 6000, "qae_Deva": 6000},
    "low": {"qag_Cyrl": 150, "qah_Arab": 150},
    "very_low": {"qab_Latn": 30, "qai_Deva": 30},
}
# Seventy-five words, and sentences of at most six: what attention aligns in a minute.
LEXICON_SHARE, MAX_WORDS, PIECES = 0.25, 6, 600
DRAWN_PER_SHORT = 4
DEV, DEVTEST = 100, 200
DATA_SEED = 1
BEAM_SIZE = 2
RESAMPLES, CONFIDENCE = 2_000, 0.95
STUDENT_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}
"""Student's t for 95 %, by the number of seeds."""

UPDATES = 2500
TRAIN = {
    "model": {"size": "tiny", "dropout_p": 0.0},
    # Nearly as many pairs of each direction: what is scarce is seen often, and can overfit.
    "batches": {"max_tokens": 600, "max_length": 64, "temperature": 100.0},
    "optimizer": {"learning_rate": 0.003, "warmup_updates": 200, "schedule": "inverse_sqrt"},
    "updates": UPDATES,
    "checkpoint_every": 500,
    "validate_every": 250,
    "validation_sentences": 25,
    "chrf": {"sentences": 0},
    "report_every": 125,
    "threads": 1,
    "compute": {"peak_teraflops": 0.1, "tensorboard": False},
}
LEVELS = {"high_resource_pairs": 5000, "very_low_resource_pairs": 100}
EXPERTS = {"num_experts": 8, "ffn_inner_dim": 128, "expert_output_masking_p": 0.0}
MASKING = {**EXPERTS, "expert_output_masking_p": 0.2}
# Two layers of four have experts, of which a token meets two, and a gate.
DENSE = {"num_experts": 0, "ffn_inner_dim": 194}
# At this scale attention aligns only on few directions at first, so every system begins with the
# high-resource ones. Without a curriculum all others enter then, with one when it says.
FIRST_UPDATES = 400
FIRST = {"from_update": 0, "resource_levels": ["high"]}
TOGETHER = [FIRST, {"from_update": FIRST_UPDATES}]
STARTS = (0, *range(FIRST_UPDATES, UPDATES, 300))
"""Updates at which directions may enter with a curriculum."""

PILOT, PILOT_SEED = "pilot", 0
"""A run like moe+eom, from whose validation curves the curriculum comes."""

SYSTEMS = {
    "dense": (DENSE, TOGETHER),
    "moe": (EXPERTS, TOGETHER),
    "moe+eom": (MASKING, TOGETHER),
    "moe+eom+curriculum": (MASKING, None),
    "moe+gating-dropout": (
        {**EXPERTS, "gating_dropout_p": 0.2, "gating_dropout_ranks": 4},
        TOGETHER,
    ),
    PILOT: (MASKING, TOGETHER),
}

Float64 = NDArray[np.float64]


def main() -> None:
    """Run cells or print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--systems", default=",".join(name for name in SYSTEMS if name != PILOT))
    parser.add_argument("--seeds", default="1,2,3")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(1)
    systems, seeds = arguments.systems.split(","), [int(s) for s in arguments.seeds.split(",")]
    if arguments.what == "run":
        write_data(arguments.work, PAIRS)
        run_cell(arguments.work, PILOT, PILOT_SEED)
        for seed in seeds:
            for system in systems:
                run_cell(arguments.work, system, seed)
    print_tables(arguments.work, systems, seeds)


def write_data(work: Path, pairs: Mapping[str, Mapping[str, int]]) -> None:
    """Write bitext of so many pairs, dev and devtest sets and a vocabulary, once."""
    if not (work / "data" / "flores").is_dir():
        wanted = {code: n for level in pairs.values() for code, n in level.items()}
        world = ConstructedWorld(DATA_SEED, LEXICON_SHARE)
        languages = [PIVOT, *wanted]
        for split, size in (("dev", DEV), ("devtest", DEVTEST)):
            said = world.say_new(size * DRAWN_PER_SHORT * 2, languages)
            short = [sentences for sentences in said if is_short(sentences[PIVOT])][:size]
            assert len(short) == size
            for code in languages:
                lines = [sentences[code] for sentences in short]
                write_lines(work / "data" / "flores" / split / f"{code}.{split}", lines)
        drawn = {code: DRAWN_PER_SHORT * n for code, n in wanted.items()}
        for code, said in world.say_nested(max(drawn.values()), drawn).items():
            lines = [f"{source}\t{target}" for source, target in said if is_short(source)]
            assert len(lines) >= wanted[code]
            path = work / "data" / "bitext" / f"{PIVOT}-{code}.tsv"
            write_lines(path, lines[: wanted[code]])
    config = VocabularyConfig(size=PIECES)
    train_vocabulary([work / "data" / "bitext"], work / "vocabulary", config)


def is_short(sentence: str) -> bool:
    """Whether a sentence of the pivot has few words."""
    return len(sentence.split()) <= MAX_WORDS


def run_cell(work: Path, system: str, seed: int) -> None:
    """Train and translate one cell unless it is done."""
    cell = cell_directory(work, system, seed)
    if (cell / "result.json").exists():
        return
    model, phases = SYSTEMS[system]
    recipe = make_recipe(work, model, seed)
    recipe["curriculum"] = {**LEVELS, "phases": phases or derive_phases(work)}
    train_and_translate(work, cell, recipe)


def make_recipe(work: Path, model: dict[str, object], seed: int) -> dict[str, object]:
    """Return what all trainings have in common, with the differences of a model."""
    return {
        **TRAIN,
        "model": {**TRAIN["model"], **model},
        "curriculum": {**LEVELS, "phases": TOGETHER},
        "seed": seed,
        "vocabulary": str(work / "vocabulary"),
        "bitext": {"primary": str(work / "data" / "bitext")},
        "flores": str(work / "data" / "flores"),
    }


def train_and_translate(work: Path, cell: Path, recipe: dict[str, object]) -> None:
    """Train a recipe, translate devtest, and keep what it took."""
    cell.mkdir(parents=True, exist_ok=True)
    (cell / "train.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    begin = time.process_time()
    train(load_config(TrainConfig, cell / "train.yaml"), cell / "model")
    trained = time.process_time()
    translate_flores(
        cell / "model",
        work / "data" / "flores",
        "devtest",
        (),
        cell / "hypotheses",
        TranslateConfig(threads=1, beam_size=BEAM_SIZE),
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    total, active = count_parameters(cell / "model")
    write_json(
        cell / "result.json",
        {
            "commit": commit,
            "train_seconds": trained - begin,
            "translate_seconds": time.process_time() - trained,
            "total_parameters": total,
            "active_parameters": active,
        },
    )


def derive_phases(work: Path) -> list[dict[str, object]]:
    """Return phases as NLLB derives them: a direction gets the updates it was best after.

    In the pilot all directions but the first ones enter after the first phase, which is no part of
    these updates, and none enters before it.
    """
    curves = read_curves(cell_directory(work, PILOT, PILOT_SEED) / "model" / TRAINING_DIRECTORY)
    later = {
        direction: validations
        for direction, validations in curves.validation.items()
        if direction not in level_directions("high")
    }
    entries = derive_entries(later, UPDATES + FIRST_UPDATES, STARTS)
    begun = level_directions("high")
    phases: list[dict[str, object]] = [FIRST]
    for start in sorted({max(entry.start, FIRST_UPDATES) for entry in entries.values()}):
        begun += [d for d, entry in entries.items() if max(entry.start, FIRST_UPDATES) == start]
        phases.append({"from_update": start, "directions": list(begun)})
    return phases


def cell_directory(work: Path, system: str, seed: int) -> Path:
    """Return where a cell is."""
    return work / "cells" / f"{system}-{seed}"


def count_parameters(model: Path) -> tuple[int, int]:
    """Return a trained model's parameters: all, and those that one token meets."""
    with torch.device("meta"):
        network = create_model(MoEConfig(**read_json(model / "model.json")["config"]))
    total = active = sum(parameter.numel() for parameter in network.parameters())
    for _, layer in moe_layers(network):
        experts = sum(parameter.numel() for parameter in layer.experts.parameters())
        active -= experts // layer.num_experts * (layer.num_experts - MAX_CHOICES)
    return total, active


def print_tables(work: Path, systems: Sequence[str], seeds: Sequence[int]) -> None:
    """Print the finished cells of systems that have all seeds."""
    done = [
        s
        for s in systems
        if all((cell_directory(work, s, seed) / "result.json").exists() for seed in seeds)
    ]
    scores = {system: system_scores(work, system, seeds) for system in done}
    print("| system | parameters | active | CPU s | high | low | very low |\n|" + "---|" * 7)
    for system in done:
        results = [read_json(cell_directory(work, system, s) / "result.json") for s in seeds]
        seconds = statistics.mean(r["train_seconds"] + r["translate_seconds"] for r in results)
        counts = f"{results[0]['total_parameters']:,} | {results[0]['active_parameters']:,}"
        cells = " | ".join(show(*scores[system][level]) for level in PAIRS)
        print(f"| {system} | {counts} | {seconds:.0f} | {cells} |")
    for base in (name for name in ("dense", "moe") if name in done):
        print(f"\n| against {base} | high | low | very low |\n|" + "---|" * 4)
        for system in done:
            if system != base:
                cells = " | ".join(
                    show_difference(scores[system][level], scores[base][level]) for level in PAIRS
                )
                print(f"| {system} | {cells} |")
    print("\n| validation, nats per token: best, last | high | low | very low |\n|" + "---|" * 4)
    for system in done:
        cells = " | ".join(overfitting(work, system, seeds, level) for level in PAIRS)
        print(f"| {system} | {cells} |")


def system_scores(
    work: Path, system: str, seeds: Sequence[int]
) -> dict[str, tuple[Float64, Float64]]:
    """Return chrF++ of a system by level: of each seed, [seeds], and resampled, [seeds, R].

    A level's score is the mean over its directions. Sentences are drawn with replacement, the same
    ones in all directions, seeds and systems.
    """
    found = {}
    for level in PAIRS:
        values, resampled = [], []
        for seed in seeds:
            cell = cell_directory(work, system, seed)
            pairs = [direction_scores(work, cell, d) for d in level_directions(level)]
            values.append(np.mean([value for value, _ in pairs]))
            resampled.append(np.mean([draws for _, draws in pairs], axis=0))
        found[level] = np.array(values), np.array(resampled)
    return found


def level_directions(level: str) -> list[str]:
    """Return both directions of a level's pairs."""
    return [d for code in PAIRS[level] for d in (f"{PIVOT}-{code}", f"{code}-{PIVOT}")]


def direction_scores(work: Path, cell: Path, direction: str) -> tuple[float, Float64]:
    """Return chrF++ of a direction and of its resamples."""
    target = parse_direction(direction).target
    references = read_lines(work / "data" / "flores" / "devtest" / f"{target}.devtest")
    scorer = Scorer("chrf++", references, MetricModels())
    counted = scorer.statistics(read_lines(cell / "hypotheses" / f"{direction}.txt"))
    resampled = resample_scores(counted, find_metric("chrf++").score, RESAMPLES, DATA_SEED)
    return scorer.score_statistics(counted.sum(axis=0)), resampled


def show(values: Float64, resampled: Float64) -> str:
    """Return mean, interval over sentences, and the seeds' values."""
    low, high = interval(resampled.mean(axis=0), CONFIDENCE)
    each = ", ".join(f"{value:.1f}" for value in values)
    return f"{values.mean():.1f} [{low:.1f}, {high:.1f}] ({each})"


def show_difference(ours: tuple[Float64, Float64], base: tuple[Float64, Float64]) -> str:
    """Return the mean difference, its interval over sentences, and that over seeds."""
    differences = ours[0] - base[0]
    low, high = interval((ours[1] - base[1]).mean(axis=0), CONFIDENCE)
    text = f"{differences.mean():+.1f} [{low:+.1f}, {high:+.1f}]"
    if len(differences) in STUDENT_T:
        deviation = differences.std(ddof=1) / math.sqrt(len(differences))
        text += f"; seeds ±{STUDENT_T[len(differences)] * deviation:.1f}"
    return text


def overfitting(work: Path, system: str, seeds: Sequence[int], level: str) -> str:
    """Return the level's validation loss at its best and at the end, mean over seeds."""
    best, last = [], []
    for seed in seeds:
        curves = read_curves(cell_directory(work, system, seed) / "model" / TRAINING_DIRECTORY)
        for direction in level_directions(level):
            losses = [validation.nll for validation in curves.validation[direction]]
            best.append(min(losses))
            last.append(losses[-1])
    return f"{statistics.mean(best):.3f}, {statistics.mean(last):.3f}"


if __name__ == "__main__":
    main()
