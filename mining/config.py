"""The settings of the mining commands, each default in this one place."""

from dataclasses import dataclass, field
from typing import Literal

from corpus.config import execution_only

Margin = Literal["ratio", "distance", "absolute"]
Retrieval = Literal["max", "intersect", "forward", "backward"]


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` is a share between 0 and 1, not {value}")


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"`{name}` must be above 0, not {value}")


@dataclass(frozen=True, kw_only=True)
class SentenceFilterConfig:
    """Which sentences of a crawl are worth keeping. Lengths are in characters, for all scripts."""

    min_characters: int = 6
    """Shorter sentences are too common to be anybody's translation."""

    max_characters: int = 1000
    """Longer ones are overlong lines; FLORES-200's longest sentence has about 700."""

    min_letter_share: float = 0.6
    """Letters and marks among the characters that are not spaces."""

    max_digit_share: float = 0.35
    """Digits among the characters that are not spaces."""

    max_character_run: int = 12
    """The same character this many times in a row is a ruler or a scream, not a sentence."""

    max_word_share: float = 0.5
    """Share of the commonest word, in sentences of at least eight words."""

    min_script_share: float = 0.5
    """Letters that belong to the script of the identified language."""

    min_lid_score: float = 0.5
    """Probability of the identified language; the identifier's own thresholds come first."""

    def __post_init__(self) -> None:
        _check_positive(
            min_characters=self.min_characters,
            max_characters=self.max_characters,
            max_character_run=self.max_character_run,
        )
        for name in ("min_letter_share", "max_digit_share", "max_word_share", "min_script_share"):
            _check_share(name, getattr(self, name))
        _check_share("min_lid_score", self.min_lid_score)


@dataclass(frozen=True, kw_only=True)
class SentencesConfig:
    """How crawl shards become sentences."""

    languages: tuple[str, ...] = ()
    """Languages to keep; empty keeps all that are identified."""

    repair_mojibake: bool = True
    """Undo wrong decodings ("Ð¿Ñ€Ð¸" is "при") with ftfy, where its heuristic sees one."""

    filters: SentenceFilterConfig = field(default_factory=SentenceFilterConfig)

    workers: int = execution_only(2)
    """Processes, each with a shard and an identifier of its own."""


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
        _check_positive(
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
        _check_positive(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            scale=self.scale,
            temperature=self.temperature,
            threads=self.threads,
        )
        _check_share("validation_share", self.validation_share)
        _check_share("feature_dropout", self.feature_dropout)
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
        _check_positive(batch_characters=self.batch_characters, workers=self.workers)


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

    block_size: int = 4096
    """Queries per search; bounds memory, never changes the result."""

    threads: int = execution_only(1)
    """CPU threads of the search."""

    def __post_init__(self) -> None:
        _check_positive(neighbors=self.neighbors, block_size=self.block_size, threads=self.threads)


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
        _check_share("max_overlap", self.max_overlap)
        if self.max_length_ratio <= 1:
            raise ValueError(f"`max_length_ratio` must be above 1, not {self.max_length_ratio}")
        if self.min_score > self.max_score:
            raise ValueError(f"`min_score` {self.min_score} is above `max_score` {self.max_score}")


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
