"""The layout of a training on GPUs, from which its memory is estimated."""

from dataclasses import dataclass
from typing import Literal

from corpus.config import Config, NonNegativeInt, PositiveInt
from corpus.errors import UserError
from nmt.model.config import Part


@dataclass(frozen=True, kw_only=True)
class LayoutConfig(Config):
    """The layout of a training on GPUs."""

    gpus: PositiveInt = 1
    """Processes in all, each with a GPU."""

    shard_size: PositiveInt = 1
    """Processes that shard one copy of the model (FSDP2); 1 for whole copies."""

    expert_parallel: bool = False
    """Send tokens to the experts instead of gathering the experts' weights."""

    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Of products."""

    max_tokens: PositiveInt = 8192
    """Source and target positions of a batch on one GPU, half and half."""

    freeze: tuple[Part, ...] = ()
    """Parts that are not trained, as the key `freeze` of a training has them."""

    lora_rank: NonNegativeInt = 0
    """With this rank of LoRA beside all projections nothing else is trained; 0 for none."""

    activation_checkpointing: bool = False
    """Keep only the inputs of layers and compute the rest again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gpus % self.shard_size != 0:
            raise UserError(
                f"`shard_size` is {self.shard_size}, and {self.gpus} GPUs (`gpus`) cannot be"
                " divided into groups of so many"
            )
