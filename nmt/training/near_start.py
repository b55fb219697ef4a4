"""Ways to stay near the weights that training started from: a pull towards them, and averages."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

T = TypeVar("T")


def pull_to_start(
    optimizer: Optimizer, model: nn.Module, start: nn.Module, strength: float
) -> None:
    """Have each update move trained weights w by learning rate · strength · (start - w).

    That is L2 to the start (L2-SP, Li et al. 2018), decoupled from the gradient as AdamW's weight
    decay is.

    Args:
        optimizer: Updates the model.
        model: What is trained, whole in this process.
        start: The same model with the weights that it started from.
        strength: As in the formula.
    """
    pairs = zip(model.parameters(), start.parameters(), strict=True)
    places = {id(own): theirs.detach().to(own.device) for own, theirs in pairs}

    @torch.no_grad()
    def pull(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.lerp_(places[id(weight)], float(group["lr"]) * strength)

    optimizer.register_step_pre_hook(pull)


@torch.no_grad()
def scan_averages(
    model: nn.Module,
    start: nn.Module,
    shares: Sequence[float],
    measure: Callable[[], T],
    quality: Callable[[T], Any],
) -> tuple[dict[float, T], float]:
    """Measure averages of start and end, and leave the best in the model.

    An average is start + share · (end - start), as of Wortsman et al. 2022 (WiSE-FT).

    Args:
        model: The end; it has the best average afterwards.
        start: The same model with the weights that it started from.
        shares: Of the end, 0 to 1; 1 is measured too.
        measure: Measures the model as it is.
        quality: Orders what was measured; the best is the highest, of equal ones the last share.

    Returns:
        The measures by share, and the share of the best.
    """
    ends: list[Tensor] = [weight.detach().clone() for weight in model.parameters()]

    def take(share: float) -> None:
        for weight, begin, end in zip(model.parameters(), start.parameters(), ends, strict=True):
            weight.copy_(torch.lerp(begin.to(end.device, end.dtype), end, share))

    found = {}
    for share in sorted({*shares, 1.0}):
        take(share)
        found[share] = measure()
    best = max(found, key=lambda share: (quality(found[share]), share))
    take(best)
    return found, best
