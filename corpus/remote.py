"""Files that are not on this machine, by URL, through fsspec (https://filesystem-spec.readthedocs.io).

`s3://`, `gs://`, `https://`, `hdfs://`, `memory://` and what else fsspec and its plug-ins know.
Access is set up as fsspec has it, by its configuration files or by environment variables such as
`FSSPEC_S3_ANON=true`. `file://` is a local path.

A file is read in ranges whose lengths are checked, and what may pass (a broken connection, a server
that is busy or says nothing, fewer bytes than it should be) is tried again with growing pauses.
"""

import datetime
import glob
import importlib
import io
import logging
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import unquote, urlsplit

from corpus.errors import DataError, UserError

logger = logging.getLogger(__name__)

T = TypeVar("T")

BLOCK_BYTES = 8 << 20
"""Of a file that are fetched at once."""

_WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Before each further attempt."""

_PASSING_STATUSES = (403, 408, 429)
"""Of those below 500, the HTTP statuses of servers that are asked too often."""

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]+::)*[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_CHAIN = "::"
_VERSIONS = (
    "ETag", "etag", "Content-MD5", "md5Hash", "crc32c", "version_id", "generation", "LastModified",
    "Last-Modified", "last_modified", "mtime", "modified", "created",
)  # fmt: skip
"""Names of file systems' version fields, the most reliable first."""

_CHANGES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
"""Names of file systems' times of change."""

_NETWORK_ERRORS = (
    ("aiohttp", "ClientError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
)
"""Exceptions of packages that fsspec's file systems are built on, which are no OSError."""


class MissingFileError(DataError):
    """A file that is not there."""


@dataclass(frozen=True)
class RemoteFile:
    """A file by its URL, used in place of a local `Path`."""

    url: str

    def __str__(self) -> str:
        """Return the URL without credentials: user, password and query."""
        return _CHAIN.join(map(_without_access, self.url.split(_CHAIN)))

    @property
    def name(self) -> str:
        """The last part of its path; of a chained URL that of the first link that has one."""
        links = str(self).split(_CHAIN)
        parts = urlsplit(
            next((link for link in links if "://" in link and urlsplit(link).path), links[0])
        )
        return PurePosixPath(unquote(parts.netloc + parts.path)).name

    @property
    def suffix(self) -> str:
        """The last suffix of its name, as `.gz`."""
        return PurePosixPath(self.name).suffix

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open it for reading; it is fetched in blocks as it is read.

        A file in an archive (`zip://…::…`), and one on a server without ranges, is read in one go
        and not tried again.

        Raises:
            DataError: If it cannot be read, or the connection breaks.
            UserError: If the package for its kind of URL is missing.
        """
        system, path = connect(self.url)
        with self.naming_errors():
            information = self._try(lambda: system.info(path))
            size = information.get("size")
            if size is None or _CHAIN in self.url or not self._has_ranges(system, path, size):
                with system.open(
                    path, "rb", **({"block_size": 0} if self._is_http else {})
                ) as file:
                    yield file
            else:
                version = _version(information)
                with io.BufferedReader(
                    _Blocks(
                        lambda first, last: self._try(
                            lambda: self._fetch(system, path, size, first, last),
                            lambda: self._check_version(system, path, version),
                        ),
                        size,
                    )
                ) as blocks:
                    yield cast("BinaryIO", blocks)

    @property
    def _is_http(self) -> bool:
        return self.url.lower().startswith(("http://", "https://"))

    def _has_ranges(self, system: Any, path: str, size: int) -> bool:
        """Return whether parts of the file can be asked for; only an HTTP server may have none."""
        if not self._is_http or size <= BLOCK_BYTES:
            return True
        try:
            self._try(lambda: self._fetch(system, path, size, 1, 2))
        except ValueError:  # what fsspec raises for a server that sends the whole file
            return False
        return True

    def _fetch(self, system: Any, path: str, size: int, first: int, last: int) -> bytes:
        if self._is_http:  # `cat_file` would take a whole file for a range
            options = {"size": size, "block_size": BLOCK_BYTES, "cache_type": "none"}
            with system.open(path, "rb", **options) as file:
                file.seek(first)
                data = bytes(file.read(last - first))
        else:
            data = bytes(system.cat_file(path, start=first, end=last))
        if len(data) != last - first:
            raise OSError(
                f"{last - first:,} bytes were asked for, from {first:,}, and {len(data):,} came"
            )
        return data

    def _check_version(self, system: Any, path: str, version: str) -> None:
        system.invalidate_cache()
        found = _version(system.info(path))
        if found != version:
            raise DataError(
                f"input {self} changed while it was read: its version was {version} and is {found}."
                " Run again."
            )

    def _try(self, ask: Callable[[], T], check: Callable[[], None] = lambda: None) -> T:
        """Return what a server answers; ask again, after a check, while a failure may pass."""
        for attempt, wait in enumerate((*_WAITS_SECONDS, None)):
            try:
                if attempt:
                    check()
                return ask()
            except network_errors() as error:
                if wait is None or not _may_pass(error):
                    raise
                # Not all processes at once, where several met the same failure.
                pause = wait * random.uniform(0.5, 1.0)
                logger.info("%s: %s; trying again in %.1f s", self, _cause(error), pause)
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def describe(self) -> dict[str, Any]:
        """Return its entry in receipts: URL, size, and version.

        `version` is the first of ETag, checksum, generation and time of change that its file
        system tells; where it tells none, only the size stands for the content.

        Raises:
            DataError: If it is not there.
            UserError: If the package for its kind of URL is missing.
        """
        system, path = connect(self.url)
        with self.naming_errors():
            information = self._try(lambda: system.info(path))
        if information.get("type") == "directory":
            raise DataError(f"input {self} is a directory")
        return {
            "path": str(self),
            "bytes": information.get("size"),
            "version": _version(information),
        }

    def find(self) -> dict[str, Any] | None:
        """Return size, version and time of its last change, or None if it is not there.

        Raises:
            DataError: If its server does not answer.
        """
        system, path = connect(self.url)
        with self.naming_errors():
            try:
                information = self._try(lambda: self._ask_again(system, path))
            except FileNotFoundError:
                return None
        return _entry(information)

    def _ask_again(self, system: Any, path: str) -> Any:
        system.invalidate_cache(system._parent(path))
        return system.info(path)

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return the files and directories in a directory by name; none if it is not there.

        Returns:
            What `find` returns of each, with `is_directory`.

        Raises:
            DataError: If its server does not answer.
        """
        system, path = connect(self.url)

        def ask() -> Any:
            system.invalidate_cache(path)
            return system.ls(path, detail=True)

        with self.naming_errors():
            try:
                listed = self._try(ask)
            except (FileNotFoundError, NotADirectoryError):
                return {}
        above = str(path).rstrip("/")
        found = {str(one["name"]).rstrip("/"): one for one in listed}
        return {
            name.rpartition("/")[2]: _entry(one) for name, one in found.items() if name != above
        }

    def read(self) -> bytes:
        """Return all of a small file.

        Raises:
            MissingFileError: If it is not there.
            DataError: If it cannot be read.
        """
        system, path = connect(self.url)
        with self.naming_errors():
            return bytes(self._try(lambda: system.cat_file(path)))

    def write(self, data: bytes, *, is_new: bool = False) -> None:
        """Write it, whole or not at all.

        With `is_new`, only if it is not there. Stores decide that between several writers: S3 since
        2024 and what speaks as it does, Google's, Azure's.

        Raises:
            FileExistsError: If it is there and should be new.
            DataError: If it cannot be written.
        """
        system, path = connect(self.url)
        options = {"mode": "create"} if is_new else {}
        with self.naming_errors("output", "written"):
            self._try(
                lambda: self._check_size(
                    system, path, len(data), system.pipe_file(path, data, **options)
                )
            )

    def upload(self, file: Path) -> None:
        """Write it from a file on this machine, whole or not at all.

        Raises:
            DataError: If it cannot be written.
        """
        system, path = connect(self.url)
        with self.naming_errors("output", "written"):
            size = file.stat().st_size
            self._try(
                lambda: self._check_size(system, path, size, system.put_file(str(file), path))
            )

    def _check_size(self, system: Any, path: str, size: int, _: object) -> None:
        """Look at what was just written."""
        found = self._ask_again(system, path).get("size")
        if found is not None and found != size:
            raise OSError(f"{size:,} bytes were written, and it has {found:,}")

    def remove(self) -> None:
        """Remove it if it is there.

        Raises:
            DataError: If it cannot be removed.
        """
        system, path = connect(self.url)
        with self.naming_errors("output", "removed"):
            try:
                self._try(lambda: system.rm_file(path))
            except FileNotFoundError:
                return

    @contextmanager
    def naming_errors(self, kind: str = "input", done: str = "read") -> Iterator[None]:
        """Name the file in errors of the block.

        Args:
            kind: What it is.
            done: What cannot be done with it.

        Raises:
            DataError: For those of a file system or a network.
            FileExistsError: As it is.
        """
        try:
            yield
        except FileExistsError:
            raise
        except network_errors() as error:
            found = _cause(error)
            if isinstance(found, FileNotFoundError):
                raise MissingFileError(f"{kind} {self} does not exist") from None
            raise DataError(f"{kind} {self} cannot be {done}: {found}. Run again.") from error


class _Blocks(io.RawIOBase):
    """A file that is fetched block by block; the last block is kept."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._position = 0
        self._first = 0
        self._block = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        if not self._first <= self._position < self._first + len(self._block):
            last = min(self._size, self._position + BLOCK_BYTES)
            self._block = self._fetch(self._position, last)
            self._first = self._position
        start = self._position - self._first
        part = self._block[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


def _entry(information: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an entry of fsspec this program uses."""
    changed = next((information[key] for key in _CHANGES if information.get(key)), None)
    if isinstance(changed, str):
        changed = datetime.datetime.fromisoformat(changed)
    if isinstance(changed, datetime.datetime):
        changed = changed.timestamp()
    return {
        "bytes": information.get("size"),
        "version": _version(information),
        "changed": changed,
        "is_directory": information.get("type") == "directory",
    }


def _version(information: Mapping[str, Any]) -> str:
    return str(next((information[key] for key in _VERSIONS if information.get(key)), ""))


def _cause(error: BaseException) -> BaseException:
    """Return what failed: of what fails by HTTP, fsspec says mostly that there is no such file."""
    cause = error.__cause__
    client = sys.modules.get("aiohttp")
    http_errors = (TimeoutError, client.ClientError) if client is not None else (TimeoutError,)
    if not isinstance(error, FileNotFoundError) or not isinstance(cause, http_errors):
        return error
    return error if getattr(cause, "status", 0) in (404, 410) else cause


def _may_pass(failure: BaseException) -> bool:
    """Return whether asking again may help."""
    error = _cause(failure)
    if isinstance(
        error,
        FileNotFoundError | FileExistsError | PermissionError | IsADirectoryError
        | NotADirectoryError,
    ):  # fmt: skip
        return False
    status = getattr(error, "status", None)  # of aiohttp's errors
    return not isinstance(status, int) or status >= 500 or status in _PASSING_STATUSES


def is_url(text: str) -> bool:
    """Return whether a text is a URL rather than a path."""
    return _URL.match(text) is not None


def find_files(arguments: Sequence[str]) -> list[Path | RemoteFile]:
    """Return the files given by path or URL; `*` in a URL is a wildcard.

    Raises:
        UserError: If nothing matches a URL, or the package for its kind is missing.
    """
    found: list[Path | RemoteFile] = []
    for argument in arguments:
        if not _URL.match(argument):
            found.append(Path(argument))
        elif _CHAIN not in argument and argument.lower().startswith(("file://", "local://")):
            found += _local(argument)
        elif any(glob.has_magic(urlsplit(link).path) for link in argument.split(_CHAIN)):
            found += _matching(RemoteFile(argument))
        else:
            found.append(RemoteFile(argument))
    return found


def _without_access(url: str) -> str:
    """Return a URL without user, password and query."""
    if "://" not in url:
        return url  # of a chain, as in `simplecache::s3://…`
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _local(url: str) -> list[Path | RemoteFile]:
    """Return the file of a `file://` URL, or the files where it has a `*` and no file is so named.

    Raises:
        UserError: If nothing matches.
    """
    path = unquote(url.partition("://")[2].removeprefix("localhost"))
    if not glob.has_magic(path) or Path(path).exists():
        return [Path(path)]
    names = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - the pattern is absolute
    if not names:
        raise UserError(f"nothing matches {url}")
    return [Path(name) for name in names]


def _matching(pattern: RemoteFile) -> list[Path | RemoteFile]:
    system, path = connect(pattern.url)
    with pattern.naming_errors():
        names = sorted(system.glob(path))
    if not names:
        raise UserError(f"nothing matches {pattern}")
    links = pattern.url.split(_CHAIN)
    if len(links) == 1:
        return [RemoteFile(str(system.unstrip_protocol(name))) for name in names]
    # The names are those of the first link with a path; what stands around it stays.
    place = next(
        number for number, link in enumerate(links) if "://" in link and urlsplit(link).path
    )
    scheme = links[place].partition("://")[0]
    found: list[Path | RemoteFile] = []
    for name in map(str, names):
        link = name if "://" in name else f"{scheme}://{name}"
        found.append(RemoteFile(_CHAIN.join([*links[:place], link, *links[place + 1 :]])))
    return found


def connect(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and its path there."""
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError:
        raise UserError(
            f"{RemoteFile(url)} needs the package `fsspec`; run"
            " `pip install '.[mining]'` in a clone of the project"
        ) from None
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise UserError(f"{RemoteFile(url)} cannot be opened: {error}") from error
    return system, path


def network_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of reading: OSError and those of loaded network packages."""
    loaded = (
        getattr(sys.modules[module], name)
        for module, name in _NETWORK_ERRORS
        if module in sys.modules
    )
    return (OSError, *loaded)
