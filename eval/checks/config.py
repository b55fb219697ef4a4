"""Configuration of the checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from corpus.config import Bounds, Config, PositiveInt, execution_only

PositiveShare = Annotated[float, Bounds(above=0, at_most=1)]
Deviations = Annotated[float, Bounds(above=0, is_finite=False)]
"""Standard deviations; infinity switches a sign off."""


@dataclass(frozen=True, kw_only=True)
class OffTargetConfig(Config):
    """How outputs in another language are counted."""

    confusable_share: PositiveShare = 0.05
    """Two languages are confusable where this share of one's references is taken for the other."""

    min_script_share: PositiveShare = 0.5
    """A line whose letters belong less than this to the target's script is in another script."""


@dataclass(frozen=True, kw_only=True)
class HallucinationConfig(Config):
    """Thresholds from which a line looks detached from its source."""

    repeated_words: PositiveInt = 4
    """Length of the word sequences whose repetitions are counted (Guerreiro et al. 2023, TNG)."""

    repeated_characters: PositiveInt = 12
    """The same in scripts without spaces, in characters: some four words."""

    repetitions: PositiveInt = 2
    """A line repeats where its commonest sequence comes this many times more often than that of
    its source (the same)."""

    length_z: Deviations = 5.0
    """Standard deviations of log(length / source length) from that of the references."""

    compression_z: Deviations = 6.0
    """Standard deviations of log(bytes / compressed bytes) from that of the references."""


@dataclass(frozen=True, kw_only=True)
class ContentConfig(Config):
    """From where content counts as missing, added or left untranslated."""

    length_z: Deviations = 3.0
    """Standard deviations of log(length / source length) from that of the references."""

    untranslated_words: PositiveInt = 5
    """Words of the source in a row that stand in the translation as they were."""

    untranslated_characters: PositiveInt = 12
    """The same for sources in scripts without spaces, in letters."""


@dataclass(frozen=True, kw_only=True)
class ToxicityConfig(Config):
    """What is reported of the terms that were found."""

    show_terms: bool = False
    """Write the terms themselves; otherwise their line numbers in the list."""


@dataclass(frozen=True, kw_only=True)
class SegmentScoresConfig(Config):
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
class CheckConfig(Config):
    """The checks beyond overlap metrics."""

    references: tuple[str, ...] = ()
    """Translators whose references are taken, where a test set has several, as WMT's XML; of those
    that are left the first is used."""

    off_target: OffTargetConfig = field(default_factory=OffTargetConfig)
    hallucination: HallucinationConfig = field(default_factory=HallucinationConfig)
    content: ContentConfig = field(default_factory=ContentConfig)
    toxicity: ToxicityConfig = field(default_factory=ToxicityConfig)
    segment_scores: SegmentScoresConfig = field(default_factory=SegmentScoresConfig)

    workers: PositiveInt = execution_only(1)  # noqa: RUF009
    """Processes that check."""
