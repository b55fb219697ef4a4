"""Lists of pages, paths and domains, and which of them an address is on."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from corpus.errors import UserError
from corpus.files import open_lines
from corpus.text import key_hash


class AddressList:
    """Domains with all below, and pages or paths with all below; eight bytes each in memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Read lists.

        Raises:
            UserError: If a line is neither a domain nor an address, or a list is empty.
        """
        hashes: set[int] = set()
        for file in files:
            found = {key_hash(entry) for entry in _read(file)}
            if not found:
                raise UserError(f"{file} lists no domain and no address")
            hashes |= found
        self._hashes = np.array(sorted(hashes), np.uint64)

    def __contains__(self, address: str) -> bool:
        """Whether the page, a path above it, or its domain or one above it is listed."""
        if not len(self._hashes):
            return False
        wanted = np.array([key_hash(place) for place in _places(address)], np.uint64)
        if not len(wanted):
            return False
        found = np.searchsorted(self._hashes, wanted)
        found[found == len(self._hashes)] = 0
        return bool((self._hashes[found] == wanted).any())


@functools.lru_cache(maxsize=4)
def read_addresses(files: tuple[Path, ...]) -> AddressList:
    """Read lists once per process."""
    return AddressList(files)


def _read(file: Path) -> Iterator[str]:
    for number, line in enumerate(open_lines(file), 1):
        entry = line.strip()
        if entry and not entry.startswith("#"):
            parts = _split(entry)
            if parts is None:
                raise UserError(
                    f"{file}:{number}: `{entry[:200]}` is neither a domain nor an address; write"
                    " `example.org`, `example.org/forum` or a whole URL"
                )
            host, path = parts
            yield host + path


def _split(address: str) -> tuple[str, str] | None:
    """Return host, in lower case and ASCII, and path with query but without the slash behind it."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host = (parts.hostname or "").strip(".")
        if not host.isascii():
            host = host.encode("idna").decode()
    except (UnicodeError, ValueError):
        return None
    if not host or any(character.isspace() for character in host):
        return None
    query = f"?{parts.query}" if parts.query else ""
    return host, parts.path.rstrip("/") + query


def _places(address: str) -> Iterator[str]:
    """Yield what may be listed of an address: domains above it, its path and the paths above."""
    parts = _split(address) if "://" in address else None
    if parts is None:
        return
    host, path = parts
    labels = host.split(".")
    for place in range(len(labels)):
        yield ".".join(labels[place:])
    for place, character in enumerate(path):
        if character in "/?" and place:
            yield host + path[:place]
    if path:
        yield host + path
