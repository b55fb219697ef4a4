"""Config of word-level distillation; a section of the training config."""

from dataclasses import dataclass
from pathlib import Path

from corpus.config import Config, NonNegativeInt, PositiveFloat, Share


@dataclass(frozen=True, kw_only=True)
class DistillationConfig(Config):
    """How a student learns from a teacher's predictions as well as from the bitext."""

    teacher: Path | None = None
    """Model directory of the teacher; student and teacher share the vocabulary. In directions that
    it was not trained on, the student learns from the bitext alone. null: the model of
    `start_from`, so that the divergence keeps the student near its start."""

    weight: Share = 0.5
    """Weight of the divergence from the teacher in the loss, 0 to 1; the bitext has the rest."""

    temperature: PositiveFloat = 1.0
    """Both models' logits are divided by it in the divergence (Hinton et al. 2015)."""

    top_k: NonNegativeInt = 8
    """Tokens of the teacher's distribution to keep, the most likely ones (Tan et al. 2019); 0:
    all."""

    @property
    def teacher_directory(self) -> Path:
        """The teacher, which is known once the config of the training is made."""
        assert self.teacher is not None
        return self.teacher
