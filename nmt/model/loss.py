"""Label-smoothed cross-entropy that never holds all logits.

Shape suffixes: N target positions; D model_dim; V vocabulary; C positions of a chunk.
"""

# ruff: noqa: N803, N806 (shape suffixes)

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from nmt.products import multiply

MAX_LOGITS_PER_CHUNK = 1 << 24
"""Logits held at once: 64 MiB in fp32."""

_CHUNKS_ON_GPU = 4
"""Factor for GPUs, where products of 64 rows with 256 k tokens would be bound by memory."""


class Grade(Protocol):
    """Losses of a chunk of positions and the gradient of their logits."""

    def losses(self) -> Tensor:
        """Return sums over the chunk's positions, [L]; the first is the loss."""
        ...

    def gradient(self) -> Tensor:
        """Return the gradient of the first; it may take the memory of the logits."""
        ...


class _ChunkedLoss(torch.autograd.Function):
    """Losses and gradients chunk by chunk, all in the forward pass.

    Products are in the type of autocast if that is on, else of the decoder output. Logits become
    fp32 before they are summed, and the weight's gradient, a sum over chunks, is kept in fp32: in
    bfloat16, with 8 bits, what later chunks add would be rounded away.
    """

    @staticmethod
    def forward(
        context: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        grade_chunk: Callable[[Tensor, slice], Grade],
    ) -> tuple[Tensor, Tensor]:
        needs_hidden, needs_weight, _ = context.needs_input_grad
        context.types = hidden_ND.dtype, weight_VD.dtype
        device = hidden_ND.device.type
        if torch.is_autocast_enabled(device):
            hidden_ND = hidden_ND.to(torch.get_autocast_dtype(device))
        weight_VD = weight_VD.to(hidden_ND.dtype)
        sums = hidden_ND.new_zeros((), dtype=torch.float32)
        hidden_gradient_ND = torch.empty_like(hidden_ND) if needs_hidden else None
        weight_gradient_VD = None
        if needs_weight:
            weight_gradient_VD = torch.zeros_like(weight_VD, dtype=torch.float32)
        positions = chunk_size(len(weight_VD), device)
        with torch.autocast(device, enabled=False):
            for begin in range(0, max(1, len(hidden_ND)), positions):
                chunk = slice(begin, begin + positions)
                grade = grade_chunk(multiply(hidden_ND[chunk], weight_VD.T).float(), chunk)
                sums = sums + grade.losses()
                if not needs_hidden and not needs_weight:
                    continue
                gradient_CV = grade.gradient().to(hidden_ND.dtype)
                if hidden_gradient_ND is not None:
                    hidden_gradient_ND[chunk] = multiply(gradient_CV, weight_VD)
                if weight_gradient_VD is not None:
                    weight_gradient_VD += multiply(gradient_CV.T, hidden_ND[chunk])
        context.gradients = hidden_gradient_ND, weight_gradient_VD
        loss, others = sums[0], sums[1:]
        context.mark_non_differentiable(others)
        return loss, others

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Scale the gradients where they are, which is why this works once."""
        if context.gradients is None:
            raise RuntimeError("the chunked loss can go backward only once")
        (hidden_gradient_ND, weight_gradient_VD), context.gradients = context.gradients, None
        hidden_type, weight_type = context.types
        scale = gradients[0]
        if hidden_gradient_ND is not None:
            hidden_gradient_ND = hidden_gradient_ND.mul_(scale).to(hidden_type)
        if weight_gradient_VD is not None:
            weight_gradient_VD = weight_gradient_VD.mul_(scale).to(weight_type)
        return hidden_gradient_ND, weight_gradient_VD, None


def chunked_loss(
    hidden_ND: Tensor, weight_VD: Tensor, grade_chunk: Callable[[Tensor, slice], Grade]
) -> tuple[Tensor, Tensor]:
    """Return a loss that has gradients, and the other sums, [L - 1], that have none.

    Args:
        hidden_ND: Decoder output.
        weight_VD: Output embedding; logits are hidden · weightᵀ.
        grade_chunk: Grades the logits of a chunk, [C, V] in fp32, which it may overwrite.
    """
    loss, others = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
        hidden_ND, weight_VD, grade_chunk
    )
    return loss, others


def chunk_size(vocabulary_size: int, device: str) -> int:
    """Return the positions whose logits are held at once."""
    chunks = 1 if device == "cpu" else _CHUNKS_ON_GPU
    return max(1, chunks * MAX_LOGITS_PER_CHUNK // vocabulary_size)


class _Grade:
    """Losses of a chunk and the gradient of its logits, which it overwrites.

    dloss/dlogits = p - (1 - eps) · 1[target] - eps/V
    """

    def __init__(
        self, logits_CV: Tensor, targets_C1: Tensor, ignored_index: int, label_smoothing: float
    ) -> None:
        self._logits_CV, self._smoothing = logits_CV, label_smoothing
        self._is_target_C1 = targets_C1 != ignored_index
        self._targets_C1 = targets_C1.where(self._is_target_C1, 0)
        self._of_targets_C1 = logits_CV.gather(1, self._targets_C1)
        self._mean_C1 = logits_CV.mean(dim=1, keepdim=True)
        # One exponential for losses and gradient: most of what is done on logits is this.
        self._largest_C1 = logits_CV.amax(dim=1, keepdim=True)
        self._sum_C1 = logits_CV.sub_(self._largest_C1).exp_().sum(dim=1, keepdim=True)

    def losses(self) -> Tensor:
        """Return the summed loss and the summed negative log-likelihood, [2]."""
        normalizer_C1 = self._largest_C1 + self._sum_C1.log()
        nll_C1 = (normalizer_C1 - self._of_targets_C1) * self._is_target_C1
        uniform_C1 = (normalizer_C1 - self._mean_C1) * self._is_target_C1
        loss = ((1 - self._smoothing) * nll_C1 + self._smoothing * uniform_C1).sum()
        return torch.stack([loss, nll_C1.sum()])

    def gradient(self) -> Tensor:
        """Return the gradient, in the memory of the logits."""
        is_target_C1 = self._is_target_C1.to(self._sum_C1.dtype)
        gradient_CV = self._logits_CV.mul_(is_target_C1 / self._sum_C1)
        gradient_CV.sub_(is_target_C1 * (self._smoothing / gradient_CV.shape[1]))
        return gradient_CV.scatter_add_(1, self._targets_C1, is_target_C1 * (self._smoothing - 1))


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

    def grade_chunk(logits_CV: Tensor, chunk: slice) -> _Grade:
        return _Grade(logits_CV, targets_N[chunk].unsqueeze(1), ignored_index, label_smoothing)

    loss, others = chunked_loss(hidden_ND, weight_VD, grade_chunk)
    return loss, others[0]
