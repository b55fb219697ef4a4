"""A model's shape: the keys of a recipe, the named sizes, and consistency checks."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from corpus.config import Bounds, Config, NonNegativeFloat, NonNegativeInt, PositiveInt
from corpus.errors import UserError

T = TypeVar("T")

FAMILY = "tongues_moe"

Part = Literal[
    "encoder",
    "decoder",
    "embeddings",
    "attention",
    "feed_forward",
    "experts",
    "gates",
    "norms",
]
"""A part of a model by name; `nmt.model.freezing` says which parameters it has."""

DropProbability = Annotated[float, Bounds(at_least=0, below=1)]


@dataclass(frozen=True, kw_only=True)
class ModelShape(Config):
    """Layers, widths, dropout and experts; names and defaults are those of fairseq2's NLLB."""

    model_dim: PositiveInt = 1024
    """Width of embeddings and layers."""

    max_seq_len: PositiveInt = 1024
    """Maximum number of positions of a sequence."""

    num_encoder_layers: PositiveInt = 24
    """Layers of the encoder."""

    num_decoder_layers: PositiveInt = 24
    """Layers of the decoder."""

    num_encoder_attn_heads: PositiveInt = 16
    """Attention heads of an encoder layer; they must divide `model_dim`."""

    num_decoder_attn_heads: PositiveInt = 16
    """Attention heads of a decoder layer; they must divide `model_dim`."""

    ffn_inner_dim: PositiveInt = 8192
    """Inner width of a feed-forward network, and of an expert."""

    dropout_p: DropProbability = 0.1
    """Dropout on the outputs of layers, of experts and of the embedding."""

    attention_dropout_p: DropProbability = 0.1
    """Dropout on attention weights."""

    num_experts: NonNegativeInt = 0
    """Experts of a Mixture-of-Experts layer; 0 makes all layers dense."""

    moe_every_n_layers: PositiveInt = 4
    """Layer i, from 0, has experts where (i + 1) % n == 0, in encoder and decoder."""

    capacity_factor: NonNegativeFloat = 2.0
    """In training an expert takes at most capacity_factor · ceil(T/E) assignments; 0: no limit."""

    batch_prioritized_routing: bool = False
    """Assign capacity in the order of gate probabilities instead of the order of the batch."""

    expert_output_masking_p: DropProbability = 0.2
    """Probability that an expert's output for a token is masked in training (EOM)."""

    final_output_masking_p: DropProbability = 0.0
    """Probability that a token's combined output is masked in training (FOM)."""

    gating_dropout_p: DropProbability = 0.0
    """Probability that a layer routes tokens only to experts of their own rank in a step."""

    gating_dropout_ranks: NonNegativeInt = 0
    """Ranks that gating dropout simulates in a single process; 0 for one per expert, as in NLLB."""

    cmr: bool = False
    """Add a dense network parallel to the experts, with a gate between the two (CMR)."""

    cmr_gate_dropout_p: DropProbability = 0.0
    """Dropout on that gate."""


@dataclass(frozen=True, kw_only=True)
class MoEConfig(ModelShape):
    """A model's whole shape; fairseq2 builds its Transformer from it."""

    vocab_size: PositiveInt = 256_206
    """Tokens of the vocabulary; NLLB-200's by default."""

    pad_idx: NonNegativeInt = 0
    """Token that fills up batches."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields in the order of fairseq2's `NllbConfig`, in which files have them."""
        values = dataclasses.asdict(self)
        first = ("model_dim", "max_seq_len", "vocab_size", "pad_idx")
        return {name: values.pop(name) for name in first} | values


DEFAULT_SIZE = "small"


@dataclass(frozen=True, kw_only=True)
class _NamedSize:
    size: str | None = None
    """One of the sizes that `tongues nmt describe` knows; null: small, or the shape of the model
    that training starts from."""


def _none_by_default(config_class: type[T]) -> type[T]:
    """Make a dataclass of a subclass of `ModelShape`: fields of the shape may be left out, None."""
    for field in dataclasses.fields(ModelShape):
        config_class.__annotations__[field.name] = field.type | None  # type: ignore[operator]
        setattr(config_class, field.name, None)
    return dataclass(frozen=True, kw_only=True)(config_class)


@_none_by_default
class ModelConfig(ModelShape, _NamedSize):
    """A named size and the fields that differ from it; null keeps the value of the size."""


SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "model_dim": 64, "ffn_inner_dim": 128, "num_encoder_layers": 2, "num_decoder_layers": 2,
        "num_encoder_attn_heads": 2, "num_decoder_attn_heads": 2, "num_experts": 4,
        "moe_every_n_layers": 2, "max_seq_len": 512, "dropout_p": 0.0, "attention_dropout_p": 0.0,
    },
    "small": {
        "model_dim": 128, "ffn_inner_dim": 256, "num_encoder_layers": 3, "num_decoder_layers": 2,
        "num_encoder_attn_heads": 4, "num_decoder_attn_heads": 4, "num_experts": 4,
        "moe_every_n_layers": 2, "max_seq_len": 512, "dropout_p": 0.05, "attention_dropout_p": 0.0,
    },
    "small_dense": {
        "model_dim": 128, "ffn_inner_dim": 256, "num_encoder_layers": 4, "num_decoder_layers": 4,
        "num_encoder_attn_heads": 4, "num_decoder_attn_heads": 4, "max_seq_len": 512,
        "dropout_p": 0.3, "attention_dropout_p": 0.0,
    },
    "medium": {
        "model_dim": 256, "ffn_inner_dim": 1024, "num_encoder_layers": 4, "num_decoder_layers": 4,
        "num_encoder_attn_heads": 4, "num_decoder_attn_heads": 4, "max_seq_len": 512,
        "dropout_p": 0.2, "attention_dropout_p": 0.0,
    },
    "base": {
        "model_dim": 512, "ffn_inner_dim": 2048, "num_encoder_layers": 6, "num_decoder_layers": 6,
        "num_encoder_attn_heads": 8, "num_decoder_attn_heads": 8, "attention_dropout_p": 0.0,
    },
    "big": {
        "model_dim": 1024, "ffn_inner_dim": 4096, "num_encoder_layers": 6, "num_decoder_layers": 6,
        "dropout_p": 0.3, "attention_dropout_p": 0.0,
    },
    "600m": {
        "model_dim": 1024, "ffn_inner_dim": 4096, "num_encoder_layers": 12,
        "num_decoder_layers": 12,
    },
    "1b": {"model_dim": 1024, "ffn_inner_dim": 8192},
    "3b": {"model_dim": 2048, "ffn_inner_dim": 8192},
    "moe_54b": {
        "model_dim": 2048, "ffn_inner_dim": 8192, "num_experts": 128, "moe_every_n_layers": 4,
        "dropout_p": 0.3,
    },
}  # fmt: skip
"""Named sizes: what differs from `ModelShape`, whose layers, heads and dropout are NLLB-200's.

`small_dense` is the shape that does best on Multi30k's 29,000 pairs in Wu et al. 2021, "Good for
Misconceived Reasons" (their Transformer-Tiny); `base` and `big` are Vaswani et al. 2017's, with
norms before the layers; `medium` lies between.

The last four are NLLB-200's published shapes (NLLB Team 2022, sections 6 and 8): the distilled
600 M, the dense 1.3 B and 3.3 B, and the Mixture-of-Experts of 54.5 B. Dropout is that of the
released configurations, 0.1, and 0.3 for the Mixture-of-Experts.
"""


def named_config(size: str) -> MoEConfig:
    """Return the shape of a named size.

    Raises:
        UserError: If there is none of that name.
    """
    if size not in SIZES:
        raise UserError(f"there is no model size `{size}`; there are {', '.join(SIZES)}")
    return MoEConfig(**SIZES[size])


def resolve_config(config: ModelConfig, vocabulary_size: int, pad_index: int) -> MoEConfig:
    """Return the shape of a named size with a recipe's changes and the size of a vocabulary."""
    resolved = dataclasses.replace(
        named_config(config.size or DEFAULT_SIZE),
        **named_fields(config),
        vocab_size=vocabulary_size,
        pad_idx=pad_index,
    )
    check_shape(resolved)
    return resolved


def named_fields(config: ModelConfig) -> dict[str, Any]:
    """Return the fields of the shape that a recipe gives."""
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name != "size" and getattr(config, field.name) is not None
    }


def check_shape(config: MoEConfig) -> None:
    """Check a resolved shape.

    Raises:
        UserError: If a value does not go with another.
    """
    ranks = config.gating_dropout_ranks
    if ranks > 0 and config.num_experts % ranks != 0:
        raise UserError(
            f"`model.gating_dropout_ranks` is {ranks}; it must divide `num_experts`,"
            f" {config.num_experts}, or be 0"
        )
    for side in ("encoder", "decoder"):
        heads = getattr(config, f"num_{side}_attn_heads")
        if config.model_dim % heads != 0:
            raise UserError(
                f"`model.num_{side}_attn_heads` is {heads}; it must divide `model_dim`,"
                f" {config.model_dim}"
            )
