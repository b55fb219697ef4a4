"""Configurations of what surrounds the metrics: the checks, and human scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from corpus.config import execution_only
from corpus.errors import UserError


@dataclass(frozen=True, kw_only=True)
class OffTargetConfig:
    """How outputs in another language are counted."""

    confusable_share: float = 0.05
    """Two languages are confusable where this share of one's references is taken for the other."""

    min_script_share: float = 0.5
    """A line whose letters belong less than this to the target's script is in another script."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        _check_share("confusable_share", self.confusable_share)
        _check_share("min_script_share", self.min_script_share)


@dataclass(frozen=True, kw_only=True)
class HallucinationConfig:
    """From where on a line looks detached from its source."""

    repeated_words: int = 4
    """Length of the word sequences whose repetitions are counted (Guerreiro et al. 2023, TNG)."""

    repeated_characters: int = 12
    """The same in scripts without spaces, in characters: some four words."""

    repetitions: int = 2
    """A line repeats where its commonest sequence comes this many times more often than that of
    its source (the same)."""

    length_z: float = 5.0
    """Standard deviations of log(length / source length) from that of the references."""

    compression_z: float = 6.0
    """Standard deviations of log(bytes / compressed bytes) from that of the references."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        for name in ("repeated_words", "repeated_characters", "repetitions"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("length_z", "compression_z"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} is {getattr(self, name)}; it must be positive.")


@dataclass(frozen=True, kw_only=True)
class ToxicityConfig:
    """What is told of the terms that were found."""

    show_terms: bool = False
    """Write the terms themselves; otherwise their line numbers in the list."""


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """The checks beyond overlap metrics."""

    off_target: OffTargetConfig = field(default_factory=OffTargetConfig)
    hallucination: HallucinationConfig = field(default_factory=HallucinationConfig)
    toxicity: ToxicityConfig = field(default_factory=ToxicityConfig)

    workers: int = execution_only(1)
    """Processes that check."""


Calibration = Literal["none", "shift", "moderated"]


@dataclass(frozen=True, kw_only=True)
class CorrelateConfig:
    """How human scores are calibrated and compared with metrics."""

    calibration: Calibration = "moderated"
    """`none`; `shift` by the nominal mean less the group's on the calibration set; `moderated`,
    the same fading out towards both ends of the scale. Both need a calibration set."""

    nominal_mean: float = 3.0
    """Mean of the calibration set on the scale of XSTS (NLLB Team 2022)."""

    trials: int = 2_000
    """Bootstrap samples of directions, and of items for the agreement."""

    seed: int = 1
    """Seed of the samples."""

    confidence: float = 0.95
    """Coverage of the intervals."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.trials < 1:
            raise UserError(f"trials is {self.trials}; it must be at least 1.")
        if not 0 < self.confidence < 1:
            raise UserError(f"confidence is {self.confidence}; it must be between 0 and 1.")
        if not 1 < self.nominal_mean < 5:
            raise UserError(f"nominal_mean is {self.nominal_mean}; XSTS goes from 1 to 5.")


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise UserError(f"{name} is {value}; it must be above 0 and at most 1.")
