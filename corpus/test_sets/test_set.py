"""What a test set is, whatever its files are: texts by language, or pairs by direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from corpus.languages import Direction

DOCUMENT, DOMAIN, TOPIC = "document", "domain", "topic"

ALIASES = {
    DOCUMENT: ("document_id", "documentid", "docid", "doc_id", "doc", "par_id", "url", "uri"),
    DOMAIN: ("genre",),
    TOPIC: ("topics",),
}
"""Names that published sets give to the columns of documents, domains and topics."""


class Side(NamedTuple):
    """One language of a set that any two languages of can be paired: N segments."""

    ids: list[str]
    """What aligns the segments of languages; all different."""
    texts: list[list[str]]
    """One text or more, [references][N]."""
    columns: dict[str, list[str]]
    """What is said about each segment, such as its document, [N] each."""
    is_kept: list[bool] | None = None
    """False for segments that the publisher marks as not to be scored."""


class Segments(NamedTuple):
    """One direction of a set of pairs: N segments."""

    source: list[str]
    references: list[list[str]]
    """[references][N]; a segment that a translator left out is empty."""
    columns: dict[str, list[str]]
    translators: tuple[str, ...] = ()
    """Of the references, where they are named."""


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """A test set; it has sides by language, or pairs by direction, never both."""

    __test__ = False  # not a test case, whatever pytest makes of its name

    kind: str
    """Its name in reports, such as `FLORES+`."""
    path: Path
    split: str = ""
    sides: Mapping[str, Callable[[], Side]] = field(default_factory=dict)
    """Readers of languages, by our codes."""
    pairs: Mapping[Direction, Callable[[], Segments]] = field(default_factory=dict)
    """Readers of directions, by our codes."""
    codes: Mapping[str, str] = field(default_factory=dict)
    """The set's own name of each language."""
    reversible: bool = False
    """Whether pairs may be scored the other way round."""
    notes: tuple[str, ...] = ()
    """What a reader of scores should know, such as files that were left out."""

    @property
    def languages(self) -> list[str]:
        """Return all languages, sorted."""
        return sorted(set(self.sides) | {code for pair in self.pairs for code in pair})


def set_title(kind: str, path: Path, split: str) -> str:
    """Return a test set's name: its kind and split; of kinds that are no one's set, its file's."""
    name = kind if kind[:1].isupper() else f"{path.name} ({kind})"
    return f"{name} {split}".strip()


def standard_columns(columns: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return columns with the usual names beside the published ones; empty columns are left out."""
    found = {name.casefold(): values for name, values in columns.items() if any(values)}
    for name, aliases in ALIASES.items():
        alias = next((one for one in aliases if one in found), None)
        if name not in found and alias is not None:
            found[name] = found[alias]
    return found
