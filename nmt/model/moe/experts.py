"""Experts over tokens sorted by expert, and the moves into and out of that order.

Shape suffixes: T tokens; D model_dim; F ffn_inner_dim; E experts; K choices of a token; A = K·T
assignments, sorted by expert.
"""

# ruff: noqa: N803, N806, N815 (shape suffixes)

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import Parameter

from nmt.model.dropout import dropout
from nmt.model.moe.grouped import Groups, grouped_linear
from nmt.model.moe.in_turn import apply_in_turn


class Experts(nn.Module):
    """E feed-forward networks: ReLU(x · inner + inner_bias) · output + output_bias."""

    first_expert = 0
    """Number of its first expert in the layer; another where processes share experts out."""

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

    def forward(self, tokens_AD: Tensor, load_E: Tensor, *, is_local: bool = False) -> Tensor:
        """Apply expert e to its `load_E[e]` tokens; rows beyond all loads come out as zeros.

        Args:
            tokens_AD: Sorted by expert.
            load_E: How many of them each expert takes.
            is_local: Whether no token has an expert of another process; here all are.
        """
        if tokens_AD.device.type == "cpu":
            in_turn = self._in_turn
            if torch.compiler.is_compiling():
                in_turn = torch.compiler.disable(in_turn)  # type: ignore[no-untyped-call]
            outputs_AD: Tensor = in_turn(tokens_AD, load_E)
            return outputs_AD
        return self._mask_rest(tokens_AD, load_E)

    def _in_turn(self, tokens_AD: Tensor, load_E: Tensor) -> Tensor:
        """Spare the work on rows beyond all loads; the host has to know how many there are."""
        tokens_AD, *weights = self._in_dtype_of_products(tokens_AD)
        outputs_AD = apply_in_turn(tokens_AD, *weights, load_E)  # type: ignore[call-arg]
        return dropout(outputs_AD, self.dropout_p, self.training)

    def _mask_rest(self, tokens_AD: Tensor, load_E: Tensor) -> Tensor:
        """Without asking a GPU how many there are: a grouped product skips rows beyond the loads.

        It leaves them undefined in results and in the gradient that autograd makes for the tokens.
        """
        is_taken_A = torch.arange(len(tokens_AD), device=load_E.device) < load_E.sum()
        is_taken_A1 = is_taken_A.unsqueeze(1)
        outputs_AD = self._feed_forward(tokens_AD.where(is_taken_A1, 0), load_E)
        return outputs_AD.where(is_taken_A1, 0)

    def _feed_forward(self, tokens_AD: Tensor, load_E: Tensor) -> Tensor:
        tokens_AD, inner_weight, inner_bias, output_weight, output_bias = (
            self._in_dtype_of_products(tokens_AD)
        )
        groups = Groups.of(load_E, len(tokens_AD))
        hidden_AF = grouped_linear(tokens_AD, inner_weight, inner_bias, groups).relu_()
        outputs_AD = grouped_linear(hidden_AF, output_weight, output_bias, groups)
        return functional.dropout(outputs_AD, self.dropout_p, self.training, inplace=True)

    def _in_dtype_of_products(self, tokens_AD: Tensor) -> tuple[Tensor, ...]:
        """Return tokens and weights in the type of the tokens, or in half precision if enabled."""
        device = tokens_AD.device.type
        dtype = tokens_AD.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        weights = (self.inner_weight, self.inner_bias, self.output_weight, self.output_bias)
        return tokens_AD.to(dtype), *(weight.to(dtype) for weight in weights)


class Assignments(NamedTuple):
    """Assignments in the order of their experts."""

    order_A: Tensor
    """Assignment, k · T + t, at each place of the order."""

    place_A: Tensor
    """Place of each assignment: the inverse of `order_A`."""

    load_E: Tensor
    """Assignments of each expert; what no expert takes stands behind all of them."""


def sort_assignments(expert_KT: Tensor, num_experts: int) -> Assignments:
    """Sort assignments by expert; E, one past the last, is for those that no expert takes."""
    sorted_A, order_A = expert_KT.flatten().sort(stable=True)
    experts = torch.arange(num_experts + 1, device=sorted_A.device)
    load_E = torch.searchsorted(sorted_A, experts).diff()
    return Assignments(order_A, inverse_permutation(order_A), load_E)


def inverse_permutation(order_A: Tensor) -> Tensor:
    """Return where each assignment stands in the order."""
    place_A = torch.empty_like(order_A)
    place_A[order_A] = torch.arange(len(order_A), device=order_A.device)
    return place_A


class _Dispatch(torch.autograd.Function):
    """Copy each token to its places in the order of experts; the gradient is a gather too."""

    @staticmethod
    def forward(context: Any, tokens_TD: Tensor, order_A: Tensor, place_A: Tensor) -> Tensor:
        """Return tokens by place, [A, D]."""
        context.save_for_backward(place_A)
        context.num_tokens = len(tokens_TD)
        return tokens_TD.index_select(0, order_A % len(tokens_TD))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Sum a token's gradients over its places."""
        (place_A,) = context.saved_tensors
        places = place_A.view(-1, context.num_tokens)
        gradient_TD = gradients[0].index_select(0, places[0])
        for place_T in places[1:]:
            gradient_TD += gradients[0].index_select(0, place_T)
        return gradient_TD, None, None


class _Collect(torch.autograd.Function):
    """Undo an order of rows; the gradient is a gather too."""

    @staticmethod
    def forward(context: Any, rows_AD: Tensor, order_A: Tensor, place_A: Tensor) -> Tensor:
        """Return the row of each place."""
        context.save_for_backward(order_A)
        return rows_AD.index_select(0, place_A)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Put the gradient in the order again."""
        (order_A,) = context.saved_tensors
        return gradients[0].index_select(0, order_A), None, None


class _Combine(torch.autograd.Function):
    """Sum a token's expert outputs, weighted; nothing of the size K · T · D is kept for it."""

    @staticmethod
    def forward(
        context: Any, outputs_AD: Tensor, weight_KT: Tensor, order_A: Tensor, place_A: Tensor
    ) -> Tensor:
        """Return the sums, [T, D]."""
        context.save_for_backward(outputs_AD, weight_KT, order_A, place_A)
        weights_KT1 = weight_KT.to(outputs_AD.dtype).unsqueeze(-1)
        places = place_A.view(weight_KT.shape)
        output_TD = outputs_AD.index_select(0, places[0]).mul_(weights_KT1[0])
        for place_T, weight_T1 in zip(places[1:], weights_KT1[1:], strict=True):
            output_TD.addcmul_(outputs_AD.index_select(0, place_T), weight_T1)
        return output_TD

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Bring the gradient to the places, then multiply it by weights and by outputs."""
        outputs_AD, weight_KT, order_A, place_A = context.saved_tensors
        gradient_AD = gradients[0].index_select(0, order_A % weight_KT.shape[1])
        products_A = torch.einsum("ad,ad->a", gradient_AD, outputs_AD)
        weight_gradient_KT = products_A.index_select(0, place_A).view(weight_KT.shape)
        weight_A1 = weight_KT.flatten().index_select(0, order_A).unsqueeze(-1)
        gradient_AD *= weight_A1.to(gradient_AD.dtype)
        return gradient_AD, weight_gradient_KT.to(weight_KT.dtype), None, None


def dispatch(tokens_TD: Tensor, assignments: Assignments) -> Tensor:
    """Return the token of each place, [A, D]."""
    sorted_AD: Tensor = _Dispatch.apply(  # type: ignore[no-untyped-call]
        tokens_TD, assignments.order_A, assignments.place_A
    )
    return sorted_AD


def collect(rows_AD: Tensor, order_A: Tensor, place_A: Tensor) -> Tensor:
    """Return rows that stand in `order_A` as they were before; `place_A` is its inverse."""
    rows: Tensor = _Collect.apply(rows_AD, order_A, place_A)  # type: ignore[no-untyped-call]
    return rows


def combine(outputs_AD: Tensor, weight_KT: Tensor, assignments: Assignments) -> Tensor:
    """Return sum_k weight_k · output_k for each token, [T, D]."""
    output_TD: Tensor = _Combine.apply(  # type: ignore[no-untyped-call]
        outputs_AD, weight_KT, assignments.order_A, assignments.place_A
    )
    return output_TD
