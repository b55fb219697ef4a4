"""Products of rows, sorted by group, with one matrix per group.

`torch._grouped_mm` does it where torch has it, in one call: since 2.9 for fp32, fp16 and bfloat16
on CPU and CUDA, public from 2.11 as `torch.nn.functional.grouped_mm`. In bfloat16 on GPUs from
Hopper on the host does not have to know how many rows a group has; for other types and GPUs torch
reads that back and loops itself (its `aten/src/ATen/native/GroupedMMUtils.h`). A loop here does it
for what it refuses.

Shape suffixes: A rows; G groups; I columns in; O columns out.
"""

# ruff: noqa: N803, N806, N815 (shape suffixes)

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_ALIGNMENT = 16
"""Bytes that a row must be a multiple of."""

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)

_BLACKWELL = 10
"""Compute capability from which gradients of empty groups are known to be garbage (torch 2.9)."""


def _find_grouped_mm() -> Callable[..., Tensor] | None:
    public: Callable[..., Tensor] | None = getattr(functional, "grouped_mm", None)
    private: Callable[..., Tensor] | None = getattr(torch, "_grouped_mm", None)
    return public or private


GROUPED_MM = _find_grouped_mm()


class Groups(NamedTuple):
    """Which rows belong to which group."""

    load_G: Tensor
    """Rows of each group."""

    end_G: Tensor
    """One past the last row of each group, 32 bits."""

    group_A: Tensor
    """Group of each row; the last one for rows beyond all groups."""

    @staticmethod
    def of(load_G: Tensor, num_rows: int) -> "Groups":
        """Lay out groups one after the other from the first row on."""
        end_G = load_G.cumsum(0, dtype=torch.int32)
        rows = torch.arange(num_rows, device=load_G.device, dtype=torch.int32)
        group_A = torch.searchsorted(end_G, rows, right=True).clamp_max_(len(load_G) - 1)
        return Groups(load_G, end_G, group_A)


def grouped_linear(rows_AI: Tensor, weight_GOI: Tensor, bias_GO: Tensor, groups: Groups) -> Tensor:
    """Return row · weightᵀ + bias with the weight and bias of each row's group, [A, O].

    Rows beyond all groups are undefined where the grouped product is used, zeros elsewhere.
    """
    if not _can_group(rows_AI, weight_GOI):
        return _loop(rows_AI, weight_GOI, bias_GO, groups)
    assert GROUPED_MM is not None
    weight_GIO = weight_GOI.transpose(1, 2)
    if _garbles_empty_groups(rows_AI.device) and weight_GIO.requires_grad:
        is_empty_G11 = (groups.load_G == 0).view(-1, 1, 1)
        weight_GIO.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: gradient.masked_fill(is_empty_G11, 0)
        )
    products_AO = GROUPED_MM(rows_AI, weight_GIO, offs=groups.end_G)
    outputs_AO: Tensor = _AddBias.apply(products_AO, bias_GO, groups)  # type: ignore[no-untyped-call]
    return outputs_AO


def _can_group(rows_AI: Tensor, weight_GOI: Tensor) -> bool:
    size = rows_AI.element_size()
    widths = weight_GOI.shape[1:]
    return (
        GROUPED_MM is not None
        and rows_AI.dtype in _DTYPES
        # The compiler of torch 2.9 knows of it in bfloat16 only.
        and (rows_AI.dtype == torch.bfloat16 or not torch.compiler.is_compiling())
        and len(rows_AI) > 0
        and all(width * size % _ALIGNMENT == 0 for width in widths)
    )


def _garbles_empty_groups(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= _BLACKWELL


class _AddBias(torch.autograd.Function):
    """Add to each row the bias of its group, in place.

    The gradient of the biases is a grouped product with ones: it sees no rows beyond the groups,
    and adds up in a fixed order, as `index_add` on a GPU does not.
    """

    @staticmethod
    def forward(context: Any, rows_AO: Tensor, bias_GO: Tensor, groups: Groups) -> Tensor:
        """Return the same memory."""
        context.groups = groups
        context.mark_dirty(rows_AO)
        return rows_AO.add_(bias_GO.index_select(0, groups.group_A))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Sum the gradient of each group's rows."""
        assert GROUPED_MM is not None
        groups, gradient_AO = context.groups, gradients[0].contiguous()
        ones = gradient_AO.new_ones(len(gradient_AO), _ALIGNMENT // gradient_AO.element_size())
        sums_GO = GROUPED_MM(ones.T, gradient_AO, offs=groups.end_G)[:, 0]
        if _garbles_empty_groups(gradient_AO.device):
            sums_GO = sums_GO.masked_fill((groups.load_G == 0).unsqueeze(1), 0)
        return gradient_AO, sums_GO, None


def _loop(rows_AI: Tensor, weight_GOI: Tensor, bias_GO: Tensor, groups: Groups) -> Tensor:
    """Multiply group by group.

    `unbind` gives all weights one gradient; indexing `weight[g]` instead would write one of full
    size for each group.
    """
    counts = groups.load_G.tolist()
    rest = len(rows_AI) - sum(counts)
    parts = torch.split(rows_AI, [*counts, rest])
    outputs = [
        functional.linear(part, weight, bias)
        for part, weight, bias in zip(
            parts[:-1], weight_GOI.unbind(0), bias_GO.unbind(0), strict=True
        )
    ]
    return torch.cat([*outputs, rows_AI.new_zeros(rest, weight_GOI.shape[1])])
