"""Parts of files elsewhere, by byte range: HTTP, object stores through fsspec, or this machine.

HTTP is asked directly, since a range has to be checked: a server may answer 200 with the whole
file, another range, fewer bytes, or some bytes a minute. Object stores are read through fsspec, and
what comes is checked for its length alone.

Failures that pass (no connection, 408, 429, 5xx, a cut or stalled answer, and 403, which Common
Crawl's servers answer when they are asked too often) are tried again with growing pauses, which all
processes of a job keep (`corpus.fetch.pace`), or the server's own `Retry-After`.
"""

from __future__ import annotations

import email.utils
import http
import importlib
import logging
import random
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from corpus.config import (
    Config,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    execution_only,
)
from corpus.errors import DataError, FetchError, UserError
from corpus.fetch.pace import LONGEST_PAUSE_SECONDS, Pace
from corpus.remote import RemoteFile, connect, network_errors

logger = logging.getLogger(__name__)

COMMON_CRAWL = "https://data.commoncrawl.org/"
"""Where Common Crawl's files are outside Amazon's network; inside, `s3://commoncrawl/` is."""

_USER_AGENT = "tongues (mining sentences --ranges)"
_CHUNK_BYTES = 1 << 16
_SLOWEST_BYTES_PER_SECOND = 1 << 14
_WHOLE_FILE_BYTES = 16 << 20
"""Where a server sends the whole file instead of a range, at most so much of it is read."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_PASSING = (
    http.HTTPStatus.FORBIDDEN,
    http.HTTPStatus.REQUEST_TIMEOUT,
    http.HTTPStatus.TOO_MANY_REQUESTS,
)
_GONE = (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE)


@dataclass(frozen=True, kw_only=True)
class RangesConfig(Config):
    """How records are read by byte range."""

    records_per_shard: PositiveInt = 500
    """Records of the table that are one shard of the job: read again as a whole if interrupted."""

    requests_per_second: PositiveFloat = execution_only(5.0)  # noqa: RUF009
    """Requests of all processes of the job together. Common Crawl serves everybody with some
    thousands, and blocks who asks too often."""

    connections: PositiveInt = execution_only(4)  # noqa: RUF009
    """Requests of each process at a time."""

    join_gap_kb: NonNegativeInt = execution_only(32)  # noqa: RUF009
    """Records of a file that lie at most so far apart, in KiB, are read by one request."""

    timeout_seconds: PositiveFloat = execution_only(60.0)  # noqa: RUF009
    """Seconds without data after which a connection is closed."""

    attempts: PositiveInt = execution_only(8)  # noqa: RUF009
    """Requests for a range before the shard fails."""

    wait_seconds: NonNegativeFloat = execution_only(1.0)  # noqa: RUF009
    """Seconds that all processes wait before the second attempt; doubled each time, at most 300."""


class MissingRangeError(DataError):
    """A file or part of it is not where it should be, whoever asks and how often."""


class _Passing(Exception):  # noqa: N818 - caught here, never seen outside
    """A failure that may pass."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class RangeReader:
    """Reads ranges of the files below a prefix; its threads may share it.

    Attributes:
        requests: Requests so far, those that failed among them.
    """

    def __init__(self, prefix: str, config: RangesConfig, pace: Pace) -> None:
        self._prefix = check_prefix(prefix)
        self._config = config
        self._pace = pace
        self._is_http = urlsplit(prefix).scheme.lower() in ("http", "https")
        self._session = _http_session(config.connections) if self._is_http else None
        self.requests = 0

    def read(self, name: str, first: int, count: int) -> bytes:
        """Return exactly `count` bytes of a file, from byte `first` on.

        Args:
            name: Path of the file below the prefix.
            first: Offset of the first byte.
            count: How many bytes, 1 or more.

        Raises:
            MissingRangeError: If there is no such file, it ends before the range does, or its
                server gives no ranges.
            FetchError: If no attempt succeeded, or the server refuses.
            UserError: If a name leads out of the prefix, or a package is missing.
        """
        check_file_name(name)
        wait = self._config.wait_seconds
        for attempt in range(1, self._config.attempts + 1):
            self._pace.wait()
            self.requests += 1
            try:
                return self._read_once(name, first, count)
            except _Passing as failure:
                where = f"{self._shown(name)}, {count:,} bytes from {first:,}"
                if attempt == self._config.attempts:
                    raise FetchError(
                        f"{where}: {failure}, after {attempt} attempts. Run again to resume."
                    ) from None
                # Not all processes at once, where several met the same failure.
                pause = max(wait * random.uniform(0.5, 1.0), failure.wait_seconds)
                logger.info("%s: %s; trying again in %.1f s", where, failure, pause)
                self._pace.pause(pause)
                wait = min(2 * wait, LONGEST_PAUSE_SECONDS)
        raise AssertionError("the last attempt returns or raises")

    def _read_once(self, name: str, first: int, count: int) -> bytes:
        if self._session is not None:
            data = self._read_http(self._prefix + quote(name, "/="), first, count)
        elif "://" in self._prefix:
            data = self._read_store(RemoteFile(self._prefix + name), first, count)
        else:
            data = _read_local(Path(self._prefix) / name, first, count)
        if len(data) != count:
            raise _Passing(f"{len(data):,} bytes came")
        return data

    def _shown(self, name: str) -> str:
        return str(RemoteFile(self._prefix + name)) if "://" in self._prefix else name

    def _read_http(self, url: str, first: int, count: int) -> bytes:
        requests = importlib.import_module("requests")
        headers = {
            "Range": f"bytes={first}-{first + count - 1}",
            "Accept-Encoding": "identity",
            "User-Agent": _USER_AGENT,
        }
        urllib3 = importlib.import_module("urllib3")
        try:
            with self._session.get(  # type: ignore[union-attr]
                url, headers=headers, stream=True, timeout=self._config.timeout_seconds
            ) as response:
                skipped = _check_answer(response, str(RemoteFile(url)), first, count)
                return self._body(response, skipped, count)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise UserError(f"{RemoteFile(url)} cannot be opened: {error}") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _Passing(_told(error)) from None

    def _body(self, response: Any, skipped: int, count: int) -> bytes:
        """Read what was asked for and one byte more, which there must not be in a range."""
        deadline = time.monotonic() + (
            self._config.timeout_seconds + (skipped + count) / _SLOWEST_BYTES_PER_SECOND
        )
        is_range = response.status_code == http.HTTPStatus.PARTIAL_CONTENT
        limit = skipped + count + is_range
        parts = []
        got = 0
        # As it is sent: a `.gz` that a server calls an encoding must not be unpacked on the way.
        while got < limit:
            part = response.raw.read(min(_CHUNK_BYTES, limit - got), decode_content=False)
            if not part:
                break
            parts.append(part)
            got += len(part)
            if time.monotonic() > deadline:
                raise _Passing(f"{got:,} bytes in {self._config.timeout_seconds:g} s and more")
        return b"".join(parts)[skipped:]

    def _read_store(self, file: RemoteFile, first: int, count: int) -> bytes:
        system, path = connect(file.url)
        try:
            return bytes(system.cat_file(path, start=first, end=first + count))
        except (FileNotFoundError, IsADirectoryError):
            raise MissingRangeError(f"{file} does not exist") from None
        except ValueError as error:  # a range after the end, as s3fs has it
            raise MissingRangeError(f"{file} has no byte {first:,}: {error}") from None
        except network_errors() as error:
            if "InvalidRange" in str(error) or "not satisfiable" in str(error).lower():
                raise MissingRangeError(f"{file} ends before byte {first + count:,}") from None
            raise _Passing(_told(error)) from None


def check_prefix(prefix: str) -> str:
    """Return a prefix, of a URL or a directory, that ends in `/`.

    Raises:
        UserError: If it is a directory that does not exist, or a URL with a query.
    """
    if "://" not in prefix:
        if not Path(prefix).is_dir():
            raise UserError(f"--prefix {prefix}: there is no such directory, and it is no URL")
    elif urlsplit(prefix).query:
        raise UserError(f"--prefix {RemoteFile(prefix)}: a prefix has no query (`?…`)")
    return prefix if prefix.endswith("/") else f"{prefix}/"


def check_file_name(name: str) -> None:
    """Refuse names that lead out of a prefix.

    Raises:
        DataError: Naming it.
    """
    parts = name.split("/")
    if (
        not name.isprintable()
        or "://" in name
        or "::" in name
        or "\\" in name
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise DataError(
            f"`{name[:200]!r}` is no path of a file below a prefix: it must be relative, without"
            " `..`, `//` and `://`"
        )


def _http_session(connections: int) -> Any:
    try:
        requests = importlib.import_module("requests")
    except ImportError:
        raise UserError(
            "reading ranges by HTTP needs the package `requests`; run"
            " `pip install '.[mining]'` in a clone of the project"
        ) from None
    session = requests.Session()
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=connections, max_retries=0)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _check_answer(response: Any, url: str, first: int, count: int) -> int:
    """Return how many bytes of the body come before the wanted ones.

    Raises:
        _Passing: If it is worth trying again.
        MissingRangeError: If it is not, for this file.
        FetchError: If it is not, for any.
    """
    status = response.status_code
    if status == http.HTTPStatus.PARTIAL_CONTENT:
        _check_content_range(response.headers.get("Content-Range", ""), url, first, count)
        return 0
    if status == http.HTTPStatus.OK:
        if first + count > _WHOLE_FILE_BYTES:
            raise MissingRangeError(
                f"{url}: the server sends the whole file instead of bytes {first:,} to"
                f" {first + count:,}. Choose another --prefix, or download the file and give its"
                " directory as --prefix."
            )
        return first
    if status in _GONE:
        raise MissingRangeError(f"{url}: the server answered {status}; it has no such file")
    if status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise MissingRangeError(f"{url} ends before byte {first:,}")
    if status in _PASSING or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _Passing(f"the server answered {status}", _retry_after(response.headers))
    raise FetchError(f"{url}: the server answered {status} {response.reason}")


def _check_content_range(told: str, url: str, first: int, count: int) -> None:
    match = _CONTENT_RANGE.fullmatch(told.strip())
    if match is None or int(match[1]) != first:
        raise _Passing(f"bytes from {first:,} were asked for, and `{told[:100]}` came")
    if int(match[2]) != first + count - 1:
        if match[3] != "*" and int(match[3]) < first + count:
            raise MissingRangeError(f"{url} ends at byte {int(match[3]):,}, within the range")
        raise _Passing(f"bytes to {first + count - 1:,} were asked for, and `{told[:100]}` came")


def _retry_after(headers: Any) -> float:
    """Return how many seconds a server asks to wait, 0 if it does not (RFC 9110, 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return min(float(value), LONGEST_PAUSE_SECONDS)
    try:
        moment = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0
    return min(max(0.0, moment - time.time()), LONGEST_PAUSE_SECONDS)


def _read_local(path: Path, first: int, count: int) -> bytes:
    if not path.is_file():
        raise MissingRangeError(f"{path} does not exist or is not a file")
    with path.open("rb") as file:
        file.seek(first)
        data = file.read(count)
    if len(data) < count:
        raise MissingRangeError(f"{path} ends at byte {first + len(data):,}, within the range")
    return data


def _told(error: Exception) -> str:
    """Return an error's text without the addresses of objects that urllib3 puts there."""
    return re.sub(r"<[\w.]+ object at 0x[0-9a-f]+>:? ?", "", str(error)) or type(error).__name__
