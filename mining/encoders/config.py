"""The settings of encoders: training, embedding, xsim."""

from dataclasses import dataclass, field
from typing import Literal

from corpus.config import execution_only
from mining.checks import check_positive, check_share
from mining.search.config import Margin


@dataclass(frozen=True, kw_only=True)
class BagConfig:
    """The `bag` encoder: a mean of subword and character n-gram vectors, then a residual MLP."""

    dimension: int = 256
    """Width of the sentence embedding."""

    vocabulary_size: int = 8000
    """SentencePiece pieces, fewer where the text does not give so many."""

    buckets: int = 1 << 17
    """Rows of the hashed character n-gram table."""

    min_n: int = 3
    """Shortest character n-gram."""

    max_n: int = 5
    """Longest character n-gram."""

    hidden: int = 512
    """Inner width of the residual MLP."""

    max_characters: int = 400
    """Only this much of a sentence's beginning is read."""

    def __post_init__(self) -> None:
        check_positive(
            dimension=self.dimension, buckets=self.buckets, min_n=self.min_n, hidden=self.hidden
        )
        if self.max_n < self.min_n:
            raise ValueError(f"`max_n` is {self.max_n}, below `min_n`, {self.min_n}")


@dataclass(frozen=True, kw_only=True)
class TrainEncoderConfig:
    """How an encoder is trained on bitext, contrastively."""

    architecture: Literal["bag"] = "bag"
    """Which encoder."""

    bag: BagConfig = field(default_factory=BagConfig)

    epochs: float = 12.0
    """Passes over the bitext, after sampling by temperature."""

    batch_size: int = 256
    """Pairs per update; every other target in the batch is a negative."""

    learning_rate: float = 0.03
    """Peak; linear warm-up over the first twentieth, then linear to zero."""

    margin: float = 0.4
    """Subtracted from the cosine of true pairs (additive margin softmax)."""

    scale: float = 12.0
    """Cosines are multiplied by this before the softmax."""

    feature_dropout: float = 0.4
    """Share of a sentence's features left out in training, drawn anew every time."""

    hard_negatives: int = 256
    """Sentences a batch has besides: neighbors of its sources, which the targets are told from."""

    temperature: float = 5.0
    """A direction with n pairs is drawn in proportion to n^(1/temperature)."""

    validation_share: float = 0.02
    """Share of each direction's pairs held out for the validation error, at most 200."""

    seed: int = 1
    """Of the initial weights, the order of pairs, and the held-out lines."""

    threads: int = 1
    """CPU threads; the last bits of the weights depend on it. Two are slower on a busy machine."""

    def __post_init__(self) -> None:
        check_positive(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            scale=self.scale,
            temperature=self.temperature,
            threads=self.threads,
        )
        check_share("validation_share", self.validation_share)
        check_share("feature_dropout", self.feature_dropout)
        if self.hard_negatives < 0:
            raise ValueError(f"`hard_negatives` must not be negative, it is {self.hard_negatives}")


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """How sentences are embedded."""

    batch_characters: int = 100_000
    """Characters per batch of sentences of similar length."""

    workers: int = execution_only(2)
    """Processes, each with a shard and an encoder of its own and one thread."""

    def __post_init__(self) -> None:
        check_positive(batch_characters=self.batch_characters, workers=self.workers)


@dataclass(frozen=True, kw_only=True)
class XsimConfig:
    """How the share of sentences that find another's translation is measured."""

    neighbors: int = 4
    """Neighbors of the margin, k."""

    margin: Margin = "ratio"
    """As in mining."""

    pivot: str = "eng_Latn"
    """Every other language is searched against it; where it is missing, the first one is."""

    directions: tuple[str, ...] = ()
    """Directions to measure instead, as `fra_Latn-deu_Latn`."""

    languages: tuple[str, ...] = ()
    """Languages to measure; empty takes all of the split."""

    threads: int = execution_only(1)
    """CPU threads of the encoder."""
