"""Config of training, with its defaults."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

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
    REPLAY,
    TAGS,
    BatchConfig,
    CurriculumConfig,
    DataConfig,
    MonolingualConfig,
    TrainingData,
)
from nmt.model.config import DEFAULT_SIZE, ModelConfig, Part
from nmt.model.files import VOCABULARY_DIRECTORY
from nmt.training.distillation_config import DistillationConfig
from nmt.training.parallel.config import ParallelConfig
from nmt.training.sections import (
    CheckpointsConfig,
    ChrfConfig,
    ComparisonConfig,
    ComputeConfig,
    LoraConfig,
    SelectionConfig,
)

Schedule = Literal["inverse_sqrt", "linear", "cosine"]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Config):
    """AdamW and its schedule."""

    learning_rate: PositiveFloat | None = None
    """Peak, reached after the warm-up; null: 0.002 (NLLB-200), with `start_from` 1e-4 for a width
    of 1024, inversely proportional to the cube root of the width, and where `updates` is open 0.003
    for a width of 128, inversely proportional to the square root."""

    betas: tuple[Annotated[float, Bounds(at_least=0, below=1)], ...] = (0.9, 0.98)
    """Decay of AdamW's running means of gradients and of their squares (NLLB-200)."""

    epsilon: NonNegativeFloat = 1e-6
    """Added to AdamW's denominator, so that small gradients do not divide by zero (NLLB-200)."""

    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay of AdamW, multiplied by the learning rate; 0 for none (NLLB-200)."""

    warmup_updates: NonNegativeInt | None = None
    """Updates over which the learning rate rises from 0; null: 8,000 (NLLB-200), and with
    `start_from` or where `updates` is open a tenth of all updates, at most 4,000."""

    schedule: Schedule | None = None
    """How the learning rate falls: inverse_sqrt, or linear or cosine, which reach 0 at the last
    update; null: inverse_sqrt (NLLB-200), and with `start_from` or where `updates` is open
    linear."""

    max_grad_norm: NonNegativeFloat = 1.0
    """Gradients with a larger norm are scaled down to it; 0 leaves them as they are (NLLB-200)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.betas) != 2:
            raise UserError(f"`betas` are {list(self.betas)}; there must be two")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """One training run."""

    start_from: Path | None = None
    """Model directory whose weights, shape, vocabulary and languages training starts from; the
    optimizer and its schedule begin anew. null for fresh weights."""

    upcycling_noise: NonNegativeFloat | None = None
    """With a dense model in `start_from` and `model.num_experts`: each expert begins as a copy of
    the dense network plus normal noise, this share of each weight's standard deviation; null
    refuses experts that the model lacks."""

    vocabulary: Path | None = None
    """Directory written by `tongues nmt vocabulary`; not needed with `start_from`."""

    bitext: dict[str, tuple[Path, ...]]
    """Bitext directories by tag: primary, mined, back_translated, smt_back_translated, distilled,
    and replay for pairs that the model of `start_from` made."""

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

    validation_sentences: PositiveInt | None = None
    """First sentences of the split whose likelihood is measured, per direction; null: 50, and where
    `updates` is open up to 500, 10,000 over all directions."""

    held_out_every: NonNegativeInt | None = None
    """Of so many pairs of each bitext file one is held out of training, for validation where there
    is no `flores`; 0 for none; null: 0, and where `updates` is open by the number of pairs. Bitext
    with a tag, such as mined, gives none where there is other."""

    chrf: ChrfConfig = field(default_factory=ChrfConfig)

    directions: tuple[str, ...] = ()
    """Directions to train; empty for both directions of all pairs in the bitext."""

    model: ModelConfig = field(default_factory=ModelConfig)
    batches: BatchConfig = field(default_factory=BatchConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)

    checkpoints: CheckpointsConfig = execution_only(CheckpointsConfig())  # noqa: RUF009 (frozen)
    """Which checkpoints are kept; the model does not depend on it."""

    parallel: ParallelConfig = execution_only(ParallelConfig())  # noqa: RUF009 (frozen)
    """How processes share the work; a training may resume with another arrangement of them."""

    distillation: DistillationConfig | None = None
    """A teacher model whose predictions the student learns from as well; null for none."""

    freeze: tuple[Part, ...] = ()
    """Parts of the model that stay as they are; what is in one of them is frozen. `feed_forward`
    has the networks that are no experts, and gates."""

    lora: LoraConfig | None = None
    """Trains small matrices beside the projections of `start_from` and nothing else (LoRA); null
    trains all that is not frozen."""

    start_penalty: NonNegativeFloat = 0.0
    """Each update moves weights towards those of `start_from` by learning rate · this · distance
    (L2-SP, Li et al. 2018); 0 for none. Needs whole models in all processes (`parallel.mode`
    ddp)."""

    comparison: ComparisonConfig = field(default_factory=ComparisonConfig)

    updates: PositiveInt | None = None
    """Optimizer steps in all. null: as many as the number of pairs suggests; with `start_from` 40
    epochs of 1,000 pairs, fewer of more. With fresh weights what else is null is then chosen by
    pairs, too: size, dropout, batches, learning rate and schedule, validation, selection."""

    max_updates: PositiveInt | None = None
    """Most updates where `updates` is open: a budget. null for as many as the pairs suggest."""

    label_smoothing: Annotated[float, Bounds(at_least=0, below=1)] = 0.1
    """Share of the target probability that is spread evenly over the vocabulary (NLLB-200)."""

    balance_loss_weight: NonNegativeFloat = 0.01
    """Weight of the gates' load-balance losses, summed over layers, per target token."""

    cmr_loss_weight: NonNegativeFloat = 0.1
    """Weight of |mean G - 0.8| per target token, where the model has conditional routing."""

    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    """Precision of fp32 matrix products (`torch.set_float32_matmul_precision`); `medium` allows
    bfloat16 on processors that have it."""

    checkpoint_every: PositiveInt | None = None
    """Updates between checkpoints; null: 1,000, and with `start_from` or where `updates` is open a
    twentieth of all."""

    validate_every: PositiveInt | None = None
    """Updates between validations; null: 5,000, and with `start_from` or where `updates` is open a
    twentieth of all."""

    report_every: PositiveInt | None = None
    """Updates between lines of progress; null: 100, and with `start_from` or where `updates` is
    open a hundredth of all."""

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
        if self.held_out_every == 1:
            raise UserError("`held_out_every` is 1, which leaves nothing to train on; 0: none")
        if self.start_from is None:
            if self.vocabulary is None:
                raise UserError("`vocabulary` must be given, or `start_from`")
            if self.start_penalty:
                raise UserError("`start_penalty` needs `start_from`")
            if self.lora is not None:
                raise UserError("`lora` needs `start_from`, a model to adapt")
            if self.bitext.get(REPLAY):
                raise UserError("`bitext.replay` needs `start_from`, the model that made it")
            if self.upcycling_noise is not None:
                raise UserError("`upcycling_noise` needs `start_from`, a dense model")
            if self.updates is not None:
                for name, value in _from_scratch(self).items():
                    object.__setattr__(self, name, value)
        if self.distillation is not None and self.distillation.teacher is None:
            if self.start_from is None:
                raise UserError("`distillation` needs `teacher`, or `start_from`")
            taught = dataclasses.replace(self.distillation, teacher=self.start_from)
            object.__setattr__(self, "distillation", taught)
        if self.lora is not None and self.freeze:
            raise UserError("`freeze` has no meaning with `lora`, which trains only `lora.also`")
        self._check_nearness()
        self._check_updates()
        self._check_selection()

    @property
    def is_open(self) -> bool:
        """Whether settings are left to the number of pairs, with fresh weights."""
        return self.start_from is None and self.updates is None

    @property
    def vocabulary_directory(self) -> Path:
        """The vocabulary: that of the model which training starts from, or the one given."""
        if self.start_from is not None:
            return self.start_from / VOCABULARY_DIRECTORY
        assert self.vocabulary is not None
        return self.vocabulary

    @property
    def training_data(self) -> TrainingData:
        """What tokens are made of."""
        evaluation_sets = (*([self.flores] if self.flores else []), *self.evaluation_sets)
        return TrainingData(
            vocabulary=self.vocabulary_directory,
            bitext=self.bitext,
            text=self.monolingual.text,
            directions=self.directions,
            evaluation_sets=() if self.data.keep_evaluation_sentences else evaluation_sets,
            evaluation_containment=self.data.evaluation_containment,
            columns=self.data.columns,
            max_length=self.batches.max_length,
            workers=self.data.workers,
        )

    def _check_nearness(self) -> None:
        """Refuse ways to stay near the start that have no whole start to stay near."""
        if self.start_penalty and self.parallel.mode != "ddp":
            raise UserError("`start_penalty` needs whole models, `parallel.mode` ddp")
        adapter = self.lora is not None and self.lora.save == "adapter"
        for name, is_used in (
            ("start_penalty", self.start_penalty > 0),
            ("averages", bool(self.comparison.averages)),
        ):
            if is_used and (adapter or self.upcycling_noise is not None):
                raise UserError(f"`{name}` needs a model of the start's shape in the end")
            if is_used and name == "averages" and self.flores is None:
                raise UserError("`averages` are compared on `flores`, which is not given")

    def _check_updates(self) -> None:
        warmup, updates = self.optimizer.warmup_updates, self.updates
        if warmup is not None and updates is not None and warmup >= updates:
            raise UserError(
                f"`optimizer.warmup_updates` is {warmup:,}; it must be less than `updates`,"
                f" {updates:,}"
            )
        for name in ("checkpoint_every", "validate_every"):
            every = getattr(self, name)
            if every is not None and self.report_every and every % self.report_every != 0:
                raise UserError(
                    f"`{name}` is {every}; it must be a multiple of `report_every`,"
                    f" {self.report_every}"
                )

    def _check_selection(self) -> None:
        selection = self.selection
        if not selection.needs_validation:
            return
        if self.flores is None and not self.held_out_every and not self.is_open:
            raise UserError(
                "`selection` compares validations, and there are none without `flores` or"
                " `held_out_every`; give one, or set `selection.keep` to last and"
                " `selection.patience` to 0"
            )
        differ = None not in (self.checkpoint_every, self.validate_every) and (
            self.checkpoint_every != self.validate_every
        )
        if selection.keep == "best" and differ:
            raise UserError(
                f"with `selection.keep` best, `checkpoint_every` ({self.checkpoint_every}) and"
                f" `validate_every` ({self.validate_every}) must be equal: every update that is"
                " validated is saved, as it may be the best"
            )
        if selection.score == "chrf++" and self.chrf.sentences == 0:
            raise UserError("`selection.score` is chrf++, but `chrf.sentences` is 0")


@dataclass(frozen=True, kw_only=True)
class ResolvedOptimizerConfig(OptimizerConfig):
    """The optimizer of a training about to run: nothing is left open."""

    learning_rate: PositiveFloat
    warmup_updates: NonNegativeInt
    schedule: Schedule


@dataclass(frozen=True, kw_only=True)
class ResolvedTrainConfig(TrainConfig):
    """A training about to run: nothing is left open."""

    optimizer: ResolvedOptimizerConfig
    updates: PositiveInt
    validation_sentences: PositiveInt
    held_out_every: NonNegativeInt
    checkpoint_every: PositiveInt
    validate_every: PositiveInt
    report_every: PositiveInt


def resolve(config: TrainConfig, **decided: Any) -> ResolvedTrainConfig:
    """Return a config with what it left open.

    Args:
        config: A training; with fresh weights and `updates` it leaves nothing open.
        decided: Values by field; `optimizer` as a dictionary.
    """
    values = _fields(config) | _without_choice(config) | decided
    optimizer = _fields(config.optimizer) | decided.get("optimizer", {})
    return ResolvedTrainConfig(**values | {"optimizer": ResolvedOptimizerConfig(**optimizer)})


def _fields(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _from_scratch(config: TrainConfig) -> dict[str, Any]:
    """Return the defaults of a training with fresh weights for what a config leaves open.

    Which is one that says how many updates there are.
    """
    defaults: dict[str, Any] = {
        "checkpoint_every": 1000,
        "validate_every": 5000,
        "report_every": 100,
        **_without_choice(config),
    }
    optimizer: dict[str, Any] = {
        "learning_rate": 0.002,
        "warmup_updates": 8000,
        "schedule": "inverse_sqrt",
    }
    selection: dict[str, Any] = {"keep": "last", "patience": 0}
    return {
        **{name: value for name, value in defaults.items() if getattr(config, name) is None},
        "model": ModelConfig(**_fields(config.model) | {"size": config.model.size or DEFAULT_SIZE}),
        "optimizer": OptimizerConfig(**optimizer | _given(config.optimizer)),
        "selection": SelectionConfig(**selection | _given(config.selection)),
    }


def _without_choice(config: TrainConfig) -> dict[str, Any]:
    """Return what is validated where the number of pairs does not decide it."""
    return {
        "validation_sentences": config.validation_sentences or 50,
        "held_out_every": config.held_out_every or 0,
    }


def _given(config: Any) -> dict[str, Any]:
    return {name: value for name, value in _fields(config).items() if value is not None}
