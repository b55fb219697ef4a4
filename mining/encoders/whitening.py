"""Partial whitening: reduces the weight of directions with large variance.

Trained vectors spread over few directions (of 256, an effective 47 on real text), so that many
sentences are near each other along the same ones. Partial whitening evens that out after training
(as Huang et al. 2021, "WhiteningBERT", with another exponent): the vectors are centered, and a
direction of variance v is multiplied by v^-p.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mining.embeddings import Float32

_LEAST_VARIANCE = 1e-4
"""Of the largest one: directions of less carry rounding, and are not blown up further."""


class Whitening(nn.Module):
    """y = (x - mean) M, divided by its length; does nothing until it is fitted."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("matrix", torch.eye(dimension))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return unit vectors, [N, D], of unit vectors."""
        return F.normalize((vectors - self.mean) @ self.matrix, dim=1)

    @torch.no_grad()
    def fit(self, vectors: Float32, power: float) -> None:
        """Take mean and variances from these vectors.

        Args:
            vectors: Unit vectors before whitening, [N, D]; more than D of them.
            power: p above; 0 only centers, 0.5 makes all variances equal.
        """
        mean = vectors.mean(axis=0, dtype=np.float64)
        offsets = vectors - mean
        variances, directions = np.linalg.eigh(offsets.T @ offsets / len(vectors))
        scales = np.maximum(variances, _LEAST_VARIANCE * variances[-1]) ** -power
        # One overall factor changes no unit vector; this one keeps the numbers near 1.
        matrix = (directions * (scales / scales.max())) @ directions.T
        self.mean.copy_(torch.from_numpy(mean))
        self.matrix.copy_(torch.from_numpy(matrix))
