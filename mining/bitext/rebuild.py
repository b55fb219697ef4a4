"""From bitext metadata back to bitext: recovers the text from sentences or crawl shards.

Two jobs: the first looks for sentences in every shard, the second puts the pairs together.
"""

import functools
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from corpus.bitext import BATCH_ROWS, bitext_writer, check_bitext_name, direction_of
from corpus.crawl.documents import Shard, shard_kind
from corpus.errors import JobError, UserError
from corpus.files import remove_parts
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, has_receipt, run_job
from corpus.languages import Direction
from corpus.records import BITEXT_SCHEMA, read_table, sentence_shards
from corpus.remote import RemoteFile
from mining.bitext.config import RebuildConfig
from mining.bitext.find_text import FIND_JOB, FOUND_SCHEMA, find_in_shard, find_tasks
from mining.bitext.metadata import UNUSED, metadata_direction, read_metadata

logger = logging.getLogger(__name__)

REBUILD_JOB = "rebuild"
PARTS = ".rebuild"
_LITTLE = 8 << 20
"""Bytes of shards that are looked through before a second process has begun."""


class _Half(NamedTuple):
    digest: int
    score: float
    document: str


@dataclass
class _Pairs:
    """The pairs of a metadata file, all in memory."""

    sides: tuple[dict[int, _Half], dict[int, _Half]] = ({}, {})
    """Source and target of a pair by its number."""

    texts: dict[int, str] = field(default_factory=dict)
    """Those found, by digest."""


class RebuildInputs(NamedTuple):
    """Where the text of a metadata file is searched."""

    direction: Direction | None
    """None where the metadata are empty and nothing is named by one."""

    shards: tuple[Shard, ...]
    """Crawl shards."""

    tables: dict[str, list[Path]]
    """Shards of sentences by language."""


def run_rebuild(
    metadata: Path,
    shards: Sequence[Shard],
    output: Path,
    sentences: Path | None = None,
    config: RebuildConfig | None = None,
    executor: Executor = LOCAL,
    *,
    keep_parts: bool = False,
) -> Summary:
    """Write the pairs of a metadata file whose text is found, and count the others.

    A sentence is found where its digest is: among the sentences of its language, or among those
    that its document in a crawl shard is split into. So another splitter than NLLB's finds of
    NLLB's metadata only the sentences that both cut alike.

    Args:
        metadata: Of `tongues mining metadata`, or NLLB's. Empty ones make an empty bitext.
        shards: Crawl shards, as `mining sentences` reads them.
        output: Bitext.
        sentences: Directory of `mining sentences`.
        config: How many processes look for text; the default ones if not given.
        executor: Where they run.
        keep_parts: Whether what was found in each shard stays on disk.

    Raises:
        UserError: If there is nothing to find text in, or the metadata are damaged.
        JobError: If shards are damaged. What could be read of them is in the output.
    """
    found = rebuild_inputs(metadata, shards, output, sentences)
    name = output.name.split(".")[0]
    finder = find_tasks(name, metadata, found.shards, found.tables)
    inputs = (metadata, *(path for task in finder for path in task.inputs[1:]))
    remote = tuple(file for task in finder for file in task.remote)
    task = Task(name=name, inputs=inputs, remote=remote, arguments={"output": output.name})
    parts = output.parent / PARTS
    damaged: JobError | None = None
    if not has_receipt(REBUILD_JOB, task, output.parent):
        damaged = _find(finder, parts, output, config or RebuildConfig(), executor)
    work = functools.partial(
        _rebuild,
        direction=found.direction,
        output=output,
        parts=[parts / f"{one.name}.parquet" for one in finder],
        problem="" if damaged is None else "not all text could be looked through",
    )
    try:
        summary = run_job(
            name=REBUILD_JOB, tasks=[task], work=work, output=output.parent, executor=executor
        )
    except JobError as error:
        raise damaged or error from None
    if not keep_parts:
        remove_parts(parts / name)
    return summary


def rebuild_inputs(
    metadata: Path, shards: Sequence[Shard], output: Path, sentences: Path | None
) -> RebuildInputs:
    """Return what text is looked for in.

    Raises:
        UserError: If there is nothing, a shard's name says no format, or the output's suffix is not
            a bitext's.
    """
    if not shards and sentences is None:
        raise UserError("there is no text at hand: give crawl shards, or --sentences, or both")
    check_bitext_name(output)
    for shard in shards:
        shard_kind(shard)
        if not isinstance(shard, RemoteFile) and not shard.is_file():
            raise UserError(f"shard {shard} does not exist or is not a file")
    direction = metadata_direction(metadata) or direction_of(output)
    languages = direction if direction is not None and sentences is not None else ()
    tables = {one: sentence_shards(Path(str(sentences)), one) for one in languages}
    return RebuildInputs(direction, tuple(shards), tables)


def _find(
    tasks: Sequence[Task], parts: Path, output: Path, config: RebuildConfig, executor: Executor
) -> JobError | None:
    """Look for text in all shards; return what was wrong with some of them."""
    try:
        run_job(
            name=FIND_JOB,
            tasks=tasks,
            work=functools.partial(find_in_shard, parts=parts),
            output=output.parent,
            workers=find_workers(tasks, config),
            executor=executor,
        )
    except JobError as error:
        if len(executor.share(tasks)) < len(tasks):
            raise  # other processes have shards to do yet
        return error
    return None


def find_workers(tasks: Sequence[Task], config: RebuildConfig) -> int:
    """Return how many processes look for text; one where there is little to do."""
    local = [path for task in tasks for path in task.inputs[1:]]
    is_little = sum(path.stat().st_size for path in local) < _LITTLE
    return 1 if is_little and not any(task.remote for task in tasks) else config.workers


def _rebuild(
    task: Task, *, direction: Direction | None, output: Path, parts: Sequence[Path], problem: str
) -> Outcome:
    pairs = _Pairs(({}, {}))
    counts: Counter[str] = Counter({"pairs": 0, "rebuilt": 0})
    for side in read_metadata(task.inputs[0]):
        number = 0 if direction is None or side.language == direction.source else 1
        half = _Half(side.sentence_digest, side.laser_score, side.document_url)
        if side.line_number_in_direction in pairs.sides[number]:
            counts["repeated_lines"] += 1
        pairs.sides[number][side.line_number_in_direction] = half
    for part in parts:
        if part.is_file():  # of a shard that cannot be read there is none
            digests, texts = read_table(part, FOUND_SCHEMA).columns
            pairs.texts.update(zip(digests.to_pylist(), texts.to_pylist(), strict=True))
    with bitext_writer(output, BITEXT_SCHEMA) as write:
        for table in _tables(pairs, counts):
            write(table)
    if not counts["pairs"]:
        languages = "a direction that nothing names" if direction is None else str(direction)
        logger.warning(
            "%s is empty: %s is an empty bitext of %s", task.inputs[0], output, languages
        )
    return Outcome(counts=counts, outputs=(output,), problem=problem)


def _tables(pairs: _Pairs, counts: Counter[str]) -> Iterator[pa.Table]:
    sources, targets = pairs.sides
    rows = []
    for number in sorted(sources.keys() | targets.keys()):
        counts["pairs"] += 1
        halves = (sources.get(number), targets.get(number))
        reason = _missing(halves, pairs.texts)
        if reason:
            counts[f"missing.{reason}"] += 1
            continue
        counts["rebuilt"] += 1
        rows.append(_row(halves, pairs.texts))
        if len(rows) == BATCH_ROWS:
            yield pa.Table.from_pylist(rows, BITEXT_SCHEMA)
            rows = []
    yield pa.Table.from_pylist(rows, BITEXT_SCHEMA)


def _missing(halves: tuple[_Half | None, _Half | None], texts: Mapping[int, str]) -> str:
    if None in halves:
        return "line_of_a_side"
    lacking = [
        name
        for name, half in zip(("source", "target"), halves, strict=True)
        if half is not None and half.digest not in texts
    ]
    return "both" if len(lacking) > 1 else "".join(lacking)


def _row(halves: tuple[_Half | None, _Half | None], texts: Mapping[int, str]) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, half in zip(("source", "target"), halves, strict=True):
        assert half is not None
        row["score"] = half.score
        row[name] = texts[half.digest]
        row[f"{name}_document"] = None if half.document == UNUSED else half.document
    return row
