"""Estimate of the GPU hours and the energy of a training.

GPU hours = operations of all tokens / (MFU · peak of a GPU) / 3600; energy = GPU hours · power.
"""

from typing import Any

from nmt.sizing.config import LayoutConfig
from nmt.sizing.flops import TokenFlops

_USUAL_MFU = 0.4
"""Published for dense models on GPUs: 46 % (Chowdhery et al. 2022, PaLM, table 3), 38 to 43 %
(Llama Team 2024, Llama 3, section 3.3.2)."""

_TERA = 1e12


def estimate_cost(
    flops: TokenFlops, layout: LayoutConfig, measured_mfu: float | None = None
) -> dict[str, Any]:
    """Estimate the cost of the training that `layout.cost` describes.

    Args:
        flops: Operations of training on a token.
        layout: GPUs and what cost depends on.
        measured_mfu: The MFU of `layout.cost.training`; None without one.

    Returns:
        `tokens`, `flops`, `mfu`, `gpu_hours` of all GPUs together, `hours` that it takes,
        `energy_kwh`, and `assumptions` in sentences.
    """
    cost = layout.cost
    if cost.mfu is not None:
        mfu, source = cost.mfu, "given"
    elif measured_mfu is not None:
        mfu, source = measured_mfu, f"the median of the training in {cost.training}"
    else:
        mfu, source = (
            _USUAL_MFU,
            (
                "usual for dense models on GPUs (PaLM 46 %, Llama 3 38 to 43 %), and not measured"
                " with this program; Mixture-of-Experts over many nodes reaches less"
            ),
        )
    total = flops.of(cost.tokens / 2, cost.tokens / 2)
    gpu_hours = total / (mfu * cost.peak_teraflops * _TERA) / 3600
    return {
        "tokens": cost.tokens,
        "flops": total,
        "mfu": mfu,
        "gpu_hours": gpu_hours,
        "hours": gpu_hours / layout.gpus,
        "energy_kwh": gpu_hours * cost.watts / 1000,
        "assumptions": [
            f"MFU of {100 * mfu:.0f} %: {source}",
            f"a peak of {cost.peak_teraflops:g} TFLOP/s and {cost.watts:g} W for each of"
            f" {layout.gpus:,} GPUs, all the time; hosts, network and cooling are not counted",
            "validations, checkpoints, restarts and attention scores are left out",
        ],
    }
