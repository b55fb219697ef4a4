"""Text as a model sees it: the same preparation in training and in use.

`prepare` is that of this package's models. Built on `corpus.text.normalize`; on top of it: letters
of other widths and shapes folded, lower case (an all-capitals text is the same language), digits
folded, runs of scripts without spaces cut into four-character pieces (fastText has no other idea of
a short context there), and the tokens that fastText reads as commands broken up.

Imported models get what they were trained on: `prepare_plain`, `prepare_openlid`, `prepare_nllb`.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping

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

_FOLDED_KINDS = frozenset(
    ("<wide>", "<narrow>", "<font>", "<circle>", "<initial>", "<medial>", "<final>", "<isolated>")
)
_FOLDED_BLOCKS = (range(0xFB00, 0xFB50), range(0x2E80, 0x2FE0))
"""Ligatures of letters, and radicals that stand for characters."""

_END_FOLDED = 0x1F200

MAY_BE_FOLDED = re.compile(
    "[\u2100-\u214f\u2460-\u24ff\u2e80-\u2fdf\u3130-\u318f\u3200-\u33ff\ufb00-\ufdff\ufe70-\ufefe"
    "\uff21-\uff3a\uff41-\uff5a\uff66-\uffdc\U0001d400-\U0001f1ff]"
)
"""Ranges that hold all folded letters and little else: a cheap look before the dear one."""

_OPENLID_REMOVED = regex.compile(r"[^\p{Word}\p{Zs}]|\d")
_NLLB_REMOVED = regex.compile(r"[0-9\p{P}\p{S}]+")
_SPACES = re.compile(r"\s\s+")

_DIGITS = re.compile(r"\d+")
_REPEATED_MARK = re.compile(r"([^\w\s])\1+")
_LEFT_OUT = regex.compile(
    r"(?<=[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Arabic}"
    r"\p{Script=Hebrew}])\p{Mn}+"
)


def prepare(line: str) -> str:
    """Prepare a line as for this package's own models: tokens separated by single spaces.

    Anything goes in: control characters, NUL, lone surrogates, megabytes. What comes out holds
    no line break, no lone surrogate and none of fastText's own tokens; it may be empty.
    """
    text = line[:MAX_CHARACTERS]
    if not text.isascii():
        text = fold(text.encode("utf-8", "replace").decode("utf-8"))
    # One sigma, so that lower case does not depend on where a word ends.
    text = normalize(text).lower().replace("ς", "σ")
    text = _DIGITS.sub("0", text)
    text = _REPEATED_MARK.sub(r"\1", text)
    return defuse(cut_unspaced(text))


@functools.cache
def folded_letters() -> Mapping[int, str]:
    """Return what letters of another width or shape stand for, by code point.

    Full-width Latin, half-width kana and Hangul, mathematical and encircled letters, Arabic and
    Hebrew presentation forms, Latin and Armenian ligatures, Chinese radicals: the letters of their
    compatibility decomposition. Punctuation and digits stay.
    """
    found = {}
    for point in range(0x2100, _END_FOLDED):
        kind, _, _ = unicodedata.decomposition(chr(point)).partition(" ")
        is_folded = kind in _FOLDED_KINDS
        is_folded |= kind == "<compat>" and any(point in block for block in _FOLDED_BLOCKS)
        letters = unicodedata.normalize("NFKC", chr(point)) if is_folded else ""
        if letters and all(unicodedata.category(letter)[0] in "LM" for letter in letters):
            found[point] = letters
    return found


def fold(text: str) -> str:
    """Replace letters of another width or shape by those they stand for; see `folded_letters`."""
    return text.translate(folded_letters()) if MAY_BE_FOLDED.search(text) else text


def prepare_plain(line: str) -> str:
    """Prepare a line as most published models were trained: on one line, letters unchanged.

    Letters of other widths and shapes are folded, and what fastText reads as commands goes.
    """
    text = normalize(fold(line[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")))
    return text.replace("</s>", " ").replace("__label__", " ").strip()


def prepare_openlid(line: str) -> str:
    """Prepare a line as OpenLID v2 and v3 were trained.

    Lower case, without digits and all that is neither letter, mark, joiner nor space
    (`clean_line` in OpenLID's openlid_normer.py). A line that holds nothing else becomes `0`, so
    that it is told from an empty one.
    """
    text = prepare_plain(line)
    cleaned = _SPACES.sub(" ", _OPENLID_REMOVED.sub("", text.lower())).strip()
    return cleaned or ("0" if text else "")


def prepare_nllb(line: str) -> str:
    """Prepare a line as NLLB's LID was trained: without digits and punctuation, case kept.

    The training scripts of the NLLB branch of fairseq (`remove_punc_numbers` in examples/nllb/lid)
    delete 0 to 9 and `[[:punct:]]`; whether their locale counted vowel signs and viramas as
    punctuation is not known, so marks stay. A line that holds nothing else becomes `0`.
    """
    text = prepare_plain(line)
    return _SPACES.sub(" ", _NLLB_REMOVED.sub("", text)).strip() or ("0" if text else "")


def is_nllb_word(word: str) -> bool:
    """Whether a word may occur in a text that `prepare_nllb` made."""
    return not _NLLB_REMOVED.search(word)


def is_openlid_word(word: str) -> bool:
    """Whether a word may occur in a text that `prepare_openlid` made."""
    return word == word.lower() and not _OPENLID_REMOVED.search(word)


def cut_unspaced(text: str) -> str:
    """Cut runs of scripts without spaces into pieces of four letters with their marks."""
    return _UNSEGMENTED.sub(r"\g<0> ", text) if _MAY_BE_UNSPACED.search(text) else text


def defuse(text: str) -> str:
    """Break what fastText would read as a label (`__label__x`) or the end of a line (`</s>`)."""
    return " ".join(text.replace("__", "_ ").replace("</s>", " ").split())


def without_diacritics(text: str) -> str:
    """Remove the diacritics that people leave out when they type.

    Marks go where a letter stands without them (Latin, Cyrillic, Greek, Arabic, Hebrew); in Indic
    and other scripts they are vowels and stay.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _LEFT_OUT.sub("", unicodedata.normalize("NFD", text)))
