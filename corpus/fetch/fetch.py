"""`tongues data fetch`: downloads public data sets and models to the cache and verifies them.

Files lie in the cache under their published names, archives unpacked in a folder. `fetched.json`
there says where each came from, with its size and SHA-256: for files without a published checksum,
the first download records it and every later one must match.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from corpus.errors import DataError, FetchError, UserError
from corpus.fetch.catalog import CATALOG, LARGEST_FILE, CatalogFile, Resource, find_resource
from corpus.fetch.download import Digest, DownloadConfig, digest_of, download
from corpus.fetch.unpack import Unpacked, unpack
from corpus.files import make_directory, read_object, write_json
from corpus.jobs import hold_lock

logger = logging.getLogger(__name__)

RECORD = "fetched.json"
LOCK = ".lock"
MIRROR_VARIABLE = "TONGUES_MIRROR"
_SCHEMES = ("http://", "https://", "file://")


def cache_directory() -> Path:
    """Return the cache directory: `$TONGUES_CACHE`, or `~/.cache/tongues`."""
    given = os.environ.get("TONGUES_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "tongues"


class Fetched(NamedTuple):
    """A resource that is in the cache."""

    name: str
    path: Path
    """Its folder, or its file where it is one file."""
    was_there: bool


def fetch(
    name: str, config: DownloadConfig, cache: Path | None = None, source: str | None = None
) -> Fetched:
    """Fetch a resource into the cache, unless it is there.

    Args:
        name: A name of `corpus.fetch.catalog`.
        config: Timeouts and attempts.
        cache: Cache directory; None for that of the environment.
        source: URL or path to take it from instead: of the file, or of a directory that holds the
            files by their published names. None for `$TONGUES_MIRROR`, such a directory, or else
            the publisher. Sizes and checksums are checked all the same.

    Raises:
        UserError: If there is no such resource.
        FetchError: If it cannot be downloaded; the message says which file to put where by hand.
        DataError: If what came, or what is there, is not what was recorded.
    """
    resource = find_resource(name)
    cache = cache or cache_directory()
    base = source or os.environ.get(MIRROR_VARIABLE) or None
    make_directory(cache)
    with _locked(cache):
        _sweep(cache)
        if resource.is_archive:
            was_there = _fetch_archive(resource, cache, base, config)
        else:
            places = [_fetch_file(resource, one, cache, base, config) for one in resource.files]
            was_there = all(places)
    return Fetched(name, resource_path(resource, cache), was_there)


def resource_path(resource: Resource, cache: Path) -> Path:
    """Return where a resource lies: its folder, or its only file."""
    return (
        cache / resource.folder / resource.subfolder
        if resource.folder
        else file_path(resource.files[0], resource, cache)
    )


def file_path(file: CatalogFile, resource: Resource, cache: Path) -> Path:
    """Return where a downloaded file lies; archives lie beside their folder until unpacked."""
    folder = cache if resource.is_archive else cache / resource.folder
    return folder / file.file_name


class Entry(NamedTuple):
    """A line of `tongues data list`."""

    name: str
    about: str
    size: int | None
    is_there: bool
    path: Path
    license: str
    files: tuple[dict[str, Any], ...]
    """Name, URL, bytes and sha256 of each file, None where not known: what a mirror holds."""


def list_resources(cache: Path | None = None) -> list[Entry]:
    """Return all that can be fetched, and whether it is in the cache."""
    cache = cache or cache_directory()
    return [_entry(resource, cache) for resource in CATALOG.values()]


def _entry(resource: Resource, cache: Path) -> Entry:
    sizes = [one.size for one in resource.files]
    known = [size for size in sizes if size is not None]
    path = resource_path(resource, cache)
    is_there = (
        path.is_dir()
        if resource.is_archive
        else all(file_path(one, resource, cache).is_file() for one in resource.files)
    )
    return Entry(
        resource.name,
        resource.about,
        sum(known) if len(known) == len(sizes) else None,
        is_there,
        path,
        resource.license,
        tuple(
            {"name": one.file_name, "url": one.url, "bytes": one.size, "sha256": one.sha256}
            for one in resource.files
        ),
    )


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """Let one process at a time write to the cache; others wait and then find the work done."""
    with hold_lock(cache / LOCK, "fetch") as is_held:
        if is_held:
            yield
            return
    logger.info("another fetch is writing to %s; waiting for it", cache)
    with hold_lock(cache / LOCK, "fetch", wait=True):
        yield


def _sweep(cache: Path) -> None:
    """Remove what a fetch that was killed while unpacking left behind."""
    for left in cache.glob(".unpacking-*"):
        shutil.rmtree(left)


def _fetch_file(
    resource: Resource, file: CatalogFile, cache: Path, base: str | None, config: DownloadConfig
) -> bool:
    """Ensure that a file is there and correct; return whether it was there already."""
    path = file_path(file, resource, cache)
    expected = _expected(file, _read_record(cache))
    if path.exists():
        found = digest_of(path)
        _check(path, found, expected)
        _remember(cache, file, found, file.url)
        return True
    url = _url(file, base, len(resource.files))
    try:
        found = download(
            url,
            path,
            size=expected.size,
            sha256=expected.sha256,
            largest=LARGEST_FILE,
            config=config,
        )
    except FetchError as error:
        raise FetchError(f"{error}\n{_by_hand(file, path)}") from None
    _check_md5(path, file, expected)
    _remember(cache, file, found, url)
    return False


class _Expected(NamedTuple):
    size: int | None
    sha256: str | None


def _expected(file: CatalogFile, record: dict[str, Any]) -> _Expected:
    """Return the expected size and checksum: from the catalog, or from the first download."""
    there = record["files"].get(file.file_name, {})
    return _Expected(
        file.size if file.size is not None or file.sha256 is not None else there.get("bytes"),
        file.sha256 if file.sha256 is not None else there.get("sha256"),
    )


def _check(path: Path, found: Digest, expected: _Expected) -> None:
    if expected.size not in (None, found.size) or expected.sha256 not in (None, found.sha256):
        size = "any number of" if expected.size is None else f"{expected.size:,}"
        raise DataError(
            f"{path} is not the file that is expected: it has {found.size:,} bytes and sha256"
            f" {found.sha256}; expected are {size} bytes and {expected.sha256}. It may be cut off."
            " Delete it and fetch again."
        )


def _check_md5(path: Path, file: CatalogFile, expected: _Expected) -> None:
    """Check a first download where MD5 is all that was published; a wrong one is removed.

    Raises:
        DataError: If it has another.
    """
    if file.md5 is None or expected.sha256 is not None:
        return
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, "md5").hexdigest()
    if found != file.md5:
        path.unlink()
        raise DataError(
            f"{file.url} has the MD5 {found}, and {file.md5} was expected: it was changed, or"
            " damaged on its way. Nothing was kept."
        )


def _by_hand(file: CatalogFile, path: Path) -> str:
    return (
        f"Without a network: get {file.url} elsewhere and put it at {path}, or name a copy with"
        f" --from, or a directory or URL that holds such files with {MIRROR_VARIABLE}; then run the"
        " same command again, which checks it."
    )


def _url(file: CatalogFile, base: str | None, files: int) -> str:
    """Return where to take a file from: the publisher, a copy of it, or a directory of copies."""
    if base is None:
        return file.url
    if not base.startswith(_SCHEMES):
        path = Path(base).expanduser()
        if not path.exists():
            raise UserError(f"{base} is neither an http(s) or file URL nor a path that exists")
        place = path / file.file_name if path.is_dir() else path
        if path.is_file() and files > 1:
            raise UserError(f"{base} is one file and {files} are needed; name their directory")
        return place.resolve().as_uri()
    if base.rsplit("/", 1)[-1] == file.file_name and files == 1:
        return base
    return f"{base.rstrip('/')}/{urllib.parse.quote(file.file_name)}"


def _fetch_archive(
    resource: Resource, cache: Path, base: str | None, config: DownloadConfig
) -> bool:
    """Ensure that an archive's folder is complete; return whether it was there already."""
    folder = cache / resource.folder
    record = _read_record(cache)["folders"].get(resource.folder)
    if folder.exists():
        if record is not None:
            _check_folder(folder, Unpacked(record["files"], record["bytes"]))
        else:
            logger.warning("%s was put there by hand; it is used as it is, unchecked", folder)
        return True
    (file,) = resource.files
    _fetch_file(resource, file, cache, base, config)
    archive = file_path(file, resource, cache)
    temporary = cache / f".unpacking-{resource.name}"
    try:
        unpacked = unpack(archive, temporary, largest=resource.unpacked)
    except DataError:
        if file.sha256 is None:  # what is not an archive is not what later downloads must be
            archive.unlink()
            _forget(cache, file)
        raise
    # The record first: a folder without one counts as put there by hand.
    written = _read_record(cache)
    written["folders"][resource.folder] = {
        "archive": file.file_name,
        "files": unpacked.files,
        "bytes": unpacked.size,
    }
    write_json(cache / RECORD, written)
    temporary.replace(folder)
    archive.unlink()
    return False


def _check_folder(folder: Path, expected: Unpacked) -> None:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    if Unpacked(len(sizes), sum(sizes)) != expected:
        raise DataError(
            f"{folder} holds {len(sizes):,} files of {sum(sizes):,} bytes together, and"
            f" {expected.files:,} of {expected.size:,} were unpacked there. Delete it and fetch"
            " again."
        )


def _read_record(cache: Path) -> dict[str, Any]:
    path = cache / RECORD
    if not path.exists():
        return {"files": {}, "folders": {}}
    return read_object(path, files=dict, folders=dict)


def _remember(cache: Path, file: CatalogFile, found: Digest, url: str) -> None:
    record = _read_record(cache)
    entry = {"url": url, "bytes": found.size, "sha256": found.sha256}
    there = record["files"].get(file.file_name, {})
    if (there.get("bytes"), there.get("sha256")) == (found.size, found.sha256):
        return
    if file.sha256 is None:
        logger.info(
            "%s: no checksum is published; recorded %s, which later downloads must have",
            file.file_name,
            found.sha256,
        )
    record["files"][file.file_name] = entry
    write_json(cache / RECORD, record)


def _forget(cache: Path, file: CatalogFile) -> None:
    record = _read_record(cache)
    record["files"].pop(file.file_name, None)
    write_json(cache / RECORD, record)


def fetch_all(
    names: Sequence[str], config: DownloadConfig, source: str | None = None
) -> list[Fetched]:
    """Fetch several resources in turn; unknown names are refused before the first."""
    for name in names:
        find_resource(name)
    return [fetch(name, config, source=source) for name in names]
