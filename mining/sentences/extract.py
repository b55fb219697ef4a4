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
from typing import Any, cast

import pyarrow as pa

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
from corpus.text import normalize, sentence_hash
from mining.sentences.candidates import SENTENCES, Candidate, line_candidates
from mining.sentences.clean import lines_of
from mining.sentences.compiled import extract_compiled
from mining.sentences.config import CUT, KEEP, SentencesConfig
from mining.sentences.duplicates import join_copies
from mining.sentences.filters import form_reason, language_reason
from mining.sentences.inputs import ChosenDocuments, Ranges, open_documents
from mining.sentences.kernel import load_cleaner
from mining.sentences.near_documents import dropped_documents
from mining.sentences.profiles import Profiles
from mining.sentences.rejects import REJECTS, REJECTS_SCHEMA
from mining.sentences.runs import (
    RUN_SCHEMA,
    RUN_SUFFIX,
    WORK,
    RunWriter,
    merge_runs,
    sentence_sort_key,
    sort_batch,
)
from mining.sentences.tables import RowWriter, WaitingRows

EXTRACT_JOB = "extract"
SHARDS = "shards"
"""Folder of the sorted sentences of each shard, in `WORK`."""

PARTS_LOCK = ".parts"
CUT_SENTENCES = "cut_sentences"
_IDENTIFY_BATCH = 4096
_MEGABYTE = 1 << 20
_SCRATCH_BLOCK_BYTES = 1 << 16
_SORT_COPIES = 2
"""What sorting holds beside the rows: their columns, and these in order."""


class _Rows:
    """Collects the sentences of a shard: kept ones in order, counts of the others."""

    def __init__(self, kept: "_SortedRows", rejected: RowWriter | None) -> None:
        self.counts: Counter[str] = Counter()
        self._kept = kept
        self._rejected = rejected

    def keep(self, candidate: Candidate, prediction: Prediction) -> None:
        text, document, position = candidate
        # The identifier adds up float32 shares and may exceed 1 by a rounding.
        score = min(1.0, prediction.score)
        place = f"{document}\n{position}"
        key = sentence_sort_key(prediction.language, sentence_hash(text), _hash(text), _hash(place))
        row = (key, 1, text, score, document, position)
        self._kept.add(row, len(text) + len(document))

    def keep_batch(self, batch: pa.RecordBatch) -> None:
        self._kept.add_batch(batch)

    def reject(
        self, reason: str, candidate: Candidate, prediction: Prediction | None = None
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
        self._batches: list[pa.RecordBatch] = []
        self._batch_bytes = 0
        self._most_batch_bytes = memory_bytes // (1 + _SORT_COPIES)

    def __enter__(self) -> "_SortedRows":
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            run.unlink(missing_ok=True)

    def add(self, row: tuple[Any, ...], characters: int) -> None:
        if self._waiting.add(row, characters):
            self._spill()

    def add_batch(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._batch_bytes += batch.nbytes
        if self._batch_bytes > self._most_batch_bytes:
            self._spill()

    def _take(self) -> pa.RecordBatch:
        """Return what is in memory, in order, and forget it."""
        batches, self._batches, self._batch_bytes = self._batches, [], 0
        return sort_batch(pa.concat_batches(batches) if batches else self._waiting.take())

    def _spill(self) -> None:
        path = temporary_path(self._path, f"run{len(self._runs)}")
        make_directory(path.parent)
        self._runs.append(path)
        with RunWriter(path, _SCRATCH_BLOCK_BYTES) as run:
            run.add(self._take())

    def read(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, once."""
        if not self._runs:
            yield self._take()
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
    documents = open_documents(task, ranges, output, config, dropped_documents(task, output))
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
    documents: ChosenDocuments, identifier: LanguageIdentifier, config: SentencesConfig, rows: _Rows
) -> None:
    names = RenamedIdentifier(identifier, config.languages)
    cleaner = load_cleaner()
    if cleaner and config.identifier.spans == KEEP and not config.write_rejects:
        extract_compiled(documents, names, config, cleaner, rows)
        return
    profiles = Profiles(config.filters)
    languages = frozenset(config.languages)
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
    batch: Sequence[Candidate],
    identifier: SpanIdentifier,
    names: RenamedIdentifier,
    mixed: str,
    rows: _Rows,
) -> list[tuple[Candidate, Prediction]]:
    """Return sentences, and of those in several languages the parts, with their languages."""
    found: list[tuple[Candidate, Prediction]] = []
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
    documents: ChosenDocuments, config: SentencesConfig, profiles: Profiles, rows: _Rows
) -> Iterator[Candidate]:
    """Yield the sentences that may be kept in some language, rejecting the others."""
    for document in documents:
        position = 0
        for line in lines_of(document.text):
            found, position = line_candidates(
                line, document.identifier, position, config.repair_mojibake, profiles, rows
            )
            yield from found


def _batched(candidates: Iterator[Candidate], size: int) -> Iterator[list[Candidate]]:
    batch: list[Candidate] = []
    for candidate in candidates:
        batch.append(candidate)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
