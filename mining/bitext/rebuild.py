"""Bitext metadata to bitext: the text again, from sentences or crawl shards at hand."""

import functools
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from corpus.bitext import BATCH_ROWS, bitext_writer, check_bitext_name
from corpus.documents import Document, read_documents
from corpus.errors import UserError
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import Direction
from corpus.records import BITEXT_SCHEMA, sentence_batches, sentence_shards
from corpus.split import split_sentences
from corpus.text import normalize
from mining.bitext.metadata import (
    UNUSED,
    Side,
    metadata_direction,
    read_metadata,
    text_digest,
    without_spaces,
)
from mining.sentences.clean import repair


@dataclass
class _Wanted:
    """What a metadata file asks for; all of it is held in memory."""

    sides: tuple[dict[int, Side], dict[int, Side]] = ({}, {})
    """Source and target of a pair by its number."""

    documents: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Digests of the sentences wanted, by document."""

    texts: dict[int, str] = field(default_factory=dict)
    """Those found, by digest."""


def run_rebuild(
    metadata: Path, shards: Sequence[Path], output: Path, sentences: Path | None = None
) -> Summary:
    """Write the pairs of a metadata file whose text is found, and count the others.

    A sentence is found where its digest is: among the sentences of its language, or among those
    that its document in a crawl shard is split into. So another splitter than NLLB's finds of
    NLLB's metadata only the sentences that both cut alike.

    Args:
        metadata: Of `tongues mining metadata`, or NLLB's.
        shards: Crawl shards, as `mining sentences` reads them.
        output: Bitext.
        sentences: Directory of `mining sentences`.

    Raises:
        UserError: If there is nothing to find text in.
        JobError: If the metadata or a shard is damaged.
    """
    if not shards and sentences is None:
        raise UserError("there is no text at hand: give crawl shards, or --sentences, or both")
    check_bitext_name(output)
    direction = metadata_direction(metadata)
    tables = {
        language: sentence_shards(sentences, language) if sentences is not None else []
        for language in direction
    }
    inputs = (metadata, *shards, *(path for two in tables.values() for path in two))
    return run_job(
        name="rebuild",
        tasks=[Task(name=output.name.split(".")[0], inputs=inputs)],
        work=functools.partial(
            _rebuild, direction=direction, shards=shards, tables=tables, output=output
        ),
        output=output.parent,
    )


def _rebuild(
    task: Task,
    *,
    direction: Direction,
    shards: Sequence[Path],
    tables: Mapping[str, Sequence[Path]],
    output: Path,
) -> Outcome:
    wanted = _Wanted(({}, {}))
    for side in read_metadata(task.inputs[0]):
        number = 0 if side.language == direction.source else 1
        wanted.sides[number][side.line_number_in_direction] = side
        wanted.documents[side.document_url].add(side.sentence_digest)
    digests = set().union(*wanted.documents.values())
    for paths in tables.values():
        for path in paths:
            _find_in_sentences(path, digests, wanted.texts)
    problems = []
    for shard in shards:
        documents = read_documents(shard)
        for document in documents:
            _find_in_document(document, wanted)
        problems += [documents.problem] if documents.problem else []
    counts: Counter[str] = Counter({"pairs": 0, "rebuilt": 0})
    with bitext_writer(output, BITEXT_SCHEMA) as write:
        for table in _tables(wanted, counts):
            write(table)
    return Outcome(counts=counts, outputs=(output,), problem="; ".join(problems))


def _find_in_sentences(path: Path, digests: set[int], texts: dict[int, str]) -> None:
    for batch in sentence_batches(path, ["text"]):
        for text in batch.column(0).to_pylist():
            digest = text_digest(text)
            if digest in digests:
                texts[digest] = text


def _find_in_document(document: Document, wanted: _Wanted) -> None:
    digests = wanted.documents.get(without_spaces(document.identifier))
    if not digests:
        return
    for line in document.text.split("\n"):
        for text in _candidates(line):
            digest = text_digest(text)
            if digest in digests:
                wanted.texts[digest] = text


def _candidates(line: str) -> Iterator[str]:
    """Yield what a sentence of a line may have become: ours, as it stood, and NLLB's NFKC."""
    for whole in {line, repair(line)}:
        for sentence in (whole, *split_sentences(whole)):
            text = normalize(sentence)
            yield from {text, sentence.strip(), unicodedata.normalize("NFKC", text)}


def _tables(wanted: _Wanted, counts: Counter[str]) -> Iterator[pa.Table]:
    sources, targets = wanted.sides
    rows = []
    for number in sorted(sources.keys() | targets.keys()):
        counts["pairs"] += 1
        sides = (sources.get(number), targets.get(number))
        reason = _missing(sides, wanted.texts)
        if reason:
            counts[f"missing.{reason}"] += 1
            continue
        counts["rebuilt"] += 1
        rows.append(_row(sides, wanted.texts))
        if len(rows) == BATCH_ROWS:
            yield pa.Table.from_pylist(rows, BITEXT_SCHEMA)
            rows = []
    yield pa.Table.from_pylist(rows, BITEXT_SCHEMA)


def _missing(sides: tuple[Side | None, Side | None], texts: Mapping[int, str]) -> str:
    if None in sides:
        return "line_of_a_side"
    lacking = [
        name
        for name, side in zip(("source", "target"), sides, strict=True)
        if side is not None and side.sentence_digest not in texts
    ]
    return "both" if len(lacking) > 1 else "".join(lacking)


def _row(sides: tuple[Side | None, Side | None], texts: Mapping[int, str]) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, side in zip(("source", "target"), sides, strict=True):
        assert side is not None
        row["score"] = side.laser_score
        row[name] = texts[side.sentence_digest]
        row[f"{name}_document"] = None if side.document_url == UNUSED else side.document_url
    return row
