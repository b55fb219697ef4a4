"""The settings of document pairs and of alignment inside them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from corpus.config import Bounds, Config, PositiveInt
from mining.encoders.embed_config import EmbedConfig, check_encoder_languages


@dataclass(frozen=True, kw_only=True)
class MatchConfig(Config):
    """How pairs of documents are found."""

    by: Literal["url", "vectors", "both"] = "both"
    """`url`: addresses that differ in the name of the language only; `vectors`: each other's
    nearest by the mean of their sentences' vectors; `both`: by address, and the rest by vectors."""

    min_sentences: PositiveInt = 3
    """Documents with fewer are not matched by vectors."""

    neighbors: PositiveInt = 4
    """Neighbors of the margin of documents, k."""

    min_margin: float = 1.1
    """Least ratio margin of documents matched by vectors."""


@dataclass(frozen=True, kw_only=True)
class AlignConfig(Config):
    """How the sentences of two documents are aligned."""

    skip_cost: Annotated[float, Bounds(above=0)] = 0.35
    """Cost of leaving a sentence without a partner, where a pair costs its distance relative to
    that of any two sentences: two that are further apart than twice this are not paired."""

    samples: PositiveInt = 128
    """Sentences of each language that stand for any sentence."""

    max_sentences: PositiveInt = 1500
    """Documents with more are left out and counted: time and memory grow with the product."""

    encoders: dict[str, Path] = field(default_factory=dict)
    """Languages with an encoder of their own: a student of the encoder given."""

    embed: EmbedConfig = field(default_factory=EmbedConfig)
    """How sentences are embedded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_encoder_languages(self.encoders)
