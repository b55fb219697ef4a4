"""What a job will cost, and how that is told."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from corpus.console import format_duration, format_table

_LISTED = 40
_MEGABYTE = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagePrice:
    """What one stage of a command costs."""

    core_hours: float
    gpu_hours: float
    disk_bytes: int
    counts: Mapping[str, int]
    """The counts of its receipts, as they will be."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Price:
    """What a command costs."""

    command: str
    unit: str
    shards: Mapping[str, int]
    done: tuple[str, ...]
    units_to_do: int
    stages: Mapping[str, StagePrice]
    start_core_seconds: float
    """Of each process: imports, and loading of models."""

    workers: int
    hours: float
    """Wall time on idle cores or GPUs, one for each worker."""

    peak_memory_mb: float
    """Of a worker, on the largest shard."""

    sample_units: int
    sample_seconds: float
    assumptions: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it for machines; sizes of shards are in `unit`."""
        return dataclasses.asdict(self)


def describe_price(price: Price) -> str:
    """Return a price as tables for people."""
    done = set(price.done)
    listed = list(price.shards.items())
    rows = [(name, size, "done" if name in done else "to do") for name, size in listed[:_LISTED]]
    lines = [format_table([price.command, price.unit, "state"], rows)]
    if len(listed) > _LISTED:
        lines.append(f"… and {len(listed) - _LISTED:,} more; --json has all")
    if not price.units_to_do:
        nothing = "Nothing to do." if len(done) == len(listed) else "Nothing to try: it is empty."
        return "\n".join([*lines, "", nothing])
    header = ["stage", "core time", "GPU time", "disk MB"]
    header += list(dict.fromkeys(key for stage in price.stages.values() for key in stage.counts))
    table = [
        [
            name,
            format_duration(stage.core_hours * 3600),
            format_duration(stage.gpu_hours * 3600) if stage.gpu_hours else None,
            stage.disk_bytes / _MEGABYTE,
            *(stage.counts.get(key) for key in header[4:]),
        ]
        for name, stage in price.stages.items()
    ]
    workers = f"{price.workers} worker" + ("" if price.workers == 1 else "s")
    lines += [
        "",
        f"{len(listed) - len(done):,} of {len(listed):,} shards to do,"
        f" {price.units_to_do:,} {price.unit}",
        "",
        format_table(header, table),
        "",
        f"{workers}: {format_duration(price.hours * 3600)};"
        f" {price.peak_memory_mb:,.0f} MB of memory each;"
        f" {price.start_core_seconds:.1f} s for each to start",
        f"Tried on {price.sample_units:,} {price.unit} in {price.sample_seconds:.0f} s.",
        *(f"- {assumption}" for assumption in price.assumptions),
    ]
    return "\n".join(lines)
