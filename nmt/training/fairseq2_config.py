"""The training config converted to the sections of a fairseq2 recipe."""

from dataclasses import asdict, dataclass, field

import torch

from nmt.model.config import FAMILY, MoEConfig
from nmt.training.config import ResolvedOptimizerConfig, ResolvedTrainConfig
from nmt.training.fairseq import sections
from nmt.training.sections import ComputeConfig
from nmt.training.validation_unit import CHRF

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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


def compute_dtype(compute: ComputeConfig) -> torch.dtype:
    """Return the type of products."""
    return _DTYPES[compute.precision]


def recipe_config(
    config: ResolvedTrainConfig,
    model_config: MoEConfig,
    *,
    updates: int,
    validates: bool,
    validates_start: bool = False,
    is_hybrid: bool = False,
) -> RecipeConfig:
    """Return the sections.

    Args:
        config: The training.
        model_config: The model's shape.
        updates: The last update of this run.
        validates: Whether there is a direction to validate.
        validates_start: Whether the model is validated before the first update, too.
        is_hybrid: Whether several groups of processes each share out a copy of the model.
    """
    return RecipeConfig(
        model=sections.ModelSection(
            family=FAMILY,
            config_overrides=asdict(model_config),
            compile=config.compute.compile,
            compile_options=sections.CompileOptions(backend=config.compute.compile_backend),
        ),
        trainer=_trainer(config, is_hybrid),
        optimizer=_optimizer(config.optimizer),
        lr_scheduler=_schedule(config.optimizer),
        regime=_regime(config, updates, validates, validates_start),
        gang=sections.GangSection(timeout=config.parallel.timeout_minutes),
        common=sections.CommonSection(
            cluster="none",  # `nmt.training.parallel.launch` has read Slurm's variables
            seed=config.seed,
            no_sweep_dir=True,
            torch=sections.TorchConfig(num_threads=config.threads),
            metric_recorders=sections.MetricRecordersConfig(
                tensorboard=sections.TensorBoardConfig(enabled=config.compute.tensorboard)
            ),
        ),
    )


def _trainer(config: ResolvedTrainConfig, is_hybrid: bool) -> sections.TrainerSection:
    compute = config.compute
    return sections.TrainerSection(
        data_parallelism=config.parallel.mode,
        fsdp=sections.FSDPConfig(version="v2", granularity="layer", hybrid=is_hybrid),
        mixed_precision=sections.MixedPrecisionConfig(
            mode="off" if compute.precision == "fp32" else "auto", dtype=compute_dtype(compute)
        ),
        grad_accumulation=sections.GradAccumulationConfig(
            num_batches=compute.accumulated_batches,
            # FSDP would hold whole gradients in every process until the last batch.
            no_sync=compute.accumulated_batches > 1 and config.parallel.mode == "ddp",
        ),
        activation_checkpointing=sections.ActivationCheckpointingConfig(
            mode="layerwise" if compute.activation_checkpointing else "off"
        ),
        max_grad_norm=config.optimizer.max_grad_norm or None,
    )


def _optimizer(optimizer: ResolvedOptimizerConfig) -> sections.OptimizerSection:
    return sections.OptimizerSection(
        config=sections.AdamWConfig(
            lr=optimizer.learning_rate,
            betas=(optimizer.betas[0], optimizer.betas[1]),
            eps=optimizer.epsilon,
            weight_decay=optimizer.weight_decay,
            impl="fused",
        )
    )


def _regime(
    config: ResolvedTrainConfig, updates: int, validates: bool, validates_start: bool
) -> sections.RegimeSection:
    selection = config.selection
    score = None
    if validates and selection.needs_validation:
        score = "nll_loss" if selection.score == "nll" else CHRF
    return sections.RegimeSection(
        num_steps=updates,
        validate_at_start=validates_start,
        validate_every_n_steps=config.validate_every,
        score_metric=score,
        checkpoint_every_n_steps=config.checkpoint_every,
        checkpoint_every_n_data_epochs=1,  # one ends where a signal stops the run
        keep_last_n_checkpoints=config.checkpoints.last,
        keep_best_n_checkpoints=config.checkpoints.best if selection.keep == "best" else None,
        publish_metrics_every_n_steps=config.report_every,
    )


def _schedule(optimizer: ResolvedOptimizerConfig) -> sections.LRSchedulerSection:
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
