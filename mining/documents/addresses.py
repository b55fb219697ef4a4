"""Addresses of documents that differ in the name of the language only."""

import functools
from collections import defaultdict
from collections.abc import Iterable

import regex

from corpus.language_names import language_choices
from corpus.languages import Direction, find_language

_PARTS = regex.compile(r"[\p{L}\p{Nd}]+(?:[-_][\p{L}\p{Nd}]+)*|[^\p{L}\p{Nd}]+")
_MARK = "*"
_EMPTY = regex.compile(r"(?<=/)\*/|(?<=//)\*\.|[?&]\w+=\*(?=&|$)")
_LONGEST = 12
"""Characters of a name of a language in an address, as `portuguese`."""


def match_addresses(
    sources: Iterable[str], targets: Iterable[str], direction: Direction
) -> list[tuple[str, str]]:
    """Return pairs of addresses that are equal but for the name of their language.

    `/en/` and `/de/`, `lang=en` and `lang=de`, `en.example.org` and `de.example.org`,
    `page-en.html` and `page-de.html`, or a name on one side and none on the
    other. What could be paired several ways is left out.
    """
    keys: list[dict[str, set[str]]] = []
    for addresses, language in zip((sources, targets), direction, strict=True):
        by_key: dict[str, set[str]] = defaultdict(set)
        for address in addresses:
            for key in address_keys(address, language):
                by_key[key].add(address)
        keys.append(by_key)
    pairs = {
        (next(iter(keys[0][key])), next(iter(keys[1][key])))
        for key in keys[0].keys() & keys[1].keys()
        if len(keys[0][key]) == 1 == len(keys[1][key])
    }
    once: list[dict[str, int]] = [defaultdict(int), defaultdict(int)]
    for pair in pairs:
        for side in (0, 1):
            once[side][pair[side]] += 1
    return sorted(pair for pair in pairs if all(once[side][pair[side]] == 1 for side in (0, 1)))


def address_keys(address: str, language: str) -> set[str]:
    """Return an address with a mark in place of its language, and without it.

    An address that does not name the language is its own key.
    """
    parts = _PARTS.findall(address)
    marked = "".join(_MARK if _names(part, language) else part for part in parts)
    if marked == address:
        for part in parts:  # `page-en` and `page_en` are one part
            for cut in ("-", "_"):
                pieces = part.split(cut)
                if len(pieces) > 1 and _names(pieces[-1], language):
                    stem = cut.join(pieces[:-1])
                    return {
                        address.replace(part, f"{stem}{cut}{_MARK}"),
                        address.replace(part, stem),
                    }
        return {address}
    return {marked, _EMPTY.sub("", marked)}


@functools.lru_cache(maxsize=1 << 16)
def _names(part: str, language: str) -> bool:
    """Say whether a part of an address is a name of the language."""
    if not 2 <= len(part) <= _LONGEST or not part[0].isalpha():
        return False
    choices = language_choices(part) or language_choices(part.replace("_", "-"))
    return find_language(language, choices) is not None
