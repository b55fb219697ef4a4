"""Run fastText in a child process: it prints, may crash, and needs its own environment."""

from __future__ import annotations

import importlib.util
import os
import re
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpus.console import Progress
from corpus.errors import JobError, UserError
from corpus.files import write_json
from lid.config import TrainConfig
from lid.directory import MODEL_FILE

_PROGRESS = re.compile(rb"Progress:\s+([\d.]+)%")
_FLOAT_BYTES = 4
_POLL_SECONDS = 0.5


def check_installed(purpose: str = "training") -> None:
    """Fail before the work starts if fastText is not installed.

    Raises:
        UserError: If fastText is not installed.
    """
    if any(importlib.util.find_spec(name) is None for name in ("fasttext", "fasttext_pybind")):
        raise UserError(
            f"{purpose} needs fastText, which is not installed: run `pip install '.[lid]'` in a"
            " clone of the project, or install the package `fasttext`."
        )


def fit_in_subprocess(workspace: Path, classes: int, config: TrainConfig) -> None:
    """Train on `workspace/train.txt` into `workspace/model.bin`.

    Raises:
        JobError: If fastText failed, or wrote less than a whole model.
    """
    buckets = min(config.max_buckets, config.buckets_per_class * classes)
    _run(
        workspace,
        {
            "action": "fit",
            "training_file": str(workspace / "train.txt"),
            "model_file": str(workspace / MODEL_FILE),
            "dim": config.dim,
            "min_ngram": config.min_ngram,
            "max_ngram": config.max_ngram,
            "buckets": buckets,
            "learning_rate": config.learning_rate,
            "epochs": config.epochs,
            "threads": 1 if config.reproducible else config.threads,
            "seed": config.seed,
            "word_min_count": config.word_min_count,
        },
        _Passes(workspace / "train.txt", 1 + config.epochs) if config.reproducible else None,
    )
    # fastText does not notice a write that fails, and reading a cut model crashes it.
    least = _FLOAT_BYTES * config.dim * (buckets + classes)
    written = (workspace / MODEL_FILE).stat().st_size
    if written < least:
        raise JobError(
            f"{workspace / MODEL_FILE} was cut off at {written:,} of more than {least:,} bytes. Is"
            " the disk full? Make room and run the same command again."
        )


def quantize_in_subprocess(workspace: Path, model_file: Path, quantized_file: Path) -> None:
    """Write the quantized form of a model.

    Raises:
        JobError: If fastText failed.
    """
    settings = {
        "action": "quantize",
        "model_file": str(model_file),
        "quantized_file": str(quantized_file),
    }
    _run(workspace, settings)


def _run(workspace: Path, settings: Mapping[str, Any], passes: _Passes | None = None) -> None:
    write_json(workspace / "settings.json", settings)
    root = str(Path(__file__).resolve().parent.parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        # glibc then hands out zeroed memory, which fastText 0.9.3 forgets to ask for.
        "MALLOC_PERTURB_": "255",
    }
    # Without -P, a `lid.py` in the working directory would be run instead.
    module = "lid.fasttext_model.trainer"
    command = [sys.executable, "-P", "-m", module, str(workspace / "settings.json")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        tail = _follow(process, passes)
    if process.returncode != 0:
        message = tail.decode("utf-8", "replace").strip().rpartition("\n")[2]
        remedy = " Lower learning_rate." if "NaN" in message else ""
        raise JobError(
            f"fastText failed with status {process.returncode} in {workspace}: {message}.{remedy}"
        )


def _follow(process: subprocess.Popen[bytes], passes: _Passes | None) -> bytes:
    """Show how far the child process is; return the end of what it wrote."""
    assert process.stderr is not None
    tail = b""
    done = 0
    with Progress(100, "training", "%") as progress:
        while True:
            percent = 0
            if select.select([process.stderr], [], [], _POLL_SECONDS)[0]:
                chunk = os.read(process.stderr.fileno(), 4096)
                if not chunk:
                    return tail
                tail = (tail + chunk)[-4096:]
                if shown := _PROGRESS.findall(tail):
                    percent = int(float(shown[-1]))
            if passes is not None:
                percent = max(percent, passes.percent(process.pid))
            if percent > done:
                progress.update(percent - done)
                done = percent


class _Passes:
    """How much of its passes over a file a process has read, from Linux's `/proc`.

    fastText prints no progress when it trains with one thread. It reads the training file once for
    the dictionary, then once an epoch.
    """

    def __init__(self, file: Path, number: int) -> None:
        self._file, self._number = file.resolve(), number
        self._size = max(file.stat().st_size, 1)
        self._finished = 0
        self._last = 0

    def percent(self, process: int) -> int:
        """Return how much is done, at most 99; 0 where that cannot be seen."""
        place = self._place(Path("/proc") / str(process))
        if place is not None:
            self._finished += place < self._last
            self._last = place
        share = (self._finished + self._last / self._size) / self._number
        return min(int(100 * share), 99)

    def _place(self, process: Path) -> int | None:
        """Return the offset up to which the process has read the file, if it has it open."""
        try:
            for link in (process / "fd").iterdir():
                if link.readlink() == self._file:
                    position = (process / "fdinfo" / link.name).read_text().split()[1]
                    return int(position)
        except OSError:  # no such system, or the process or the descriptor is gone
            return None
        return None
