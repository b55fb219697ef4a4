"""What training needs of fairseq2's recipe and trainer, in one place; nothing else loads them.

`fairseq2.recipe.base` comes first: importing `fairseq2.trainer` before it is circular in 0.8.1.
"""

import torch._functorch.config  # noqa: F401  # fairseq2 sets it, and does not import it

import nmt.fairseq  # noqa: F401  # first, as it holds back torch's compiler
from nmt.stand_in import unused_packages_replaced

with unused_packages_replaced():
    import fairseq2.recipe.base as base  # isort: skip
    import fairseq2.recipe.composition  # noqa: F401  # else `run` imports it, without stand-ins
    from fairseq2.checkpoint.manager import CheckpointStateNotValidError
    from fairseq2.composition import register_model_family
    from fairseq2.datasets import DataReader
    from fairseq2.device import SupportsDeviceTransfer
    from fairseq2.early_stopper import EarlyStopper
    from fairseq2.error import OperationalError
    from fairseq2.evaluator import EvalUnit
    from fairseq2.gang import Gang, Gangs, get_current_gangs
    from fairseq2.metrics import Mean, MetricBag, Sum
    from fairseq2.models.family import ModelFactory, ModelFSDPApplier
    from fairseq2.models.transformer import apply_ac_to_transformer
    from fairseq2.models.transformer.fsdp import apply_fsdp_to_transformer
    from fairseq2.nn.data_parallel import (
        DataParallelFacade,
        get_data_parallel_facade,
        set_data_parallel_facade,
    )
    from fairseq2.nn.fsdp import FSDPWrapper
    from fairseq2.nn.utils.module import reset_non_persistent_buffers
    from fairseq2.optim.lr_schedulers import LRScheduler
    from fairseq2.recipe import config as sections
    from fairseq2.recipe.error import MinimumLossScaleReachedError
    from fairseq2.recipe.run import run
    from fairseq2.runtime.config_registry import ConfigRegistrar
    from fairseq2.runtime.dependency import DependencyContainer
    from fairseq2.task import Task, TaskStopException
    from fairseq2.trainer import TrainUnit

__all__ = [
    "CheckpointStateNotValidError",
    "ConfigRegistrar",
    "DataParallelFacade",
    "DataReader",
    "DependencyContainer",
    "EarlyStopper",
    "EvalUnit",
    "FSDPWrapper",
    "Gang",
    "Gangs",
    "LRScheduler",
    "Mean",
    "MetricBag",
    "MinimumLossScaleReachedError",
    "ModelFSDPApplier",
    "ModelFactory",
    "OperationalError",
    "Sum",
    "SupportsDeviceTransfer",
    "Task",
    "TaskStopException",
    "TrainUnit",
    "apply_ac_to_transformer",
    "apply_fsdp_to_transformer",
    "base",
    "get_current_gangs",
    "get_data_parallel_facade",
    "register_model_family",
    "reset_non_persistent_buffers",
    "run",
    "sections",
    "set_data_parallel_facade",
]
