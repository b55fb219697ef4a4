"""Conditional Mixture-of-Experts routing, CMR (NLLB-200, section 6.2.2; fairseq `cmr_layer.py`).

Shape suffixes: N sequences; S steps; T = N·S tokens; D model_dim.
"""

# ruff: noqa: N803 (shape suffixes)

from collections.abc import Iterable

import torch
from torch import Tensor, nn

CMR_BUDGET = 0.8
"""Share of tokens, softly counted, that the loss wants experts to have (NLLB-200)."""


class ConditionalRouting(nn.Module):
    """A dense network parallel to the experts, and a gate that mixes the two for each token.

    G = Dropout(sigmoid(x · w + b)), 0 for padding; out = dense(x) · (1 - G) + experts(x) · G

    Attributes:
        gate_sum: Sum of G over tokens in the last input.
        num_tokens: Tokens in the last input, padding left out.
    """

    def __init__(
        self, model_dim: int, dense: nn.Module, *, dropout_p: float, gate_dropout_p: float
    ) -> None:
        super().__init__()
        self.gate = nn.Linear(model_dim, 1)
        self.dense = dense
        self.dropout = nn.Dropout(dropout_p)
        self.gate_dropout = nn.Dropout(gate_dropout_p)
        self.gate_sum: Tensor | None = None
        self.num_tokens: Tensor | None = None

    def forward(self, seqs: Tensor, expert_output: Tensor, is_token_T: Tensor | None) -> Tensor:
        """Return the mixture, [N, S, D]."""
        gate: Tensor = self.gate_dropout(self.gate(seqs).sigmoid())
        if is_token_T is not None:
            gate = gate * is_token_T.view(*seqs.shape[:-1], 1)
            self.num_tokens = is_token_T.sum()
        else:
            self.num_tokens = torch.full((), gate.numel(), device=gate.device)
        self.gate_sum = gate.sum(dtype=torch.float32)
        dense_output: Tensor = self.dropout(self.dense(seqs))
        gate = gate.to(dense_output.dtype)
        return dense_output * (1 - gate) + expert_output * gate

    def loss(self) -> Tensor | None:
        """Return `cmr_loss` of this layer's last input, for the log."""
        return cmr_loss([self])


def cmr_loss(layers: Iterable[ConditionalRouting]) -> Tensor | None:
    """Return |mean G - 0.8|, the mean over the tokens of all layers together, as fairseq has it.

    None where no layer has seen anything.
    """
    sums = [(layer.gate_sum, layer.num_tokens) for layer in layers]
    gate_sums = [gate_sum for gate_sum, _ in sums if gate_sum is not None]
    counts = [count for _, count in sums if count is not None]
    if not counts:
        return None
    total = torch.stack(counts).sum().clamp_min(1)
    return (torch.stack(gate_sums).sum() / total - CMR_BUDGET).abs()
