"""The settings of search and scoring."""

from dataclasses import dataclass
from typing import Literal

from corpus.config import execution_only
from corpus.errors import UserError
from mining.checks import check_positive, check_share

Margin = Literal["ratio", "distance", "absolute"]
Retrieval = Literal["max", "intersect", "forward", "backward"]
Plan = Literal["auto", "exact", "flat", "index"]


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How neighbors are found."""

    neighbors: int = 4
    """Neighbors per sentence and direction, k (LASER's value)."""

    margin: Margin = "ratio"
    """Cosine relative to the neighborhoods: `ratio`, `distance` (difference), or `absolute`."""

    plan: Plan = "auto"
    """`exact`: all neighbors, by the compiled kernel, or by FAISS Flat where that was not built;
    `flat`: FAISS Flat; `index`: those that the shared index finds; `auto`: `exact` up to a million
    sentences of the larger language, `index` above."""

    probes: int = 64
    """Clusters of the index that are searched for each sentence."""

    index_block: int = 1_000_000
    """Sentences that the index holds at once, of d / 8 + 8 bytes each."""

    memory_mb: int = execution_only(1024)
    """What blocks of vectors may take in an exact search; about 100 bytes a sentence come on top.
    Vectors stay on disk, in a nameless file beside the output. It never changes the result."""

    threads: int = execution_only(1)
    """CPU threads of the search; they never change the result."""

    def __post_init__(self) -> None:
        check_positive(
            neighbors=self.neighbors,
            probes=self.probes,
            index_block=self.index_block,
            memory_mb=self.memory_mb,
            threads=self.threads,
        )


@dataclass(frozen=True, kw_only=True)
class ExactSearchConfig(SearchConfig):
    """How neighbors are found where the index that `mine` shares has no place."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.plan == "index":
            raise UserError("`plan` must be `exact`, `flat` or `auto` here: no index is searched")


@dataclass(frozen=True, kw_only=True)
class MineConfig(SearchConfig):
    """How candidate pairs are found, scored and kept."""

    retrieval: Retrieval = "max"
    """`max` is greedy one-to-one over both directions' best candidates."""

    margin_threshold: float = 1.26
    """Pairs that score below are dropped. Measured for `bag` encoders, ratio margin and k = 4;
    it moves with each of them (NLLB has 1.06 for LASER3 and k = 16)."""

    target_precision: float | None = None
    """Instead of `margin_threshold`: the threshold is the lowest from which on at least this share
    of the pairs is expected to be translations, by the low estimate. It needs known pairs."""

    planted_pairs: int = 2000
    """Known pairs to use at most; half are planted whole, half with one side only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(planted_pairs=self.planted_pairs)
        if self.target_precision is not None:
            check_share("target_precision", self.target_precision)


@dataclass(frozen=True, kw_only=True)
class LocalConfig(ExactSearchConfig):
    """How pairs are found inside pairs of documents."""

    margin_threshold: float = 1.26
    """Pairs that score below are dropped; as in mining over whole languages."""

    background: int = 20_000
    """Sentences of each language that neighborhoods are taken from, beside the other document. With
    all of a language, margins are those of mining it whole."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(background=self.background)


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """How the index that all language pairs share is trained."""

    clusters: int = 4096
    """Clusters of vectors, as a power of two near four times the root of a language's sentences."""

    training_vectors: int = 262_144
    """Vectors to train on, of all languages in equal parts: 64 a cluster."""

    def __post_init__(self) -> None:
        check_positive(clusters=self.clusters, training_vectors=self.training_vectors)
