"""How torch multiplies matrices on a CPU: by how many threads, and by which library.

torch takes MKL, which on processors that are not Intel's leaves AVX-512 alone. oneDNN, which comes
with torch as well, multiplies float32 in half of the time there. torch hands it such products where
it is allowed to round to bfloat16; oneDNN does so on processors with tile instructions only (AMX,
all of Intel), and on all others the products stay in float32.
"""

import torch


def use_cpu(threads: int) -> None:
    """Have torch multiply by so many threads, and by oneDNN where that is faster and as exact."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if _multiplies_exactly():
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]


def _multiplies_exactly() -> bool:
    """Whether oneDNN, allowed to round, does not."""
    has_tiles = torch.cpu._is_amx_tile_supported()  # it has no public name
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and not has_tiles
