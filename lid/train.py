"""`tongues lid train`: labeled text to a model directory, as one job."""

from __future__ import annotations

import functools
import logging
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpus.files import make_directory, write_lines
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import NO_LANGUAGE
from lid.config import TrainConfig
from lid.directory import (
    LANGUAGES_FILE,
    MODEL_FILE,
    THRESHOLDS_FILE,
    read_thresholds,
    refuse_other_model,
)
from lid.engine.kernel import is_compiled
from lid.fasttext_model.subprocess_trainer import check_installed, fit_in_subprocess
from lid.labeled_text import joined_files
from lid.training.data import (
    crop,
    draw,
    read_labeled,
    sample_sizes,
    split_validation,
    strip_diacritics,
)
from lid.training.finish_model import (
    REPORT_FILE,
    calibrate_directory,
    language_rows,
    quantize,
    record_checksums,
    remove_model_files,
    write_model,
    write_profiles,
    write_report,
)
from lid.training.fit import fit_compiled
from lid.training.noise import generate_noise

logger = logging.getLogger(__name__)

_LISTED_CONFUSIONS = 8


def train(data: Path | Sequence[Path], output: Path, config: TrainConfig) -> Summary:
    """Train an identifier on `data/<language>.txt[.gz|.zst]` into the directory `output`.

    Of several directories, the text of a language is that of all.

    Raises:
        UserError: If fastText is not installed, `data` holds no labeled text, or `output` another
            model.
        JobError: If fastText failed.
    """
    check_installed()
    refuse_other_model(output, "train")
    files = joined_files([data] if isinstance(data, Path) else data)
    inputs = tuple(path for own in files.values() for path in own)
    task = Task(name="model", inputs=inputs, arguments={"classes": sorted(files)})
    work = functools.partial(train_model, files=files, output=output, config=config)
    return run_job(name="train", tasks=[task], work=work, output=output, config=config)


def train_model(
    task: Task, *, files: Mapping[str, Sequence[Path]], output: Path, config: TrainConfig
) -> Outcome:
    """Train the model: the one task of the job."""
    text = read_labeled(files)
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
    remove_model_files(output)
    lines, labels = _draw_lines(training, sizes, config)
    if is_compiled() and not config.word_min_count:
        fit_compiled(workspace / MODEL_FILE, lines, labels, list(training), config)
    else:
        names = [f"__label__{name}" for name in training]
        examples = (f"{names[label]} {line}" for label, line in zip(labels, lines, strict=True))
        write_lines(workspace / "train.txt", examples)
        fit_in_subprocess(workspace, len(training), config)
    counts = {**text.counts, "drawn": sum(sizes.values())}
    _finish(workspace, output, training, validation, sizes, counts, config)
    shutil.rmtree(workspace)
    return Outcome(counts=counts, outputs=(*record_checksums(output), output / REPORT_FILE))


def _finish(
    workspace: Path,
    output: Path,
    training: Mapping[str, Sequence[str]],
    validation: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
    counts: Mapping[str, int],
    config: TrainConfig,
) -> None:
    """Turn the trained model file into a model directory."""
    trained = workspace / MODEL_FILE
    write_model(trained, output, 1.0)
    write_profiles(training, output, config)
    held, parts = calibrate_directory(
        output, validation, config.calibration, functools.partial(write_model, trained, output)
    )
    _log_confusions(held.count_answers())
    rows = language_rows(
        held, training, sizes, validation, read_thresholds(output / THRESHOLDS_FILE)
    )
    header = "language\tlines\tdrawn\tvalidation\tvalidation_recall\tvalidation_f1"
    lines = [
        f"{row['language']}\t{row['lines']}\t{row['drawn']}\t{row['validation']}"
        f"\t{row['recall']:.4f}\t{row['f1']:.4f}"
        for row in rows
    ]
    write_lines(output / LANGUAGES_FILE, [header, *lines])
    parts["quantized"] = quantize(workspace, output, validation) if config.quantize else None
    write_report(output, held, parts, rows, counts, config.calibration.groups)


def _make_workspace(output: Path) -> Path:
    """Make a working directory for this process; remove those of killed runs.

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


def _draw_lines(
    training: Mapping[str, Sequence[str]], sizes: Mapping[str, int], config: TrainConfig
) -> tuple[list[str], NDArray[np.int32]]:
    """Return the drawn, cropped and shuffled lines of all classes, and the class of each."""
    lines: list[str] = []
    for index, (name, own) in enumerate(training.items()):
        generator = np.random.default_rng([config.seed, index])
        drawn = draw(own, sizes[name], generator, config.length_exponent, config.counted_characters)
        drawn = strip_diacritics(drawn, config.strip_share, generator)
        lines += crop(drawn, config.crop_share, config.max_crop_words, generator)
    order = np.random.default_rng([config.seed, len(training)]).permutation(len(lines))
    labels = np.repeat(np.arange(len(training), dtype=np.int32), [sizes[name] for name in training])
    return [lines[i] for i in order.tolist()], labels[order]


def _log_confusions(answers: Counter[tuple[str, str]]) -> None:
    wrong = Counter({pair: count for pair, count in answers.items() if pair[0] != pair[1]})
    for (language, answer), count in wrong.most_common(_LISTED_CONFUSIONS):
        logger.info("validation: %s taken for %s, %d lines", language, answer, count)
