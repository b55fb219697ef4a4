"""The train unit of fairseq2's trainer: the loss of an update, and a line for the log."""

import logging
import math
import time
from collections.abc import MutableMapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from corpus.console import format_duration
from nmt.model.moe.conditional import cmr_loss
from nmt.model.translator import Translator, moe_layers
from nmt.sizing.flops import TokenFlops
from nmt.training.config import ResolvedTrainConfig
from nmt.training.fairseq import LRScheduler, Mean, MetricBag, Sum, TrainUnit
from nmt.training.gate_metrics import LoadSum, describe_gates, load_metric, take_gate_reports
from nmt.training.gradient_guard import SkippedUpdates
from nmt.training.readers import TokenBatch

logger = logging.getLogger(__name__)

_FINITE = "num_finite_batches"
_DIVERGENCE = "divergence_from_teacher"


@dataclass(frozen=True)
class Arithmetic:
    """Data for computing the utilization of the devices."""

    flops: TokenFlops

    peak: float
    """Operations per second of all devices together."""


class TranslationUnit(TrainUnit[TokenBatch]):
    """One update's loss: label-smoothed cross-entropy and the gates' load-balance losses."""

    def __init__(
        self,
        model: nn.Module,
        module: Translator,
        config: ResolvedTrainConfig,
        schedule: LRScheduler,
        skipped: SkippedUpdates,
        arithmetic: Arithmetic,
    ) -> None:
        self._model = model
        self._module = module
        self._config = config
        self._schedule = schedule
        self._skipped = skipped
        self._arithmetic = arithmetic
        self._moe_layers = list(moe_layers(module))
        self._update = 0
        self._reported_update = 0
        self._started: float | None = None

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        """Declare the metrics."""
        for name in ("loss", "nll_loss", "balance_loss"):
            metric_bag.add(name, Mean())
        if self._config.distillation is not None:
            metric_bag.add(_DIVERGENCE, Mean())
        for name in ("num_source_elements", "num_target_elements", _FINITE):
            metric_bag.add(name, Sum())
        for name, layer in self._moe_layers:
            metric_bag.add(load_metric(name), LoadSum(layer.num_experts))

    def set_step_nr(self, step_nr: int) -> None:
        """Note the update that begins."""
        if self._started is None:  # only now, as validation and its pause come after a report
            self._started = time.monotonic()
            self._reported_update = step_nr - 1
        self._update = step_nr

    def process_batch(self, batch: TokenBatch, metric_bag: MetricBag) -> tuple[Tensor, int]:
        """Return the summed loss and the number of targets it is over."""
        loss = batch.loss(self._model, self._config.label_smoothing)
        count = batch.num_target_tokens
        balance = self._count_gates(metric_bag, loss)
        self._count_losses(metric_bag, loss.detach(), balance.detach(), count)
        metric_bag.get("num_source_elements", Sum).update(batch.num_source_tokens)
        metric_bag.get("num_target_elements", Sum).update(count)
        loss = loss + self._config.balance_loss_weight * count * balance
        conditional = (layer.conditional for _, layer in self._moe_layers)
        cmr = cmr_loss(layer for layer in conditional if layer is not None)
        if cmr is not None:
            loss = loss + self._config.cmr_loss_weight * count * cmr
        return loss, count

    def _count_gates(self, metric_bag: MetricBag, loss: Tensor) -> Tensor:
        """Count where tokens went; return the sum of the layers' load-balance losses."""
        balance = loss.new_zeros(())
        for name, layer in self._moe_layers:
            routing = layer.routing
            assert routing is not None
            balance = balance + routing.balance_loss
            metric_bag.get(load_metric(name), LoadSum).update(
                routing.load_E, routing.num_dropped, routing.num_assignments
            )
        return balance

    def _count_losses(
        self, metric_bag: MetricBag, loss: Tensor, balance: Tensor, count: int
    ) -> None:
        """Add a batch to the means, if its loss is a number; the guard counts the others."""
        nll = self._module.nll
        assert nll is not None
        num_layers = len(self._moe_layers)
        means = [
            ("loss", loss / count, count),
            ("nll_loss", nll / count, count),
            ("balance_loss", balance / max(num_layers, 1), 1),
        ]
        if self._module.divergence is not None:
            means.append((_DIVERGENCE, self._module.divergence / count, count))
        is_finite = torch.isfinite(loss) & torch.isfinite(balance)
        for mean, value, weight in means:
            kept = torch.where(is_finite, value, torch.zeros_like(value))
            metric_bag.get(mean, Mean).update(kept, weight=is_finite * weight)
        metric_bag.get(_FINITE, Sum).update(is_finite.float())

    def process_metric_values(self, values: MutableMapping[str, object]) -> None:
        """Add the derived metrics, and log a line of progress."""
        assert self._started is not None
        seconds = max(time.monotonic() - self._started, 1e-9)
        self._started = None
        if number(values.pop(_FINITE)) == 0:
            values.update(loss=math.nan, nll_loss=math.nan, balance_loss=math.nan)
        source, target = (number(values[f"num_{side}_elements"]) for side in ("source", "target"))
        speed = (source + target) / seconds
        used = self._arithmetic.flops.of(source, target) / seconds / self._arithmetic.peak
        values["tokens_per_second"] = speed
        values["mfu"] = used
        values["skipped_updates"] = self._skipped.total
        gates = take_gate_reports(values)
        updates = self._update - self._reported_update
        left = (self._config.updates - self._update) * seconds / max(updates, 1)
        logger.info(
            "update %s/%s, loss %.3f (nll %.3f), balance %.2f, lr %.2e, %s tokens/s, MFU %.1f %%,"
            " %s left",
            f"{self._update:,}",
            f"{self._config.updates:,}",
            number(values["loss"]),
            number(values["nll_loss"]),
            number(values["balance_loss"]),
            self._schedule.get_last_lr()[0],
            f"{speed:,.0f}",
            100 * used,
            format_duration(left),
        )
        if gates:
            logger.info("gate entropy/dropped: %s", describe_gates(gates))
        if self._skipped.total:
            logger.warning("updates skipped so far, not finite: %d", self._skipped.total)


def number(value: object) -> float:
    """Return a metric's value as a number."""
    return float(value.item() if isinstance(value, Tensor) else value)  # type: ignore[arg-type]
