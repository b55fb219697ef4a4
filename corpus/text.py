"""Text processing for all stages: normalization, sentence keys, scripts."""

import functools
import hashlib
import re
import unicodedata
from collections import Counter

import regex

# Controls, format characters without a meaning of their own in running text, and every kind of
# space. ZWNJ and ZWJ (U+200C, U+200D) stay: Persian and Indic spelling need them.
SPACES = regex.compile(
    r"[\s\p{Cc}\p{Zs}\p{Zl}\p{Zp}\ufeff\u200b\u2060\u00ad\u200e\u200f\u202a-\u202e\u2066-\u2069]+"
)
REPLACEMENT = "\ufffd"
"""U+FFFD, which replaces bytes that are not UTF-8."""

_RUNS = re.compile(" +")
_DIGIT = regex.compile(r"\p{Nd}")
_TEXT = regex.compile(r"[\p{L}\p{M}\p{N}]")
_ZEROS = re.compile("00+")
_CLUSTER_SCRIPTS = {
    "Hans": frozenset({"Hani"}),
    "Hant": frozenset({"Hani"}),
    "Jpan": frozenset({"Hani", "Hira", "Kana"}),
    "Hang": frozenset({"Hang"}),
    "Kore": frozenset({"Hang", "Hani"}),
}
UNSPACED_SCRIPTS = frozenset({"Hans", "Hant", "Jpan", "Khmr", "Laoo", "Mymr", "Thai", "Tibt"})
"""Scripts that put no space between words, so that words cannot be counted by splitting."""

_SCRIPT_NAMES = {
    "Arab": "Arabic", "Armn": "Armenian", "Beng": "Bengali", "Cyrl": "Cyrillic",
    "Deva": "Devanagari", "Ethi": "Ethiopic", "Geor": "Georgian", "Grek": "Greek",
    "Gujr": "Gujarati", "Guru": "Gurmukhi", "Hang": "Hangul", "Hani": "Han", "Hebr": "Hebrew",
    "Hira": "Hiragana", "Kana": "Katakana", "Khmr": "Khmer", "Knda": "Kannada", "Laoo": "Lao",
    "Latn": "Latin", "Mlym": "Malayalam", "Mymr": "Myanmar", "Olck": "Ol_Chiki", "Orya": "Oriya",
    "Sinh": "Sinhala", "Taml": "Tamil", "Telu": "Telugu", "Tfng": "Tifinagh", "Thai": "Thai",
    "Tibt": "Tibetan",
}  # fmt: skip
_SCRIPT_PATTERNS = {
    code: regex.compile(rf"\p{{Script={name}}}") for code, name in _SCRIPT_NAMES.items()
}


def normalize(text: str) -> str:
    """Return text in NFC with controls and all kinds of space as single spaces, stripped.

    Idempotent. Letters, marks, digits, punctuation and joiners are kept as they are.
    """
    composed = unicodedata.normalize("NFC", text)
    # Of what SPACES matches only the plain space is printable; most text needs no slow search.
    if composed.isprintable():
        spaced = _RUNS.sub(" ", composed) if "  " in composed else composed
    else:
        spaced = SPACES.sub(" ", composed)
    return spaced.strip(" ")


class _KeyCharacters(dict[int, str]):
    """Cache of what each character becomes in a sentence's key."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if _DIGIT.match(character):
            character = "0"
        elif not _TEXT.match(character):
            character = " "
        self[code] = character
        return character


_KEY_CHARACTERS = _KeyCharacters()


def key_character(character: str) -> str:
    """Return what a case-folded character becomes in a sentence's key."""
    return _KEY_CHARACTERS[ord(character)]


def sentence_key(text: str) -> str:
    """Return the key that copies of a sentence share: no case, no punctuation, numbers as `0`.

    Sentences from one template that differ in numbers only have the same key.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Character by character in compiled code; searching for the classes takes five times as long.
    key = folded.translate(_KEY_CHARACTERS)
    if "00" in key:
        key = _ZEROS.sub("0", key)
    return " ".join(key.split())


def sentence_hash(text: str) -> int:
    """Return the 64-bit hash of a sentence's key, the same on every machine."""
    return key_hash(sentence_key(text))


def key_hash(key: str) -> int:
    """Return the 64-bit hash of a sentence key, where it is at hand."""
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def scripts_by_code() -> dict[str, str]:
    """Return the Unicode names of the scripts the package knows, by ISO 15924 code."""
    return dict(_SCRIPT_NAMES)


@functools.lru_cache(maxsize=1 << 16)
def script_of_character(character: str) -> str | None:
    """Return the ISO 15924 code of a character's script; None for what all scripts share."""
    for code, pattern in _SCRIPT_PATTERNS.items():
        if pattern.match(character):
            return code
    return None


def scripts_of(text: str) -> Counter[str]:
    """Count the characters of a text by script (ISO 15924), shared ones left out.

    Han characters count as `Hani`, whatever the language; see `script_parts`.
    """
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        script = script_of_character(character)
        if script is not None:
            counts[script] += count
    return counts


def script_parts(script: str) -> frozenset[str]:
    """Return the scripts that a language's script code stands for: `Jpan` is Han and kana."""
    return _CLUSTER_SCRIPTS.get(script, frozenset({script}))


def script_share(text: str, script: str) -> float:
    """Return the share of a text's letters that belong to a language's script, in [0, 1]."""
    counts = scripts_of(text)
    total = sum(counts.values())
    return sum(counts[part] for part in script_parts(script)) / total if total else 0.0
