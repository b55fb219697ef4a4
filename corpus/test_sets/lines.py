"""Test sets that are plain text, a segment per line.

- FLORES-200 (`<split>/<language>.<split>`) and FLORES+ until version 2 (`<split>/<split>.<code>`).
- NTREX-128 (https://github.com/MicrosoftTranslator/NTREX): `newstest2019-src.eng.txt`,
  `newstest2019-ref.<code>.txt`, a second Spanish reference in `newstest2019-ref-2.spa.txt`, and
  `DOCUMENT_IDS.tsv` with the document of each line.
- Tatoeba Challenge (https://github.com/Helsinki-NLP/Tatoeba-Challenge): `<a>-<b>/test.txt` and
  `tatoeba-test-<version>.<a>-<b>.txt`: two codes, source and target, separated by tabs.
- WMT's test sets of the metrics tasks, as https://github.com/google-research/mt-metrics-eval has
  them: `sources/en-de.txt`, `references/en-de.refA.txt`, `documents/en-de.docs` (domain, document).
- Two columns without a header: `<source>-<target>.tsv`.
- Line-aligned files: `<name>.<code>` or `<code>.txt`, as of OPUS, Moses and mt-metrics-eval.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from corpus.bitext_columns import check_first_lines
from corpus.errors import DataError, UserError
from corpus.files import open_lines, read_lines
from corpus.test_sets.test_set import DOCUMENT, DOMAIN, Segments, Side

NTREX_REFERENCE = re.compile(r"newstest2019-(?:src|ref)(?:-(?P<more>\d))?\.(?P<code>[\w-]+)\.txt")
NTREX_DOCUMENTS = "DOCUMENT_IDS.tsv"
_FIRST_LINES = 100


def read_side(files: Sequence[Path], columns: Mapping[str, list[str]]) -> Side:
    """Read a language of line-aligned files: its texts, the first and further references.

    Raises:
        DataError: If they differ in their number of lines.
    """
    texts = [read_lines(path) for path in files]
    for path, lines in zip(files, texts, strict=True):
        if len(lines) != len(texts[0]):
            raise DataError(
                f"{path} has {len(lines):,} lines and {files[0]} has {len(texts[0]):,}; they must"
                " be line-aligned"
            )
    return Side(line_ids(len(texts[0])), texts, dict(columns))


def line_ids(count: int) -> list[str]:
    """Return the line numbers from 1, as text."""
    return [str(number) for number in range(1, count + 1)]


def read_ntrex_documents(path: Path) -> dict[str, list[str]]:
    """Return the document of each line of NTREX-128; nothing without its file."""
    if not path.is_file():
        return {}
    # A column of ids, or the id last in the row.
    return {DOCUMENT: [line.split("\t")[-1].strip() for line in read_lines(path) if line.strip()]}


def read_metadata(path: Path) -> dict[str, list[str]]:
    """Return the columns of FLORES-200's `metadata_<split>.tsv`; nothing without it.

    Raises:
        DataError: If a row has more or fewer columns than the header.
    """
    if not path.is_file():
        return {}
    lines = read_lines(path)
    header = [cell.strip().casefold() for cell in lines[0].split("\t")] if lines else []
    columns: dict[str, list[str]] = {name: [] for name in header}
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise DataError(
                f"{path}:{number}: {len(cells)} columns where the header has {len(header)}"
            )
        for name, cell in zip(header, cells, strict=True):
            columns[name].append(cell)
    return columns


def read_metrics_task(
    source: Path, references: Sequence[Path], documents: Path, translators: Sequence[str]
) -> Segments:
    """Read a direction of mt-metrics-eval's layout, with the references of some translators.

    Raises:
        UserError: If a translator has none.
        DataError: If the files differ in their number of lines.
    """
    named = {path.name.removesuffix(".txt").rsplit(".", 1)[-1]: path for path in references}
    for name in translators:
        if name not in named:
            raise UserError(f"{source} has no reference by `{name}`; it has {', '.join(named)}")
    names = tuple(translators) or tuple(named)
    side = read_side([source, *(named[name] for name in names)], {})
    columns: dict[str, list[str]] = {}
    if documents.is_file():
        rows = [line.split(None, 1) for line in read_lines(documents)]
        columns = {
            DOMAIN: [row[0] if row else "" for row in rows],
            DOCUMENT: [row[-1] if row else "" for row in rows],
        }
    return Segments(side.texts[0], side.texts[1:], columns, names)


def read_pairs(path: Path) -> Segments:
    """Read two columns without a header, or the Tatoeba Challenge's four.

    Raises:
        DataError: If a line has another number of columns, or the first looks like a header; the
            message names it.
    """
    source: list[str] = []
    target: list[str] = []
    rows = [line.split("\t") for line in read_lines(path)]
    if rows and len(rows[0]) == 2:
        check_first_lines(path, rows[:_FIRST_LINES])
    for number, cells in enumerate(rows, 1):
        if len(cells) not in (2, 4):
            raise DataError(
                f"{path}:{number}: {len(cells)} columns; a set of pairs has two (source, target),"
                " the Tatoeba Challenge's four (two codes, source, target)"
            )
        source.append(cells[-2])
        target.append(cells[-1])
    return Segments(source, [target], {})


def is_tatoeba(path: Path) -> bool:
    """Whether a file's first line has the Tatoeba Challenge's four columns."""
    cells = _first_cells(path)
    return len(cells) == 4 and all(re.fullmatch(r"[a-z]{3}(?:_\w+)?", cell) for cell in cells[:2])


def is_pairs(path: Path) -> bool:
    """Whether a file's first line has two columns."""
    return len(_first_cells(path)) == 2


def _first_cells(path: Path) -> list[str]:
    return next(iter(open_lines(path)), "").split("\t")
