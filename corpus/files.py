r"""Reading and writing files: atomic writes, lines that end at `\n` only, checksums."""

import codecs
import contextlib
import errno
import functools
import gzip
import hashlib
import io
import json
import logging
import lzma
import os
import platform
import shutil
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import zstandard

from corpus.errors import DataError, UserError

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_MAX_NAME_BYTES = 255
"""Of a file's name, on the usual file systems."""
_KEPT_CHARACTERS = 16
MAX_LINE_BYTES = 64 << 20
"""A longer line is an error: its reader would have to hold it whole."""

_MAX_WHOLE_BYTES = 1 << 30
_PIECE_BYTES = 1 << 20
_OBJECT_BYTES = 64
ZSTANDARD_PIECE_BYTES = 512
"""Compressed bytes to decompress at a time. A block of 4 bytes can hold 128 KiB, so a piece gives
at most 16 MiB."""

_XZ_BYTES = 256 << 20
"""What unpacking xz may take; `xz -9` takes 65 MiB."""

READ_ERRORS = (EOFError, zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError)
"""What reading a damaged compressed file raises."""

_OTHER_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_COMPRESSIONS = (
    (b"\x1f\x8b\x08", "gzip; unpack it, or let its name end in .gz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard; unpack it, or let its name end in .zst"),
    (b"\xfd7zXZ\0", "xz; unpack it, or let its name end in .xz"),
    (b"PK\x03\x04", "a zip archive, or made of one as .xlsx and .docx are; unpack it"),
    (b"BZh91AY&SY", "bzip2; unpack it"),
)
"""How compressed data begins, and what to do with it where text is expected."""
_FORGOTTEN_SECONDS = 3600.0
_LEFTOVER_PARTS = 4
"""`.tmp`, machine, process and name."""
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


def remove_leftovers(directory: Path, *, is_deep: bool) -> None:
    """Remove temporary files in a directory that killed processes left, not those of running ones.

    Whether a process of another machine lives cannot be seen; its files go when nothing was
    written to them for an hour.

    Args:
        directory: Where the outputs of a job go.
        is_deep: Whether its folders are the job's too.
    """
    for folder, folders, names in os.walk(directory):
        if not is_deep:
            folders.clear()
        for name in names:
            parts = name.split("~", 3)
            process = parts[2].split(".")[0] if len(parts) == _LEFTOVER_PARTS else ""
            if parts[0] != ".tmp" or not process.isdecimal():
                continue
            left = Path(folder, name)
            # What this process may be writing itself stays as well.
            is_own = int(process) == os.getpid() and parts[1] == platform.node()
            with contextlib.suppress(FileNotFoundError):
                is_live = is_own and _ran_already(os.getpid(), left.stat().st_mtime)
                if not is_live and not _may_be_written(left, parts[1], int(process)):
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
    """Return whether a process is running that may have started before a given Unix time.

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
    """Remove the intermediate files of a job, and the directory above if it is empty."""
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
    """Read a JSON file; a byte order mark is ignored.

    Raises:
        DataError: If the file is missing, larger than 1 GiB, or not JSON.
    """
    try:
        data = _read_whole(path)
        check_encoding(data, path)
        return json.loads(data.removeprefix(codecs.BOM_UTF8).decode("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (IsADirectoryError, NotADirectoryError):
        raise DataError(f"{path} is not a file") from None
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}") from None
    except RecursionError:
        raise DataError(f"{path} is not read: its JSON is nested too deeply") from None


def read_object(path: Path, **kinds: type) -> dict[str, Any]:
    """Read a JSON object that has some keys with values of some types.

    Raises:
        DataError: As `read_json`, or if it is something else, or a value is missing or of another
            type.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a {type(value).__name__}, not a JSON object; it is damaged")
    for key, kind in kinds.items():
        if not isinstance(value.get(key), kind):
            found = repr(value[key])[:80] if key in value else "missing"
            raise DataError(
                f"{path}: `{key}` is {found}, and a {kind.__name__} is needed; the file is damaged"
            )
    return value


def read_text(path: Path) -> str:
    """Read a small UTF-8 text file whole; a byte order mark is dropped.

    Raises:
        DataError: If the file is missing, larger than 1 GiB, or not UTF-8.
    """
    try:
        data = _read_whole(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    check_encoding(data, path)
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error.reason} at byte {error.start:,}") from None


def _read_whole(path: Path) -> bytes:
    data = bytearray()
    with path.open("rb") as file:
        # In pieces: a read of the most there may be takes as much memory at once.
        while piece := file.read(_PIECE_BYTES):
            data += piece
            if len(data) > _MAX_WHOLE_BYTES:
                raise DataError(
                    f"{path} is larger than {_MAX_WHOLE_BYTES:,} bytes and is read whole"
                )
    return bytes(data)


def check_encoding(start: bytes, name: object) -> None:
    """Refuse text that begins as UTF-16 or UTF-32 does, or as compressed data.

    The former begin with a byte order mark and hold zero bytes.

    Raises:
        DataError: Naming the text and what it is.
    """
    for magic, what in _COMPRESSIONS:
        if start.startswith(magic):
            raise DataError(f"{name} is no text but {what}")
    for mark, encoding in _OTHER_ENCODINGS:
        if start.startswith(mark) and 0 in start[:_CHUNK_BYTES]:
            raise DataError(f"{name} is {encoding}; convert it to UTF-8")


def check_only_line(line: bytes, name: object) -> None:
    """Refuse a text of one line that has carriage returns inside: those end its lines.

    Raises:
        DataError: Naming the text.
    """
    if b"\r" in line[:-1]:
        raise DataError(
            f"{name}: its lines end in carriage returns alone (\\r); convert them to \\n, as with"
            " `tr '\\r' '\\n'`"
        )


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
    """Open a file for reading (`rb`) or writing (`wb`) of plain bytes.

    Plain, `.gz` or `.zst`; `.xz` for reading.
    """
    if mode == "rb" and not path.exists():
        raise UserError(f"{path} does not exist")
    with path.open(mode) as raw:
        if mode == "rb":
            with unpacked(raw, path.suffix) as stream:
                yield stream
        elif path.suffix == ".gz":
            # No name and no time in the header, so that equal content gives equal bytes.
            with gzip.GzipFile(filename="", fileobj=raw, mode=mode, mtime=0) as compressed:
                yield compressed  # type: ignore[misc]
        elif path.suffix == ".zst":
            with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as writer:
                yield writer
        else:
            yield raw


@contextmanager
def unpacked(raw: IO[bytes], suffix: str) -> Iterator[IO[bytes]]:
    """Open the plain bytes of a stream that is compressed as the suffix of its name says."""
    if suffix == ".gz":
        with gzip.GzipFile(fileobj=raw, mode="rb") as compressed:
            yield compressed  # type: ignore[misc]
    elif suffix in (".zst", ".xz"):
        kind = _ZstandardReader if suffix == ".zst" else _XzReader
        with io.BufferedReader(kind(raw), _CHUNK_BYTES) as stream:
            yield stream
    else:
        yield raw


class _XzReader(io.RawIOBase):
    """Plain bytes of an xz file, whose window is bounded; the standard library's has no bound."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._decompressor = _new_xz_decompressor()
        self._inside = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            compressed = b""
            if self._decompressor.eof:  # streams follow each other, with zero bytes between
                compressed = self._decompressor.unused_data.lstrip(b"\0") or self._raw.read(
                    _PIECE_BYTES
                ).lstrip(b"\0")
                if not compressed:
                    return 0
                self._decompressor = _new_xz_decompressor()
            elif self._decompressor.needs_input:
                compressed = self._raw.read(_PIECE_BYTES)
                if not compressed:
                    if not self._inside:
                        return 0
                    raise EOFError("the file ends inside an xz stream; it is truncated")
            self._inside = True
            plain = self._decompressor.decompress(compressed, len(buffer))
            if plain:
                buffer[: len(plain)] = plain
                return len(plain)


def _new_xz_decompressor() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_BYTES)


class _ZstandardReader(io.RawIOBase):
    """Plain bytes of a Zstandard file; raises EOFError where the file ends inside a frame.

    `zstandard.stream_reader` ends there silently, so that a truncated file reads as a shorter one.
    Frames follow each other, skippable ones included, as pzstd and seekable Zstandard write them.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._decompressor = zstandard.ZstdDecompressor().decompressobj()
        self._compressed = b""
        self._plain = memoryview(b"")
        self._inside_frame = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            if self._decompressor.eof:
                self._compressed = self._decompressor.unused_data
                self._decompressor = zstandard.ZstdDecompressor().decompressobj()
            # Little at a time: see `ZSTANDARD_PIECE_BYTES`.
            self._compressed = self._compressed or self._raw.read(ZSTANDARD_PIECE_BYTES)
            if not self._compressed:
                if self._inside_frame:
                    raise EOFError("the file ends inside a Zstandard frame; it is truncated")
                return 0
            self._plain = memoryview(self._decompressor.decompress(self._compressed))
            self._compressed = b""
            self._inside_frame = not self._decompressor.eof
        count = min(len(buffer), len(self._plain))
        buffer[:count] = self._plain[:count]
        self._plain = self._plain[count:]
        return count


class Lines:
    r"""The lines of a byte stream as text, ended by `\n` only, read as they come.

    Invalid UTF-8 becomes U+FFFD and is counted, never raised; a `\r` before the end is dropped, as
    is a byte order mark at the beginning. U+2028, U+0085 and form feeds are text, where
    `str.splitlines` would shift every line after. Memory is bounded: a line has at most
    `MAX_LINE_BYTES`.

    Attributes:
        invalid_lines: Lines so far that were not valid UTF-8.

    Raises:
        DataError: While iterating, if a line is longer, the text is UTF-16, UTF-32 or compressed,
            or all of it is one line with `\r` inside.
    """

    def __init__(
        self,
        stream: BinaryIO | IO[bytes],
        name: str | Path = "standard input",
        *,
        is_start: bool = True,
    ) -> None:
        """Take a stream, its name for messages, and whether it is at the beginning of its file."""
        self._stream = stream
        self._name = name
        self._is_start = is_start
        self.invalid_lines = 0

    def __iter__(self) -> Iterator[str]:
        number = 0
        while raw := self._stream.readline(MAX_LINE_BYTES):
            number += 1
            if number == 1 and self._is_start:
                check_encoding(raw, self._name)
                raw = raw.removeprefix(codecs.BOM_UTF8)
                if not raw.endswith(b"\n"):
                    check_only_line(raw, self._name)
            if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
                raise DataError(
                    f"{self._name}:{number}: the line is longer than {MAX_LINE_BYTES:,} bytes"
                )
            line = raw.removesuffix(b"\n").removesuffix(b"\r")
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError:
                self.invalid_lines += 1
                yield line.decode("utf-8", "replace")

    def read_all(self) -> list[str]:
        """Return all lines.

        Raises:
            DataError: Also if they have more than 1 GiB as Python strings.
        """
        lines: list[str] = []
        room = _MAX_WHOLE_BYTES
        for line in self:
            room -= len(line) + _OBJECT_BYTES
            if room < 0:
                raise DataError(
                    f"{self._name} is too large to be read whole: its first {len(lines):,} lines"
                    f" take {_MAX_WHOLE_BYTES:,} bytes"
                )
            lines.append(line)
        return lines


def open_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, plain, `.gz`, `.zst` or `.xz`; see `Lines` for what a line is.

    Raises:
        UserError: If the file does not exist.
        DataError: If it is compressed and damaged, is not UTF-8 by its byte order mark, or holds a
            line longer than `MAX_LINE_BYTES`.
    """
    with lines_of_file(path) as lines:
        yield from lines


@contextmanager
def lines_of_file(path: Path) -> Iterator[Lines]:
    """Open a text file; see `open_lines`, whose errors it raises within the block as well."""
    try:
        with open_binary(path) as stream:
            lines = Lines(stream, path)
            yield lines
            if lines.invalid_lines:
                warn_of_invalid(str(path), lines.invalid_lines)
    except READ_ERRORS as error:
        raise DataError(f"{path} cannot be read: {error}") from error


@functools.cache
def warn_of_invalid(name: str, invalid_lines: int) -> None:
    """Warn, once, that text was not all UTF-8."""
    logger.warning(
        "%s: %s lines are not valid UTF-8; their invalid bytes were read as U+FFFD",
        name,
        f"{invalid_lines:,}",
    )


def read_lines(path: Path) -> list[str]:
    """Read all lines of a text file; see `open_lines`.

    Raises:
        DataError: Also if it holds more than 1 GiB, unpacked and as Python strings.
    """
    with lines_of_file(path) as lines:
        return lines.read_all()


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
