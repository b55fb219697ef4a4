"""Experts computed one after the other, for CPUs, where the loads are known to the host.

What a product makes is used while it is in the processor's cache: the gradient of the inner layer
is held for one expert at a time, and gradients of weights are written where they belong. Of the
size of all assignments times F only the inner layer itself is kept, and without gradients not even
that (decision 0025).

Shape suffixes: A assignments, sorted by expert; D model_dim; F ffn_inner_dim; E experts; B
assignments of one expert.
"""

# ruff: noqa: N803, N806 (shape suffixes)

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.products import multiply_into, right_sides


def apply_in_turn(
    tokens_AD: Tensor,
    inner_weight_EFD: Tensor,
    inner_bias_EF: Tensor,
    output_weight_EDF: Tensor,
    output_bias_ED: Tensor,
    load_E: Tensor,
) -> Tensor:
    """Return ReLU(x · inner + inner_bias) · output + output_bias of each row's expert, [A, D].

    Expert e has the next `load_E[e]` rows; rows beyond all loads come out as zeros.
    """
    outputs_AD: Tensor = _InTurn.apply(  # type: ignore[no-untyped-call]
        tokens_AD,
        inner_weight_EFD,
        inner_bias_EF,
        output_weight_EDF,
        output_bias_ED,
        load_E.tolist(),
        torch.is_grad_enabled(),
    )
    return outputs_AD


class _InTurn(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        tokens_AD: Tensor,
        inner_weight_EFD: Tensor,
        inner_bias_EF: Tensor,
        output_weight_EDF: Tensor,
        output_bias_ED: Tensor,
        loads: Sequence[int],
        is_kept: bool,
    ) -> Tensor:
        inner_weights = right_sides(inner_weight_EFD, sum(loads))
        output_weights = right_sides(output_weight_EDF, sum(loads))
        inner_biases, output_biases = inner_bias_EF.unbind(), output_bias_ED.unbind()
        num_rows = sum(loads) if is_kept else max(loads, default=0)
        hidden_AF = tokens_AD.new_empty(num_rows, inner_weight_EFD.shape[1])
        outputs_AD = torch.empty_like(tokens_AD)
        outputs_AD[sum(loads) :] = 0
        for e, begin, end in _spans(loads):
            hidden_BF = hidden_AF[begin:end] if is_kept else hidden_AF[: end - begin]
            multiply_into(hidden_BF, tokens_AD[begin:end], inner_weights[e], inner_biases[e])
            hidden_BF.relu_()
            outputs_BD = outputs_AD[begin:end]
            multiply_into(outputs_BD, hidden_BF, output_weights[e], output_biases[e])
        if is_kept:
            context.save_for_backward(tokens_AD, inner_weight_EFD, output_weight_EDF, hidden_AF)
            context.loads = loads
        return outputs_AD

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tokens_AD, inner_weight_EFD, output_weight_EDF, hidden_AF = context.saved_tensors
        loads, gradient_AD = context.loads, gradients[0].contiguous()
        tokens_gradient_AD = torch.empty_like(tokens_AD)
        tokens_gradient_AD[sum(loads) :] = 0
        shaped_as = (
            inner_weight_EFD,
            inner_weight_EFD[..., 0],
            output_weight_EDF,
            output_weight_EDF[..., 0],
        )
        of_weights = tuple(
            torch.empty_like(like) if is_trained else None
            for like, is_trained in zip(shaped_as, context.needs_input_grad[1:5], strict=True)
        )
        inner, inner_bias, output, output_bias = of_weights
        inner_weights, output_weights = inner_weight_EFD.unbind(), output_weight_EDF.unbind()
        for e, load in enumerate(loads):
            if load == 0:
                for gradient in of_weights:
                    if gradient is not None:
                        gradient[e] = 0
        space_BF = hidden_AF.new_empty(max(loads, default=0), hidden_AF.shape[1])
        for e, begin, end in _spans(loads):
            outputs_BD, hidden_BF = gradient_AD[begin:end], hidden_AF[begin:end]
            if output is not None:
                multiply_into(output[e], outputs_BD.T, hidden_BF)
            if output_bias is not None:
                torch.sum(outputs_BD, 0, out=output_bias[e])
            inner_BF = space_BF[: end - begin]
            multiply_into(inner_BF, outputs_BD, output_weights[e])
            # What autograd calls for ReLU, in place; `masked_fill_` takes ten times as long.
            torch.ops.aten.threshold_backward.grad_input(
                inner_BF, hidden_BF, 0, grad_input=inner_BF
            )
            if inner is not None:
                multiply_into(inner[e], inner_BF.T, tokens_AD[begin:end])
            if inner_bias is not None:
                torch.sum(inner_BF, 0, out=inner_bias[e])
            multiply_into(tokens_gradient_AD[begin:end], inner_BF, inner_weights[e])
        return tokens_gradient_AD, *of_weights, None, None


def _spans(loads: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield each expert that has rows, its first row and one past its last."""
    end = 0
    for e, load in enumerate(loads):
        begin, end = end, end + load
        if load:
            yield e, begin, end
