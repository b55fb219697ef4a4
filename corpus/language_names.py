"""What others call languages: `en`, `zh_Hans`, `zho_simpl`, `cmn_Hans` for `zho_Hans`.

Names are resolved by ISO 639 and CLDR (`corpus.language_registry`), and where those do not decide
or the field differs from them, by `language_aliases.tsv`, whose head names its sources.
"""

import functools
import re
from collections.abc import Iterable
from importlib import resources

from corpus.language_codes import is_language, known_languages, script_of
from corpus.language_registry import (
    canonical_language,
    codes_of,
    is_script,
    iso_code,
    iso_language,
    likely_script,
    members,
    script_names,
)

_REGION = re.compile(r"[a-z]{2}|[0-9]{3}")
_VARIETY = re.compile(r"[a-z0-9]{5,8}|[0-9][a-z0-9]{3}")


@functools.cache
def read_alias_table() -> dict[str, tuple[str, ...]]:
    """Return the rows of `language_aliases.tsv`: name to codes, the likeliest first."""
    table = (resources.files("corpus") / "language_aliases.tsv").read_text(encoding="utf-8")
    lines = [line for line in table.split("\n") if line and not line.startswith("#")]
    rows = [line.split("\t") for line in lines[1:]]
    return {name: tuple(languages.split(",")) for name, languages, _ in rows}


@functools.cache
def language_choices(text: str) -> tuple[str, ...]:
    """Return the codes of the languages that a name may mean, the likeliest first.

    A name is a code, a tag of BCP-47 (`zh-Hant-TW`, `pt_BR`), a code of ISO 639 with or without a
    script, a name of `language_aliases.tsv`, or an English name of FLORES-200. A valid code means
    itself. A code without script means the language's texts in FLORES-200, else its most usual
    script; one of a macrolanguage means the member that CLDR takes it for.
    """
    if is_language(text):
        return (text,)
    parts = [part for part in re.split(r"[\s_@.-]+", text.strip()) if part]
    plain = "_".join(parts).casefold()
    table = {name.casefold(): codes for name, codes in read_alias_table().items()}
    if plain in table:
        return table[plain]
    if plain in _english_names():
        return _english_names()[plain]
    return _choices_of_tag([part.casefold() for part in parts])


@functools.cache
def _english_names() -> dict[str, tuple[str, ...]]:
    """Return the languages of FLORES-200 by name, in lower case with `_` between its words."""
    found: dict[str, list[str]] = {}
    for code, language in known_languages().items():
        name = re.sub(r" \(.*\)", "", language.name).casefold()
        found.setdefault(re.sub(r"[\s-]+", "_", name), []).append(code)
    return {name: tuple(codes) for name, codes in found.items()}


def _choices_of_tag(parts: list[str]) -> tuple[str, ...]:
    """Return what a tag's language, script, region and variety may mean."""
    if not parts or not re.fullmatch(r"[a-z]{2,3}", parts[0]):
        return ()
    language, rest = parts[0], parts[1:]
    script = region = variety = ""
    if rest and (found := _script(rest[0])):
        script, rest = found, rest[1:]
    if rest and not script and _REGION.fullmatch(rest[0]):
        region, rest = rest[0].upper(), rest[1:]
    elif rest and _REGION.fullmatch(rest[0]):
        rest = rest[1:]
    if rest and script and _VARIETY.fullmatch(rest[0]):
        variety, rest = f"_{rest[0]}", rest[1:]
    if rest:
        return ()
    code = iso_code(language) or iso_code(canonical_language(language))
    if code is None:
        return ()
    if len(language) == 3 and script and is_language(f"{code}_{script}{variety}"):
        return (f"{code}_{script}{variety}",)
    choices = read_alias_table().get(language) or _choices_of_language(code)
    if region and len(choices) > 1:
        script = likely_script(canonical_language(code), region) or ""
    if not script:
        return choices
    in_script = tuple(choice for choice in choices if script_of(choice) == script)
    if not in_script:
        isos = dict.fromkeys(choice[:3] for choice in choices)
        in_script = tuple(f"{iso}_{script}" for iso in isos)
    return tuple(f"{choice}{variety}" for choice in in_script)


def _script(text: str) -> str | None:
    """Return the script that a code or a name (`be@latin`) means."""
    code = text.capitalize()
    if len(text) == 4 and is_script(code):
        return code
    named = {name.casefold(): code for code, name in script_names().items()}
    return named.get(text)


def _choices_of_language(iso: str) -> tuple[str, ...]:
    """Return what an ISO 639-3 code means without a script."""
    own = [code for code in known_languages() if code[:3] == iso]
    if own:
        return tuple(own)
    canonical = canonical_language(iso)
    meant = [code for code in known_languages() if canonical_language(code[:3]) == canonical]
    language = iso_language(iso)
    if language is not None and language.scope == "M":
        there = members(iso)
        meant = meant or [code for code in known_languages() if code[:3] in there]
        if meant:
            return tuple(meant)
    elif meant:
        return tuple(dict.fromkeys(f"{iso}_{script_of(code)}" for code in meant))
    script = likely_script(iso)
    if script is None and language is not None and language.retire_change_to:
        script = likely_script(language.retire_change_to)
    return () if script is None else (f"{iso}_{script}",)


@functools.cache
def language_aliases() -> dict[str, frozenset[str]]:
    """Return the short names of the languages of FLORES-200, with what each may mean.

    Codes of ISO 639, English names, and the names of `language_aliases.tsv`, in lower case with `_`
    between words: for text that may also be something else, as the first line of a table. All of
    ISO 639-3 would include `url`, `doc` and `src`.
    """
    found: dict[str, frozenset[str]] = {
        name: frozenset(codes) for name, codes in _english_names().items()
    }
    for code in known_languages():
        found[code.casefold()] = frozenset((code,))
        for name in (*codes_of(canonical_language(code[:3])), code[:3]):
            if name not in found:
                found[name] = frozenset(language_choices(name))
    for name, codes in read_alias_table().items():
        found[name.casefold()] = frozenset(codes)
    return found


@functools.cache
def _identity(code: str) -> str:
    """Return what a code has in common with the others of the same language.

    That is FLORES-200's code where it has the language.
    """
    if code in known_languages():
        return code
    if code in (table := read_alias_table()):
        return table[code][0]
    canonical, rest = canonical_language(code[:3]), code[3:]
    same = [
        known
        for known in known_languages()
        if known[3:] == rest and canonical_language(known[:3]) == canonical
    ]
    return same[0] if len(same) == 1 else f"{canonical}{rest}"


def same_language(one: str, other: str) -> bool:
    """Whether two codes name one language, by whatever scheme: `zho_Hans` and `cmn_Hans`.

    Codes of FLORES-200 and FLORES+ are the same where the one renamed the other; otherwise scripts
    and varieties must be equal, and so must the languages in CLDR's view, which replaces retired
    codes and has one for a macrolanguage and the member that is mostly meant by it.
    """
    return one == other or _identity(one) == _identity(other)


def find_language(code: str, available: Iterable[str]) -> str | None:
    """Return what a language is called among others: the code itself, else the one other name.

    None where the language is not there, or under several names none of which is `code`.
    """
    there = dict.fromkeys(available)
    if code in there:
        return code
    same = [other for other in there if same_language(code, other)]
    return same[0] if len(same) == 1 else None
