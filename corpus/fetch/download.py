"""Downloads that resume: to `NAME.part`, continued by HTTP Range, renamed when complete.

A download is resumed only from the same version of the file: `NAME.part.json` keeps the ETag
or date the server gave, and `If-Range` has it send the whole file again if that has changed
(RFC 9110, sections 13.1.5 and 14.2). Proxies are the environment's (`https_proxy`, `no_proxy`).
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import io
import logging
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from corpus.config import Config, NonNegativeFloat, PositiveFloat, PositiveInt
from corpus.console import Progress
from corpus.errors import DataError, FetchError
from corpus.files import make_directory, read_object, write_json

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_USER_AGENT = "tongues (data fetch)"
_LONGEST_WAIT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class DownloadConfig(Config):
    """Timeouts and attempts of downloads."""

    timeout_seconds: PositiveFloat = 60.0
    """Seconds without data after which a connection is closed."""

    attempts: PositiveInt = 5
    """Number of connections to try; each resumes where the last one broke off."""

    wait_seconds: NonNegativeFloat = 1.0
    """Seconds to wait before the second attempt; doubled each time, at most 30 s."""


class Digest(NamedTuple):
    """Size and checksum of a file."""

    size: int
    sha256: str


class _NoConnection(Exception):  # noqa: N818 - caught here, never seen outside
    """The server was not reached."""


class _Cut(Exception):  # noqa: N818 - caught here, never seen outside
    """The connection ended before the file did."""


def digest_of(path: Path) -> Digest:
    """Return the size and SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return Digest(path.stat().st_size, digest.hexdigest())


def download(
    url: str,
    path: Path,
    *,
    size: int | None,
    sha256: str | None,
    largest: int,
    config: DownloadConfig,
) -> Digest:
    """Download `url` to `path`, complete and with the right checksum, or not at all.

    Args:
        url: An http(s) or file URL.
        path: Where it goes; `path.part` is kept when a download breaks off, and resumed.
        size: Bytes it must have; None for any up to `largest`.
        sha256: Checksum it must have; None for any.
        largest: Limit in bytes for a file of unknown size.
        config: Timeouts and attempts.

    Raises:
        FetchError: If the server cannot be reached or refuses, or the disk has no room.
        DataError: If what came has another size or checksum; nothing of it is kept.
    """
    part = path.with_name(f"{path.name}.part")
    make_directory(path.parent)
    went_on = part.exists()
    _fill(url, part, size, sha256, largest, config)
    found = digest_of(part)
    if went_on and sha256 not in (None, found.sha256):
        logger.warning("%s: the resumed parts do not match; starting over", path.name)
        _discard(part)
        _fill(url, part, size, sha256, largest, config)
        found = digest_of(part)
    if sha256 not in (None, found.sha256):
        _discard(part)
        raise DataError(
            f"{url} has sha256 {found.sha256} ({found.size:,} bytes), and {sha256} was expected."
            " Either the publisher replaced it, or something on the way (a proxy, a log-in page)"
            " answered in its place. Nothing was kept."
        )
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    _version_file(part).unlink(missing_ok=True)
    return found


def _fill(
    url: str,
    part: Path,
    size: int | None,
    sha256: str | None,
    largest: int,
    config: DownloadConfig,
) -> None:
    """Download until `part` is whole, over several connections if need be."""
    wait = config.wait_seconds
    received = False
    for attempt in range(1, config.attempts + 1):
        try:
            have, version = _state(part, size, is_pinned=sha256 is not None)
            if have != size:
                _receive(
                    url,
                    part,
                    have,
                    version,
                    size,
                    largest,
                    config.timeout_seconds,
                    is_pinned=sha256 is not None,
                )
            return
        except _NoConnection as error:
            # Without a network every attempt fails alike; one that broke off may come back.
            if attempt == config.attempts or not received:
                raise FetchError(
                    f"{url} could not be reached: {error}. Check the network and `https_proxy`."
                ) from None
            logger.warning("%s: no connection: %s; trying again", part.stem, error)
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
        except _Cut as cut:
            received = True
            have = part.stat().st_size if part.exists() else 0
            if attempt == config.attempts:
                kept = f" {have:,} bytes are kept in {part}; run the same command again to resume."
                raise FetchError(
                    f"{url} could not be fetched in {attempt} attempts; the last: {cut}."
                    f"{kept if have else ''}"
                ) from None
            logger.warning("%s: %s; trying again at byte %s", part.stem, cut, f"{have:,}")
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)


def _receive(
    url: str,
    part: Path,
    have: int,
    version: str,
    size: int | None,
    largest: int,
    timeout: float,
    *,
    is_pinned: bool,
) -> None:
    """Make one connection and append what it sends."""
    headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    if have and version:
        headers["If-Range"] = version
    with closing(_open(url, headers, timeout, part)) as response:
        start, total = _span(response.headers, response.status, have)
        if total == have and start == have:
            return
        if start != have:  # the server sends all of it: it ignores Range, or has another version
            _discard(part)
            start = 0
        _check_total(url, part, total, size, largest)
        if total is None and size is None and not is_pinned:
            _check_chunked(url, response.headers)
        _check_room(part, (total if total is not None else size or 0) - start)
        _keep_version(part, response.headers)
        got = _append(response, part, start, total, size if size is not None else largest)
    whole = total if total is not None else size
    if whole is not None and got != whole:
        raise _Cut(f"the connection ended at byte {got:,} of {whole:,}")


class _Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    stream: BinaryIO

    def close(self) -> None:
        self.stream.close()


def _open(url: str, headers: Mapping[str, str], timeout: float, part: Path) -> _Response:
    request = urllib.request.Request(url, headers=dict(headers))
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return _range_beyond_end(url, error, part, timeout)
            if error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
                raise _Cut(f"the server answered {error.code} {error.reason}") from None
            raise FetchError(f"{url}: the server answered {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, FileNotFoundError):
            raise FetchError(f"{url}: there is no such file") from None
        raise _NoConnection(error.reason) from None
    except (OSError, http.client.HTTPException) as error:
        raise _NoConnection(error) from None
    return _Response(getattr(response, "status", None) or 200, response.headers, response)


def _range_beyond_end(
    url: str, error: urllib.error.HTTPError, part: Path, timeout: float
) -> _Response:
    """Handle status 416: all bytes are here already, or they are of another version."""
    have = part.stat().st_size
    match = _CONTENT_RANGE.fullmatch(error.headers.get("Content-Range", ""))
    if match is None or match[2] != str(have):
        _discard(part)
        return _open(url, {"User-Agent": _USER_AGENT}, timeout, part)
    headers = {"Content-Range": f"bytes {have}-{have}/{have}"}
    return _Response(http.HTTPStatus.PARTIAL_CONTENT, headers, io.BytesIO())


def _span(headers: Mapping[str, str], status: int, have: int) -> tuple[int, int | None]:
    """Return the first byte to come and the size of the whole file, if the server gives it."""
    if status == http.HTTPStatus.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if match is None or match[1] != str(have):
            raise FetchError(
                f"the server was asked for bytes from {have:,} and answered"
                f" `{headers.get('Content-Range', '')}`; delete the .part file to start over"
            )
        return have, int(match[2]) if match[2] != "*" else None
    length = headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def _check_total(url: str, part: Path, total: int | None, size: int | None, largest: int) -> None:
    if total is None or (size is None and total <= largest) or total == size:
        return
    _discard(part)
    wanted = f"{size:,} were expected" if size is not None else f"at most {largest:,} are allowed"
    raise DataError(f"{url} has {total:,} bytes, and {wanted}; it was not downloaded")


def _check_chunked(url: str, headers: Mapping[str, str]) -> None:
    """Refuse a file of unknown length and checksum, whose truncation would go unnoticed."""
    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        raise FetchError(
            f"{url}: the server does not give the length of the file, so a truncated"
            " download would go unnoticed. Download it by hand."
        )


def _check_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise FetchError(
            f"{part.parent} has {free:,} bytes free and {needed:,} are needed. Make room, or let"
            " TONGUES_CACHE name another disk."
        )


def _append(response: _Response, part: Path, start: int, total: int | None, limit: int) -> int:
    """Append the body to `part`; return its size then."""
    got = start
    with (
        part.open("ab", buffering=0) as file,
        Progress(total, f"fetch {part.stem}", "bytes") as progress,
    ):
        for chunk in _chunks(response):
            got += len(chunk)
            if got > limit:
                _discard(part)
                raise DataError(f"more than {limit:,} bytes came for {part.stem}; none are kept")
            _write(file, chunk, part)
            progress.update(len(chunk))
    return got


def _write(file: io.RawIOBase, chunk: bytes, part: Path) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) or 0 :]
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise FetchError(
            f"the disk is full; the received part is kept in {part}. Free some space, then run the"
            " same command again, which resumes the download."
        ) from None


def _chunks(response: _Response) -> Iterator[bytes]:
    try:
        while chunk := response.stream.read(_CHUNK_BYTES):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(f"the connection broke: {error}") from None


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _state(part: Path, size: int | None, *, is_pinned: bool) -> tuple[int, str]:
    """Return how many bytes can be resumed from, and their version; (0, "") to start.

    Bytes of unknown version are resumed only where a checksum will show whether they match.
    """
    version_file = _version_file(part)
    version = read_object(version_file, version=str)["version"] if version_file.exists() else ""
    have = part.stat().st_size if part.exists() else 0
    if not (version or is_pinned) or (size is not None and have > size):
        _discard(part)
        return 0, ""
    return have, version


def _keep_version(part: Path, headers: Mapping[str, str]) -> None:
    # A weak ETag does not promise equal bytes, so the download cannot be resumed.
    etag = headers.get("ETag", "")
    version = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    if version:
        write_json(_version_file(part), {"version": version})


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)
