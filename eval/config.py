"""Configurations of scoring and comparing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corpus.config import execution_only
from corpus.errors import UserError

BASELINES = ("copy",)
"""Baselines that can be scored beside the systems: `copy` answers with the source itself."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """What is scored, and with which models.

    Fields that choose among scores and change none are `execution_only`: finished ones stay valid.
    """

    spm: Path | None = None
    """SentencePiece model for spBLEU; without it, the verified SPM-200 of the cache."""

    baselines: tuple[str, ...] = execution_only(())
    """Baselines to score in every direction; known: copy."""

    languages: Path | None = execution_only(None)  # noqa: RUF009
    """TSV with the columns `language` and `resource`, for averages by resource level."""

    directions: tuple[str, ...] = execution_only(())
    """Directions that every system should have, beside those that any system has."""

    bleu_tokenizer: str = "13a"
    """sacrebleu's tokenizer for `bleu`."""

    workers: int = execution_only(1)
    """Processes that score."""

    def __post_init__(self) -> None:
        """Refuse baselines nobody knows."""
        for baseline in self.baselines:
            if baseline not in BASELINES:
                raise UserError(
                    f"there is no baseline `{baseline}`. Known: {', '.join(BASELINES)}."
                )


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """How two systems are tested against each other."""

    metric: str = "chrf++"
    """Metric that is tested: spbleu, chrf++, chrf or bleu."""

    spm: Path | None = None
    """SentencePiece model for spBLEU; without it, the verified SPM-200 of the cache."""

    trials: int = 10_000
    """Random swaps a direction; the smallest p-value is 1 / (trials + 1)."""

    seed: int = 1
    """Seed of the swaps; the same lines are swapped in every direction."""

    alpha: float = 0.05
    """False discovery rate over all directions (Benjamini and Hochberg 1995)."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.trials < 1:
            raise UserError(f"trials is {self.trials}; it must be at least 1.")
        if not 0 < self.alpha < 1:
            raise UserError(f"alpha is {self.alpha}; it must be between 0 and 1.")
