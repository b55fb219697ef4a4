"""Importing checkpoints in transformers' layout as model directories."""

import functools
import itertools
import logging
from pathlib import Path

from corpus.files import atomic_path, write_json
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import Direction
from corpus.pickled_tensors import count_elements
from nmt.interop.added_tokens import PIECES_FILE
from nmt.interop.checkpoint import read_checkpoint
from nmt.interop.config import ImportConfig
from nmt.interop.plans import TORCH_NAMES, plan_import
from nmt.interop.settings import CONFIG_FILE, read_settings
from nmt.interop.tokens import FILES as TOKENIZER_FILES
from nmt.interop.tokens import import_vocabulary
from nmt.interop.weights import write_tensors
from nmt.model.directory import VOCABULARY_DIRECTORY, WEIGHTS_FILE, describe_model
from nmt.vocabulary.vocabulary import LAYOUT_FILE, MODEL_FILE, Vocabulary

logger = logging.getLogger(__name__)


def import_checkpoint(source: Path, output: Path, config: ImportConfig) -> Summary:
    """Import an NLLB-200 checkpoint, dense or with experts, as a model directory; runs as a job.

    Weights are copied from file to file in chunks, so memory does not depend on the model's size. A
    checkpoint does not record its training directions; all pairs of its languages are used.

    Raises:
        UserError: If it is of another family, or has settings that are not supported.
        JobError: If a file is missing, damaged, or does not fit the config.
    """
    stored = read_checkpoint(source)
    shards = sorted({tensor.path for tensor in stored.values()})
    files = [CONFIG_FILE, PIECES_FILE, *TOKENIZER_FILES]
    inputs = [source / name for name in files if (source / name).is_file()]
    task = Task(name="model", inputs=(*inputs, *shards))
    work = functools.partial(_import_task, source=source, output=output, config=config)
    return run_job(name="import", tasks=[task], work=work, output=output, config=config)


def _import_task(task: Task, source: Path, output: Path, config: ImportConfig) -> Outcome:
    shape = read_settings(source)
    pieces, vocabulary = import_vocabulary(source, shape.vocab_size)
    dtype = None if config.dtype == "kept" else TORCH_NAMES[config.dtype]
    tensors = plan_import(shape, read_checkpoint(source), dtype)
    files = _write_vocabulary(output / VOCABULARY_DIRECTORY, pieces, vocabulary)
    write_tensors(output / WEIGHTS_FILE, tensors)
    directions = [Direction(*pair) for pair in itertools.permutations(vocabulary.languages, 2)]
    description = describe_model(output, shape, sorted(directions))
    return Outcome(
        counts={
            "tensors": len(tensors),
            "parameters": sum(count_elements(tensor.shape) for tensor in tensors),
            "languages": len(vocabulary.languages),
        },
        outputs=(*files, output / WEIGHTS_FILE, description),
    )


def _write_vocabulary(directory: Path, pieces: bytes, vocabulary: Vocabulary) -> tuple[Path, ...]:
    model = directory / MODEL_FILE
    with atomic_path(model) as temporary:
        temporary.write_bytes(pieces)
    write_json(directory / LAYOUT_FILE, vocabulary.layout())
    return (model, directory / LAYOUT_FILE)
