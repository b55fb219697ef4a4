"""Languages and directions by FLORES-200 code.

The table lists the 204 texts of FLORES-200 (https://github.com/facebookresearch/flores, README).
Families are Glottolog's top level, with creoles and constructed languages set apart as the NLLB
paper does. Codes `qaa` to `qtz`, which ISO 639-3 reserves for private use, name the built-in
constructed languages and may be used for your own.
"""

import difflib
import functools
import re
from importlib import resources
from typing import NamedTuple

from corpus.errors import UserError

_CODE = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
_PRIVATE_USE = re.compile(r"q[a-t][a-z]_[A-Z][a-z]{3}")

UNKNOWN_LANGUAGE = "und"
"""Label for lines whose language is uncertain (ISO 639-3 `und`)."""

NO_LANGUAGE = "zxx"
"""Label for text in no language: code, digits, mojibake (ISO 639-3 `zxx`)."""


class Language(NamedTuple):
    """A language in one script."""

    code: str
    name: str
    family: str = ""
    """Empty where it is not known."""

    @property
    def script(self) -> str:
        """The ISO 15924 code of the script, as `Latn`."""
        return self.code[4:]


class Direction(NamedTuple):
    """An ordered pair of languages, source first."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}-{self.target}"

    @property
    def reverse(self) -> "Direction":
        """The direction from target to source."""
        return Direction(self.target, self.source)


@functools.cache
def known_languages() -> dict[str, Language]:
    """Return the languages of FLORES-200 by code, sorted."""
    table = (resources.files("corpus") / "languages.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.split("\n")[1:] if line]
    return {row[0]: Language(*row) for row in rows}


@functools.cache
def language_aliases() -> dict[str, frozenset[str]]:
    """Return which languages a name may mean: codes of ISO 639-1, -2 and -3, and English names.

    In lower case, with `_` between words. Several languages where it is a macrolanguage (`fas`) or
    a language in several scripts (`zh`). `language_aliases.tsv` holds the codes, by the tables of
    ISO 639 (https://iso639-3.sil.org) and, for FLORES+'s renamed ones, the list of its authors
    (https://huggingface.co/datasets/openlanguagedata/flores_plus).
    """
    table = (resources.files("corpus") / "language_aliases.tsv").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for line in table.split("\n")[1:]:
        if line:
            alias, codes = line.split("\t")
            found.setdefault(alias, set()).update(codes.split(","))
    for code, language in known_languages().items():
        name = re.sub(r" \(.*\)", "", language.name).casefold()
        for alias in (code.casefold(), re.sub(r"[\s-]+", "_", name)):
            found.setdefault(alias, set()).add(code)
    return {alias: frozenset(codes) for alias, codes in found.items()}


def likely_languages(text: str) -> list[str]:
    """Return the languages that an unknown code may mean, the likeliest first."""
    plain = re.sub(r"[\s-]+", "_", text.strip()).casefold()
    language, _, script = plain.partition("_")
    meant = language_aliases().get(plain) or language_aliases().get(language) or frozenset()
    in_script = [code for code in meant if script and code.casefold().endswith(f"_{script}")]
    return sorted(in_script or meant)


def is_language(code: str) -> bool:
    """Whether `code` is a FLORES-200 code or a private-use one."""
    return code in known_languages() or _PRIVATE_USE.fullmatch(code) is not None


def check_language(code: str) -> Language:
    """Return the language of a code.

    Raises:
        UserError: If the code is unknown; the message suggests the nearest ones.
    """
    if code in known_languages():
        return known_languages()[code]
    if _PRIVATE_USE.fullmatch(code):
        return Language(code, f"private-use language {code}")
    near = likely_languages(code) or difflib.get_close_matches(
        code, known_languages(), n=3, cutoff=0.5
    )
    guess = f" Did you mean {', '.join(f'`{other}`' for other in near)}?" if near else ""
    shape = "" if _CODE.fullmatch(code) else " A code has the form `eng_Latn`."
    raise UserError(f"`{code}` is not a FLORES-200 language code.{shape}{guess}")


def parse_direction(text: str) -> Direction:
    """Return the direction written as `eng_Latn-fra_Latn`.

    Raises:
        UserError: If it has another form or an unknown code.
    """
    source, hyphen, target = text.partition("-")
    if not hyphen:
        raise UserError(f"`{text}` is not a direction; write it as `eng_Latn-fra_Latn`")
    return Direction(check_language(source).code, check_language(target).code)


def parse_directions(text: str) -> list[Direction]:
    """Return directions written as `A-B,C-D`, in order, each once."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return list(dict.fromkeys(parse_direction(part) for part in parts))
