"""Configs of encoders: architectures, training, distillation."""

from dataclasses import dataclass, field
from typing import Literal

from corpus.bitext_columns import check_columns
from corpus.config import (
    Config,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
    execution_only,
)
from corpus.errors import UserError

Preprocessing = Literal["normalized", "laser"]
"""How text becomes tokens: as this package normalizes it, or as LASER does."""


@dataclass(frozen=True, kw_only=True)
class BagConfig(Config):
    """The `bag` encoder: a mean of subword and character n-gram vectors, then a residual MLP."""

    dimension: PositiveInt = 256
    """Width of the sentence embedding."""

    vocabulary_size: PositiveInt = 8000
    """SentencePiece pieces, fewer where the text does not give so many."""

    buckets: PositiveInt = 1 << 17
    """Rows of the hashed character n-gram table."""

    min_n: PositiveInt = 3
    """Shortest character n-gram."""

    max_n: PositiveInt = 5
    """Longest character n-gram."""

    hidden: PositiveInt = 512
    """Inner width of the residual MLP."""

    max_characters: PositiveInt = 400
    """Characters of a sentence that are read, from its beginning."""

    romanize: bool = False
    """Read n-grams of the romanized text too, where it differs: names and numbers then look alike
    in all scripts."""

    whitening: NonNegativeFloat = 0.0
    """After training, vectors are centered, and a direction of variance v is multiplied by v to
    the power of minus this: 0 leaves vectors as they are, 0.5 makes all variances equal. 0.25 helps
    on real text. A student of another teacher never does this: it has the teacher's space."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_n < self.min_n:
            raise UserError(f"`max_n` is {self.max_n}, below `min_n`, {self.min_n}")


@dataclass(frozen=True, kw_only=True)
class LstmConfig(Config):
    """The `lstm` encoder: a bidirectional LSTM, maximum over time. Sizes are LASER2's."""

    vocabulary_size: PositiveInt = 50_000
    """SentencePiece pieces, fewer where the text does not give so many."""

    embedding_dim: PositiveInt = 320
    """Width of a token."""

    hidden: PositiveInt = 512
    """Width of a state; a bidirectional encoder's embedding has twice that."""

    layers: PositiveInt = 5
    """Layers of the LSTM."""

    bidirectional: bool = True
    """Read the sentence from both ends."""

    dropout: Share = 0.1
    """Between layers, in training."""

    max_tokens: PositiveInt = 512
    """Only so many tokens of a sentence are read."""

    preprocessing: Preprocessing = "normalized"
    """Imported checkpoints have `laser`."""


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(Config):
    """The `transformer` encoder: self-attention, sinusoidal positions, pooling."""

    vocabulary_size: PositiveInt = 50_000
    """SentencePiece pieces, fewer where the text does not give so many."""

    dimension: PositiveInt = 512
    """Width of a state and of the embedding (LASER3 has 1,024)."""

    layers: PositiveInt = 6
    """Layers (LASER3 has 12)."""

    heads: PositiveInt = 8
    """Attention heads a layer."""

    ffn_inner_dim: PositiveInt = 2048
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

    dropout: Share = 0.1
    """Of the embedding and both halves, in training."""

    max_tokens: PositiveInt = 512
    """Only so many tokens of a sentence are read."""

    preprocessing: Preprocessing = "normalized"
    """Imported checkpoints have `laser`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dimension % self.heads:
            raise UserError(f"{self.heads} `heads` do not divide `dimension`, {self.dimension}")


SequenceConfig = LstmConfig | TransformerConfig


@dataclass(frozen=True, kw_only=True)
class UniversalConfig(Config):
    """The `universal` encoder: the builtin encoder's network, with pieces of its own."""

    vocabulary_size: PositiveInt = 8000
    """SentencePiece pieces, fewer where the text does not give so many; 16,000 for languages of
    several scripts. Those that the builtin encoder has too begin with its vectors."""

    max_tokens: PositiveInt = 512
    """Only so many tokens of a sentence are read."""

    row_rate_factor: PositiveFloat = 67.0
    """Vectors of pieces learn with so many times the rate of the network."""


@dataclass(frozen=True, kw_only=True)
class EncoderTrainingConfig(Config):
    """Settings shared by training and distillation of an encoder."""

    bag: BagConfig = field(default_factory=BagConfig)

    lstm: LstmConfig = field(default_factory=LstmConfig)

    transformer: TransformerConfig = field(default_factory=TransformerConfig)

    universal: UniversalConfig = field(default_factory=UniversalConfig)

    epochs: PositiveFloat = 12.0
    """Passes over the bitext, after sampling by temperature."""

    batch_size: PositiveInt = 256
    """Pairs per update; in a contrast every other target in the batch is a negative."""

    learning_rate: PositiveFloat | None = None
    """Peak; linear warm-up over the first twentieth, then linear to zero. Without a value, that of
    the architecture: 0.03 for bag, 0.001 for lstm, 0.0005 for transformer, 0.0003 for universal."""

    margin: float = 0.4
    """Subtracted from the cosine of true pairs in a contrast (additive margin softmax)."""

    scale: PositiveFloat = 12.0
    """Cosines of a contrast are multiplied by this before the softmax."""

    feature_dropout: Share = 0.4
    """Share of a sentence's features that is dropped at random in training a bag."""

    temperature: PositiveFloat = 5.0
    """A direction with n pairs is drawn in proportion to n^(1/temperature)."""

    validation_share: Share = 0.02
    """Share of each direction's pairs held out for the validation error, at most 200."""

    validations: PositiveInt = 8
    """How often the held-out pairs are evaluated; the weights with the fewest errors are kept, of
    equal ones the last."""

    patience: NonNegativeInt = 4
    """Training stops after this many validations in a row with more errors; 0 never stops it."""

    seed: int = 1
    """Of random weights, the order of pairs, and the held-out lines."""

    threads: PositiveInt = 1
    """CPU threads; the last bits of the weights depend on it. Two are slower on a busy machine."""

    checkpoint_updates: PositiveInt = execution_only(500)  # noqa: RUF009
    """Updates between checkpoints; a killed run resumes from the last one."""

    device: Literal["auto", "cpu", "cuda"] = execution_only("auto")
    """Of lstm and transformer; bag and universal train on the CPU."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source`, `target` and `score` of bitext whose header
    does not say which they are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns)


@dataclass(frozen=True, kw_only=True)
class TrainEncoderConfig(EncoderTrainingConfig):
    """How an encoder is trained on bitext, contrastively."""

    architecture: Literal["bag", "lstm", "transformer", "universal"] = "bag"
    """Which encoder: `bag` on a CPU, `transformer` or `lstm` on a GPU; `universal` begins with the
    builtin encoder's network."""

    start: Literal["random", "spectral"] = "random"
    """Vectors of `bag`'s features before training. `spectral` puts features of translations near
    each other: minutes of training on real text go much further, at a learning rate of 0.01."""

    hard_negatives: NonNegativeInt = 256
    """Further sentences per batch, neighbors of its sources, as negatives."""


@dataclass(frozen=True, kw_only=True)
class BuiltinDistillConfig(Config):
    """How a student with the builtin encoder's network is trained, instead of those keys above.

    Measured on families of languages (docs/experiments.md): few updates are enough where there are
    a few thousand pairs of whole sentences, since the network knows what to do.
    """

    epochs: PositiveFloat = 1.5
    """Passes over the bitext, after sampling by temperature."""

    least_updates: PositiveInt = 40
    """Updates for little bitext, which is passed over more often then. New pieces begin where their
    translations are, and 2,500 pairs taught no more after 20 to 30."""

    batch_size: PositiveInt = 128
    """Pairs per update."""

    margin: float = 0.0
    """Subtracted from the cosine of true pairs in the contrast."""

    scale: PositiveFloat = 20.0
    """Cosines of the contrast are multiplied by this before the softmax."""

    self_weight: NonNegativeFloat = 0.0
    """Of 1 - cosine between the student's and the teacher's pivot sentence. At 0 the student reads
    no pivot text, and its pieces are those of the other languages."""

    contrast_weight: NonNegativeFloat = 0.5
    """Of telling the teacher's translation from the others in the batch."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig(EncoderTrainingConfig):
    """How a student learns the space of a frozen teacher (Heffernan et al. 2022)."""

    architecture: Literal["teacher", "bag", "lstm", "transformer", "universal"] = "teacher"
    """`teacher` continues from a copy of the teacher; of the builtin encoder's network with pieces
    of the student's own, as `universal`. The others start from random weights and train subwords of
    their own; their embeddings must be as wide as the teacher's."""

    builtin: BuiltinDistillConfig = field(default_factory=BuiltinDistillConfig)

    families: bool = False
    """A student for each family of languages, by script and relation, in a directory of its own;
    `students.yaml` says which is whose. Languages of the builtin encoder need none."""

    pivot: str = "eng_Latn"
    """The language whose teacher vectors the student learns."""

    cosine_weight: NonNegativeFloat = 1.0
    """Of 1 - cosine between the student's sentence and the teacher's translation of it."""

    self_weight: NonNegativeFloat = 1.0
    """Of 1 - cosine between the student's and the teacher's pivot sentence."""

    contrast_weight: NonNegativeFloat = 1.0
    """Of telling the teacher's translation from the others in the batch."""
