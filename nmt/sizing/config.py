"""The layout of a training, from which its memory and its cost are estimated."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from corpus.config import Bounds, Config, NonNegativeInt, PositiveFloat, PositiveInt
from corpus.errors import UserError
from nmt.model.config import Part


@dataclass(frozen=True, kw_only=True)
class CostConfig(Config):
    """What GPU hours and energy are estimated from."""

    tokens: NonNegativeInt = 0
    """Tokens that are trained on, source and target together and equally many; 0 for no
    estimate."""

    mfu: Annotated[float, Bounds(above=0, at_most=1)] | None = None
    """Model FLOPs utilization, the share of the peak that the model's operations use; null: what
    `training` measured, without it 0.4."""

    training: Path | None = None
    """Model directory of a training on such GPUs, of any length, whose median MFU is taken."""

    peak_teraflops: PositiveFloat = 989.0
    """Peak of a GPU in 10^12 operations per second: bfloat16 without sparsity, of an H100 SXM or an
    H200 (NVIDIA's data sheets). The A100 has 312."""

    watts: PositiveFloat = 700.0
    """Power of a GPU: the most that an H100 SXM or an H200 takes. Hosts, network and cooling come
    on top; add their share to count them."""


@dataclass(frozen=True, kw_only=True)
class LayoutConfig(Config):
    """The layout of a training on GPUs, or on CPUs."""

    device: Literal["cuda", "cpu"] = "cuda"
    """On a `cpu` the memory is that of the process, libraries included."""

    gpus: PositiveInt = 1
    """Processes in all, each with a GPU."""

    shard_size: PositiveInt = 1
    """Processes that shard one copy of the model (FSDP2); 1 for whole copies."""

    expert_parallel: bool = False
    """Send tokens to the experts instead of gathering the experts' weights."""

    precision: Literal["fp32", "bf16", "fp16"] | None = None
    """Of products; null: bf16 on a GPU, fp32 on a CPU."""

    max_tokens: PositiveInt = 8192
    """Source and target positions of a batch on one GPU, half and half."""

    freeze: tuple[Part, ...] = ()
    """Parts that are not trained, as the key `freeze` of a training has them."""

    lora_rank: NonNegativeInt = 0
    """With this rank of LoRA beside all projections nothing else is trained; 0 for none."""

    activation_checkpointing: bool = False
    """Keep only the inputs of layers and compute the rest again."""

    cost: CostConfig = field(default_factory=CostConfig)

    @property
    def product_bytes(self) -> int:
        """Bytes of a value of products."""
        precision = self.precision or ("fp32" if self.device == "cpu" else "bf16")
        return 4 if precision == "fp32" else 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gpus % self.shard_size != 0:
            raise UserError(
                f"`shard_size` is {self.shard_size}, and {self.gpus} GPUs (`gpus`) cannot be"
                " divided into groups of so many"
            )
