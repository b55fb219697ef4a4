"""Rows sorted by group, spread over slots of equal size, and back.

Shape suffixes: A rows; G groups; S slots, G · capacity; D width.
"""

# ruff: noqa: N803, N806, N815 (shape suffixes)

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Slots(NamedTuple):
    """Where rows stand, and where they come from; a host need not wait for a device to know it."""

    row_S: Tensor
    """Row of each slot, any for an empty one."""

    is_taken_S: Tensor
    """Whether a slot has a row."""

    slot_A: Tensor
    """Slot of each row, any for one beyond all loads."""

    is_placed_A: Tensor
    """Whether a row has a slot."""

    @staticmethod
    def of(load_G: Tensor, capacity: int, num_rows: int) -> "Slots":
        """Give each group `capacity` slots, of which its rows take the first.

        Args:
            load_G: Rows of each group, at most `capacity`.
            capacity: Slots of each group.
            num_rows: Rows in all; those beyond all loads have no slot.
        """
        end_G = load_G.cumsum(0)
        begin_G = end_G - load_G
        place_C = torch.arange(capacity, device=load_G.device)
        row_S = (begin_G.unsqueeze(1) + place_C).flatten().clamp_max(num_rows - 1)
        is_taken_S = (place_C < load_G.unsqueeze(1)).flatten()
        row_A = torch.arange(num_rows, device=load_G.device)
        group_A = torch.searchsorted(end_G, row_A, right=True).clamp_max(len(load_G) - 1)
        is_placed_A = row_A < end_G[-1]
        slot_A = group_A * capacity + row_A - begin_G.index_select(0, group_A)
        return Slots(row_S, is_taken_S, slot_A.where(is_placed_A, 0), is_placed_A)


class _Move(torch.autograd.Function):
    """Gather rows, zeros where there is none; the gradient is a gather too."""

    @staticmethod
    def forward(
        context: Any, rows: Tensor, index: Tensor, is_there: Tensor, back: Tensor, was_there: Tensor
    ) -> Tensor:
        context.save_for_backward(back, was_there)
        return _gather(rows, index, is_there)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return _gather(gradients[0], *context.saved_tensors), None, None, None, None


def _gather(rows: Tensor, index: Tensor, is_there: Tensor) -> Tensor:
    return rows.index_select(0, index).masked_fill_(~is_there.unsqueeze(1), 0)


def fill_slots(rows_AD: Tensor, slots: Slots) -> Tensor:
    """Return the row of each slot, zeros where it is empty, [S, D]."""
    filled_SD: Tensor = _Move.apply(  # type: ignore[no-untyped-call]
        rows_AD, slots.row_S, slots.is_taken_S, slots.slot_A, slots.is_placed_A
    )
    return filled_SD


def empty_slots(filled_SD: Tensor, slots: Slots) -> Tensor:
    """Return each row from its slot, zeros where it has none, [A, D]."""
    rows_AD: Tensor = _Move.apply(  # type: ignore[no-untyped-call]
        filled_SD, slots.slot_A, slots.is_placed_A, slots.row_S, slots.is_taken_S
    )
    return rows_AD
