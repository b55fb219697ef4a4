"""Preemption between updates: on a scheduler's signal a checkpoint is written and the run ends.

fairseq2's trainer has a request to stop, but heeds it only where no number of updates is given, and
validates before it ends. Here the data end instead, for a moment: the trainer writes a checkpoint
at the end of an epoch, and no other epoch begins.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

from corpus.errors import Preempted
from nmt.training.fairseq import DataReader, Task
from nmt.training.parallel.signals import Preemption
from nmt.training.readers import TokenBatch

logger = logging.getLogger(__name__)

_MAX_SEED = 2**40


class ResumableReader(DataReader[TokenBatch]):
    """Another reader's batches, until the processes agree to stop.

    Attributes:
        has_stopped: Whether they did.
    """

    def __init__(
        self,
        reader: DataReader[TokenBatch],
        agree: Callable[[bool], bool],
        preemption: Preemption,
        *,
        finish_checkpoint: Callable[[], object],
        rank: int,
        world_size: int,
    ) -> None:
        """Wrap a reader.

        Args:
            reader: Where batches come from.
            agree: Takes whether this process wants to stop, returns whether all stop now.
            preemption: Whether this process was asked to.
            finish_checkpoint: Waits until a checkpoint in the making is whole.
            rank: This process among those that train together.
            world_size: How many they are.
        """
        self._reader = reader
        self._agree = agree
        self._preemption = preemption
        self._finish_checkpoint = finish_checkpoint
        self._rank = rank
        self._world_size = world_size
        self._has_read = False
        self.has_stopped = False

    def __iter__(self) -> "ResumableReader":
        return self

    def __next__(self) -> list[TokenBatch]:
        if self.has_stopped:
            self._finish_checkpoint()
            raise _Stop
        if self._agree(self._preemption.is_requested):
            self.has_stopped = True
            if not self._has_read:  # what there is to keep is in the checkpoint already, if any
                raise _Stop
            raise StopIteration
        self._has_read = True
        return next(self._reader)

    def reset(self) -> None:
        """Begin again."""
        self._reader.reset()

    def state_dict(self) -> dict[str, object]:
        """Return the reader's state, and how many processes there are."""
        return {"reader": self._reader.state_dict(), "world_size": self._world_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from a state; the trainer restores this one last.

        If the number of processes changed, several get the same state of random numbers from the
        checkpoint; each then derives its own seed from it.
        """
        self._reader.load_state_dict(state_dict["reader"])
        if state_dict["world_size"] != self._world_size:
            torch.manual_seed(int(torch.randint(_MAX_SEED, ())) + self._rank)

    @property
    def num_accumulate(self) -> int:
        """Batches per update."""
        return self._reader.num_accumulate


class _Stop(Exception):  # noqa: N818 - no error
    """Leaves the trainer's loop."""


class ResumableTask(Task):
    """Runs a trainer; a signal ends it after the update, with a checkpoint.

    `Preempted` informs the caller, who resumes by running the same command again.
    """

    def __init__(self, trainer: Task, reader: ResumableReader, preemption: Preemption) -> None:
        self._trainer = trainer
        self._reader = reader
        self._preemption = preemption

    def run(self) -> None:
        """Train.

        Raises:
            Preempted: If the processes agreed to stop before the last update.
        """
        with self._preemption.deferring_stops(), suppress(_Stop):
            self._trainer.run()
        if self._reader.has_stopped:
            step = self._trainer.step_nr
            raise Preempted(
                f"stopped by {self._preemption.signal_name} after update {step:,}; its checkpoint"
                " is written. Run the same command again to resume."
                if step
                else f"stopped by {self._preemption.signal_name} before the first update"
            )

    def request_stop(self) -> None:
        """Ask for a stop, as fairseq2 does at SIGUSR1."""
        self._preemption.request()

    @property
    def step_nr(self) -> int:
        """Updates so far."""
        return self._trainer.step_nr

    def close(self) -> None:
        """Close the trainer's files."""
        self._trainer.close()
