"""Lists of shards, as Common Crawl publishes them (`wet.paths.gz`), and samples of shards."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

from corpus.crawl.documents import Shard
from corpus.errors import DataError, UserError
from corpus.fetch.byte_ranges import check_file_name, check_prefix
from corpus.files import READ_ERRORS, Lines, lines_of_file, unpacked
from corpus.remote import RemoteFile, find_files

T = TypeVar("T")

_HASHES = 1 << 64


def read_shard_list(source: str, prefix: str | None = None) -> list[Shard]:
    """Return the shards that a list names, a path or URL a line.

    Args:
        source: Path or URL of the list, plain, `.gz` or `.zst`.
        prefix: What stands before each path: a URL or a directory. Without one, the lines are
            themselves URLs, or paths on this machine.

    Raises:
        UserError: If the list does not exist or is empty.
        DataError: If it is damaged, or a line leads out of the prefix.
    """
    (file,) = find_files([source])
    if isinstance(file, Path):
        with lines_of_file(file) as lines:
            names = _names(lines)
    else:
        try:
            with file.open() as raw, unpacked(raw, file.suffix) as stream:
                names = _names(Lines(stream, Path(file.name)))
        except READ_ERRORS as error:
            raise DataError(f"{file} cannot be read: {error}") from error
    if not names:
        raise UserError(f"{file} lists no shards")
    if prefix is None:
        return find_files(names)
    start = check_prefix(prefix)
    for name in names:
        check_file_name(name)
    if "://" not in start:
        return [Path(start) / name for name in names]
    is_http = urlsplit(start).scheme.lower() in ("http", "https")
    return [RemoteFile(start + (quote(name, "/=") if is_http else name)) for name in names]


def _names(lines: Lines) -> list[str]:
    return [name for line in lines if (name := line.strip())]


def sample_by_name(items: Sequence[T], names: Sequence[str], share: float | None) -> list[T]:
    """Return about a share of some items: those whose names have the least hashes.

    So the same are chosen wherever they lie and whatever else is given, and a larger sample holds
    the smaller ones.

    Raises:
        UserError: If the share is not above 0 and at most 1, or none is chosen.
    """
    if share is None:
        return list(items)
    if not 0 < share <= 1:
        raise UserError(f"--sample is {share}; it must be above 0 and at most 1")
    chosen = [
        item for item, name in zip(items, names, strict=True) if _hash(name) < share * _HASHES
    ]
    if items and not chosen:
        raise UserError(f"--sample {share} chooses none of {len(items):,} shards; choose a larger")
    return chosen


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
