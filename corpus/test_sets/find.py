"""Which test set a file or a directory is, by its layout; see the readers for their sources."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import open_binary
from corpus.flores import split_files
from corpus.languages import Direction
from corpus.test_sets import lines, markup, tables
from corpus.test_sets.codes import choose_codes, is_language_suffix, standard_language
from corpus.test_sets.test_set import Segments, Side, TestSet

logger = logging.getLogger(__name__)

FLORES_200 = "FLORES-200"
_NTREX = "NTREX-128"
_SPLITS = ("test", "devtest", "dev")
"""The first that a set has is taken if none is asked for."""
_FOLDER_SPLITS = frozenset({*_SPLITS, "valid", "validation", "train"})
_DEPTH = 4
_MAX_FILES = 20_000
_SHOWN = 8
_SENTENCES, _PARAGRAPHS = "sentence_level", "paragraph_level"

_KNOWN_TABLES = {"stringid": "TICO-19", "uniq_id": "BOUQuET", "is_bad_source": "WMT24++"}
"""Kinds of tables whose ids align their languages, by a column that only they have."""
_ENGLISH = "eng_Latn"

_SGML_NAME = re.compile(
    r"(?P<stem>.+?)(?:-(?P<pair>[a-z]{4}))?-(?P<side>src|ref)(?P<more>[\w-]*)\.(?P<code>[a-z]{2,3})"
    r"\.(?:sgm|sgml)"
)
_IWSLT_NAME = re.compile(
    r"(?P<stem>.+)\.(?P<source>[a-z]{2,3})-(?P<target>[a-z]{2,3})\.(?P<code>[a-z]{2,3})\.xml"
)
_ALIGNED_NAME = re.compile(
    r"(?P<stem>.+?)[.](?P<code>[A-Za-z]{2,3}(?:[_-][A-Za-z0-9]+){0,2})(\.txt)?"
)


def find_test_set(path: Path, split: str = "", references: Sequence[str] = ()) -> TestSet:
    """Return the test set in a file or a directory.

    Args:
        path: The set as it was published.
        split: Which part: a directory or a part of file names, as `devtest`, `test` or
            `newstest2019`; the usual one if empty.
        references: Translators whose references are taken, where there are several.

    Raises:
        UserError: If there is nothing at the path, no such split, or no known layout.
        DataError: If a file of a known layout is damaged.
    """
    if path.is_file():
        return _of_file(path, references)
    if not path.is_dir():
        raise UserError(f"{path} is not a test set: it does not exist")
    if split and _is_flores(path, split):
        return flores_200(path, split)
    wanted = [split] if split else _SPLITS
    for one in wanted:
        found = _flores_text(path, one)
        if found is not None:
            return found
    # A clone, or the folder that holds what was unpacked. As any other files, the edited English of
    # `ref.eng-US` would pass for the source.
    for folder in (path, path / _NTREX, *sorted(path.glob(f"*/{_NTREX}"))):
        if any(folder.glob("newstest2019-ref.*.txt")):
            return _ntrex(folder)
    if (path / "sources").is_dir() and (path / "references").is_dir():
        return _metrics_task(path, references)
    return _of_files(path, _files(path), split, references)


def find_splits(path: Path, split: str = "") -> list[TestSet]:
    """Return the test set in a file or a directory, each split that it has.

    Args:
        path: The set as it was published.
        split: The one split that is wanted; all if empty.

    Raises:
        UserError: If there is nothing at the path, no such split, or no known layout.
        DataError: If a file of a known layout is damaged.
    """
    if split or not path.is_dir():
        return [find_test_set(path, split)]
    found = []
    for one in _SPLITS:
        try:
            found.append(find_test_set(path, one))
        except UserError:  # it has no such split
            continue
    return found or [find_test_set(path)]


def flores_200(path: Path, split: str) -> TestSet:
    """Return a split of a directory in FLORES-200's layout.

    Raises:
        UserError: If there is no such split.
    """
    files = split_files(path, split)
    return TestSet(
        kind=FLORES_200,
        path=path,
        split=split,
        sides={one: functools.partial(lines.read_side, [file], {}) for one, file in files.items()},
        codes={one: file.name.removesuffix(f".{split}") for one, file in files.items()},
    )


def _is_flores(path: Path, split: str) -> bool:
    return any((path / split).glob(f"*.{split}"))


def _flores_text(path: Path, split: str) -> TestSet | None:
    """FLORES-200's layout, or that of FLORES+ as text."""
    if _is_flores(path, split):
        return flores_200(path, split)
    files = {
        file.name.removeprefix(f"{split}."): file for file in (path / split).glob(f"{split}.*")
    }
    coded = {code: file for code, file in files.items() if is_language_suffix(code)}
    if not coded or any(file.suffix in (".tsv", ".jsonl", ".parquet") for file in coded.values()):
        return None
    columns = lines.read_metadata(path / f"metadata_{split}.tsv")
    readers = {code: _side_of([file], columns) for code, file in coded.items()}
    return _multiway("FLORES+", path, split, readers)


def _side_of(files: Sequence[Path], columns: Mapping[str, list[str]]) -> Callable[[], Side]:
    return functools.partial(lines.read_side, list(files), dict(columns))


def _multiway(
    kind: str,
    path: Path,
    split: str,
    readers: Mapping[str, Callable[[], Side]],
    notes: Iterable[str] = (),
) -> TestSet:
    """Return a set of languages; of several files for one of ours the usual one is taken."""
    codes, left = choose_codes(readers)
    more = []
    if left:
        shown = ", ".join(left[:_SHOWN]) + (
            f" and {len(left) - _SHOWN} more" * (len(left) > _SHOWN)
        )
        more.append(f"left out, as other texts of the same languages or unknown codes: {shown}")
    return TestSet(
        kind=kind,
        path=path,
        split=split,
        sides={ours: readers[theirs] for ours, theirs in codes.items()},
        codes=codes,
        notes=(*notes, *more),
    )


def _ntrex(folder: Path) -> TestSet:
    files: dict[str, list[Path]] = {}
    # In order, a second reference (`ref-2`) follows the first.
    for file in sorted(
        folder.glob("newstest2019-*.txt"), key=lambda one: ("-ref-" in one.name, one.name)
    ):
        match = lines.NTREX_REFERENCE.fullmatch(file.name)
        if match is not None:
            files.setdefault(match["code"], []).append(file)
    # The English source is the reference of no translator, and en-GB, en-IN and en-US are edits.
    columns: dict[str, list[str]] = {}
    for place in (folder, folder.parent):
        columns = columns or lines.read_ntrex_documents(place / lines.NTREX_DOCUMENTS)
    readers = {code: _side_of(found, columns) for code, found in files.items()}
    return _multiway(_NTREX, folder, "", readers)


def _metrics_task(path: Path, translators: Sequence[str]) -> TestSet:
    """Return a test set in the layout of mt-metrics-eval."""
    pairs: dict[Direction, Callable[[], Segments]] = {}
    codes: dict[str, str] = {}
    for source in sorted((path / "sources").glob("*.txt")):
        found = tables.pair_of(source.stem)
        files = sorted((path / "references").glob(f"{source.stem}.*.txt"))
        if found is None or not files:
            continue
        direction = _direction(source, found)
        codes |= dict(zip(direction, found, strict=True))
        documents = path / "documents" / f"{source.stem}.docs"
        pairs[direction] = functools.partial(
            lines.read_metrics_task, source, files, documents, tuple(translators)
        )
    if not pairs:
        raise UserError(f"{path}: no sources/<a>-<b>.txt with references/<a>-<b>.<name>.txt")
    return TestSet(kind="WMT metrics task", path=path, pairs=pairs, codes=codes)


def _files(path: Path) -> list[Path]:
    """Return the files of a set, sorted; hidden ones and those beside the text are left out."""
    found: list[Path] = []
    for folder, folders, names in os.walk(path):
        depth = len(Path(folder).relative_to(path).parts)
        folders[:] = [] if depth >= _DEPTH else sorted(n for n in folders if n[0] not in "._")
        found += [
            Path(folder, name)
            for name in sorted(names)
            if not name.startswith(".")
            and not re.match(r"(?i)(readme|license|licence|changelog|metadata|document_ids)", name)
            and not name.endswith((".md", ".py", ".sh", ".yaml", ".json", ".bib", ".html"))
        ]
        if len(found) > _MAX_FILES:
            raise UserError(f"{path} has more than {_MAX_FILES:,} files; name one test set of it")
    return found


def _tokens(file: Path, root: Path) -> set[str]:
    relative = file.relative_to(root)
    words = {*relative.parts[:-1], relative.name, tables.plain_stem(file)}
    return words | set(re.split(r"[._]", relative.name)) | set(re.split(r"[._-]", relative.name))


def _choose_split(path: Path, files: Sequence[Path], split: str) -> tuple[list[Path], str]:
    """Return the files of one split, and its name.

    Raises:
        UserError: If no file belongs to it.
    """
    tokens = {file: _tokens(file, path) for file in files}
    if split:
        chosen = [file for file in files if split in tokens[file]]
        if not chosen:
            every = {word for words in tokens.values() for word in words} & _FOLDER_SPLITS
            known = f" It has {', '.join(sorted(every))}." if every else ""
            raise UserError(f"{path} has no split `{split}`: no file or directory of it.{known}")
        return chosen, split
    for one in _SPLITS:
        chosen = [file for file in files if one in tokens[file]]
        if chosen:
            return chosen, one
    return list(files), ""


def _of_files(path: Path, files: list[Path], split: str, references: Sequence[str]) -> TestSet:
    """Find the kind by what most layouts have alone, from the most to the least telling."""
    files, split = _choose_split(path, files, split)
    levels = [level for level in (_SENTENCES, _PARAGRAPHS) if any(level in f.parts for f in files)]
    notes = []
    if len(levels) == 2:
        files = [file for file in files if _SENTENCES in file.parts]
        notes.append(f"sentences; for paragraphs, name the directory {_PARAGRAPHS}")
    marked = [file for file in files if tables.plain_suffix(file) in (".xml", ".sgm", ".sgml")]
    if marked:
        return _of_markup(path, marked, split, references)
    tabled = [file for file in files if tables.plain_suffix(file) in tables.TABLE_SUFFIXES]
    named = [file for file in tabled if _is_named(file)]
    if named:
        return _of_tables(path, named, split, notes)
    pairs = _pair_files(files)
    if pairs:
        return _of_pairs(path, pairs, split)
    return _of_aligned(path, files, split)


def _of_file(path: Path, references: Sequence[str]) -> TestSet:
    suffix = tables.plain_suffix(path)
    if suffix in (".xml", ".sgm", ".sgml"):
        if suffix == ".xml" and not _is_sgml(path):
            return _of_markup(path, [path], "", references)
        stem = path.name.split("-")[0] if suffix != ".xml" else path.name.split(".")[0]
        beside = [one for one in sorted(path.parent.iterdir()) if one.name.startswith(stem)]
        return _of_markup(
            path, [one for one in beside if tables.plain_suffix(one) == suffix], "", ()
        )
    if suffix in tables.TABLE_SUFFIXES and _is_named(path):
        names = tables.column_names(path)
        if tables.is_mono(names):
            beside = [one for one in sorted(path.parent.iterdir()) if one.suffix == path.suffix]
            return _of_tables(path, beside, "", [])
        return _of_tables(path, [path], "", [])
    pairs = _pair_files([path])
    if pairs:
        return _of_pairs(path, pairs, "")
    match = _ALIGNED_NAME.fullmatch(path.name)
    beside = sorted(path.parent.iterdir())
    if match is not None:
        beside = [one for one in beside if one.name.startswith(f"{match['stem']}.")]
    return _of_aligned(path, beside, "")


def _is_named(file: Path) -> bool:
    names = tables.column_names(file)
    return tables.is_mono(names) or tables.is_pair(names)


def _is_sgml(path: Path) -> bool:
    with open_binary(path) as stream:
        start = stream.read(4096)
    return re.search(rb"<(srcset|refset|mteval)\b", start) is not None


def _of_markup(path: Path, files: list[Path], split: str, references: Sequence[str]) -> TestSet:
    plain = [file for file in files if tables.plain_suffix(file) == ".xml" and not _is_sgml(file)]
    if plain:
        return _of_wmt_xml(path, plain, split, references)
    return _of_sgml(path, files, split)


def _of_wmt_xml(path: Path, files: list[Path], split: str, references: Sequence[str]) -> TestSet:
    pairs: dict[Direction, Callable[[], Segments]] = {}
    codes: dict[str, str] = {}
    owners: dict[Direction, Path] = {}
    for file in files:
        found = tables.pair_of(file.name) or markup.xml_languages(file)
        direction = _direction(file, found)
        if direction in owners:
            raise UserError(
                f"{path} has several sets for {direction}: {owners[direction].name} and"
                f" {file.name}; name one with --split or as the test set"
            )
        owners[direction] = file
        codes |= dict(zip(direction, found, strict=True))
        pairs[direction] = functools.partial(markup.read_wmt_xml, file, tuple(references))
    return TestSet(kind="WMT XML", path=path, split=split, pairs=pairs, codes=codes)


def _direction(file: Path, codes: Sequence[str]) -> Direction:
    ours = [standard_language(code) for code in codes]
    for code, one in zip(codes, ours, strict=True):
        if not one:
            raise DataError(f"{file}: `{code}` is not a code of a language")
    return Direction(ours[0], ours[1])


def _of_sgml(path: Path, files: list[Path], split: str) -> TestSet:
    """WMT's `newstest2019-ende-src.en.sgm` and IWSLT's `IWSLT17.TED.tst2015.en-de.en.xml`."""
    sides: dict[tuple[str, str, str], dict[str, list[Path]]] = {}
    """By name of the set, and source and target; then by `src` and `ref`."""
    free: dict[str, dict[str, Path]] = {}
    for file in files:
        match = _SGML_NAME.fullmatch(file.name)
        iwslt = _IWSLT_NAME.fullmatch(file.name)
        if match is not None and match["pair"] is not None:
            source, target = match["pair"][:2], match["pair"][2:]
            # `newstestB2020` holds second references for `newstest2020`.
            stem = re.sub(r"(?<=[a-z])[A-Z](?=\d{4})", "", match["stem"]) + match["more"]
            found = sides.setdefault((stem, source, target), {})
            found.setdefault(match["side"], []).append(file)
        elif match is not None:
            free.setdefault(match["stem"], {}).setdefault(match["code"], file)
        elif iwslt is not None:
            source, target = iwslt["source"], iwslt["target"]
            side = "src" if iwslt["code"] == source else "ref"
            found = sides.setdefault((iwslt["stem"], source, target), {})
            found.setdefault(side, []).append(file)
    for (stem, source, target), found in list(sides.items()):
        # IWSLT's blind sets have the references in the sources of the other direction.
        other = sides.get((stem, target, source), {})
        if "ref" not in found and "src" in other:
            found["ref"] = list(other["src"])
    whole = {key: found for key, found in sides.items() if {"src", "ref"} <= found.keys()}
    if whole:
        return _sgml_pairs(path, whole, split)
    stems = [stem for stem, found in free.items() if len(found) > 1]
    if len(stems) > 1:
        raise UserError(
            f"{path} has several sets: {', '.join(sorted(stems)[:_SHOWN])}; name one with --split"
        )
    if not stems:
        raise UserError(
            f"{path}: no source and reference belong together; files are named as"
            " newstest2019-ende-src.en.sgm and newstest2019-ende-ref.de.sgm, or as"
            " IWSLT17.TED.tst2015.en-de.en.xml and .de.xml"
        )
    readers = {
        code: functools.partial(markup.read_sgml, file) for code, file in free[stems[0]].items()
    }
    return _multiway("WMT SGML", path, split or stems[0], readers)


def _sgml_pairs(
    path: Path, whole: Mapping[tuple[str, str, str], Mapping[str, list[Path]]], split: str
) -> TestSet:
    pairs: dict[Direction, Callable[[], Segments]] = {}
    codes: dict[str, str] = {}
    names: dict[Direction, str] = {}
    for (stem, source, target), found in sorted(whole.items()):
        direction = _direction(found["src"][0], (source, target))
        if direction in names:
            raise UserError(
                f"{path} has several sets for {direction}: {names[direction]} and {stem}; name one"
                " with --split"
            )
        names[direction] = stem
        codes |= dict(zip(direction, (source, target), strict=True))
        # Of two copies of the references the one of the same name as the source comes first.
        files = sorted(found["ref"], key=lambda one: (not one.name.startswith(stem), one.name))
        pairs[direction] = functools.partial(_read_sgml_pair, found["src"][0], files)
    is_iwslt = all(file.suffix == ".xml" for found in whole.values() for file in found["src"])
    kind = "IWSLT" if is_iwslt else "WMT SGML"
    return TestSet(kind=kind, path=path, split=split, pairs=pairs, codes=codes)


def _read_sgml_pair(source: Path, references: Sequence[Path]) -> Segments:
    own = markup.read_sgml(source)
    texts = []
    for file in references:
        found = markup.read_sgml(file)
        if len(found.ids) != len(own.ids):
            raise DataError(
                f"{file} has {len(found.ids):,} segments and {source} has {len(own.ids):,}"
            )
        texts += found.texts
    return Segments(own.texts[0], texts, own.columns)


def _of_tables(path: Path, files: list[Path], split: str, notes: list[str]) -> TestSet:
    names = tables.column_names(files[0])
    if tables.is_mono(names):
        return _of_mono(path, files, split)
    known = next((kind for column, kind in _KNOWN_TABLES.items() if column in names), None)
    if known is None:
        return _of_other_tables(path, files, split)
    read = functools.lru_cache(maxsize=2)(tables.read_pair_table)
    readers: dict[str, Callable[[], Side]] = {}
    for file in files:
        stem = tables.plain_stem(file)
        codes = tables.pair_of(stem)
        if codes is None and is_language_suffix(stem):  # BOUQuET's, whose targets are English
            codes = (stem, _ENGLISH)
        if codes is None:
            table = read(file)
            codes = (table.source, table.target)
        for place, code in enumerate(codes):
            if code not in readers:
                readers[code] = functools.partial(_table_side, read, file, place)
    return _multiway(known, path, split, readers, notes)


def _table_side(read: Callable[[Path], tables.PairTable], file: Path, place: int) -> Side:
    table = read(file)
    if not table.has_ids:
        raise DataError(f"{file} needs a column of ids that are all different, to align languages")
    return table.sides[place]


def _of_mono(path: Path, files: list[Path], split: str) -> TestSet:
    """FLORES+: a table per language, or one of all."""
    readers: dict[str, Callable[[], Side]] = {}
    read = functools.lru_cache(maxsize=2)(tables.read_mono)
    for file in files:
        stem = tables.plain_stem(file)
        codes = [stem] if is_language_suffix(stem) else list(read(file))
        for code in codes:
            readers[code] = functools.partial(_mono_side, read, file, code)
    return _multiway("FLORES+", path, split, readers)


def _mono_side(read: Callable[[Path], dict[str, Side]], file: Path, code: str) -> Side:
    found = read(file)
    return found[code] if code in found else next(iter(found.values()))


def _of_other_tables(path: Path, files: list[Path], split: str) -> TestSet:
    pairs: dict[Direction, Callable[[], Segments]] = {}
    codes: dict[str, str] = {}
    for file in files:
        found = tables.pair_of(tables.plain_stem(file))
        if found is None:
            table = tables.read_pair_table(file)
            found = (table.source, table.target)
        if not all(found):
            raise UserError(
                f"{file} does not say which languages it holds; name it <source>-<target>, as"
                f" eng_Latn-fra_Latn{file.suffix}"
            )
        direction = _direction(file, found)
        if direction in pairs:
            raise UserError(f"{path} has several files for {direction}; name one of them")
        codes |= dict(zip(direction, found, strict=True))
        pairs[direction] = functools.partial(_table_pairs, file)
    return TestSet(
        kind="table of pairs", path=path, split=split, pairs=pairs, codes=codes, reversible=True
    )


def _table_pairs(file: Path) -> Segments:
    source, target = tables.read_pair_table(file).sides
    return Segments(source.texts[0], target.texts, source.columns)


def _pair_files(files: Iterable[Path]) -> dict[Path, tuple[str, str]]:
    """Return files of pairs, and the codes in their names or in the name of their directory."""
    found = {}
    for file in files:
        if tables.plain_suffix(file) not in (".tsv", ".txt"):
            continue
        codes = tables.pair_of(tables.plain_stem(file)) or tables.pair_of(file.parent.name)
        if codes is not None and (lines.is_pairs(file) or lines.is_tatoeba(file)):
            found[file] = codes
    return found


def _of_pairs(path: Path, files: Mapping[Path, tuple[str, str]], split: str) -> TestSet:
    pairs: dict[Direction, Callable[[], Segments]] = {}
    codes: dict[str, str] = {}
    left = []
    for file, found in files.items():
        ours = [standard_language(code) for code in found]
        if not all(ours) or (direction := Direction(*ours)) in pairs:
            left.append(file.name)
            continue
        codes |= dict(zip(direction, found, strict=True))
        pairs[direction] = functools.partial(lines.read_pairs, file)
    is_tatoeba = lines.is_tatoeba(next(iter(files)))
    shown = ", ".join(left[:_SHOWN])
    return TestSet(
        kind="Tatoeba Challenge" if is_tatoeba else "pairs",
        path=path,
        split=split,
        pairs=pairs,
        codes=codes,
        reversible=True,
        notes=(f"left out, as second files of a direction or unknown codes: {shown}",)
        if left
        else (),
    )


def _of_aligned(path: Path, files: Iterable[Path], split: str) -> TestSet:
    """`<code>.txt` by language, or `<name>.<code>` of one name."""
    single: dict[str, Path] = {}
    stems: dict[str, dict[str, Path]] = {}
    for file in files:
        stem = tables.plain_stem(file)
        if tables.plain_suffix(file) == ".txt" and is_language_suffix(stem):
            single[stem] = file
            continue
        match = _ALIGNED_NAME.fullmatch(re.sub(r"\.(gz|zst)$", "", file.name))
        if match is not None and is_language_suffix(match["code"]):
            stems.setdefault(match["stem"], {})[match["code"]] = file
    stems = {stem: found for stem, found in stems.items() if len(found) > 1}
    if len(single) > 1:
        readers = {code: _side_of([file], {}) for code, file in single.items()}
        return _multiway("line-aligned files", path, split, readers)
    if not stems:
        raise UserError(
            f"{path} is not a test set in a known layout: FLORES-200, FLORES+, NTREX-128, TICO-19,"
            " WMT (SGML, XML), WMT24++, BOUQuET, IWSLT, Tatoeba Challenge, a table or TSV of pairs"
            " named <source>-<target>, or line-aligned files <name>.<language>"
        )
    if len({frozenset(found) for found in stems.values()}) == 1 and len(stems) == 1:
        (found,) = stems.values()
        readers = {code: _side_of([file], {}) for code, file in found.items()}
        return _multiway("line-aligned files", path, split, readers)
    # `test.en-de.en`: each name holds one direction.
    pairs: dict[Direction, Callable[[], Segments]] = {}
    codes: dict[str, str] = {}
    for stem, found in stems.items():
        named = tables.pair_of(stem)
        if named is None or set(named) - set(found):
            raise UserError(
                f"{path} has several sets of line-aligned files:"
                f" {', '.join(sorted(stems)[:_SHOWN])}; name one with --split"
            )
        direction = _direction(found[named[0]], named)
        codes |= dict(zip(direction, named, strict=True))
        pairs[direction] = functools.partial(_read_aligned, found[named[0]], found[named[1]])
    return TestSet(
        kind="line-aligned files", path=path, split=split, pairs=pairs, codes=codes, reversible=True
    )


def _read_aligned(source: Path, target: Path) -> Segments:
    side = lines.read_side([source, target], {})
    return Segments(side.texts[0], [side.texts[1]], {})
