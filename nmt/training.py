"""The training job: bitext and vocabulary to a model directory, resumable at any moment."""

import functools
import logging
import shutil
from pathlib import Path

import numpy as np

from corpus.config import dump_config
from corpus.errors import UserError
from corpus.files import digest_file, read_json, write_json
from corpus.flores import read_split, split_languages
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import Direction
from nmt import vocabulary as vocabulary_files
from nmt.batches import Batch, BatchStream, Rows, cut
from nmt.bitext import TokenizedBitext, bitext_inputs, direction_pairs, fingerprint, tokenize
from nmt.config import TrainConfig
from nmt.curriculum import Curriculum
from nmt.model import resolve_config
from nmt.model_directory import save_model
from nmt.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

TRAINING_DIRECTORY = "training"
_FINGERPRINT_FILE = "fingerprint.json"
_SCRATCH = ("checkpoints", "data", "cache")


def train(config: TrainConfig, output: Path) -> Summary:
    """Train a model, or go on with an interrupted training of the same config and data."""
    Vocabulary.load(config.vocabulary)
    inputs = [path for _, _, path in bitext_inputs(config)]
    inputs += [
        config.vocabulary / name
        for name in (vocabulary_files.MODEL_FILE, vocabulary_files.LAYOUT_FILE)
    ]
    task = Task(name="model", inputs=tuple(inputs))
    work = functools.partial(_train_model, config=config, output=output)
    summary = run_job(name="train", tasks=[task], work=work, output=output, config=config)
    for name in _SCRATCH:
        shutil.rmtree(output / TRAINING_DIRECTORY / name, ignore_errors=True)
    return summary


def _train_model(task: Task, config: TrainConfig, output: Path) -> Outcome:
    from nmt.recipe import run_recipe

    directory = output / TRAINING_DIRECTORY
    _check_fingerprint(directory, config, task.inputs)
    vocabulary = Vocabulary.load(config.vocabulary)
    bitext = tokenize(config, vocabulary, directory / "data")
    pairs = direction_pairs(bitext, vocabulary, config.directions)
    counts = {direction: len(there) for direction, there in pairs.items()}
    curriculum = Curriculum(config.curriculum, counts)
    logger.info("%s pairs in %d directions", f"{sum(counts.values()):,}", len(counts))
    for line in curriculum.describe():
        logger.info("%s", line)
    stream = BatchStream(bitext, pairs, vocabulary, curriculum, config.batches, config.seed)
    model_config = resolve_config(config.model, vocabulary.size, vocabulary.pad_index)
    validation = validation_batches(config, vocabulary, list(pairs))
    model = run_recipe(config, model_config, stream, validation, directory)
    outputs = save_model(output, model, model_config, config.vocabulary, list(pairs))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Outcome(
        counts={
            "pairs": sum(block.num_pairs for block in bitext.blocks),
            "directions": len(pairs),
            "parameters": parameters,
            "updates": config.updates,
        },
        outputs=outputs,
    )


def _check_fingerprint(directory: Path, config: TrainConfig, inputs: tuple[Path, ...]) -> None:
    """Refuse to go on with a training of other data; receipts cannot tell before it is done."""
    path = directory / _FINGERPRINT_FILE
    here = {"inputs": fingerprint(dump_config(config), [digest_file(file) for file in inputs])}
    if path.exists() and read_json(path) != here:
        raise UserError(
            f"{directory} holds an unfinished training on other data than the bitext and vocabulary"
            f" are now. Delete {directory.parent} to train anew."
        )
    write_json(path, here)


def validation_batches(
    config: TrainConfig, vocabulary: Vocabulary, directions: list[Direction]
) -> dict[str, list[Batch]]:
    """Return batches of the first sentences of the validation split, by direction."""
    if config.flores is None:
        return {}
    there = set(split_languages(config.flores, config.validation_split))
    directions = [d for d in directions if d.source in there and d.target in there]
    languages = sorted({language for direction in directions for language in direction})
    texts = read_split(config.flores, config.validation_split, languages)
    encoded = {
        language: vocabulary.encode(lines[: config.validation_sentences])
        for language, lines in texts.items()
    }
    sentences = [sentence for language in languages for sentence in encoded[language]]
    lengths = np.array([len(sentence) for sentence in sentences], np.int64)
    bitext = TokenizedBitext(
        tokens=np.array([token for sentence in sentences for token in sentence], np.int64),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        blocks=(),
    )
    rows = Rows(bitext, vocabulary)
    number = len(next(iter(encoded.values()), []))
    first = {language: i * number for i, language in enumerate(languages)}
    batches: dict[str, list[Batch]] = {}
    for direction in directions:
        source = first[direction.source] + np.arange(number)
        target = first[direction.target] + np.arange(number)
        chosen = cut(rows.lengths(source), rows.lengths(target), config.batches.max_tokens)
        batches[str(direction)] = [
            Batch(*vocabulary_rows(rows, vocabulary, direction, source[c], target[c]))
            for c in chosen
        ]
    return batches


def vocabulary_rows(
    rows: Rows,
    vocabulary: Vocabulary,
    direction: Direction,
    source: np.ndarray[tuple[int], np.dtype[np.int64]],
    target: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], ...]:
    """Return source and target rows with lengths, for one direction and no tag."""
    source_language = np.full(len(source), vocabulary.language_index(direction.source))
    target_language = np.full(len(target), vocabulary.language_index(direction.target))
    end = np.full(len(target), vocabulary.end_index)
    return (
        *rows.assemble([source_language], source),
        *rows.assemble([end, target_language], target),
    )
