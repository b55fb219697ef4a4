"""`tongues lid calibrate`: copy a model and fit its temperature and thresholds to other text."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from corpus.errors import UserError
from corpus.files import atomic_path, make_directory, read_lines
from corpus.jobs import Outcome, Summary, Task, run_job
from lid.config import CalibrationConfig
from lid.directory import (
    CHECKSUMS_FILE,
    MODEL_FILE,
    MODEL_FILES,
    OUTPUT_FILE,
    QUANTIZED_FILE,
    ModelDescription,
    check_directory,
    read_description,
    refuse_other_model,
    write_description,
)
from lid.engine.weights import save_array, scale_output
from lid.fasttext_model.model_file import read_fasttext_file
from lid.fasttext_model.subprocess_trainer import check_installed
from lid.identifier import LanguageIdentifier, needs_fasttext
from lid.labeled_text import labeled_files
from lid.training.finish_model import calibrate_directory, record_checksums, remove_model_files

logger = logging.getLogger(__name__)

_MADE_ANEW = (MODEL_FILE, OUTPUT_FILE, QUANTIZED_FILE)


def calibrate(model: Path, data: Path, output: Path, config: CalibrationConfig) -> Summary:
    """Write a copy of `model` whose temperature and thresholds are chosen on `data`.

    Do not use the text that the model was trained on: its scores are too high there. The quantized
    file is not copied, since it has the old temperature.

    Raises:
        UserError: If `output` is the model itself, `data` holds none of its languages, or fastText
            is needed and not installed.
    """
    if output.resolve() == model.resolve():
        raise UserError(f"--output {output} is the model itself. Give another directory.")
    check_directory(model)
    if needs_fasttext(model):
        check_installed("calibrating this model")
    refuse_other_model(output, "calibrate")
    files = labeled_files(data, least=1)
    sources = (model / CHECKSUMS_FILE, *files.values())
    task = Task(name="model", inputs=sources, arguments={"classes": sorted(files)})
    work = functools.partial(_calibrate, model=model, files=files, output=output, config=config)
    return run_job(name="calibrate", tasks=[task], work=work, output=output, config=config)


def _calibrate(
    task: Task, *, model: Path, files: Mapping[str, Path], output: Path, config: CalibrationConfig
) -> Outcome:
    description = read_description(model)
    make_directory(output)
    remove_model_files(output)
    for name in MODEL_FILES:
        if (model / name).is_file() and name not in _MADE_ANEW:
            with atomic_path(output / name) as temporary:
                shutil.copyfile(model / name, temporary)
    _place(model, output, description, 1.0)
    # As they are: the identifier prepares them as it will in use.
    lines = {name: [t for t in read_lines(path) if t.strip()] for name, path in files.items()}
    known = set(LanguageIdentifier.load(output, verify=False).classes)
    strange = sorted(set(lines) - known)
    if len(strange) == len(lines):
        raise UserError(
            f"{model} knows none of the languages of {files[strange[0]].parent} (the first are"
            f" {', '.join(strange[:5])}). Give text in languages that it knows."
        )
    if strange:
        logger.warning(
            "%s does not know these languages; their text is left out: %s", model, " ".join(strange)
        )
    lines = {name: own for name, own in lines.items() if name in known}
    _, report = calibrate_directory(
        output, lines, config, functools.partial(_place, model, output, description)
    )
    calibration = report["calibration"]
    logger.info(
        "temperature %.3f, expected calibration error %.4f before and %.4f after",
        calibration["temperature"],
        calibration["before"]["ece"],
        calibration["after"]["ece"],
    )
    return Outcome(
        counts={"languages": len(lines), "read": sum(map(len, lines.values()))},
        outputs=record_checksums(output),
    )


def _place(model: Path, output: Path, description: ModelDescription, temperature: float) -> None:
    scale_output(model / MODEL_FILE, output / MODEL_FILE, 1 / temperature)
    write_description(
        output, replace(description, temperature=description.temperature * temperature)
    )
    if (model / OUTPUT_FILE).is_file():
        save_array(output / OUTPUT_FILE, read_fasttext_file(output / MODEL_FILE).output_matrix())
