"""Files that are not on this machine, by URL, through fsspec (https://filesystem-spec.readthedocs.io).

`s3://`, `gs://`, `https://`, `hdfs://`, `memory://` and what else fsspec and its plug-ins know.
Access is set up as fsspec has it, by its configuration files or by environment variables such as
`FSSPEC_S3_ANON=true`. `file://` is a local path.
"""

import contextlib
import glob
import importlib
import io
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

from corpus.errors import DataError, UserError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0)
_BUFFER_BYTES = 1 << 16
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]+::)*[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_CHAIN = "::"
_VERSIONS = (
    "ETag", "etag", "Content-MD5", "md5Hash", "crc32c", "version_id", "generation", "LastModified",
    "Last-Modified", "last_modified", "mtime", "modified", "created",
)  # fmt: skip
"""Names of file systems' version fields, the most reliable first."""

_NETWORK_ERRORS = (
    ("aiohttp", "ClientError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
)
"""Exceptions of packages that fsspec's file systems are built on, which are no OSError."""


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

        Where a connection breaks or a server fails, it is opened again at the same place, up to
        five times, with growing pauses.

        Raises:
            DataError: If it cannot be read, or changed in between.
            UserError: If the package for its kind of URL is missing.
        """
        with self.naming_errors(), io.BufferedReader(_Resuming(self), _BUFFER_BYTES) as file:
            yield file

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
            information = system.info(path)
        if information.get("type") == "directory":
            raise DataError(f"input {self} is a directory")
        return {
            "path": str(self),
            "bytes": information.get("size"),
            "version": _version(information),
        }

    @contextmanager
    def naming_errors(self) -> Iterator[None]:
        """Name the file in errors of the block.

        Raises:
            DataError: For those of a file system or a network.
        """
        try:
            yield
        except FileNotFoundError:
            raise DataError(f"input {self} does not exist") from None
        except network_errors() as error:
            raise DataError(f"input {self} cannot be read: {error}. Run again.") from error


class _Resuming(io.RawIOBase):
    """A remote file that is opened again where reading it fails."""

    def __init__(self, file: RemoteFile) -> None:
        self._name = str(file)
        self._system, self._path = connect(file.url)
        self._opened: Any = None
        self._version = ""
        self._position = 0
        self._again(self._open)

    def _open(self) -> None:
        self._opened = self._system.open(self._path, "rb")
        version = _version(getattr(self._opened, "details", None) or {})
        if self._version and version != self._version:
            raise DataError(
                f"input {self._name} changed while it was read: its version was {self._version} and"
                f" is {version}. Run again."
            )
        self._version = version
        if self._position:
            self._opened.seek(self._position)

    def _again(self, action: Callable[[], T]) -> T:
        """Do something with the open file; after a failure that may pass, open it and try again."""
        for wait in _WAITS_SECONDS:
            try:
                if self._opened is None and action != self._open:
                    self._open()
                return action()
            except network_errors() as error:
                if not _may_pass(error):
                    raise
                logger.info("%s: %s; trying again in %g s", self._name, error, wait)
            self._drop()
            time.sleep(wait)
        if self._opened is None and action != self._open:
            self._open()
        return action()

    def _drop(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            with contextlib.suppress(*network_errors()):
                opened.close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._opened is None or self._opened.seekable())

    def readinto(self, buffer: Any) -> int:
        data = self._again(lambda: self._opened.read(len(buffer)))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = int(self._again(lambda: self._opened.seek(offset, whence)))
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        if not self.closed:
            self._drop()
        super().close()


def _may_pass(error: BaseException) -> bool:
    """Return whether a failure may pass, by its kind or its HTTP status."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return False
    status = getattr(error, "status", None)
    return not isinstance(status, int) or status in (0, 408, 429) or status >= 500


def _version(details: Mapping[str, Any]) -> str:
    return str(next((details[key] for key in _VERSIONS if details.get(key)), ""))


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
