"""What a translation must have: terms of a glossary; URLs, placeholders and numbers as they are."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import regex

from corpus.errors import DataError, UserError
from corpus.files import read_lines
from corpus.languages import Direction

_KINDS = {
    "urls": regex.compile(
        r"(?:https?://|www\.)[^\s<>\"'，。]*[\p{L}\p{N}/=_#-]|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    ),
    "placeholders": regex.compile(
        r"\$?\{\{?[\w.:-]*\}?\}|%(?:\d+\$)?[sdif@]|%\(\w+\)[sd]|</?[A-Za-z][^<>]{0,200}>"
    ),
    "numbers": regex.compile(r"\p{Nd}+(?:[.,’'٫٬\u00a0\u202f]\p{Nd}+)*"),
}
"""In the order in which they are looked for; what is part of one is not part of another."""

_MAYBE = regex.compile(r"[\p{Nd}@{%<]|www\.|://")
_SHORTEST_NUMBER = 2
"""Digits; smaller numbers are often written as words."""


def find_kept(text: str) -> dict[str, list[str]]:
    """Return by kind what should stay as it is: `urls` and addresses, `placeholders`, `numbers`."""
    found: dict[str, list[str]] = {}
    if _MAYBE.search(text):
        for kind, pattern in _KINDS.items():
            found[kind] = pattern.findall(text)
            text = pattern.sub(" ", text)
    return found


def _digits(number: str) -> str:
    return "".join(str(int(digit)) for digit in number if digit.isdecimal())


def count_lost(source: str, translation: str) -> Counter[str]:
    """Return by kind how many of a text's URLs, placeholders and numbers its translation lacks."""
    there = find_kept(source)
    if not any(there.values()):
        return Counter()
    kept = find_kept(translation)
    lost = {kind: _comparable(kind, there) - _comparable(kind, kept) for kind in there}
    return Counter({kind: missing.total() for kind, missing in lost.items() if missing})


def _comparable(kind: str, found: Mapping[str, list[str]]) -> Counter[str]:
    """Return how often each is there; numbers as their digits, 0 to 9, without separators."""
    texts = found.get(kind, [])
    if kind != "numbers":
        return Counter(texts)
    return Counter(number for number in map(_digits, texts) if len(number) >= _SHORTEST_NUMBER)


class Glossary:
    """Terms of one direction, looked up in a text."""

    def __init__(self, terms: Mapping[str, str]) -> None:
        """Take translations by source term; a term in lower case also stands for other cases."""
        self._terms = dict(terms)
        ordered = sorted(self._terms, key=lambda term: (-len(term), term))
        self._pattern = regex.compile("|".join(map(_pattern, ordered))) if ordered else None

    @classmethod
    def read(cls, path: Path, direction: Direction) -> "Glossary":
        """Read a TSV with a column for each language, named by its code in the first line.

        Rows that lack a term of the direction are left out.

        Raises:
            UserError: If there is no such file, or no column of a language.
            DataError: If a line has another number of columns.
        """
        if not path.is_file():
            raise UserError(f"the glossary {path} does not exist")
        header, *rows = [line.split("\t") for line in read_lines(path)]
        for language in direction:
            if language not in header:
                raise UserError(f"{path} has no column `{language}`; it has {', '.join(header)}")
        places = [header.index(language) for language in direction]
        terms = {}
        for number, row in enumerate(rows, 2):
            if len(row) != len(header):
                raise DataError(
                    f"{path}:{number} has {len(row)} columns, the first line {len(header)}"
                )
            source, target = (row[place].strip() for place in places)
            if source and target:
                terms[source] = target
        return cls(terms)

    def find(self, text: str) -> list[str]:
        """Return the translations of a text's terms, in order; the longest at a place counts."""
        if self._pattern is None:
            return []
        return [self._terms[self._name(match.group())] for match in self._pattern.finditer(text)]

    def _name(self, found: str) -> str:
        return found if found in self._terms else found.lower()


def _pattern(term: str) -> str:
    before = r"(?<![\p{L}\p{M}\p{N}])" if _has_spaces(term[0]) else ""
    after = r"(?![\p{L}\p{M}\p{N}])" if _has_spaces(term[-1]) else ""
    escaped = regex.escape(term)
    return f"{before}(?i:{escaped}){after}" if term == term.lower() else before + escaped + after


def _has_spaces(letter: str) -> bool:
    """Whether a letter is of a script that puts spaces between words."""
    return not regex.match(
        r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]", letter
    )


def must_appear(text: str, glossary: Glossary | None, kinds: Sequence[str]) -> Iterator[str]:
    """Yield what the translation of a text must have: terms, then what stays as it is."""
    if glossary is not None:
        yield from glossary.find(text)
    if kinds:
        found = find_kept(text)
        for kind in kinds:
            yield from found.get(kind, [])
