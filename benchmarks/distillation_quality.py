"""What a small dense student gains from a teacher with experts, on constructed languages.

    python benchmarks/distillation_quality.py --work DIR

Languages, sentences and scores are those of `moe_ablation.py`, with more pairs and a learning rate
that falls to 0. The students differ in nothing but what they learn from: the bitext; the bitext and
the teacher's distribution over each next token; the teacher's translations of the bitext's sources.
What is done is kept.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from pathlib import Path

import moe_ablation as ablation
import torch

from corpus.files import read_json, write_json
from nmt.translation.decoding.config import DistillBitextConfig
from nmt.translation.distill import distill_bitext

PAIRS = {
    "high": {"qac_Cyrl": 6000, "qae_Deva": 6000},
    "low": {"qag_Cyrl": 500, "qah_Arab": 500},
    "very_low": {"qab_Latn": 100, "qai_Deva": 100},
}
UPDATES = 3000
TEACHER_MODEL = {
    "num_experts": 8,
    "model_dim": 128,
    "ffn_inner_dim": 256,
    "expert_output_masking_p": 0.0,
    "num_encoder_attn_heads": 4,
    "num_decoder_attn_heads": 4,
}
STUDENT_MODEL = {"num_experts": 0, "model_dim": 64, "ffn_inner_dim": 128}
LEARNING_RATES = {"teacher": 0.002, "student": 0.003}
TEACHER, ALONE, WORD, SEQUENCE = "teacher", "alone", "word-level", "sequence-level"
STUDENTS = (ALONE, WORD, SEQUENCE)
TEACHER_SEED = 1


def main() -> None:
    """Train students and print how they compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--students", default=",".join(STUDENTS))
    parser.add_argument("--seeds", default="1")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(1)
    work, students = arguments.work, arguments.students.split(",")
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    ablation.write_data(work, PAIRS)
    train_cell(work, TEACHER, TEACHER_SEED)
    seconds = distill_all(work)
    for seed in seeds:
        for student in students:
            train_cell(work, student, seed)
    print(f"Translating the sources took {seconds:.0f} CPU s.\n")
    print_table(work, students, seeds)


def distill_all(work: Path) -> float:
    """Translate the sources of all pairs with the teacher; return the CPU seconds it took."""
    record = work / "distilled.json"
    if not record.exists():
        begin = time.process_time()
        distill_bitext(
            teacher_directory(work),
            work / "data" / "bitext",
            (),
            work / "distilled",
            DistillBitextConfig(threads=1, beam_size=ablation.BEAM_SIZE),
        )
        write_json(record, {"seconds": time.process_time() - begin})
    return float(read_json(record)["seconds"])


def teacher_directory(work: Path) -> Path:
    """Return the teacher's model."""
    return ablation.cell_directory(work, TEACHER, TEACHER_SEED) / "model"


def train_cell(work: Path, name: str, seed: int) -> None:
    """Train and translate the teacher or a student unless it is done."""
    cell = ablation.cell_directory(work, name, seed)
    if (cell / "result.json").exists():
        return
    role = TEACHER if name == TEACHER else "student"
    recipe = ablation.make_recipe(work, TEACHER_MODEL if role == TEACHER else STUDENT_MODEL, seed)
    recipe["updates"] = UPDATES
    recipe["batches"] = {"max_tokens": 600, "max_length": 64, "temperature": 5.0}
    recipe["optimizer"] = {
        "learning_rate": LEARNING_RATES[role],
        "warmup_updates": 100,
        "schedule": "linear",
    }
    if name == WORD:
        recipe["distillation"] = {"teacher": str(teacher_directory(work))}
    if name == SEQUENCE:
        recipe["bitext"] = {"distilled": str(work / "distilled")}
    ablation.train_and_translate(work, cell, recipe)


def print_table(work: Path, students: list[str], seeds: list[int]) -> None:
    """Print chrF++ by level of teacher and students, and differences from the one alone."""
    rows = [(TEACHER, [TEACHER_SEED]), *((student, seeds) for student in students)]
    scores = {name: ablation.system_scores(work, name, own) for name, own in rows}
    print("| model | parameters | active | CPU s | high | low | very low |\n|" + "---|" * 7)
    for name, own in rows:
        cells = [ablation.cell_directory(work, name, seed) for seed in own]
        results = [read_json(cell / "result.json") for cell in cells]
        cost = statistics.mean(r["train_seconds"] + r["translate_seconds"] for r in results)
        counts = f"{results[0]['total_parameters']:,} | {results[0]['active_parameters']:,}"
        columns = " | ".join(ablation.show(*scores[name][level]) for level in ablation.PAIRS)
        print(f"| {name} | {counts} | {cost:.0f} | {columns} |")
    print(f"\n| against {ALONE} | high | low | very low |\n|" + "---|" * 4)
    for name in students:
        if name != ALONE:
            columns = " | ".join(
                ablation.show_difference(scores[name][level], scores[ALONE][level])
                for level in ablation.PAIRS
            )
            print(f"| {name} | {columns} |")


if __name__ == "__main__":
    main()
