"""Skips and counts updates with gradients that are not finite, up to a limit.

fairseq2 skips an update only where it scales the loss (fp16). In fp32 and bf16 one overflow would
leave weights that are not numbers, from which training cannot recover.
"""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from corpus.errors import UserError
from nmt.training.fairseq import DataParallelFacade

logger = logging.getLogger(__name__)


@dataclass
class SkippedUpdates:
    """How many updates were skipped."""

    total: int = 0

    in_a_row: int = 0
    """Of those, the ones since the last that was not."""


class GradientGuard(DataParallelFacade):
    """Discards gradients whose norm is not finite, so that the optimizer does nothing.

    Stands before the facade by which the trainer clips gradients, as all processes know the norm
    there. Weights, moments and step counts stay as they are; the learning rate schedule continues.
    """

    def __init__(
        self,
        facade: DataParallelFacade,
        model: nn.Module,
        skipped: SkippedUpdates,
        *,
        max_in_a_row: int,
        scales_loss: bool,
    ) -> None:
        """Guard a model.

        Args:
            facade: What clips the gradients.
            model: Whose gradients they are.
            skipped: The count.
            max_in_a_row: Skipped updates in a row at which training stops.
            scales_loss: Whether the trainer scales the loss (fp16) and skips updates itself.
        """
        self._facade = facade
        self._model = model
        self._skipped = skipped
        self._max_in_a_row = max_in_a_row
        self._scales_loss = scales_loss

    def clip_grad_norm(self, max_norm: float | None) -> Tensor:
        """Clip the gradients; return their norm, or 0 if they were discarded.

        Raises:
            UserError: If too many updates in a row had no finite gradient.
        """
        norm = self._facade.clip_grad_norm(max_norm)
        # One number comes to the host per update, as the trainer's count of targets does too.
        if torch.isfinite(norm):
            self._skipped.in_a_row = 0
            return norm
        self._skipped.total += 1
        self._skipped.in_a_row += 1
        if self._skipped.in_a_row == 1:
            logger.warning("the gradient is not finite; the update is skipped")
        if self._skipped.in_a_row >= self._max_in_a_row:
            raise UserError(
                f"{self._skipped.in_a_row} updates in a row had no finite gradient, and were"
                " skipped: the training has diverged. Lower `optimizer.learning_rate` or raise"
                " `optimizer.warmup_updates`, and train into another output directory."
                " `compute.max_skipped_updates` sets the limit."
            )
        if not self._scales_loss:
            for parameter in self._model.parameters():
                parameter.grad = None
        return torch.zeros_like(norm)

    def state_dict(self) -> dict[str, object]:
        """Return the model's state."""
        return self._facade.state_dict()

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Restore the model's state."""
        self._facade.load_state_dict(state_dict)

    def no_sync(self) -> AbstractContextManager[None]:
        """Leave gradients of this process alone."""
        return self._facade.no_sync()

    def summon_full_parameters(self) -> AbstractContextManager[None]:
        """Gather parameters that are spread over processes."""
        return self._facade.summon_full_parameters()
