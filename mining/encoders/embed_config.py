"""Configs of embedding, known pairs, xsim and LASER import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from corpus.bitext_columns import check_columns
from corpus.config import Config, PositiveInt, execution_only
from corpus.languages import check_language
from mining.embeddings import Storage
from mining.search.config import Margin


@dataclass(frozen=True, kw_only=True)
class EmbedConfig(Config):
    """How sentences are embedded."""

    storage: Storage = "float16"
    """`int8` takes half the disk: centered, rotated, with a scale for each sentence."""

    batch_tokens: PositiveInt = 8192
    """Tokens of a batch with its padding, for encoders that read tokens; more for a GPU."""

    block_sentences: PositiveInt = 20_000
    """Sentences read, sorted by length and embedded at a time; bounds memory."""

    workers: PositiveInt = execution_only(2)  # noqa: RUF009
    """Processes, each with a shard and an encoder of its own and one thread; one on a GPU."""

    device: Literal["auto", "cpu", "cuda"] = execution_only("auto")
    """Where encoders compute that can use a GPU; `bag` and `builtin` stay on the CPU."""

    all_languages: bool = False
    """Let the builtin encoder embed languages that it was not trained on."""


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
        check_encoder_languages(self.encoders)
        check_columns(self.columns)


def check_encoder_languages(encoders: Mapping[str, Path]) -> None:
    """Refuse encoders for unknown language codes."""
    for language in encoders:
        check_language(language)


@dataclass(frozen=True, kw_only=True)
class XsimConfig(Config):
    """How xsim is measured: the share of sentences matched with a wrong translation."""

    neighbors: PositiveInt = 4
    """Neighbors of the margin, k."""

    margin: Margin = "ratio"
    """As in mining."""

    pivot: str = "eng_Latn"
    """Every other language is searched against it; where it is missing, the first one is."""

    directions: tuple[str, ...] = ()
    """Directions to measure instead, as `fra_Latn-deu_Latn`."""

    languages: tuple[str, ...] = ()
    """Languages to measure; empty takes all of the split."""

    encoders: dict[str, Path] = field(default_factory=dict)
    """Languages with an encoder of their own: a student of the encoder measured."""

    hard_negatives: bool = False
    """Measure xsim++ into English too: altered sentences stand among the translations."""

    threads: PositiveInt = execution_only(1)  # noqa: RUF009
    """CPU threads of the encoder."""

    device: Literal["auto", "cpu", "cuda"] = execution_only("auto")
    """Where encoders compute that can use a GPU; `bag` and `builtin` stay on the CPU."""


@dataclass(frozen=True, kw_only=True)
class ImportLaserConfig(Config):
    """How a LASER checkpoint becomes an encoder directory."""

    max_tokens: PositiveInt = 1024
    """Tokens of a sentence that are read; LASER itself reads all of them."""
