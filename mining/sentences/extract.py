"""The sentences of one shard: read, clean, split, identify, filter.

Everything streams: a document, a batch of sentences and the rows that wait to be written are all
that is held.
"""

import functools
import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, cast

from corpus.crawl.documents import Documents, read_documents
from corpus.files import make_directory
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
from mining.sentences.filters import damage_reason, form_reason, language_reason
from mining.sentences.merge import PART_SCHEMA
from mining.sentences.profiles import Profiles
from mining.sentences.rejects import REJECTS, REJECTS_SCHEMA
from mining.sentences.tables import RowsByName

EXTRACT_JOB = "extract"
WORK = ".work"
PARTS_LOCK = ".parts"
SENTENCES = "sentences"
CUT_SENTENCES = "cut_sentences"
_IDENTIFY_BATCH = 4096
_MEGABYTE = 1 << 20


class _Candidate(NamedTuple):
    text: str
    document: str
    position: int


class _Rows:
    """Collects the sentences of a shard: kept ones by language, counts of the others."""

    def __init__(self, kept: RowsByName, rejected: RowsByName | None, shard: str) -> None:
        self.counts: Counter[str] = Counter()
        self._kept = kept
        self._rejected = rejected
        self._shard = shard

    def keep(self, candidate: _Candidate, prediction: Prediction) -> None:
        text, document, position = candidate
        # The identifier adds up float32 shares and may exceed 1 by a rounding.
        score = min(1.0, prediction.score)
        place = f"{document}\n{position}"
        row = (
            text, score, document, position, sentence_hash(text), _hash(text), _hash(place),
        )  # fmt: skip
        self._kept.add(prediction.language, row, len(text) + len(document))

    def reject(
        self, reason: str, candidate: _Candidate, prediction: Prediction | None = None
    ) -> None:
        self.counts[reason] += 1
        if self._rejected is not None:
            text, document, position = candidate
            language, score = prediction if prediction is not None else (None, None)
            row = (reason.removeprefix("rejected."), language, score, text, document, position)
            self._rejected.add(self._shard, row, len(text) + len(document))


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
) -> Outcome:
    """Write the sentences of a shard to `output/.work/<shard>/<language>.parquet`.

    Copies are still among them. Rejects go to `output/rejects/extract/<shard>.parquet` if the
    config wants them.
    """
    identifier = _identifier(load_identifier, lid, config.identifier.options)
    shard = task.remote[0] if task.remote else task.inputs[0]
    documents = read_documents(shard, config.max_document_mb * _MEGABYTE)
    folder = output / WORK / f".{task.name}"
    rejects = output / REJECTS / EXTRACT_JOB
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    make_directory(folder)
    share = config.memory_mb * _MEGABYTE // (2 if config.write_rejects else 1)
    with ExitStack() as stack:
        kept = stack.enter_context(RowsByName(folder, PART_SCHEMA, share))
        rejected = None
        if config.write_rejects:
            rejected = stack.enter_context(RowsByName(rejects, REJECTS_SCHEMA, share))
        rows = _Rows(kept, rejected, task.name)
        _extract(documents, identifier, config, rows)
    rows.counts.update(documents.counts)
    if documents.boilerplate_characters:
        rows.counts["boilerplate_characters"] = documents.boilerplate_characters
    parts = _replace(output / WORK, task.name, folder, kept.paths())
    outputs = [*parts, *(rejected.paths() if rejected is not None else ())]
    return Outcome(counts=rows.counts, outputs=tuple(outputs), problem=documents.problem)


def _replace(work: Path, name: str, made: Path, paths: Sequence[Path]) -> list[Path]:
    """Replace the earlier parts of a shard, while no other run reads them."""
    with hold_lock(work / PARTS_LOCK, PARTS_LOCK, wait=True):
        shutil.rmtree(work / name, ignore_errors=True)
        made.rename(work / name)
    return [work / name / path.name for path in paths]


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
