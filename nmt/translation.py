"""Beam-search translation of lines, in order, one out for one in."""

import functools
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from corpus.console import Progress
from corpus.errors import UserError
from corpus.files import write_lines
from corpus.flores import read_split
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import Direction, check_language
from nmt.config import TranslateConfig
from nmt.fairseq import BatchLayout, BeamSearchSeq2SeqGenerator, VocabularyInfo
from nmt.model_directory import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    TrainedModel,
    load_model,
)

logger = logging.getLogger(__name__)

_UNKNOWN_PENALTY = 100.0
"""Keeps the unknown piece, which has no text, out of hypotheses."""


class BeamTranslator:
    """Translates sentences with one model."""

    def __init__(self, model: TrainedModel, config: TranslateConfig) -> None:
        torch.set_num_threads(config.threads)
        self._model = model
        self._config = config
        self.num_truncated = 0

    def translate(self, sentences: Sequence[str], source: str, target: str) -> list[str]:
        """Translate sentences; an empty one gives an empty one.

        Sentences longer than the model's positions are cut and counted in `num_truncated`.

        Raises:
            UserError: If a language is unknown to everybody or to the model.
        """
        check_language(source)
        check_language(target)
        vocabulary = self._model.vocabulary
        source_index = vocabulary.language_index(source)
        target_index = vocabulary.language_index(target)
        encoded = vocabulary.encode(sentences)
        limit = int(self._model.translator.max_source_seq_len) - 2
        self.num_truncated += sum(len(pieces) > limit for pieces in encoded)
        rows = [[source_index, *pieces[:limit], vocabulary.end_index] for pieces in encoded]
        order = sorted(
            (i for i, pieces in enumerate(encoded) if pieces), key=lambda i: len(rows[i])
        )
        translations = [""] * len(sentences)
        size = self._config.batch_sentences
        with Progress(len(order), f"{source}-{target}", "sentences") as progress:
            for begin in range(0, len(order), size):
                chosen = order[begin : begin + size]
                outputs = self._search([rows[i] for i in chosen], target_index)
                for i, output in zip(chosen, outputs, strict=True):
                    translations[i] = vocabulary.decode(output)
                progress.update(len(chosen))
        return translations

    def _search(self, rows: Sequence[Sequence[int]], target_index: int) -> list[list[int]]:
        """Return the best hypothesis of each row, without its prompt."""
        lengths = [len(row) for row in rows]
        seqs = torch.full((len(rows), max(lengths)), self._model.vocabulary.pad_index)
        for i, row in enumerate(rows):
            seqs[i, : len(row)] = torch.tensor(row)
        prompts = torch.tensor([[self._model.vocabulary.end_index, target_index]]).repeat(
            len(rows), 1
        )
        generator = self._generator(max(lengths))
        output = generator(seqs, BatchLayout.of(seqs, lengths), prompts, BatchLayout.of(prompts))
        return [hypotheses[0].seq.tolist() for hypotheses in output.hypotheses]

    def _generator(self, max_source_length: int) -> BeamSearchSeq2SeqGenerator:
        config, vocabulary = self._config, self._model.vocabulary
        longest = math.ceil(
            config.max_length_factor * max_source_length + config.max_length_constant
        )
        return BeamSearchSeq2SeqGenerator(
            self._model.translator,
            VocabularyInfo(
                size=vocabulary.size,
                unk_idx=vocabulary.unknown_index,
                bos_idx=vocabulary.begin_index,
                eos_idx=vocabulary.end_index,
                pad_idx=vocabulary.pad_index,
            ),
            beam_size=config.beam_size,
            max_gen_len=(0.0, longest),
            max_seq_len=self._model.translator.max_target_seq_len,
            unk_penalty=_UNKNOWN_PENALTY,
            len_penalty=config.length_penalty,
        )


def translate_flores(
    model: Path,
    flores: Path,
    split: str,
    directions: Sequence[Direction],
    output: Path,
    config: TranslateConfig,
) -> Summary:
    """Translate a FLORES split, a task per direction; hypotheses go to `<source>-<target>.txt`.

    Args:
        model: Model directory.
        flores: Directory in FLORES-200's layout.
        split: `dev` or `devtest`.
        directions: What to translate; empty for all that the model was trained on.
        output: Directory of the hypotheses.
        config: How to translate.
    """
    loaded = load_model(model)
    chosen = list(directions) or list(loaded.directions)
    read_split(flores, split, sorted({language for direction in chosen for language in direction}))
    for direction in chosen:
        for language in direction:
            loaded.vocabulary.language_index(language)
    weights = (model / WEIGHTS_FILE, model / DESCRIPTION_FILE)
    tasks = [
        Task(
            name=str(direction),
            inputs=(*weights, flores / split / f"{direction.source}.{split}"),
        )
        for direction in chosen
    ]
    translator = BeamTranslator(loaded, config)
    work = functools.partial(
        _translate_task, translator=translator, flores=flores, split=split, output=output
    )
    return run_job(name="translate-flores", tasks=tasks, work=work, output=output, config=config)


def _translate_task(
    task: Task, translator: BeamTranslator, flores: Path, split: str, output: Path
) -> Outcome:
    source, target = task.name.split("-")
    lines = read_split(flores, split, [source])[source]
    before = translator.num_truncated
    hypotheses = translator.translate(lines, source, target)
    path = output / f"{task.name}.txt"
    write_lines(path, hypotheses)
    truncated = translator.num_truncated - before
    return Outcome(counts={"sentences": len(lines), "truncated": truncated}, outputs=(path,))


def check_trained(model: TrainedModel, direction: Direction) -> None:
    """Warn of a direction that the model has never seen; refuse languages it does not know.

    Raises:
        UserError: If the model has no token for one of the languages.
    """
    for language in direction:
        check_language(language)
        model.vocabulary.language_index(language)
    if direction.source == direction.target:
        raise UserError(f"source and target are both `{direction.source}`")
    if direction not in model.directions:
        logger.warning("the model was not trained on %s; expect little", direction)
