"""What is recorded of a job: a log for each process that works on it, folded into one table.

Every process appends lines to a log of its own, `receipts/<job>/<machine>~<process>~<start>.jsonl`.
A run that finishes the job merges the logs of ended processes into `receipts/<job>/table.jsonl`.
A line is a JSON object of one of these kinds:

    {"task": …, "ended": …, …}          a receipt; see docs/formats.md
    {"failed": …, "ended": …, …}        a task that failed, why and where
    {"begun": …, "ended": …}            a task that the log's process is doing since then
    {"forgotten": …, "ended": …}        a task whose receipt no longer holds
    {"value": …, "is": …}               what many receipts hold, which name it by its digest
    {"run": …, "ended": …}              a run of the job: all its tasks, and when it began

Of several lines about a task the latest holds. The end of a log may be torn, or lost in a power
cut: then its shards are done again. Outputs reach the disk before the receipts that name them. In
an object store a log is an object that its process replaces, and begins another when it has grown.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus import stores
from corpus.errors import DataError
from corpus.files import atomic_path, make_directory, read_object
from corpus.jobs.claims import CLAIM_SECONDS, Claims
from corpus.jobs.locks import LockFile
from corpus.remote import MissingFileError

logger = logging.getLogger(__name__)

LOCK = ".lock"
TABLE = "table.jsonl"
_SUFFIX = ".jsonl"
_FOLDING = "fold"
_MANY_LOGS = 64
_LOG_BYTES = 1 << 20
"""From where on a process begins another log in an object store."""

_COMMIT_SECONDS = 1.0
"""Receipts are written together for so long, so that tiny tasks share the wait for the disk."""

_KINDS = ("task", "failed", "begun", "forgotten")
_OLD = ".json"
"""Versions before 0.2 wrote a file for each receipt, `receipts/<job>/<task>.json`."""


class Value(NamedTuple):
    """What many receipts of a job hold, and the digest by which they name it."""

    digest: str
    value: Any


def as_value(value: Any) -> Value:
    """Return a value with its digest."""
    text = _line(value)
    return Value(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest(), value)


class Entry(NamedTuple):
    """The latest line about a task."""

    ended: float
    """Unix time."""

    line: bytes
    cpu_seconds: float = 0.0
    file: str = ""
    """The log or the table; for an entry of an earlier version, its file."""


class Mark(NamedTuple):
    """How far the logs of a job were read, for a process that needs only what came later."""

    table: tuple[int, ...]
    offsets: Mapping[str, int]


class JobLog:
    """What the logs and the table of a job say; `refresh` reads what was added since."""

    def __init__(self, directory: Path, mark: Mark | None = None) -> None:
        """Read nothing yet.

        Args:
            directory: `receipts/<job>`; it need not exist.
            mark: From where on to read.
        """
        self.directory = directory
        self._clear()
        if mark is not None:
            self._follow(mark)

    def _clear(self) -> None:
        self.receipts: dict[str, Entry] = {}
        self.failures: dict[str, Entry] = {}
        self.forgotten: dict[str, Entry] = {}
        self.begun: dict[str, Entry] = {}
        self.run: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.old_files: list[Path] = []
        self._table: tuple[int, ...] = ()
        self._offsets: dict[str, int] = {}
        self._is_new = True  # until all is read

    def _follow(self, mark: Mark) -> None:
        self._table, self._offsets, self._is_new = mark.table, dict(mark.offsets), False

    def mark(self) -> Mark:
        """Return how far this has read."""
        return Mark(self._table, dict(self._offsets))

    def refresh(self) -> "JobLog":
        """Read what was added; everything, where logs were folded or a file was edited."""
        sizes = _log_sizes(self.directory)
        # Logs before the table: whatever is folded meanwhile is then found in the table.
        is_same = not self._is_new and all(
            sizes.get(name, -1) >= offset for name, offset in self._offsets.items()
        )
        if is_same and _signature(self.directory / TABLE) == self._table:
            for name, size in sizes.items():
                if size > self._offsets.get(name, 0):
                    is_same = is_same and self._read_log(name)
            if is_same and _signature(self.directory / TABLE) == self._table:
                return self
        self._clear()
        for name in _log_sizes(self.directory):
            self._read_log(name)
        self._table = _signature(self.directory / TABLE)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._take((self.directory / TABLE).read_bytes(), TABLE)
        self._read_old_files()
        self._is_new = False
        return self

    def _read_log(self, name: str) -> bool:
        """Read a log from where it was left; return whether it was there."""
        offset = self._offsets.get(name, 0)
        try:
            with (self.directory / name).open("rb") as file:
                file.seek(offset)
                added = file.read()
        except FileNotFoundError:
            return False
        whole = added.rfind(b"\n") + 1  # a torn line may be in the middle of being written
        self._offsets[name] = offset + whole
        self._take(added[:whole], name)
        return True

    def _take(self, lines: bytes, file: str) -> None:
        for line in lines.splitlines(keepends=True):
            try:
                self._take_line(line, file)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                logger.warning(
                    "%s: a damaged line is left out, %r; if it was a shard's, that is done again",
                    self.directory / file, line[:60].decode("utf-8", "replace"),
                )  # fmt: skip

    def _take_line(self, line: bytes, file: str) -> None:
        value = json.loads(line)
        if "value" in value:
            self.values.setdefault(str(value["value"]), value["is"])
            return
        ended = float(value["ended"])
        if "run" in value:
            if ended >= self.run.get("ended", 0.0):
                self.run = {**value["run"], "ended": ended}
            return
        kind = next(kind for kind in _KINDS if kind in value)
        entry = Entry(ended, line, float(value.get("cpu_seconds", 0.0)), file)
        if kind == "task":
            _check_receipt(value)
        self._put(kind, str(value[kind]), entry)

    def _put(self, kind: str, name: str, entry: Entry) -> None:
        latest = max(
            (known[name].ended for known in (self.receipts, self.failures, self.forgotten)
             if name in known), default=0.0,
        )  # fmt: skip
        if kind == "begun":
            if name not in self.begun or self.begun[name].ended <= entry.ended:
                self.begun[name] = entry
            return
        if entry.ended < latest:
            return
        if kind == "failed":
            self.failures[name] = entry  # an earlier receipt, of what could be read, stays
            return
        self.failures.pop(name, None)
        self.receipts.pop(name, None)
        self.forgotten.pop(name, None)
        (self.receipts if kind == "task" else self.forgotten)[name] = entry

    def _read_old_files(self) -> None:
        for folder, _, names in os.walk(self.directory):
            for name in names:
                if name.endswith(_OLD) and not name.startswith("."):
                    self.old_files.append(Path(folder, name))
        for path in sorted(self.old_files):
            name = path.relative_to(self.directory).as_posix().removesuffix(_OLD)
            try:
                value, ended = read_object(path), path.stat().st_mtime
                cpu_seconds = float(value.get("cpu_seconds", 0.0))
            except FileNotFoundError:
                continue  # it was folded just now; the table has it next time
            except (DataError, TypeError, ValueError) as error:
                raise DataError(f"{error}. Delete this receipt to redo its shard.") from None
            line = _line(_from_old(value, name, ended, path.parent, self.directory)).encode()
            self._put("task", name, Entry(ended, line, cpu_seconds, str(path)))

    def receipt(self, name: str) -> dict[str, Any] | None:
        """Return the receipt of a task, or None.

        Raises:
            DataError: If it is one of an earlier version and damaged.
        """
        entry = self.receipts.get(name)
        if entry is None:
            return None
        receipt: dict[str, Any] = json.loads(entry.line)
        if entry.file.endswith(_OLD):
            try:
                _check_receipt(receipt)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise DataError(
                    f"{entry.file} is a damaged receipt: {error}. Delete it to redo its shard."
                ) from None
        try:
            for key in ("config", "versions"):
                if isinstance(receipt.get(key), str):
                    receipt[key] = self.values[receipt[key]]
            receipt["inputs"] = [
                self.values[one] if isinstance(one, str) else one for one in receipt["inputs"]
            ]
        except KeyError:  # the line with the value was lost
            return None
        return receipt

    def counts(self, name: str) -> dict[str, int]:
        """Return what a finished task counted.

        Raises:
            DataError: If that is not numbers.
        """
        entry = self.receipts[name]
        counts = json.loads(entry.line).get("counts", {})
        if not isinstance(counts, dict) or not all(
            isinstance(value, int | float) and not isinstance(value, bool)
            for value in counts.values()
        ):
            raise DataError(
                f"{self.place(name)} is not a receipt: it has no object `counts` of numbers"
            )
        return counts

    def place(self, name: str) -> str:
        """Return where a task's receipt is, for messages."""
        entry = self.receipts[name]
        if entry.file.endswith(_OLD):
            return entry.file
        return f"the receipt of `{name}` in {self.directory / entry.file}"

    def lines(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yield the lines of a table that holds these files' entries, and no others."""
        files = set(names)
        for digest, value in sorted(self.values.items()):
            yield _line({"value": digest, "is": value}).encode()
        if self.run:
            run = {key: value for key, value in self.run.items() if key != "ended"}
            yield _line({"run": run, "ended": self.run["ended"]}).encode()
        for known in (self.receipts, self.failures, self.forgotten):
            for _, entry in sorted(known.items()):
                if entry.file in files:
                    yield entry.line


def _from_old(
    value: dict[str, Any], name: str, ended: float, folder: Path, directory: Path
) -> dict[str, Any]:
    """Return a receipt as it is now; its outputs were named as seen from its file."""
    outputs, digests = value.get("outputs"), value.get("digests", {})
    if isinstance(outputs, list) and isinstance(digests, dict):
        start = os.path.relpath(folder, directory.parent.parent)
        value["outputs"] = {
            os.path.normpath(Path(start, str(one))): str(digests.get(one, "")) for one in outputs
        }
        value.pop("digests", None)
    value.pop("task", None)
    return {"task": name, "ended": round(ended, 3), **value}


def _check_receipt(value: dict[str, Any]) -> None:
    """Raise ValueError if a receipt lacks what is needed of it."""
    for key, kind in (
        ("arguments", dict), ("inputs", list), ("counts", dict), ("outputs", dict), ("problem", str)
    ):  # fmt: skip
        if not isinstance(value.get(key), kind):
            raise ValueError(f"`{key}` is {'damaged' if key in value else 'missing'}")
    for one in value["inputs"]:
        if not isinstance(one, str) and not (
            isinstance(one, dict) and {"path", "bytes"} <= one.keys()
        ):
            raise ValueError("`inputs` holds what is not a file")


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _log_sizes(directory: Path) -> dict[str, int]:
    """Return the logs of a job, without the table, and their sizes."""
    try:
        with os.scandir(directory) as found:
            return {
                one.name: one.stat().st_size
                for one in found
                if one.name.endswith(_SUFFIX) and one.name != TABLE and one.name[0] != "."
            }
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _signature(file: Path) -> tuple[int, ...]:
    try:
        stat = os.stat(file)  # noqa: PTH116 - a third of the time of Path.stat
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@functools.cache
def _log_name(process: int, domain: str = "", segment: int = 0) -> str:
    """Return the name of this process's logs; `process` is its number, which a fork changes."""
    told = f"{process}.{domain}.{segment}" if domain else str(process)
    return f"{machine()}~{told}~{time.time_ns()}{_SUFFIX}"


def _log_path(directory: Path) -> Path:
    """Return the log of this process: in an object store, the last that is not full."""
    domain = stores.domain(directory)
    segment = 0
    while True:
        path = directory / _log_name(os.getpid(), domain, segment)
        if not domain or not path.exists() or path.stat().st_size < _LOG_BYTES:
            return path
        segment += 1


def is_of(log: str, domain: str) -> bool:
    """Return whether a process of a scratch space writes a log of that name."""
    parts = log.split("~")
    return len(parts) == 3 and parts[1].split(".")[1:2] == [domain]


def machine() -> str:
    """Return the name of this machine, as logs hold it."""
    return platform.node().replace("/", "_").replace("~", "_") or "machine"


def machine_of(log: str) -> str:
    """Return the machine whose process writes a log of that name."""
    return log.split("~")[0]


def started_at(log: str) -> float:
    """Return the Unix time at which the process began a log of that name."""
    return int(log.removesuffix(_SUFFIX).rpartition("~")[2]) / 1e9


_written: dict[Path, set[str]] = {}
"""Digests of the values in this process's logs."""


class LogWriter:
    """This process's log of a job, open for appending; and locks of tasks, until it is closed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = _log_path(directory)
        self._locks = LockFile(directory / LOCK)
        self._claims = Claims(directory, self._path.name)
        self._descriptor = -1
        self._pending: list[str] = []
        self._outputs: set[Path] = set()
        self._since = 0.0

    def __enter__(self) -> "LogWriter":
        self._locks.__enter__()
        self._locks.take(self._path.name, wait=True)  # who folds logs leaves this one alone
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            self.commit()
        except OSError:
            if error is None:  # what interrupts stays the reason, though the disk be full
                raise
        finally:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._locks.__exit__()
            self._claims.release()

    def lock(self, task: str) -> bool:
        """Take a task's lock, which is held until this is closed; return whether it was free."""
        return self._locks.take(task) and self._claims.take(task)

    def renewing(self) -> contextlib.AbstractContextManager[None]:
        """Keep the locks during the block, however long it takes."""
        return self._claims.renewing()

    def begin(self, task: str) -> None:
        """Say at once, for `tongues status`, that this process does a task."""
        self._write(_line({"begun": task, "ended": now()}))

    def add(self, line: dict[str, Any], values: Sequence[Value] = ()) -> None:
        """Add a line, and what it names by digest; it is written soon."""
        if self._descriptor < 0:
            self._open()
        known = _written.setdefault(self._path, set())
        for value in values:
            if value.digest not in known:
                self._pending.append(_line({"value": value.digest, "is": value.value}))
                known.add(value.digest)
        self._since = self._since or time.monotonic()
        self._pending.append(_line(line))

    def note_outputs(self, outputs: Iterable[Path]) -> None:
        """Have the names of files reach the disk before the lines that are to be written."""
        self._outputs.update(output.parent for output in outputs)

    def commit_if_due(self) -> None:
        """Write the lines if the first of them has waited for long enough."""
        if self._pending and time.monotonic() - self._since >= _COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write the lines, so that a power cut does not lose them."""
        if not self._pending:
            return
        for folder in self._outputs:
            _synchronize(folder)
        text = "".join(self._pending)
        self._pending, self._since = [], 0.0
        self._outputs.clear()
        self._write(text)
        os.fsync(self._descriptor)
        stores.publish(self._path)

    def _write(self, text: str) -> None:
        if self._descriptor < 0:
            self._open()
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _open(self) -> None:
        is_new = not self._path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o666)
        if is_new:
            _written.pop(self._path, None)
            _synchronize(self._directory)
        else:
            size = os.fstat(self._descriptor).st_size
            if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                os.write(self._descriptor, b"\n")  # after a line that a full disk cut off


def now() -> float:
    """Return the Unix time as logs hold it."""
    return round(time.time(), 3)


def _synchronize(folder: Path) -> None:
    """Have the names in a directory reach the disk, where its file system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def fold(directory: Path) -> None:
    """Merge the logs of a job into its table, but those that processes are writing to."""
    logs = _log_sizes(directory)
    if not (logs or _has_old_files(directory)) or not os.access(directory, os.W_OK):
        return
    claims = Claims(directory, "")
    with LockFile(directory / LOCK) as locks:
        locks.take(_FOLDING, wait=True)
        if not claims.take(_FOLDING):
            return  # another machine folds
        try:
            pull_logs(directory)
            silent = _silent_logs(directory)
            ended = [
                name
                for name in _log_sizes(directory)
                if (silent is None or name in silent) and locks.take(name)
            ]
            known = JobLog(directory).refresh()
            files = {TABLE, *ended, *map(str, known.old_files)}
            make_directory(directory)
            with atomic_path(directory / TABLE) as temporary, temporary.open("wb") as file:
                file.writelines(known.lines(files))
            _synchronize(directory)
            stores.publish(directory / TABLE)
            for name in ended:
                stores.remove(directory / name)
        finally:
            claims.release()
        for path in known.old_files:
            path.unlink(missing_ok=True)
        for parent in sorted({path.parent for path in known.old_files}, reverse=True):
            with contextlib.suppress(OSError):  # not empty, or `directory`, which has the table
                parent.rmdir()


def _silent_logs(directory: Path) -> set[str] | None:
    """Return the logs of a job in a store that processes of other scratch space do not write to.

    None where locks tell.
    """
    place = stores.place_of(directory)
    if place is None:
        return None
    domain = stores.domain(directory)
    return {
        name
        for name, entry in place.file.entries().items()
        if is_of(name, domain) or time.time() - (entry["changed"] or 0.0) > CLAIM_SECONDS
    } | {name for name in _log_sizes(directory) if is_of(name, domain)}


def pull_logs(directory: Path) -> None:
    """Fetch what processes of other scratch space wrote about a job in a store."""
    place = stores.place_of(directory)
    if place is None:
        return
    place.store.listed.pop(place.name, None)
    there = place.store.entries(place.name)
    domain = stores.domain(directory)
    others = [
        name
        for name in {*there, *_log_sizes(directory)}
        if name.endswith(_SUFFIX) and name != TABLE and not is_of(name, domain)
    ]
    for name in others:
        if name in there:
            with contextlib.suppress(MissingFileError):  # it was folded just now
                stores.fetch_changed(directory / name)
    # After the logs: what is folded meanwhile is then in the table.
    if TABLE in there:
        stores.fetch_changed(directory / TABLE)
    else:
        (directory / TABLE).unlink(missing_ok=True)
    for name in others:
        if name not in there:
            (directory / name).unlink(missing_ok=True)


def push_logs(directory: Path) -> None:
    """Upload what killed processes of this scratch space did not."""
    if stores.place_of(directory) is None:
        return
    domain = stores.domain(directory)
    with LockFile(directory / LOCK) as locks:
        for name in _log_sizes(directory):
            if is_of(name, domain) and locks.take(name):
                stores.publish(directory / name)


def has_many_logs(directory: Path) -> bool:
    """Return whether reading the logs takes much longer than reading a table would."""
    return len(_log_sizes(directory)) > _MANY_LOGS


def _has_old_files(directory: Path) -> bool:
    return any(
        name.endswith(_OLD) and not name.startswith(".")
        for _, _, names in os.walk(directory)
        for name in names
    )


_read: dict[Path, JobLog] = {}


def read_log(directory: Path) -> JobLog:
    """Return what is recorded of a job now; a process reads only what was added since before."""
    pull_logs(directory)
    return _known(_read, directory, None).refresh()


_read_since: dict[Path, JobLog] = {}


def read_log_since(directory: Path, mark: Mark) -> JobLog:
    """Return what is recorded of a job after a mark that another process made."""
    pull_logs(directory)
    return _known(_read_since, directory, mark).refresh()


def _known(logs: dict[Path, JobLog], directory: Path, mark: Mark | None) -> JobLog:
    log = logs.setdefault(directory.absolute(), JobLog(directory, mark))
    log.directory = directory  # as it is called now, in this working directory
    return log
