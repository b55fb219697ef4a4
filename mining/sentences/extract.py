"""The sentences of one shard: read, clean, split, identify, filter, sort.

Everything streams: a document, a batch of sentences and the rows that wait to be sorted are all
that is held.
"""

import functools
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, cast

import pyarrow as pa

from corpus.crawl.documents import Documents
from corpus.files import atomic_path, make_directory, temporary_path
from corpus.jobs import Outcome, Task, hold_lock
from corpus.protocols import (
    PLAIN_ANSWERS,
    IdentifierLoader,
    IdentifierOptions,
    LanguageIdentifier,
    Prediction,
    SpanIdentifier,
)
from corpus.renamed_identifier import RenamedIdentifier
from corpus.split import iterate_sentences
from corpus.text import normalize, sentence_hash
from mining.sentences.clean import boilerplate_reason, is_notice, lines_of, repair
from mining.sentences.config import CUT, KEEP, SentencesConfig
from mining.sentences.duplicates import join_copies
from mining.sentences.filters import damage_reason, form_reason, language_reason
from mining.sentences.inputs import Ranges, open_documents
from mining.sentences.profiles import Profiles
from mining.sentences.rejects import REJECTS, REJECTS_SCHEMA
from mining.sentences.runs import (
    RUN_SCHEMA,
    RUN_SUFFIX,
    RunWriter,
    merge_runs,
    sentence_sort_key,
    sort_batch,
)
from mining.sentences.tables import RowWriter, WaitingRows

EXTRACT_JOB = "extract"
WORK = ".work"
SHARDS = "shards"
"""Folder of the sorted sentences of each shard, in `WORK`."""

PARTS_LOCK = ".parts"
SENTENCES = "sentences"
CUT_SENTENCES = "cut_sentences"
_IDENTIFY_BATCH = 4096
_MEGABYTE = 1 << 20
_SCRATCH_BLOCK_BYTES = 1 << 16
_SORT_COPIES = 2
"""What sorting holds beside the rows: their columns, and these in order."""


class _Candidate(NamedTuple):
    text: str
    document: str
    position: int


class _Rows:
    """Collects the sentences of a shard: kept ones in order, counts of the others."""

    def __init__(self, kept: "_SortedRows", rejected: RowWriter | None) -> None:
        self.counts: Counter[str] = Counter()
        self._kept = kept
        self._rejected = rejected

    def keep(self, candidate: _Candidate, prediction: Prediction) -> None:
        text, document, position = candidate
        # The identifier adds up float32 shares and may exceed 1 by a rounding.
        score = min(1.0, prediction.score)
        place = f"{document}\n{position}"
        key = sentence_sort_key(prediction.language, sentence_hash(text), _hash(text), _hash(place))
        row = (key, 1, text, score, document, position)
        self._kept.add(row, len(text) + len(document))

    def reject(
        self, reason: str, candidate: _Candidate, prediction: Prediction | None = None
    ) -> None:
        self.counts[reason] += 1
        if self._rejected is not None:
            text, document, position = candidate
            language, score = prediction if prediction is not None else (None, None)
            row = (reason.removeprefix("rejected."), language, score, text, document, position)
            self._rejected.add(row, len(text) + len(document))


class _SortedRows:
    """Sorts rows of `RUN_SCHEMA`: in memory, and in runs on disk where that is not enough."""

    def __init__(self, path: Path, memory_bytes: int) -> None:
        self._path = path
        self._runs: list[Path] = []
        self._waiting = WaitingRows(RUN_SCHEMA, memory_bytes // _SORT_COPIES)

    def __enter__(self) -> "_SortedRows":
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            run.unlink(missing_ok=True)

    def add(self, row: tuple[Any, ...], characters: int) -> None:
        if self._waiting.add(row, characters):
            self._spill()

    def _spill(self) -> None:
        path = temporary_path(self._path, f"run{len(self._runs)}")
        make_directory(path.parent)
        self._runs.append(path)
        with RunWriter(path, _SCRATCH_BLOCK_BYTES) as run:
            run.add(sort_batch(self._waiting.take()))

    def read(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, once."""
        if not self._runs:
            yield sort_batch(self._waiting.take())
            return
        self._spill()
        yield from merge_runs(self._runs)


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


@functools.lru_cache(maxsize=1)
def _identifier(
    load: IdentifierLoader, path: Path, options: IdentifierOptions
) -> LanguageIdentifier:
    """Load the model once per process."""
    return load(path) if options == PLAIN_ANSWERS else load(path, options)


def extract_shard(
    task: Task,
    *,
    lid: Path,
    output: Path,
    config: SentencesConfig,
    load_identifier: IdentifierLoader,
    ranges: Ranges | None = None,
) -> Outcome:
    """Write the sentences of a shard, sorted, to `output/.work/shards/<shard>.arrows`.

    Copies within the shard are joined, unless rejects are wanted: these go to
    `output/rejects/extract/<shard>.parquet`.
    """
    identifier = _identifier(load_identifier, lid, config.identifier.options)
    documents = open_documents(task, ranges, output, config)
    path = output / WORK / SHARDS / f"{task.name}{RUN_SUFFIX}"
    outputs = [path]
    share = config.memory_mb * _MEGABYTE // (2 if config.write_rejects else 1)
    with ExitStack() as stack:
        kept = stack.enter_context(_SortedRows(path, share))
        rejected = None
        if config.write_rejects:
            outputs.append(output / REJECTS / EXTRACT_JOB / f"{task.name}.parquet")
            rejected = stack.enter_context(RowWriter(outputs[-1], REJECTS_SCHEMA, share))
        rows = _Rows(kept, rejected)
        _extract(documents, identifier, config, rows)
        with atomic_path(path) as temporary:
            with RunWriter(temporary) as run:
                for batch in kept.read() if config.write_rejects else join_copies(kept.read()):
                    run.add(batch)
            # Another run must not find a shard replaced while it reads them all.
            stack.enter_context(hold_lock(output / WORK / PARTS_LOCK, PARTS_LOCK, wait=True))
    rows.counts.update(documents.counts)
    if documents.boilerplate_characters:
        rows.counts["boilerplate_characters"] = documents.boilerplate_characters
    return Outcome(counts=rows.counts, outputs=tuple(outputs), problem=documents.problem)


def _extract(
    documents: Documents, identifier: LanguageIdentifier, config: SentencesConfig, rows: _Rows
) -> None:
    profiles = Profiles(config.filters)
    languages = frozenset(config.languages)
    names = RenamedIdentifier(identifier, config.languages)
    for batch in _batched(_candidates(documents, config, profiles, rows), _IDENTIFY_BATCH):
        if config.identifier.spans == KEEP:
            predictions = names.identify([candidate.text for candidate in batch])
            identified = list(zip(batch, predictions, strict=True))
        else:
            spans = cast(SpanIdentifier, identifier)
            identified = _parts(batch, spans, names, config.identifier.spans, rows)
        for candidate, prediction in identified:
            limits = profiles.of(prediction.language)
            reason = language_reason(prediction, languages, limits.min_lid_score) or form_reason(
                candidate.text, prediction.language, limits
            )
            if reason:
                rows.reject(f"rejected.{reason}", candidate, prediction)
            else:
                rows.keep(candidate, prediction)


def _parts(
    batch: Sequence[_Candidate],
    identifier: SpanIdentifier,
    names: RenamedIdentifier,
    mixed: str,
    rows: _Rows,
) -> list[tuple[_Candidate, Prediction]]:
    """Return sentences, and of those in several languages the parts, with their languages."""
    found: list[tuple[_Candidate, Prediction]] = []
    spans = identifier.identify_spans([candidate.text for candidate in batch])
    for candidate, own in zip(batch, spans, strict=True):
        if len(own) > 1 and mixed != CUT:
            longest = max(own, key=lambda span: span.end - span.start)
            prediction = Prediction(names.name(longest.language), longest.score)
            rows.reject("rejected.mixed_languages", candidate, prediction)
            continue
        if len(own) > 1:
            rows.counts[CUT_SENTENCES] += 1
            rows.counts[SENTENCES] += len(own) - 1
        for span in own:
            text = candidate.text[span.start : span.end] if len(own) > 1 else candidate.text
            part = candidate._replace(text=normalize(text))
            found.append((part, Prediction(names.name(span.language), span.score)))
    return found


def _candidates(
    documents: Documents, config: SentencesConfig, profiles: Profiles, rows: _Rows
) -> Iterator[_Candidate]:
    """Yield the sentences that may be kept in some language, rejecting the others."""
    for document in documents:
        position = 0
        for line in lines_of(document.text):
            rows.counts["lines"] += 1
            repaired = repair(line) if config.repair_mojibake else line
            rows.counts["repaired_lines"] += repaired != line
            reason = boilerplate_reason(repaired)
            if reason:
                candidate = _Candidate(repaired, document.identifier, position)
                rows.reject(f"boilerplate_lines.{reason}", candidate)
                continue
            for sentence in iterate_sentences(repaired):
                text = normalize(sentence)
                if not text:
                    continue
                rows.counts[SENTENCES] += 1
                candidate = _Candidate(text, document.identifier, position)
                position += 1
                reason = "notice" if is_notice(text) else damage_reason(text, profiles)
                if reason:
                    rows.reject(f"rejected.{reason}", candidate)
                else:
                    yield candidate


def _batched(candidates: Iterator[_Candidate], size: int) -> Iterator[list[_Candidate]]:
    batch: list[_Candidate] = []
    for candidate in candidates:
        batch.append(candidate)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
