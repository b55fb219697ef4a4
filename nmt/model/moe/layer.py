"""The Mixture-of-Experts feed-forward layer with its ways of masking and routing in training.

Shape suffixes: N sequences; S steps; T = N·S tokens; D model_dim; E experts; K choices of a token.
"""

# ruff: noqa: N803, N806 (shape suffixes)

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nmt.fairseq import BatchLayout, FeedForwardNetwork
from nmt.model.moe.conditional import ConditionalRouting
from nmt.model.moe.experts import Experts, combine, dispatch, sort_assignments
from nmt.model.moe.gate import Routing, route
from nmt.model.moe.gating_dropout import GatingDropout, stay_local


class MoEFeedForwardNetwork(FeedForwardNetwork):
    """Two experts per token, chosen by a learned gate.

    out = sum_k weight_k · mask_k · expert_k(x)

    Expert output masking (EOM) draws mask_k as 0 with probability p for each of a token's two
    outputs by itself in training, and does not scale what is left; at evaluation the sum is scaled
    by (1 - p) instead, as NLLB's weights need it (decision 0004). Final output masking (FOM) does
    the same with the layer's output for a token as a whole. Gating dropout and conditional routing
    (CMR) have modules of their own. What counts nothing, for padding, capacity or masking, is not
    computed: it stands behind all loads.

    Attributes:
        layout: Layout of the next input, handed in by a hook on the layer; None for no padding.
        routing: Where the gate sent the last input.
        cmr_loss: |mean G - 0.8| of the last input; None without conditional routing.
    """

    def __init__(
        self,
        model_dim: int,
        ffn_inner_dim: int,
        num_experts: int,
        *,
        dropout_p: float,
        capacity_factor: float | None,
        expert_output_masking_p: float = 0.0,
        final_output_masking_p: float = 0.0,
        batch_prioritized: bool = False,
        gating_dropout: GatingDropout | None = None,
        conditional: ConditionalRouting | None = None,
    ) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.capacity_factor = capacity_factor
        self.expert_output_masking_p = expert_output_masking_p
        self.final_output_masking_p = final_output_masking_p
        self.batch_prioritized = batch_prioritized
        self.gating_dropout = gating_dropout
        self.gate = nn.Linear(model_dim, num_experts, bias=False)
        self.experts: nn.Module = Experts(num_experts, model_dim, ffn_inner_dim, dropout_p)
        self.register_module("conditional", conditional)
        self.layout: BatchLayout | None = None
        self.routing: Routing | None = None

    conditional: ConditionalRouting | None

    @property
    def cmr_loss(self) -> Tensor | None:
        """The loss of conditional routing for this layer alone, for the log."""
        return None if self.conditional is None else self.conditional.loss()

    def forward(self, seqs: Tensor) -> Tensor:
        """Return the layer's output for [N, S, D]."""
        tokens_TD = seqs.flatten(0, -2)
        is_token_T, num_tokens = self._tokens_of_layout(tokens_TD)
        capacity = self.capacity(num_tokens) if self.training else None
        with torch.autocast(seqs.device.type, enabled=False):
            logits_TE = nn.functional.linear(tokens_TD.float(), self.gate.weight.float())
            scores_TE = logits_TE.softmax(dim=1)
            # Here too: the balance loss is a product, which would be in half precision outside.
            self.routing = route(
                scores_TE, is_token_T, capacity, batch_prioritized=self.batch_prioritized
            )
        output = self._apply_experts(tokens_TD, self.routing, seqs.shape[-2]).view(seqs.shape)
        if self.conditional is not None:
            output = self.conditional(seqs, output, is_token_T)
        return self._mask(output, output[..., :1], self.final_output_masking_p)

    def capacity(self, num_tokens: int) -> int | None:
        """Return how many of these tokens an expert takes at most in training; None for all."""
        if self.capacity_factor is None:
            return None
        return math.ceil(self.capacity_factor * math.ceil(num_tokens / self.num_experts))

    def _tokens_of_layout(self, tokens_TD: Tensor) -> tuple[Tensor | None, int]:
        layout, self.layout = self.layout, None
        num_tokens = count_tokens(layout, len(tokens_TD))
        if layout is None or not layout.padded:
            return None, num_tokens
        return (layout.position_indices >= 0).flatten(), num_tokens

    def _apply_experts(self, tokens_TD: Tensor, routing: Routing, sequence_length: int) -> Tensor:
        weight_KT = self._mask(routing.weight_KT, routing.weight_KT, self.expert_output_masking_p)
        expert_KT = routing.expert_KT
        dropout = self.gating_dropout
        is_local = False
        if self.training and dropout is not None and dropout.draw():
            is_local = True
            expert_KT = stay_local(
                expert_KT,
                sequence_length,
                num_experts=self.num_experts,
                dropout=dropout,
            )
        expert_KT = expert_KT.where(weight_KT > 0, self.num_experts)
        assignments = sort_assignments(expert_KT, self.num_experts)
        tokens_AD = dispatch(tokens_TD, assignments)
        outputs_AD = self.experts(tokens_AD, assignments.load_E, is_local=is_local)
        return combine(outputs_AD, weight_KT, assignments)

    def _mask(self, values: Tensor, drawn_for: Tensor, p: float) -> Tensor:
        """Set values to 0 with probability p in training, else scale them by 1 - p."""
        if p == 0:
            return values
        if self.training:
            return values * (torch.rand_like(drawn_for, dtype=torch.float32) >= p)
        return values * (1 - p)

    if TYPE_CHECKING:
        __call__ = forward


def count_tokens(layout: BatchLayout | None, positions: int) -> int:
    """Return how many of a batch's positions are no padding; the host knows it."""
    if layout is None or not layout.padded:
        return positions
    return sum(layout.seq_lens)
