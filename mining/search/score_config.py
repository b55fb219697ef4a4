"""The settings of what runs an encoder on sentence pairs: embedding known ones, scoring."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from corpus.bitext_columns import check_columns
from corpus.languages import check_language
from mining.encoders.embed_config import EmbedConfig
from mining.search.config import ExactSearchConfig


@dataclass(frozen=True, kw_only=True)
class KnownConfig(EmbedConfig):
    """How known pairs are embedded."""

    encoders: dict[str, Path] = field(default_factory=dict)
    """Languages with an encoder of their own: a student of the encoder given."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source`, `target` and `score` of bitext whose header
    does not say which they are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_languages(self.encoders)
        check_columns(self.columns)


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(ExactSearchConfig):
    """How the pairs of a bitext are scored."""

    encoders: dict[str, Path] = field(default_factory=dict)
    """Languages with an encoder of their own: a student of the encoder given. The bitext is named
    `<source>-<target>` then."""

    embed: EmbedConfig = field(default_factory=EmbedConfig)
    """How its sentences are embedded, in blocks of 65,536 pairs, by `embed.workers` processes;
    their vectors stay on disk beside the output, as float16, until the scores are there."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source`, `target` and `score` of bitext whose header
    does not say which they are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_languages(self.encoders)
        check_columns(self.columns)


def _check_languages(encoders: Mapping[str, Path]) -> None:
    for language in encoders:
        check_language(language)
