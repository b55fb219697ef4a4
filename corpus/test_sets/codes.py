"""Language codes of test sets: ISO 639-1 with a region, ISO 639-3 with a script, and between.

WMT writes `en` and `zh`, WMT24++ `de_DE` and `zh_TW`, NTREX `fra-CA` and `srp-Latn`, TICO-19
`es-LA`, FLORES+ and BOUQuET `cmn_Hans`. Where such a code may mean several of ours, the usual one
is taken; reports state which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from corpus.languages import is_language, likely_languages

_CODE = re.compile(
    r"(?P<language>[A-Za-z]{2,3})(?:[_-](?P<script>[A-Z][a-z]{3}))?"
    r"(?:[_-](?P<region>[A-Za-z]{2}|\d{3}))?(?:[_-](?P<variety>[a-z]{4}\d{4}))?"
)
_USUAL = {
    "arb": "arb_Arab", "aze": "azj_Latn", "az": "azj_Latn", "chi": "zho_Hans", "cmn": "zho_Hans",
    "fa": "pes_Arab", "fas": "pes_Arab", "per": "pes_Arab", "kau": "knc_Latn", "kr": "knc_Latn",
    "knc": "knc_Latn", "ku": "kmr_Latn", "kur": "kmr_Latn", "no": "nob_Latn", "nor": "nob_Latn",
    "zh": "zho_Hans", "zho": "zho_Hans", "ak": "twi_Latn", "din": "dik_Latn", "tl": "tgl_Latn",
    "sh": "srp_Cyrl", "mey": "mey_Arab", "msa": "zsm_Latn", "ms": "zsm_Latn",
}  # fmt: skip
"""What a code that names several languages or scripts means in the test sets above."""

_OF_REGION = {
    "zh_tw": "zho_Hant", "zh_hk": "zho_Hant", "zh_mo": "zho_Hant", "zho_tw": "zho_Hant",
    "zh_cn": "zho_Hans", "zho_cn": "zho_Hans", "ar_eg": "arz_Arab", "ar_ma": "ary_Arab",
}  # fmt: skip
_MAIN_REGIONS = frozenset({
    "DE", "ES", "FR", "PT", "US", "KE", "SA", "IN", "RS", "CN", "IT", "NL", "RU", "GB",
})  # fmt: skip
"""Regions whose file is taken where a set has several of one language and none without a region."""


def standard_language(code: str) -> str:
    """Return our code of a language that a test set or a system names otherwise.

    A code that is none of ours stays as it is if it has a language and a script, as `chv_Cyrl`;
    empty text is returned for anything else.
    """
    if is_language(code):
        return code
    match = _CODE.fullmatch(code)
    if match is None:
        return ""
    language, script = match["language"].casefold(), match["script"]
    region, variety = match["region"], match["variety"]
    if variety and is_language(f"{language}_{script}"):
        return f"{language}_{script}"
    if region and f"{language}_{region.casefold()}" in _OF_REGION:
        return _OF_REGION[f"{language}_{region.casefold()}"]
    if script:
        found = [one for one in likely_languages(f"{language}_{script}") if one.endswith(script)]
        return found[0] if len(found) == 1 else f"{language}_{script}"
    if language in _USUAL:
        return _USUAL[language]
    found = likely_languages(language)
    return found[0] if len(found) == 1 else ""


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
    match = _CODE.fullmatch(code)
    region = (match["region"] or "") if match else ""
    return (not is_language(code), bool(region), region.upper() not in _MAIN_REGIONS, code)


def find_code(language: str, codes: Mapping[str, str]) -> str | None:
    """Return the language of a set that a system's code means, if the set has it."""
    if language in codes:
        return language
    ours = standard_language(language)
    if ours in codes:
        return ours
    return next((one for one, theirs in codes.items() if theirs == language), None)
