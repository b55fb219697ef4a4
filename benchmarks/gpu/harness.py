"""What the parts of the GPU benchmark share: a setting, a clock, and records that outlive a cut."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Setting:
    """Where a part runs and where its rows go."""

    device: torch.device

    tiny: bool
    """Sizes that a CPU does in seconds, through the same code."""

    result: Path
    """A file of JSON lines, one per row, written as soon as it is known."""

    started: float
    """`time.monotonic()` as the part began."""

    seconds: float
    """What the part may take; it is killed then."""

    @property
    def left(self) -> float:
        """Seconds until the part is killed."""
        return self.seconds - (time.monotonic() - self.started)

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def half(self) -> torch.dtype:
        """The type of products that are timed."""
        return torch.bfloat16 if self.is_gpu else torch.float32

    def record(self, what: str, value: float, unit: str, **more: Any) -> None:
        """Write a row; `limit` and `floor` in it are tolerances that the driver checks."""
        row = {"what": what, "value": value, "unit": unit, **more}
        with self.result.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def skip(self, what: str, reason: str) -> None:
        """Write that something was not run, and why."""
        with self.result.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"what": what, "skipped": reason}) + "\n")

    def finish(self) -> None:
        """Wait until the device has done what it was given."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def seconds_of(self, step: Callable[[], object], *, turns: int = 10, warmup: int = 3) -> float:
        """Return the median seconds of a step."""
        if self.tiny:
            turns, warmup = 2, 1
        for _ in range(warmup):
            step()
        taken = []
        for _ in range(turns):
            self.finish()
            begun = time.perf_counter()
            step()
            self.finish()
            taken.append(time.perf_counter() - begun)
        return statistics.median(taken)

    def peak_memory_of(self, step: Callable[[], object]) -> int | None:
        """Return the most bytes that were allocated on the GPU during a step; None on a CPU."""
        if not self.is_gpu:
            step()
            return None
        torch.cuda.reset_peak_memory_stats(self.device)
        step()
        self.finish()
        return int(torch.cuda.max_memory_allocated(self.device))
