"""How far the jobs of a directory are, read from their logs without locking or stopping them."""

import contextlib
import json
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corpus import stores
from corpus.jobs.claims import claims_of
from corpus.jobs.locks import is_held_elsewhere
from corpus.jobs.logs import LOCK, Entry, JobLog, machine_of, pull_logs, started_at
from corpus.jobs.receipts import RECEIPTS, recorded_jobs

RATE_SECONDS = 600.0
"""The rate is that of the last so many seconds."""

_SILENT_SECONDS = 60.0
"""Where locks cannot be looked at, a log that grew within so many seconds is one in use."""

_VARYING = re.compile(r"\S*/\S*|\d[\d,.]*")
"""What differs between failures for the same reason: paths and numbers."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A shard that is being done."""

    shard: str
    machine: str
    seconds: float
    """For so long by now."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Shards that failed for one reason."""

    reason: str
    """As one of them puts it."""

    shards: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What one machine does for a job."""

    running: int
    done: int
    """Over all runs; receipts of versions before 0.2 name no machine."""

    shards_per_hour: float | None


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """How far a job is."""

    directory: Path
    job: str
    total: int | None
    """Shards of the job; None if no run of this version has noted it."""

    done: int
    running: tuple[Running, ...]
    failed: tuple[Failure, ...]
    shards_per_hour: float | None
    """Over the last ten minutes or since its processes started; None if none is at work."""

    seconds_left: float | None
    machines: dict[str, Machine]

    @property
    def failures(self) -> int:
        """Shards that failed and were not done since."""
        return sum(len(one.shards) for one in self.failed)


def job_statuses(directory: Path) -> list[JobStatus]:
    """Return the jobs in a directory and those below, in the order of their names."""
    return [
        _status(output, job)
        for output in sorted(_outputs(directory))
        for job in recorded_jobs(output)
    ]


def _outputs(directory: Path) -> Iterator[Path]:
    """Yield the directories that hold receipts."""
    if stores.place_of(directory) is not None:
        yield from _stored_outputs(directory)
        return
    for folder, folders, _ in os.walk(directory):
        if RECEIPTS in folders:
            folders.remove(RECEIPTS)
            yield Path(folder)


def _stored_outputs(directory: Path) -> Iterator[Path]:
    place = stores.place_of(directory)
    entries = {} if place is None else place.store.entries(place.name)
    folders = [name for name, entry in entries.items() if entry["is_directory"]]
    if RECEIPTS in folders:
        yield directory
    for name in folders:
        if name != RECEIPTS:
            yield from _stored_outputs(directory / name)


def _status(output: Path, job: str) -> JobStatus:
    pull_logs(output / RECEIPTS / job)
    log = JobLog(output / RECEIPTS / job).refresh()
    now = time.time()
    is_stored = stores.place_of(output) is not None
    in_use = _take_claims(log) if is_stored else _logs_in_use(log, now)
    running = _running(log, in_use, now)
    failures: dict[str, str] = {}
    done: Counter[str] = Counter()
    recent: Counter[str] = Counter()
    since = max(now - RATE_SECONDS, min(map(started_at, in_use), default=now))
    for name, entry in log.receipts.items():
        receipt = json.loads(entry.line)
        if receipt.get("problem"):
            failures[name] = str(receipt["problem"])
            continue
        place = str(receipt.get("machine", ""))
        done[place] += 1
        recent[place] += entry.ended >= since
    for name, entry in log.failures.items():
        failures[name] = str(json.loads(entry.line).get("reason", ""))
    hours = max(now - since, 1.0) / 3600
    total = log.run.get("tasks")
    rate = sum(recent.values()) / hours if in_use else None
    left = None if total is None else max(0, total - sum(done.values()) - len(failures))
    here = Counter(one.machine for one in running)
    return JobStatus(
        directory=output,
        job=job,
        total=total,
        done=sum(done.values()),
        running=running,
        failed=_by_reason(failures),
        shards_per_hour=rate,
        seconds_left=3600 * left / rate if rate and left is not None else None,
        machines={
            place: Machine(
                running=here[place],
                done=done[place],
                shards_per_hour=recent[place] / hours if in_use else None,
            )
            for place in sorted({*done, *here} - {""})
        },
    )


def _take_claims(log: JobLog) -> set[str]:
    """Note the tasks that are claimed in a store as begun; return the logs of who does them."""
    in_use = set()
    for claim in claims_of(log.directory):
        in_use.add(claim["log"])
        log.begun[claim["task"]] = Entry(claim["begun"], b"", file=claim["log"])
    return in_use


def _logs_in_use(log: JobLog, now: float) -> set[str]:
    """Return the logs whose processes are doing tasks at this moment."""
    found = set()
    for name in {entry.file for entry in log.begun.values()}:
        is_held = is_held_elsewhere(log.directory / LOCK, name)
        if is_held is None:
            with contextlib.suppress(FileNotFoundError):  # it was folded just now
                written = (log.directory / name).stat().st_mtime
                is_held = now - written < _SILENT_SECONDS
        if is_held:
            found.add(name)
    return found


def _running(log: JobLog, in_use: set[str], now: float) -> tuple[Running, ...]:
    """Return the shard that each process is doing: the last it began, if that has not ended."""
    last: dict[str, tuple[str, Entry]] = {}
    for shard, entry in log.begun.items():
        if entry.file in in_use and (
            entry.file not in last or entry.ended >= last[entry.file][1].ended
        ):
            last[entry.file] = shard, entry
    return tuple(
        Running(
            shard=shard, machine=machine_of(file), seconds=round(max(0.0, now - entry.ended), 1)
        )
        for file, (shard, entry) in sorted(last.items())
        if not any(
            shard in ended and ended[shard].ended > entry.ended
            for ended in (log.receipts, log.failures)
        )
    )


def _by_reason(failures: dict[str, str]) -> tuple[Failure, ...]:
    shards: dict[str, list[str]] = defaultdict(list)
    for shard, reason in sorted(failures.items()):
        shards[_VARYING.sub("…", reason)].append(shard)
    return tuple(
        Failure(reason=failures[names[0]], shards=tuple(names))
        for names in sorted(shards.values(), key=lambda names: (-len(names), names))
    )
