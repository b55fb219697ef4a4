"""Which language a test set means: WMT's `zh`, WMT24++'s `de_DE`, NTREX's `fra-CA`, `cmn_Hans`.

Names are understood as everywhere (`corpus.language_names`). Where one may mean several languages
the likeliest is taken, or what test sets mean by it; reports state which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from corpus.languages import find_language, is_language, known_languages, language_choices

_IN_TEST_SETS = {"no": "nob_Latn", "nor": "nob_Latn", "ar_EG": "arz_Arab"}
"""Norwegian is Bokmål in WMT and TED; WMT24++'s Arabic of Egypt is Egyptian Arabic."""

_REGION = re.compile(r"[a-z]{2,3}[_-](?P<region>[A-Z]{2}|\d{3})")
_DIRECTION = re.compile(r"[a-z]{2,3}-[a-z]{2,3}")
_MAIN_REGIONS = frozenset({
    "DE", "ES", "FR", "PT", "US", "KE", "SA", "IN", "RS", "CN", "IT", "NL", "RU", "GB",
})  # fmt: skip
"""Regions whose file is taken where a set has several of one language and none without a region."""


def standard_language(code: str) -> str:
    """Return our code of the language that a test set names; empty text if it is none."""
    if code in _IN_TEST_SETS:
        return _IN_TEST_SETS[code]
    return next(iter(language_choices(code)), "")


def is_language_suffix(text: str) -> bool:
    """Whether part of a file's name is a language, and not `txt` or `src`, which ISO 639-3 has.

    That is a code with a script or region, one of two letters, or one of a FLORES-200 language;
    `en-de` is a direction, though BCP-47 has it for English in Germany.
    """
    if _DIRECTION.fullmatch(text):
        return False
    ours = standard_language(text)
    return bool(ours) and (len(text) != 3 or ours in known_languages())


def choose_codes(codes: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Return the set's code for each of our languages, and the codes that were left out.

    Of several codes for one language (`fra` and `fra-CA`) our own is taken first, then one without
    a region, then that of the main region, then the first.
    """
    chosen: dict[str, str] = {}
    left: list[str] = []
    for code in sorted(codes, key=_rank):
        ours = standard_language(code)
        if not ours or ours in chosen:
            left.append(code)
        else:
            chosen[ours] = code
    return chosen, sorted(left)


def _rank(code: str) -> tuple[bool, bool, bool, str]:
    match = _REGION.fullmatch(code)
    region = match["region"] if match else ""
    return (not is_language(code), bool(region), region not in _MAIN_REGIONS, code)


def find_code(language: str, codes: Mapping[str, str]) -> str | None:
    """Return the language of a set, by our code, that a system's code means, if the set has it."""
    return find_language(language, codes)
