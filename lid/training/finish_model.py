"""From a trained model file to a model directory: profiles, calibration, thresholds, report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from corpus.console import Progress
from corpus.files import atomic_path, write_text
from lid.config import CalibrationConfig, TrainConfig, group_codes
from lid.directory import (
    CHECKSUMS_FILE,
    FAMILIARITY_FILE,
    MODEL_FILE,
    MODEL_FILES,
    PROFILES_FILE,
    QUANTIZED_FILE,
    SPECIAL_CLASSES,
    THRESHOLDS_FILE,
    ModelDescription,
    write_checksums,
    write_description,
    write_thresholds,
)
from lid.engine.engines import FastTextEngine, known_script
from lid.engine.familiarity import build_profile, smooth_spreads, typical_rows, write_typical_lines
from lid.engine.numpy_preparation import prepare_many
from lid.engine.weights import (
    can_compile,
    can_scale_output,
    save_array,
    scale_output,
    write_weights,
)
from lid.fasttext_model.model_file import LABEL_PREFIX, read_fasttext_file
from lid.fasttext_model.subprocess_trainer import quantize_in_subprocess
from lid.identifier import LanguageIdentifier
from lid.measuring.scores import score_languages
from lid.training.calibration import (
    HeldOut,
    Reliability,
    choose_familiarity,
    choose_temperature,
    choose_thresholds,
    measure_reliability,
    predict_held_out,
    trace_thresholds,
)
from lid.training.report_page import training_page

REPORT_FILE = "report.html"
_LISTED_CONFUSIONS = 40
_QUANTIZED_SAMPLE = 60
"""Held-out lines a class on which the quantized model is compared."""


def write_profiles(
    training: Mapping[str, Sequence[str]], output: Path, config: TrainConfig
) -> None:
    """Write the familiarity profile of each class, in the order of the model's labels."""
    labels = model_classes(output)
    profiles = np.zeros((len(labels), (1 << config.profile_bits) // 8), np.uint8)
    measured = {}
    with Progress(len(labels), "profiles", "classes") as progress:
        for number, name in enumerate(labels):
            if name not in SPECIAL_CLASSES:
                lines = training[name][: config.profile_lines]
                profiles[number], typical, lines_read = build_profile(lines, config.profile_bits)
                measured[name] = (typical, lines_read)
            progress.update()
    save_array(output / PROFILES_FILE, profiles)
    write_typical_lines(output / FAMILIARITY_FILE, smooth_spreads(measured))


def model_classes(directory: Path) -> list[str]:
    """Return the classes of a trained model in the order of its labels."""
    labels = read_fasttext_file(directory / MODEL_FILE).labels
    return [label.removeprefix(LABEL_PREFIX) for label in labels]


def write_model(model_file: Path, output: Path, temperature: float) -> None:
    """Put a model file with a temperature, and its int8 form, into a directory."""
    scale_output(model_file, output / MODEL_FILE, 1 / temperature)
    if can_compile(read_fasttext_file(output / MODEL_FILE)):
        write_weights(output / MODEL_FILE, output)
    write_description(output, ModelDescription(temperature=temperature))


def open_unchecked(directory: Path) -> LanguageIdentifier:
    """Open a directory that is being written, without thresholds and checksums."""
    write_thresholds(directory / THRESHOLDS_FILE, {})
    return LanguageIdentifier.load(directory, verify=False)


def calibrate_directory(
    directory: Path,
    held_out: Mapping[str, Sequence[str]],
    config: CalibrationConfig,
    place: Callable[[float], None],
) -> tuple[HeldOut, dict[str, Any]]:
    """Choose temperature and thresholds on held-out lines and write them into a directory.

    Args:
        directory: Holds the model with its present temperature.
        held_out: Lines by class that the model has not learned from.
        config: What thresholds shall reach.
        place: Called with the temperature; puts the model so tempered into the directory.

    Returns:
        The held-out lines' probabilities afterwards, and the `calibration` and `threshold_curve`
        of the report.
    """
    held = predict_held_out(open_unchecked(directory), held_out)
    temperature = choose_temperature(held) if can_scale_output(directory / MODEL_FILE) else 1.0
    before = measure_reliability(held)
    place(temperature)
    identifier = open_unchecked(directory)
    held = predict_held_out(identifier, held_out)
    after = measure_reliability(held)
    thresholds = choose_thresholds(held, config)
    if config.rejected_share:
        needs = choose_familiarity(identifier, held_out, config.rejected_share)
        thresholds |= {name: replace(thresholds[name], familiarity=needs[name]) for name in needs}
    write_thresholds(directory / THRESHOLDS_FILE, thresholds)
    report = {
        "calibration": {
            "temperature": temperature,
            "before": _reliability(before),
            "after": _reliability(after),
        },
        "threshold_curve": trace_thresholds(held),
    }
    return held, report


def _reliability(one: Reliability) -> dict[str, Any]:
    return {"ece": one.ece, "bins": list(one.bins)}


def remove_model_files(directory: Path) -> None:
    """Remove the files of a model, the checksums first: what is then written is all there is."""
    for name in (CHECKSUMS_FILE, *MODEL_FILES):
        (directory / name).unlink(missing_ok=True)


def record_checksums(directory: Path) -> tuple[Path, ...]:
    """Write the checksums, last of all; return the files of the model."""
    names = [name for name in MODEL_FILES if (directory / name).is_file()]
    write_checksums(directory, names)
    return tuple(directory / name for name in [*names, CHECKSUMS_FILE])


def quantize(
    workspace: Path, output: Path, held_out: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Write `model.ftz` and compare it with `model.bin` on held-out lines."""
    quantize_in_subprocess(workspace, output / MODEL_FILE, workspace / QUANTIZED_FILE)
    with atomic_path(output / QUANTIZED_FILE) as temporary:
        shutil.move(workspace / QUANTIZED_FILE, temporary)
    sample = {name: lines[:_QUANTIZED_SAMPLE] for name, lines in held_out.items() if lines}
    whole, small = (_macro_f1(output / name, sample) for name in (MODEL_FILE, QUANTIZED_FILE))
    return {
        "bytes": (output / QUANTIZED_FILE).stat().st_size,
        "f1": small,
        "f1_loss": whole - small,
    }


def _macro_f1(model_file: Path, lines: Mapping[str, Sequence[str]]) -> float:
    from lid.fasttext_model.bindings import FastTextModel

    model = FastTextModel(model_file)
    classes = [label.removeprefix(LABEL_PREFIX) for label in model.labels]
    scripts = [known_script(name) for name in classes]
    engine = FastTextEngine(model, scripts, None, typical_rows(classes, {}), prepare_many)
    answers: dict[tuple[str, str], int] = {}
    for name, own in lines.items():
        for label in engine.identify(own).labels[:, 0].tolist():
            pair = (name, classes[label] if label >= 0 else "und")
            answers[pair] = answers.get(pair, 0) + 1
    scores = score_languages(answers, sorted(lines))
    return sum(float(one["f1"]) for one in scores.values()) / max(len(scores), 1)


def write_report(
    output: Path,
    held: HeldOut,
    parts: Mapping[str, Any],
    languages: Sequence[Mapping[str, Any]],
    counts: Mapping[str, int],
    groups: Sequence[str],
) -> None:
    """Write the training report."""
    listed = [
        {"language": language, "answer": answer, "count": count}
        for (language, answer), count in held.count_answers().most_common()
        if language != answer
    ][:_LISTED_CONFUSIONS]
    summary = {
        "languages": languages,
        "confusions": listed,
        "groups": _group_matrices(held, groups),
        "counts": counts,
        **parts,
    }
    write_text(output / REPORT_FILE, training_page(summary))


def language_rows(
    held: HeldOut,
    training: Mapping[str, Sequence[str]],
    drawn: Mapping[str, int],
    held_out: Mapping[str, Sequence[str]],
    thresholds: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return a row for each class: its lines, scores (nan without lines) and threshold."""
    scores = score_languages(held.count_answers(), held.classes)
    return [
        {
            "language": name,
            "lines": len(lines),
            "drawn": drawn[name],
            "validation": len(held_out[name]),
            "recall": scores[name]["recall"] if scores[name]["n"] else float("nan"),
            "f1": scores[name]["f1"] if scores[name]["n"] else float("nan"),
            "threshold": thresholds[name].score,
        }
        for name, lines in training.items()
    ]


def _group_matrices(held: HeldOut, groups: Sequence[str]) -> list[dict[str, Any]]:
    answers = held.count_answers()
    matrices = []
    for group in groups:
        members = [code for code in group_codes(group) if code in held.classes]
        if len(members) > 1:
            matrix = [[answers[true, answer] for answer in members] for true in members]
            matrices.append({"name": ", ".join(members), "languages": members, "matrix": matrix})
    return matrices
