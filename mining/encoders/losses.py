"""Losses of training and distilling encoders."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)


def contrastive_loss(
    source: Tensor,
    target: Tensor,
    negative: Tensor,
    rows: Tensor,
    negative_rows: Tensor,
    *,
    margin: float,
    scale: float,
) -> Tensor:
    """Return the additive-margin InfoNCE loss of both directions (Yang et al. 2019).

    -log(exp(s (cos_ii - m)) / (exp(s (cos_ii - m)) + sum over j of exp(s cos_ij)))

    Args:
        source: Unit vectors, [B, D].
        target: Unit vectors of their translations, [B, D].
        negative: Unit vectors of sentences that the targets are told from besides, [H, D].
        rows: Which sentences these are, [B, 2]; another pair with the same source or target
            is not a negative.
        negative_rows: Which sentences the negatives are, [H].
        margin: m above.
        scale: s above.
    """
    count = len(rows)
    labels = torch.arange(count, device=source.device)
    logits = scale * (source @ target.T - margin * torch.eye(count, device=source.device))
    is_same = (rows[:, :1] == rows[:, 0]) | (rows[:, 1:] == rows[:, 1])
    is_same.fill_diagonal_(False)
    logits = logits.masked_fill(is_same, -torch.inf)
    more = (scale * (target @ negative.T)).masked_fill(rows[:, :1] == negative_rows, -torch.inf)
    backward = F.cross_entropy(torch.cat([logits.T, more], dim=1), labels)
    return 0.5 * (F.cross_entropy(logits, labels) + backward)


def distillation_loss(
    student_source: Tensor,
    student_pivot: Tensor,
    teacher_pivot: Tensor,
    rows: Tensor,
    *,
    cosine_weight: float,
    self_weight: float,
    contrast_weight: float,
    margin: float,
    scale: float,
) -> Tensor:
    """Return how far a student is from its teacher (after Heffernan et al. 2022, section 3).

    cosine_weight * mean(1 - cos(student(x), teacher(y)))
    + self_weight * mean(1 - cos(student(y), teacher(y)))
    + contrast_weight * contrastive_loss(student(x), teacher(y)), which LASER3 does not have

    Args:
        student_source: Unit vectors of the student's sentences x, [B, D].
        student_pivot: The student's unit vectors of their translations y, [B, D].
        teacher_pivot: The teacher's of the same, [B, D].
        rows: Which sentences x and y are, [B, 2].
        cosine_weight: Of the first term.
        self_weight: Of the second.
        contrast_weight: Of the third.
        margin: Of the contrast.
        scale: Of the contrast.
    """
    nothing = student_source[:0]
    contrast = contrastive_loss(
        student_source, teacher_pivot, nothing, rows, rows[:0, 0], margin=margin, scale=scale
    )
    cosine = 1 - (student_source * teacher_pivot).sum(dim=1).mean()
    own = 1 - (student_pivot * teacher_pivot).sum(dim=1).mean()
    return cosine_weight * cosine + self_weight * own + contrast_weight * contrast
