"""Parts of the training config: how an update is computed, what is kept, what is translated."""

from dataclasses import dataclass
from typing import Literal

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
from corpus.languages import parse_direction
from nmt.model.config import DropProbability, Part


@dataclass(frozen=True, kw_only=True)
class ComputeConfig(Config):
    """How an update is computed."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of products in forward and backward passes; weights and optimizer stay in fp32.
    fp16 needs a GPU and scales the loss."""

    accumulated_batches: PositiveInt = 1
    """Batches of each process whose gradients are summed for one update."""

    activation_checkpointing: bool = False
    """Keep only the inputs of layers and recompute the rest in the backward pass."""

    compile: bool = False
    """Compile the layers with `torch.compile`: minutes at the start, faster updates."""

    compile_backend: str = "inductor"
    """Backend of `torch.compile`."""

    max_skipped_updates: PositiveInt = 100
    """Updates in a row with gradients that are not finite after which training fails."""

    peak_teraflops: PositiveFloat | None = execution_only(None)  # noqa: RUF009
    """Peak of one device in 10^12 operations per second, for the model FLOPs utilization; null
    measures it with a large product at the start."""

    tensorboard: bool = execution_only(True)
    """Also write metrics for TensorBoard."""


@dataclass(frozen=True, kw_only=True)
class ChrfConfig(Config):
    """Translation of validation sentences, scored with chrF++."""

    sentences: NonNegativeInt = 20
    """First sentences of the split that are translated per direction; 0 for none."""

    directions: tuple[str, ...] = ()
    """Directions to translate; empty for `max_directions` of those that are validated."""

    max_directions: NonNegativeInt = 20
    """With no `directions`: this many, evenly spaced among those validated; 0 for all."""

    beam_size: PositiveInt = 1
    """1 is greedy: several times faster than NLLB's 4, and some tenths of chrF++ lower."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for direction in self.directions:
            parse_direction(direction)


@dataclass(frozen=True, kw_only=True)
class SelectionConfig(Config):
    """Which update is kept as the model, and when training stops early."""

    keep: Literal["last", "best"] | None = None
    """Whether the model has the weights of the last update or of the best validation; null: last,
    and with `start_from` best where there is a validation."""

    score: Literal["nll", "chrf++"] = "nll"
    """Criterion for the best update: lowest mean negative log-likelihood per token, or highest mean
    chrF++, over directions."""

    max_loss: NonNegativeFloat = 1.0
    """chrF++ that directions may lose on average against the start: with replay and `score` chrf++
    the replayed ones, when the best update is selected by the others, and the others of
    `comparison` when averages are. Likelihood sets no limit."""

    patience: NonNegativeInt | None = None
    """Validations in a row without a better score after which training stops; 0 for never. null: 0,
    and with `start_from` 5 where there is a validation."""

    @property
    def needs_validation(self) -> bool:
        """Whether the score is used."""
        return self.keep == "best" or bool(self.patience)


@dataclass(frozen=True, kw_only=True)
class CheckpointsConfig(Config):
    """Which checkpoints are kept in `training/checkpoints/`, each as large as model and optimizer.

    To resume from an earlier one, delete the later ones.
    """

    last: PositiveInt = 1
    """So many of the latest."""

    best: PositiveInt = 1
    """With `selection.keep` best, so many of those with the best validations besides."""

    when_done: bool = False
    """Whether they stay when training is done."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig(Config):
    """Small trained matrices beside the projections of a model that stays as it is (LoRA)."""

    rank: PositiveInt = 16
    """Rank of what is added to each projection."""

    scale: PositiveFloat = 2.0
    """Factor of what is added: alpha / rank of Hu et al. 2021."""

    dropout_p: DropProbability = 0.0
    """Dropout on the inputs of what is added."""

    targets: tuple[Literal["attention", "feed_forward"], ...] = ("attention", "feed_forward")
    """Projections that get it: of attention, of feed-forward networks that are no experts."""

    also: tuple[Part, ...] = ()
    """Parts that are trained as they are: `embeddings` for a language that was added."""

    save: Literal["merged", "adapter"] = "merged"
    """`merged`: a model like the one it started from. `adapter`: only what is added, as
    `adapter.safetensors`, for the key `adapter` of translation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.targets:
            raise UserError("`targets` is empty, so that nothing would be adapted")


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig(Config):
    """What a training that starts from a model changed: chrF++ before and after.

    Needs `flores`. The start is translated with before the first update.
    """

    max_trained: NonNegativeInt = 4
    """Directions of the training that are compared at most, evenly spaced."""

    max_others: NonNegativeInt = 6
    """Other directions of the model at most, evenly spaced; what training cost them."""

    directions: tuple[str, ...] = ()
    """Other directions to compare besides."""

    split: str = "devtest"
    """Split of `flores`; not the one that selects the update."""

    sentences: PositiveInt = 100
    """First sentences of the split."""

    beam_size: PositiveInt = 1
    """As in `chrf`."""

    resamples: PositiveInt = 1000
    """Of the bootstrap that gives p."""

    significance: Share = 0.05
    """Differences with a smaller p are counted as better or worse."""

    averages: tuple[Share, ...] = ()
    """Shares of the trained weights, the start having the rest: each average is compared too, and
    the model keeps the one that is best in the trained directions among those whose others lost no
    more than `selection.max_loss`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for direction in self.directions:
            parse_direction(direction)

    @property
    def is_used(self) -> bool:
        """Whether anything is compared."""
        return bool(self.max_trained or self.max_others or self.directions)
