"""A test set as files of lines, which scoring reads by path and by content.

FLORES-200 has such files already. Any other set is written as such, only what was asked for:
`<language>.txt` (`.2.txt` and so on for further references) where languages can be paired at will,
`<direction>.source.txt` and `<direction>.reference.txt` where each direction has its own lines, and
`columns.tsv` or `<direction>.columns.tsv` with a row per line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import make_directory, read_lines, write_lines
from corpus.languages import Direction
from corpus.test_sets.codes import find_code
from corpus.test_sets.find import FLORES_200, find_test_set
from corpus.test_sets.lines import read_metadata
from corpus.test_sets.test_set import Segments, Side, TestSet, set_title, standard_columns

_COLUMNS = "columns.tsv"
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class TestFiles:
    """Where the lines of a test set are; small and picklable for any number of languages."""

    __test__ = False

    kind: str
    path: Path
    """The set as it was given."""
    split: str
    directory: Path
    by_language: bool = True
    suffix: str = ".txt"
    references: Mapping[str, int] = field(default_factory=dict)
    """How many references a language or direction has, where it is not one."""
    columns: Path | None = None
    """Table of what is known of the lines, of sets by language."""
    kept: tuple[int, ...] = ()
    """Places of the lines that are scored in the whole set, from 0, where some are not."""
    size: int = 0
    """Lines of the whole set, where some are not scored."""
    codes: Mapping[str, str] = field(default_factory=dict)
    """The set's own code of each language that has another."""
    notes: tuple[str, ...] = ()

    def source_file(self, direction: Direction) -> Path:
        """Return the file of a direction's sources."""
        if self.by_language:
            return self.directory / f"{direction.source}{self.suffix}"
        return self.directory / f"{direction}.source.txt"

    def reference_files(self, direction: Direction) -> tuple[Path, ...]:
        """Return the files of a direction's references, at least one."""
        if self.by_language:
            name, suffix = direction.target, self.suffix
        else:
            name, suffix = f"{direction}.reference", ".txt"
        first = self.directory / f"{name}{suffix}"
        count = self.references.get(direction.target if self.by_language else str(direction), 1)
        more = (self.directory / f"{name}.{n}{suffix}" for n in range(2, count + 1))
        return (first, *more)

    def read_columns(self, direction: Direction) -> dict[str, list[str]]:
        """Return what is known of a direction's lines, by column, [N] each.

        Raises:
            DataError: If the table has not as many rows as there are lines.
        """
        path = self.columns if self.by_language else self.directory / f"{direction}.{_COLUMNS}"
        columns = read_metadata(path) if path is not None else {}
        count = len(read_lines(self.source_file(direction)))
        for name, values in columns.items():
            if len(values) != count:
                raise DataError(
                    f"{path} has {len(values):,} rows (`{name}`) and the text has {count:,} lines"
                )
        return standard_columns(columns)

    def keep(self, lines: Sequence[str]) -> Sequence[str]:
        """Return the lines that are scored, of lines of the whole set or of those alone."""
        if self.kept and len(lines) == self.size:
            return [lines[place] for place in self.kept]
        return lines

    def describe(self) -> str:
        """Return the set in words: its kind and split, and the codes that differ."""
        words = set_title(self.kind, self.path, self.split)
        codes = [f"{ours} is its {theirs}" for ours, theirs in sorted(self.codes.items())]
        return "; ".join([words, *codes, *self.notes])


def _flores_files(path: Path, split: str) -> TestFiles:
    """Return the files of a split in FLORES-200's layout, which are used as they are."""
    metadata = path / f"metadata_{split}.tsv"
    return TestFiles(
        kind=FLORES_200,
        path=path,
        split=split,
        directory=path / split,
        suffix=f".{split}",
        columns=metadata if metadata.is_file() else None,
    )


def write_test_files(
    test_set: TestSet, directions: Iterable[Direction], directory: Path
) -> TestFiles:
    """Write the lines of some directions of a test set; unchanged files are not written again.

    Args:
        test_set: What `find_test_set` found.
        directions: In the codes of those who ask; the files are named by these.
        directory: Where to write.

    Raises:
        UserError: If the set lacks a language or direction; all that are missing are named.
        DataError: If its languages do not align, or a file is damaged.
    """
    wanted = sorted(set(directions))
    if test_set.kind == FLORES_200:
        asked = {code for direction in wanted for code in direction}
        exact = {ours for ours, theirs in test_set.codes.items() if ours == theirs}
        others = [code for code in asked - exact if find_code(code, test_set.codes)]
        if not others:  # a language that is missing is named where the texts are read
            return _flores_files(test_set.path, test_set.split)
    make_directory(directory)
    if test_set.sides:
        codes = sorted({code for direction in wanted for code in direction})
        return _write_sides(test_set, codes, directory, ".txt", directory / _COLUMNS)
    return _write_pairs(test_set, wanted, directory)


def _write_sides(
    test_set: TestSet, asked: Sequence[str], directory: Path, suffix: str, columns_file: Path
) -> TestFiles:
    names = {code: find_code(code, test_set.codes) for code in asked}
    missing = [code for code, found in names.items() if found is None]
    if missing:
        raise UserError(
            f"{test_set.path} ({test_set.kind}) has no text for {_list(missing)}; it has"
            f" {_list(test_set.languages)}"
        )
    anchor_code = "eng_Latn" if "eng_Latn" in test_set.sides else test_set.languages[0]
    anchor = test_set.sides[anchor_code]()
    kept = [n for n, one in enumerate(anchor.is_kept) if one] if anchor.is_kept else None
    kept = kept if kept is not None and len(kept) < len(anchor.ids) else None
    places = range(len(anchor.ids)) if kept is None else kept
    counts = {}
    more_references: list[str] = []
    for code, found in names.items():
        assert found is not None
        texts = _align(anchor, test_set.sides[found](), anchor_code, found, test_set.path)
        for number, lines in enumerate(texts, 1):
            more = "" if number == 1 else f".{number}"
            _write(directory / f"{code}{more}{suffix}", [lines[place] for place in places])
        if len(texts) > 1:
            counts[code] = len(texts)
            more_references.append(f"{len(texts)} references of {code}")
    columns = {name: [v[place] for place in places] for name, v in anchor.columns.items() if v}
    _write_columns(columns_file, columns)
    notes = [*test_set.notes, *more_references]
    if kept is not None:
        left = len(anchor.ids) - len(kept)
        notes.append(f"{left} of {len(anchor.ids)} lines are marked as bad sources and not scored")
    return TestFiles(
        kind=test_set.kind,
        path=test_set.path,
        split=test_set.split,
        directory=directory,
        suffix=suffix,
        references=counts,
        columns=columns_file,
        kept=tuple(kept or ()),
        size=len(anchor.ids) if kept is not None else 0,
        codes=_other_codes(names, test_set.codes),
        notes=tuple(notes),
    )


def write_flores_layout(
    test_set: TestSet, directions: Sequence[Direction], output: Path
) -> dict[str, TestFiles]:
    """Write a test set in FLORES-200's layout, which other commands read and people translate.

    Where any two languages can be paired that is `<split>/<language>.<split>`; where each direction
    has its own lines, there is such a directory for each.

    Args:
        test_set: What `find_test_set` found.
        directions: Which to write; all languages or directions if empty.
        output: Directory to write to.

    Returns:
        The files by directory in the output: `.`, or the names of directions.

    Raises:
        UserError: If the set lacks a language or direction.
        DataError: If its languages do not align, or a file is damaged.
    """
    split = test_set.split or "test"
    suffix = f".{split}"
    if test_set.sides:
        asked = sorted({code for direction in directions for code in direction})
        asked = asked or test_set.languages
        make_directory(output / split)
        columns = output / f"metadata_{split}.tsv"
        return {".": _write_sides(test_set, asked, output / split, suffix, columns)}
    found = {}
    for direction in directions or sorted(test_set.pairs):
        folder = output / str(direction) / split
        make_directory(folder)
        pair = _find_pair(test_set, direction)
        if pair is None:
            raise _missing_pairs(test_set, [str(direction)])
        segments = _read_pair(test_set, pair)
        _write(folder / f"{direction.source}{suffix}", segments.source)
        for number, lines in enumerate(segments.references, 1):
            more = "" if number == 1 else f".{number}"
            _write(folder / f"{direction.target}{more}{suffix}", lines)
        columns = output / str(direction) / f"metadata_{split}.tsv"
        _write_columns(columns, segments.columns)
        found[str(direction)] = TestFiles(
            kind=test_set.kind,
            path=test_set.path,
            split=test_set.split,
            directory=folder,
            suffix=suffix,
            references={direction.target: len(segments.references)},
            columns=columns,
            notes=test_set.notes,
        )
    return found


def _other_codes(names: Mapping[str, str | None], codes: Mapping[str, str]) -> dict[str, str]:
    """Return the set's code of each language that was asked for by another."""
    theirs = {code: codes[found] for code, found in names.items() if found is not None}
    return {code: other for code, other in theirs.items() if code != other}


def _align(anchor: Side, side: Side, anchor_code: str, code: str, path: Path) -> list[list[str]]:
    """Return the texts of a language in the order of the anchor's ids."""
    if side.ids == anchor.ids:
        return side.texts
    places = {one: place for place, one in enumerate(side.ids)}
    lacking = [one for one in anchor.ids if one not in places]
    if lacking or len(places) != len(anchor.ids):
        words = f"lacks the ids {_list(lacking)}" if lacking else "has more ids"
        raise DataError(
            f"{path}: {code} has {len(places):,} segments and {anchor_code} has"
            f" {len(anchor.ids):,}; {code} {words}, so that they do not align"
        )
    order = [places[one] for one in anchor.ids]
    return [[lines[place] for place in order] for lines in side.texts]


def _write_pairs(test_set: TestSet, wanted: Sequence[Direction], directory: Path) -> TestFiles:
    found = {direction: _find_pair(test_set, direction) for direction in wanted}
    missing = [str(direction) for direction, pair in found.items() if pair is None]
    if missing:
        raise _missing_pairs(test_set, missing)
    counts = {}
    notes = list(test_set.notes)
    for direction, pair in found.items():
        assert pair is not None
        segments = _read_pair(test_set, pair)
        _write(directory / f"{direction}.source.txt", segments.source)
        for number, lines in enumerate(segments.references, 1):
            more = "" if number == 1 else f".{number}"
            _write(directory / f"{direction}.reference{more}.txt", lines)
        if len(segments.references) > 1:
            counts[str(direction)] = len(segments.references)
            by = f", by {', '.join(segments.translators)}" if segments.translators else ""
            notes.append(f"{len(segments.references)} references of {direction}{by}")
        _write_columns(directory / f"{direction}.{_COLUMNS}", segments.columns)
    names = {code: find_code(code, test_set.codes) for direction in wanted for code in direction}
    return TestFiles(
        kind=test_set.kind,
        path=test_set.path,
        split=test_set.split,
        directory=directory,
        by_language=False,
        references=counts,
        codes=_other_codes(names, test_set.codes),
        notes=tuple(notes),
    )


def _missing_pairs(test_set: TestSet, missing: Sequence[str]) -> UserError:
    return UserError(
        f"{test_set.path} ({test_set.kind}) has no {_list(missing)}; it has"
        f" {_list([str(pair) for pair in sorted(test_set.pairs)])}"
    )


def _find_pair(test_set: TestSet, direction: Direction) -> Direction | None:
    """Return the set's direction, reversed where only that is there and may be used so."""
    codes = [find_code(code, test_set.codes) for code in direction]
    if codes[0] is None or codes[1] is None:
        return None
    pair = Direction(codes[0], codes[1])
    if pair in test_set.pairs:
        return pair
    return pair if test_set.reversible and pair.reverse in test_set.pairs else None


def _read_pair(test_set: TestSet, pair: Direction) -> Segments:
    if pair in test_set.pairs:
        return test_set.pairs[pair]()
    segments = test_set.pairs[pair.reverse]()
    return Segments(segments.references[0], [segments.source], segments.columns)


def _write(path: Path, lines: Sequence[str]) -> None:
    """Write lines where the file does not hold them already, so that receipts stay valid."""
    content = [line.replace("\r", " ").replace("\n", " ") for line in lines]
    if path.is_file() and read_lines(path) == content:
        return
    write_lines(path, content)


def _write_columns(path: Path, columns: Mapping[str, list[str]]) -> None:
    told = {name: values for name, values in columns.items() if any(values)}
    if not told:
        path.unlink(missing_ok=True)  # an earlier set may have had columns
        return
    rows = zip(*told.values(), strict=True)
    table = ["\t".join(cell.replace("\t", " ") for cell in row) for row in rows]
    _write(path, ["\t".join(told), *table])


def _list(codes: Sequence[str]) -> str:
    more = f" and {len(codes) - _SHOWN} more" if len(codes) > _SHOWN else ""
    return ", ".join(codes[:_SHOWN]) + more


def open_test_files(
    path: Path,
    split: str,
    directions: Iterable[Direction],
    directory: Path,
    references: Sequence[str] = (),
) -> TestFiles:
    """Find the test set at a path and return the files of some directions.

    Args:
        path: The set as it was published, a directory or a file.
        split: Which part; the usual one if empty.
        directions: Which are needed, in the codes of those who ask.
        directory: Where lines are written that are not files of lines already.
        references: Translators whose references are taken; all if empty.

    Raises:
        UserError: If there is no such set, split, language or direction.
        DataError: If a file is damaged, or languages do not align.
    """
    found = find_test_set(path, split, references)
    return write_test_files(found, directions, directory)
