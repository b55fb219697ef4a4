"""Full fine-tuning and LoRA of NLLB-200's shapes on a CPU: updates, resuming, export, memory.

    python benchmarks/fine_tuning_memory.py --work DIR [--size 600m] [--modes lora,full]

A random model of the named size, with its vocabulary of 256,206 tokens, is trained on random words
for ten updates, killed after the fifth, resumed, and exported to transformers. Each step is a
process of its own; its peak is what Linux says of it (VmHWM). Beside it stands what `tongues nmt
describe` estimates for such an update on a CPU, libraries included. The batch is small, which makes
hardly a difference beside the weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

UPDATES, KILLED_AFTER = 10, 5
TOKENS, MAX_TOKENS, MAX_LENGTH = 256_206, 80, 32
DIRECTION = ("qaa_Latn", "qab_Latn")
GIGABYTE = 1e9
MODES = {"full": [], "lora": ["--config", "lora.rank=16", "--config", "lora.also=[]"]}
TONGUES = [sys.executable, "-P", str(Path(__file__).parent.parent / "tongues.py")]


def main() -> None:
    """Run every step, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--size", default="600m")
    parser.add_argument("--modes", default="lora,full")
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work: Path = arguments.work
    if arguments.write:
        write_model(work, arguments.size)
        return
    if not (work / "model" / "model.json").exists():
        command = [sys.executable, __file__, "--work", str(work), "--size", arguments.size]
        subprocess.run([*command, "--write"], check=True)
    print(
        "| training | step | peak GB | estimated GB | wall s |\n|---|---|---|---|---|", flush=True
    )
    for mode in arguments.modes.split(","):
        output = work / mode
        shutil.rmtree(output, ignore_errors=True)
        estimate = f"{estimated(arguments.size, mode) / GIGABYTE:.2f}"
        train = train_command(work, mode)
        row(mode, f"{KILLED_AFTER} updates, killed", *watch(train, output), estimate)
        row(mode, f"resumed to {UPDATES}", *watch(train), estimate)
        export = ["nmt", "export", "--model", str(output), "--to", "transformers"]
        row(mode, "export", *watch([*export, "--output", str(work / f"{mode}-exported")]), "")
        weights = sum(f.stat().st_size for f in (work / f"{mode}-exported").glob("*.safetensors"))
        assert weights == (work / "model" / "model.safetensors").stat().st_size or weights > 0
        shutil.rmtree(output)
        shutil.rmtree(work / f"{mode}-exported")


def row(mode: str, step: str, peak: int, seconds: float, estimate: str) -> None:
    """Print a row."""
    print(f"| {mode} | {step} | {peak / GIGABYTE:.2f} | {estimate} | {seconds:.0f} |", flush=True)


def train_command(work: Path, mode: str) -> list[str]:
    """Return the training of a mode."""
    settings = {
        "start_from": work / "model", "bitext.primary": work / "bitext", "updates": UPDATES,
        "checkpoint_every": KILLED_AFTER, "report_every": 1, "validate_every": UPDATES,
        "batches.max_tokens": MAX_TOKENS, "batches.max_length": MAX_LENGTH, "threads": 1,
        "compute.peak_teraflops": 0.05, "compute.tensorboard": "false",
    }  # fmt: skip
    pairs = [part for key, value in settings.items() for part in ("--config", f"{key}={value}")]
    return ["nmt", "train", "--output", str(work / mode), *pairs, *MODES[mode]]


def watch(command: list[str], killed_with: Path | None = None) -> tuple[int, float]:
    """Run a command, and return its peak memory in bytes and its wall seconds.

    Args:
        command: Of `tongues`.
        killed_with: Model directory; the process is killed once a checkpoint is there.
    """
    from nmt.training.directory import TRAINING_DIRECTORY, last_update

    begin = time.monotonic()
    peak = 0
    with subprocess.Popen([*TONGUES, *command]) as process:
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            except ProcessLookupError:
                break
            found = re.search(r"VmHWM:\s*(\d+)", status)
            peak = max(peak, 1024 * int(found[1]) if found else 0)
            if killed_with and last_update(killed_with / TRAINING_DIRECTORY) >= KILLED_AFTER:
                process.kill()
                process.wait()
                return peak, time.monotonic() - begin
            time.sleep(0.1)
    assert process.returncode == 0, f"exit {process.returncode}: {' '.join(command)}"
    assert killed_with is None, "it ended before it could be killed"
    return peak, time.monotonic() - begin


def estimated(size: str, mode: str) -> int:
    """Return the peak that an update is estimated to need on a CPU, in bytes."""
    import torch

    from nmt.model.config import named_config
    from nmt.model.translator import create_model
    from nmt.sizing.config import LayoutConfig
    from nmt.sizing.memory import estimate_memory, limit_training

    rank = 16 if mode == "lora" else 0
    layout = LayoutConfig(device="cpu", max_tokens=MAX_TOKENS, lora_rank=rank)
    config = dataclasses.replace(named_config(size), vocab_size=TOKENS)
    with torch.device("meta"):
        model = create_model(config)
        limit_training(model, layout)
    return estimate_memory(model, config, layout).peak


def write_model(work: Path, size: str) -> None:
    """Write bitext and a random model whose vocabulary is as large as NLLB-200's."""
    import torch

    from corpus.files import write_json, write_lines
    from corpus.languages import Direction
    from nmt.model.config import named_config
    from nmt.model.directory import save_model
    from nmt.model.translator import create_model
    from nmt.vocabulary.config import VocabularyConfig
    from nmt.vocabulary.new_pieces import NewPiece, append_pieces
    from nmt.vocabulary.train import train_vocabulary
    from nmt.vocabulary.vocabulary import LAYOUT_FILE, MODEL_FILE, Vocabulary

    chooser = random.Random(1)
    words = ["".join(chooser.choices("abdegiklmnorstu", k=5)) for _ in range(400)]
    lines = [" ".join(chooser.choices(words, k=8)) for _ in range(2000)]
    write_lines(work / "bitext" / f"{'-'.join(DIRECTION)}.tsv", [f"{x}\t{x}" for x in lines])
    folder = work / "vocabulary"
    train_vocabulary([work / "bitext"], folder, VocabularyConfig(size=1000))
    vocabulary = Vocabulary.load(folder)
    # In a script that the text does not have, so that they are there and never used.
    unused = [NewPiece(f"\u0561{number}", (), ()) for number in range(TOKENS - vocabulary.size)]
    pieces = append_pieces((folder / MODEL_FILE).read_bytes(), unused)
    vocabulary = vocabulary.extended(pieces, [])
    (folder / MODEL_FILE).write_bytes(pieces)
    write_json(folder / LAYOUT_FILE, vocabulary.layout())
    assert vocabulary.size == TOKENS
    config = dataclasses.replace(
        named_config(size), vocab_size=TOKENS, pad_idx=vocabulary.pad_index
    )
    torch.manual_seed(1)
    model = create_model(config).eval()
    save_model(work / "model", model, config, folder, [Direction(*DIRECTION)])
    print(json.dumps({"parameters": sum(p.numel() for p in model.parameters())}), os.getpid())


if __name__ == "__main__":
    main()
