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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus.config import plain_config, without_execution
from corpus.console import Progress, format_duration
from corpus.errors import BudgetSpent, DataError, JobError, ShareDone, UserError
from corpus.files import remove_all_leftovers, remove_leftovers
from corpus.jobs.executors import LOCAL, Executor
from corpus.jobs.job_config import CONFIG_FILE, LOCK, RECEIPTS, hold_config
from corpus.jobs.locks import hold_lock
from corpus.jobs.receipts import describe_input, is_done, read_receipt, write_receipt
from corpus.jobs.tasks import Busy, Done, Failed, Outcome, Postponed, Raised, Result, Task
from corpus.jobs.usage import peak_memory_mb

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
        name: Names the job: receipts go to `output/receipts/<name>/<task>.json`.
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
    attempt = Attempt(work, output / RECEIPTS / name, config_values, config)
    has_begun = functools.partial(_has_begun, attempt, tasks)
    with hold_config(output, name, config_name, config, config_values, has_begun):
        # In a directory that several jobs share, others' folders are not looked through.
        remove_all_leftovers(output, is_deep=config_name == CONFIG_FILE)
        return _run_share(
            name,
            tasks,
            attempt,
            output,
            executor,
            functools.partial(executor.run, attempt, workers=workers, gpus=gpus),
        )


def _run_share(
    name: str,
    tasks: Sequence[Task],
    attempt: "Attempt",
    output: Path,
    executor: Executor,
    results: Callable[[Sequence[Task]], Iterator[tuple[Task, Result]]],
) -> Summary:
    """Run the unfinished tasks of this process's share; log and return the result."""
    share = executor.share(tasks)
    todo = [task for task in share if not attempt.is_done(task)]
    skipped = len(share) - len(todo)
    if not todo:
        logger.info("%s: nothing to do, %s already done in %s", name, _shards(len(share)), output)
    elif skipped:
        logger.info("%s: %d of %s already done", name, skipped, _shards(len(share)))
    run = _run_all(name, todo, attempt, results)
    seconds = _clock.lap()
    summary = Summary(
        counts=_sum_counts(attempt, tasks),
        done=len(todo) - len(run.failures) - len(run.postponed),
        skipped=skipped,
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
    _check_shares(name, attempt, tasks, share)
    return summary


def has_receipt(name: str, task: Task, output: Path, config: Any = None) -> bool:
    """Return whether a job has done a task; for commands whose first job only prepares the last.

    Raises:
        UserError: If it was done with another config or from other inputs.
    """
    return is_done(
        output / RECEIPTS / name / f"{task.name}.json",
        arguments=task.arguments,
        inputs=task.files,
        config=without_execution(config, plain_config(config)),
        shape=config,
    )


def redo_changed(name: str, tasks: Sequence[Task], output: Path) -> list[Task]:
    """Let a job redo the shards whose inputs changed: delete their receipts; return these tasks.

    Elsewhere a receipt that does not match is an error, because old and new results would mix. This
    is for jobs whose results are found by the digests of their inputs, so that nothing can mix and
    a receipt only saves looking at files that did not change. What such a job depends on is in its
    tasks; it has no config.
    """
    todo = []
    for task in tasks:
        receipt = output / RECEIPTS / name / f"{task.name}.json"
        try:
            done = is_done(receipt, arguments=task.arguments, inputs=task.inputs, config=None)
        except (UserError, DataError):
            receipt.unlink(missing_ok=True)
            done = False
        if not done:
            todo.append(task)
    return todo


def _has_begun(attempt: "Attempt", tasks: Sequence[Task]) -> bool:
    """Return whether one of the tasks has a receipt, or is being done."""
    return any(attempt.receipt(task).exists() or not attempt.is_free(task) for task in tasks)


def _shards(count: int) -> str:
    return f"{count:,} shard" + ("" if count == 1 else "s")


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


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


def _check_shares(
    name: str, attempt: "Attempt", tasks: Sequence[Task], share: Sequence[Task]
) -> None:
    """Raise if the job has unfinished shards that belong to another process."""
    mine = {task.name for task in share}
    left = [task for task in tasks if task.name not in mine and not attempt.is_done(task)]
    if left:
        raise ShareDone(
            f"{name}: this share is done, {_shards(len(share))}; {_shards(len(left))} of other"
            f" shares are not, {left[0].name} among them. When all are done, run the command again"
            " to continue."
        )


@dataclasses.dataclass(frozen=True)
class Attempt:
    """Does a task and writes its receipt; picklable. The one place that catches all errors."""

    work: Callable[[Task], Outcome]
    receipts: Path
    config: Any
    """Plain values, as receipts hold them."""
    shape: Any = None
    """The dataclass that they come from."""

    def __call__(self, task: Task) -> Result:
        """Do one task while holding its lock; a failure of its data is a result, as is a bug."""
        try:
            with hold_lock(self.receipts / LOCK, task.name) as held:
                return self._do(task) if held else Busy()
        except DataError as error:
            return Failed(str(error))
        except Exception as error:
            return Raised(error)

    def _do(self, task: Task) -> Result:
        if self.is_done(task):  # another process did it since the list was made
            return Done()
        started, cpu_started = time.monotonic(), time.process_time()
        inputs = [describe_input(file) for file in task.files]
        outcome = self.work(task)
        for output in (*outcome.outputs, self.receipt(task)):
            remove_leftovers(output)
        write_receipt(
            self.receipt(task),
            task=task.name,
            arguments=task.arguments,
            inputs=inputs,
            config=self.config,
            counts=outcome.counts,
            outputs=outcome.outputs,
            problem=outcome.problem,
            seconds=time.monotonic() - started,
            cpu_seconds=time.process_time() - cpu_started,
        )
        return Done(outcome.problem, peak_memory_mb())

    def receipt(self, task: Task) -> Path:
        """Return where a task's receipt is, or will be."""
        return self.receipts / f"{task.name}.json"

    def is_done(self, task: Task) -> bool:
        """Return whether a task has its receipt; see `receipts.is_done` for what is refused."""
        return is_done(
            self.receipt(task),
            arguments=task.arguments,
            inputs=task.files,
            config=self.config,
            shape=self.shape,
        )

    def is_free(self, task: Task) -> bool:
        """Return whether no other process is doing a task."""
        with hold_lock(self.receipts / LOCK, task.name) as held:
            return held


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
    results: Callable[[Sequence[Task]], Iterator[tuple[Task, Result]]],
) -> _Run:
    """Run the tasks, waiting for those that others hold; return why each failed one failed."""
    run = _Run()
    with Progress(len(todo), name, "shards") as progress:
        while todo:
            busy: list[Task] = []
            for task, result in results(todo):
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
                    case Done(problem, peak_memory_mb):
                        run.peak_memory_mb = max(run.peak_memory_mb, peak_memory_mb)
                        if problem:
                            run.failures[task.name] = problem
                progress.update()
            todo = busy
            _wait_for_others(name, attempt, busy)
    return run


def _wait_for_others(name: str, attempt: Attempt, busy: Sequence[Task]) -> None:
    """Wait until another process has released at least one of the tasks."""
    if not busy:
        return
    logger.info(
        "%s: another run is doing %s of this output (%s); waiting for it",
        name,
        _shards(len(busy)),
        ", ".join(task.name for task in busy[:3]),
    )
    while not any(attempt.is_free(task) for task in busy):
        time.sleep(_POLL_SECONDS)


def _sum_counts(attempt: Attempt, tasks: Sequence[Task]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for task in tasks:
        path = attempt.receipt(task)
        if path.exists():
            total.update(read_receipt(path)["counts"])
    return dict(total)


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
