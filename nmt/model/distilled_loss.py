"""Cross-entropy mixed with the divergence from a teacher, never holding all logits.

Shape suffixes: N target positions; D model_dim (student and teacher have their own); V vocabulary;
C positions of a chunk; K tokens that the teacher names.
"""

# ruff: noqa: N803, N806, N815 (shape suffixes)

from typing import NamedTuple

import torch
from torch import Tensor

from nmt.model.loss import chunked_loss


class TeacherTargets(NamedTuple):
    """A teacher's prediction at each target position, from which distributions are computed."""

    hidden_ND: Tensor
    """The teacher's decoder output; its logits are made with the student's, a chunk at a time."""

    weight_VD: Tensor
    """The teacher's output embedding."""

    top_k: int
    """Tokens per position, or 0 for all V."""

    temperature: float
    """Above 1 makes both distributions flatter."""

    weight: float
    """Share of the divergence in the loss."""

    is_taught_N: Tensor | None = None
    """Positions that the teacher has a say in; elsewhere the share is 0. None for all."""

    def distribution(self, chunk: slice) -> tuple[Tensor | None, Tensor]:
        """Return the tokens of some positions, [C, K], and their log-probabilities.

        q = softmax(z_top / temperature), z_top the `top_k` largest logits of a position; the rest
        of the vocabulary has probability 0 (Tan et al. 2019, "Multilingual Neural Machine
        Translation with Knowledge Distillation", top-K distillation). Where all tokens are kept
        they are not named, and K = V.
        """
        logits_CK = (self.hidden_ND[chunk] @ self.weight_VD.T).float()
        tokens_CK = None
        if 0 < self.top_k < len(self.weight_VD):
            logits_CK, tokens_CK = logits_CK.topk(self.top_k, dim=1)
        return tokens_CK, (logits_CK / self.temperature).log_softmax(dim=1)


class _ChunkLoss:
    """Losses of a chunk and the gradient of its logits, which it overwrites.

    With w the share of the divergence at a position:

    dloss/dlogits = (1 - w) · (p - smoothed target) + w · t · (p_soft - q)
    """

    def __init__(
        self,
        logits_CV: Tensor,
        teacher: TeacherTargets,
        chunk: slice,
        targets_C1: Tensor,
        ignored_index: int,
        label_smoothing: float,
    ) -> None:
        self._logits_CV, self._teacher, self._smoothing = logits_CV, teacher, label_smoothing
        self._tokens_CK, self._teacher_CK = teacher.distribution(chunk)
        self._is_target_C1 = targets_C1 != ignored_index
        self._is_taught_C1 = self._is_target_C1
        if teacher.is_taught_N is not None:
            self._is_taught_C1 = self._is_target_C1 & teacher.is_taught_N[chunk].unsqueeze(1)
        self._share_C1 = 1 - teacher.weight * self._is_taught_C1.to(logits_CV.dtype)
        self._targets_C1 = targets_C1.where(self._is_target_C1, 0)
        self._largest_C1 = logits_CV.amax(dim=1, keepdim=True)
        self._sum_C1 = (logits_CV - self._largest_C1).exp_().sum(dim=1, keepdim=True)
        self._normalizer_C1 = self._largest_C1 + self._sum_C1.log()
        # At temperature 1, the usual one, both distributions of the student are the same.
        self._soft_CV, self._soft_normalizer_C1 = logits_CV, self._normalizer_C1
        if teacher.temperature != 1:
            self._soft_CV = logits_CV / teacher.temperature
            self._soft_normalizer_C1 = self._soft_CV.logsumexp(dim=1, keepdim=True)

    def losses(self) -> Tensor:
        """Return the sums of loss, negative log-likelihood and divergence, [3]."""
        logits_CV, normalizer_C1 = self._logits_CV, self._normalizer_C1
        nll_C1 = (normalizer_C1 - logits_CV.gather(1, self._targets_C1)) * self._is_target_C1
        uniform_C1 = (normalizer_C1 - logits_CV.mean(dim=1, keepdim=True)) * self._is_target_C1
        smoothed_C1 = (1 - self._smoothing) * nll_C1 + self._smoothing * uniform_C1
        tokens_CK, teacher_CK, student_CK = self._tokens_CK, self._teacher_CK, self._soft_CV
        if tokens_CK is not None:
            student_CK = student_CK.gather(1, tokens_CK)
        apart_CK = teacher_CK - student_CK + self._soft_normalizer_C1
        divergence = (teacher_CK.exp() * apart_CK * self._is_taught_C1).sum()
        scale = self._teacher.weight * self._teacher.temperature**2
        loss = (self._share_C1 * smoothed_C1).sum() + scale * divergence
        return torch.stack([loss, nll_C1.sum(), divergence])

    def gradient(self) -> Tensor:
        """Return the gradient of the loss, in the memory of the logits."""
        share_C1 = self._share_C1
        pull_C1 = self._is_taught_C1 * (self._teacher.weight * self._teacher.temperature)
        gradient_CV = self._logits_CV.sub_(self._largest_C1).exp_()
        gradient_CV.mul_(self._is_target_C1.to(share_C1.dtype) / self._sum_C1)
        if self._teacher.temperature != 1:
            soft_CV = self._soft_CV.sub_(self._soft_normalizer_C1).exp_()
            gradient_CV.mul_(share_C1).add_(soft_CV.mul_(pull_C1))
        gradient_CV.sub_(share_C1 * (self._smoothing / gradient_CV.shape[1]))
        gradient_CV.scatter_add_(1, self._targets_C1, share_C1 * (self._smoothing - 1))
        teacher_CK = self._teacher_CK.exp_().mul_(pull_C1)
        if self._tokens_CK is None:
            gradient_CV.sub_(teacher_CK)
        else:
            gradient_CV.scatter_add_(1, self._tokens_CK, -teacher_CK)
        return gradient_CV.mul_(self._is_target_C1)


def distilled_cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    teacher: TeacherTargets,
    *,
    ignored_index: int,
    label_smoothing: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the summed loss, and without gradient the summed nll and divergence.

    loss = (1 - w) · cross-entropy + w · t² · sum_n KL(q_n || p_n)

    with the label-smoothed cross-entropy of `nmt.model.loss`, q the teacher's distribution over the
    tokens that it names, p = softmax(logits / t) over the whole vocabulary, t the temperature and w
    its weight, which is 0 where the teacher has no say. t² keeps the gradient's size when t changes
    (Hinton et al. 2015, section 2); at t = 1 and all tokens kept this is word-level distillation
    (Kim and Rush 2016, section 3.1) less the teacher's entropy, which has no gradient. At w = 0 it
    is `label_smoothed_cross_entropy` to the last bit.

    Args:
        hidden_ND: Decoder output of the student.
        weight_VD: Output embedding of the student; logits are hidden · weightᵀ.
        targets_N: Token indices; those equal to `ignored_index` count nothing.
        teacher: Its targets for the same positions.
        ignored_index: Padding.
        label_smoothing: eps, in [0, 1].
    """

    def chunk_loss(logits_CV: Tensor, chunk: slice) -> _ChunkLoss:
        targets_C1 = targets_N[chunk].unsqueeze(1)
        return _ChunkLoss(logits_CV, teacher, chunk, targets_C1, ignored_index, label_smoothing)

    loss, others = chunked_loss(hidden_ND, weight_VD, chunk_loss)
    return loss, others[0], others[1]
