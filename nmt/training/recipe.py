"""The fairseq2 recipe: trainer, run and log.

With `nmt.training.fairseq2_config`, `readers`, `units`, `validation_unit` and
`parallel.preemption`, the only modules that use fairseq2's recipe and trainer API.
"""

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from corpus.console import format_duration
from corpus.errors import UserError
from corpus.files import write_text
from corpus.languages import Direction
from corpus.protocols import TranslationScorer
from nmt.data.batches import BatchStream
from nmt.fairseq import TransformerModel
from nmt.model.config import FAMILY, SIZES, MoEConfig, named_config
from nmt.model.directory import TrainedModel
from nmt.model.freezing import freeze
from nmt.model.lora import add_lora, freeze_all_but_lora
from nmt.model.translator import Translator, compile_layers, create_model
from nmt.sizing.flops import measure_peak, token_flops
from nmt.threads import keep_freed_memory
from nmt.training.checkpoints import (
    best_update,
    hold_while_validating,
    load_weights,
    save_without_copies,
    step_directory,
)
from nmt.training.config import ResolvedTrainConfig, TrainConfig
from nmt.training.curves import forget_after, read_curves, stopped_at
from nmt.training.directory import last_update
from nmt.training.fairseq import (
    CheckpointStateNotValidError,
    ConfigRegistrar,
    DependencyContainer,
    EarlyStopper,
    MinimumLossScaleReachedError,
    ModelFactory,
    ModelFSDPApplier,
    OperationalError,
    Task,
    TaskStopException,
    apply_ac_to_transformer,
    base,
    get_data_parallel_facade,
    register_model_family,
    run,
    set_data_parallel_facade,
)
from nmt.training.fairseq2_config import RecipeConfig, compute_dtype, recipe_config
from nmt.training.fine_tuning import FILLED
from nmt.training.gradient_guard import GradientGuard, SkippedUpdates
from nmt.training.near_start import pull_to_start
from nmt.training.parallel.checkpoints import (
    Layout,
    fit_checkpoint,
    keep_plain_state,
    load_whole_model,
    write_whole_weights,
)
from nmt.training.parallel.experts import Sharding
from nmt.training.parallel.launch import as_groups
from nmt.training.parallel.preemption import ResumableReader, ResumableTask
from nmt.training.parallel.signals import Preemption
from nmt.training.parallel.world import World
from nmt.training.readers import ListReader, StreamReader
from nmt.training.recipe_log import log_in_file_only
from nmt.training.report_page import PAGE_FILE, render_training
from nmt.training.sections import LoraConfig
from nmt.training.selection import UpdateScores
from nmt.training.start import Start
from nmt.training.teacher import Teacher
from nmt.training.train_unit import Arithmetic, TranslationUnit
from nmt.training.validation_data import ValidationSet
from nmt.training.validation_unit import Translating, ValidationUnit
from nmt.training.warning_signs import warning_signs
from nmt.translation.decoding.config import TranslateConfig
from nmt.vocabulary.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

_TERA = 1e12

_USUAL_MFU = 0.4
"""Share of a device's peak that training reaches, about: 39 to 61 % on processors."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """The parts of a training besides its config."""

    model_config: MoEConfig
    stream: BatchStream
    validation: ValidationSet
    vocabulary: Vocabulary
    start: Start | None
    """Model whose weights training starts from; None for fresh ones."""

    scores: UpdateScores

    score: TranslationScorer | None
    """Scorer of validation translations; None if nothing is translated."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The result of a training."""

    model: Translator | None
    """The model; None where several processes trained it, whose checkpoint has it."""

    step: Path
    """That checkpoint."""

    create: Callable[[], Translator]
    """Builds a model of its shape, with fresh weights."""

    parameters: int

    updates: int
    """The last update."""

    kept_update: int
    """The update whose weights the model has."""

    skipped_updates: int
    """Updates without a finite gradient."""

    def load(self) -> Translator:
        """Return the whole model, in this process."""
        return self.model or cast(Translator, load_whole_model(self.step, self.create))

    def write_weights(self, path: Path) -> None:
        """Write the weights from the checkpoint, without having them whole in memory."""
        write_whole_weights(self.step, self.create, path)


def register_family(
    container: DependencyContainer,
    *,
    create: ModelFactory[MoEConfig, TransformerModel] = create_model,
    apply_fsdp: ModelFSDPApplier[TransformerModel] | None = None,
    supports_meta: bool = True,
) -> None:
    """Make the family and its named sizes known to a fairseq2 recipe.

    Args:
        container: The recipe's.
        create: Builds the model.
        apply_fsdp: Shares out its parameters among processes.
        supports_meta: Whether processes that are sent their weights may build it without any.
    """
    register_model_family(
        container,
        FAMILY,
        TransformerModel,
        MoEConfig,
        factory=create,
        supports_meta=supports_meta,
        compiler=compile_layers,
        fsdp_applier=apply_fsdp,
        layerwise_ac_applier=apply_ac_to_transformer,
    )
    register = ConfigRegistrar(container, MoEConfig)
    for size in SIZES:
        register(size)(lambda size=size: named_config(size))


class TranslationRecipe(base.Recipe):
    """Trains a translator on a stream of batches.

    Attributes:
        module: The model, once training has begun.
        skipped: The count of skipped updates.
    """

    def __init__(
        self,
        config: ResolvedTrainConfig,
        training: Training,
        directory: Path,
        world: World,
        preemption: Preemption,
        *,
        shards: int,
    ) -> None:
        self._config = config
        self._shards = shards
        self._training = training
        self._directory = directory
        self._world = world
        self._preemption = preemption
        self.module: Translator | None = None
        self.skipped = SkippedUpdates()
        self._signs: list[str] = []

    @property
    def config_kls(self) -> type[object]:
        """The class of the recipe's config."""
        return RecipeConfig

    def register(self, container: DependencyContainer) -> None:
        """Make the model family known."""
        if self._shards == 1:
            register_family(container, create=self._started(create_model))
            return
        sharding = Sharding(expert_parallel=self._config.parallel.expert_parallel)
        register_family(
            container,
            create=self._started(sharding.create),
            apply_fsdp=sharding.apply_fsdp,
            # A model that gets a checkpoint's weights needs none before; for another every process
            # draws all weights, layer by layer, and keeps its rows.
            supports_meta=last_update(self._directory) > 0,
        )

    def _started(
        self, create: Callable[[MoEConfig], Translator]
    ) -> ModelFactory[MoEConfig, TransformerModel]:
        """Return what builds the model and gives it the weights to start from, if there are any."""
        start, lora = self._training.start, self._config.lora
        has_checkpoint = last_update(self._directory) > 0  # which has the weights

        def create_started(config: MoEConfig) -> Translator:
            model = adapted(create(config), lora)
            if start is not None and not has_checkpoint:
                start.load_into(model)
            return model

        return create_started

    def setup_model(
        self, context: base.RecipeContext, model: torch.nn.Module, newly_initialized: bool
    ) -> torch.nn.Module:
        """Freeze what is not trained, before processes share out the model."""
        if self._config.lora is not None:
            freeze_all_but_lora(model, self._config.lora.also)
        elif self._config.freeze:
            freeze(model, self._config.freeze)
        sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
        logger.info(
            "%.1f %% of the parameters are trained",
            100 * sum(size for size, is_trained in sizes if is_trained) / sum(n for n, _ in sizes),
        )
        return model

    def create_task(self, context: base.RecipeContext) -> Task:
        """Build the trainer."""
        config, compute = self._config, self._config.compute
        torch.set_num_threads(config.threads)
        torch.set_float32_matmul_precision(config.matmul_precision)
        module = context.get_model_as(Translator)
        self.module = module
        if self._shards == 1:  # a process that holds a share is to be no larger than that
            keep_freed_memory(sum(p.numel() * p.element_size() for p in module.parameters()))
        if config.distillation is not None:
            module.teacher_targets = Teacher(config.distillation, context.device).teacher_targets
        model = context.get_data_parallel_model()
        guard = GradientGuard(
            get_data_parallel_facade(model),
            model,
            self.skipped,
            max_in_a_row=compute.max_skipped_updates,
            scales_loss=compute.precision == "fp16",
        )
        set_data_parallel_facade(model, guard)
        arithmetic = Arithmetic(token_flops(module), self._peak(context))
        self._log_cost(arithmetic)
        unit = TranslationUnit(
            model, module, config, context.get_lr_scheduler(), self.skipped, arithmetic
        )
        keep_plain_state(context.get_optimizer())
        if config.start_penalty:
            start = self._training.start
            assert start is not None
            begin = adapted(start.create(), config.lora)
            pull_to_start(context.get_optimizer(), module, begin, config.start_penalty)
        reader = self._reader(context)
        batches = self._training.validation.batches
        trainer = context.create_trainer(
            unit,
            reader,
            [self._validation_unit(context, direction, model, module) for direction in batches],
            [ListReader(b, self._world.rank, self._world.size) for b in batches.values()],
        )
        self._add_what_recipes_lack(context, trainer)
        return ResumableTask(trainer, reader, self._preemption)

    def _reader(self, context: base.RecipeContext) -> ResumableReader:
        checkpoints = context.get_checkpoint_manager()
        accumulated = self._config.compute.accumulated_batches
        return ResumableReader(
            StreamReader(self._training.stream, accumulated, self.skipped),
            self._world.agrees_to_stop,
            self._preemption,
            finish_checkpoint=lambda: checkpoints.maybe_complete_save_operation(blocking=True),
            rank=self._world.rank,
            world_size=self._world.size,
        )

    def _peak(self, context: base.RecipeContext) -> float:
        """Return the peak of all devices together, in operations per second."""
        compute = self._config.compute
        peak = (
            compute.peak_teraflops * _TERA
            if compute.peak_teraflops is not None
            else measure_peak(context.device, compute_dtype(compute))
        )
        logger.info("peak of a device: %.3g TFLOP/s in %s", peak / _TERA, compute.precision)
        return peak * context.gangs.root.size

    def _log_cost(self, arithmetic: Arithmetic) -> None:
        """Say what the updates left cost, before the first of them; validations are left out."""
        config = self._config
        each = config.batches.positions * config.compute.accumulated_batches * self._world.size
        tokens = FILLED * each * (config.updates - last_update(self._directory))
        flops = arithmetic.flops.of(tokens / 2, tokens / 2)
        logger.info(
            "about %s tokens to train on, %.3g TFLOP: %s at %.0f %% of the peak; lines of progress"
            " say what is left at the speed measured",
            f"{tokens:,.0f}",
            flops / _TERA,
            format_duration(flops / (_USUAL_MFU * arithmetic.peak)),
            100 * _USUAL_MFU,
        )

    def _validation_unit(
        self,
        context: base.RecipeContext,
        direction: Direction,
        model: torch.nn.Module,
        module: Translator,
    ) -> ValidationUnit:
        training, texts = self._training, self._training.validation.translated.get(direction)
        translating = None
        if texts is not None and training.score is not None:
            chrf = self._config.chrf
            translating = Translating(
                TrainedModel(module, training.vocabulary, ()),
                TranslateConfig(beam_size=chrf.beam_size, threads=self._config.threads),
                training.score,
                direction,
                *texts,
                shared_with=context.gangs.dp if self._config.parallel.mode == "ddp" else None,
            )
        return ValidationUnit(model, module, direction, translating)

    def _add_what_recipes_lack(self, context: base.RecipeContext, trainer: Any) -> None:
        """Set options of the trainer that fairseq2's recipe sections do not cover.

        They are set on the trainer's private attributes: fairseq2 0.8.1 offers no other way.
        """
        if context.device.type == "cpu":
            save_without_copies(context.get_checkpoint_manager())
        if not self._training.validation.batches:
            return
        is_root = context.gangs.root.rank == 0
        hold_while_validating(
            context.get_checkpoint_manager(),
            trainer._validator,
            then=functools.partial(self._after_validation, is_root),
        )
        if self._config.selection.patience:
            trainer._early_stopper = Patience(self._config, self._training.scores, self._directory)

    def _after_validation(self, is_root: bool, mean: float | None) -> float | None:
        """Renew the page, and return the score that selects."""
        if not is_root:
            return mean
        _write_page(self._directory, self._config, self.module)
        curves = read_curves(self._directory)
        signs = warning_signs(curves)
        for sign in signs:
            if sign not in self._signs:
                logger.warning("%s", sign)
        self._signs = signs
        scores = self._training.scores.of(curves) if mean is not None else []
        return scores[-1][1] if scores else mean


class Patience(EarlyStopper):
    """Stops training when validation no longer improves.

    Reads the curves, so that an interrupted training stops where an undisturbed one does.
    """

    def __init__(self, config: ResolvedTrainConfig, scores: UpdateScores, directory: Path) -> None:
        self._patience = config.selection.patience or 0
        self._scores = scores
        self._directory = directory

    def should_stop(self, step_nr: int, score: float) -> bool:
        """Return whether patience is exhausted at the validation after this update."""
        scores = self._scores.of(read_curves(self._directory))
        return stopped_at(scores, self._patience) is not None


def adapted(model: Translator, lora: LoraConfig | None) -> Translator:
    """Return a model, with what LoRA adds if it is used."""
    if lora is not None:
        add_lora(
            model,
            rank=lora.rank,
            scale=lora.scale,
            targets=lora.targets,
            dropout_p=lora.dropout_p,
        )
    return model


def check_device(config: TrainConfig) -> None:
    """Refuse a precision that this machine does not support.

    Raises:
        UserError: If the precision needs a GPU and there is none.
    """
    if config.compute.precision == "fp16" and not torch.cuda.is_available():
        raise UserError("`compute.precision` is fp16, which needs a GPU; bf16 does not")


def run_recipe(
    config: ResolvedTrainConfig,
    training: Training,
    directory: Path,
    world: World,
    preemption: Preemption,
) -> Trained | None:
    """Train to the last update, from the last checkpoint in `directory` if there is one.

    Returns:
        What came of it; None on other ranks than 0.

    Raises:
        Preempted: If a scheduler's signal stopped it.
        UserError: If the training diverges.
        OSError: If a checkpoint cannot be written, as on a full disk.
    """

    def create() -> Translator:
        return adapted(create_model(training.model_config), config.lora)

    shards = config.parallel.shards(world.size, training.model_config.num_experts)
    with world.first("checkpoint"):
        if world.is_rank_zero:
            fit_checkpoint(directory, Layout(world.size, shards), create)
            # The start is validated again where there is no checkpoint.
            forget_after(directory, last_update(directory) or -1)
    earlier = training.scores.of(read_curves(directory))
    updates = stopped_at(earlier, config.selection.patience or 0) or config.updates
    sections = recipe_config(
        config,
        training.model_config,
        updates=updates,
        validates=bool(training.validation.batches),
        validates_start=training.scores.needs_start,
        is_hybrid=1 < shards < world.size,
    )
    recipe = TranslationRecipe(config, training, directory, world, preemption, shards=shards)
    world.barrier("training")
    with log_in_file_only(), _errors_of_ours(), as_groups(world.place, shards):
        try:
            run(recipe, sections, directory, no_rich=True, no_progress=True)
        except TaskStopException:
            if not config.selection.patience:
                raise
    if not world.is_rank_zero:
        return None
    model = recipe.module
    assert model is not None
    last = last_update(directory)
    if last < config.updates:
        logger.info("no better validation for a while: stopped after update %s", f"{last:,}")
    _write_page(directory, config, model)
    kept = best_update(directory) if config.selection.keep == "best" else last
    if world.size == 1 and kept != last:
        load_weights(directory, kept, model)
    if kept != last:
        logger.info("the best validation was after update %s; its weights are kept", f"{kept:,}")
    return Trained(
        model=model if world.size == 1 else None,
        step=step_directory(directory, kept),
        create=create,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        updates=last,
        kept_update=kept,
        skipped_updates=recipe.skipped.total,
    )


def _write_page(directory: Path, config: ResolvedTrainConfig, model: Translator | None) -> None:
    """Write the report page of the training so far."""
    assert model is not None
    parameters = sum(parameter.numel() for parameter in model.parameters())
    curves = read_curves(directory)
    name = config.model.size or str(config.start_from)
    title = f"{name}, {parameters:,} parameters"
    write_text(directory / PAGE_FILE, render_training(curves, title=title, updates=config.updates))


@contextmanager
def _errors_of_ours() -> Iterator[None]:
    """Turn failures that the user can fix into errors that say how."""
    try:
        yield
    except (OperationalError, CheckpointStateNotValidError) as error:
        system_error = _system_error(error)
        if system_error is not None:
            raise system_error from error
        raise
    except MinimumLossScaleReachedError as error:
        raise UserError(
            "gradients overflow in fp16 even at the smallest scale of the loss: the training has"
            " diverged. Lower `optimizer.learning_rate`, or take `compute.precision` bf16, and"
            " train into another output directory."
        ) from error


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the system's error: torch's writer hides a full disk behind two other errors."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
