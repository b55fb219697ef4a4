"""Text as the identifier sees it: one preparation for training and for use.

Built on `corpus.text.normalize`. On top of it: lower case (an all-capitals text is the same
language), digits folded, runs of scripts without spaces cut into four-character pieces (fastText
has no other idea of a short context there), and the tokens that fastText reads as commands
defused.
"""

from __future__ import annotations

import re
import unicodedata

import regex

from corpus.text import UNSPACED_SCRIPTS, normalize, script_parts

MAX_CHARACTERS = 2_000
"""Longer lines are identified by their first characters; more text adds nothing."""

PIECE_CHARACTERS = 4
"""Length of the pieces of text without spaces (measured: .63 → .78 F1 on short text)."""

_UNSPACED_CODES = sorted(set().union(*(script_parts(script) for script in UNSPACED_SCRIPTS)))
UNSPACED = "[" + "".join(rf"\p{{Script={code}}}" for code in _UNSPACED_CODES) + "]"
"""Pattern of a character in a script without spaces."""

# Possessive, so that a mark is never split from its letter to make up the number.
_UNSEGMENTED = regex.compile(rf"(?:{UNSPACED}\p{{M}}*+){{{PIECE_CHARACTERS}}}+(?=\S)")
_MAY_BE_UNSPACED = re.compile("[\u0e00-\u109f\u1780-\u19ff\u2e80-\U0010ffff]")
"""Ranges that hold all of UNSPACED and little else: a cheap look before the dear one."""

_DIGITS = re.compile(r"\d+")
_REPEATED_MARK = re.compile(r"([^\w\s])\1+")
_LEFT_OUT = regex.compile(
    r"(?<=[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Arabic}"
    r"\p{Script=Hebrew}])\p{Mn}+"
)


def prepare(line: str) -> str:
    """Return the line as fastText shall see it: one line, tokens separated by single spaces.

    Anything goes in: control characters, NUL, lone surrogates, megabytes. What comes out holds
    no line break, no lone surrogate and none of fastText's own tokens; it may be empty.
    """
    text = line[:MAX_CHARACTERS]
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    # One sigma, so that lower case does not depend on where a word ends.
    text = normalize(text).lower().replace("ς", "σ")
    text = _DIGITS.sub("0", text)
    text = _REPEATED_MARK.sub(r"\1", text)
    return defuse(cut_unspaced(text))


def cut_unspaced(text: str) -> str:
    """Cut runs of scripts without spaces into pieces of four letters with their marks."""
    return _UNSEGMENTED.sub(r"\g<0> ", text) if _MAY_BE_UNSPACED.search(text) else text


def defuse(text: str) -> str:
    """Break what fastText would read as a label (`__label__x`) or the end of a line (`</s>`)."""
    return " ".join(text.replace("__", "_ ").replace("</s>", " ").split())


def without_diacritics(text: str) -> str:
    """Return text as people type it who leave diacritics out.

    Marks go where a letter stands without them (Latin, Cyrillic, Greek, Arabic, Hebrew); in Indic
    and other scripts they are vowels and stay.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _LEFT_OUT.sub("", unicodedata.normalize("NFD", text)))
