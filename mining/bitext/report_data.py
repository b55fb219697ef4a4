"""The data of the mining report, read from receipts, calibrations and bitext."""

import functools
import heapq
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from corpus import stores
from corpus.bitext import BitextReader
from corpus.files import read_object
from corpus.jobs import task_counts
from corpus.languages import Direction
from corpus.records import bitext_files, sentence_batches, sentence_languages, sentence_shards
from corpus.text import key_hash

BANDS = 5
SAMPLES_PER_BAND = 4
NO_ADDRESS = "(no address)"
_BATCH_ROWS = 1 << 16


class Sample(NamedTuple):
    """One pair."""

    score: float
    source: str
    target: str


class Band(NamedTuple):
    """A fifth of a direction's pairs, by score."""

    low: float
    high: float
    samples: Sequence[Sample]


@dataclass(frozen=True, kw_only=True)
class DirectionReport:
    """One direction; what is missing is None or empty."""

    direction: Direction
    mined: Mapping[str, int] | None
    """Counts of its receipt of `mine`."""
    filtered: Mapping[str, int] | None
    """Counts of its receipt of `filter`."""
    calibration: Mapping[str, Any] | None
    bands: Sequence[Band]
    """From the best to the worst."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """The contribution of one site."""

    name: str
    pairs: int
    """Sides of pairs that stood there."""
    sentences: int | None
    """Sentences in the languages that were mined; None where they are not at hand."""


@dataclass(frozen=True, kw_only=True)
class MiningReport:
    """All that the report shows."""

    sentences: Mapping[str, int] = field(default_factory=dict)
    """Counts of `mining sentences`, both of its jobs."""
    embedded: Mapping[str, int] = field(default_factory=dict)
    directions: Sequence[DirectionReport] = ()
    domains: Sequence[Domain] = ()
    """By pairs, most first."""


def collect(
    bitext: Path, mined: Path | None, sentences: Path | None, embeddings: Path | None
) -> MiningReport:
    """Collect the report's data of a run; pairs are read as a stream."""
    files = bitext_files(bitext)
    sides: Counter[str] = Counter()
    directions = [_direction(direction, path, mined, sides) for direction, path in files.items()]
    languages = {language for direction in files for language in direction}
    in_domain = _sentences_by_domain(sentences, languages) if sentences is not None else None
    domains = [
        Domain(
            name=name,
            pairs=count,
            sentences=in_domain[name] if in_domain is not None else None,
        )
        for name, count in sorted(sides.items(), key=lambda item: (-item[1], item[0]))
    ]
    extracted = _receipt_counts(sentences, "extract")
    extracted.update(_receipt_counts(sentences, "merge"))
    return MiningReport(
        sentences=extracted,
        embedded=_receipt_counts(embeddings, "embed"),
        directions=directions,
        domains=domains,
    )


def _receipt_counts(directory: Path | None, job: str) -> Counter[str]:
    total: Counter[str] = Counter()
    if directory is not None:
        for counts in task_counts(directory, job).values():
            total.update(counts)
    return total


def _direction(
    direction: Direction, path: Path, mined: Path | None, sides: Counter[str]
) -> DirectionReport:
    calibration = None if mined is None else mined / f"{direction}.calibration.json"
    return DirectionReport(
        direction=direction,
        mined=_counts_of(mined, "mine", direction),
        filtered=_counts_of(path.parent, "filter", direction),
        calibration=read_object(calibration) if calibration and calibration.exists() else None,
        bands=_bands(path, direction, sides),
    )


def _counts_of(directory: Path | None, job: str, direction: Direction) -> dict[str, int] | None:
    if directory is None:
        return None
    return task_counts(directory, job).get(str(direction))


def _bands(path: Path, direction: Direction, sides: Counter[str]) -> list[Band]:
    """Return samples of each fifth of the scores, and count where all pairs stood.

    The samples are those whose text has the lowest hashes: any, but the same ones every time.
    """
    reader = BitextReader(path, direction=direction)
    edges = _score_edges(reader)
    chosen: list[list[tuple[int, Sample]]] = [[] for _ in edges[1:]]
    for table in reader:
        for row in table.to_pylist():
            for name in ("source_document", "target_document"):
                sides[domain_of(row.get(name) or "")] += 1
            if not chosen or row["score"] is None:
                continue
            sample = Sample(row["score"], row["source"], row["target"])
            band = int(np.searchsorted(edges[1:-1], sample.score, "right"))
            entry = (-key_hash(f"{sample.source}\n{sample.target}"), sample)
            if len(chosen[band]) < SAMPLES_PER_BAND:
                heapq.heappush(chosen[band], entry)
            elif entry[0] > chosen[band][0][0]:
                heapq.heapreplace(chosen[band], entry)
    bands = [
        Band(low, high, sorted((sample for _, sample in some), reverse=True))
        for low, high, some in zip(edges[:-1], edges[1:], chosen, strict=True)
        if some
    ]
    return bands[::-1]


def _score_edges(reader: BitextReader) -> list[float]:
    """Return the edges of the bands; none where pairs have no scores."""
    if "score" not in reader.schema.names:
        return []
    scores = [table.column("score").drop_null().to_numpy() for table in reader]
    if not sum(map(len, scores)):
        return []
    quantiles = np.quantile(np.concatenate(scores), np.linspace(0, 1, BANDS + 1))
    return [float(edge) for edge in quantiles]


@functools.lru_cache(maxsize=1 << 16)
def domain_of(document: str) -> str:
    """Return the host of a document's URL without `www.`, or that it has no address."""
    try:
        host = urllib.parse.urlsplit(document).hostname
    except ValueError:  # an unclosed bracket, as in `http://[`
        host = None
    return host.removeprefix("www.") if host else NO_ADDRESS


def _sentences_by_domain(sentences: Path, languages: set[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for language in sentence_languages(sentences):
        if language in languages:
            stores.pull(sentences / language)
            for document, count in _document_counts(sentence_shards(sentences, language)):
                counts[domain_of(document)] += count
    return counts


def _document_counts(shards: Sequence[Path]) -> Iterator[tuple[str, int]]:
    for shard in shards:
        for batch in sentence_batches(shard, ["document"], _BATCH_ROWS):
            for entry in batch.column(0).value_counts().to_pylist():
                yield entry["values"] or "", entry["counts"]
