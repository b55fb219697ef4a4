"""Exporting dense models to CTranslate2, through its own converter from transformers' layout."""

import functools
import logging
import shutil
from pathlib import Path

from corpus.errors import UserError
from corpus.files import atomic_path
from corpus.jobs import Outcome, Summary, Task, run_job
from nmt.interop.added_tokens import FAST_FILE, PIECES_FILE, SYMBOLS_FILE, TOKENIZER_FILE
from nmt.interop.config import ExportConfig
from nmt.interop.export_model import export_to_transformers
from nmt.model.directory import (
    DESCRIPTION_FILE,
    VOCABULARY_DIRECTORY,
    WEIGHTS_FILE,
    read_description,
)
from nmt.vocabulary.vocabulary import LAYOUT_FILE, MODEL_FILE

logger = logging.getLogger(__name__)

_SCRATCH = "scratch"
_MODEL = "model.bin"
_TOKENIZER = (PIECES_FILE, TOKENIZER_FILE, SYMBOLS_FILE, FAST_FILE)


def export_to_ctranslate2(model: Path, output: Path, config: ExportConfig) -> Summary:
    """Write a dense model for CTranslate2's `Translator`, with its tokenizer in the same directory.

    The converter holds the whole model in memory.

    Raises:
        UserError: If the model has experts, or CTranslate2 is not installed.
        JobError: If the model is damaged.
    """
    if read_description(model).config.num_experts:
        raise UserError(
            f"{model} has experts, and CTranslate2 translates with dense models only. Export it"
            " `--to transformers`, or distill it into a dense one."
        )
    _converter()
    files = [VOCABULARY_DIRECTORY + "/" + name for name in (MODEL_FILE, LAYOUT_FILE)]
    inputs = [model / name for name in (WEIGHTS_FILE, DESCRIPTION_FILE, *files)]
    task = Task(name="ctranslate2", inputs=tuple(inputs))
    work = functools.partial(_convert, model=model, output=output, config=config)
    return run_job(name="export", tasks=[task], work=work, output=output, config=config)


def _converter() -> type:
    try:
        from ctranslate2.converters import TransformersConverter
    except ImportError as error:
        raise UserError(
            "exporting to CTranslate2 needs the package `ctranslate2`; run"
            " `pip install '.[export]'` in a clone of the project"
        ) from error
    converter: type = TransformersConverter
    return converter


def _convert(task: Task, model: Path, output: Path, config: ExportConfig) -> Outcome:
    scratch = output / _SCRATCH
    exported, converted = scratch / "transformers", scratch / "ctranslate2"
    export_to_transformers(model, exported, config)
    shutil.rmtree(converted, ignore_errors=True)
    _converter()(str(exported)).convert(str(converted), quantization=config.quantization)
    for name in _TOKENIZER:
        if (exported / name).is_file():
            shutil.copyfile(exported / name, converted / name)
    # The weights come last and vouch for the others.
    files = sorted(converted.iterdir(), key=lambda path: (path.name == _MODEL, path.name))
    outputs = []
    for file in files:
        with atomic_path(output / file.name) as temporary:
            file.replace(temporary)
        outputs.append(output / file.name)
    size = (output / _MODEL).stat().st_size
    shutil.rmtree(scratch)
    return Outcome(counts={"bytes": size}, outputs=tuple(outputs))
