"""The lines of a document before they are split: boilerplate out, mojibake undone."""

import html
from collections.abc import Iterator

import ftfy
import ftfy.badness
import regex

_SEPARATORS = regex.compile(r"[|•·¦►▸→~]|(?<=\s)[›»>/](?=\s)")
_MAX_SEPARATORS = 2
_LINKS = regex.compile(r"https?://\S+|www\.\S+|\S+@\S+\.\p{L}+")
_LETTER = regex.compile(r"\p{L}")
_STOP = regex.compile(r"[.!?…。！？।॥؟۔።፧។။་།։᱾᱿]\W*$")
_NOTICE = regex.compile(r"[©®™]|\(c\)\s*\d{4}|&copy;", regex.IGNORECASE)
_ENTITY = regex.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});", regex.IGNORECASE)
_MAX_LINE_CHARACTERS = 1 << 20
_MIN_WORDS = 3
_MIN_UNSPACED_CHARACTERS = 10


def lines_of(text: str) -> Iterator[str]:
    r"""Yield the lines of a document that hold something; they end at `\n` only."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        if end < 0:
            end = len(text)
        line = text[start:end]
        start = end + 1
        if line and not line.isspace():
            yield line


def boilerplate_reason(line: str) -> str:
    """Return why a line is navigation, a notice or a link rather than prose; empty if it is prose.

    The rules look at form only, since the language is not known yet.
    """
    if len(line) > _MAX_LINE_CHARACTERS:
        return "overlong"
    if not _LETTER.search(line):
        return "no_letters"
    if len(_SEPARATORS.findall(line)) >= _MAX_SEPARATORS and not _STOP.search(line):
        return "navigation"
    if _NOTICE.search(line):
        return "notice"
    if len(_LETTER.findall(_LINKS.sub("", line))) < len(_LETTER.findall(line)) / 2:
        return "link"
    if not _STOP.search(line) and _is_fragment(line):
        return "fragment"
    return ""


def _is_fragment(line: str) -> bool:
    """Say whether a line without a full stop is a heading or a menu entry by its length."""
    words = line.split()
    return len(words) < _MIN_WORDS and len(line.strip()) < _MIN_UNSPACED_CHARACTERS * len(words)


def repair(line: str) -> str:
    """Undo wrong decodings and HTML entities where there are signs of them."""
    if len(line) > _MAX_LINE_CHARACTERS:
        return line
    if _ENTITY.search(line):
        line = html.unescape(line)
    if ftfy.badness.is_bad(line):
        line = ftfy.fix_encoding(line)
    return line
