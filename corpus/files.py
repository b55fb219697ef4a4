r"""Reading and writing files: whole or not at all, lines that end at `\n` only, checksums."""

import codecs
import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import zstandard

from corpus.errors import DataError, UserError

_CHUNK_BYTES = 1 << 20
_MAX_NAME_BYTES = 255
"""Of a file's name, on the usual file systems."""
_KEPT_CHARACTERS = 16
_FORGOTTEN_SECONDS = 3600.0
_CLOCK_SLACK_SECONDS = 5.0


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block succeeds.

    A reader never sees a half-written file: the data are flushed to disk before the rename, and a
    block that raises leaves `path` as it was and removes the temporary file. The directory is made.
    """
    make_directory(path.parent)
    temporary = temporary_path(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(path: Path, part: str = "") -> Path:
    """Return a path beside `path` that no other process uses, on any machine; `part` tells parts.

    The suffixes stay last, since writers choose compression by them.
    """
    start = f".tmp~{platform.node()}~{os.getpid()}.{part}~"
    return path.with_name(start + _shortened(path.name, len(os.fsencode(start))))


def _shortened(name: str, taken: int) -> str:
    """Return a name to which `taken` bytes can be added; a long one keeps its end and a digest."""
    if len(os.fsencode(name)) + taken <= _MAX_NAME_BYTES:
        return name
    digest = hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()
    return digest + name[-_KEPT_CHARACTERS:]


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of `path` that killed processes left, not those of live ones.

    Whether a process of another machine lives cannot be seen; its files go when nothing was
    written to them for an hour.
    """
    for left in path.parent.glob(".tmp~*~*~*"):
        _, node, process, name = left.name.split("~", 3)
        start = len(os.fsencode(left.name)) - len(os.fsencode(name))
        if name == _shortened(path.name, start) and not _may_be_written(
            left, node, int(process.split(".")[0])
        ):
            left.unlink(missing_ok=True)


def _may_be_written(temporary: Path, node: str, process: int) -> bool:
    try:
        written = temporary.stat().st_mtime
    except FileNotFoundError:
        return False
    if node != platform.node():
        return time.time() - written < _FORGOTTEN_SECONDS
    return process != os.getpid() and _ran_already(process, written)


def _ran_already(process: int, moment: float) -> bool:
    """Return whether a process is running that may have begun before a moment in Unix time.

    In containers the first process often does not collect the dead, which then keep their numbers
    as zombies for good; and a restarted container gives the same small numbers to others.
    """
    try:
        os.kill(process, 0)  # sends nothing; asks whether there is such a process
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        # The name, in parentheses, may hold spaces.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self/stat").exists()  # not Linux: what `kill` said holds
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    began = booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return fields[0] not in "ZX" and began < moment + _CLOCK_SLACK_SECONDS


def make_directory(path: Path) -> None:
    """Make a directory and those above it.

    Raises:
        UserError: If that is not possible there: a file in the way, no permission, no such disk.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UserError(
            f"the directory {path} cannot be made: {error.strerror}. Choose another output."
        ) from error


def remove_parts(folder: Path) -> None:
    """Remove what only a job's last step needed, and the directory above when that is empty."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # another output's parts are still there
        folder.parent.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a byte order mark at its start is skipped.

    Raises:
        DataError: If the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (IsADirectoryError, NotADirectoryError):
        raise DataError(f"{path} is not a file") from None
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}") from None
    except RecursionError:
        raise DataError(f"{path} is not read: its JSON is nested too deeply") from None


def write_lines(path: Path, lines: Iterable[str]) -> int:
    r"""Write lines as UTF-8, each ended by `\n`, compressed by suffix; return how many.

    Raises:
        ValueError: If a line contains `\n`, which would shift every line after it.
    """
    count = 0
    with atomic_path(path) as temporary, open_binary(temporary, "wb") as file:
        for line in lines:
            if "\n" in line:
                raise ValueError(f"line {count + 1} for {path} contains a newline: {line[:80]!r}")
            file.write(line.encode("utf-8", "replace") + b"\n")
            count += 1
    return count


@contextmanager
def open_binary(path: Path, mode: str = "rb") -> Iterator[IO[bytes]]:
    """Open a plain, `.gz` or `.zst` file for reading (`rb`) or writing (`wb`) of plain bytes."""
    if mode == "rb" and not path.exists():
        raise UserError(f"{path} does not exist")
    with path.open(mode) as raw:
        if path.suffix == ".gz":
            # No name and no time in the header, so that equal content gives equal bytes.
            with gzip.GzipFile(filename="", fileobj=raw, mode=mode, mtime=0) as compressed:
                yield compressed  # type: ignore[misc]
        elif path.suffix == ".zst" and mode == "rb":
            with io.BufferedReader(_ZstandardReader(raw), _CHUNK_BYTES) as stream:
                yield stream
        elif path.suffix == ".zst":
            with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as writer:
                yield writer
        else:
            yield raw


class _ZstandardReader(io.RawIOBase):
    """Plain bytes of a Zstandard file; raises EOFError where the file ends inside a frame.

    `zstandard.stream_reader` ends there without a word, so that a truncated file reads as a
    shorter one.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._decompressor = zstandard.ZstdDecompressor().decompressobj()
        self._compressed = b""
        self._plain = b""
        self._inside_frame = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            if self._decompressor.eof:
                self._compressed = self._decompressor.unused_data
                self._decompressor = zstandard.ZstdDecompressor().decompressobj()
            self._compressed = self._compressed or self._raw.read(_CHUNK_BYTES)
            if not self._compressed:
                if self._inside_frame:
                    raise EOFError("the file ends inside a Zstandard frame; it is truncated")
                return 0
            self._plain = self._decompressor.decompress(self._compressed)
            self._compressed = b""
            self._inside_frame = not self._decompressor.eof
        count = min(len(buffer), len(self._plain))
        buffer[:count] = self._plain[:count]
        self._plain = self._plain[count:]
        return count


class Lines:
    r"""The lines of a byte stream as text, ended by `\n` only, read as they come.

    Invalid UTF-8 becomes U+FFFD and is counted, never raised; a `\r` before the end and a byte
    order mark at the start are dropped.
    U+2028, U+0085 and form feeds are text, where `str.splitlines` would shift every line after.

    Attributes:
        invalid_lines: Lines so far that were not valid UTF-8.
    """

    def __init__(self, stream: BinaryIO | IO[bytes]) -> None:
        self._stream = stream
        self.invalid_lines = 0

    def __iter__(self) -> Iterator[str]:
        for number, raw in enumerate(self._stream):
            line = raw.removesuffix(b"\n").removesuffix(b"\r")
            if not number:
                line = line.removeprefix(codecs.BOM_UTF8)
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError:
                self.invalid_lines += 1
                yield line.decode("utf-8", "replace")


def open_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, plain, `.gz` or `.zst`; see `Lines` for what a line is.

    Raises:
        UserError: If the file does not exist.
        DataError: If it is compressed and damaged.
    """
    try:
        with open_binary(path) as stream:
            yield from Lines(stream)
    except (EOFError, gzip.BadGzipFile, zstandard.ZstdError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def read_lines(path: Path) -> list[str]:
    """Read all lines of a text file; see `open_lines`."""
    return list(open_lines(path))


def digest_file(path: Path) -> str:
    """Return the BLAKE2b-128 digest of a file's content, in hex."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def stdin_lines() -> Lines:
    """Return the lines of standard input."""
    return Lines(sys.stdin.buffer)
