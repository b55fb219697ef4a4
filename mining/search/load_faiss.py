"""FAISS, loaded with the matrix kernel that suits the CPU."""

import os
from pathlib import Path

__all__ = ["faiss"]


def _choose_blas_kernel() -> None:
    """Tell the OpenBLAS inside the faiss wheel which kernel to use, before it is loaded.

    Builds of it do not know every recent CPU and then fall back to a kernel of 2004, four times
    slower. SkylakeX is right for everything with AVX-512. An existing value is kept.
    """
    cpu = Path("/proc/cpuinfo")
    if "OPENBLAS_CORETYPE" not in os.environ and cpu.exists() and "avx512bw" in cpu.read_text():
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"


_choose_blas_kernel()

import faiss  # noqa: E402  (the kernel is chosen before it is loaded)
