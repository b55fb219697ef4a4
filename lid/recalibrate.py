"""`tongues lid calibrate`: a copy of a model whose scores and thresholds fit other text."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from corpus.errors import UserError
from corpus.files import atomic_path, make_directory
from corpus.jobs import Outcome, Summary, Task, run_job
from lid.config import CalibrationConfig
from lid.data import labelled_files, prepare_all
from lid.directory import (
    CHECKSUMS_FILE,
    MODEL_FILE,
    QUANTIZED_FILE,
    Kind,
    check_directory,
    read_kind,
    write_kind,
)
from lid.fasttext_file import read_fasttext_file
from lid.finish import calibrate_directory, seal
from lid.weights import OUTPUT_FILE, save_array, scale_output

logger = logging.getLogger(__name__)

_MADE_ANEW = (CHECKSUMS_FILE, MODEL_FILE, OUTPUT_FILE, QUANTIZED_FILE, "config.yaml", "report.html")


def recalibrate(model: Path, data: Path, output: Path, config: CalibrationConfig) -> Summary:
    """Write a copy of `model` whose temperature and thresholds are chosen on `data`.

    The text must not be the text the model was trained on: there it is surer than elsewhere. The
    quantized file is not copied, since it has the old temperature.

    Raises:
        UserError: If `output` is the model itself, or `data` holds none of its languages.
    """
    if output.resolve() == model.resolve():
        raise UserError("the output is the model itself; give another directory.")
    check_directory(model)
    files = labelled_files(data)
    sources = (model / CHECKSUMS_FILE, *files.values())
    task = Task(name="model", inputs=sources, arguments={"classes": sorted(files)})
    work = functools.partial(_calibrate, model=model, files=files, output=output, config=config)
    return run_job(name="calibrate", tasks=[task], work=work, output=output, config=config)


def _calibrate(
    task: Task, *, model: Path, files: Mapping[str, Path], output: Path, config: CalibrationConfig
) -> Outcome:
    from corpus.files import read_lines

    kind = read_kind(model)
    make_directory(output)
    for path in sorted(model.iterdir()):
        if path.is_file() and path.name not in _MADE_ANEW:
            with atomic_path(output / path.name) as temporary:
                shutil.copyfile(path, temporary)
    _place(model, output, 1.0)
    lines = {name: [t for t in prepare_all(read_lines(path)) if t] for name, path in files.items()}
    held, report, temperature = calibrate_directory(output, lines, config)
    if not len(held.truth):
        raise UserError(f"none of {', '.join(sorted(files)[:5])}, … is a language of {model}.")
    _place(model, output, 1 / temperature)
    write_kind(
        output, Kind(kind.is_prepared, kind.answers, kind.temperature * temperature, kind.source)
    )
    calibration = report["calibration"]
    logger.info(
        "temperature %.3f, expected calibration error %.4f before and %.4f after",
        temperature,
        calibration["before"]["ece"],
        calibration["after"]["ece"],
    )
    return Outcome(
        counts={"languages": len(lines), "read": sum(map(len, lines.values()))},
        outputs=seal(output),
    )


def _place(model: Path, output: Path, factor: float) -> None:
    scale_output(model / MODEL_FILE, output / MODEL_FILE, factor)
    if (model / OUTPUT_FILE).is_file():
        save_array(output / OUTPUT_FILE, read_fasttext_file(output / MODEL_FILE).output_matrix())
