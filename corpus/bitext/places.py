"""Where bytes of bitext are: a file, or a member of a zip or tar archive, read as a stream."""

import contextlib
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from corpus.bitext.names import ZIP, stem_of
from corpus.errors import DataError, UserError
from corpus.fetch.unpack import BoundedHeader
from corpus.files import READ_ERRORS, Lines, unpacked, warn_of_invalid

MAX_MEMBERS = 10_000
_FIRST_LINES = 100
_FEW = 3
"""Lines that are not UTF-8 from which text is taken for another encoding."""
ARCHIVE_ERRORS = (zipfile.BadZipFile, tarfile.TarError, NotImplementedError)


@dataclass(frozen=True)
class Place:
    """A file, or a member of an archive."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The last part of its name, as `train.en.gz`."""
        return PurePosixPath(self.member).name if self.member else self.path.name

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open its plain bytes, for reading from the beginning to the end.

        Raises:
            UserError: If the file does not exist.
            DataError: If it is damaged, while it is read as well.
        """
        if not self.path.is_file():
            raise UserError(f"bitext {self.path} does not exist or is not a file")
        try:
            with self._raw() as raw, unpacked(raw, PurePosixPath(self.name).suffix) as stream:
                yield stream
        except (*READ_ERRORS, *ARCHIVE_ERRORS) as error:
            raise DataError(f"{self} cannot be read: {error}") from error

    def lines(self) -> Iterator[str]:
        """Yield its lines; see `corpus.files.Lines`.

        Raises:
            DataError: Also if most of the first lines that are not ASCII are in no UTF-8.
        """
        with self.open() as stream:
            lines, others = Lines(stream, str(self)), 0
            for number, line in enumerate(lines, 1):
                if number <= _FIRST_LINES:
                    others += not line.isascii()
                    if lines.invalid_lines >= _FEW and lines.invalid_lines > others / 2:
                        raise DataError(
                            f"{self}:{number}: no UTF-8: {lines.invalid_lines} of the first"
                            f" {others} lines with letters beyond ASCII are not. Convert it, as"
                            " with `iconv -f ISO-8859-1 -t UTF-8`."
                        )
                yield line
            if lines.invalid_lines:
                warn_of_invalid(str(self), lines.invalid_lines)

    @contextmanager
    def _raw(self) -> Iterator[IO[bytes]]:
        if not self.member:
            with self.path.open("rb") as file:
                yield file
        elif _is_zip(self.path):
            with zipfile.ZipFile(self.path) as opened, opened.open(self.member) as file:
                yield file
        else:
            # Two members of a compressed archive are read in turns: each has a stream of its own.
            with _tar_stream(self.path) as archive:
                for info in archive:
                    if info.isreg() and info.name == self.member:
                        found = archive.extractfile(info)
                        assert found is not None
                        yield found
                        return
            raise DataError(f"{self.path} no longer holds {self.member}")


def members(path: Path) -> list[str]:
    """Return the names of an archive's files, sorted.

    Raises:
        DataError: If it is damaged, encrypted, or holds more than `MAX_MEMBERS` files.
    """
    try:
        names = _zip_names(path) if _is_zip(path) else _tar_names(path)
    except (*READ_ERRORS, *ARCHIVE_ERRORS) as error:
        raise DataError(f"{path} is a damaged archive: {error}") from error
    return sorted(names)


def _is_zip(path: Path) -> bool:
    stem = stem_of(path.name)
    return stem is not None and stem.format == ZIP


def _zip_names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
    _check_count(path, len(files))
    for info in files:
        if info.flag_bits & 1:
            raise DataError(f"{path} holds {info.filename}, which is encrypted; unpack it first")
    return [info.filename for info in files]


def _tar_names(path: Path) -> list[str]:
    names = []
    with _tar_stream(path) as archive:
        for info in archive:
            archive.members = []  # type: ignore[attr-defined] # which would be kept
            if info.isreg():
                names.append(info.name)
                _check_count(path, len(names))
    return names


def _check_count(path: Path, count: int) -> None:
    if count > MAX_MEMBERS:
        raise DataError(f"{path} holds more than {MAX_MEMBERS:,} files; unpack what you need")


@contextmanager
def _tar_stream(path: Path) -> Iterator[tarfile.TarFile]:
    suffix = {".tgz": ".gz", ".txz": ".xz"}.get(path.suffix, path.suffix)
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(unpacked(stack.enter_context(path.open("rb")), suffix))
        yield stack.enter_context(tarfile.open(fileobj=stream, mode="r|", tarinfo=BoundedHeader))
