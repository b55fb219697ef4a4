"""Top-2 gate with capacity and load-balance loss (NLLB-200, section 6.2; fairseq `top2gate.py`).

Shape suffixes: T tokens, padding included; D model_dim; E experts; K choices of a token, K = 2, or
1 where there is a single expert. Nothing here waits for a device.
"""

# ruff: noqa: N803, N806, N815 (shape suffixes)

from typing import NamedTuple

import torch
from torch import Tensor

MAX_CHOICES = 2


class Routing(NamedTuple):
    """Where the gate sends each token and how much each expert counts for it."""

    expert_KT: Tensor
    """Expert of each choice; E, one past the last, for padding."""

    weight_KT: Tensor
    """Weight of each choice: 0 if dropped; the kept ones of a token sum to 1."""

    load_E: Tensor
    """Assignments per expert, before dropping."""

    balance_loss: Tensor
    """E · sum_e mean(g_e) · mean(1[first choice = e]), scalar; 1 is perfectly even."""

    num_dropped: Tensor
    """Assignments that capacity kept out, scalar."""

    num_assignments: Tensor
    """Assignments in all, scalar: K for each token that is no padding."""


def route(
    scores_TE: Tensor,
    is_token_T: Tensor | None,
    capacity: int | None,
    *,
    batch_prioritized: bool = False,
) -> Routing:
    """Choose experts for tokens from the gate's softmax.

    The first choice is the best expert, the second the best of the others. An expert takes first
    choices in the order of tokens, then second choices, up to its capacity; what is dropped weighs
    0, and the weights of a token are normalized after that, so that a token which lost one expert
    gives the other all its weight, and one which lost both keeps its residual only.

    Args:
        scores_TE: Gate probabilities g, fp32.
        is_token_T: False for padding, which is routed nowhere and counts nowhere; None for none.
        capacity: Assignments an expert takes; None for as many as there are.
        batch_prioritized: Tokens stand in the order of their largest probability, not of the batch,
            when capacity is given out (Riquelme et al. 2021, section 4.1).
    """
    num_experts = scores_TE.shape[1]
    num_choices = min(MAX_CHOICES, num_experts)
    gate_TK, expert_TK = scores_TE.topk(num_choices, dim=1)
    gate_KT, expert_KT = gate_TK.T, expert_TK.T
    if is_token_T is not None:
        expert_KT = expert_KT.where(is_token_T, num_experts)
        gate_KT = gate_KT * is_token_T
    load_E = _count(expert_KT.flatten(), num_experts)
    num_assignments = load_E.sum()
    num_dropped = torch.zeros_like(num_assignments)
    if capacity is not None:
        first_T = scores_TE.detach().amax(dim=1) if batch_prioritized else None
        kept_KT = _within_capacity(expert_KT, first_T, num_experts, capacity)
        num_dropped = (load_E - capacity).clamp_min(0).sum()
        gate_KT = gate_KT * kept_KT
    eps = torch.finfo(gate_KT.dtype).eps
    weight_KT = gate_KT / gate_KT.sum(dim=0).clamp_min(eps)
    balance_loss = _balance_loss(scores_TE, expert_KT[0], is_token_T)
    return Routing(expert_KT, weight_KT, load_E, balance_loss, num_dropped, num_assignments)


def _count(expert_N: Tensor, num_experts: int) -> Tensor:
    """Count experts, padding left out; `bincount` would make the host wait for a GPU."""
    count_E = expert_N.new_zeros(num_experts + 1)
    return count_E.scatter_add_(0, expert_N, torch.ones_like(expert_N))[:num_experts]


def _within_capacity(
    expert_KT: Tensor, first_T: Tensor | None, num_experts: int, capacity: int
) -> Tensor:
    """Whether each assignment stands among the first `capacity` of its expert, [K, T].

    First choices stand before second ones; within a choice tokens stand by `first_T`, the largest
    first, or as they come.
    """
    if first_T is not None:
        token_T = first_T.argsort(descending=True, stable=True)
        expert_KT = expert_KT.index_select(1, token_T)
    else:
        token_T = None
    sorted_A, order_A = expert_KT.flatten().sort(stable=True)
    experts = torch.arange(num_experts + 1, device=sorted_A.device)
    begin_E = torch.searchsorted(sorted_A, experts)
    position_A = torch.arange(len(sorted_A), device=sorted_A.device)
    is_kept_A = position_A - begin_E.index_select(0, sorted_A) < capacity
    kept_KT = torch.empty_like(is_kept_A).scatter_(0, order_A, is_kept_A).view(expert_KT.shape)
    if token_T is None:
        return kept_KT
    return torch.empty_like(kept_KT).index_copy_(1, token_T, kept_KT)


def _balance_loss(scores_TE: Tensor, first_T: Tensor, is_token_T: Tensor | None) -> Tensor:
    num_tokens, num_experts = scores_TE.shape
    count_E = _count(first_T, num_experts)
    if is_token_T is None:
        probability_E = scores_TE.sum(dim=0)
        total = torch.full((), num_tokens, device=scores_TE.device)
    else:
        probability_E = is_token_T.to(scores_TE.dtype) @ scores_TE
        total = is_token_T.sum()
    return num_experts * (probability_E * count_E).sum() / total.clamp_min(1).square()
