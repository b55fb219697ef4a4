"""Part 6: `tongues nmt train` on the device, alone, under FSDP2 and with expert parallelism.

One process each, so that NCCL, sharding and the exchange of tokens run; after a few updates the
weights must be those that a CPU makes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from harness import Setting
from safetensors.numpy import load_file

from corpus.constructed.generate import ConstructedWorld
from corpus.files import write_lines

ROOT = Path(__file__).resolve().parents[2]
SOURCE, TARGET = "qaa_Latn", "qac_Cyrl"
PAIRS, UPDATES = 600, 5
LIMIT = 1e-3
MODES = {
    "one process": {"mode": "ddp"},
    "FSDP2": {"mode": "fsdp"},
    "expert parallelism": {"mode": "fsdp", "expert_parallel": True},
}


def run(setting: Setting) -> None:
    """Train in all ways and compare weights."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_data(work)
        expected = weights(train(setting, work, "cpu", MODES["one process"], on_cpu=True))
        for name, parallel in MODES.items():
            output = train(setting, work, name.replace(" ", "-"), parallel, on_cpu=False)
            found = weights(output)
            worst = max(
                float(np.linalg.norm(found[key] - value) / max(np.linalg.norm(value), 1e-6))
                for key, value in expected.items()
            )
            setting.record(
                f"`nmt train`, {name}, {UPDATES} updates: weights", worst, "relative difference",
                limit=LIMIT,
            )  # fmt: skip


def make_data(work: Path) -> None:
    """Write bitext, a vocabulary and a recipe without anything random in training."""
    pairs = ConstructedWorld(1, 1.0).say_nested(PAIRS, {TARGET: PAIRS})[TARGET]
    write_lines(work / "bitext" / f"{SOURCE}-{TARGET}.tsv", [f"{a}\t{b}" for a, b in pairs])
    recipe = {
        "vocabulary": str(work / "vocabulary"), "bitext": {"primary": str(work / "bitext")},
        "model": {"size": "tiny", "expert_output_masking_p": 0.0},
        "batches": {"max_tokens": 1000}, "updates": UPDATES, "report_every": 1, "threads": 1,
        "optimizer": {"warmup_updates": 2}, "validate_every": UPDATES,
        "checkpoint_every": UPDATES,
        "compute": {"tensorboard": False, "precision": "fp32", "peak_teraflops": 1.0},
    }  # fmt: skip
    (work / "train.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    tongues = [sys.executable, "-P", "-m", "tongues"]
    call([*tongues, "nmt", "vocabulary", "--bitext", str(work / "bitext"), "--output",
          str(work / "vocabulary"), "--config", "size=400"], on_cpu=True)  # fmt: skip


def train(
    setting: Setting, work: Path, name: str, parallel: dict[str, object], *, on_cpu: bool
) -> Path:
    """Train with torchrun, one process; return the output directory."""
    recipe = yaml.safe_load((work / "train.yaml").read_text(encoding="utf-8"))
    recipe["parallel"] = parallel
    path = work / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    call([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1",
          "--no-python", sys.executable, "-P", "-m", "tongues", "nmt", "train",
          "--config-file", str(path), "--output", str(work / name)],
         on_cpu=on_cpu or not setting.is_gpu)  # fmt: skip
    return work / name


def call(command: list[str], *, on_cpu: bool) -> None:
    """Run a command of this project; its words are shown if it fails."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    if on_cpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{json.dumps(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def weights(output: Path) -> dict[str, np.ndarray]:
    """Return a model's weights by name."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(output.glob("model*.safetensors")):
        found |= load_file(path)
    if not found:
        raise FileNotFoundError(f"{output}: no weights")
    return found
