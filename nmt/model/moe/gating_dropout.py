"""Gating dropout (Liu et al. 2022): in some steps tokens stay with the experts of their rank.

Shape suffixes: T tokens; E experts; K choices of a token.
"""

# ruff: noqa: N803, N806 (shape suffixes)

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GatingDropout:
    """How often a layer leaves out its two exchanges of tokens, and between how many ranks."""

    p: float
    """Probability, for a layer and a step as a whole."""

    num_ranks: int
    """Ranks that share the experts; expert e lives on rank e // (E / num_ranks)."""

    rank: int | None = None
    """This process's, where processes do share them; None where one imagines all ranks."""

    def draw(self) -> bool:
        """Return whether this layer skips the exchange in this step.

        The host draws, so that no GPU has to be waited for. Ranks that share experts have to
        agree (`nmt.training.parallel.experts`).
        """
        return self.p > 0 and float(torch.rand((), device="cpu")) < self.p


def stay_local(
    expert_KT: Tensor, sequence_length: int, *, num_experts: int, dropout: GatingDropout
) -> Tensor:
    """Return the experts that take assignments when the exchange is left out.

    The buffers of a rank are ordered by expert of the whole gang, and its own experts work on them
    as if they had been exchanged: an assignment to expert e, of a token on rank r, is done by
    r · (E / num_ranks) + e mod (E / num_ranks). Weights and capacity stay those of the gate. In one
    process alone, sequence i stands for one on rank i mod `num_ranks`.

    Args:
        expert_KT: The gate's choices; E for padding, which stays where it is.
        sequence_length: Tokens of each sequence, T = sequences · sequence_length.
        num_experts: E, a multiple of the ranks.
        dropout: Says how many ranks there are, and which one this is.
    """
    num_local = num_experts // dropout.num_ranks
    if dropout.rank is not None:
        local_KT = dropout.rank * num_local + expert_KT % num_local
    else:
        token_T = torch.arange(expert_KT.shape[1], device=expert_KT.device)
        rank_T = torch.div(token_T, sequence_length, rounding_mode="floor") % dropout.num_ranks
        local_KT = rank_T * num_local + expert_KT % num_local
    return local_KT.where(expert_KT < num_experts, num_experts)
