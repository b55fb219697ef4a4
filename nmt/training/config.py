"""Config of training, with its defaults."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from corpus.config import (
    Bounds,
    Config,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    execution_only,
)
from corpus.errors import UserError
from corpus.languages import parse_direction
from nmt.data.config import (
    TAGS,
    BatchConfig,
    CurriculumConfig,
    DataConfig,
    MonolingualConfig,
    TrainingData,
)
from nmt.model.config import ModelConfig
from nmt.training.distillation_config import DistillationConfig
from nmt.training.parallel.config import ParallelConfig
from nmt.training.sections import ChrfConfig, ComputeConfig, SelectionConfig


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Config):
    """AdamW and its schedule."""

    learning_rate: PositiveFloat = 0.002
    """Peak, reached after the warm-up."""

    betas: tuple[Annotated[float, Bounds(at_least=0, below=1)], ...] = (0.9, 0.98)
    """Decay of AdamW's running means of gradients and of their squares (NLLB-200)."""

    epsilon: NonNegativeFloat = 1e-6
    """Added to AdamW's denominator, so that small gradients do not divide by zero (NLLB-200)."""

    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay of AdamW, multiplied by the learning rate; 0 for none (NLLB-200)."""

    warmup_updates: NonNegativeInt = 8000
    """Updates over which the learning rate rises from 0."""

    schedule: Literal["inverse_sqrt", "linear", "cosine"] = "inverse_sqrt"
    """How the learning rate falls; the latter two reach 0 at the last update."""

    max_grad_norm: NonNegativeFloat = 1.0
    """Gradients with a larger norm are scaled down to it; 0 leaves them as they are (NLLB-200)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.betas) != 2:
            raise UserError(f"`betas` are {list(self.betas)}; there must be two")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
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
    """Split of `flores` that validations use."""

    validation_sentences: PositiveInt = 50
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
    """How processes share the work; a training may resume with another arrangement of them."""

    distillation: DistillationConfig | None = None
    """A teacher model whose predictions the student learns from as well; null for none."""

    updates: PositiveInt = 300_000
    """Optimizer steps in all."""

    label_smoothing: Annotated[float, Bounds(at_least=0, below=1)] = 0.1
    """Share of the target probability that is spread evenly over the vocabulary (NLLB-200)."""

    balance_loss_weight: NonNegativeFloat = 0.01
    """Weight of the gates' load-balance losses, summed over layers, per target token."""

    cmr_loss_weight: NonNegativeFloat = 0.1
    """Weight of |mean G - 0.8| per target token, where the model has conditional routing."""

    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    """Precision of fp32 matrix products (`torch.set_float32_matmul_precision`); `medium` allows
    bfloat16 on processors that have it."""

    checkpoint_every: PositiveInt = 1000
    """Updates between checkpoints."""

    validate_every: PositiveInt = 5000
    """Updates between validations."""

    report_every: PositiveInt = 100
    """Updates between lines of progress."""

    seed: NonNegativeInt = 2
    """Seed of weights, dropout and the order of batches."""

    threads: PositiveInt = 2
    """Torch threads. Results are reproducible for a given number on a given machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
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

    @property
    def training_data(self) -> TrainingData:
        """What tokens are made of."""
        evaluation_sets = (*([self.flores] if self.flores else []), *self.evaluation_sets)
        return TrainingData(
            vocabulary=self.vocabulary,
            bitext=self.bitext,
            text=self.monolingual.text,
            directions=self.directions,
            evaluation_sets=() if self.data.keep_evaluation_sentences else evaluation_sets,
            evaluation_containment=self.data.evaluation_containment,
            columns=self.data.columns,
            max_length=self.batches.max_length,
            workers=self.data.workers,
        )

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
