"""Which languages a file of bitext is in: by its name, by those beside it, or by its content."""

from itertools import islice
from pathlib import Path

from corpus.bitext.archives import MosesPlaces, choose, contents
from corpus.bitext.jsonl import first_keys
from corpus.bitext.names import (
    JSONL,
    PARQUET,
    TAR,
    TMX,
    TSV,
    ZIP,
    codes_of,
    direction_of_codes,
    language_of,
    moses_directions,
    moses_groups,
    moses_name,
    side_codes,
    stem_of,
)
from corpus.bitext.parquet_files import parquet_names
from corpus.bitext.places import Place
from corpus.bitext.tmx import directions_of_tmx
from corpus.bitext_columns import column_languages
from corpus.errors import DataError
from corpus.languages import Direction


def direction_of(path: Path, wanted: Direction | None = None) -> Direction | None:
    """Return the direction of a bitext file, by its name or else its content; None if by none.

    Args:
        path: The file.
        wanted: Which languages are meant where a code may mean several.

    Raises:
        UserError: If a code of its name may mean several languages.
    """
    found = directions_of(path, wanted)
    return found[0] if len(found) == 1 else None


def directions_of(path: Path, wanted: Direction | None = None) -> list[Direction]:
    """Return the directions that a bitext file has pairs of, as far as it tells; see above.

    Of a damaged file that does not tell by its name none: who reads it is told what is wrong.
    """
    named = direction_by_name(path, wanted)
    if named is not None:
        return [named]
    if not path.is_file():
        return []
    stem = stem_of(path.name)
    if stem is None:
        return _beside(path, wanted)
    try:
        is_archive = stem.format in (ZIP, TAR)
        return _in_archive(path) if is_archive else _in_file(Place(path), stem.format)
    except DataError:
        return []


def direction_by_name(path: Path, wanted: Direction | None = None) -> Direction | None:
    """Return the direction that a file or its directory is named by; None if by none.

    Raises:
        UserError: If a code may mean several languages, and `wanted` does not say which.
    """
    stem = stem_of(path.name)
    moses = moses_name(path.name) if stem is None else None
    text = stem.text if stem is not None else moses.stem if moses is not None else ""
    codes = codes_of(text)
    if codes is not None:
        return direction_of_codes(codes, path, wanted)
    folder = codes_of(path.parent.name)
    if stem is not None and folder is not None and "-".join(folder) == path.parent.name:
        return direction_of_codes(folder, path, wanted)
    return None


def moses_group(path: Path) -> tuple[str, str, dict[str, str]] | None:
    """Return stem, own code, and the names beside a Moses file by code; None of other files."""
    moses = moses_name(path.name) if stem_of(path.name) is None else None
    if moses is None:
        return None
    beside = [
        one.name
        for one in path.parent.glob(f"{_escaped(moses.stem)}.*")
        if stem_of(one.name) is None and one.is_file()
    ]
    return moses.stem, moses.code, moses_groups(beside).get(moses.stem, {})


def _escaped(stem: str) -> str:
    """Return a name with the wildcards of `glob` as themselves."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in stem)


def moses_places(path: Path, direction: Direction | None) -> MosesPlaces | None:
    """Return the files of the Moses pair that a file is a side of; None of other files.

    Raises:
        UserError: If the other side is not beside it, or it is not clear which is meant.
    """
    found = moses_group(path)
    if found is None:
        return None
    stem, code, group = found
    sides = side_codes(stem, group, code, direction, path)
    source, target = (Place(path.parent / group[code]) for code in sides)
    extras = []
    for kind in ("scores", "ids"):
        there = [path.parent / f"{stem}.{kind}{suffix}" for suffix in ("", ".gz", ".zst", ".xz")]
        extras.append(next((Place(one) for one in there if one.is_file()), None))
    return MosesPlaces(source, target, *extras)


def _beside(path: Path, wanted: Direction | None) -> list[Direction]:
    found = moses_group(path)
    if found is None:
        return []
    stem, code, group = found
    if len(group) == 2:
        return [direction_of_codes(side_codes(stem, group, code, None, path), path, wanted)]
    own = language_of(code, path)
    others = sorted({language_of(other, path) for other in group} - {own})
    return [Direction(own, other) for other in others]


def _in_archive(path: Path) -> list[Direction]:
    there = contents(path)
    found = {
        direction
        for stem, group in there.groups.items()
        for direction in moses_directions(stem, group, path)
    }
    if found:
        return sorted(found)
    place = choose(path, None)
    assert isinstance(place, Place)
    stem = stem_of(place.name)
    assert stem is not None
    codes = codes_of(stem.text)
    if codes is not None:
        return [direction_of_codes(codes, path)]
    return _in_file(place, stem.format)


def _in_file(place: Place, kind: str) -> list[Direction]:
    """Return the directions that columns or markup name, the columns' languages in their order."""
    if kind == TMX:
        return directions_of_tmx(place)
    if kind == PARQUET:
        names = parquet_names(place.path)
    elif kind == JSONL:
        names = [".".join(key) for key in first_keys(place)]
    else:
        assert kind == TSV
        names = next(islice(place.lines(), 1), "").split("\t")
    languages = column_languages(names)
    if not all(len(one) == 1 for one in languages):
        return []
    found = list(dict.fromkeys(next(iter(one)) for one in languages))
    if kind == TSV and len(found) != len(names):
        found = found if len(found) == 2 else []
    return [
        Direction(one, other) for number, one in enumerate(found) for other in found[number + 1 :]
    ]
