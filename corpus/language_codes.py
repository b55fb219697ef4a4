"""Languages by code: `eng_Latn`, `twi_Latn_asan1239`.

A code is an ISO 639-3 code and an ISO 15924 script, with a variety where the two do not tell texts
apart: a Glottocode, or another name of five to eight letters and digits, as BCP-47 has them
(`nob_Latn_radical`). Codes `qaa` to `qtz`, which ISO 639-3 reserves for private use, name the
built-in constructed languages and may be used for your own.

`languages.tsv` has names and families of the 204 texts of FLORES-200
(https://github.com/facebookresearch/flores, README): Glottolog's top level, with creoles and
constructed languages set apart as the NLLB paper does. All else is from `corpus.language_registry`.
"""

import functools
import re
from importlib import resources
from typing import NamedTuple

from corpus.language_registry import (
    canonical_language,
    is_script,
    iso_language,
    script_names,
)

_CODE = re.compile(r"([a-z]{3})_([A-Z][a-z]{3})(?:_([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))?")
_PRIVATE_USE = re.compile(r"q[a-t][a-z]")

UNKNOWN_LANGUAGE = "und"
"""Label for lines whose language is uncertain (ISO 639-3 `und`)."""

NO_LANGUAGE = "zxx"
"""Label for text in no language: code, digits, mojibake (ISO 639-3 `zxx`)."""

UNKNOWN_FAMILY = "unknown"


class Language(NamedTuple):
    """A language in one script."""

    code: str
    name: str
    family: str = UNKNOWN_FAMILY

    @property
    def iso(self) -> str:
        """The ISO 639-3 code, as `eng`."""
        return self.code[:3]

    @property
    def script(self) -> str:
        """The ISO 15924 code of the script, as `Latn`."""
        return script_of(self.code)

    @property
    def variety(self) -> str:
        """The variety, as `asan1239`; mostly empty."""
        return self.code[9:]


def script_of(code: str) -> str:
    """Return the script of a language's code; empty for classes such as `und`."""
    return code[4:8]


@functools.cache
def known_languages() -> dict[str, Language]:
    """Return the languages of FLORES-200 by code, sorted."""
    table = (resources.files("corpus") / "languages.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.split("\n")[1:] if line]
    return {row[0]: Language(*row) for row in rows}


@functools.cache
def is_language(code: str) -> bool:
    """Whether a code has the form of one, and ISO 639-3 and ISO 15924 have its parts."""
    if code in known_languages():
        return True
    parts = _CODE.fullmatch(code)
    return (
        parts is not None
        and is_script(parts[2])
        and (_PRIVATE_USE.fullmatch(parts[1]) is not None or iso_language(parts[1]) is not None)
    )


def language_name(code: str) -> str:
    """Return a language's name for tables; empty for classes such as `und`."""
    return describe_language(code).name if is_language(code) else ""


@functools.cache
def describe_language(code: str) -> Language:
    """Return the language of a valid code.

    Its name is FLORES-200's, else ISO 639-3's, with the script where FLORES-200 has the language in
    another one, and with the variety.

    Raises:
        ValueError: If the code is not valid.
    """
    if code in known_languages():
        return known_languages()[code]
    if not is_language(code):
        raise ValueError(f"`{code}` is not a language code")
    iso, script, variety = code[:3], script_of(code), code[9:]
    base = known_languages().get(code[:8])
    if base is not None:
        return Language(code, f"{base.name} ({variety})", base.family)
    if _PRIVATE_USE.fullmatch(iso):
        return Language(code, f"private-use language {code}")
    known = iso_language(iso)
    assert known is not None
    siblings = [
        language
        for language in known_languages().values()
        if canonical_language(language.iso) == canonical_language(iso)
    ]
    has_others = any(language.script != script for language in siblings)
    remarks = [f"{script_names().get(script, script)} script"] if has_others else []
    remarks += [variety] if variety else []
    name = f"{known.name} ({', '.join(remarks)})" if remarks else known.name
    return Language(code, name, siblings[0].family if siblings else UNKNOWN_FAMILY)
