"""Products of fp32 matrices in training on a CPU, by the faster of torch's two libraries.

torch multiplies fp32 by MKL, which uses half the width of the registers where the processor is not
Intel's: 103 GFLOP/s on a core of a Zen 5, where oneDNN, which torch has too, reaches 240 (decision
0113). Everywhere else, and in half precision, these functions are torch's own.

Shape suffixes: M rows; K inner; N columns.
"""

# ruff: noqa: N803, N806 (shape suffixes)

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_MIN_ROWS = 64
"""Rows below which a call of oneDNN costs more than it saves: 12 µs in place of 4."""

_MIN_ROWS_OF_EXPERT = 128
"""Rows of an expert from which its weights are worth a copy: 1 ns a weight, 5 ns saved."""

_PLAIN = (Tensor, torch.nn.Parameter)

_PROCESSORS = Path("/proc/cpuinfo")


@functools.cache
def prefers_onednn() -> bool:
    """Return whether oneDNN is the faster: AVX-512 on a processor that is not Intel's."""
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and _PROCESSORS.exists()
        and "GenuineIntel" not in _PROCESSORS.read_text()
    )


def multiply(left_MK: Tensor, right_KN: Tensor) -> Tensor:
    """Return left · right, without gradient; either may be a transposed view.

    Where the result is as wide as the right matrix is tall, its memory may be that of the
    transposed result.
    """
    if not _is_for_onednn(left_MK, right_KN):
        return left_MK @ right_KN
    # The left one is copied where it is no plain matrix: the smaller of the two, if there is one.
    if not left_MK.is_contiguous() and right_KN.shape[1] < left_MK.shape[0]:
        return _onednn(right_KN.T, left_MK, None).T
    return _onednn(left_MK, right_KN.T, None)


def multiply_into(
    product_MN: Tensor, left_MK: Tensor, right_KN: Tensor, bias_N: Tensor | None = None
) -> None:
    """Write left · right + bias, without gradient, to memory that is there."""
    if _is_for_onednn(left_MK, right_KN) and bias_N is None:
        product_MN.copy_(multiply(left_MK, right_KN))
    elif _is_for_onednn(left_MK, right_KN) and right_KN.is_contiguous():
        product_MN.copy_(_onednn(left_MK, right_KN.T, bias_N))
    elif bias_N is None:
        torch.mm(left_MK, right_KN, out=product_MN)
    else:
        torch.addmm(bias_N, left_MK, right_KN, out=product_MN)


def right_sides(weight_ENK: Tensor, num_rows: int) -> Sequence[Tensor]:
    """Return the transposed weights of E experts, [K, N], for products with `num_rows` in all.

    With weights as they are, oneDNN takes milliseconds for the first product of each number of
    rows, and experts have another number each time. So they are copied, if there are enough rows
    for each that this is little.
    """
    weight_EKN = weight_ENK.transpose(1, 2)
    if _is_for_onednn(weight_ENK, weight_ENK) and num_rows >= _MIN_ROWS_OF_EXPERT * len(weight_ENK):
        weight_EKN = weight_EKN.contiguous()
    return weight_EKN.unbind()


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002
    """Return input · weightᵀ + bias as `torch.nn.functional.linear` does."""
    # Shapes come and go in translation, and a new one costs oneDNN milliseconds; in training they
    # are few, as packed batches are rounded up.
    is_trained = torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad)
    if not is_trained or not _is_for_onednn(input, weight):
        return functional.linear(input, weight, bias)
    rows: Tensor = _Linear.apply(input.flatten(0, -2), weight, bias)  # type: ignore[no-untyped-call]
    return rows.view(*input.shape[:-1], weight.shape[0])


def _is_for_onednn(left: Tensor, right: Tensor) -> bool:
    return (
        prefers_onednn()
        and left.numel() >= _MIN_ROWS * left.shape[-1] > 0
        and right.numel() > 0
        and left.device.type == "cpu"
        and left.dtype == right.dtype == torch.float32
        # oneDNN reads memory, which fake tensors and those of several processes have not.
        and type(left) in _PLAIN
        and type(right) in _PLAIN
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _onednn(rows_MK: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
    """Return rows · weightᵀ + bias; a weight that is a transposed view is read as it is."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows_MK, weight_NK, bias_N, "none", [], "")
    return product


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows_MK: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
        context.save_for_backward(rows_MK, weight_NK)
        context.has_bias = bias_N is not None
        return _onednn(rows_MK, weight_NK, bias_N)

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows_MK, weight_NK = context.saved_tensors
        needs_rows, needs_weight, needs_bias = context.needs_input_grad
        gradient_MN = gradients[0]
        of_rows = multiply(gradient_MN, weight_NK) if needs_rows else None
        of_weight = multiply(gradient_MN.T, rows_MK) if needs_weight else None
        of_bias = gradient_MN.sum(0) if context.has_bias and needs_bias else None
        return of_rows, of_weight, of_bias
