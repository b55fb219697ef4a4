"""Configuration of the checks."""

from __future__ import annotations

from dataclasses import dataclass, field

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
        """Refuse values out of range."""
        _check_share("confusable_share", self.confusable_share)
        _check_share("min_script_share", self.min_script_share)


@dataclass(frozen=True, kw_only=True)
class HallucinationConfig:
    """Thresholds from which a line looks detached from its source."""

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
        """Refuse values out of range."""
        for name in ("repeated_words", "repeated_characters", "repetitions"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("length_z", "compression_z"):
            if not getattr(self, name) > 0:  # refuses nan too
                raise UserError(f"{name} is {getattr(self, name)}; it must be positive.")


@dataclass(frozen=True, kw_only=True)
class ToxicityConfig:
    """What is reported of the terms that were found."""

    show_terms: bool = False
    """Write the terms themselves; otherwise their line numbers in the list."""


@dataclass(frozen=True, kw_only=True)
class SegmentScoresConfig:
    """What COMET's own JSON output (`comet-score --to_json`) leaves unsaid.

    A JSONL file of segment scores says it in its first line.
    """

    metric: str = "comet"
    """Name of the scores, for tables."""

    model: str = ""
    """The model that gave them, for the signature."""

    languages: tuple[str, ...] = ()
    """Languages that the model covers; `all` if it needs none."""


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """The checks beyond overlap metrics."""

    off_target: OffTargetConfig = field(default_factory=OffTargetConfig)
    hallucination: HallucinationConfig = field(default_factory=HallucinationConfig)
    toxicity: ToxicityConfig = field(default_factory=ToxicityConfig)
    segment_scores: SegmentScoresConfig = field(default_factory=SegmentScoresConfig)

    workers: int = execution_only(1)
    """Processes that check."""


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise UserError(f"{name} is {value}; it must be above 0 and at most 1.")
