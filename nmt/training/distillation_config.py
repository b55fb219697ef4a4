"""Config of word-level distillation; a section of the training config."""

from dataclasses import dataclass
from pathlib import Path

from corpus.errors import UserError


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """How a student learns from a teacher's predictions as well as from the bitext."""

    teacher: Path
    """Model directory of the teacher; student and teacher share the vocabulary."""

    weight: float = 0.5
    """Weight of the divergence from the teacher in the loss, 0 to 1; the bitext has the rest."""

    temperature: float = 1.0
    """Both models' logits are divided by it in the divergence (Hinton et al. 2015)."""

    top_k: int = 8
    """Tokens of the teacher's distribution to keep, the most likely ones (Tan et al. 2019); 0:
    all."""

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise UserError(f"`weight` is {self.weight}; it must be from 0 to 1")
        if self.temperature <= 0:
            raise UserError(f"`temperature` is {self.temperature}; it must be positive")
        if self.top_k < 0:
            raise UserError(f"`top_k` is {self.top_k}; it must be positive, or 0 for all tokens")
