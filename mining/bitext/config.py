"""The settings of bitext filtering."""

from dataclasses import dataclass

from mining.checks import check_share


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """Which mined pairs are kept."""

    min_score: float = 0.0
    """Margin below which pairs are dropped, on top of the threshold they were mined with."""

    max_score: float = 10.0
    """Margin above which pairs are dropped; copies and outliers of sparse regions lie there."""

    max_length_ratio: float = 2.0
    """Length in characters against the pair's mean ratio, either way."""

    max_overlap: float = 0.7
    """Share of common character trigrams above which a pair is a copy, not a translation."""

    def __post_init__(self) -> None:
        check_share("max_overlap", self.max_overlap)
        if self.max_length_ratio <= 1:
            raise ValueError(f"`max_length_ratio` must be above 1, not {self.max_length_ratio}")
        if self.min_score > self.max_score:
            raise ValueError(f"`min_score` {self.min_score} is above `max_score` {self.max_score}")
