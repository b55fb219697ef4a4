"""Configs of search and scoring."""

from dataclasses import dataclass
from typing import Literal

from corpus.config import Config, PositiveInt, Share, execution_only
from corpus.errors import UserError

Margin = Literal["ratio", "distance", "absolute"]
Retrieval = Literal["max", "intersect", "forward", "backward"]
Plan = Literal["auto", "exact", "flat", "index"]


@dataclass(frozen=True, kw_only=True)
class SearchConfig(Config):
    """How neighbors are found."""

    neighbors: PositiveInt = 4
    """Neighbors per sentence and direction, k (LASER's value)."""

    margin: Margin = "ratio"
    """Cosine relative to the neighborhoods: `ratio`, `distance` (difference), or `absolute`."""

    plan: Plan = "auto"
    """`exact`: all neighbors, by the compiled kernel, or by FAISS Flat where that was not built;
    `flat`: FAISS Flat; `index`: those that the shared index finds; `auto`: `exact` up to a million
    sentences of the larger language, `index` above."""

    probes: PositiveInt = 64
    """Clusters of the index that are searched for each sentence."""

    index_block: PositiveInt = 1_000_000
    """Sentences that the index holds at once, of d / 8 + 8 bytes each."""

    memory_mb: PositiveInt = execution_only(1024)  # noqa: RUF009
    """What blocks of vectors, or of products on a GPU, may take in an exact search; some 100 bytes
    a sentence come on top. Vectors stay on disk, in a nameless file beside the output. It never
    changes the result."""

    threads: PositiveInt = execution_only(1)  # noqa: RUF009
    """CPU threads of the search; they never change the result."""

    device: Literal["cpu", "cuda"] = execution_only("cpu")
    """Where an exact search multiplies: `cuda` holds the vectors of both languages on the GPU, at
    two bytes a dimension, and with `plan: exact` goes beyond a million sentences. It never changes
    the result; the shared index is searched on the CPU."""


@dataclass(frozen=True, kw_only=True)
class ExactSearchConfig(SearchConfig):
    """How neighbors are found by commands that do not use the shared index."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.plan == "index":
            raise UserError("`plan` must be `exact`, `flat` or `auto` here: no index is searched")


@dataclass(frozen=True, kw_only=True)
class MineConfig(SearchConfig):
    """How candidate pairs are found, scored and kept."""

    retrieval: Retrieval = "max"
    """`max` is greedy one-to-one over both directions' best candidates."""

    margin_threshold: float | None = None
    """Pairs that score below are dropped. Without it calibration decides, by known pairs or else by
    the most mutual ones: the best threshold moves with encoder, k and text (NLLB has 1.06 for
    LASER3 and k = 16)."""

    target_precision: Share | None = None
    """Instead of `margin_threshold`: the threshold is the lowest from which on at least this share
    of the pairs is expected to be translations, by the low estimate. Without either, it is that of
    the best expected F1."""

    planted_pairs: PositiveInt = 2000
    """Known pairs to use at most; half are planted whole, half with one side only."""

    block_sentences: PositiveInt = execution_only(1 << 18)  # noqa: RUF009
    """Sentences of each side that an exact search compares at a time, as a shard of the job: larger
    languages are searched on several machines, and resumed from the last block. It never changes
    the result."""

    positions: bool = False
    """Add the columns `source_position` and `target_position`: where in its document each sentence
    stands, from 0."""


@dataclass(frozen=True, kw_only=True)
class LocalConfig(ExactSearchConfig):
    """How pairs are found inside pairs of documents."""

    margin_threshold: float
    """Pairs that score below are dropped. Nothing is calibrated here: what `mine` found for the
    same languages and encoder is in its `<source>-<target>.calibration.json`."""

    background: PositiveInt = 20_000
    """Sentences of each language that neighborhoods are taken from, beside the other document. With
    all of a language, margins are those of mining it whole."""


@dataclass(frozen=True, kw_only=True)
class IndexConfig(Config):
    """How the index that all language pairs share is trained."""

    clusters: PositiveInt = 4096
    """Clusters of vectors, as a power of two near four times the root of a language's sentences."""

    training_vectors: PositiveInt = 262_144
    """Vectors to train on, of all languages in equal parts: 64 a cluster."""
