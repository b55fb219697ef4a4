"""The reader of bitext, whatever its layout."""

import functools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from corpus.bitext.archives import MosesPlaces, choose
from corpus.bitext.directions import direction_of, moses_places
from corpus.bitext.jsonl import JsonLinesFormat
from corpus.bitext.moses import MosesFormat
from corpus.bitext.names import JSONL, PARQUET, TAR, TMX, TSV, ZIP, part_of, stem_of
from corpus.bitext.parquet_files import ParquetFormat
from corpus.bitext.places import Place
from corpus.bitext.tables import BATCH_ROWS, PairFormat
from corpus.bitext.tmx import TmxFormat
from corpus.bitext.tsv import TsvFormat
from corpus.errors import DataError, UserError
from corpus.languages import Direction

logger = logging.getLogger(__name__)


class BitextReader:
    """The pairs of a bitext, as tables of one schema with at least `source` and `target`.

    A bitext is given by a file: Parquet, TSV, JSON lines or TMX; a zip or tar archive; one side of
    a Moses pair, the other beside it; or one part of Parquet, `train-00000-of-00002.parquet`, with
    all parts. `corpus.bitext.names` tells them by name, anything else is TSV. Pairs are read
    in bounded memory, and may be iterated again, from the beginning.

    Attributes:
        schema: Columns of every table. `score` is of numbers where there is one.
        what: What the file was taken for, in words.

    Raises:
        UserError: If the file does not exist, or it is not clear what is meant.
        DataError: If it is damaged, a line is not a pair, or source and target are unclear; the
            message names the line.
    """

    def __init__(
        self,
        path: Path,
        rows: int = BATCH_ROWS,
        *,
        columns: Mapping[str, str] | None = None,
        direction: Direction | None = None,
    ) -> None:
        """Open a file.

        Args:
            path: The file.
            rows: Pairs of a table, at most.
            columns: Name, or number from 1, of the columns `source`, `target` and `score`, to
                override the file's header; of TSV, Parquet and JSON lines.
            direction: Which pairs are read where a file has several languages; that of the file's
                name or content if not given.
        """
        if not path.is_file():
            raise UserError(f"bitext {path} does not exist or is not a file")
        self._path = path
        self._direction = direction or direction_of(path)
        self._format, self.what = _open(path, rows, columns or {}, self._direction)
        self.schema = self._format.schema
        say_what(path, self._direction, self.what)

    def __iter__(self) -> Iterator[pa.Table]:
        return self._format.tables()

    def count(self) -> int:
        """Return the number of pairs; all but Parquet is read once for it."""
        return self._format.count()

    def copy_first(self, folder: Path, pairs: int) -> int:
        """Copy the first pairs to a file of the folder that is named by the direction.

        Returns:
            How many there were.
        """
        if self._direction is None:
            raise UserError(
                f"{self._path} does not tell its languages; name it as eng_Latn-fra_Latn"
            )
        return self._format.copy_first(folder, self._direction, pairs)

    @property
    def left_out(self) -> Mapping[str, int]:
        """What a pass over it did not make pairs of, by reason."""
        return self._format.left_out if isinstance(self._format, TmxFormat) else {}


@functools.lru_cache(maxsize=1 << 10)
def say_what(path: Path, direction: Direction | None, what: str) -> None:
    """Log what a file was taken for, once per process, unless it is named as this project's are."""
    stem = stem_of(path.name)
    if stem is None or stem.text != str(direction) or stem.format not in (PARQUET, TSV):
        languages = f", {direction.source} to {direction.target}" if direction is not None else ""
        logger.info("%s: read as %s%s", path, what, languages)


def _open(
    path: Path, rows: int, columns: Mapping[str, str], direction: Direction | None
) -> tuple[PairFormat, str]:
    stem = stem_of(path.name)
    if stem is None:
        moses = moses_places(path, direction)
        if moses is not None:
            return _open_moses(moses, rows), f"a Moses pair with {_other(moses, path)}"
        return TsvFormat(Place(path), rows, columns, direction), TSV
    if stem.format == PARQUET:
        paths = parquet_parts(path)
        parts = f" in {len(paths)} parts" if len(paths) > 1 else ""
        return ParquetFormat(paths, rows, columns, direction), f"{PARQUET}{parts}"
    if stem.format not in (ZIP, TAR):
        return _open_place(Place(path), stem.format, rows, columns, direction), stem.format
    chosen = choose(path, direction)
    if isinstance(chosen, MosesPlaces):
        names = f"{chosen.source.member} and {chosen.target.member}"
        return _open_moses(chosen, rows), f"a {stem.format} of the Moses pair {names}"
    inner = stem_of(chosen.name)
    assert inner is not None
    reader = _open_place(chosen, inner.format, rows, columns, direction)
    return reader, f"a {stem.format} of {chosen.member}, {inner.format}"


def _other(places: MosesPlaces, path: Path) -> str:
    names = [place.name for place in (places.source, places.target) if place.path != path]
    return ", ".join(names)


def _open_moses(places: MosesPlaces, rows: int) -> PairFormat:
    return MosesFormat(places.source, places.target, rows, scores=places.scores, ids=places.ids)


def _open_place(
    place: Place, kind: str, rows: int, columns: Mapping[str, str], direction: Direction | None
) -> PairFormat:
    if kind == JSONL:
        return JsonLinesFormat(place, rows, columns, direction)
    if kind == TMX:
        if direction is None:
            raise UserError(
                f"{place} does not tell which two languages are meant; name it by them, as"
                " eng_Latn-fra_Latn.tmx"
            )
        return TmxFormat(place, rows, direction)
    return TsvFormat(place, rows, columns, direction)


def parquet_parts(path: Path) -> list[Path]:
    """Return the parts of the Parquet file that one belongs to, in order, or itself.

    Raises:
        DataError: If one is missing.
    """
    part = part_of(path.name)
    if part is None:
        return [path]
    stem, _, count = part
    digits = len(path.name.removesuffix(path.suffix).rpartition("-of-")[2])
    paths = [
        path.with_name(f"{stem}-{number:0{digits}}-of-{count:0{digits}}{path.suffix}")
        for number in range(count)
    ]
    missing = next((one for one in paths if not one.is_file()), None)
    if missing is not None:
        raise DataError(f"{path} is one of {count} parts, of which {missing.name} is missing")
    return paths


def bitext_paths(path: Path, direction: Direction | None = None) -> tuple[Path, ...]:
    """Return all files of a bitext that is given by one, that one first.

    Raises:
        UserError: If the other side of a Moses pair is missing.
        DataError: If a part is missing.
    """
    if not path.is_file():
        raise UserError(f"bitext {path} does not exist or is not a file")
    moses = moses_places(path, direction) if stem_of(path.name) is None else None
    if moses is not None:
        others = [place.path for place in moses if place is not None]
    else:
        others = parquet_parts(path) if path.suffix == ".parquet" else []
    return (path, *(one for one in others if one != path))


def count_pairs(
    path: Path, columns: Mapping[str, str] | None = None, direction: Direction | None = None
) -> int:
    """Return the number of pairs of a bitext.

    Raises:
        UserError: If the file does not exist.
        DataError: If it is damaged.
    """
    return BitextReader(path, columns=columns, direction=direction).count()


def copy_first_pairs(
    path: Path,
    folder: Path,
    direction: Direction,
    pairs: int,
    columns: Mapping[str, str] | None = None,
) -> int:
    """Copy the first pairs of a bitext to a folder, to be read with the same `columns`.

    Returns:
        How many there were.
    """
    return BitextReader(path, columns=columns, direction=direction).copy_first(folder, pairs)
