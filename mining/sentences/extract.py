"""Crawl shards to sentences per language: read, clean, split, identify, filter, deduplicate.

Two jobs. The first has a task per shard and writes a hidden folder of sentences by language, with
the shard's own duplicates out. The second has a task per language: it reads the shards in order of
their names and drops what an earlier one has, so that the result depends on neither the number of
workers nor the order in which they finish.
"""

import functools
import hashlib
import logging
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.documents import Documents, read_documents, shard_kind, shard_name
from corpus.errors import JobError, UserError
from corpus.executors import LOCAL, Executor
from corpus.files import atomic_path
from corpus.jobs import RECEIPTS, Outcome, Task, run_job
from corpus.languages import check_language
from corpus.protocols import LanguageIdentifier, Prediction
from corpus.records import SENTENCES_SCHEMA, read_table, write_table
from corpus.text import normalize, sentence_hash
from mining.sentences.clean import boilerplate_reason, repair
from mining.sentences.config import SentencesConfig
from mining.sentences.filters import form_reason, language_reason
from mining.sentences.split import split_sentences

logger = logging.getLogger(__name__)

EXTRACT_JOB = "extract"
MERGE_JOB = "merge"
_WORK = ".work"
_IDENTIFY_BATCH = 4096
_COPY_ROWS = 1 << 16
IN, KEPT = "sentences", "kept"


class _Candidate(NamedTuple):
    text: str
    document: str
    position: int


class _Kept(NamedTuple):
    text: str
    lid_score: float
    document: str
    position: int
    hash: int


def run_sentences(
    shards: Sequence[Path],
    lid: Path,
    output: Path,
    config: SentencesConfig,
    load_identifier: Callable[[Path], LanguageIdentifier],
    executor: Executor = LOCAL,
) -> dict[str, int]:
    """Write the sentences of crawl shards to `output/<language>/<shard>.parquet`.

    Returns:
        Counts: documents, lines, `sentences` that were split, those `kept`, and the rejects by
        reason. `sentences` is `kept` plus all `rejected.…`.

    Raises:
        UserError: If a shard or the identifier is missing.
        JobError: If shards are damaged. What could be read of them is in the output.
    """
    for language in config.languages:
        check_language(language)
    model_files = tuple(sorted(path for path in lid.glob("*") if path.is_file()))
    if not model_files:
        raise UserError(f"language identification model {lid} is not a directory with a model")
    tasks = [Task(name=shard_name(path), inputs=(path, *model_files)) for path in shards]
    for path in shards:
        shard_kind(path)
    work = functools.partial(
        _extract_shard, lid=lid, output=output, config=config, load_identifier=load_identifier
    )
    damaged: JobError | None = None
    extracted: Mapping[str, int] = {}
    try:
        summary = run_job(
            name=EXTRACT_JOB,
            tasks=tasks,
            work=work,
            output=output,
            config=config,
            workers=config.workers,
            executor=executor,
        )
        extracted, changed = summary.counts, summary.done > 0
    except JobError as error:
        damaged, changed = error, True
    if changed:
        # What the languages were merged from is new, so their receipts say nothing any more.
        shutil.rmtree(output / RECEIPTS / MERGE_JOB, ignore_errors=True)
    merged = _merge(output, [task.name for task in tasks], config, executor)
    if damaged is not None:
        raise damaged
    return _funnel(extracted, merged)


def _merge(
    output: Path, shards: Sequence[str], config: SentencesConfig, executor: Executor
) -> dict[str, int]:
    parts: dict[str, list[Path]] = defaultdict(list)
    for shard in sorted(shards):
        for path in sorted((output / _WORK / shard).glob("*.parquet")):
            parts[path.stem].append(path)
    tasks = [Task(name=language, inputs=tuple(paths)) for language, paths in sorted(parts.items())]
    summary = run_job(
        name=MERGE_JOB,
        tasks=tasks,
        work=functools.partial(_merge_language, output=output),
        output=output,
        workers=config.workers,
        executor=executor,
    )
    return dict(summary.counts)


def _funnel(extracted: Mapping[str, int], merged: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of both jobs as one account."""
    counts = Counter(extracted)
    counts.update({reason: count for reason, count in merged.items() if reason != IN})
    return {reason: counts[reason] for reason in sorted(counts, key=_reading_order)}


def _reading_order(reason: str) -> tuple[int, str]:
    """Order counts from documents to lines to sentences, and there from rejects to kept."""
    order = ("documents", "lines", "repaired_lines", "boilerplate_lines", IN, "rejected", KEPT)
    stem = reason.split(".")[0]
    return (order.index(stem) if stem in order else 0, reason)


@functools.lru_cache(maxsize=1)
def _identifier(load: Callable[[Path], LanguageIdentifier], path: Path) -> LanguageIdentifier:
    """Load the model once per process."""
    return load(path)


def _extract_shard(
    task: Task,
    *,
    lid: Path,
    output: Path,
    config: SentencesConfig,
    load_identifier: Callable[[Path], LanguageIdentifier],
) -> Outcome:
    identifier = _identifier(load_identifier, lid)
    documents = read_documents(task.inputs[0])
    counts: Counter[str] = Counter()
    kept = _extract(documents, identifier, config, counts)
    folder = output / _WORK / task.name
    shutil.rmtree(folder, ignore_errors=True)
    outputs = []
    for language in sorted(kept):
        path = folder / f"{language}.parquet"
        write_table(path, _as_table(kept[language]))
        outputs.append(path)
    counts.update(documents.counts)
    return Outcome(counts=counts, outputs=tuple(outputs), problem=documents.problem)


def _as_table(sentences: Sequence[_Kept]) -> pa.Table:
    return pa.Table.from_pylist([sentence._asdict() for sentence in sentences], SENTENCES_SCHEMA)


def _extract(
    documents: Documents,
    identifier: LanguageIdentifier,
    config: SentencesConfig,
    counts: Counter[str],
) -> dict[str, list[_Kept]]:
    """Return the sentences of a shard by language, each once."""
    kept: dict[str, list[_Kept]] = defaultdict(list)
    seen_texts: set[bytes] = set()
    seen_keys: set[tuple[str, int]] = set()
    languages = frozenset(config.languages)
    for batch in _batched(_candidates(documents, config, counts), _IDENTIFY_BATCH):
        predictions = identifier.identify([candidate.text for candidate in batch])
        for candidate, prediction in zip(batch, predictions, strict=True):
            reason = language_reason(candidate.text, prediction, languages, config.filters)
            if not reason:
                sentence = _as_kept(candidate, prediction)
                reason = _duplicate_reason(sentence, prediction.language, seen_texts, seen_keys)
                if not reason:
                    kept[prediction.language].append(sentence)
            if reason:
                counts[f"rejected.{reason}"] += 1
    return kept


def _as_kept(candidate: _Candidate, prediction: Prediction) -> _Kept:
    # The identifier adds up float32 shares and may exceed 1 by a rounding.
    score = min(1.0, prediction.score)
    return _Kept(
        candidate.text, score, candidate.document, candidate.position, sentence_hash(candidate.text)
    )


def _duplicate_reason(
    sentence: _Kept, language: str, texts: set[bytes], keys: set[tuple[str, int]]
) -> str:
    """Return whether a sentence is a copy, or one of a template; remember it if it is neither."""
    text = hashlib.blake2b(
        f"{language}\n{sentence.text}".encode("utf-8", "replace"), digest_size=8
    ).digest()
    if text in texts:
        return "duplicate"
    texts.add(text)
    if (language, sentence.hash) in keys:
        return "near_duplicate"
    keys.add((language, sentence.hash))
    return ""


def _candidates(
    documents: Documents, config: SentencesConfig, counts: Counter[str]
) -> Iterator[_Candidate]:
    """Yield the sentences whose form is good, counting the others."""
    for document in documents:
        position = 0
        for line in document.text.split("\n"):
            if not line.strip():
                continue
            counts["lines"] += 1
            repaired = repair(line) if config.repair_mojibake else line
            counts["repaired_lines"] += repaired != line
            reason = boilerplate_reason(repaired)
            if reason:
                counts[f"boilerplate_lines.{reason}"] += 1
                continue
            for sentence in split_sentences(repaired):
                text = normalize(sentence)
                if not text:
                    continue
                counts[IN] += 1
                reason = form_reason(text, config.filters)
                if reason:
                    counts[f"rejected.{reason}"] += 1
                else:
                    yield _Candidate(text, document.identifier, position)
                position += 1


def _batched(candidates: Iterator[_Candidate], size: int) -> Iterator[list[_Candidate]]:
    batch: list[_Candidate] = []
    for candidate in candidates:
        batch.append(candidate)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _merge_language(task: Task, *, output: Path) -> Outcome:
    """Copy a language's sentences shard by shard, without those that an earlier shard has."""
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    outputs = []
    for part in task.inputs:
        table = read_table(part, SENTENCES_SCHEMA)
        hashes = table.column("hash").to_pylist()
        is_new = []
        for value in hashes:
            is_new.append(value not in seen)
            seen.add(value)
        kept = table.filter(pa.array(is_new, pa.bool_()))
        counts[KEPT] += kept.num_rows
        counts["rejected.duplicate_across_shards"] += table.num_rows - kept.num_rows
        path = output / task.name / f"{part.parent.name}.parquet"
        if kept.num_rows:
            with atomic_path(path) as temporary:
                pq.write_table(kept, temporary, compression="zstd", row_group_size=_COPY_ROWS)
            outputs.append(path)
        else:
            path.unlink(missing_ok=True)
    return Outcome(counts=counts, outputs=tuple(outputs))
