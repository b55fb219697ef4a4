"""Estimates the cost of a job by running it on small parts of its input.

The real command runs on parts of its input that grow, each in a new process and a temporary folder.
The difference between first and last in CPU time, by the difference of their sizes, is the price of
a unit; what is left of the first is the price of a start.
"""

import dataclasses
import logging
import math
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from corpus.console import format_duration, format_table
from corpus.errors import JobError
from corpus.jobs.logs import read_log
from corpus.jobs.receipts import RECEIPTS, has_outputs, recorded_jobs
from corpus.jobs.usage import cpu_seconds, peak_memory_mb

logger = logging.getLogger(__name__)

T = TypeVar("T")

MEASURE_SECONDS = 4.0
"""CPU seconds by which the last part must exceed the first for a reliable price."""

_GROWTH = 6
_MOST_PARTS = 6

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


@dataclasses.dataclass(frozen=True)
class Cut:
    """How much of the input a part holds."""

    units: int
    largest: int
    """Units of its largest shard."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """A command that can be run on a part of its input."""

    command: str
    """Its name."""

    unit: str
    """Unit of its work, in the plural."""

    shards: Mapping[str, int]
    """All shards with their sizes in that unit."""

    done: Collection[str]
    """Shards that are finished already."""

    cut: Callable[[int, Path], Cut]
    """Writes about so many units of the shards that are to do to a folder."""

    run: Callable[[Path, Path], object]
    """Runs the command on that folder, writing to another; picklable."""

    first: int
    """Units of the smallest part worth trying."""

    workers: int
    """Processes of the real run."""

    counts: tuple[str, ...]
    """Which counts of its receipts are shown."""

    row_exponent: float = 1.0
    """Memory and counts grow with the units to this power; 0.5 where these are products."""

    disk_bytes: int | None = None
    """Of the output, where a part does not tell it."""

    gpu_stages: tuple[str, ...] = ()
    """Stages whose wall time is a GPU's."""

    assumptions: tuple[str, ...] = ()
    """What the estimate assumes, besides the usual assumptions."""


@dataclasses.dataclass(frozen=True)
class _Stage:
    cpu_seconds: float
    wall_seconds: float
    disk_bytes: int
    counts: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class _Part:
    """What a run on a part took."""

    units: int
    largest: int
    cpu_seconds: float
    peak_memory_mb: float
    stages: Mapping[str, _Stage]


def finished(output: Path, job: str, names: Collection[str]) -> frozenset[str]:
    """Return which tasks of a job are done; the job itself checks whether receipts match."""
    log = read_log(output / RECEIPTS / job)
    return frozenset(
        name
        for name in names
        if has_outputs(log, name) and (receipt := log.receipt(name)) and not receipt["problem"]
    )


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return at most so many items from all along a sequence."""
    count = min(count, len(items))
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def price_job(trial: Trial) -> Price:
    """Estimate the cost of the shards that a command has still to do.

    Raises:
        TonguesError: As the command itself, where the part cannot be run.
    """
    to_do = {name: size for name, size in trial.shards.items() if name not in trial.done}
    units = sum(to_do.values())
    started = time.monotonic()
    parts = _try_parts(trial, units) if units else []
    stages = _stage_prices(trial, parts, units)
    per_unit, start = _line([(part.units, part.cpu_seconds) for part in parts])
    core_hours = (per_unit * units + start * min(trial.workers, len(to_do))) / 3600
    gpu_hours = sum(stage.gpu_hours for stage in stages.values())
    return Price(
        command=trial.command,
        unit=trial.unit,
        shards=dict(trial.shards),
        done=tuple(sorted(trial.done)),
        units_to_do=units,
        stages=stages,
        start_core_seconds=start,
        workers=trial.workers,
        hours=max(core_hours, gpu_hours) / max(1, min(trial.workers, len(to_do))),
        peak_memory_mb=_peak_memory(trial, parts, max(to_do.values(), default=0)),
        sample_units=parts[-1].units if parts else 0,
        sample_seconds=time.monotonic() - started,
        assumptions=(*_ASSUMPTIONS, *trial.assumptions),
    )


_ASSUMPTIONS = (
    "The part that was tried is like the rest.",
    "Cores are idle and as fast as this one; a busy machine takes longer.",
    "Memory grows with the size of a shard as it did between the parts.",
)


def _try_parts(trial: Trial, units: int) -> list[_Part]:
    """Try growing parts until one takes long enough or is the whole input."""
    parts: list[_Part] = []
    size = min(trial.first, units)
    while True:
        parts.append(_try_part(trial, size))
        spent = parts[-1].cpu_seconds - parts[0].cpu_seconds
        is_all = size >= units or (len(parts) > 1 and parts[-1].units <= parts[-2].units)
        if is_all or len(parts) == _MOST_PARTS or spent >= MEASURE_SECONDS:
            return parts
        size = min(size * _GROWTH, units)


def _try_part(trial: Trial, size: int) -> _Part:
    logger.info("%s: trying %s %s", trial.command, f"{size:,}", trial.unit)
    # In a new process, so that its peak memory and its start are those of a worker.
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="tongues-dry-run-") as folder,
        ProcessPoolExecutor(1, mp_context=context, initializer=_be_silent) as pool,
    ):
        part, output = Path(folder) / "part", Path(folder) / "output"
        cut = trial.cut(size, part)
        return pool.submit(_measure, trial.run, cut, part, output).result()


def _be_silent() -> None:
    """Keep progress bars and log lines of the trial off the terminal; errors are raised."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _measure(run: Callable[[Path, Path], object], cut: Cut, part: Path, output: Path) -> _Part:
    try:
        run(part, output)
    except JobError:
        # A shard that was cut for the trial is a damaged one; one that gave nothing is an error.
        if not any(read_log(output / RECEIPTS / job).receipts for job in recorded_jobs(output)):
            raise
    stages = {job: _read_stage(output, job) for job in recorded_jobs(output)}
    return _Part(cut.units, cut.largest, cpu_seconds(), peak_memory_mb(), stages)


def _read_stage(output: Path, job: str) -> _Stage:
    """Return the time, memory and counts in the receipts of a job."""
    counts: Counter[str] = Counter()
    cpu = wall = 0.0
    files: set[Path] = set()
    log = read_log(output / RECEIPTS / job)
    for name in log.receipts:
        receipt = log.receipt(name)
        assert receipt is not None  # nothing was lost since this process wrote it
        counts.update(receipt["counts"])
        cpu += float(receipt["cpu_seconds"])
        wall += float(receipt["seconds"])
        files |= {(output / made).resolve() for made in receipt["outputs"]}
    # Files that only the next job needs may be gone by now.
    disk = sum(file.stat().st_size for file in files if file.exists())
    return _Stage(cpu, wall, disk, counts)


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the slope between the first and the last point, and the intercept.

    A single point goes through zero. Where noise makes either negative, it is taken for zero.
    """
    if not points:
        return 0.0, 0.0
    (x, y), (x_last, y_last) = points[0], points[-1]
    if x == x_last:
        return y / x, 0.0
    slope = (y_last - y) / (x_last - x)
    if slope <= 0:
        return y_last / x_last, 0.0
    return slope, max(0.0, y - slope * x)


def _stage_prices(trial: Trial, parts: Sequence[_Part], units: int) -> dict[str, StagePrice]:
    prices = {}
    for name in parts[-1].stages if parts else ():
        seen = [(part.units, part.stages[name]) for part in parts if name in part.stages]
        size, last = seen[-1]
        cpu, _ = _line([(x, stage.cpu_seconds) for x, stage in seen])
        wall, _ = _line([(x, stage.wall_seconds) for x, stage in seen])
        prices[name] = StagePrice(
            core_hours=cpu * units / 3600,
            gpu_hours=wall * units / 3600 if name in trial.gpu_stages else 0.0,
            disk_bytes=round(last.disk_bytes / size * units)
            if trial.disk_bytes is None
            else trial.disk_bytes,
            counts={
                key: round(last.counts[key] * math.pow(units / size, trial.row_exponent))
                for key in trial.counts
                if key in last.counts
            },
        )
    return prices


def _peak_memory(trial: Trial, parts: Sequence[_Part], largest: int) -> float:
    if not parts:
        return 0.0
    last = parts[-1]
    at, goal = (math.pow(size, trial.row_exponent) for size in (last.largest, largest))
    slope, _ = _line(
        [(math.pow(part.largest, trial.row_exponent), part.peak_memory_mb) for part in parts]
    )
    if len(parts) < 2 or parts[0].peak_memory_mb >= last.peak_memory_mb:
        slope = 0.0  # `_line` would give the mean, since a price of zero is no price
    return last.peak_memory_mb + max(0.0, goal - at) * slope


def describe_price(price: Price) -> str:
    """Return a price as readable tables."""
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
