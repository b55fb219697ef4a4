"""The nearest neighbors of two languages on a GPU, exactly: the same as `exact_neighbors` finds.

A block of queries is multiplied with a block of candidates in half precision. The k largest of a
row lie in the k groups of columns whose maxima are largest, so that all but a pass for the maxima
looks at k groups only. What is kept is scored again in double precision, and as in
`mining/search/exact.py` a bound on the error of half precision tells whose neighbors are certain;
the others are searched again in single precision, then compared with everything.

Shape suffixes: Q queries; C candidates; G groups of candidates; K kept; D dimensions.
"""

# ruff: noqa: N803, N806, N815 (shape suffixes)

import logging
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from corpus.errors import UserError
from mining.search.margin import Neighbors
from mining.search.vectors import Vectors, row_blocks

logger = logging.getLogger(__name__)

_SPARE = 12
"""Candidates kept beyond the neighbors wanted."""

_DEEPER = 16
"""How many times more the second pass keeps."""

_GROUP = 64
"""Columns in a group: enough to make the search among maxima cheap, few enough to look through."""

_FEW = 16
"""Rows that are compared with everything at once; for more a second pass pays."""

_ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24}
"""Half of the distance between 1 and the next number."""


class _Side(NamedTuple):
    """Vectors of one language on the device."""

    matrix_ND: Tensor
    """As given, float16."""

    norm_N: Tensor
    """Their lengths, float64."""


class _Best(NamedTuple):
    """The best candidates so far of some queries."""

    score_QK: Tensor
    id_QK: Tensor


def gpu() -> torch.device:
    """Return the GPU.

    Raises:
        UserError: If there is none.
    """
    if not torch.cuda.is_available():
        raise UserError("`device` is `cuda`, but torch finds no GPU here")
    return torch.device("cuda")


def device_neighbors(
    source: Vectors,
    target: Vectors,
    device: torch.device,
    *,
    neighbors: int,
    memory_mb: int,
    dtype: torch.dtype | None = None,
) -> tuple[Neighbors, Neighbors]:
    """Return the nearest targets of all sources, and the nearest sources of all targets.

    Args:
        source: [N, D]. Both sides lie on the device while it searches, 2 · D bytes a vector.
        target: [M, D]
        device: Where to multiply.
        neighbors: How many, k; all of them where there are fewer.
        memory_mb: What a block of products may take; it never changes the result.
        dtype: In which products are made first: float16, and float32 on a CPU.
    """
    first = dtype or (torch.float32 if device.type == "cpu" else torch.float16)
    # Partial sums of a product in float16 would be off by more than the bound says.
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_tf32 = False
    sides = [
        _Side(
            torch.from_numpy(np.array(side.matrix)).to(device),
            torch.from_numpy(np.array(side.norms)).to(device),
        )
        for side in (source, target)
    ]
    search = _Search(neighbors, memory_mb << 20, first)
    with torch.inference_mode():
        forward = search.all_of(sides[0], sides[1], "sources")
        backward = search.all_of(sides[1], sides[0], "targets")
    return forward, backward


class _Search:
    def __init__(self, neighbors: int, memory: int, dtype: torch.dtype) -> None:
        self._neighbors = neighbors
        self._memory = memory
        self._dtype = dtype

    def all_of(self, queries: _Side, candidates: _Side, name: str) -> Neighbors:
        """Return the nearest candidates of all queries; `name` is what the log calls them."""
        count = min(self._neighbors, len(candidates.matrix_ND))
        shape = len(queries.matrix_ND), count
        if not all(shape):
            return Neighbors(np.empty(shape, np.int64), np.empty(shape, np.float32))
        cosine_NK, id_NK, is_exact_N = self._search(queries, candidates, count, _SPARE, self._dtype)
        open_N = (~is_exact_N).nonzero().squeeze(1)
        if len(open_N):
            share = 100 * len(open_N) / len(queries.matrix_ND)
            logger.info("second pass for %s of the %s (%.1f %%)", f"{len(open_N):,}", name, share)
        if len(open_N) > _FEW:
            own = _Side(queries.matrix_ND[open_N], queries.norm_N[open_N])
            spare = (self._neighbors + _SPARE) * _DEEPER - count
            cosine_NK[open_N], id_NK[open_N], is_exact = self._search(
                own, candidates, count, spare, torch.float32
            )
            open_N = open_N[~is_exact]
        for row in open_N.tolist():
            cosine_NK[row], id_NK[row] = self._compare_all(
                queries.matrix_ND[row], queries.norm_N[row], candidates, count
            )
        return Neighbors(id_NK.cpu().numpy(), cosine_NK.cpu().numpy())

    def _search(
        self, queries: _Side, candidates: _Side, count: int, spare: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return cosines and ids of the neighbors, [Q, k], and for which queries they are certain.

        Queries are held while all candidates pass, so that a query's best stay on the device.
        """
        total, width = candidates.matrix_ND.shape
        kept = min(count + spare, total)
        columns = min(1 << 16, -(-total // _GROUP) * _GROUP)
        rows = max(_GROUP, self._memory // (columns * dtype.itemsize * 2))
        cosines, ids, certain = [], [], []
        for own in row_blocks(len(queries.matrix_ND), rows):
            query = _Side(queries.matrix_ND[own], queries.norm_N[own])
            unit_QD, error_Q, length_Q = _rounded_units(query, dtype)
            best = _Best(
                torch.full((len(unit_QD), kept), -torch.inf, device=unit_QD.device),
                torch.full((len(unit_QD), kept), -1, device=unit_QD.device),
            )
            worst_error = worst_length = torch.zeros((), device=unit_QD.device)
            for block in row_blocks(total, columns):
                side = _Side(candidates.matrix_ND[block], candidates.norm_N[block])
                unit_CD, error_C, length_C = _rounded_units(side, dtype)
                worst_error = torch.maximum(worst_error, error_C.max())
                worst_length = torch.maximum(worst_length, length_C.max())
                best = _offer(best, unit_QD @ unit_CD.T, block.start)
            # Sums of products are in float32 for every dtype; then they are rounded to it.
            rounding = _ROUNDING[dtype] + (width + 64) * 2.0**-24
            slack_Q = length_Q * worst_error + error_Q * (worst_length + worst_error)
            slack_Q = 1.001 * slack_Q + rounding * length_Q * worst_length
            found_QK, id_QK = _rescored(query, candidates, best.id_QK)
            cosines.append(found_QK[:, :count])
            ids.append(id_QK[:, :count])
            is_certain = best.score_QK.amin(1) + slack_Q < found_QK[:, count - 1]
            certain.append(is_certain | (kept == total))
        return torch.cat(cosines), torch.cat(ids), torch.cat(certain)

    def _compare_all(
        self, vector_D: Tensor, norm: Tensor, candidates: _Side, count: int
    ) -> tuple[Tensor, Tensor]:
        cosines = torch.cat(
            [
                (candidates.matrix_ND[own].double() @ vector_D.double())
                / (norm * candidates.norm_N[own])
                for own in row_blocks(len(candidates.matrix_ND), 1 << 16)
            ]
        ).float()
        order = cosines.sort(descending=True, stable=True).indices[:count]
        return cosines[order], order


def _rounded_units(side: _Side, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return unit vectors in a dtype, the lengths of what rounding took, and of what it left."""
    unit = (side.matrix_ND.double() / side.norm_N[:, None]).float()
    rounded = unit.to(dtype)
    error = torch.linalg.vector_norm(unit - rounded.float(), dim=1)
    # The division was rounded to float32 itself.
    return rounded, error + 2.0**-23, torch.linalg.vector_norm(rounded.float(), dim=1)


def _offer(best: _Best, product_QC: Tensor, first: int) -> _Best:
    """Merge the columns of a block of products into the best of every row."""
    rows, columns = product_QC.shape
    kept = best.score_QK.shape[1]
    full = columns // _GROUP * _GROUP
    parts = []
    if full:
        group_QGC = product_QC[:, :full].view(rows, -1, _GROUP)
        groups = min(kept, full // _GROUP)
        group_QK = group_QGC.amax(2).topk(groups, dim=1, sorted=False).indices
        place_QKC = group_QK[:, :, None] * _GROUP + torch.arange(_GROUP, device=group_QK.device)
        place = place_QKC.flatten(1)
        parts.append((product_QC.gather(1, place), place))
    if full < columns:
        place = torch.arange(full, columns, device=product_QC.device).expand(rows, -1)
        parts.append((product_QC[:, full:], place))
    score = torch.cat([best.score_QK, *(score.float() for score, _ in parts)], dim=1)
    ids = torch.cat([best.id_QK, *(place + first for _, place in parts)], dim=1)
    score_QK, place_QK = score.topk(kept, dim=1, sorted=False)
    return _Best(score_QK, ids.gather(1, place_QK))


def _rescored(queries: _Side, candidates: _Side, id_QK: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines in double precision, best first and ties by id, and the candidates' ids."""
    id_QK = id_QK.sort(dim=1).values
    step = max(1, (1 << 24) // (id_QK.shape[1] * queries.matrix_ND.shape[1]))
    cosines = []
    for own in row_blocks(len(id_QK), step):
        near = candidates.matrix_ND[id_QK[own]].double()
        products = torch.einsum("qd,qkd->qk", queries.matrix_ND[own].double(), near)
        norms = queries.norm_N[own, None] * candidates.norm_N[id_QK[own]]
        cosines.append((products / norms).float())
    cosine_QK, place_QK = torch.cat(cosines).sort(dim=1, descending=True, stable=True)
    return cosine_QK, id_QK.gather(1, place_QK)
