"""Rows that processes send each other, with gradients that go back the same way."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _Exchange(torch.autograd.Function):
    """All-to-all of rows; the gradient is the all-to-all back."""

    @staticmethod
    def forward(
        context: Any,
        rows: Tensor,
        sent: Sequence[int] | None,
        received: Sequence[int] | None,
        group: dist.ProcessGroup,
    ) -> Tensor:
        context.sent, context.received, context.group = sent, received, group
        return _all_to_all(rows, sent, received, group)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        back = _all_to_all(gradients[0], context.received, context.sent, context.group)
        return back, None, None, None


def _all_to_all(
    rows: Tensor,
    sent: Sequence[int] | None,
    received: Sequence[int] | None,
    group: dist.ProcessGroup,
) -> Tensor:
    if sent is None or received is None:
        arrived = torch.empty_like(rows, memory_format=torch.contiguous_format)
        dist.all_to_all_single(arrived, rows.contiguous(), group=group)
        return arrived
    arrived = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(arrived, rows.contiguous(), list(received), list(sent), group=group)
    return arrived


def exchange(
    rows: Tensor,
    group: dist.ProcessGroup,
    sent: Sequence[int] | None = None,
    received: Sequence[int] | None = None,
) -> Tensor:
    """Send the first `sent[0]` rows to process 0, the next to process 1, and so on.

    Every process of the group takes part, with as many rows as the others expect.

    Args:
        rows: What is sent, [sum(sent), …].
        group: The processes.
        sent: Rows for each process; None for equally many, of all processes.
        received: Rows from each process; None as well.

    Returns:
        What arrived, by sender, [sum(received), …].
    """
    arrived: Tensor = _Exchange.apply(rows, sent, received, group)  # type: ignore[no-untyped-call]
    return arrived


def exchange_counts(counts: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Send row r of [processes, …] counts to process r; return what each one sent here."""
    arrived = torch.empty_like(counts)
    dist.all_to_all_single(arrived, counts.contiguous(), group=group)
    return arrived


def most(number: int, group: dist.ProcessGroup) -> int:
    """Return the largest of the processes' numbers; for a group that takes tensors on the CPU."""
    found = torch.tensor(number)
    dist.all_reduce(found, dist.ReduceOp.MAX, group=group)
    return int(found)


def host_group(group: dist.ProcessGroup, device: torch.device) -> dist.ProcessGroup:
    """Return a group of the same processes for tensors on the CPU.

    Hosts agree over it on sizes without waiting for their devices.
    """
    if device.type == "cpu":
        return group
    created: dist.ProcessGroup = dist.new_group(
        dist.get_process_group_ranks(group), backend="gloo", use_local_synchronization=True
    )
    return created


class _SumOverCopies(torch.autograd.Function):
    """The identity; the gradient is summed over the copies of a parameter, and scaled."""

    @staticmethod
    def forward(
        context: Any, weight: Tensor, group: dist.ProcessGroup | None, scale: float
    ) -> Tensor:
        context.group, context.scale = group, scale
        return weight.view_as(weight)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0] * context.scale
        if context.group is not None:
            dist.all_reduce(total, group=context.group)
        return total, None, None


def sum_over_copies(weight: Tensor, group: dist.ProcessGroup | None, scale: float) -> Tensor:
    """Return a weight whose gradient will be `scale` times the sum over the group."""
    same: Tensor = _SumOverCopies.apply(weight, group, scale)  # type: ignore[no-untyped-call]
    return same
