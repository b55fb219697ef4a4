"""The fairseq2 recipe: its config sections, its run, its log.

With `nmt.units`, the only module that uses fairseq2's recipe and trainer API.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import fairseq2.recipe.base as base  # first: importing fairseq2.trainer before it is circular
import torch
from fairseq2.recipe import config as sections
from fairseq2.recipe.run import run
from fairseq2.runtime.dependency import DependencyContainer
from fairseq2.task import Task

from nmt.batches import Batch, BatchStream
from nmt.config import OptimizerConfig, TrainConfig
from nmt.model import FAMILY, MoEConfig, Translator, register_family
from nmt.units import ListReader, StreamReader, TranslationUnit, ValidationUnit


@dataclass(kw_only=True)
class RecipeConfig:
    """The sections that fairseq2 looks for."""

    model: sections.ModelSection
    trainer: sections.TrainerSection
    optimizer: sections.OptimizerSection
    lr_scheduler: sections.LRSchedulerSection
    regime: sections.RegimeSection
    common: sections.CommonSection
    gang: sections.GangSection = field(default_factory=sections.GangSection)


class TranslationRecipe(base.Recipe):
    """Trains a translator on a stream of batches.

    Attributes:
        module: The model, once training has begun.
    """

    def __init__(
        self, config: TrainConfig, stream: BatchStream, validation: dict[str, list[Batch]]
    ) -> None:
        self._config = config
        self._stream = stream
        self._validation = validation
        self.module: Translator | None = None

    @property
    def config_kls(self) -> type[object]:
        """The class of the recipe's config."""
        return RecipeConfig

    def register(self, container: DependencyContainer) -> None:
        """Make the model family known."""
        register_family(container)

    def create_task(self, context: base.RecipeContext) -> Task:
        """Build the trainer."""
        config = self._config
        torch.set_num_threads(config.threads)
        torch.set_float32_matmul_precision(config.matmul_precision)
        module = context.get_model_as(Translator)
        self.module = module
        model = context.get_data_parallel_model()
        return context.create_trainer(
            TranslationUnit(model, module, config, context.get_lr_scheduler()),
            StreamReader(self._stream),
            [ValidationUnit(model, module, direction) for direction in self._validation],
            [ListReader(batches) for batches in self._validation.values()],
        )


def run_recipe(
    config: TrainConfig,
    model_config: MoEConfig,
    stream: BatchStream,
    validation: dict[str, list[Batch]],
    directory: Path,
) -> Translator:
    """Train to the last update, from the last checkpoint in `directory` if there is one."""
    recipe = TranslationRecipe(config, stream, validation)
    with _log_in_file_only():
        run(recipe, _recipe_config(config, model_config), directory, no_rich=True, no_progress=True)
    assert recipe.module is not None
    return recipe.module


@contextmanager
def _log_in_file_only() -> Iterator[None]:
    """Keep fairseq2's lines in its log file, and the environment out of it.

    fairseq2 replaces the handlers of the root logger, and would log every environment variable,
    secrets too.
    """
    root, library, ours = (logging.getLogger(name) for name in (None, "fairseq2", "nmt"))
    before = [(log, list(log.handlers), log.level, log.propagate) for log in (root, library, ours)]
    ours.handlers[:] = root.handlers
    ours.propagate = False
    # Without a handler, before its file is open, the library would fall back to standard error.
    library.handlers[:] = [logging.NullHandler()]
    library.setLevel(logging.INFO)
    library.propagate = False
    library.addFilter(_is_not_environment)
    try:
        with warnings.catch_warnings(record=True):
            yield
    finally:
        for handler in library.handlers:
            handler.close()
        library.removeFilter(_is_not_environment)
        for log, handlers, level, propagates in before:
            log.handlers[:] = handlers
            log.setLevel(level)
            log.propagate = propagates


def _is_not_environment(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Environment Variables")


def _recipe_config(config: TrainConfig, model_config: MoEConfig) -> RecipeConfig:
    optimizer = config.optimizer
    return RecipeConfig(
        model=sections.ModelSection(family=FAMILY, config_overrides=asdict(model_config)),
        trainer=sections.TrainerSection(
            mixed_precision=sections.MixedPrecisionConfig(mode="off"),
            max_grad_norm=optimizer.max_grad_norm,
        ),
        optimizer=sections.OptimizerSection(
            config=sections.AdamWConfig(
                lr=optimizer.learning_rate,
                betas=(optimizer.betas[0], optimizer.betas[1]),
                eps=optimizer.epsilon,
                weight_decay=optimizer.weight_decay,
                impl="fused",
            )
        ),
        lr_scheduler=_schedule(optimizer),
        regime=sections.RegimeSection(
            num_steps=config.updates,
            validate_every_n_steps=config.validate_every,
            checkpoint_every_n_steps=config.checkpoint_every,
            keep_last_n_checkpoints=1,
            publish_metrics_every_n_steps=config.report_every,
        ),
        common=sections.CommonSection(
            seed=config.seed,
            no_sweep_dir=True,
            torch=sections.TorchConfig(num_threads=config.threads),
            metric_recorders=sections.MetricRecordersConfig(
                tensorboard=sections.TensorBoardConfig(enabled=False)
            ),
        ),
    )


def _schedule(optimizer: OptimizerConfig) -> sections.LRSchedulerSection:
    warmup = optimizer.warmup_updates
    if optimizer.schedule == "inverse_sqrt":
        return sections.LRSchedulerSection(
            name=sections.MYLE_LR, config=sections.MyleLRConfig(num_warmup_steps=max(warmup, 1))
        )
    if optimizer.schedule == "linear":
        return sections.LRSchedulerSection(
            name=sections.POLYNOMIAL_DECAY_LR,
            config=sections.PolynomialDecayLRConfig(num_warmup_steps=warmup),
        )
    return sections.LRSchedulerSection(
        name=sections.COSINE_ANNEALING_LR,
        config=sections.CosineAnnealingLRConfig(num_warmup_steps=warmup, final_lr_scale=0.0),
    )
