"""Memory and CPU time that this process has used."""

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_PEAK = "VmHWM:"


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in MB (2^20 bytes).

    Linux reports it for the current program; `getrusage`, used elsewhere, also counts the process
    before `exec`.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="ascii", errors="replace").split("\n"):
            if line.startswith(_PEAK):
                return float(line.split()[1]) / 1024
    # Kilobytes on Linux and the BSDs, bytes on macOS (their manual pages of `getrusage`).
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its ended children, user and system, in s."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
