"""What a file of bitext is by its name: its format, its languages, and which files go with it.

The names are those of Moses (http://www2.statmt.org/moses/), OPUS (https://opus.nlpl.eu), mtdata
(https://github.com/thammegowda/mtdata) and of Parquet files on the Hugging Face hub. Two languages
stand at the end of a stem, as in `train.en-fr`; those of a Moses pair are the suffixes as well.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from corpus.errors import UserError
from corpus.languages import Direction, language_choices, parse_language, same_language

PARQUET, TSV, JSONL, TMX, ZIP, TAR = "Parquet", "TSV", "JSON lines", "TMX", "zip", "tar"

_COMPRESSED = ("", ".gz", ".zst", ".xz")
_ENDINGS = {
    ".parquet": PARQUET,
    ".zip": ZIP,
    ".tgz": TAR,
    ".txz": TAR,
    **{f".tsv{suffix}": TSV for suffix in _COMPRESSED},
    **{f".jsonl{suffix}": JSONL for suffix in _COMPRESSED},
    **{f".ndjson{suffix}": JSONL for suffix in _COMPRESSED},
    **{f".json{suffix}": JSONL for suffix in _COMPRESSED},
    **{f".tmx{suffix}": TMX for suffix in _COMPRESSED},
    **{f".tar{suffix}": TAR for suffix in _COMPRESSED},
}
FORMATS = (
    "Parquet, TSV, JSON lines, TMX, Moses pairs (X.en and X.fr), and zip or tar archives of one of"
    " these"
)

_PAIR = re.compile(r"(?:^|.*[./-])([A-Za-z]+(?:_[A-Za-z0-9]+)*)-([A-Za-z]+(?:_[A-Za-z0-9]+)*)")
_MOSES_CODE = re.compile(
    r"[A-Za-z]{2,3}(?:[_-](?:[A-Z][a-z]{3}|[A-Z]{2}|[0-9]{3}|[a-z]{4}[0-9]{4}))*"
)
_OTHER_SUFFIXES = frozenset({
    "abc", "bin", "bpe", "cfg", "com", "css", "csv", "dat", "dev", "doc", "dot", "env", "git",
    "ids", "iso", "jar", "kml", "lib", "lic", "lid", "log", "mat", "meta", "msg", "npy", "old",
    "org", "pem", "png", "pos", "ppt", "pth", "pub", "rar", "raw", "sav", "sgm", "sig", "src",
    "srt", "sum", "swp", "tab", "tag", "tar", "tex", "tgt", "tgz", "tmp", "toc", "tok", "tsv",
    "ttf", "txt", "wav", "yml",
})  # fmt: skip
"""Suffixes that are codes of ISO 639-3 as well: those of a language only with one of a pair."""

_SHOWN_CHOICES = 4

_PART = re.compile(r"(.+)-(\d{5,})-of-(\d{5,})")
_HELD_OUT = re.compile(r"(?:dev|devtest|test|valid|validation|eval)(?:[.-].*)?", re.IGNORECASE)


class Stem(NamedTuple):
    """A name without its format."""

    text: str
    format: str


class MosesName(NamedTuple):
    """The name of one side of a Moses pair."""

    stem: str
    code: str
    """Of the language, as it stands."""


def stem_of(name: str) -> Stem | None:
    """Return the stem and the format of a file name that tells its format; None of others.

    NLLB's files are TSV although they are named `eng_Latn-fra_Latn.gz`.
    """
    plain = name.casefold()
    endings = [ending for ending in _ENDINGS if plain.endswith(ending)]
    if endings:
        ending = max(endings, key=len)
        stem = name[: -len(ending)]
        if _ENDINGS[ending] in (ZIP, TAR):  # OPUS: `en-fr.txt.zip`
            stem = re.sub(r"\.(?:txt|tmx|moses)$", "", stem)
        return Stem(stem, _ENDINGS[ending]) if stem else None
    stem = name.removesuffix(".gz")
    return Stem(stem, TSV) if stem != name and codes_of(stem) is not None else None


def codes_of(stem: str) -> tuple[str, str] | None:
    """Return the codes of two languages at the end of a stem, as they stand; None without."""
    found = _PAIR.fullmatch(stem)
    if found is None or not all(map(language_choices, found.groups())):
        return None
    return found[1], found[2]


def moses_name(name: str) -> MosesName | None:
    """Return stem and language of a name like `train.en-fr.en` or `X.en.gz`; None of others."""
    plain = re.sub(r"(?:\.txt)?(?:\.gz|\.zst|\.xz)?$", "", name)
    stem, _, code = plain.rpartition(".")
    if not stem or stem.startswith(".") or _MOSES_CODE.fullmatch(code) is None:
        return None
    codes = codes_of(stem)
    if codes is not None and code in codes:
        return MosesName(stem, code)
    if code.casefold() in _OTHER_SUFFIXES or not language_choices(code):
        return None
    return MosesName(stem, code)


def moses_groups(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return names by stem and language code.

    Raises:
        UserError: If a side is there twice, as `X.en` and `X.en.gz`.
    """
    groups: dict[str, dict[str, str]] = {}
    for name in sorted(names):
        found = moses_name(name)
        if found is None:
            continue
        group = groups.setdefault(found.stem, {})
        if found.code in group:
            raise UserError(f"{group[found.code]} and {name} are one side of a pair; remove one")
        group[found.code] = name
    return groups


def moses_directions(
    stem: str, codes: Iterable[str], where: object, wanted: Direction | None = None
) -> dict[Direction, str]:
    """Return the directions of a group of Moses files, and the source's code of each.

    That of the stem where it names one; otherwise each two languages once, sorted.

    Raises:
        UserError: If a code may be several languages.
    """
    own = sorted(codes)
    named = codes_of(stem)
    if named is not None and set(own) <= set(named):
        if len(own) == 1:
            return {}
        return {direction_of_codes(named, where, wanted): named[0]}
    if len(own) == 1:
        return {}
    languages = sorted((_meant(code, where, wanted), code) for code in own)
    return {
        Direction(source, target): code
        for number, (source, code) in enumerate(languages)
        for target, _ in languages[number + 1 :]
        if source != target
    }


def _meant(code: str, where: object, wanted: Direction | None) -> str:
    fitting = [language for language in wanted or () if is_named(language, code)]
    return fitting[0] if len(fitting) == 1 else language_of(code, where)


def side_codes(
    stem: str, codes: Mapping[str, str], own: str | None, direction: Direction | None, where: object
) -> tuple[str, str]:
    """Return the codes of source and target among those of a group of Moses files.

    Args:
        stem: Of the group.
        codes: With their file names.
        own: Code of the file that was asked for, if one was.
        direction: The direction that was asked for, if one was.
        where: For messages.

    Raises:
        UserError: If the group has not both sides, or more than two without saying which are meant.
    """
    if len(codes) == 1:
        raise UserError(
            f"{where} has {_listed(codes, stem)} without the other side of the pair beside it"
        )
    if direction is not None:
        sides = [[code for code in codes if is_named(language, code)] for language in direction]
        if own is not None and any(own in side for side in sides):
            sides = [[own] if own in side else side for side in sides]
        if [len(side) for side in sides] == [1, 1] and sides[0] != sides[1]:
            return sides[0][0], sides[1][0]
        raise UserError(f"{where} has {_listed(codes, stem)}, and not one file each of {direction}")
    named = codes_of(stem)
    if named is not None and all(code in codes for code in named):
        return named
    if len(codes) == 2:
        first, second = sorted(codes, key=lambda code: (code != own, code))
        return first, second
    raise UserError(
        f"{where} has {_listed(codes, stem)}: more than two languages; give the direction"
    )


def _listed(codes: Mapping[str, str], stem: str) -> str:
    return ", ".join(sorted(codes.values())) or stem


def part_of(name: str) -> tuple[str, int, int] | None:
    """Return stem, number and count of a part like `train-00000-of-00002.parquet`."""
    stem = stem_of(name)
    found = _PART.fullmatch(stem.text) if stem is not None else None
    return None if found is None else (found[1], int(found[2]), int(found[3]))


def is_held_out(name: str) -> bool:
    """Whether a name begins as those of development and test sets do, as `dev.eng-fra.eng`."""
    return _HELD_OUT.fullmatch(name) is not None


def is_named(language: str, code: str) -> bool:
    """Whether a code of a file name or of markup may mean a language."""
    return any(same_language(choice, language) for choice in language_choices(code))


def choices_of(name: str) -> str:
    """Return the names that a file with ambiguous languages may be meant to have, for messages."""
    stem = stem_of(name)
    codes = codes_of(stem.text) if stem is not None else None
    if stem is not None and codes is not None:
        suffix = name[len(stem.text) :]
        choices = [
            f"{source}-{target}{suffix}"
            for source in language_choices(codes[0])
            for target in language_choices(codes[1])
        ]
        return f"{' or '.join(choices[:_SHOWN_CHOICES])}?" if len(choices) > 1 else ""
    moses = moses_name(name)
    choices = list(language_choices(moses.code)) if moses is not None else []
    return f"{' or '.join(choices[:_SHOWN_CHOICES])}?" if len(choices) > 1 else ""


def language_of(code: str, where: object) -> str:
    """Return the language that a code means.

    Raises:
        UserError: If it means none, or several; the message names them.
    """
    try:
        return parse_language(code).code
    except UserError as error:
        raise UserError(
            f"{where}: {error}; rename the file, as eng_Latn-fra_Latn.tsv, or convert it with"
            " `tongues data convert --source LANGUAGE --target LANGUAGE`"
        ) from None


def direction_of_codes(
    codes: tuple[str, str], where: object, wanted: Direction | None = None
) -> Direction:
    """Return the direction of two codes.

    Args:
        codes: As they stand.
        where: For messages.
        wanted: Which languages are meant where a code may mean several.

    Raises:
        UserError: If one means several languages, or both the same.
    """
    for one in () if wanted is None else (wanted, wanted.reverse):
        if is_named(one.source, codes[0]) and is_named(one.target, codes[1]):
            return one
    source, target = (language_of(code, where) for code in codes)
    if source == target:
        raise UserError(f"{where}: `{codes[0]}` and `{codes[1]}` are both {source}")
    return Direction(source, target)
