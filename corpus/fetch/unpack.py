"""Safe unpacking of untrusted archives: nothing outside the target, no links, no bombs.

Only plain files and directories are taken, with the permissions of the user, not of the archive.
Sizes are those that come out, not those that the archive claims.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from corpus.errors import DataError

MAX_MEMBERS = 100_000
_MAX_EXTENDED_BYTES = 1 << 14
_MAX_NAME = 1_024
_MAX_DEPTH = 32
_CHUNK_BYTES = 1 << 18
_HEADER_BYTES = 1_536
"""What a member may add to a tar beside its content: header, long name, padding."""


class Unpacked(NamedTuple):
    """What came out of an archive."""

    files: int
    size: int


class _Member(NamedTuple):
    name: str
    is_directory: bool
    content: IO[bytes] | None


def unpack(archive: Path, target: Path, *, largest: int) -> Unpacked:
    """Unpack a `.zip`, `.tar` or `.tar.gz` into `target`, less its first folder.

    Args:
        archive: The file.
        target: Directory that does not exist yet. After an error it does not exist either.
        largest: Limit in bytes of the archive's content.

    Raises:
        DataError: If the archive is damaged, holds a link, a device or an encrypted member, a path
            leaves the target or comes twice, or it unpacks to more than `largest` bytes or
            `MAX_MEMBERS` members.
    """
    target.mkdir(parents=True)
    try:
        return _unpack(archive, target, largest)
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, _DAMAGE):
            raise DataError(f"{archive} is a damaged archive: {error}") from error
        raise


_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    UnicodeError,
)


def _unpack(archive: Path, target: Path, largest: int) -> Unpacked:
    files = size = 0
    seen: set[str] = set()
    members = (
        _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive, largest)
    )
    for count, member in enumerate(members, 1):
        if count > MAX_MEMBERS:
            raise DataError(f"{archive} has more than {MAX_MEMBERS:,} members")
        place = _place(archive, member.name)
        if place is None or member.is_directory:
            continue
        key = place.as_posix().casefold()  # some disks do not tell case apart
        if key in seen:
            raise DataError(f"{archive} holds `{member.name}` twice")
        seen.add(key)
        if member.content is not None:
            size += _write(archive, member, target / place, largest - size)
            files += 1
    if not files:
        raise DataError(f"{archive} holds no files")
    return Unpacked(files, size)


def _place(archive: Path, name: str) -> PurePosixPath | None:
    """Return where a member goes below the target; None for the first folder itself."""
    path = PurePosixPath(name)
    parts = [part for part in path.parts if part != "."]
    is_odd = (
        path.is_absolute()
        or ".." in parts
        or any(character in name for character in "\\\0")
        or any(len(part) > 1 and part[1] == ":" for part in parts)
        or len(name) > _MAX_NAME
        or len(parts) > _MAX_DEPTH
    )
    if is_odd or not name.isprintable():
        raise DataError(
            f"{archive} holds the path {name[:80]!r}, which leads out of it or is no usable name."
            " It was not unpacked."
        )
    return PurePosixPath(*parts[1:]) if len(parts) > 1 else None


def _write(archive: Path, member: _Member, path: Path, room: int) -> int:
    assert member.content is not None
    written = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"{archive} holds `{member.name}` both as a file and a folder") from None
    with file:
        while chunk := member.content.read(_CHUNK_BYTES):
            written += len(chunk)
            if written > room:
                raise DataError(
                    f"{archive} unpacks to more bytes than it may; `{member.name}` is where it was"
                    " given up. Nothing of it was kept."
                )
            file.write(chunk)
    return written


def _tar_members(archive: Path, largest: int) -> Iterator[_Member]:
    with archive.open("rb") as raw:
        is_gzip = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = (
            _Limited(gzip.GzipFile(fileobj=raw), archive, largest + MAX_MEMBERS * _HEADER_BYTES)
            if is_gzip
            else _Limited(raw, archive, largest + MAX_MEMBERS * _HEADER_BYTES)
        )
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=BoundedHeader) as tar:  # type: ignore[call-overload]
            for member in tar:
                if member.isdir():
                    yield _Member(member.name, True, None)
                elif member.isreg() and not member.issparse():
                    yield _Member(member.name, False, tar.extractfile(member))
                else:
                    kind = "link" if member.issym() or member.islnk() else "device or special file"
                    raise DataError(
                        f"{archive} holds `{member.name}`, a {kind}; only files are taken"
                    )


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(
                    f"{archive} holds `{info.filename}`, a link or device; only files are taken"
                )
            if info.flag_bits & 1:
                raise DataError(f"{archive} holds `{info.filename}`, which is encrypted")
            if info.is_dir():
                yield _Member(info.filename, True, None)
            else:
                with opened.open(info) as content:
                    yield _Member(info.filename, False, content)


class BoundedHeader(tarfile.TarInfo):
    """A tar header whose extension, PAX or a long GNU name, has a bound.

    `tarfile` reads it whole and takes the square of its length to parse it.
    """

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        kinds = (
            tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
            tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
        )  # fmt: skip
        if self.type in kinds and self.size > _MAX_EXTENDED_BYTES:
            raise DataError(f"the archive has a header of {self.size:,} bytes; it was not unpacked")
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return]


class _Limited:
    """A stream that raises after a number of bytes: headers alone can be a bomb."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, archive: Path, limit: int) -> None:
        self._stream = stream
        self._archive = archive
        self._left = limit

    def read(self, count: int) -> bytes:
        data = self._stream.read(count)
        self._left -= len(data)
        if self._left < 0:
            raise DataError(
                f"{self._archive} unpacks to more bytes than allowed. It was not unpacked."
            )
        return data
