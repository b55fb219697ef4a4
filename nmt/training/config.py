"""Configs of vocabulary and training, with their defaults; each other room has its own."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from corpus.bitext_columns import check_columns
from corpus.config import execution_only
from corpus.errors import UserError
from corpus.languages import parse_direction
from nmt.data.config import DataConfig, MonolingualConfig
from nmt.training.distillation_config import DistillationConfig
from nmt.training.parallel.config import ParallelConfig
from nmt.training.sections import ChrfConfig, ComputeConfig, SelectionConfig

PRIMARY = "primary"
DISTILLED = "distilled"
TAGS = (PRIMARY, "mined", "back_translated", "smt_back_translated", DISTILLED)
"""Where a pair comes from. Primary and distilled bitext carry no tag in the source; the others one
each.

Back-translations of a neural model and of a statistical one are told apart, as in NLLB-200."""

ONE_WAY_TAGS = ("back_translated", "smt_back_translated", DISTILLED)
"""Pairs that are trained from source to target only. A model wrote the source of back-translated
ones, which is nothing to learn to write, and the target of distilled ones."""

RESOURCE_LEVELS = ("high", "low", "very_low")


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """How the SentencePiece model is trained."""

    size: int = 256_000
    """Pieces, control symbols of SentencePiece included (NLLB-200)."""

    kind: Literal["bpe", "unigram"] = "bpe"
    """SentencePiece's algorithm."""

    temperature: float = 5.0
    """Languages are sampled with p ∝ n^(1/temperature), n their distinct sentences (NLLB-200)."""

    max_sentences: int = 10_000_000
    """Sentences that the model is trained on, over all languages. Bounds memory."""

    languages: tuple[str, ...] = ()
    """Languages that get a token without having text."""

    character_coverage: float = 0.99995
    """Share of characters that get a piece of their own."""

    seed: int = 1
    """Chooses the sentences."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source` and `target` of bitext whose header does not
    say which they are."""

    def __post_init__(self) -> None:
        check_columns(self.columns)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A named size and what differs from it; fields keep fairseq2's names."""

    size: str = "small"
    """One of `tongues nmt describe`'s sizes."""

    model_dim: int | None = None
    num_encoder_layers: int | None = None
    num_decoder_layers: int | None = None
    num_encoder_attn_heads: int | None = None
    num_decoder_attn_heads: int | None = None
    ffn_inner_dim: int | None = None
    max_seq_len: int | None = None
    dropout_p: float | None = None
    attention_dropout_p: float | None = None

    num_experts: int | None = None
    """Experts of a Mixture-of-Experts layer; 0 makes all layers dense."""

    moe_every_n_layers: int | None = None
    """Every n-th encoder and decoder layer has experts."""

    capacity_factor: float | None = None
    """In training an expert takes capacity_factor · ceil(T/E) assignments; 0 for all."""

    batch_prioritized_routing: bool | None = None
    """Capacity is given out by gate probability instead of by the order of the batch."""

    expert_output_masking_p: float | None = None
    """Probability that an expert's output for a token is masked in training (EOM)."""

    final_output_masking_p: float | None = None
    """Probability that a token's combined output is masked in training (FOM)."""

    gating_dropout_p: float | None = None
    """Probability that a layer leaves tokens to the experts of their own rank for a step."""

    gating_dropout_ranks: int | None = None
    """In one process, the ranks that gating dropout imagines; 0 for one per expert."""

    cmr: bool | None = None
    """A dense network beside the experts and a gate between them (conditional routing)."""

    cmr_gate_dropout_p: float | None = None
    """Dropout on that gate."""


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """How pairs become batches."""

    max_tokens: int = 8192
    """Source and target positions of a batch, padding included."""

    temperature: float = 1.0
    """Directions are sampled with p ∝ n^(1/temperature), n their pairs (NLLB-200: 1)."""

    max_length: int = 256
    """Pairs with more tokens on a side are left out."""

    round_size: int = 65_536
    """Pairs that are drawn at once, then sorted by length into batches."""

    def __post_init__(self) -> None:
        if self.max_tokens < 2 * (self.max_length + 3):
            raise UserError(
                f"`max_tokens` is {self.max_tokens}, too small for one pair of `max_length`"
                f" {self.max_length}"
            )
        if self.temperature <= 0:
            raise UserError(f"`temperature` is {self.temperature}; it must be positive")


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """What is trained from an update on, until the next phase."""

    from_update: int = 0

    directions: tuple[str, ...] = ()
    """Directions of this phase; empty leaves the choice to `resource_levels`."""

    resource_levels: tuple[str, ...] = RESOURCE_LEVELS
    """Levels of directions in this phase; only where `directions` is empty."""

    def __post_init__(self) -> None:
        for direction in self.directions:
            parse_direction(direction)
        for level in self.resource_levels:
            if level not in RESOURCE_LEVELS:
                raise UserError(
                    f"`{level}` is not a resource level; there are {', '.join(RESOURCE_LEVELS)}"
                )


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """When directions enter training; the optimizer and its schedule go on across phases."""

    phases: tuple[PhaseConfig, ...] = (PhaseConfig(),)

    high_resource_pairs: int = 1_000_000
    """A direction with this many pairs is `high`, one with fewer `low` (NLLB-200)."""

    very_low_resource_pairs: int = 100_000
    """A direction with this many pairs or fewer is `very_low` (NLLB-200)."""

    def __post_init__(self) -> None:
        starts = [phase.from_update for phase in self.phases]
        if not starts or starts[0] != 0 or sorted(set(starts)) != starts:
            raise UserError(f"phases begin at updates {starts}; the first is 0 and they must rise")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its schedule."""

    learning_rate: float = 0.002
    """Peak, reached after the warm-up."""

    betas: tuple[float, ...] = (0.9, 0.98)
    epsilon: float = 1e-6
    weight_decay: float = 0.0

    warmup_updates: int = 8000
    """Updates over which the learning rate rises from 0."""

    schedule: Literal["inverse_sqrt", "linear", "cosine"] = "inverse_sqrt"
    """How the learning rate falls; the latter two reach 0 at the last update."""

    max_grad_norm: float = 1.0
    """Gradients with a larger norm are scaled down to it; 0 leaves them as they are (NLLB-200)."""

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"`learning_rate` is {self.learning_rate}; it must be positive")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"`betas` are {list(self.betas)}; they are two from 0 to below 1")
        for name in ("epsilon", "weight_decay", "max_grad_norm", "warmup_updates"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"`{name}` is {getattr(self, name)}; it must not be negative")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run."""

    vocabulary: Path
    """Directory written by `tongues nmt vocabulary`."""

    bitext: dict[str, tuple[Path, ...]]
    """Bitext directories by tag: primary, mined, back_translated, smt_back_translated,
    distilled."""

    data: DataConfig = field(default_factory=DataConfig)
    monolingual: MonolingualConfig = field(default_factory=MonolingualConfig)

    flores: Path | None = None
    """Directory in FLORES-200's layout, for validation; none without it. The sentences of all its
    splits are kept out of training."""

    evaluation_sets: tuple[Path, ...] = ()
    """Other test sets whose sentences are kept out of training: directories in FLORES-200's layout,
    directories of `.txt` and `.tsv` files, or such files."""

    validation_split: str = "dev"

    validation_sentences: int = 50
    """First sentences of the split whose likelihood is measured, per direction."""

    chrf: ChrfConfig = field(default_factory=ChrfConfig)

    directions: tuple[str, ...] = ()
    """Directions to train; empty for both directions of all pairs in the bitext."""

    model: ModelConfig = field(default_factory=ModelConfig)
    batches: BatchConfig = field(default_factory=BatchConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)

    parallel: ParallelConfig = execution_only(ParallelConfig())  # noqa: RUF009 (frozen)
    """Another number or arrangement of processes may go on with a training."""

    distillation: DistillationConfig | None = None
    """A teacher beside the bitext; none without it."""

    updates: int = 300_000
    """Optimizer steps in all."""

    label_smoothing: float = 0.1

    balance_loss_weight: float = 0.01
    """Weight of the gates' load-balance losses, summed over layers, per target token."""

    cmr_loss_weight: float = 0.1
    """Weight of |mean G - 0.8| per target token, where the model has conditional routing."""

    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    """How exact fp32 products are; `medium` lets processors that can multiply in bfloat16."""

    checkpoint_every: int = 1000
    """Updates between checkpoints."""

    validate_every: int = 5000
    """Updates between validations."""

    report_every: int = 100
    """Updates between lines of progress."""

    seed: int = 2

    threads: int = 2
    """Torch threads. Results are reproducible for a given number on a given machine."""

    def __post_init__(self) -> None:
        unknown = [tag for tag in self.bitext if tag not in TAGS]
        if unknown:
            raise UserError(f"`{unknown[0]}` is not a tag of bitext; there are {', '.join(TAGS)}")
        if not any(self.bitext.values()):
            raise UserError("`bitext` names no directory")
        for direction in self.directions:
            parse_direction(direction)
        if self.optimizer.warmup_updates >= self.updates:
            raise UserError(
                f"`optimizer.warmup_updates` is {self.optimizer.warmup_updates:,}; it must be less"
                f" than `updates`, {self.updates:,}"
            )
        for name in ("checkpoint_every", "validate_every"):
            if getattr(self, name) % self.report_every != 0:
                raise UserError(
                    f"`{name}` is {getattr(self, name)}; it must be a multiple of `report_every`,"
                    f" {self.report_every}"
                )
        self._check_selection()

    def _check_selection(self) -> None:
        selection = self.selection
        if not selection.needs_validation:
            return
        if self.flores is None:
            raise UserError(
                "`selection` compares validations, and there are none without `flores`; give it, or"
                " set `selection.keep` to last and `selection.patience` to 0"
            )
        if selection.keep == "best" and self.checkpoint_every != self.validate_every:
            raise UserError(
                f"with `selection.keep` best, `checkpoint_every` ({self.checkpoint_every}) and"
                f" `validate_every` ({self.validate_every}) must be equal: every update that is"
                " validated is saved, as it may be the best"
            )
        if selection.score == "chrf++" and self.chrf.sentences == 0:
            raise UserError("`selection.score` is chrf++, but `chrf.sentences` is 0")
