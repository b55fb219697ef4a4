"""Mined pairs without their text, in the eleven columns of NLLB's bitext metadata.

Source: facebookresearch/LASER, data/nllb200/README.md. A file is a direction, a line is one side of
a pair, columns are separated by a space:

    wet_file_url document_sha1 document_url line_number_in_document paragraph_digest
    sentence_digest lid_score laser_score direction language line_number_in_direction

Text of the web cannot be redistributed, but its place can. Our unit in a document is the sentence,
not the line, so here the shard stands for the WET file, `position` for the line, the sentence's
`hash` for the paragraph's digest, and the SHA-1 is `-`. Digests of sentences are XXH3 of 64 bits,
as NLLB's are.
"""

import functools
import re
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from corpus.bitext import BitextReader, bitext_paths, direction_of
from corpus.errors import DataError, UserError
from corpus.files import open_lines, write_lines
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, run_job
from corpus.languages import Direction, is_language, parse_direction
from corpus.records import SENTENCES_SCHEMA, sentence_batches, sentence_shards
from corpus.text import sentence_hash
from mining.bitext.config import MetadataConfig

METADATA_SUFFIXES = (".meta", ".meta.gz", ".meta.zst")
METADATA_JOB = "metadata"
UNUSED = "-"
_MAX_DIGEST = (1 << 64) - 1
_SPACE = re.compile(r"\s")
_LEFT_OUT = "left_out.not_in_sentences"


class Side(NamedTuple):
    """A line of metadata: the place of one sentence of a pair. Fields are NLLB's columns."""

    wet_file_url: str
    document_sha1: str
    document_url: str
    line_number_in_document: int
    paragraph_digest: int
    sentence_digest: int
    lid_score: float
    laser_score: float
    direction: str
    language: str
    line_number_in_direction: int


def text_digest(text: str) -> int:
    """Return the XXH3 of a text's UTF-8, 64 bits."""
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "replace"))


def without_spaces(document: str) -> str:
    """Return a document's name with white space percent-encoded, as a column must be."""
    return _SPACE.sub(lambda match: urllib.parse.quote(match.group()), document) or UNUSED


def read_metadata(path: Path) -> Iterator[Side]:
    """Yield the lines of a metadata file, ours or NLLB's; plain, `.gz`, `.zst` or `.xz`.

    Raises:
        UserError: If it does not exist.
        DataError: If a line has other columns, or is of another direction than those before it;
            the message names it.
    """
    direction = ""
    for number, line in enumerate(open_lines(path), 1):
        columns = line.split(" ")
        if len(columns) != len(Side._fields):
            raise DataError(
                f"{path}:{number}: {len(columns)} columns, where bitext metadata has"
                f" {len(Side._fields)}, separated by one space"
            )
        try:
            side = _side(columns)
        except ValueError as error:
            raise DataError(f"{path}:{number}: no bitext metadata: {error}") from None
        direction = direction or side.direction
        if side.direction != direction or side.language not in direction.split("-"):
            raise DataError(
                f"{path}:{number}: direction {side.direction}, language {side.language}, in a file"
                f" that began as {direction}"
            )
        yield side


def _side(columns: Sequence[str]) -> Side:
    side = Side(
        wet_file_url=columns[0],
        document_sha1=columns[1],
        document_url=columns[2],
        line_number_in_document=int(columns[3]),
        paragraph_digest=int(columns[4]),
        sentence_digest=int(columns[5]),
        lid_score=float(columns[6]),
        laser_score=float(columns[7]),
        direction=columns[8],
        language=columns[9],
        line_number_in_direction=int(columns[10]),
    )
    if not 0 <= side.sentence_digest <= _MAX_DIGEST:
        raise ValueError(f"{side.sentence_digest} is not a digest of 64 bits")
    return side


def metadata_direction(path: Path) -> Direction | None:
    """Return the direction of a metadata file: of its first line, or of its name if it is empty.

    Raises:
        DataError: If the first line is not metadata.
        UserError: If its direction is none.
    """
    first = next(read_metadata(path), None)
    if first is not None:
        return parse_direction(first.direction)
    source, _, target = path.name.split(".")[0].partition("-")
    return Direction(source, target) if is_language(source) and is_language(target) else None


def run_metadata(
    bitext: Path,
    sentences: Path,
    output: Path,
    config: MetadataConfig | None = None,
    executor: Executor = LOCAL,
) -> Summary:
    """Write the places of a bitext's sentences: two lines per pair, source first.

    Pairs of which a sentence is not among `sentences` are left out and counted. What is known of
    each sentence of the bitext is held in memory.

    Raises:
        UserError: If the bitext is not named by its direction, or a language has no sentences.
    """
    direction, shards = metadata_inputs(bitext, sentences, output)
    columns = (config or MetadataConfig()).columns
    name = output.name.split(".")[0]
    return run_job(
        name=METADATA_JOB,
        tasks=[
            Task(
                name=name,
                inputs=(*bitext_paths(bitext), *(path for two in shards.values() for path in two)),
                arguments={"output": output.name, **({"columns": columns} if columns else {})},
            )
        ],
        work=functools.partial(
            _write_metadata, direction=direction, shards=shards, output=output, columns=columns
        ),
        output=output.parent,
        executor=executor,
    )


def metadata_inputs(
    bitext: Path, sentences: Path, output: Path
) -> tuple[Direction, dict[str, list[Path]]]:
    """Return the direction of a bitext and the sentence shards of its languages.

    Raises:
        UserError: If the bitext is missing or not named by its direction, a language has no
            sentences, or the output's suffix is of no format.
    """
    direction = direction_of(bitext)
    if direction is None:
        raise UserError(f"{bitext} must be named <source>-<target>, for the metadata to name them")
    if not output.name.endswith(METADATA_SUFFIXES) or output.is_dir():
        raise UserError(f"{output}: metadata is written to a file, {', '.join(METADATA_SUFFIXES)}")
    if not bitext.is_file():
        raise UserError(f"bitext {bitext} does not exist or is not a file")
    return direction, {language: sentence_shards(sentences, language) for language in direction}


class _Place(NamedTuple):
    shard: str
    document: str
    position: int
    key_hash: int
    lid_score: float


def _write_metadata(
    task: Task,
    *,
    direction: Direction,
    shards: dict[str, list[Path]],
    output: Path,
    columns: Mapping[str, str],
) -> Outcome:
    reader = BitextReader(task.inputs[0], columns=columns)
    places = [
        _places(reader, side, shards[language])
        for side, language in zip(("source", "target"), direction, strict=True)
    ]
    counts: Counter[str] = Counter({"pairs": 0, "written": 0, _LEFT_OUT: 0})
    write_lines(output, _metadata_lines(reader, direction, places, counts))
    return Outcome(counts=counts, outputs=(output,))


def _places(reader: BitextReader, side: str, shards: Sequence[Path]) -> dict[int, _Place]:
    """Return the places of the sentences of a side, by the digest of their text."""
    texts = (text for table in reader for text in table.column(side).to_pylist())
    # A side that is not there is among no sentences, so its pair is left out and counted.
    wanted = pa.array({sentence_hash(text) for text in texts if text}, pa.uint64())
    found: dict[int, _Place] = {}
    for shard in shards:
        for batch in sentence_batches(shard, SENTENCES_SCHEMA.names):
            is_wanted = pc.is_in(batch.column("hash"), wanted)
            for row in batch.filter(is_wanted).to_pylist():
                found[text_digest(row["text"])] = _Place(
                    shard.stem, row["document"], row["position"], row["hash"], row["lid_score"]
                )
    return found


def _metadata_lines(
    reader: BitextReader,
    direction: Direction,
    places: Sequence[dict[int, _Place]],
    counts: Counter[str],
) -> Iterator[str]:
    has_scores = "score" in reader.schema.names
    for table in reader:
        scores = table.column("score").to_pylist() if has_scores else [0.0] * table.num_rows
        sides = (table.column(name).to_pylist() for name in ("source", "target"))
        for *texts, score in zip(*sides, scores, strict=True):
            counts["pairs"] += 1
            digests = [text_digest(text or "") for text in texts]
            if any(digest not in side for digest, side in zip(digests, places, strict=True)):
                counts[_LEFT_OUT] += 1
                continue
            for language, digest, side in zip(direction, digests, places, strict=True):
                place = side[digest]
                columns = Side(
                    wet_file_url=without_spaces(place.shard),
                    document_sha1=UNUSED,
                    document_url=without_spaces(place.document),
                    line_number_in_document=place.position,
                    paragraph_digest=place.key_hash,
                    sentence_digest=digest,
                    lid_score=place.lid_score,
                    laser_score=score,
                    direction=str(direction),
                    language=language,
                    line_number_in_direction=counts["written"],
                )
                yield " ".join(_column(value) for value in columns)
            counts["written"] += 1


def _column(value: str | float) -> str:
    # Scores are float32; their shortest decimal form that reads back the same.
    return f"{value:.9g}" if isinstance(value, float) else str(value)
