"""The settings of encoders: their architectures, training, distillation."""

from dataclasses import dataclass, field
from typing import Literal

from corpus.bitext_columns import check_columns
from corpus.config import execution_only
from corpus.errors import UserError
from mining.checks import check_not_negative, check_positive, check_share

Preprocessing = Literal["normalized", "laser"]
"""How text becomes tokens: as this package normalizes it, or as LASER does."""


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

    romanize: bool = False
    """Read n-grams of the romanized text too, where it differs: names and numbers then look alike
    in all scripts."""

    whitening: float = 0.0
    """After training, vectors are centered, and a direction of variance v is multiplied by v to
    the power of minus this: 0 leaves vectors as they are, 0.5 makes all variances equal. 0.25 helps
    on real text. A student of another teacher never does this: it has the teacher's space."""

    def __post_init__(self) -> None:
        check_not_negative(whitening=self.whitening)
        check_positive(
            dimension=self.dimension, buckets=self.buckets, min_n=self.min_n, hidden=self.hidden
        )
        if self.max_n < self.min_n:
            raise UserError(f"`max_n` is {self.max_n}, below `min_n`, {self.min_n}")


@dataclass(frozen=True, kw_only=True)
class LstmConfig:
    """The `lstm` encoder: a bidirectional LSTM, maximum over time. Sizes are LASER2's."""

    vocabulary_size: int = 50_000
    """SentencePiece pieces, fewer where the text does not give so many."""

    embedding_dim: int = 320
    """Width of a token."""

    hidden: int = 512
    """Width of a state; a bidirectional encoder's embedding has twice that."""

    layers: int = 5
    """Layers of the LSTM."""

    bidirectional: bool = True
    """Read the sentence from both ends."""

    dropout: float = 0.1
    """Between layers, in training."""

    max_tokens: int = 512
    """Only so many tokens of a sentence are read."""

    preprocessing: Preprocessing = "normalized"
    """Imported checkpoints have `laser`."""

    def __post_init__(self) -> None:
        check_positive(
            vocabulary_size=self.vocabulary_size,
            embedding_dim=self.embedding_dim,
            hidden=self.hidden,
            layers=self.layers,
            max_tokens=self.max_tokens,
        )
        check_share("dropout", self.dropout)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """The `transformer` encoder: self-attention, sinusoidal positions, pooling."""

    vocabulary_size: int = 50_000
    """SentencePiece pieces, fewer where the text does not give so many."""

    dimension: int = 512
    """Width of a state and of the embedding (LASER3 has 1,024)."""

    layers: int = 6
    """Layers (LASER3 has 12)."""

    heads: int = 8
    """Attention heads a layer."""

    ffn_inner_dim: int = 2048
    """Inner width of the feed-forward half."""

    norm_first: bool = True
    """Layer norm before each half, not after it."""

    final_norm: bool = True
    """Layer norm after the last layer."""

    embedding_norm: bool = False
    """Layer norm after the embedding."""

    scale_embedding: bool = True
    """Token vectors are multiplied by the root of the dimension."""

    activation: Literal["relu", "gelu"] = "relu"
    """Of the feed-forward half."""

    pooling: Literal["max", "mean", "cls"] = "max"
    """Of the states; `cls` takes the first one."""

    prepend_bos: bool = False
    """Sentences begin with `<s>`."""

    dropout: float = 0.1
    """Of the embedding and both halves, in training."""

    max_tokens: int = 512
    """Only so many tokens of a sentence are read."""

    preprocessing: Preprocessing = "normalized"
    """Imported checkpoints have `laser`."""

    def __post_init__(self) -> None:
        check_positive(
            vocabulary_size=self.vocabulary_size,
            dimension=self.dimension,
            layers=self.layers,
            heads=self.heads,
            ffn_inner_dim=self.ffn_inner_dim,
            max_tokens=self.max_tokens,
        )
        check_share("dropout", self.dropout)
        if self.dimension % self.heads:
            raise UserError(f"{self.heads} `heads` do not divide `dimension`, {self.dimension}")


SequenceConfig = LstmConfig | TransformerConfig


@dataclass(frozen=True, kw_only=True)
class EncoderTrainingConfig:
    """What training and distilling an encoder share."""

    bag: BagConfig = field(default_factory=BagConfig)

    lstm: LstmConfig = field(default_factory=LstmConfig)

    transformer: TransformerConfig = field(default_factory=TransformerConfig)

    epochs: float = 12.0
    """Passes over the bitext, after sampling by temperature."""

    batch_size: int = 256
    """Pairs per update; in a contrast every other target in the batch is a negative."""

    learning_rate: float | None = None
    """Peak; linear warm-up over the first twentieth, then linear to zero. Without a value, that of
    the architecture: 0.03 for bag, 0.001 for lstm, 0.0005 for transformer."""

    margin: float = 0.4
    """Subtracted from the cosine of true pairs in a contrast (additive margin softmax)."""

    scale: float = 12.0
    """Cosines of a contrast are multiplied by this before the softmax."""

    feature_dropout: float = 0.4
    """Share of a sentence's features left out in training a bag, drawn anew every time."""

    temperature: float = 5.0
    """A direction with n pairs is drawn in proportion to n^(1/temperature)."""

    validation_share: float = 0.02
    """Share of each direction's pairs held out for the validation error, at most 200."""

    validations: int = 8
    """How often the held-out pairs are evaluated; the weights with the fewest errors are kept, of
    equal ones the last."""

    patience: int = 4
    """Training stops after this many validations in a row with more errors; 0 never stops it."""

    seed: int = 1
    """Of random weights, the order of pairs, and the held-out lines."""

    threads: int = 1
    """CPU threads; the last bits of the weights depend on it. Two are slower on a busy machine."""

    checkpoint_updates: int = execution_only(500)
    """Updates between checkpoints; a killed run resumes from the last one."""

    device: Literal["auto", "cpu", "cuda"] = execution_only("auto")
    """Of lstm and transformer; bag trains on the CPU."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source`, `target` and `score` of bitext whose header
    does not say which they are."""

    def __post_init__(self) -> None:
        check_columns(self.columns)
        check_positive(
            epochs=self.epochs,
            batch_size=self.batch_size,
            scale=self.scale,
            temperature=self.temperature,
            threads=self.threads,
            validations=self.validations,
            checkpoint_updates=self.checkpoint_updates,
        )
        if self.learning_rate is not None:
            check_positive(learning_rate=self.learning_rate)
        check_share("validation_share", self.validation_share)
        check_share("feature_dropout", self.feature_dropout)
        check_not_negative(patience=self.patience)


@dataclass(frozen=True, kw_only=True)
class TrainEncoderConfig(EncoderTrainingConfig):
    """How an encoder is trained on bitext, contrastively."""

    architecture: Literal["bag", "lstm", "transformer"] = "bag"
    """Which encoder: `bag` on a CPU, `transformer` or `lstm` on a GPU."""

    start: Literal["random", "spectral"] = "random"
    """Vectors of `bag`'s features before training. `spectral` puts features of translations near
    each other: minutes of training on real text go much further, at a learning rate of 0.01."""

    hard_negatives: int = 256
    """Further sentences per batch, neighbors of its sources, as negatives."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(hard_negatives=self.hard_negatives)


@dataclass(frozen=True, kw_only=True)
class DistillConfig(EncoderTrainingConfig):
    """How a student learns the space of a frozen teacher (Heffernan et al. 2022)."""

    architecture: Literal["teacher", "bag", "lstm", "transformer"] = "teacher"
    """`teacher` continues from a copy of the teacher. The others start from random weights and
    train subwords of their own; their embeddings must be as wide as the teacher's."""

    pivot: str = "eng_Latn"
    """The language whose teacher vectors the student learns."""

    cosine_weight: float = 1.0
    """Of 1 - cosine between the student's sentence and the teacher's translation of it."""

    self_weight: float = 1.0
    """Of 1 - cosine between the student's and the teacher's pivot sentence."""

    contrast_weight: float = 1.0
    """Of telling the teacher's translation from the others in the batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(
            cosine_weight=self.cosine_weight,
            self_weight=self.self_weight,
            contrast_weight=self.contrast_weight,
        )
