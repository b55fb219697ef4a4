"""Top-2 gate with capacity and load-balance loss (NLLB-200, section 6.2; fairseq `top2gate.py`).

Shape suffixes: T tokens, padding included; D model_dim; E experts; K choices of a token, K = 2, or
1 where there is a single expert.
"""

# ruff: noqa: N803, N806, N815 (shape suffixes)

from typing import NamedTuple

import torch
from torch import Tensor

MAX_CHOICES = 2


class Routing(NamedTuple):
    """Where each token goes and how much each expert counts for it."""

    expert_KT: Tensor
    """Expert of each choice; E, one past the last, for padding."""

    weight_KT: Tensor
    """Weight of each choice: 0 if dropped; the kept ones of a token sum to 1."""

    order_KT: Tensor
    """Assignments sorted by expert, [K·T]; first choices stand before second ones."""

    load_E: Tensor
    """Assignments per expert, before dropping."""

    balance_loss: Tensor
    """E · sum_e mean(g_e) · mean(1[first choice = e]), scalar; 1 is perfectly even."""


def route(scores_TE: Tensor, is_token_T: Tensor | None, capacity: int | None) -> Routing:
    """Choose experts for tokens from the gate's softmax.

    The first choice is the best expert, the second the best of the others. An expert takes first
    choices in the order of tokens, then second choices, up to its capacity; what is dropped weighs
    0, and the weights of a token are normalized after that, so that a token which lost one expert
    gives the other all its weight, and one which lost both keeps its residual only.

    Args:
        scores_TE: Gate probabilities g, fp32.
        is_token_T: False for padding, which is routed nowhere and counts nowhere; None for none.
        capacity: Assignments an expert takes; None for as many as there are.
    """
    num_tokens, num_experts = scores_TE.shape
    num_choices = min(MAX_CHOICES, num_experts)
    gate_TK, expert_TK = scores_TE.topk(num_choices, dim=1)
    expert_KT = expert_TK.T
    if is_token_T is not None:
        expert_KT = expert_KT.where(is_token_T, num_experts)
    flat_KT = expert_KT.flatten()
    order_KT = flat_KT.argsort(stable=True)
    load_E = torch.bincount(flat_KT, minlength=num_experts + 1)[:num_experts]

    gate_KT = gate_TK.T
    if is_token_T is not None:
        gate_KT = gate_KT * is_token_T
    if capacity is not None:
        kept_KT = _within_capacity(flat_KT, order_KT, load_E, capacity)
        gate_KT = gate_KT * kept_KT.view(num_choices, num_tokens)
    eps = torch.finfo(gate_KT.dtype).eps
    weight_KT = gate_KT / gate_KT.sum(dim=0).clamp_min(eps)
    balance_loss = _balance_loss(scores_TE, expert_KT[0], is_token_T)
    return Routing(expert_KT, weight_KT, order_KT, load_E, balance_loss)


def _within_capacity(flat_KT: Tensor, order_KT: Tensor, load_E: Tensor, capacity: int) -> Tensor:
    """Whether each assignment stands among the first `capacity` of its expert, [K·T]."""
    begin = torch.cat([load_E.new_zeros(1), load_E.cumsum(0)])
    rank_sorted = torch.arange(flat_KT.numel(), device=flat_KT.device) - begin[flat_KT[order_KT]]
    return torch.empty_like(rank_sorted).scatter_(0, order_KT, rank_sorted) < capacity


def _balance_loss(scores_TE: Tensor, first_T: Tensor, is_token_T: Tensor | None) -> Tensor:
    num_tokens, num_experts = scores_TE.shape
    count_E = torch.bincount(first_T, minlength=num_experts + 1)[:num_experts]
    if is_token_T is None:
        probability_E = scores_TE.sum(dim=0)
        total = torch.as_tensor(num_tokens, device=scores_TE.device)
    else:
        probability_E = is_token_T.to(scores_TE.dtype) @ scores_TE
        total = is_token_T.sum()
    return num_experts * (probability_E * count_E).sum() / total.clamp_min(1).square()
