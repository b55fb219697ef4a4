"""Readers of training and validation batches for fairseq2's trainer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nmt.data.batches import Batch, BatchStream
from nmt.fairseq import layout_of
from nmt.training.fairseq import DataReader, SupportsDeviceTransfer
from nmt.training.gradient_guard import SkippedUpdates


class TokenBatch(SupportsDeviceTransfer):
    """A batch as tensors, as the trainer moves it to its device.

    Attributes:
        is_counted: Whether it adds to what is measured; else it is only run, as others run theirs.
    """

    def __init__(self, batch: Batch, *, is_counted: bool = True) -> None:
        self.is_counted = is_counted
        self._source = torch.from_numpy(batch.source)
        self._target = torch.from_numpy(batch.target)
        self._source_lengths = batch.source_lengths.tolist()
        self._target_lengths = (batch.target_lengths - 1).tolist()
        self.num_source_tokens = sum(self._source_lengths)
        self.num_target_tokens = sum(self._target_lengths)

    def to(self, device: torch.device, *, non_blocking: bool = False) -> None:
        """Move to a device."""
        self._source = self._source.to(device, non_blocking=non_blocking)
        self._target = self._target.to(device, non_blocking=non_blocking)

    def loss(self, model: nn.Module, label_smoothing: float) -> Tensor:
        """Return the summed loss of a model on this batch."""
        inputs, outputs = self._target[:, :-1].contiguous(), self._target[:, 1:]
        loss: Tensor = model(
            self._source,
            layout_of(self._source, self._source_lengths),
            inputs,
            layout_of(inputs, self._target_lengths),
            targets=outputs,
            label_smoothing=label_smoothing,
        )
        return loss


class StreamReader(DataReader[TokenBatch]):
    """Endless training batches; the state is the stream's, and how many updates were skipped."""

    def __init__(self, stream: BatchStream, accumulated: int, skipped: SkippedUpdates) -> None:
        self._stream = stream
        self._accumulated = accumulated
        self._skipped = skipped

    def __iter__(self) -> "StreamReader":
        return self

    def __next__(self) -> list[TokenBatch]:
        return [TokenBatch(next(self._stream)) for _ in range(self._accumulated)]

    def reset(self) -> None:
        """Do nothing: the stream is endless."""

    def state_dict(self) -> dict[str, object]:
        """Return the stream's state; the trainer has no other place for the count."""
        return {"stream": self._stream.state(), "skipped_updates": self._skipped.total}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Resume from a state."""
        stream, skipped = state_dict["stream"], state_dict["skipped_updates"]
        assert isinstance(stream, dict)
        assert isinstance(skipped, int)
        self._stream.restore(stream)
        self._skipped.total = skipped

    @property
    def num_accumulate(self) -> int:
        """Batches per update."""
        return self._accumulated


class ListReader(DataReader[TokenBatch]):
    """A process's share of validation batches, the same in every pass.

    Where batches do not come out even, the processes without one run the last again and count
    nothing: processes that share weights or experts must run the model equally often.
    """

    def __init__(self, batches: Sequence[Batch], rank: int = 0, world_size: int = 1) -> None:
        rounds = range(rank, len(batches) + -len(batches) % world_size, world_size)
        self._batches = [(batches[min(i, len(batches) - 1)], i < len(batches)) for i in rounds]
        self._iterator = iter(self._batches)

    def __iter__(self) -> "ListReader":
        return self

    def __next__(self) -> list[TokenBatch]:
        batch, is_counted = next(self._iterator)
        return [TokenBatch(batch, is_counted=is_counted)]

    def reset(self) -> None:
        """Begin again."""
        self._iterator = iter(self._batches)

    def state_dict(self) -> dict[str, object]:
        """Return nothing: a pass is never cut."""
        return {}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Do nothing."""

    @property
    def num_accumulate(self) -> int:
        """Batches per step."""
        return 1
