"""Peak memory of exporting, importing and loading a model, beside transformers' way.

    python benchmarks/interop_memory.py --work DIR [--experts 16] [--model-dim 512]

A random model with experts is written as a model directory, exported to transformers' layout, and
imported again; the peer loads what was exported and saves it anew, which is how transformers
converts a checkpoint. Each step is a process of its own; its peak is what Linux says of it (VmHWM,
mapped files included; ru_maxrss would begin with what the parent had), less the peak of a process
that only imports the same modules. Prints both beside the size of the weights, as fp32, and the CPU
seconds.
"""

import argparse
import functools
import json
import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus.console import format_table

_MEGABYTE = 1_000_000


def _write_model(work: Path, num_experts: int, model_dim: int) -> None:
    import dataclasses

    import torch

    from corpus.languages import Direction
    from nmt.model.config import named_config
    from nmt.model.directory import save_model
    from nmt.model.translator import create_model
    from nmt.vocabulary.config import VocabularyConfig
    from nmt.vocabulary.train import train_vocabulary
    from nmt.vocabulary.vocabulary import Vocabulary

    chooser = random.Random(1)
    words = ["".join(chooser.choices("abdegiklmnorstu", k=5)) for _ in range(400)]
    lines = [" ".join(chooser.choices(words, k=8)) for _ in range(2000)]
    bitext = work / "bitext" / "qaa_Latn-qab_Latn.tsv"
    bitext.parent.mkdir(parents=True, exist_ok=True)
    bitext.write_text("".join(f"{line}\t{line}\n" for line in lines), encoding="utf-8")
    train_vocabulary([bitext.parent], work / "vocabulary", VocabularyConfig(size=1000))
    vocabulary = Vocabulary.load(work / "vocabulary")
    config = dataclasses.replace(
        named_config("tiny"),
        num_encoder_layers=6,
        num_decoder_layers=6,
        model_dim=model_dim,
        ffn_inner_dim=4 * model_dim,
        num_experts=num_experts,
        vocab_size=vocabulary.size,
        pad_idx=vocabulary.pad_index,
    )
    torch.manual_seed(1)
    direction = Direction("qaa_Latn", "qab_Latn")
    save_model(work / "model", create_model(config), config, work / "vocabulary", [direction])


def _ours(work: Path) -> None:
    import nmt.interop.export_model
    import nmt.interop.import_model  # noqa: F401  # its imports are the baseline


def _export(work: Path) -> None:
    from nmt.interop.config import ExportConfig
    from nmt.interop.export_model import export_to_transformers

    config = ExportConfig(shard_bytes=200 * _MEGABYTE)
    export_to_transformers(work / "model", work / "exported", config)


def _import(work: Path) -> None:
    from nmt.interop.config import ImportConfig
    from nmt.interop.import_model import import_checkpoint

    import_checkpoint(work / "exported", work / "imported", ImportConfig())


def _load(work: Path) -> None:
    from nmt.model.directory import load_model

    load_model(work / "imported")


def _transformers(work: Path) -> None:
    from transformers import NllbMoeForConditionalGeneration  # noqa: F401  # the baseline


def _resave(work: Path) -> None:
    from transformers import NllbMoeForConditionalGeneration

    model = NllbMoeForConditionalGeneration.from_pretrained(work / "exported")
    model.save_pretrained(work / "resaved", max_shard_size="200MB")


_STEPS: list[tuple[str, Callable[[Path], None], Callable[[Path], None]]] = [
    ("export to transformers", _export, _ours),
    ("import from transformers", _import, _ours),
    ("load for translation", _load, _ours),
    ("transformers: load and save", _resave, _transformers),
]


def _measured(step: Callable[[Path], None], work: Path, queue: Any) -> None:
    begin = time.process_time()
    step(work)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) for line in status.split("\n") if line.startswith("VmHWM"))
    queue.put((1024 * peak, time.process_time() - begin))


def measure(step: Callable[[Path], None], work: Path) -> tuple[int, float]:
    """Return the peak memory in bytes and the CPU seconds of a step in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_measured, args=(step, work, queue))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"{step} failed")
    peak, seconds = queue.get()
    return peak, seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--experts", type=int, default=16)
    parser.add_argument("--model-dim", type=int, default=512)
    arguments = parser.parse_args()
    work: Path = arguments.work
    if not (work / "model" / "model.json").exists():
        write = functools.partial(
            _write_model, num_experts=arguments.experts, model_dim=arguments.model_dim
        )
        measure(write, work)
    size = (work / "model" / "model.safetensors").stat().st_size
    baselines = {base: measure(base, work) for base in (_ours, _transformers)}
    rows = []
    for name, step, base in _STEPS:
        peak, seconds = measure(step, work)
        above = peak - baselines[base][0]
        rows.append(
            [
                name,
                f"{above / _MEGABYTE:,.0f}",
                f"{above / size:.2f}",
                f"{seconds - baselines[base][1]:.1f}",
            ]
        )
    print(f"weights: {size / _MEGABYTE:,.0f} MB; {arguments.experts} experts")
    print(format_table(["step", "MB above imports", "of the weights", "CPU seconds"], rows))
    print(json.dumps({"bytes": size, "rows": rows}))


if __name__ == "__main__":
    main()
