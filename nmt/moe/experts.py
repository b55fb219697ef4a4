"""Experts over tokens sorted by expert, and the moves into and out of that order.

Shape suffixes: T tokens; D model_dim; F ffn_inner_dim; E experts; K choices of a token; A = K·T
assignments, sorted by expert.
"""

# ruff: noqa: N803, N806 (shape suffixes)

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import Parameter


class Experts(nn.Module):
    """E feed-forward networks: ReLU(x · inner + inner_bias) · output + output_bias."""

    def __init__(self, num_experts: int, model_dim: int, ffn_inner_dim: int, dropout_p: float):
        super().__init__()
        self.dropout_p = dropout_p
        self.inner_weight = Parameter(torch.empty(num_experts, ffn_inner_dim, model_dim))
        self.inner_bias = Parameter(torch.empty(num_experts, ffn_inner_dim))
        self.output_weight = Parameter(torch.empty(num_experts, model_dim, ffn_inner_dim))
        self.output_bias = Parameter(torch.empty(num_experts, model_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every expert as `nn.Linear` draws a layer of its shape."""
        for weight, bias in (
            (self.inner_weight, self.inner_bias),
            (self.output_weight, self.output_bias),
        ):
            bound = weight.shape[2] ** -0.5
            nn.init.uniform_(weight, -bound, bound)
            nn.init.uniform_(bias, -bound, bound)

    def forward(self, tokens_AD: Tensor, load_E: Tensor) -> Tensor:
        """Apply expert e to its `load_E[e]` tokens; rows beyond all loads come out as zeros.

        A loop over `unbind` is the fastest on CPU at small E: indexing `weight[e]` instead would
        write a full-size gradient per expert.
        """
        outputs = []
        counts = load_E.tolist()
        rest = len(tokens_AD) - sum(counts)
        weights = zip(
            torch.split(tokens_AD, [*counts, rest]),
            self.inner_weight.unbind(0),
            self.inner_bias.unbind(0),
            self.output_weight.unbind(0),
            self.output_bias.unbind(0),
            strict=False,
        )
        for tokens, inner_weight, inner_bias, output_weight, output_bias in weights:
            hidden = functional.linear(tokens, inner_weight, inner_bias).relu_()
            output = functional.linear(hidden, output_weight, output_bias)
            outputs.append(functional.dropout(output, self.dropout_p, self.training, inplace=True))
        if rest:
            outputs.append(tokens_AD.new_zeros(rest, tokens_AD.shape[1]))
        return torch.cat(outputs)


class _Dispatch(torch.autograd.Function):
    """Copy each token to its places in the order of experts; the gradient is a gather too."""

    @staticmethod
    def forward(context: Any, tokens_TD: Tensor, order_A: Tensor, place_A: Tensor) -> Tensor:
        """Return tokens by assignment, [A, D]; `place_A` is the inverse of `order_A`."""
        context.save_for_backward(place_A)
        context.num_tokens = len(tokens_TD)
        return tokens_TD.index_select(0, order_A % len(tokens_TD))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Sum a token's gradients over its places."""
        (place_A,) = context.saved_tensors
        gathered = gradients[0].index_select(0, place_A)
        return gathered.view(-1, context.num_tokens, gathered.shape[1]).sum(0), None, None


class _Collect(torch.autograd.Function):
    """Bring expert outputs back to the order of tokens and choices."""

    @staticmethod
    def forward(context: Any, outputs_AD: Tensor, order_A: Tensor, place_A: Tensor) -> Tensor:
        """Return outputs by choice and token, [K·T, D]."""
        context.save_for_backward(order_A)
        return outputs_AD.index_select(0, place_A)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Undo the permutation."""
        (order_A,) = context.saved_tensors
        return gradients[0].index_select(0, order_A), None, None


def dispatch(tokens_TD: Tensor, order_A: Tensor, place_A: Tensor) -> Tensor:
    """Return tokens by assignment, [A, D]; `place_A` is the inverse of `order_A`."""
    sorted_AD: Tensor = _Dispatch.apply(tokens_TD, order_A, place_A)  # type: ignore[no-untyped-call]
    return sorted_AD


def collect(outputs_AD: Tensor, order_A: Tensor, place_A: Tensor) -> Tensor:
    """Return expert outputs by choice and token, [K·T, D]."""
    outputs: Tensor = _Collect.apply(outputs_AD, order_A, place_A)  # type: ignore[no-untyped-call]
    return outputs


def inverse_permutation(order_A: Tensor) -> Tensor:
    """Return where each assignment stands in the order."""
    place_A = torch.empty_like(order_A)
    place_A[order_A] = torch.arange(len(order_A), device=order_A.device)
    return place_A
