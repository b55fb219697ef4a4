"""A job is a function over shards; a shard is done when its receipt is there.

Kill a job anywhere and run the same command again: finished shards are skipped, the others are
done, and the outputs are the same bytes as those of an undisturbed run. A receipt that does not
match the inputs or the config is an error naming both values, never a silent skip.
"""

import dataclasses
import json
import logging
import multiprocessing
import resource
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import yaml

from corpus.config import dump_config, plain_config, without_execution
from corpus.console import Progress, format_duration
from corpus.errors import DataError, JobError, UserError
from corpus.files import read_json, write_text
from corpus.receipts import describe_input, first_difference, is_done, write_receipt

logger = logging.getLogger(__name__)


class _Clock:
    """Wall time since the process started, or since the job before: a stage's own share.

    Imports and preparation count, as the person waits for them too.
    """

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        return seconds


_clock = _Clock()

RECEIPTS = "receipts"
RUNS = "runs.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One shard of a job."""

    name: str
    """Names the receipt; may contain `/`, as in `fra_Latn/0007`."""

    inputs: tuple[Path, ...]
    """Files whose content the result depends on."""

    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What else it depends on: plain JSON values."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one task did."""

    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Records in, records out and rejects by reason."""

    outputs: tuple[Path, ...] = ()
    """Files it wrote, each whole."""

    problem: str = ""
    """Damage in the input. What could be read is kept, and the shard is reported as failed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What a whole job did, finished earlier or now."""

    counts: Mapping[str, int]
    done: int
    skipped: int
    seconds: float


def run_job(
    *,
    name: str,
    tasks: Sequence[Task],
    work: Callable[[Task], Outcome],
    output: Path,
    config: Any = None,
    workers: int = 1,
    config_name: str = "config.yaml",
) -> Summary:
    """Run `work` over all tasks without a receipt; write a receipt for each that succeeds.

    Args:
        name: Names the job: receipts go to `output/receipts/<name>/<task>.json`.
        tasks: The shards; their names are distinct.
        work: Picklable; writes its outputs atomically and returns what it did.
        output: Directory of the outputs; config and receipts go beside them.
        config: The resolved config, a dataclass; written to `output/<config_name>`.
        workers: Processes. 1 runs in this process.
        config_name: Where several configs share a directory, the file of this one.

    Raises:
        UserError: If the directory holds results of another config or of other inputs.
        JobError: If shards failed; it lists them with the command to run again.
    """
    _check_names(tasks)
    config_values = without_execution(config, plain_config(config))
    _settle_config(output / config_name, config, config_values)
    receipts = output / RECEIPTS / name
    todo = [
        task
        for task in tasks
        if not is_done(
            _receipt_path(receipts, task),
            arguments=task.arguments,
            inputs=task.inputs,
            config=config_values,
        )
    ]
    skipped = len(tasks) - len(todo)
    if not todo:
        logger.info("%s: nothing to do, %s already done in %s", name, _shards(len(tasks)), output)
    elif skipped:
        logger.info("%s: %d of %s already done", name, skipped, _shards(len(tasks)))
    failures = _run_all(name, todo, work, workers, receipts, config_values)
    seconds = _clock.lap()
    summary = Summary(
        counts=_sum_counts(receipts, tasks),
        done=len(todo) - len(failures),
        skipped=skipped,
        seconds=seconds,
    )
    if todo:
        _log_run(output, name, summary, len(failures))
        logger.info("%s: %s in %s", name, _shards(summary.done), format_duration(seconds))
    if failures:
        listed = "\n".join(f"  {task}: {reason}" for task, reason in sorted(failures.items()))
        raise JobError(
            f"{name}: {len(failures)} of {_shards(len(tasks))} failed:\n{listed}\n"
            f"The others are done and stay done. When mended, run again: {_command()}"
        )
    return summary


def _shards(count: int) -> str:
    return f"{count:,} shard" + ("" if count == 1 else "s")


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _check_names(tasks: Sequence[Task]) -> None:
    repeated = [name for name, count in Counter(task.name for task in tasks).items() if count > 1]
    if repeated:
        raise UserError(
            f"two inputs would both be shard `{repeated[0]}`; rename one, since shards are told"
            " apart by their file names"
        )


def _settle_config(path: Path, config: Any, values: Any) -> None:
    """Write the config, or check that the one already there is the same."""
    if config is None:
        return
    if path.exists():
        there = yaml.safe_load(path.read_text(encoding="utf-8"))
        there = without_execution(config, there)
        here = json.loads(json.dumps(values))
        if there != here:
            raise UserError(
                f"{path} is of another config: {first_difference(there, here)}. Choose another"
                f" output, or delete {path.parent} to make it anew."
            )
    else:
        write_text(path, dump_config(config))


def _run_all(
    name: str,
    todo: Sequence[Task],
    work: Callable[[Task], Outcome],
    workers: int,
    receipts: Path,
    config_values: Any,
) -> dict[str, str]:
    """Run the tasks; return why each failed one failed."""
    failures: dict[str, str] = {}
    with Progress(len(todo), name, "shards") as progress:
        for task, result in _results(todo, work, workers):
            if isinstance(result, _Failure):
                failures[task.name] = result.reason
            else:
                write_receipt(
                    _receipt_path(receipts, task),
                    task=task.name,
                    arguments=task.arguments,
                    inputs=result.inputs,
                    config=config_values,
                    counts=result.outcome.counts,
                    outputs=result.outcome.outputs,
                    problem=result.outcome.problem,
                    seconds=result.seconds,
                )
                if result.outcome.problem:
                    failures[task.name] = result.outcome.problem
            progress.update()
    return failures


@dataclasses.dataclass(frozen=True)
class _Success:
    outcome: Outcome
    seconds: float
    inputs: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class _Failure:
    reason: str


def _results(
    todo: Sequence[Task], work: Callable[[Task], Outcome], workers: int
) -> Iterator[tuple[Task, _Success | _Failure]]:
    if workers <= 1 or len(todo) <= 1:
        for task in todo:
            yield task, _attempt(work, task)
        return
    # Spawned, not forked: a forked child of a process with torch or BLAS threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=context) as pool:
        pending = {pool.submit(_attempt, work, task): task for task in todo}
        try:
            while pending:
                finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    task = pending.pop(future)
                    try:
                        yield task, future.result()
                    except BrokenProcessPool:
                        yield task, _Failure("a worker process died (killed, or out of memory)")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _attempt(work: Callable[[Task], Outcome], task: Task) -> _Success | _Failure:
    """Do one task; a failure of its data is a result, a bug is raised."""
    started = time.monotonic()
    try:
        inputs = [describe_input(file) for file in task.inputs]
        outcome = work(task)
    except DataError as error:
        return _Failure(str(error))
    return _Success(outcome, time.monotonic() - started, inputs)


def _receipt_path(receipts: Path, task: Task) -> Path:
    return receipts / f"{task.name}.json"


def _sum_counts(receipts: Path, tasks: Sequence[Task]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for task in tasks:
        path = _receipt_path(receipts, task)
        if path.exists():
            total.update(read_json(path)["counts"])
    return dict(total)


def _log_run(output: Path, name: str, summary: Summary, failed: int) -> None:
    """Append wall time and peak memory of this run, for the report."""
    kilobytes = max(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
    )
    record = {
        "name": name,
        "seconds": round(summary.seconds, 3),
        "peak_memory_mb": round(kilobytes / 1024, 1),
        "done": summary.done,
        "skipped": summary.skipped,
        "failed": failed,
    }
    path = output / RECEIPTS / RUNS
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
