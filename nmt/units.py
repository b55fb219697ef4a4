"""What fairseq2's trainer is given: batches, their readers, the loss of an update, validation."""

import logging
import math
import time
from collections.abc import Iterator, MutableMapping, Sequence

import fairseq2.recipe.base  # noqa: F401  # first: importing fairseq2.trainer before it is circular
import torch
from fairseq2.datasets import DataReader
from fairseq2.device import SupportsDeviceTransfer
from fairseq2.evaluator import EvalUnit
from fairseq2.metrics import Mean, MetricBag, Sum
from fairseq2.optim.lr_schedulers import LRScheduler
from fairseq2.trainer import TrainUnit
from torch import Tensor, nn

from corpus.console import format_duration
from nmt.batches import Batch, BatchStream
from nmt.config import TrainConfig
from nmt.fairseq import BatchLayout
from nmt.model import Translator, moe_layers
from nmt.moe.conditional import cmr_loss

logger = logging.getLogger(__name__)


class TokenBatch(SupportsDeviceTransfer):
    """A batch as tensors, as the trainer moves it to its device."""

    def __init__(self, batch: Batch) -> None:
        self._source = torch.from_numpy(batch.source)
        self._target = torch.from_numpy(batch.target)
        self._source_lengths = batch.source_lengths.tolist()
        self._target_lengths = (batch.target_lengths - 1).tolist()
        self.num_source_tokens = sum(self._source_lengths)
        self.num_target_tokens = sum(self._target_lengths)

    def to(self, device: torch.device, *, non_blocking: bool = False) -> None:
        """Move to a device."""
        self._source = self._source.to(device, non_blocking=non_blocking)
        self._target = self._target.to(device, non_blocking=non_blocking)

    def loss(self, model: nn.Module, label_smoothing: float) -> Tensor:
        """Return the summed loss of a model on this batch."""
        inputs, outputs = self._target[:, :-1].contiguous(), self._target[:, 1:]
        loss: Tensor = model(
            self._source,
            BatchLayout.of(self._source, self._source_lengths),
            inputs,
            BatchLayout.of(inputs, self._target_lengths),
            targets=outputs,
            label_smoothing=label_smoothing,
        )
        return loss


class StreamReader(DataReader[TokenBatch]):
    """Endless training batches; the state is the stream's."""

    def __init__(self, stream: BatchStream) -> None:
        self._stream = stream

    def __iter__(self) -> "StreamReader":
        return self

    def __next__(self) -> list[TokenBatch]:
        return [TokenBatch(next(self._stream))]

    def reset(self) -> None:
        """Do nothing: the stream has no end to come back from."""

    def state_dict(self) -> dict[str, object]:
        """Return the stream's state."""
        return self._stream.state()

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Go on where the state was taken."""
        self._stream.restore(state_dict)

    @property
    def num_accumulate(self) -> int:
        """Batches per update."""
        return 1


class ListReader(DataReader[TokenBatch]):
    """Validation batches, the same in every pass."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches
        self._iterator: Iterator[Batch] = iter(batches)

    def __iter__(self) -> "ListReader":
        return self

    def __next__(self) -> list[TokenBatch]:
        return [TokenBatch(next(self._iterator))]

    def reset(self) -> None:
        """Begin again."""
        self._iterator = iter(self._batches)

    def state_dict(self) -> dict[str, object]:
        """Return nothing: a pass is never cut."""
        return {}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Do nothing."""

    @property
    def num_accumulate(self) -> int:
        """Batches per step."""
        return 1


class TranslationUnit(TrainUnit[TokenBatch]):
    """One update's loss: label-smoothed cross-entropy and the gates' load-balance losses."""

    def __init__(
        self, model: nn.Module, module: Translator, config: TrainConfig, schedule: LRScheduler
    ) -> None:
        self._model = model
        self._module = module
        self._config = config
        self._schedule = schedule
        self._update = 0
        self._reported_update: int | None = None
        self._reported_time = time.monotonic()

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        """Declare what the log counts."""
        for name in ("loss", "nll_loss", "balance_loss"):
            metric_bag.add(name, Mean())
        for name in ("num_source_elements", "num_target_elements"):
            metric_bag.add(name, Sum())

    def set_step_nr(self, step_nr: int) -> None:
        """Note the update that begins."""
        if self._reported_update is None:
            self._reported_update = step_nr - 1
            self._reported_time = time.monotonic()
        self._update = step_nr

    def process_batch(self, batch: TokenBatch, metric_bag: MetricBag) -> tuple[Tensor, int]:
        """Return the summed loss and the number of targets it is over."""
        loss = batch.loss(self._model, self._config.label_smoothing)
        count = batch.num_target_tokens
        layers = [layer.routing for _, layer in moe_layers(self._module)]
        balance = sum((r.balance_loss for r in layers if r is not None), loss.new_zeros(()))
        nll = self._module.nll
        assert nll is not None
        metric_bag.get("loss", Mean).update(loss.detach() / count, weight=count)
        metric_bag.get("nll_loss", Mean).update(nll / count, weight=count)
        metric_bag.get("balance_loss", Mean).update(balance.detach() / max(len(layers), 1))
        metric_bag.get("num_source_elements", Sum).update(batch.num_source_tokens)
        metric_bag.get("num_target_elements", Sum).update(count)
        loss = loss + self._config.balance_loss_weight * count * balance
        conditional = (layer.conditional for _, layer in moe_layers(self._module))
        cmr = cmr_loss(layer for layer in conditional if layer is not None)
        if cmr is not None:
            loss = loss + self._config.cmr_loss_weight * count * cmr
        return loss, count

    def process_metric_values(self, values: MutableMapping[str, object]) -> None:
        """Log a line for the person who waits."""
        now = time.monotonic()
        updates = self._update - (self._reported_update or 0)
        seconds = max(now - self._reported_time, 1e-9)
        tokens = _number(values["num_source_elements"]) + _number(values["num_target_elements"])
        left = (self._config.updates - self._update) * seconds / max(updates, 1)
        logger.info(
            "update %s/%s, loss %.3f (nll %.3f), balance %.2f, lr %.2e, %s tokens/s, %s left",
            f"{self._update:,}",
            f"{self._config.updates:,}",
            _number(values["loss"]),
            _number(values["nll_loss"]),
            _number(values["balance_loss"]),
            self._schedule.get_last_lr()[0],
            f"{tokens / seconds:,.0f}",
            format_duration(left),
        )
        if not math.isfinite(_number(values["loss"])):
            logger.warning("the loss is not finite; lower `optimizer.learning_rate`")
        self._reported_update, self._reported_time = self._update, now


class ValidationUnit(EvalUnit[TokenBatch]):
    """Negative log-likelihood per target token of one direction."""

    def __init__(self, model: nn.Module, module: Translator, direction: str) -> None:
        self._model = model
        self._module = module
        self._direction = direction
        self._update = 0

    @property
    def name(self) -> str:
        """The direction."""
        return self._direction

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        """Declare what is measured."""
        metric_bag.add("nll_loss", Mean())

    def set_train_step_nr(self, step_nr: int) -> None:
        """Note the update after which this is."""
        self._update = step_nr

    def process_batch(self, batch: TokenBatch, metric_bag: MetricBag) -> None:
        """Add a batch."""
        batch.loss(self._model, 0.0)
        nll, count = self._module.nll, batch.num_target_tokens
        assert nll is not None
        metric_bag.get("nll_loss", Mean).update(nll / count, weight=count)

    def process_metric_values(self, values: MutableMapping[str, object]) -> None:
        """Log the direction's loss."""
        logger.info(
            "update %s, validation %s: nll %.3f",
            f"{self._update:,}",
            self._direction,
            _number(values["nll_loss"]),
        )


def _number(value: object) -> float:
    return float(value.item() if isinstance(value, Tensor) else value)  # type: ignore[arg-type]
