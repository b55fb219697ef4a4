"""What bitext a zip or tar archive holds: OPUS's and WMT's Moses pairs, or one file of pairs."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from corpus.bitext.names import (
    JSONL,
    TMX,
    TSV,
    is_held_out,
    moses_groups,
    side_codes,
    stem_of,
)
from corpus.bitext.places import Place, members
from corpus.errors import DataError, UserError
from corpus.languages import Direction

_SHOWN = 8


class Contents(NamedTuple):
    """The bitext in an archive; held-out sets only where there is nothing else."""

    groups: dict[str, dict[str, str]]
    """Members of Moses pairs, by stem and language code."""

    files: list[str]
    """Members that hold pairs by themselves."""

    names: frozenset[str]
    """All members."""


class MosesPlaces(NamedTuple):
    """The files of a Moses pair."""

    source: Place
    target: Place
    scores: Place | None
    ids: Place | None


def contents(path: Path) -> Contents:
    """Return what bitext an archive holds.

    Raises:
        DataError: If it is damaged, or holds none.
    """
    names = [
        name
        for name in members(path)
        if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
    ]
    groups = {
        stem: group
        for stem, group in moses_groups(name for name in names if stem_of(name) is None).items()
        if len(group) > 1
    }
    files = [
        name
        for name in names
        if (stem := stem_of(PurePosixPath(name).name)) is not None
        and stem.format in (TSV, JSONL, TMX)
    ]
    training = {stem: group for stem, group in groups.items() if not _is_held_out(stem)}
    training_files = [name for name in files if not _is_held_out(name)]
    if training or training_files:
        groups, files = training, training_files
    if not groups and not files:
        shown = ", ".join(names[:_SHOWN]) or "nothing"
        raise DataError(
            f"{path} holds no bitext that is read inside an archive: a Moses pair, TSV, JSON lines"
            f" or TMX. It holds {shown}"
        )
    return Contents(groups, files, frozenset(names))


def _is_held_out(name: str) -> bool:
    return is_held_out(PurePosixPath(name).name)


def choose(path: Path, direction: Direction | None) -> Place | MosesPlaces:
    """Return the bitext of a direction in an archive, or the only one that there is.

    Raises:
        UserError: If there are several.
        DataError: If there is none.
    """
    there = contents(path)
    fitting: list[Place | MosesPlaces] = []
    for stem, group in there.groups.items():
        try:
            sides = side_codes(stem, group, None, direction, path)
        except UserError:
            if len(there.groups) == 1 and not there.files:
                raise
            continue
        source, target = (Place(path, group[code]) for code in sides)
        extras = [
            Place(path, name) if (name := f"{stem}{suffix}") in there.names else None
            for suffix in (".scores", ".ids")
        ]
        fitting.append(MosesPlaces(source, target, *extras))
    fitting += [Place(path, name) for name in there.files]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise DataError(f"{path} holds no bitext of {direction}")
    shown = ", ".join(
        one.member if isinstance(one, Place) else one.source.member for one in fitting[:_SHOWN]
    )
    raise UserError(
        f"{path} holds {len(fitting)} times bitext{f' of {direction}' if direction else ''}:"
        f" {shown}; unpack it and give the one that is meant"
    )
