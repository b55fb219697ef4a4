"""Label-smoothed cross-entropy that never holds all logits.

Shape suffixes: N target positions; D model_dim; V vocabulary; C positions of a chunk.
"""

# ruff: noqa: N803, N806 (shape suffixes)

from typing import Any

import torch
from torch import Tensor

MAX_LOGITS_PER_CHUNK = 1 << 24
"""Logits held at once: 64 MiB in fp32."""


class _ChunkedLoss(torch.autograd.Function):
    """Loss and its gradients chunk by chunk, all in the forward pass."""

    @staticmethod
    def forward(
        context: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        targets_N: Tensor,
        ignored_index: int,
        label_smoothing: float,
    ) -> tuple[Tensor, Tensor]:
        needs_gradient = hidden_ND.requires_grad or weight_VD.requires_grad
        vocabulary_size = len(weight_VD)
        chunk_size = max(1, MAX_LOGITS_PER_CHUNK // vocabulary_size)
        loss = hidden_ND.new_zeros((), dtype=torch.float32)
        nll = torch.zeros_like(loss)
        hidden_gradient_ND = torch.empty_like(hidden_ND) if needs_gradient else None
        weight_gradient_VD = torch.zeros_like(weight_VD) if needs_gradient else None
        for begin in range(0, len(hidden_ND), chunk_size):
            chunk = slice(begin, begin + chunk_size)
            hidden_CD, targets_C1 = hidden_ND[chunk], targets_N[chunk].unsqueeze(1)
            is_target_C1 = targets_C1 != ignored_index
            logits_CV = (hidden_CD @ weight_VD.T).float()
            normalizer_C1 = logits_CV.logsumexp(dim=1, keepdim=True)
            nll_C1 = (normalizer_C1 - logits_CV.gather(1, targets_C1)) * is_target_C1
            uniform_C1 = (normalizer_C1 - logits_CV.mean(dim=1, keepdim=True)) * is_target_C1
            nll += nll_C1.sum()
            loss += ((1 - label_smoothing) * nll_C1 + label_smoothing * uniform_C1).sum()
            if hidden_gradient_ND is None or weight_gradient_VD is None:
                continue
            gradient_CV = logits_CV.sub_(normalizer_C1).exp_()
            gradient_CV.sub_(label_smoothing / vocabulary_size)
            gradient_CV.scatter_add_(
                1, targets_C1, gradient_CV.new_full(targets_C1.shape, label_smoothing - 1)
            )
            gradient_CV *= is_target_C1
            gradient_CV = gradient_CV.to(hidden_ND.dtype)
            torch.mm(gradient_CV, weight_VD, out=hidden_gradient_ND[chunk])
            weight_gradient_VD.addmm_(gradient_CV.T, hidden_CD)
        context.save_for_backward(hidden_gradient_ND, weight_gradient_VD)
        context.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        hidden_gradient_ND, weight_gradient_VD = context.saved_tensors
        scale = gradients[0]
        return hidden_gradient_ND * scale, weight_gradient_VD * scale, None, None, None


def label_smoothed_cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    *,
    ignored_index: int,
    label_smoothing: float,
) -> tuple[Tensor, Tensor]:
    """Return the summed loss and the summed negative log-likelihood, without gradient.

    loss = (1 - eps) · nll + eps/V · sum_v(-log p_v), as NLLB's Mixture-of-Experts criterion has it
    (its dense one divides by V - 1, decision 0004).

    Args:
        hidden_ND: Decoder output.
        weight_VD: Output embedding; logits are hidden · weightᵀ.
        targets_N: Token indices; those equal to `ignored_index` count nothing.
        ignored_index: Padding.
        label_smoothing: eps, in [0, 1].
    """
    loss, nll = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
        hidden_ND, weight_VD, targets_N, ignored_index, label_smoothing
    )
    return loss, nll
