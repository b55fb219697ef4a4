"""Training of a language identifier: labelled text to a model directory, as one job."""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from corpus.console import Progress
from corpus.errors import JobError
from corpus.files import atomic_path, make_directory, write_json, write_lines
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import NO_LANGUAGE
from lid.calibrate import calibrate
from lid.config import TrainConfig
from lid.data import crop, draw, labelled_files, read_labelled, sample_sizes, split_validation
from lid.model import (
    CHECKSUMS_FILE,
    LANGUAGES_FILE,
    MODEL_FILE,
    THRESHOLDS_FILE,
    LanguageIdentifier,
    load_binding,
    write_checksums,
)
from lid.noise import generate_noise

logger = logging.getLogger(__name__)

_PROGRESS = re.compile(rb"Progress:\s+([\d.]+)%")
_LISTED_CONFUSIONS = 8
_FLOAT_BYTES = 4


def train(data: Path, output: Path, config: TrainConfig) -> Summary:
    """Train an identifier on `data/<language>.txt[.gz|.zst]` into the directory `output`.

    Raises:
        UserError: If `data` holds no labelled text, or `output` another model.
        JobError: If fastText failed.
    """
    files = labelled_files(data)
    task = Task(name="model", inputs=tuple(files.values()), arguments={"classes": sorted(files)})
    work = functools.partial(train_model, files=files, output=output, config=config)
    return run_job(name="train", tasks=[task], work=work, output=output, config=config)


def train_model(
    task: Task, *, files: Mapping[str, Path], output: Path, config: TrainConfig
) -> Outcome:
    """Do the one task of `train`."""
    text = read_labelled(files)
    training, validation = _split(text.lines, config)
    sizes = sample_sizes(
        {name: len(lines) for name, lines in training.items()},
        config.sampled_lines,
        config.sampling_temperature,
        config.max_repeats,
    )
    if config.noise and NO_LANGUAGE not in files:
        sizes[NO_LANGUAGE] = round(sum(sizes.values()) / len(sizes))
        _add_noise(training, validation, sizes[NO_LANGUAGE], config)
    logger.info(
        "%d classes, %s lines drawn from %s an epoch, %s held out",
        len(training),
        f"{sum(sizes.values()):,}",
        f"{sum(map(len, training.values())):,}",
        f"{sum(map(len, validation.values())):,}",
    )
    workspace = _make_workspace(output)
    (output / CHECKSUMS_FILE).unlink(missing_ok=True)
    _write_training_file(workspace / "train.txt", training, sizes, config)
    _run_trainer(workspace, len(training), config)
    with atomic_path(output / MODEL_FILE) as temporary:
        (workspace / MODEL_FILE).replace(temporary)
    shutil.rmtree(workspace)
    identifier = LanguageIdentifier(load_binding(output / MODEL_FILE), dict.fromkeys(training, 0.0))
    calibration = calibrate(identifier, validation, config)
    _log_confusions(calibration.confusions)
    write_lines(
        output / THRESHOLDS_FILE,
        ["language\tthreshold", *(f"{n}\t{t:.4f}" for n, t in calibration.thresholds.items())],
    )
    header = "language\tlines\tdrawn\tvalidation\tvalidation_recall"
    rows = [
        f"{name}\t{len(training[name])}\t{sizes[name]}\t{len(validation[name])}"
        f"\t{calibration.recall[name]:.4f}"
        for name in training
    ]
    write_lines(output / LANGUAGES_FILE, [header, *rows])
    write_checksums(output)
    names = (MODEL_FILE, THRESHOLDS_FILE, LANGUAGES_FILE, CHECKSUMS_FILE)
    return Outcome(
        counts={**text.counts, "drawn": sum(sizes.values())},
        outputs=tuple(output / name for name in names),
    )


def _make_workspace(output: Path) -> Path:
    """Make a directory of this process's own, and remove those that killed runs left.

    A trainer that outlived its killed parent then finds its directory gone, and cannot write into
    this run's.
    """
    for left in output.glob("training-*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    workspace = output / f"training-{os.getpid()}.tmp"
    make_directory(workspace)
    return workspace


def _split(
    lines: Mapping[str, Sequence[str]], config: TrainConfig
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    training: dict[str, list[str]] = {}
    validation: dict[str, list[str]] = {}
    for name, own in lines.items():
        training[name], validation[name] = split_validation(
            own, config.validation_share, config.max_validation_lines
        )
    return training, validation


def _add_noise(
    training: dict[str, list[str]],
    validation: dict[str, list[str]],
    number: int,
    config: TrainConfig,
) -> None:
    held_out = min(config.max_validation_lines, round(number * config.validation_share))
    material = [line for lines in training.values() for line in lines[:1_000]]
    made = generate_noise(material, number + held_out, config.seed)
    training[NO_LANGUAGE], validation[NO_LANGUAGE] = made[:number], made[number:]


def _write_training_file(
    path: Path,
    training: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
    config: TrainConfig,
) -> None:
    """Write the drawn, cropped and shuffled lines of all classes."""
    examples: list[str] = []
    for index, (name, lines) in enumerate(training.items()):
        generator = np.random.default_rng([config.seed, index])
        drawn = draw(lines, sizes[name], generator)
        drawn = crop(drawn, config.crop_share, config.max_crop_words, generator)
        examples += [f"__label__{name} {line}" for line in drawn]
    order = np.random.default_rng([config.seed, len(training)]).permutation(len(examples))
    write_lines(path, (examples[i] for i in order))


def _run_trainer(workspace: Path, classes: int, config: TrainConfig) -> None:
    """Train in a subprocess, since fastText prints, crashes and needs its own environment."""
    buckets = min(config.max_buckets, config.buckets_per_class * classes)
    settings = {
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
    }
    write_json(workspace / "settings.json", settings)
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        # glibc then hands out zeroed memory, which fastText 0.9.3 forgets to ask for.
        "MALLOC_PERTURB_": "255",
    }
    command = [sys.executable, "-m", "lid.trainer", str(workspace / "settings.json")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        tail = _follow(process)
    if process.returncode != 0:
        message = tail.decode("utf-8", "replace").strip().rpartition("\n")[2]
        remedy = " Lower learning_rate." if "NaN" in message else ""
        raise JobError(
            f"fastText failed with status {process.returncode} while training in {workspace}:"
            f" {message}.{remedy}"
        )
    # fastText does not notice a write that fails, and reading a cut model crashes it.
    least = _FLOAT_BYTES * config.dim * (buckets + classes)
    written = (workspace / MODEL_FILE).stat().st_size
    if written < least:
        raise JobError(
            f"{workspace / MODEL_FILE} was cut off at {written:,} of more than {least:,} bytes. Is"
            " the disk full? Make room and run the same command again."
        )


def _follow(process: subprocess.Popen[bytes]) -> bytes:
    """Show fastText's progress; return the end of what it wrote."""
    assert process.stderr is not None
    tail = b""
    done = 0
    with Progress(100, "training", "%") as progress:
        while chunk := os.read(process.stderr.fileno(), 4096):
            tail = (tail + chunk)[-4096:]
            shown = _PROGRESS.findall(tail)
            if shown and int(float(shown[-1])) > done:
                progress.update(int(float(shown[-1])) - done)
                done = int(float(shown[-1]))
    return tail


def _log_confusions(confusions: Counter[tuple[str, str]]) -> None:
    for (language, answer), count in confusions.most_common(_LISTED_CONFUSIONS):
        logger.info("validation: %s taken for %s, %d lines", language, answer, count)
