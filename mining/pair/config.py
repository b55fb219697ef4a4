"""The settings of `mining pair`: those of its steps."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from corpus.bitext_columns import check_columns
from corpus.config import Config
from mining.bitext.config import FilterConfig, ProbabilityConfig
from mining.encoders.embed_config import EmbedConfig, check_encoder_languages
from mining.search.config import MineConfig


@dataclass(frozen=True, kw_only=True)
class PairConfig(Config):
    """How the pairs of two text files are found, calibrated and filtered."""

    unit: Literal["line", "sentence"] = "line"
    """What is paired: whole lines, or the sentences of lines that are paragraphs."""

    encoders: dict[str, Path] = field(default_factory=dict)
    """Languages with an encoder of their own: a student of the encoder given."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source`, `target` and `score` of known pairs whose
    header does not say which they are."""

    embed: EmbedConfig = field(default_factory=EmbedConfig)
    """How lines are embedded."""

    mine: MineConfig = field(default_factory=MineConfig)
    """How pairs are found, scored and kept."""

    probability: ProbabilityConfig = field(default_factory=ProbabilityConfig)
    """How the probability of each pair is learned, if `filter.min_probability` is not 0; `encoders`
    and `embed` are those above."""

    filter: FilterConfig = field(default_factory=FilterConfig)
    """Which of these pairs the filters keep."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_encoder_languages(self.encoders)
        check_columns(self.columns)
