"""A trained model as teacher of another in training (word-level distillation)."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from corpus.errors import UserError
from corpus.files import digest_file, read_object
from corpus.languages import Direction
from nmt.fairseq import BatchLayout
from nmt.model.directory import (
    DESCRIPTION_FILE,
    VOCABULARY_DIRECTORY,
    WEIGHTS_FILE,
    load_model,
)
from nmt.model.distilled_loss import TeacherTargets
from nmt.training.distillation_config import DistillationConfig
from nmt.vocabulary import vocabulary as vocabulary_files

logger = logging.getLogger(__name__)

_VOCABULARY_FILES = (vocabulary_files.MODEL_FILE, vocabulary_files.LAYOUT_FILE)


class Teacher:
    """Computes the teacher's distribution over the tokens at each target position.

    It is not a module of the student: no optimizer, checkpoint or data-parallel wrapper sees it. It
    runs in evaluation mode, without dropout and without expert capacity.
    """

    def __init__(self, config: DistillationConfig, device: torch.device) -> None:
        self._config = config
        loaded = load_model(config.teacher_directory)
        self._model = loaded.translator.requires_grad_(False).eval().to(device)
        self._size = loaded.vocabulary.size
        self._directions = torch.tensor(
            [
                loaded.vocabulary.language_index(source) * self._size
                + loaded.vocabulary.language_index(target)
                for source, target in loaded.directions
            ],
            device=device,
        )

    @torch.no_grad()
    def teacher_targets(
        self,
        source: Tensor,
        source_layout: BatchLayout,
        inputs: Tensor,
        inputs_layout: BatchLayout,
    ) -> TeacherTargets:
        """Return the soft targets of a batch, in the form that the student's loss takes."""
        model, config = self._model, self._config
        is_taught = self._knows(source[:, 0], inputs[:, 1]).repeat_interleave(inputs.shape[1])
        source, source_layout = model.encoder_frontend(source, source_layout)
        encoder_output = model.encoder(source, source_layout)
        inputs, inputs_layout = model.decoder_frontend(inputs, inputs_layout)
        output = model.decoder(inputs, inputs_layout, encoder_output, source_layout)
        return TeacherTargets(
            output.flatten(0, -2),
            model.output_weight,
            top_k=config.top_k,
            temperature=config.temperature,
            weight=config.weight,
            is_taught_N=is_taught,
        )

    def _knows(self, source: Tensor, target: Tensor) -> Tensor:
        """Return which rows are of directions that the teacher was trained on, or of none."""
        is_known = torch.isin(source * self._size + target, self._directions)
        return is_known | (source == target)


def teacher_files(config: DistillationConfig | None) -> tuple[Path, ...]:
    """Return what a training with a teacher depends on; nothing without one."""
    if config is None:
        return ()
    return tuple(config.teacher_directory / name for name in (WEIGHTS_FILE, DESCRIPTION_FILE))


def check_teacher(config: DistillationConfig, vocabulary: Path) -> None:
    """Refuse a teacher with another vocabulary than the student's.

    Raises:
        UserError: If it is not a model or has another vocabulary.
    """
    for path in teacher_files(config):
        if not path.is_file():
            raise UserError(
                f"the teacher {config.teacher} is not a translation model: it has no {path.name}"
            )
    for name in _VOCABULARY_FILES:
        theirs = config.teacher_directory / VOCABULARY_DIRECTORY / name
        if not theirs.is_file() or digest_file(theirs) != digest_file(vocabulary / name):
            raise UserError(
                f"the teacher's {theirs} is not the student's {vocabulary / name}. Word-level"
                f" distillation needs one vocabulary: give `vocabulary:"
                f" {config.teacher_directory / VOCABULARY_DIRECTORY}`, or distill by translation."
            )


def warn_of_unknown_directions(config: DistillationConfig, directions: Sequence[Direction]) -> None:
    """Warn of directions that the student trains on and the teacher was not trained on."""
    known = set(read_object(config.teacher_directory / DESCRIPTION_FILE).get("directions", ()))
    unknown = [str(direction) for direction in directions if str(direction) not in known]
    if unknown:
        logger.warning(
            "the teacher was not trained on %d of %d directions, the first being %s; for them the"
            " bitext alone is learned from",
            len(unknown),
            len(directions),
            unknown[0],
        )
