"""Receipts: what a finished shard was made from, and whether it is still the same."""

import functools
import importlib.metadata
import json
import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus import stores
from corpus.config import recorded_values, without_execution
from corpus.errors import DataError, UserError
from corpus.files import digest_file
from corpus.jobs.logs import JobLog, LogWriter, Value, as_value, now, read_log
from corpus.jobs.tasks import Task
from corpus.remote import RemoteFile

RECEIPTS = "receipts"


def describe_input(file: Path | RemoteFile) -> dict[str, Any]:
    """Return a receipt's entry for an input file.

    Raises:
        DataError: If the file is not there.
    """
    if isinstance(file, RemoteFile):
        return file.describe()
    stored = stores.describe(file)
    if stored is not None:
        return stored
    if not file.is_file():
        raise DataError(f"input {file} does not exist or is not a file")
    stat = file.stat()
    known = _known_digests.get((str(file), stat.st_size, stat.st_mtime_ns))
    return {
        "path": str(file),
        "bytes": stat.st_size,
        "modified_ns": stat.st_mtime_ns,
        "blake2b": known or _digest_once(file, stat.st_ino, stat.st_size, stat.st_mtime_ns),
    }


def recall_digests(receipts: Path) -> None:
    """Take the digests of input files from the receipts of a job, if there are any.

    This process then reads those files again only if their size or time of change is another, as
    `Matching` does.

    Args:
        receipts: Directory of the job's receipts.
    """
    log = read_log(receipts)
    for name in log.receipts:
        for record in (log.receipt(name) or {"inputs": ()})["inputs"]:
            if "modified_ns" in record:
                key = record["path"], record["bytes"], record["modified_ns"]
                _known_digests[key] = record["blake2b"]


_known_digests: dict[tuple[str, int, int], str] = {}


@functools.lru_cache(maxsize=4096)
def _digest_once(file: Path, *state: int) -> str:
    """Return a file's digest; a model that all shards depend on is read once per process."""
    return digest_file(file)


def describe_shared(tasks: Sequence[Task]) -> dict[str, Value]:
    """Return the entries of local files that several tasks read, by path.

    They are read here once, rather than by every worker, and receipts name them by digest. A file
    that is missing is left to the tasks, each of which then fails.
    """
    uses = Counter(path for task in tasks for path in task.inputs)
    shared = [
        path
        for path, count in uses.items()
        if count > 1 and path.is_file() and stores.place_of(path) is None
    ]
    return {str(path): as_value(describe_input(path)) for path in shared}


def describe_inputs(task: Task, shared: Mapping[str, Value]) -> tuple[list[Any], list[Value]]:
    """Return the entries of a task's files, shared ones by digest, and the shared ones.

    Raises:
        DataError: If a file is not there.
    """
    entries: list[Any] = []
    values: list[Value] = []
    for file in task.files:
        known = shared.get(str(file)) if isinstance(file, Path) else None
        if known is not None and _is_unchanged(file, known.value):
            entries.append(known.digest)
            values.append(known)
        else:
            copied = stores.describe_copy(file) if isinstance(file, Path) else None
            entries.append(copied or describe_input(file))
    return entries, values


def _is_unchanged(file: Path | RemoteFile, entry: Mapping[str, Any]) -> bool:
    try:
        stat = os.stat(str(file))  # noqa: PTH116 - a third of the time of Path.stat
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (entry["bytes"], entry["modified_ns"])


def describe_outputs(outputs: Sequence[Path], directory: Path) -> dict[str, str]:
    """Return the digests of files by their names as seen from a directory.

    A directory can so be moved as a whole and still be found done.
    """
    start = directory.resolve()
    return {
        os.path.relpath(output.resolve(), start): digest_file(output) if output.is_file() else ""
        for output in outputs
    }


class Matching:
    """Whether tasks have receipts that match; files of many tasks are looked at once."""

    def __init__(self, receipts: Path, config: Any, shape: Any = None) -> None:
        """Take what is the same for all tasks.

        Args:
            receipts: Directory of the job's receipts.
            config: Plain values of the config.
            shape: The dataclass they come from. Keys that a receipt lacks have their defaults: it
                is of a version that did not know them.
        """
        self._output = receipts.parent.parent
        self._config, self._shape = json.loads(json.dumps(config)), shape
        self._same_config: Any = None
        self._same_files: dict[tuple[str, str], bool] = {}

    def is_done(self, log: JobLog, task: Task) -> bool:
        """Whether a receipt is there, its outputs exist, it reports no damage, and it matches.

        Without its outputs a receipt does not have to match: nothing could be mixed.

        Raises:
            UserError: If it was made from other inputs, arguments or config; both are named.
            DataError: If an input that it names is gone.
        """
        receipt = log.receipt(task.name)
        if receipt is None or receipt["problem"]:  # its input may have been mended
            return False
        if not _has_outputs(self._output, receipt):
            return False
        place = log.place(task.name)
        recorded = receipt.get("config")
        if recorded is not self._same_config:  # most name one value
            values = without_execution(self._shape, recorded_values(self._shape, recorded))
            _refuse_other(place, "config", values, self._config)
            self._same_config = recorded
        _refuse_other(place, "argument", receipt["arguments"], dict(task.arguments))
        self._check_inputs(place, receipt["inputs"], task.files)
        return True

    def _check_inputs(
        self, place: str, recorded: list[dict[str, Any]], files: Sequence[Path | RemoteFile]
    ) -> None:
        if len(recorded) != len(files):
            raise UserError(
                f"{place} was made from {len(recorded)} input files, and now there are"
                f" {len(files)}. {_REDO}"
            )
        for record, file in zip(recorded, files, strict=True):
            if isinstance(file, RemoteFile):
                _check_remote_input(place, record, str(file), file.describe())
                continue
            stored = stores.describe(file)
            if stored is not None:
                _check_remote_input(place, record, stored["path"], stored)
                continue
            key = str(file), str(record.get("blake2b"))
            if key not in self._same_files:
                _check_input(place, record, file)
                self._same_files[key] = True


def has_outputs(log: JobLog, task: str) -> bool:
    """Whether a task has a receipt, matching or not, and all its outputs exist."""
    receipt = log.receipt(task)
    return receipt is not None and _has_outputs(log.directory.parent.parent, receipt)


def _has_outputs(output: Path, receipt: Mapping[str, Any]) -> bool:
    if stores.place_of(output) is not None:
        return all(stores.exists(_below(output, name)) for name in receipt["outputs"])
    return all(os.path.exists(output / name) for name in receipt["outputs"])  # noqa: PTH110


def _below(output: Path, name: str) -> Path:
    return Path(os.path.normpath(output / name))


_REDO = (
    "Choose another output, or delete what this shard wrote to redo it (its line in that file, if"
    " it wrote nothing)."
)


def _refuse_other(place: str, key: str, recorded: Any, current: Any) -> None:
    current = json.loads(json.dumps(current))
    if recorded != current:
        raise UserError(
            f"{place} was made with another {key}: {differences(recorded, current)}. {_REDO}"
        )


def _check_input(place: str, record: dict[str, Any], file: Path) -> None:
    if not file.is_file():
        raise DataError(f"input {file} does not exist; {place} lists it as an input")
    if _is_unchanged(file, {"modified_ns": None, **record}):
        return
    digest = digest_file(file)
    if digest != record.get("blake2b"):
        raise UserError(
            f"{place} was made from {record['path']} with digest {record.get('blake2b')}, and"
            f" {file} now has {digest}. {_REDO}"
        )


def _check_remote_input(
    place: str, record: dict[str, Any], file: str, now: Mapping[str, Any]
) -> None:
    # Not the URL: the same file may have another one, for instance with a new signature.
    for key in ("bytes", "version"):
        if record.get(key) != now[key]:
            raise UserError(
                f"{place} was made from {record['path']} with {key} {record.get(key)}, and {file}"
                f" now has {now[key]}. {_REDO}"
            )


def recorded_jobs(output: Path) -> list[str]:
    """Return the names of the jobs that have receipts, or logs, in a directory, sorted."""
    receipts = output / RECEIPTS
    place = stores.place_of(receipts)
    if place is not None:
        entries = place.store.entries(place.name)
        return sorted(name for name, entry in entries.items() if entry["is_directory"])
    return (
        sorted(path.name for path in receipts.iterdir() if path.is_dir())
        if receipts.is_dir()
        else []
    )


def recorded_outputs(output: Path) -> set[Path]:
    """Return the files in a directory that receipts there name; none if there are no receipts."""
    return {
        _below(output, name)
        for job in recorded_jobs(output)
        for log in (read_log(output / RECEIPTS / job),)
        for task in log.receipts
        for name in (log.receipt(task) or {"outputs": ()})["outputs"]
    }


def task_counts(output: Path, job: str) -> dict[str, dict[str, int]]:
    """Return what the finished tasks of a job counted, by their names, sorted.

    Args:
        output: Directory of the job's outputs.
        job: Its name.

    Raises:
        DataError: If a receipt is damaged.
    """
    log = read_log(output / RECEIPTS / job)
    return {name: log.counts(name) for name in sorted(log.receipts)}


def check_digests(files: Iterable[Path], output: Path, job: str, tasks: Iterable[str]) -> None:
    """Refuse files whose content differs from the receipts of the job that wrote them.

    Files that none of the receipts names were made elsewhere, and pass.

    Args:
        files: What is about to be read.
        output: Directory of the outputs of the job that wrote them.
        job: Its name.
        tasks: Those that wrote them; those without a receipt are left out.

    Raises:
        DataError: Naming the first such file, with both digests.
    """
    log = read_log(output / RECEIPTS / job)
    recorded = {
        (output / name).resolve(): (digest, log.place(task))
        for task in tasks
        for name, digest in (log.receipt(task) or {"outputs": {}})["outputs"].items()
    }
    for file in files:
        digest, place = recorded.get(file.resolve(), ("", ""))
        if not digest or not file.is_file():
            continue
        stat = file.stat()
        found = _digest_once(file, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if found != digest:
            raise DataError(
                f"{file} is damaged or was changed: its digest is {found}, and {place} records"
                f" {digest}. Delete the file and rerun the command that made it."
            )


def forget_receipts(output: Path, job: str, tasks: Iterable[str]) -> None:
    """Let a job do tasks again: their receipts no longer hold.

    Args:
        output: Directory of the job's outputs.
        job: Its name.
        tasks: Their names; those without a receipt stay as they are.
    """
    directory = output / RECEIPTS / job
    log = read_log(directory)
    entries = {name: log.receipts[name] for name in tasks if name in log.receipts}
    if entries:
        with LogWriter(directory) as writer:
            for name, entry in entries.items():
                writer.add({"forgotten": name, "ended": max(now(), round(entry.ended + 0.001, 3))})


def forget_outdated(receipts: Path, tasks: Sequence[Task], *, keep_others: bool) -> None:
    """Delete files and forget receipts that tasks made from inputs other than the current ones.

    For a command's own intermediate files: unlike with the user's inputs, more or other ones are
    not an error.

    Args:
        receipts: Directory of the job's receipts.
        tasks: The tasks as they are now.
        keep_others: Whether what none of the tasks made stays.
    """
    current = {task.name: task for task in tasks}
    log, matching = read_log(receipts), Matching(receipts, None)
    outdated = []
    for name in sorted(log.receipts):
        task = current.get(name)
        if task is None and keep_others:
            continue
        try:
            if task is not None and matching.is_done(log, task):
                continue
        except (UserError, DataError):
            pass
        outdated.append(name)
        for made in (log.receipt(name) or {"outputs": ()})["outputs"]:
            stores.remove(_below(receipts.parent.parent, made))
    forget_receipts(receipts.parent.parent, receipts.name, outdated)


def differences(there: Any, here: Any, key: str = "") -> str:
    """Return every key in which two plain configs differ, with both values."""
    if isinstance(there, dict) and isinstance(here, dict):
        return "; ".join(
            differences(there.get(name), here.get(name), f"{key}.{name}" if key else str(name))
            for name in {**here, **there}
            if there.get(name) != here.get(name)
        )
    return f"`{key}` is {there!r} there and {here!r} now"


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of this program and of Python, as receipts hold them."""
    try:
        version = importlib.metadata.version("tongues")
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    return {"tongues": version, "python": platform.python_version()}
