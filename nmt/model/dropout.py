"""Dropout whose numbers on a CPU come from a faster generator than torch's."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """`nn.Dropout`; on a CPU its probability is rounded to a 65,536th.

    torch's Mersenne Twister takes 5 ns for each number, more than a layer norm. It seeds numpy's
    SFC64 here, whose 64 bits are four numbers of 16 bits in less than 1 ns, and which so follows
    torch's state as checkpoints keep it.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return the input with numbers dropped in training, the others scaled by 1 / (1 - p)."""
        return dropout(input, self.p, self.training)


def dropout(values: Tensor, p: float, is_training: bool) -> Tensor:
    """Drop numbers with probability p in training, and scale the others by 1 / (1 - p)."""
    if not is_training or p == 0:
        return values
    if values.device.type != "cpu" or torch.compiler.is_compiling() or type(values) is not Tensor:
        return functional.dropout(values, p)
    dropped = max(1, min(round(p * _LEVELS), _LEVELS - 1))
    seed = int(torch.randint(1 << 62, (), device="cpu"))
    bits = np.random.SFC64(seed).random_raw(-(-values.numel() // 4)).view(np.uint16)
    kept = torch.from_numpy(bits[: values.numel()] >= dropped).view(values.shape)
    return values * kept.to(values.dtype).mul_(_LEVELS / (_LEVELS - dropped))


def replace_dropout(model: nn.Module) -> None:
    """Put this dropout in the place of torch's in all of a model's modules."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))
