"""What pages are asked for, as conditions on the columns of Common Crawl's columnar index."""

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from corpus.errors import UserError
from corpus.files import open_lines
from corpus.language_registry import iso_language

HOST, URL, LANGUAGES = "url_host_name", "url", "content_languages"
STATUS, MEDIA_TYPE = "fetch_status", "content_mime_detected"
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_WWW = re.compile(r"www\d*\.")


@dataclass(frozen=True, kw_only=True)
class Query:
    """Conditions that a page must meet, all of them; of several values of one, any.

    No values set no condition.
    """

    languages: tuple[str, ...] = ()
    """ISO 639-3 codes as the index has them."""

    main_language: bool = False
    """Whether the first language counts only."""

    domains: tuple[str, ...] = ()
    """Top-level domains, domains and hosts, as `bzh` and `example.bzh`, with all below."""

    places: tuple[str, ...] = ()
    """Starts of URLs without their scheme, as `example.bzh/` and `example.bzh/br/`."""

    statuses: tuple[int, ...] = ()
    media_types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.languages or self.domains or self.places):
            raise UserError("nothing to select by: give --language, --domain or --near")

    @property
    def columns(self) -> list[str]:
        """The columns that `select` needs; the URL, the largest, only where paths are asked for."""
        used = {
            LANGUAGES: self.languages,
            HOST: self.domains or self.places,
            STATUS: self.statuses,
            MEDIA_TYPE: self.media_types,
            URL: self._paths,
        }
        return [column for column, values in used.items() if values]

    @functools.cached_property
    def _paths(self) -> tuple[str, ...]:
        """The places that are more than a host."""
        return tuple(place for place in self.places if place.partition("/")[2])

    @functools.cached_property
    def _hosts(self) -> frozenset[str]:
        return frozenset(place.partition("/")[0] for place in self.places)

    def select(self, table: pa.Table) -> pa.BooleanArray:
        """Return which rows of a table with `columns` meet the conditions."""
        tests: dict[str, Callable[[Any], bool]] = {
            LANGUAGES: self._has_language,
            HOST: self._is_host,
            STATUS: frozenset(self.statuses).__contains__,
            MEDIA_TYPE: frozenset(self.media_types).__contains__,
            URL: self._is_place,
        }
        mask = pa.array([True] * table.num_rows, pa.bool_())
        for column in self.columns:
            mask = pc.and_(mask, _test_each(table.column(column), tests[column]))
        return mask

    def _has_language(self, value: str) -> bool:
        found = value.split(",")
        return any(code in self.languages for code in (found[:1] if self.main_language else found))

    def _is_host(self, host: str) -> bool:
        parts = host.split(".")
        names = {".".join(parts[place:]) for place in range(len(parts))}
        return (not self.domains or not names.isdisjoint(self.domains)) and (
            not self.places or host in self._hosts
        )

    def _is_place(self, url: str) -> bool:
        return url.partition("://")[2].startswith(self.places)

    def may_match(self, lowest: bytes, highest: bytes) -> bool:
        """Return whether pages between two SURT keys may be on the hosts that are asked for.

        A SURT key begins with the host's parts from the last to the first and leaves out `www`, as
        `bzh,example)/path`.
        """
        starts = _surt_starts(self.domains or tuple(sorted(self._hosts)))
        return not starts or any(start <= highest[: len(start)] and lowest[: len(start)] <= start
                                 for start in starts)  # fmt: skip


@functools.lru_cache(maxsize=4)
def _surt_starts(hosts: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(
        ",".join(reversed(_WWW.sub("", host, count=1).split("."))).encode() for host in hosts
    )


def _test_each(column: pa.ChunkedArray, test: Callable[[Any], bool]) -> pa.Array:
    """Return what a test says of each value, asking it of different ones only; no to nulls."""
    encoded = column.combine_chunks()
    if not isinstance(encoded, pa.DictionaryArray):
        encoded = encoded.dictionary_encode()
    values = encoded.dictionary
    if pa.types.is_binary(values.type):
        values = values.cast(pa.string())
    answers = pa.array([test(value) for value in values.to_pylist()], pa.bool_())
    return answers.take(encoded.indices).fill_null(False)


def index_languages(code: str) -> tuple[str, ...]:
    """Return the codes that the index may have for a language: its own and its macrolanguage's.

    Common Crawl's index has what CLD2 knows, by ISO 639-3: `nor` for Bokmål, `zho` for Mandarin.
    """
    own = code.partition("_")[0]
    found = iso_language(own)
    wider = found.macrolanguage if found is not None else None
    return (own, wider) if wider else (own,)


def check_domain(domain: str) -> str:
    """Return a domain as the index has it: lower case, in ASCII, without dots around it.

    Raises:
        UserError: If it is none.
    """
    name = domain.strip().lower().strip(".")
    try:
        name = name.encode("idna").decode() if not name.isascii() else name
    except UnicodeError:
        name = ""
    if not name or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise UserError(
            f"--domain {domain}: not a domain; give one as `example.org`, or a top-level one as"
            " `bzh`, without `https://` and path"
        )
    return name


def read_places(files: Iterable[Path], near: str) -> tuple[str, ...]:
    """Return where the pages of some files are, as starts of URLs without scheme.

    Args:
        files: A URL a line; what follows a tab is ignored.
        near: `host` or `path`.

    Raises:
        UserError: If a line is no URL.
    """
    places: set[str] = set()
    for file in files:
        for number, line in enumerate(open_lines(file), 1):
            url = line.partition("\t")[0].strip()
            if url:
                places.add(_place_of(file, number, url, near))
        if not places:
            raise UserError(f"--near {file} lists no pages")
    return tuple(sorted(places))


def _place_of(file: Path, number: int, url: str, near: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in ("http", "https") else None
    except ValueError:
        parts, host = urlsplit(""), None
    if not host:
        raise UserError(f"{file}:{number}: `{url[:200]}` is no URL of a page")
    netloc = parts.netloc.rpartition("@")[2].lower() if near == "path" else host
    return netloc + (parts.path.rpartition("/")[0] + "/" if near == "path" else "/")
