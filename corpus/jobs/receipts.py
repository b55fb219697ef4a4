"""Receipts: what a finished shard was made from, and whether it is still the same."""

import functools
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus.config import with_defaults, without_execution
from corpus.errors import DataError, UserError
from corpus.files import digest_file, make_directory, read_object, write_json
from corpus.jobs.tasks import Task
from corpus.remote import RemoteFile


def describe_input(file: Path | RemoteFile) -> dict[str, Any]:
    """Return a receipt's entry for an input file.

    Raises:
        DataError: If the file is not there.
    """
    if isinstance(file, RemoteFile):
        return file.describe()
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


def read_receipt(path: Path) -> dict[str, Any]:
    """Read a receipt; those of earlier versions have no digests.

    Raises:
        DataError: If it is damaged.
    """
    try:
        receipt = read_object(
            path, arguments=dict, inputs=list, counts=dict, outputs=list, problem=str
        )
        receipt.setdefault("digests", {})
        if not isinstance(receipt["digests"], dict):
            raise DataError(f"{path}: `digests` is not an object; the file is damaged")
        files = receipt["inputs"]
        if not all(isinstance(one, dict) and {"path", "bytes"} <= one.keys() for one in files):
            raise DataError(f"{path}: `inputs` holds what is not a file; it is damaged")
    except DataError as error:
        raise DataError(f"{error}. Delete this receipt to redo its shard.") from None
    return receipt


def recall_digests(receipts: Path) -> None:
    """Take the digests of input files from the receipts of a job, if there are any.

    This process then reads those files again only if their size or time of change is another, as
    `is_done` does.
    """
    for path in receipts.rglob("*.json"):
        for record in read_receipt(path)["inputs"]:
            if "modified_ns" in record:
                key = record["path"], record["bytes"], record["modified_ns"]
                _known_digests[key] = record["blake2b"]


_known_digests: dict[tuple[str, int, int], str] = {}


@functools.lru_cache(maxsize=4096)
def _digest_once(file: Path, *state: int) -> str:
    """Return a file's digest; a model that all shards depend on is read once per process."""
    return digest_file(file)


def write_receipt(
    path: Path,
    *,
    task: str,
    arguments: Mapping[str, Any],
    inputs: list[dict[str, Any]],
    config: Any,
    counts: Mapping[str, int],
    outputs: Sequence[Path],
    problem: str,
    seconds: float,
    cpu_seconds: float,
) -> None:
    """Write the receipt of a finished shard, with the digests of its outputs.

    Outputs are named as seen from the receipt, so that a directory can be moved as a whole and
    still be found done.
    """
    start = path.parent.resolve()
    make_directory(start)
    named = {os.path.relpath(output.resolve(), start): output for output in outputs}
    write_json(
        path,
        {
            "task": task,
            "arguments": dict(arguments),
            "inputs": inputs,
            "config": config,
            "versions": _versions(),
            "counts": dict(counts),
            "outputs": list(named),
            "digests": {
                name: digest_file(output) for name, output in named.items() if output.is_file()
            },
            "problem": problem,
            "seconds": round(seconds, 3),
            "cpu_seconds": round(cpu_seconds, 3),
        },
    )


def is_done(
    path: Path,
    *,
    arguments: Mapping[str, Any],
    inputs: Sequence[Path | RemoteFile],
    config: Any,
    shape: Any = None,
) -> bool:
    """Whether a receipt is there, matches, reports no damage, and its outputs exist.

    Args:
        path: The receipt.
        arguments: Of the task.
        inputs: Its files.
        config: Plain values of the config.
        shape: The dataclass they come from. Keys that the receipt lacks have their defaults: it is
            of a version that did not know them.

    Raises:
        UserError: If it was made from other inputs, arguments or config; both are named.
        DataError: If an input that it names is gone.
    """
    if not path.exists():
        return False
    receipt = read_receipt(path)
    if receipt["problem"]:  # the shard is redone whatever its input is now: it may have been fixed
        return False
    for key, value in {"config": config, "argument": dict(arguments)}.items():
        recorded = receipt.get("config" if key == "config" else "arguments")
        if key == "config":
            recorded = without_execution(shape, with_defaults(shape, recorded))
        current = json.loads(json.dumps(value))
        if recorded != current:
            raise UserError(
                f"{path} was made with another {key}: {differences(recorded, current)}."
                " Choose another output, or delete the receipt to redo this shard."
            )
    _check_inputs(path, receipt["inputs"], inputs)
    return all((path.parent / output).exists() for output in receipt["outputs"])


def check_digests(files: Iterable[Path], receipts: Iterable[Path]) -> None:
    """Refuse files whose content differs from the receipts of the jobs that wrote them.

    Files that none of the receipts names were made elsewhere, and pass.

    Args:
        files: What is about to be read.
        receipts: Receipts of the tasks that wrote them; those that do not exist are left out.

    Raises:
        DataError: Naming the first such file, with both digests.
    """
    recorded = {
        (receipt.parent / name).resolve(): (digest, receipt)
        for receipt in receipts
        if receipt.is_file()
        for name, digest in read_receipt(receipt)["digests"].items()
    }
    for file in files:
        digest, receipt = recorded.get(file.resolve(), ("", file))
        if not digest or not file.is_file():
            continue
        stat = file.stat()
        found = _digest_once(file, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if found != digest:
            raise DataError(
                f"{file} is damaged or was changed: its digest is {found}, and {receipt} records"
                f" {digest}. Delete the file and rerun the command that made it."
            )


def forget_outdated(receipts: Path, tasks: Sequence[Task], *, keep_others: bool) -> None:
    """Delete files and receipts that tasks made from inputs other than the current ones.

    For a command's own intermediate files: unlike with the user's inputs, more or other ones are
    not an error.

    Args:
        receipts: Directory of the job's receipts.
        tasks: The tasks as they are now.
        keep_others: Whether what none of the tasks made stays.
    """
    current = {f"{task.name}.json": task for task in tasks}
    for receipt in sorted(receipts.rglob("[!.]*.json")):
        task = current.get(receipt.relative_to(receipts).as_posix())
        if task is None and keep_others:
            continue
        try:
            if task is not None and is_done(
                receipt, arguments=task.arguments, inputs=task.inputs, config=None
            ):
                continue
        except (UserError, DataError):
            pass
        for name in read_receipt(receipt)["outputs"]:
            (receipt.parent / name).unlink(missing_ok=True)
        receipt.unlink()


def _check_inputs(
    path: Path, recorded: list[dict[str, Any]], inputs: Sequence[Path | RemoteFile]
) -> None:
    if len(recorded) != len(inputs):
        raise UserError(
            f"{path} was made from {len(recorded)} input files, and now there are {len(inputs)}."
            " Choose another output, or delete the receipt to redo this shard."
        )
    for record, file in zip(recorded, inputs, strict=True):
        if isinstance(file, RemoteFile):
            _check_remote_input(path, record, file)
            continue
        if not file.is_file():
            raise DataError(f"input {file} does not exist; {path} lists it as an input")
        stat = file.stat()
        if stat.st_size == record["bytes"] and stat.st_mtime_ns == record.get("modified_ns"):
            continue
        digest = digest_file(file)
        if digest != record.get("blake2b"):
            raise UserError(
                f"{path} was made from {record['path']} with digest {record.get('blake2b')}, and"
                f" {file} now has {digest}. Choose another output, or delete the receipt to redo"
                " this shard."
            )


def _check_remote_input(path: Path, record: dict[str, Any], file: RemoteFile) -> None:
    now = file.describe()
    # Not the URL: the same file may have another one, for instance with a new signature.
    for key in ("bytes", "version"):
        if record.get(key) != now[key]:
            raise UserError(
                f"{path} was made from {record['path']} with {key} {record.get(key)}, and {file}"
                f" now has {now[key]}. Choose another output, or delete the receipt to redo this"
                " shard."
            )


def differences(there: Any, here: Any, key: str = "") -> str:
    """Return every key in which two plain configs differ, with both values."""
    if isinstance(there, dict) and isinstance(here, dict):
        return "; ".join(
            differences(there.get(name), here.get(name), f"{key}.{name}" if key else str(name))
            for name in {**here, **there}
            if there.get(name) != here.get(name)
        )
    return f"`{key}` is {there!r} there and {here!r} now"


def _versions() -> dict[str, str]:
    try:
        version = importlib.metadata.version("tongues")
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    return {"tongues": version, "python": platform.python_version()}
