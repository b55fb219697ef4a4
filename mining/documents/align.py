"""`mining align`: the sentences of documents that are translations, pair by pair."""

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from corpus.bitext import bitext_writer, check_bitext_name
from corpus.errors import UserError
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, run_file_job
from corpus.languages import Direction, check_language
from corpus.records import BITEXT_SCHEMA, sentence_shards
from corpus.text import key_hash
from mining.documents.alignment import Aligned, Spans, align
from mining.documents.config import AlignConfig
from mining.documents.sentences_of import Place, read_documents
from mining.encoders import Encoder, load_encoder
from mining.encoders.embed_known import pair_encoder_files
from mining.search.margin import Float32
from mining.search.mine_local import read_document_pairs

ALIGN_JOB = "align"
SCHEMA = pa.schema(
    [
        *BITEXT_SCHEMA,
        pa.field("source_position", pa.int32()),
        pa.field("target_position", pa.int32()),
        pa.field("source_sentences", pa.int8()),
        pa.field("target_sentences", pa.int8()),
    ]
)
_WITHOUT_SPACES = frozenset({"Hans", "Hant", "Jpan", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"})
_BATCH_SENTENCES = 4096
"""Sentences of a side that are embedded at a time, in whole documents."""


class _Text(NamedTuple):
    """A document of one language."""

    name: str
    places: list[Place]
    spans: Spans


def run_align(
    sentences: Path,
    encoder: Path,
    documents: Path,
    direction: Direction,
    output: Path,
    config: AlignConfig,
    executor: Executor = LOCAL,
) -> Summary:
    """Align the documents that a file lists.

    Args:
        sentences: Directory of `tongues mining sentences`.
        encoder: Encoder directory.
        documents: TSV without a header: source document, target document (URL or id).
        direction: The languages.
        output: The bitext: in the order of the list and of the text, with the positions of the
            first sentences and how many there are on each side.
        config: How sentences are aligned.
        executor: Where it runs.

    Raises:
        UserError: If a language, the encoder or the list is missing.
        JobError: If the list is damaged.
    """
    for language in direction:
        check_language(language)
    if direction.source == direction.target:
        raise UserError(f"source and target are both `{direction.source}`")
    if not documents.is_file():
        raise UserError(f"the list of documents {documents} does not exist or is not a file")
    check_bitext_name(output)
    files = pair_encoder_files(
        direction, encoder, config.encoders, all_languages=config.embed.all_languages
    )
    shards = [sentence_shards(sentences, language) for language in direction]
    work = functools.partial(
        _align, shards=shards, encoder=encoder, direction=direction, output=output, config=config
    )
    return run_file_job(
        name=ALIGN_JOB,
        inputs=(documents, *shards[0], *shards[1], *files),
        work=work,
        output=output,
        config=config,
        arguments={"direction": str(direction)},
        executor=executor,
    )


def _align(
    task: Task,
    *,
    shards: Sequence[Sequence[Path]],
    encoder: Path,
    direction: Direction,
    output: Path,
    config: AlignConfig,
) -> Outcome:
    listed = read_document_pairs(task.inputs[0])
    sides = [read_documents(shards[side], {pair[side] for pair in listed}) for side in (0, 1)]
    counts: Counter[str] = Counter({"document_pairs": len(listed), "pairs": 0})
    counts.update({f"rejected.{name}": 0 for name in ("unknown_document", "too_long")})
    usable = []
    for pair in listed:
        if not all(pair[side] in sides[side] for side in (0, 1)):
            counts["rejected.unknown_document"] += 1
        elif max(len(sides[side][pair[side]]) for side in (0, 1)) > config.max_sentences:
            counts["rejected.too_long"] += 1
        else:
            usable.append(pair)
    embedders = [_Embedder(language, encoder, config) for language in direction]
    samples = [
        embedder.samples(documents) for embedder, documents in zip(embedders, sides, strict=True)
    ]
    with bitext_writer(output, SCHEMA) as write:
        for part in _batches(usable, sides):
            texts = [
                embedder.embed({pair[side]: sides[side][pair[side]] for pair in part})
                for side, embedder in enumerate(embedders)
            ]
            for source, target in part:
                left, right = texts[0][source], texts[1][target]
                found = align(left.spans, right.spans, (samples[0], samples[1]), config.skip_cost)
                counts["pairs"] += len(found)
                for one in found:
                    counts[f"pairs.{one.sources}_{one.targets}"] += 1
                write(_table(left, right, found, direction))
    return Outcome(counts=counts, outputs=(output,))


class _Embedder:
    """Embeds documents of one language, sentence by sentence and two by two."""

    def __init__(self, language: str, encoder: Path, config: AlignConfig) -> None:
        embed = config.embed
        self._language = language
        self._samples = config.samples
        self._encoder: Encoder = load_encoder(
            config.encoders.get(language, encoder),
            threads=1,
            device=embed.device,
            batch_tokens=embed.batch_tokens,
        )

    def samples(self, documents: dict[str, list[Place]]) -> Float32:
        """Return the vectors of sentences that stand for any; their hashes are the lowest."""
        texts = {place.text for places in documents.values() for place in places}
        chosen = sorted(texts, key=lambda text: (key_hash(text), text))[: self._samples]
        return self._encoder.encode(chosen or [""], self._language)

    def embed(self, documents: dict[str, list[Place]]) -> dict[str, _Text]:
        """Return documents with their vectors."""
        lines: dict[str, None] = {}
        for places in documents.values():
            texts = [place.text for place in places]
            lines.update(dict.fromkeys([*texts, *self._doubles(texts)]))
        vectors = self._encoder.encode(list(lines), self._language)
        rows = {text: row for row, text in enumerate(lines)}
        found = {}
        for name, places in documents.items():
            texts = [place.text for place in places]
            single = vectors[[rows[text] for text in texts]]
            double = vectors[[rows[text] for text in self._doubles(texts)]]
            found[name] = _Text(name, places, Spans(single, double))
        return found

    def _doubles(self, texts: Sequence[str]) -> list[str]:
        return [join(texts[i : i + 2], self._language) for i in range(len(texts) - 1)]


def join(texts: Sequence[str], language: str) -> str:
    """Return sentences of a language as one text."""
    return ("" if language[4:8] in _WITHOUT_SPACES else " ").join(texts)


def _batches(
    pairs: Sequence[tuple[str, str]], sides: Sequence[dict[str, list[Place]]]
) -> Iterator[list[tuple[str, str]]]:
    part: list[tuple[str, str]] = []
    size = 0
    for pair in pairs:
        own = max(len(sides[side][pair[side]]) for side in (0, 1))
        if part and size + own > _BATCH_SENTENCES:
            yield part
            part, size = [], 0
        part.append(pair)
        size += own
    if part:
        yield part


def _table(
    source: _Text, target: _Text, found: Sequence[Aligned], direction: Direction
) -> pa.Table:
    left = [source.places[one.source : one.source + one.sources] for one in found]
    right = [target.places[one.target : one.target + one.targets] for one in found]
    columns = {
        "score": np.array([one.score for one in found], np.float32),
        "source": [join([place.text for place in some], direction.source) for some in left],
        "target": [join([place.text for place in some], direction.target) for some in right],
        "source_document": [source.name] * len(found),
        "target_document": [target.name] * len(found),
        "source_position": [some[0].position for some in left],
        "target_position": [some[0].position for some in right],
        "source_sentences": [one.sources for one in found],
        "target_sentences": [one.targets for one in found],
    }
    return pa.table(columns, schema=SCHEMA)
