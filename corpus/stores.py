"""Directories in object stores, worked on in a copy on this machine.

Arrow, NumPy and FAISS map files, and jobs append to logs and hold locks: object stores have none of
that. So a command that is given `s3://bucket/prefix` works in a directory of scratch space, a path
like any other. What it reads is fetched there when it is needed, checked by size and version; what
a task made is uploaded when it is whole, before its receipt. An object appears whole or not at all,
and what belongs to an output is what its receipts name.

Scratch space is `$TONGUES_SCRATCH`, or `stores` in the cache directory. It may be deleted whenever
no command runs.
"""

import contextlib
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from corpus.errors import UserError
from corpus.files import atomic_path, make_directory, read_json, write_json
from corpus.remote import RemoteFile, find_files, is_url

SCRATCH_VARIABLE = "TONGUES_SCRATCH"
_VERSIONS = ".versions"
"""Directory in the scratch space of a bucket: of each file there, which object it is a copy of."""

_DOMAIN = ".domain"
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Store:
    """A bucket and its directory in scratch space; picklable, for workers."""

    url: str
    root: Path
    listed: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=dict, compare=False, repr=False
    )
    """Entries of directories, by their names, as this process last saw them."""

    def __reduce__(self) -> tuple[type["Store"], tuple[str, Path]]:
        """Leave out what was seen."""
        return Store, (self.url, self.root)

    def file(self, name: str) -> RemoteFile:
        """Return the object of a name below the bucket."""
        return RemoteFile(f"{self.url}/{name}" if name else self.url)

    def entries(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the entries of a directory as they were when it was first asked for."""
        if name not in self.listed:
            self.listed[name] = self.file(name).entries()
        return self.listed[name]

    def note(self, name: str, entry: dict[str, Any] | None) -> None:
        """Correct what was seen of a directory by what this process did there."""
        folder, _, last = name.rpartition("/")
        if folder in self.listed:
            if entry is None:
                self.listed[folder].pop(last, None)
            else:
                self.listed[folder][last] = entry


class Place(NamedTuple):
    """A path in scratch space as what it is a copy of."""

    store: Store
    name: str

    @property
    def file(self) -> RemoteFile:
        """The object."""
        return self.store.file(self.name)


def place_below(place: Place, name: str) -> Place:
    """Return the place of a name in a directory."""
    return Place(place.store, f"{place.name}/{name}" if place.name else name)


_stores: dict[str, Store] = {}
"""By their directories, with a separator behind them."""


def is_store_url(text: str) -> bool:
    """Return whether a text names a place in an object store, which can be listed and written."""
    return is_url(text) and "::" not in text and not text.lower().startswith(("http:", "https:"))


def open_place(text: str) -> Path:
    """Return a path for what a user gave as one: itself, or that of its copy in scratch space.

    Raises:
        UserError: If it is a URL that cannot be written to.
    """
    if not is_url(text):
        return Path(text)
    if text.lower().startswith(("file://", "local://")):
        return Path(str(find_files([text])[0]))
    if not is_store_url(text):
        raise UserError(
            f"{RemoteFile(text)}: a directory to read from or write to is a path, or a URL of an"
            " object store, as s3://bucket/prefix"
        )
    parts = urlsplit(text)
    names = [name for name in parts.path.split("/") if name]
    if not parts.netloc or parts.query or parts.fragment or ".." in names or "." in names:
        raise UserError(f"{RemoteFile(text)} should be like s3://bucket/prefix")
    scratch = Path(os.environ.get(SCRATCH_VARIABLE) or _cache() / "stores").absolute()
    root = scratch / parts.scheme / parts.netloc.rpartition("@")[2].replace(":", "_")
    use([Store(f"{parts.scheme}://{parts.netloc}", root)])
    return root.joinpath(*names)


def _cache() -> Path:
    given = os.environ.get("TONGUES_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "tongues"


def known() -> tuple[Store, ...]:
    """Return the stores that this process uses, for its workers."""
    return tuple(_stores.values())


def use(stores: Iterable[Store]) -> None:
    """Know paths in scratch space as copies of what is in stores."""
    for store in stores:
        _stores.setdefault(f"{store.root}{os.sep}", store)


def place_of(path: Path) -> Place | None:
    """Return what a path is a copy of; None for any other path."""
    if not _stores:
        return None
    absolute = os.path.abspath(path)  # noqa: PTH100 - it does not resolve links
    for root, store in _stores.items():
        if absolute.startswith(root):
            return Place(store, absolute[len(root) :].replace(os.sep, "/"))
    return None


def shown(path: Path) -> str:
    """Return what a user calls a path."""
    place = place_of(path)
    return str(path) if place is None else str(place.file)


def look_again() -> None:
    """Forget what was seen of the stores: others may have written since."""
    for store in _stores.values():
        store.listed.clear()


def exists(path: Path) -> bool:
    """Return whether a file or directory is there, or in the store that it would be a copy of."""
    place = place_of(path)
    if place is None:
        return path.exists()
    folder, _, name = place.name.rpartition("/")
    return name in place.store.entries(folder)


def names_in(directory: Path) -> list[str]:
    """Return the names in a directory, or in the one of a store, sorted; none if it is missing."""
    place = place_of(directory)
    if place is not None:
        return sorted(place.store.entries(place.name))
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


def describe(path: Path) -> dict[str, Any] | None:
    """Return the entry of receipts for a file of a store; None if it is none, or not there."""
    place = place_of(path)
    if place is None:
        return None
    folder, _, name = place.name.rpartition("/")
    entry = place.store.entries(folder).get(name)
    if entry is None:
        return None
    return {"path": str(place.file), "bytes": entry["bytes"], "version": entry["version"]}


def describe_copy(path: Path) -> dict[str, Any] | None:
    """Return the entry of receipts for the object that a file is a copy of, as it was copied."""
    place = place_of(path)
    if place is None or not _is_known(place, path):
        return None
    size, version = read_json(_versions_file(place))["version"]
    return {"path": str(place.file), "bytes": size, "version": version}


def fetch(path: Path) -> Path:
    """Make a file of a store current in scratch space, if it is in the store; return the path.

    Raises:
        DataError: If it cannot be read.
    """
    place = place_of(path)
    if place is None or path.name.startswith("."):  # a temporary file
        return path
    entry = place.file.find()
    if entry is None:
        if _is_known(place, path):  # a copy of what is no longer there
            path.unlink(missing_ok=True)
        return path
    if entry["is_directory"] or _is_current(place, path, entry):
        return path
    with (
        atomic_path(path) as temporary,
        place.file.open() as source,
        temporary.open("wb") as target,
    ):
        while data := source.read(_COPY_BYTES):
            target.write(data)
    _note(place, path, entry)
    return path


def fetch_changed(path: Path) -> None:
    """Fetch a file if its directory's entries, as they were last seen, name another version."""
    place = place_of(path)
    if place is not None:
        folder, _, name = place.name.rpartition("/")
        entry = place.store.entries(folder).get(name)
        if entry is not None and not _is_current(place, path, entry):
            fetch(path)


def pull(directory: Path) -> Path:
    """Make all files in a directory of a store current in scratch space; return the path.

    Those that are no longer in the store are removed. Directories in it are left as they are.
    """
    place = place_of(directory)
    if place is None:
        return directory
    place.store.listed.pop(place.name, None)
    there = place.store.entries(place.name)
    for name, entry in there.items():
        if not entry["is_directory"] and not _is_current(
            place_below(place, name), directory / name, entry
        ):
            fetch(directory / name)
    if directory.is_dir():
        for path in directory.iterdir():
            if path.name not in there and _is_known(place_below(place, path.name), path):
                path.unlink(missing_ok=True)
    return directory


def publish(path: Path) -> None:
    """Upload a file if the store does not have it as it is here.

    Raises:
        DataError: If it cannot be written.
    """
    place = place_of(path)
    if place is not None and not _is_known(place, path):
        upload(path)


def upload(path: Path) -> None:
    """Upload a file to the store that it is a copy of, if it is one.

    Raises:
        DataError: If it cannot be written.
    """
    place = place_of(path)
    if place is None:
        return
    state = _state(path)
    place.file.upload(path)
    entry = place.file.find()
    if entry is not None:
        _note(place, path, entry, state)


def remove(path: Path) -> None:
    """Delete a file, and its object; neither need be there."""
    path.unlink(missing_ok=True)
    place = place_of(path)
    if place is not None:
        place.file.remove()
        place.store.note(place.name, None)


def remove_all(directory: Path) -> None:
    """Delete the objects of a directory of a store and those below it; not what is here."""
    place = place_of(directory)
    if place is None:
        return
    for name, entry in place.file.entries().items():
        if entry["is_directory"]:
            remove_all(directory / name)
        else:
            place.store.file(f"{place.name}/{name}").remove()
    place.store.listed.clear()


def domain(path: Path) -> str:
    """Return the name of the scratch space that a path is in, which is random.

    Processes of one scratch space see each other's locks.
    """
    place = place_of(path)
    if place is None:
        return ""
    file = place.store.root / _DOMAIN
    if not file.exists():
        make_directory(file.parent)
        with contextlib.suppress(FileExistsError), file.open("x", encoding="ascii") as new:
            new.write(uuid.uuid4().hex[:8])
    return file.read_text(encoding="ascii")


def _state(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _versions_file(place: Place) -> Path:
    return place.store.root / _VERSIONS / f"{place.name}.json"


def _note(place: Place, path: Path, entry: dict[str, Any], state: list[int] | None = None) -> None:
    place.store.note(place.name, entry)
    file = _versions_file(place)
    make_directory(file.parent)
    write_json(file, {"state": state or _state(path), "version": _version(entry)})


def _version(entry: dict[str, Any]) -> list[Any]:
    return [entry["bytes"], entry["version"]]


def _is_known(place: Place, path: Path) -> bool:
    """Return whether a file is as it was fetched or uploaded."""
    file = _versions_file(place)
    return path.exists() and file.exists() and bool(read_json(file)["state"] == _state(path))


def _is_current(place: Place, path: Path, entry: dict[str, Any]) -> bool:
    """Return whether a file is a copy of the object as it is now."""
    return _is_known(place, path) and bool(
        read_json(_versions_file(place))["version"] == _version(entry)
    )
