"""How several processes share the training of one model."""

from dataclasses import dataclass
from typing import Literal

from corpus.config import Config, NonNegativeInt, PositiveInt
from corpus.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ParallelConfig(Config):
    """What each process holds; a single process always holds everything."""

    mode: Literal["ddp", "fsdp"] = "ddp"
    """`ddp`: the whole model in every process. `fsdp`: its parameters, gradients and optimizer
    states are sharded, and gathered layer by layer when needed (FSDP2)."""

    shard_size: NonNegativeInt = 0
    """Processes that shard one copy of the model; 0 for all. With fewer, each group of neighbors
    has a copy (hybrid): with the number of GPUs of a node, gathering stays within nodes. Only for
    `fsdp`."""

    expert_parallel: bool = False
    """Keep each expert whole on one process and send the tokens to it, instead of gathering its
    weights. `shard_size` must divide the number of experts. Only for `fsdp`."""

    timeout_minutes: PositiveInt = 15
    """Minutes that a process waits for the others within an update before it fails."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shard_size == 1:
            raise UserError(
                f"`shard_size` is {self.shard_size}; it is 0 for all processes, or 2 or more"
            )
        if self.mode == "ddp" and (self.shard_size or self.expert_parallel):
            name = "shard_size" if self.shard_size else "expert_parallel"
            raise UserError(
                f"`{name}` needs `mode: fsdp`; with `ddp` every process holds the model"
            )

    def shards(self, world_size: int, num_experts: int) -> int:
        """Return how many of `world_size` processes shard a copy of the model.

        Raises:
            UserError: If the processes or the experts cannot be divided so.
        """
        if self.mode == "ddp" or world_size == 1:
            return 1
        size = self.shard_size or world_size
        if world_size % size != 0:
            raise UserError(
                f"`parallel.shard_size` is {size}, and {world_size} processes cannot be divided"
                " into groups of so many"
            )
        if self.expert_parallel and num_experts % size != 0:
            raise UserError(
                f"`parallel.expert_parallel` shares out {num_experts} experts to {size} processes;"
                " the number of experts must be a multiple. Set `parallel.shard_size`."
            )
        return size
