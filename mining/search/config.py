"""The settings of search and scoring."""

from dataclasses import dataclass
from typing import Literal

from corpus.config import execution_only
from mining.checks import check_positive, check_share

Margin = Literal["ratio", "distance", "absolute"]
Retrieval = Literal["max", "intersect", "forward", "backward"]
Plan = Literal["auto", "exact", "flat"]


@dataclass(frozen=True, kw_only=True)
class MineConfig:
    """How candidate pairs are found, scored and kept."""

    neighbors: int = 4
    """Neighbors per sentence and direction, k (LASER's value)."""

    margin: Margin = "ratio"
    """Cosine relative to the neighborhoods: `ratio`, `distance` (difference), or `absolute`."""

    retrieval: Retrieval = "max"
    """`max` is greedy one-to-one over both directions' best candidates."""

    margin_threshold: float = 1.26
    """Pairs that score below are dropped. Measured for `bag` encoders, ratio margin and k = 4;
    it moves with each of them (NLLB has 1.06 for LASER3 and k = 16)."""

    target_precision: float | None = None
    """Instead of `margin_threshold`: the threshold is the lowest from which on this share of the
    pairs is expected to be translations. It needs known pairs."""

    planted_pairs: int = 2000
    """Known pairs to use at most; half are planted whole, half with one side only."""

    plan: Plan = "auto"
    """How neighbors are found. `exact`: all of them, by the compiled kernel, or by FAISS Flat where
    that was not built; `flat`: FAISS Flat; `auto` is `exact`."""

    memory_mb: int = execution_only(1024)
    """What blocks of vectors may take; about 100 bytes a sentence come on top. Vectors stay on
    disk, in a nameless file beside the output. It never changes the result."""

    threads: int = execution_only(1)
    """CPU threads of the search; they never change the result."""

    def __post_init__(self) -> None:
        check_positive(
            neighbors=self.neighbors,
            planted_pairs=self.planted_pairs,
            memory_mb=self.memory_mb,
            threads=self.threads,
        )
        if self.target_precision is not None:
            check_share("target_precision", self.target_precision)
