"""Convolutions by minimal filtering, for training as well (Winograd 1980; Lavin and Gray 2016).

Four outputs of an order n take n + 3 products instead of 4 n. With matrices A, G and B^T for n + 3
points, y = A^T [(G w) * (B^T x)] for inputs x and weights w of a tile of four outputs.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

TILE = 4
"""Outputs that are computed together."""


@lru_cache(maxsize=8)
def minimal_filter(order: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return A, [P, 4], G, [P, order], and B^T, [P, P], of a filter with P = order + 3 points.

    A and G hold powers of the points, the last being infinity; B^T is what makes the sum over
    points of A[p, i] G[p, j] B^T[p, k] one where k = i + j, and zero elsewhere.
    """
    points = np.array([0, 1, -1, 0.5, -0.5, 2, -2][: order + TILE - 2], np.float64)
    rows = len(points) + 1

    def powers(count: int) -> NDArray[np.float64]:
        table = np.zeros((rows, count))
        table[:-1] = points[:, None] ** np.arange(count)
        table[-1, -1] = 1
        return table

    output, kernel = powers(TILE), powers(order)
    pairs = np.einsum("pi,pj->ijp", output, kernel).reshape(-1, rows)
    wanted = np.zeros((TILE, order, rows))
    for i in range(TILE):
        for j in range(order):
            wanted[i, j, i + j] = 1
    given = np.linalg.lstsq(pairs, wanted.reshape(-1, rows), rcond=None)[0]
    return torch.from_numpy(output), torch.from_numpy(kernel), torch.from_numpy(given)


def convolve(inputs: Tensor, weight: Tensor, left: int) -> Tensor:
    """Return the sum over j of inputs[t - left + j] @ weight[j] for each position t, [N, E].

    Positions before the first and after the last are zeros.

    Args:
        inputs: [N, D].
        weight: [order, D, E].
        left: How many positions are left of t, below the order.
    """
    found: Tensor = _Convolution.apply(inputs, weight, left)  # type: ignore[no-untyped-call]
    return found


class _Convolution(torch.autograd.Function):
    """The convolution and its gradients, which are minimal filters as well.

    A sum of tiles stands for the shifted copies of inputs and gradients that a direct convolution
    makes: those cost as much as its products.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, left: int) -> Tensor:
        order, count, width = len(weight), *inputs.shape
        output, kernel, given = (one.to(inputs.dtype) for one in minimal_filter(order))
        points, tiles = len(given), -(-count // TILE)
        padded = F.pad(inputs, (0, 0, left, tiles * TILE + order - 1 - left - count))
        cut = padded.as_strided((points, tiles, width), (width, TILE * width, 1))
        moved = torch.mm(given, cut.reshape(points, -1)).view(points, tiles, width)
        kernels = torch.mm(kernel, weight.reshape(order, -1)).view(points, width, -1)
        products = torch.bmm(moved, kernels)
        ctx.save_for_backward(moved, kernels)
        ctx.order, ctx.left, ctx.count = order, left, count
        results = torch.mm(output.T, products.view(points, -1)).view(TILE, tiles, -1)
        return results.transpose(0, 1).reshape(tiles * TILE, -1)[:count]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        moved, kernels = ctx.saved_tensors
        output, kernel, given = (one.to(moved.dtype) for one in minimal_filter(ctx.order))
        points, tiles, width = moved.shape
        padded = F.pad(gradient, (0, 0, 0, tiles * TILE - ctx.count))
        results = padded.view(tiles, TILE, -1).transpose(0, 1).reshape(TILE, -1)
        products = torch.mm(output, results).view(points, tiles, -1)
        of_kernels = torch.bmm(moved.transpose(1, 2), products).view(points, -1)
        of_weight = torch.mm(kernel.T, of_kernels).view(ctx.order, width, -1)
        of_moved = torch.bmm(products, kernels.transpose(1, 2)).view(points, -1)
        of_cut = torch.mm(given.T, of_moved).view(points, tiles, width)
        of_padded = gradient.new_zeros(tiles * TILE + ctx.order - 1, width)
        for p in range(points):
            of_padded[p : p + TILE * tiles : TILE] += of_cut[p]
        return of_padded[ctx.left : ctx.left + ctx.count], of_weight, None
