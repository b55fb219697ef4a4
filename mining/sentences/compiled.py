"""Extraction by the compiled pass: the same rows as by `mining.sentences.candidates`, in batches.

Python sees whole chunks of documents, the answers of the identifier, and the lines that the pass
hands back (decision 0121).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.crawl.documents import Document
from corpus.joined_lines import JoinedLines
from corpus.protocols import Prediction, Predictions
from corpus.text import normalize, sentence_hash
from mining.sentences.candidates import Candidate, Rejects, is_damaged, line_candidates
from mining.sentences.clean import lines_of
from mining.sentences.config import SentencesConfig
from mining.sentences.filters import language_reason
from mining.sentences.kernel import FORM_REASONS, Cleaned, Cleaner, Found
from mining.sentences.profiles import Limits, Profiles
from mining.sentences.runs import (
    KEY_BYTES,
    LANGUAGE_BYTES,
    RUN_SCHEMA,
    TEMPLATE_BYTES,
    language_key,
)

_CHUNK_CHARACTERS = 1 << 19
_CHUNK_DOCUMENTS = 1024
_INFINITE = float("inf")


class BatchRows(Rejects, Protocol):
    """Takes sentences in batches."""

    def keep_batch(self, batch: pa.RecordBatch) -> None:
        """Take kept sentences, of `RUN_SCHEMA`."""
        ...


class Identifies(Protocol):
    """What is asked of an identifier here."""

    def identify_arrays(self, lines: Sequence[str]) -> Predictions:
        """Return one prediction per line, in order."""
        ...


def extract_compiled(
    documents: Iterable[Document],
    identifier: Identifies,
    config: SentencesConfig,
    cleaner: Cleaner,
    rows: BatchRows,
) -> None:
    """Give `rows` the sentences of documents that are kept, and count the others."""
    profiles = Profiles(config.filters)
    answers = _Answers(frozenset(config.languages), profiles)
    for chunk in _chunks(documents):
        texts = JoinedLines.join([document.text for document in chunk])
        cleaned = cleaner.clean(
            texts, profiles.least_characters, profiles.most_characters, config.repair_mojibake
        )
        names = [document.identifier for document in chunk]
        sentences = _with_handed(texts, cleaned, config, profiles, rows, cleaner)
        if len(sentences.documents):
            _identify_and_keep(sentences, names, identifier, answers, cleaner, rows)


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    characters = 0
    for document in documents:
        chunk.append(document)
        characters += len(document.text)
        if characters >= _CHUNK_CHARACTERS or len(chunk) == _CHUNK_DOCUMENTS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


class _Sentences:
    """Sentences of a chunk, with their documents' numbers and positions there, [N]."""

    def __init__(
        self, texts: JoinedLines, documents: NDArray[np.int32], positions: NDArray[np.int64]
    ) -> None:
        self.texts, self.documents, self.positions = texts, documents, positions


def _with_handed(
    texts: JoinedLines,
    cleaned: Cleaned,
    config: SentencesConfig,
    profiles: Profiles,
    rows: BatchRows,
    cleaner: Cleaner,
) -> _Sentences:
    """Return all sentences: the pass's, then those that Python had to look at."""
    rows.counts.update({name: count for name, count in cleaned.counts.items() if count})
    if cleaned.counts["lines"]:
        rows.counts["repaired_lines"] += 0
    found: list[str] = []
    documents: list[int] = []
    positions: list[int] = []
    # Sentences of the lines handed back before each line, kept or not, and where documents begin.
    sizes = np.zeros(len(cleaned.handed) + 1, np.int64)
    first = np.searchsorted(cleaned.handed[:, 0], np.arange(len(texts) + 1))
    for number, (document, before, begin, end) in enumerate(cleaned.handed.tolist()):
        position = start = before + int(sizes[number] - sizes[first[document]])
        for line in lines_of(texts.data[begin:end].decode()):
            candidates, position = line_candidates(
                line, "", position, config.repair_mojibake, profiles, rows
            )
            found += [candidate.text for candidate in candidates]
            documents += [document] * len(candidates)
            positions += [candidate.position for candidate in candidates]
        sizes[number + 1] = sizes[number] + position - start

    def places(of: Found) -> NDArray[np.int64]:
        return of.ordinals + sizes[of.handed_before] - sizes[first[of.documents]]

    raw = cleaned.unfinished
    for text, document, position in zip(
        raw.texts, raw.documents.tolist(), places(raw).tolist(), strict=True
    ):
        candidate = Candidate(normalize(text), "", position)
        if not is_damaged(candidate, profiles, rows):
            found.append(candidate.text)
            documents.append(document)
            positions.append(position)
    finished = cleaned.sentences
    if not found:
        return _Sentences(finished.texts, finished.documents, places(finished))
    own = JoinedLines.join(found)
    cleaner.learn(own.data)
    return _Sentences(
        finished.texts.append(own),
        np.append(finished.documents, np.array(documents, np.int32)),
        np.append(places(finished), positions),
    )


class _Answers(dict[str, int]):
    """Numbers of the identifier's answers, and what is done with sentences of each."""

    def __init__(self, languages: frozenset[str], profiles: Profiles) -> None:
        super().__init__()
        self._languages, self._profiles = languages, profiles
        self.limits: list[tuple[str, Limits]] = []
        self.least_scores: list[float] = []
        self.reasons: list[tuple[str, str]] = []
        """Why sentences are rejected that have the least score, and that have less; or empty."""
        self.sort_keys = bytearray()

    def __missing__(self, language: str) -> int:
        limits = self._profiles.of(language)
        self.limits.append((language, limits))
        self.least_scores.append(limits.min_lid_score)
        sure, unsure = (
            language_reason(Prediction(language, score), self._languages, limits.min_lid_score)
            for score in (_INFINITE, -_INFINITE)
        )
        self.reasons.append((sure, unsure))
        # What is never kept may be no code of a language.
        self.sort_keys += bytes(LANGUAGE_BYTES) if sure else language_key(language)
        self[language] = len(self)
        return self[language]


def _identify_and_keep(
    sentences: _Sentences,
    names: Sequence[str],
    identifier: Identifies,
    answers: _Answers,
    cleaner: Cleaner,
    rows: BatchRows,
) -> None:
    found = identifier.identify_arrays(sentences.texts)
    known = np.zeros(len(found.languages), np.int32)
    for number in np.unique(found.numbers).tolist():
        known[number] = answers[found.languages[number]]
    languages, scores = known[found.numbers], found.scores.astype(np.float64)
    is_low = scores < np.array(answers.least_scores)[languages]
    cases = 2 * languages + is_low
    why = [reason for both in answers.reasons for reason in both]
    is_rejected = np.array([bool(reason) for reason in why])[cases]
    for reason, count in zip(why, np.bincount(cases).tolist(), strict=False):
        if reason and count:
            rows.counts[f"rejected.{reason}"] += count
    reasons = cleaner.form_reasons(
        sentences.texts, np.where(is_rejected, np.int32(-1), languages), answers.limits
    )
    for form, count in enumerate(np.bincount(reasons).tolist()):
        if form and count:
            rows.counts[f"rejected.{FORM_REASONS[form]}"] += count
    kept = np.flatnonzero(~is_rejected & (reasons == 0))
    if len(kept):
        keys = _sort_keys(kept, sentences, languages, names, answers, cleaner)
        rows.keep_batch(_batch(kept, sentences, keys, scores, names))


def _sort_keys(
    kept: NDArray[np.int64],
    sentences: _Sentences,
    languages: NDArray[np.int32],
    names: Sequence[str],
    answers: _Answers,
    cleaner: Cleaner,
) -> NDArray[np.uint8]:
    keys, without_template = cleaner.sort_keys(
        kept,
        sentences.texts,
        languages,
        bytes(answers.sort_keys),
        sentences.documents,
        JoinedLines.join(names, "replace"),
        sentences.positions,
    )
    for number in without_template.tolist():
        template = sentence_hash(sentences.texts[int(kept[number])]).to_bytes(8, "big")
        keys[number, LANGUAGE_BYTES:TEMPLATE_BYTES] = np.frombuffer(template, np.uint8)
    return keys


def _batch(
    kept: NDArray[np.int64],
    sentences: _Sentences,
    keys: NDArray[np.uint8],
    scores: NDArray[np.float64],
    names: Sequence[str],
) -> pa.RecordBatch:
    texts = sentences.texts
    bounds = texts.bounds.astype(np.int32)
    whole = pa.StringArray.from_buffers(
        len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(texts.data)
    )
    columns: list[Any] = [
        pa.Array.from_buffers(pa.binary(KEY_BYTES), len(kept), [None, pa.py_buffer(keys)]),
        pa.array(np.ones(len(kept), np.uint32)),
        whole.take(pa.array(kept)),
        # The identifier adds up float32 shares and may exceed 1 by a rounding.
        pa.array(np.minimum(1.0, scores[kept]).astype(np.float32)),
        pa.array(names, pa.string()).take(pa.array(sentences.documents[kept])),
        pa.array(sentences.positions[kept].astype(np.int32)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=RUN_SCHEMA)
