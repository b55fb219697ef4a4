"""The Mixture-of-Experts feed-forward layer with expert output masking.

Shape suffixes: N sequences; S steps; T = N·S tokens; D model_dim; E experts; K choices of a token.
"""

# ruff: noqa: N803, N806 (shape suffixes)

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nmt.fairseq import BatchLayout, FeedForwardNetwork
from nmt.moe.experts import Experts, collect, dispatch, inverse_permutation
from nmt.moe.gate import Routing, route


class MoEFeedForwardNetwork(FeedForwardNetwork):
    """Two experts per token, chosen by a learned gate.

    out = sum_k weight_k · mask_k · expert_k(x)

    Expert output masking (EOM) draws mask_k as 0 with probability p for each of a token's two
    outputs by itself in training, and does not scale what is left; at evaluation the sum is scaled
    by (1 - p) instead, as NLLB's weights need it (decision 0004).

    Attributes:
        layout: Layout of the next input, handed in by a hook on the layer; None for no padding.
        routing: Where the last input went.
    """

    def __init__(
        self,
        model_dim: int,
        ffn_inner_dim: int,
        num_experts: int,
        *,
        dropout_p: float,
        capacity_factor: float | None,
        expert_output_masking_p: float,
    ) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.capacity_factor = capacity_factor
        self.expert_output_masking_p = expert_output_masking_p
        self.gate = nn.Linear(model_dim, num_experts, bias=False)
        self.experts = Experts(num_experts, model_dim, ffn_inner_dim, dropout_p)
        self.layout: BatchLayout | None = None
        self.routing: Routing | None = None

    def forward(self, seqs: Tensor) -> Tensor:
        """Return the layer's output for [N, S, D]."""
        tokens_TD = seqs.flatten(0, -2)
        is_token_T, num_tokens = self._tokens_of_layout(tokens_TD)
        capacity = None
        if self.training and self.capacity_factor is not None:
            capacity = math.ceil(self.capacity_factor * math.ceil(num_tokens / self.num_experts))
        with torch.autocast(seqs.device.type, enabled=False):
            logits_TE = nn.functional.linear(tokens_TD.float(), self.gate.weight.float())
            scores_TE = logits_TE.softmax(dim=1)
        self.routing = route(scores_TE, is_token_T, capacity)
        output_TD = self._apply_experts(tokens_TD, self.routing)
        return output_TD.view(seqs.shape)

    def _tokens_of_layout(self, tokens_TD: Tensor) -> tuple[Tensor | None, int]:
        layout, self.layout = self.layout, None
        if layout is None or not layout.padded:
            return None, len(tokens_TD)
        return (layout.position_indices >= 0).flatten(), sum(layout.seq_lens)

    def _apply_experts(self, tokens_TD: Tensor, routing: Routing) -> Tensor:
        order_KT, weight_KT = routing.order_KT, routing.weight_KT
        place_KT = inverse_permutation(order_KT)
        sorted_AD = dispatch(tokens_TD, order_KT, place_KT)
        outputs_AD = self.experts(sorted_AD, routing.load_E)
        outputs_KTD = collect(outputs_AD, order_KT, place_KT).view(len(weight_KT), *tokens_TD.shape)
        p = self.expert_output_masking_p
        if self.training and p > 0:
            weight_KT = weight_KT * (torch.rand_like(weight_KT) >= p)
        elif p > 0:
            weight_KT = weight_KT * (1 - p)
        weight_KT = weight_KT.to(outputs_KTD.dtype)
        return (outputs_KTD * weight_KT.unsqueeze(-1)).sum(0)

    if TYPE_CHECKING:
        __call__ = forward
