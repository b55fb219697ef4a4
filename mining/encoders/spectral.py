"""Initial feature vectors by cross-language latent semantic indexing (Dumais et al. 1997).

Features that occur in translations of each other get near vectors before training begins. Training
from there needs a fraction of the updates that it needs from random vectors; docs/experiments.md.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mining.encoders.bitext import Int64
from mining.encoders.features import TokenRows

_MAX_PAIRS = 80_000
_BLOCK = 8192
_SMALL = 1e-9
_RANDOM_SHARE = 0.3
"""Of the random vectors, what is left in the sum: a name that is seen first in mining is then still
like itself in another language, and like nothing else."""


def spectral_vectors(tokens: TokenRows, pairs: Int64, table: Tensor, seed: int) -> Tensor:
    """Return vectors of features to start training from.

    With x a sentence's features weighted by inverse document frequency and divided by their norm,
    the matrix P has a row x_source + x_target per pair. V are its right singular vectors after
    centering, as many as the dimension, by one power iteration from a random start (Halko et al.
    2011, algorithm 4.4). A feature's vector is idf * (V / rms(V) + 0.3 * random), where the mean
    square is over the occurrences of features.

    Args:
        tokens: Features of all sentences.
        pairs: Rows of `tokens` that are translations of each other, [n, 2]; of more than 80,000 a
            random part is used.
        table: Random vectors, [R, D].
        seed: Of the part and of the start.

    Returns:
        Vectors, [R, D]; the random ones as they are where there are fewer pairs than dimensions.
    """
    dimension = table.shape[1]
    if len(pairs) <= dimension:
        return table
    rng = np.random.default_rng((seed, 4))
    if len(pairs) > _MAX_PAIRS:
        pairs = pairs[np.sort(rng.choice(len(pairs), _MAX_PAIRS, replace=False))]
    occurrences = torch.from_numpy(np.bincount(tokens.ids, minlength=len(table))).float()
    idf = torch.log1p((len(tokens.starts) - 1) / occurrences.clamp(min=1))
    idf /= idf.max()
    matrix = _PairMatrix(tokens, pairs, idf)
    start = torch.from_numpy(rng.standard_normal(table.shape, np.float32))
    basis = _orthonormal(matrix.times(start))
    basis = _orthonormal(matrix.times(matrix.transposed_times(basis)))
    inner = matrix.transposed_times(basis)
    rotation, squares, _ = torch.linalg.svd(inner.T @ inner)
    vectors: Tensor = (inner @ rotation) / squares.clamp(min=_SMALL).sqrt() * idf.unsqueeze(1)
    mean_square = (vectors.square().sum(dim=1) * occurrences).sum() / occurrences.sum()
    vectors /= mean_square.sqrt()
    return vectors + _RANDOM_SHARE * idf.unsqueeze(1) * table


def _orthonormal(matrix: Tensor) -> Tensor:
    basis: Tensor = torch.linalg.qr(matrix - matrix.mean(dim=0)).Q
    return basis


class _PairMatrix:
    """The matrix P, multiplied without ever being there."""

    def __init__(self, tokens: TokenRows, pairs: Int64, idf: Tensor) -> None:
        self._tokens = tokens
        self._pairs = pairs
        self._idf = idf

    def times(self, table: Tensor) -> Tensor:
        """Return P M of features' vectors M, [R, D]: a vector per pair, [n, D]."""
        with torch.no_grad():
            return torch.cat(
                [
                    sum((self._sum(rows, table) for rows in block.T), torch.zeros(()))
                    for block in self._blocks()
                ]
            )

    def transposed_times(self, vectors: Tensor) -> Tensor:
        """Return P^T Y of pairs' vectors Y, [n, D]: a vector per feature, [R, D]."""
        result = torch.zeros(len(self._idf), vectors.shape[1])
        for number, block in enumerate(self._blocks()):
            part = vectors[number * _BLOCK : number * _BLOCK + len(block)]
            for rows in block.T:
                used = torch.from_numpy(np.unique(self._tokens.take(rows).ids)).long()
                table = torch.zeros(len(used), vectors.shape[1], requires_grad=True)
                # The gradient of a product by its one factor is the other factor.
                (self._sum(rows, table, used) * part).sum().backward()  # type: ignore[no-untyped-call]
                assert table.grad is not None
                result.index_add_(0, used, table.grad)
        return result

    def _blocks(self) -> list[Int64]:
        return [self._pairs[i : i + _BLOCK] for i in range(0, len(self._pairs), _BLOCK)]

    def _sum(self, rows: Int64, table: Tensor, used: Tensor | None = None) -> Tensor:
        """Return the weighted sums of sentences; `table` holds the rows `used`, or all."""
        tokens = self._tokens.take(rows)
        ids, starts = torch.from_numpy(tokens.ids).long(), torch.from_numpy(tokens.starts)
        weights = self._idf[ids]
        owners = torch.repeat_interleave(torch.arange(len(rows)), starts.diff())
        squares = torch.zeros(len(rows)).index_add_(0, owners, weights.square())
        places = ids if used is None else torch.searchsorted(used, ids)
        sums = F.embedding_bag(
            places, table, starts, mode="sum", include_last_offset=True, per_sample_weights=weights
        )
        return sums * squares.clamp(min=_SMALL).rsqrt().unsqueeze(1)
