"""How a language identifier is trained and read: the two configurations of `lid`."""

from __future__ import annotations

from dataclasses import dataclass

from corpus.errors import UserError

SAFE_THREADS = 11
"""fastText 0.9.3 fills its input matrix in ten blocks, one a thread, beside the main one;
with fewer threads part of the matrix keeps whatever was in memory."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How `tongues lid train` turns labelled text into a model directory."""

    seed: int = 1
    """Seed of the sampling, the crops and the generated noise."""

    sampled_lines: int = 500_000
    """Lines drawn for one epoch, all languages together."""

    sampling_temperature: float = 3.0
    """A language with n lines gets a share of n^(1/temperature); 1 keeps the natural shares.
    Sampling without temperature lost .11 of macro-F1 on 200 languages."""

    max_repeats: int = 6
    """A language's lines are drawn at most this many times an epoch."""

    crop_share: float = 0.15
    """Share of the drawn lines cut to a few words, so that short inputs work."""

    max_crop_words: int = 6
    """Longest crop, in words (or four-character pieces where text has no spaces)."""

    noise: bool = True
    """Add the class `zxx`: generated mojibake, code, digits and markup."""

    validation_share: float = 0.05
    """Share of each language's lines held out for thresholds and the list of confusions."""

    max_validation_lines: int = 500
    """Most lines a language holds out."""

    kept_share: float = 0.99
    """Thresholds keep this share of the rightly identified validation lines."""

    min_threshold: float = 0.5
    """Lowest threshold calibration may choose; below it the answer is `und`."""

    max_threshold: float = 0.9
    """Highest threshold calibration may choose."""

    dim: int = 64
    """Width of the n-gram vectors; 64 loses nothing to NLLB's 256 and predicts faster."""

    min_ngram: int = 2
    """Shortest character n-gram."""

    max_ngram: int = 4
    """Longest character n-gram."""

    buckets_per_class: int = 20_000
    """Hash buckets for n-grams, for each class."""

    max_buckets: int = 1_000_000
    """Most hash buckets in all (NLLB's number)."""

    learning_rate: float = 0.8
    """Initial learning rate, falling linearly to zero (NLLB)."""

    epochs: int = 2
    """Passes over the drawn lines (NLLB)."""

    reproducible: bool = True
    """Train with one thread: the same data and seed give the same bytes. Else `threads`."""

    threads: int = 12
    """Training threads when not reproducible; fastText 0.9.3 needs at least 11."""

    def __post_init__(self) -> None:
        """Refuse values that fastText would accept and train garbage from."""
        if self.threads < SAFE_THREADS:
            raise UserError(
                f"threads is {self.threads}, but fastText 0.9.3 leaves part of its matrix"
                f" uninitialized below {SAFE_THREADS}. Use {SAFE_THREADS} or more (also on a"
                " machine with fewer cores), or reproducible=true for one thread."
            )
        for name in ("crop_share", "validation_share", "kept_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UserError(f"{name} is {value}; it is a share, between 0 and 1.")
        for name in ("sampled_lines", "max_repeats", "dim", "min_ngram", "epochs"):
            value = getattr(self, name)
            if value < 1:
                raise UserError(f"{name} is {value}; it must be at least 1.")
        if self.sampling_temperature <= 0:
            raise UserError(
                f"sampling_temperature is {self.sampling_temperature}; it must be above 0."
            )
        if self.max_ngram < self.min_ngram:
            raise UserError(
                f"max_ngram ({self.max_ngram}) is smaller than min_ngram ({self.min_ngram})."
            )
        if not 0 <= self.min_threshold <= self.max_threshold <= 1:
            raise UserError(
                f"min_threshold ({self.min_threshold}) and max_threshold"
                f" ({self.max_threshold}) must be in order and between 0 and 1."
            )


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """What `tongues lid measure` reports."""

    confusions: int = 20
    """How many of the most frequent confusions are listed."""

    def __post_init__(self) -> None:
        """Refuse a negative list length."""
        if self.confusions < 0:
            raise UserError(f"confusions is {self.confusions}; it must be 0 or more.")
