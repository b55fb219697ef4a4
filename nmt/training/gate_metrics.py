"""Gate metrics for the log: how evenly experts are loaded, and how much is dropped.

Shape suffixes: E experts.
"""

# ruff: noqa: N803 (shape suffixes)

import math
from collections.abc import Iterable, Iterator, MutableMapping
from typing import NamedTuple

import torch
from torch import Tensor
from torcheval.metrics import Metric

ENTROPY = "gate_entropy"
TOP_SHARE = "gate_top_share"
DROPPED = "gate_dropped"
_LOAD = "gate_load"


class LoadSum(Metric[Tensor]):
    """Sums assignments: per expert [E], then those kept out by capacity, then all of them."""

    counts: Tensor

    def __init__(self, num_experts: int) -> None:
        super().__init__()
        # Whole numbers, exact up to 2^53.
        self._add_state("counts", torch.zeros(num_experts + 2, dtype=torch.float64))

    @torch.inference_mode()
    def update(self, load_E: Tensor, num_dropped: Tensor, num_assignments: Tensor) -> "LoadSum":
        """Add what one batch did."""
        self.counts += torch.cat([load_E, num_dropped.view(1), num_assignments.view(1)])
        return self

    @torch.inference_mode()
    def compute(self) -> Tensor:
        """Return the sums."""
        return self.counts

    @torch.inference_mode()
    def merge_state(self, metrics: "Iterable[LoadSum]") -> "LoadSum":
        """Add what other processes counted."""
        for metric in metrics:
            self.counts += metric.counts.to(self.device)
        return self


class GateReport(NamedTuple):
    """What the tokens since the last report did at one layer."""

    layer: str

    entropy: float
    """Entropy of the experts' shares of assignments over its largest value, ln E: 1 is even."""

    top_share: float
    """Share of the assignments that the most loaded expert got."""

    dropped: float
    """Share of the assignments that capacity kept out."""


def load_metric(layer: str) -> str:
    """Return the name under which a layer's load is summed."""
    return f"{_LOAD}/{layer}"


def take_gate_reports(values: MutableMapping[str, object]) -> list[GateReport]:
    """Take the sums out of a report's values, put the figures in, and return them."""
    reports = list(_reports(values))
    for report in reports:
        values.pop(load_metric(report.layer))
        values[f"{ENTROPY}/{report.layer}"] = report.entropy
        values[f"{TOP_SHARE}/{report.layer}"] = report.top_share
        values[f"{DROPPED}/{report.layer}"] = report.dropped
    return reports


def _reports(values: MutableMapping[str, object]) -> Iterator[GateReport]:
    for name, counts in values.items():
        if not name.startswith(f"{_LOAD}/"):
            continue
        assert isinstance(counts, Tensor)
        *load, dropped, assignments = counts.tolist()
        total = max(sum(load), 1.0)
        shares = [count / total for count in load]
        entropy = -sum(share * math.log(share) for share in shares if share > 0)
        most = math.log(len(load)) if len(load) > 1 else 1.0
        yield GateReport(
            layer=name.removeprefix(f"{_LOAD}/"),
            entropy=entropy / most,
            top_share=max(shares),
            dropped=dropped / max(assignments, 1.0),
        )


def describe_gates(reports: Iterable[GateReport]) -> str:
    """Return a line for the log: entropy and dropped share of every layer."""
    return ", ".join(
        f"{report.layer.replace('layers.', '')} {report.entropy:.2f}/{report.dropped:.1%}"
        for report in reports
    )
