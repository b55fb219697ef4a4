"""What ISO 639-3, ISO 15924 and Unicode's CLDR know about languages and scripts.

From the packages `python-iso639` (the tables of the ISO 639-3 registration authority, SIL, with
retired codes and macrolanguages) and `Babel` (CLDR's script names, likely scripts and canonical
codes); decision 0062. Both are imported when they are first needed.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import iso639

_NEWER_SCRIPTS = {
    "Chis": "Chisoi",
    "Hntl": "Han (Traditional variant) with Latin",
    "Kitl": "Khitan large script",
    "Leke": "Leke",
    "Nkdb": "Naxi Dongba",
    "Pelm": "Proto-Elamite",
    "Piqd": "Klingon",
    "Psin": "Proto-Sinaitic",
    "Ranj": "Ranjana",
    "Shui": "Shuishu",
}
"""Scripts of ISO 15924 that CLDR has no name for (https://www.unicode.org/iso15924)."""

_PRIVATE_SCRIPT = re.compile(r"Qa(a[a-z]|b[a-x])")
_NOT_LANGUAGES = frozenset({"und", "zxx", "mul", "mis"})


def iso_language(code: str) -> iso639.Language | None:
    """Return what ISO 639-3 says about a three-letter code, retired or not; None if it has none.

    Its four special codes (`und`, `zxx`, `mul`, `mis`) name no language.
    """
    import iso639

    if code in _NOT_LANGUAGES:
        return None
    try:
        return iso639.Language.from_part3(code)
    except iso639.LanguageNotFoundError:
        return None


def iso_code(code: str) -> str | None:
    """Return the ISO 639-3 code of a code of ISO 639-1, -2 or -3; None if there is none."""
    import iso639

    lookups = (
        (iso639.Language.from_part1,)
        if len(code) == 2
        else (iso639.Language.from_part3, iso639.Language.from_part2b)
    )
    for lookup in lookups:
        try:
            found = lookup(code).part3
        except iso639.LanguageNotFoundError:
            continue
        return None if found in _NOT_LANGUAGES else found
    return None


@functools.cache
def script_names() -> dict[str, str]:
    """Return the English name of each script of ISO 15924, except those for private use."""
    from babel import Locale

    return {**Locale("en").scripts, **_NEWER_SCRIPTS}


def is_script(code: str) -> bool:
    """Whether ISO 15924 has a script's code, or reserves it for private use."""
    return code in script_names() or _PRIVATE_SCRIPT.fullmatch(code) is not None


def likely_script(language: str, region: str = "") -> str | None:
    """Return the script that a language is mostly written in; None if CLDR does not know.

    Args:
        language: A code of ISO 639.
        region: A code of ISO 3166, where the script differs by country: `zh`, `TW`.
    """
    from babel.core import get_global

    likely = get_global("likely_subtags")
    for name in (language, canonical_language(language)):
        for key in (f"{name}_{region}", name) if region else (name,):
            if key in likely:
                return str(likely[key].split("_")[1])
    return None


@functools.cache
def canonical_language(code: str) -> str:
    """Return the code that CLDR uses in place of a code of ISO 639.

    That is the shortest one (`eng` is `en`), for a retired code what has replaced it (`mol` is
    `ro`), and for the language that is mostly meant by a macrolanguage the macrolanguage (`cmn` is
    `zh`, `ekk` is `et`).
    """
    from babel.core import get_global

    aliases = get_global("language_aliases")
    # With a region or script (`prs` is `fa_AF`) it is a language in its own right here.
    while (other := aliases.get(code)) is not None and "_" not in other:
        code = other
    return code


@functools.cache
def display_names(code: str, locale: str) -> frozenset[str]:
    """Return what CLDR calls a language in the language of a locale: `français` in `fr`.

    Args:
        code: ISO 639-3 and script, with a variety or without.
        locale: A code of ISO 639.

    Returns:
        The names with the script and without; none where CLDR does not have the locale.
    """
    from babel import Locale, UnknownLocaleError

    try:
        names = Locale.parse(canonical_language(locale)).languages
    except UnknownLocaleError:
        return frozenset()
    short = canonical_language(code[:3])
    found = (names.get(key) for key in (short, f"{short}_{code[4:8]}"))
    return frozenset(filter(None, found))


@functools.cache
def _by_canonical_language() -> dict[str, tuple[str, ...]]:
    from babel.core import get_global

    found: dict[str, list[str]] = {}
    for code in get_global("language_aliases"):
        found.setdefault(canonical_language(code), []).append(code)
    return {canonical: tuple(sorted(codes)) for canonical, codes in found.items()}


def codes_of(canonical: str) -> tuple[str, ...]:
    """Return the codes that CLDR replaces with a canonical one, and that one itself."""
    return (canonical, *_by_canonical_language().get(canonical, ()))


def members(macrolanguage: str) -> frozenset[str]:
    """Return the individual languages of a macrolanguage, by ISO 639-3; none of other languages."""
    return _members().get(macrolanguage, frozenset())


@functools.cache
def _members() -> dict[str, frozenset[str]]:
    import iso639

    found: dict[str, set[str]] = {}
    for language in iso639.ALL_LANGUAGES:
        if language.macrolanguage and language.retire_reason is None:
            found.setdefault(language.macrolanguage, set()).add(language.part3)
    return {code: frozenset(there) for code, there in found.items()}
