"""`tongues data convert`: bitext as others keep it, written in this project's layout or as TMX."""

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from corpus.bitext.directions import direction_by_name, directions_of
from corpus.bitext.directory import bitext_in
from corpus.bitext.names import TSV, stem_of
from corpus.bitext.reader import BitextReader, bitext_paths
from corpus.bitext.writer import bitext_writer
from corpus.bitext_columns import SCORE, SIDES, check_columns
from corpus.config import Config, PositiveInt, execution_only
from corpus.errors import UserError
from corpus.jobs import LOCAL, Executor, Outcome, Task, check_not_inputs, run_job, task_counts
from corpus.languages import Direction

CONVERT_JOB = "convert"
FORMATS = ("parquet", "tsv", "tsv.gz", "tsv.zst", "tmx", "tmx.gz")
_FIRST_COLUMNS = (SCORE, *SIDES, "source_document", "target_document")


@dataclass(frozen=True, kw_only=True)
class ConvertConfig(Config):
    """How bitext is read."""

    columns: dict[str, str] = field(default_factory=dict)
    """Names or numbers, from 1, of the columns `source`, `target` and `score`; by their headers if
    empty."""

    workers: PositiveInt = execution_only(1)  # noqa: RUF009
    """Processes; each converts a direction at a time."""

    def __post_init__(self) -> None:
        """Check the columns as well."""
        super().__post_init__()
        check_columns(self.columns)


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What became of a direction."""

    direction: Direction
    files: tuple[Path, ...]
    """Those that its bitext was given by."""

    counts: Mapping[str, int]
    """`pairs`, `kept`, `dropped.empty`, and what else was left out."""


def convert_bitext(
    inputs: Sequence[Path],
    output: Path,
    config: ConvertConfig,
    *,
    direction: Direction | None = None,
    suffix: str = FORMATS[0],
    executor: Executor = LOCAL,
) -> list[Converted]:
    """Write `output/<source>-<target>.<suffix>` for each direction, pairs of all inputs in order.

    Pairs of which a side is empty are dropped. Columns stay; where inputs of a direction have
    different ones, what is missing is null.

    Args:
        inputs: Files and directories of bitext.
        output: The directory.
        config: Columns.
        direction: That of all files, where they do not tell or a code may mean several languages;
            only this direction is converted.
        suffix: One of `FORMATS`.
        executor: Where the directions are worked on.

    Raises:
        UserError: If an input is missing, or its languages are not known.
        JobError: If one cannot be read.
    """
    sources = find_inputs(inputs, direction)
    tasks = [
        Task(
            name=str(one),
            inputs=tuple(file for path in paths for file in bitext_paths(path, one)),
            arguments={"format": suffix},
        )
        for one, paths in sources.items()
    ]
    check_not_inputs(
        [output / f"{one}.{suffix}" for one in sources],
        [path for task in tasks for path in task.inputs],
    )
    run_job(
        name=CONVERT_JOB,
        tasks=tasks,
        work=functools.partial(
            _convert, sources=sources, output=output, suffix=suffix, config=config
        ),
        output=output,
        config=config,
        workers=config.workers,
        executor=executor,
    )
    counts = task_counts(output, CONVERT_JOB)
    return [
        Converted(direction=one, files=tuple(paths), counts=counts[str(one)])
        for one, paths in sources.items()
    ]


def find_inputs(inputs: Sequence[Path], direction: Direction | None) -> dict[Direction, list[Path]]:
    """Return the files of each direction, in the order of the inputs.

    Raises:
        UserError: If an input is missing, or its languages are not known or not those asked for.
    """
    found: dict[Direction, list[Path]] = {}
    for path in inputs:
        there = bitext_in(path, direction) if path.is_dir() else _of_file(path, direction)
        for one, file in there:
            if direction is None or one == direction:
                found.setdefault(one, []).append(file)
    if not found:
        raise UserError(f"{', '.join(map(str, inputs))}: there is no bitext of {direction}")
    return dict(sorted(found.items()))


def _of_file(path: Path, direction: Direction | None) -> list[tuple[Direction, Path]]:
    if not path.is_file():
        raise UserError(f"bitext {path} does not exist")
    if direction is None:
        directions = directions_of(path)
        if not directions:
            raise UserError(
                f"{path} does not tell its languages; give --source LANGUAGE --target LANGUAGE"
            )
        return [(one, path) for one in directions]
    named = direction_by_name(path, direction)
    stem = stem_of(path.name)
    if named is not None and stem is not None and stem.format == TSV and named != direction:
        raise UserError(f"{path} is named as a file of {named}, not of {direction}")
    return [(direction, path)]


def _convert(
    task: Task,
    *,
    sources: Mapping[Direction, Sequence[Path]],
    output: Path,
    suffix: str,
    config: ConvertConfig,
) -> Outcome:
    direction = next(one for one in sources if str(one) == task.name)
    readers = [
        BitextReader(path, columns=config.columns, direction=direction)
        for path in sources[direction]
    ]
    schema = _common_schema(readers)
    path = output / f"{direction}.{suffix}"
    counts: Counter[str] = Counter({"pairs": 0, "kept": 0, "dropped.empty": 0})
    with bitext_writer(path, schema, direction) as write:
        for table in _tables(readers, schema):
            kept = table.filter(_is_whole(table))
            counts["pairs"] += table.num_rows
            counts["kept"] += kept.num_rows
            write(kept)
    counts["dropped.empty"] = counts["pairs"] - counts["kept"]
    for reader in readers:
        counts.update({f"left_out.{reason}": count for reason, count in reader.left_out.items()})
    return Outcome(counts=counts, outputs=(path,))


def _common_schema(readers: Sequence[BitextReader]) -> pa.Schema:
    """Return all columns, those that pairs have first; text where files differ in a type."""
    types: dict[str, pa.DataType] = {}
    for reader in readers:
        for own in reader.schema:
            is_same = types.setdefault(own.name, own.type) == own.type
            types[own.name] = own.type if is_same else pa.string()
    names = [name for name in _FIRST_COLUMNS if name in types]
    names += [name for name in types if name not in names]
    if SCORE in types:
        types[SCORE] = pa.float32()
    return pa.schema([(name, types[name]) for name in names])


def _tables(readers: Sequence[BitextReader], schema: pa.Schema) -> Iterator[pa.Table]:
    for reader in readers:
        for table in reader:
            columns = [
                table.column(name).cast(schema.field(name).type)
                if name in table.column_names
                else pa.nulls(table.num_rows, schema.field(name).type)
                for name in schema.names
            ]
            yield pa.Table.from_arrays(columns, schema=schema)


def _is_whole(table: pa.Table) -> pa.ChunkedArray:
    """Return which pairs have text on both sides."""
    source, target = (
        pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(table.column(side))), 0) for side in SIDES
    )
    return pc.and_(source, target)
