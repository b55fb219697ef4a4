"""The lines of a document before they are split: boilerplate out, mojibake undone."""

import html
import re
from collections.abc import Iterator

import ftfy
import ftfy.badness
import regex

SEPARATORS, SPACED_SEPARATORS = "|•·¦►▸→~", "›»>/"
_SEPARATORS = re.compile(rf"[{SEPARATORS}]|(?<=\s)[{SPACED_SEPARATORS}](?=\s)")
_MAX_SEPARATORS = 2
# An address has 64 bytes before its @ (RFC 5321, 4.5.3.1.1); without a limit, a long line without
# spaces takes the square of its length.
_LINKS = regex.compile(r"https?://\S+|www\.\S+|\S{1,64}@\S{1,255}\.\p{L}+")
_LINK_SIGNS = ("://", "www.", "@")
LETTER = regex.compile(r"\p{L}")
WORD = regex.compile(r"\w")
STOPS = frozenset(".!?…。！？।॥؟۔።፧။།་։᱾᱿")
_SIGN = r"(?:©|&copy;|\(c\)(?=\s*\d{4}))"
_NOTICE = re.compile(rf"\W*(?:copyright\b\W*)?{_SIGN}|.*{_SIGN}\W*(?:19|20)\d\d", re.IGNORECASE)
_MAX_NOTICE_CHARACTERS = 200
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});", re.IGNORECASE)
_MAX_LINE_CHARACTERS = 1 << 20
_MIN_WORDS = 3
_MIN_UNSPACED_CHARACTERS = 10
# What ftfy calls bad has one of these in it, within so many characters.
_BAD_CATEGORIES = (
    "c1", "bad", "law", "currency", "start_punctuation", "end_punctuation", "numeric",
    "upper_accented", "lower_accented", "box",
)  # fmt: skip
_SIGNS_OF_BAD = re.compile(
    f"[{''.join(ftfy.badness.MOJIBAKE_CATEGORIES[name] for name in _BAD_CATEGORIES)}ÙЂ°]+"
)
_BAD_SPAN = 5


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
    if not LETTER.search(line):
        return "no_letters"
    has_stop = _ends_with_stop(line)
    if not has_stop and len(_SEPARATORS.findall(line)) >= _MAX_SEPARATORS:
        return "navigation"
    if is_notice(line):
        return "notice"
    if any(sign in line for sign in _LINK_SIGNS) and _is_mostly_links(line):
        return "link"
    if not has_stop and _is_fragment(line):
        return "fragment"
    return ""


def is_notice(text: str) -> bool:
    """Say whether a line or sentence is a copyright notice, not prose with such a sign in it."""
    return len(text) <= _MAX_NOTICE_CHARACTERS and _NOTICE.match(text) is not None


def _ends_with_stop(line: str) -> bool:
    """Say whether a full stop of any script is among the marks and spaces that end a line."""
    for position in range(len(line) - 1, -1, -1):
        if line[position] in STOPS:
            return True
        if _IS_WORD[line[position]]:
            return False
    return False


class _IsWord(dict[str, bool]):
    """Of each character met: whether it is a letter, mark, digit or underscore."""

    def __missing__(self, character: str) -> bool:
        self[character] = WORD.match(character) is not None
        return self[character]


_IS_WORD = _IsWord()


def _is_mostly_links(line: str) -> bool:
    return len(LETTER.findall(_LINKS.sub("", line))) < len(LETTER.findall(line)) / 2


def _is_fragment(line: str) -> bool:
    """Say whether a line without a full stop is a heading or a menu entry by its length."""
    words = line.split()
    return len(words) < _MIN_WORDS and len(line.strip()) < _MIN_UNSPACED_CHARACTERS * len(words)


def repair(line: str) -> str:
    """Undo wrong decodings and HTML entities where there are signs of them."""
    if len(line) > _MAX_LINE_CHARACTERS:
        return line
    if "&" in line and _ENTITY.search(line):
        line = html.unescape(line)
    if looks_bad(line):
        line = ftfy.fix_encoding(line)
    return line


def looks_bad(line: str) -> bool:
    """Return what `ftfy.badness.is_bad` returns, looking only where it can find something.

    Its pattern takes most of the time of this stage if every line is searched from end to end.
    """
    if line.isascii():
        return False
    search = ftfy.badness.BADNESS_RE.search
    return any(
        search(line, max(0, sign.start() - _BAD_SPAN), sign.end() + _BAD_SPAN)
        for sign in _SIGNS_OF_BAD.finditer(line)
    )
