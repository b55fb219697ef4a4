"""A job is a function over shards; a shard is done when its receipt is there.

Kill a job anywhere and run the same command again: finished shards are skipped, the others are
done, and the outputs are the same bytes as those of an undisturbed run. A receipt that does not
match the inputs or the config is an error naming both values, never a silent skip. A process locks
the shard it works on, so that several runs may share the shards of one output.
"""

import dataclasses
import functools
import json
import logging
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus import stores
from corpus.config import plain_config, without_execution
from corpus.console import Progress, format_duration
from corpus.errors import BudgetSpent, DataError, JobError, ShareDone, UserError
from corpus.files import remove_leftovers
from corpus.jobs.claims import is_claimed_elsewhere
from corpus.jobs.executors import LOCAL, Executor
from corpus.jobs.executors.batches import BATCH_SECONDS
from corpus.jobs.job_config import CONFIG_FILE, hold_config
from corpus.jobs.locks import LockFile, hold_lock
from corpus.jobs.logs import (
    LOCK,
    LogWriter,
    Mark,
    Value,
    as_value,
    fold,
    has_many_logs,
    machine,
    now,
    push_logs,
    read_log,
    read_log_since,
)
from corpus.jobs.receipts import (
    RECEIPTS,
    Matching,
    describe_inputs,
    describe_outputs,
    describe_shared,
    forget_receipts,
    has_outputs,
    versions,
)
from corpus.jobs.tasks import Busy, Done, Failed, Outcome, Postponed, Raised, Result, Task
from corpus.jobs.usage import peak_memory_mb
from corpus.remote import RemoteFile

logger = logging.getLogger(__name__)


class _Clock:
    """Wall time since the process started or the previous job ended: the share of this stage.

    Imports and preparation count, as the user waits for them too.
    """

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        return seconds


_clock = _Clock()


def begin_job() -> None:
    """Let the time of the next job count from now, in a process that does more than jobs."""
    _clock.lap()


RUNS = "runs.jsonl"
_POLL_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """The result of a whole job, including earlier runs."""

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
    config_name: str = CONFIG_FILE,
    executor: Executor = LOCAL,
    gpus: int = 0,
) -> Summary:
    """Run `work` over all tasks without a receipt; write a receipt for each that succeeds.

    Args:
        name: Names the job: receipts go to `output/receipts/<name>/`.
        tasks: The shards; their names are distinct.
        work: Picklable; writes its outputs atomically and returns what it did.
        output: Directory of the outputs; config and receipts go beside them.
        config: The resolved config, a dataclass; written to `output/<config_name>`.
        workers: Processes. 1 runs in this process.
        config_name: Where several configs share a directory, the file of this one.
        executor: Where the tasks run.
        gpus: GPUs that each task needs, for an executor that hands them out.

    Raises:
        UserError: If the directory holds results of another config or of other inputs, or the file
            that a task names as its argument `output` is an input.
        JobError: If shards failed; it lists them with the command to run again.
        ShareDone: If this process finished its share and other shares are not finished.
        BudgetSpent: If shards were not begun because the executor's budget is spent.
    """
    _check_names(tasks)
    check_not_inputs(
        [output / task.arguments["output"] for task in tasks if "output" in task.arguments],
        [path for task in tasks for path in task.inputs],
    )
    config_values = without_execution(config, plain_config(config))
    receipts = output / RECEIPTS / name
    matching = Matching(receipts, config_values, config)
    has_begun = functools.partial(_has_begun, receipts, tasks)
    stores.look_again()
    stores.fetch(output / config_name)
    push_logs(receipts)
    with hold_config(output, name, config_name, config, config_values, has_begun):
        if config is not None:
            stores.publish(output / config_name)
        # In a directory that several jobs share, others' folders are not looked through.
        is_alone = config_name == CONFIG_FILE
        remove_leftovers(output, is_deep=is_alone)
        share = executor.share(tasks)
        log = read_log(receipts)
        todo = [task for task in share if not matching.is_done(log, task)]
        _say_what_is_done(name, output, len(share), len(todo))
        run = _Run()
        if todo:
            attempt = Attempt(work, receipts, config_values, config, _prepare(todo, receipts))
            _note_run(receipts, len(tasks), workers)
            run = _run_all(name, todo, attempt, executor, workers, gpus)
            remove_leftovers(output, is_deep=is_alone)  # of workers that died
        return _end_run(name, tasks, share, todo, matching, run, output)


def run_file_job(
    *,
    name: str,
    inputs: Sequence[Path],
    work: Callable[[Task], Outcome],
    output: Path,
    config: Any,
    arguments: Mapping[str, Any] | None = None,
    executor: Executor = LOCAL,
) -> Summary:
    """Run a job of one task that writes one file; task and config are named after the file.

    Args:
        name: Names the job.
        inputs: Files that are read.
        work: As `run_job` takes it.
        output: The file; config and receipts go beside it.
        config: The resolved config.
        arguments: What else the output depends on.
        executor: Where it runs.

    Raises:
        UserError: As `run_job`.
        JobError: If the task failed.
    """
    stem = output.name.split(".")[0]
    task = Task(
        name=stem, inputs=tuple(inputs), arguments={**(arguments or {}), "output": output.name}
    )
    return run_job(
        name=name,
        tasks=[task],
        work=work,
        output=output.parent,
        config=config,
        config_name=f"{stem}.config.yaml",
        executor=executor,
    )


def _say_what_is_done(name: str, output: Path, share: int, todo: int) -> None:
    if not todo:
        logger.info(
            "%s: nothing to do, %s already done in %s", name, _shards(share), stores.shown(output)
        )
    elif todo < share:
        logger.info("%s: %d of %s already done", name, share - todo, _shards(share))


def _note_run(receipts: Path, tasks: int, workers: int) -> None:
    """Write how much there is to do, for `tongues status`."""
    with LogWriter(receipts) as writer:
        run = {"tasks": tasks, "machine": machine(), "workers": workers}
        writer.add({"run": run, "ended": now()})


def _end_run(
    name: str,
    tasks: Sequence[Task],
    share: Sequence[Task],
    todo: Sequence[Task],
    matching: Matching,
    run: "_Run",
    output: Path,
) -> Summary:
    """Log and return the result; raise what has to be said of shards that are not done."""
    receipts = output / RECEIPTS / name
    stores.look_again()
    mine = {task.name for task in share}
    log = read_log(receipts)
    left = [task for task in tasks if task.name not in mine and not matching.is_done(log, task)]
    if has_many_logs(receipts) or not (left or run.failures or run.postponed):
        fold(receipts)
    seconds = _clock.lap()
    counts: Counter[str] = Counter()
    for task in tasks:
        if task.name in log.receipts:
            counts.update(log.counts(task.name))
    summary = Summary(
        counts=dict(counts),
        done=len(todo) - len(run.failures) - len(run.postponed),
        skipped=len(share) - len(todo),
        seconds=seconds,
    )
    if todo:
        _log_run(output, name, summary, run)
        logger.info("%s: %s in %s", name, _shards(summary.done), format_duration(seconds))
    if run.failures:
        listed = "\n".join(f"  {task}: {reason}" for task, reason in sorted(run.failures.items()))
        raise JobError(
            f"{name}: {len(run.failures)} of {_shards(len(share))} failed:\n{listed}\n"
            "The other shards are finished and will be skipped. Fix these, then run again:"
            f" {_command()}"
        )
    if run.postponed:
        raise BudgetSpent(name, run.postponed)
    if left:
        raise ShareDone(
            f"{name}: this share is done, {_shards(len(share))}; {_shards(len(left))} of other"
            f" shares are not, {left[0].name} among them. When all are done, run the command again"
            " to continue."
        )
    return summary


def has_receipt(name: str, task: Task, output: Path, config: Any = None) -> bool:
    """Return whether a job has done a task; for commands whose first job only prepares the last.

    Raises:
        UserError: If it was done with another config or from other inputs.
    """
    receipts = output / RECEIPTS / name
    matching = Matching(receipts, without_execution(config, plain_config(config)), config)
    return matching.is_done(read_log(receipts), task)


def redo_changed(name: str, tasks: Sequence[Task], output: Path) -> list[Task]:
    """Let a job redo the shards whose inputs changed: forget their receipts; return these tasks.

    Elsewhere a receipt that does not match is an error, because old and new results would mix. This
    is for jobs whose results are found by the digests of their inputs, so that nothing can mix and
    a receipt only saves looking at files that did not change. What such a job depends on is in its
    tasks; it has no config.
    """
    receipts = output / RECEIPTS / name
    log, matching = read_log(receipts), Matching(receipts, None)
    todo, changed = [], []
    for task in tasks:
        try:
            is_done = matching.is_done(log, task)
        except (UserError, DataError):
            changed.append(task.name)
            is_done = False
        if not is_done:
            todo.append(task)
    forget_receipts(output, name, changed)
    return todo


def _has_begun(receipts: Path, tasks: Sequence[Task]) -> bool:
    """Return whether one of the tasks is done, with this config or another, or is being done."""
    log = read_log(receipts)
    if any(has_outputs(log, task.name) for task in tasks):
        return True
    with LockFile(receipts / LOCK) as locks:
        return not all(locks.take(task.name) for task in tasks)


def _shards(count: int) -> str:
    return f"{count:,} shard" + ("" if count == 1 else "s")


def _command() -> str:
    """Return the command line, its URLs without credentials: it ends up in logs."""
    words = (str(RemoteFile(word)) if "://" in word else word for word in sys.argv[1:])
    return shlex.join([Path(sys.argv[0]).name, *words])


def _check_names(tasks: Sequence[Task]) -> None:
    repeated = [name for name, count in Counter(task.name for task in tasks).items() if count > 1]
    if repeated:
        raise UserError(
            f"two inputs would both be shard `{repeated[0]}`; rename one, since shards are"
            " identified by their file names"
        )


def check_not_inputs(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Refuse to write over a file that is read.

    Raises:
        UserError: Naming it.
    """
    written = {path.resolve(): path for path in outputs}
    names = {path.name for path in written}
    for path in inputs if written else ():
        # Resolving takes system calls; only a link has another name than its file.
        if path.name in names or path.is_symlink():
            found = written.get(path.resolve())
            if found is not None:
                raise UserError(f"{found} is the input; choose another output")


class Known(NamedTuple):
    """What the process that runs a job found out for all that do its tasks."""

    mark: Mark
    """How far it has read the job's logs."""

    earlier: Mapping[str, float]
    """When tasks that are to be done again last ended; their new receipts are later."""

    shared: Mapping[str, Value]
    """Entries of the files that several tasks read, by path."""

    places: tuple[stores.Store, ...] = ()
    """Object stores that paths are copies of."""


def _prepare(todo: Sequence[Task], receipts: Path) -> Known:
    log = read_log(receipts)
    earlier: dict[str, float] = {}
    for known in (log.receipts, log.failures, log.forgotten):
        for task in todo:
            if task.name in known:
                earlier[task.name] = max(earlier.get(task.name, 0.0), known[task.name].ended)
    return Known(log.mark(), earlier, describe_shared(todo), stores.known())


@dataclasses.dataclass(frozen=True)
class Attempt:
    """Does tasks and writes their receipts; picklable. The one place that catches all errors."""

    work: Callable[[Task], Outcome]
    receipts: Path
    config: Any
    """Plain values, as receipts hold them."""
    shape: Any
    """The dataclass that they come from."""
    known: Known

    def __call__(self, tasks: Sequence[Task]) -> Sequence[Result]:
        """Do tasks while holding their locks; a failure of the data is a result, as is a bug.

        The results of those for which there was time; the first is always among them.
        """
        stores.use(self.known.places)
        results: list[Result] = []
        began = time.monotonic()
        try:
            with LogWriter(self.receipts) as writer:
                for task in tasks:
                    results.append(self._try(task, writer))
                    if time.monotonic() - began > BATCH_SECONDS or isinstance(results[-1], Raised):
                        break
        except Exception as error:  # of the log: the disk is full, say
            results[-1:] = [Raised(error)]
        return results

    def _try(self, task: Task, writer: LogWriter) -> Result:
        try:
            if not writer.lock(task.name):
                return Busy()
            with writer.renewing():
                return self._do(task, writer)
        except DataError as error:
            return Failed(str(error))
        except Exception as error:
            return Raised(error)

    def _do(self, task: Task, writer: LogWriter) -> Result:
        if self._is_done(task):  # another process did it since the list was made
            return Done()
        started, cpu_started = time.monotonic(), time.process_time()
        writer.begin(task.name)
        for path in task.inputs:
            stores.fetch(path)
        inputs, shared = describe_inputs(task, self.known.shared)
        outcome = self.work(task)
        for path in outcome.outputs:
            stores.upload(path)
        config, version = self._common
        writer.note_outputs(outcome.outputs)
        receipt = {
            "task": task.name,
            "ended": max(now(), round(self.known.earlier.get(task.name, 0.0) + 0.001, 3)),
            "machine": machine(),
            "seconds": round(time.monotonic() - started, 3),
            "cpu_seconds": round(time.process_time() - cpu_started, 3),
            "problem": outcome.problem,
            "counts": dict(outcome.counts),
            "arguments": dict(task.arguments),
            "inputs": inputs,
            "outputs": describe_outputs(outcome.outputs, self.receipts.parent.parent),
            "config": None if self.config is None else config.digest,
            "versions": version.digest,
        }
        writer.add(receipt, (*shared, version, *(() if self.config is None else (config,))))
        writer.commit_if_due()
        return Done(outcome.problem, peak_memory_mb())

    @functools.cached_property
    def _common(self) -> tuple[Value, Value]:
        return as_value(self.config), as_value(versions())

    def _is_done(self, task: Task) -> bool:
        log = read_log_since(self.receipts, self.known.mark)
        if task.name not in log.receipts:
            return False
        stores.look_again()  # its outputs are new
        return self._matching.is_done(log, task)

    @functools.cached_property
    def _matching(self) -> Matching:
        return Matching(self.receipts, self.config, self.shape)


@dataclasses.dataclass
class _Run:
    """The results of one run's tasks."""

    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    postponed: list[str] = dataclasses.field(default_factory=list)
    peak_memory_mb: float = 0.0


def _run_all(
    name: str,
    todo: Sequence[Task],
    attempt: Attempt,
    executor: Executor,
    workers: int,
    gpus: int,
) -> _Run:
    """Run the tasks, waiting for those that others hold; return why each failed one failed."""
    run = _Run()
    with Progress(len(todo), name, "shards") as progress:
        while todo:
            busy: list[Task] = []
            for task, result in executor.run(attempt, todo, workers=workers, gpus=gpus):
                match result:
                    case Raised(error):
                        raise error
                    case Busy():
                        busy.append(task)
                        continue
                    case Postponed():
                        run.postponed.append(task.name)
                    case Failed(reason):
                        run.failures[task.name] = reason
                        _note_failure(attempt.receipts, task, reason)
                    case Done(problem, peak_memory_mb):
                        run.peak_memory_mb = max(run.peak_memory_mb, peak_memory_mb)
                        if problem:
                            run.failures[task.name] = problem
                progress.update()
            todo = busy
            _wait_for_others(name, attempt.receipts, busy)
    return run


def _note_failure(receipts: Path, task: Task, reason: str) -> None:
    """Write why a task failed, for `tongues status`."""
    with LogWriter(receipts) as writer:
        line = {"failed": task.name, "ended": now(), "machine": machine(), "reason": reason}
        writer.add(line)


def _wait_for_others(name: str, receipts: Path, busy: Sequence[Task]) -> None:
    """Wait until another process has released at least one of the tasks."""
    if not busy:
        return
    logger.info(
        "%s: another run is doing %s of this output (%s); waiting for it",
        name,
        _shards(len(busy)),
        ", ".join(task.name for task in busy[:3]),
    )
    while not _is_any_free(receipts, busy):
        time.sleep(_POLL_SECONDS)


def _is_any_free(receipts: Path, tasks: Sequence[Task]) -> bool:
    with LockFile(receipts / LOCK) as locks:
        return any(
            locks.take(task.name) and not is_claimed_elsewhere(receipts, task.name)
            for task in tasks
        )


def _log_run(output: Path, name: str, summary: Summary, run: _Run) -> None:
    """Append wall time and peak memory of this run, for the report."""
    record = {
        "name": name,
        "seconds": round(summary.seconds, 3),
        "peak_memory_mb": round(max(run.peak_memory_mb, peak_memory_mb()), 1),
        "done": summary.done,
        "skipped": summary.skipped,
        "failed": len(run.failures),
    }
    folder = output / RECEIPTS
    with (
        hold_lock(folder / LOCK, RUNS, wait=True),
        (folder / RUNS).open("a", encoding="utf-8") as file,
    ):
        file.write(json.dumps(record) + "\n")
