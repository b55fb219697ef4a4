"""Crawl shards to sentences per language, as two jobs.

The first has a task per shard and writes a hidden folder of its sentences by language. The second
has a task per language and drops the copies among the sentences of all shards.
"""

import contextlib
import functools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from corpus.crawl.documents import Shard, shard_kind, shard_names
from corpus.errors import JobError
from corpus.files import read_object
from corpus.jobs import LOCAL, RECEIPTS, Executor, Task, forget_outdated, hold_lock, run_job
from corpus.languages import check_language
from corpus.protocols import IdentifierLoader, identifier_inputs
from corpus.records import sentence_batches, sentence_shards
from corpus.remote import RemoteFile
from mining.sentences.config import SentencesConfig
from mining.sentences.extract import (
    CUT_SENTENCES,
    EXTRACT_JOB,
    PARTS_LOCK,
    SENTENCES,
    WORK,
    extract_shard,
)
from mining.sentences.merge import CHARACTERS, KEPT, MERGE_JOB, merge_language

_SCRATCH = ".sort"
_LOCK = ".lock"
_MEGABYTE = 1 << 20


def run_sentences(
    shards: Sequence[Shard],
    lid: Path,
    output: Path,
    config: SentencesConfig,
    load_identifier: IdentifierLoader,
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
    model_files = identifier_inputs(lid)
    if config.identifier.agree_with:
        model_files += identifier_inputs(Path(config.identifier.agree_with))
    for shard in shards:
        shard_kind(shard)
    tasks = [_task(name, shard, model_files) for name, shard in shard_names(shards).items()]
    work = functools.partial(
        extract_shard, lid=lid, output=output, config=config, load_identifier=load_identifier
    )
    damaged: JobError | None = None
    extracted: Mapping[str, int] = {}
    try:
        extracted = run_job(
            name=EXTRACT_JOB,
            tasks=tasks,
            work=work,
            output=output,
            config=config,
            workers=config.workers,
            executor=executor,
        ).counts
    except JobError as error:
        if len(executor.share(tasks)) < len(tasks):
            raise  # other processes have shards to do yet; a run that has them all merges
        damaged = error
    # Another run must not redo a shard while its parts are being read.
    with hold_lock(output / WORK / PARTS_LOCK, PARTS_LOCK, wait=True, is_shared=True):
        merged = _merge(output, [task.name for task in tasks], config, executor)
    if damaged is not None:
        raise damaged
    return _funnel(extracted, merged)


def _task(name: str, shard: Shard, model_files: tuple[Path, ...]) -> Task:
    """Return the task of a shard; its own file is the first of its inputs, or the remote one."""
    if isinstance(shard, RemoteFile):
        return Task(name=name, inputs=model_files, remote=(shard,))
    return Task(name=name, inputs=(shard, *model_files))


def _merge(
    output: Path, shards: Sequence[str], config: SentencesConfig, executor: Executor
) -> Mapping[str, int]:
    parts: dict[str, list[Path]] = defaultdict(list)
    for shard in sorted(shards):
        for path in sorted((output / WORK / shard).glob("[!.]*.parquet")):
            parts[path.stem].append(path)
    tasks = [Task(name=language, inputs=tuple(paths)) for language, paths in sorted(parts.items())]
    with hold_lock(output / RECEIPTS / _LOCK, MERGE_JOB, wait=True):
        forget_outdated(output / RECEIPTS / MERGE_JOB, tasks, keep_others=False)
    scratch = output / _SCRATCH
    work = functools.partial(
        merge_language,
        output=output,
        scratch=scratch,
        memory_bytes=config.memory_mb * _MEGABYTE,
        write_rejects=config.write_rejects,
    )
    summary = run_job(
        name=MERGE_JOB,
        tasks=tasks,
        work=work,
        output=output,
        workers=config.workers,
        executor=executor,
    )
    with contextlib.suppress(OSError):  # another process may still sort there
        scratch.rmdir()
    return summary.counts


def count_by_language(
    output: Path, job: str, languages: Sequence[str] = ()
) -> dict[str, Mapping[str, int]]:
    """Return what a job with a task per language counted in `output`, by language, or of some."""
    return {
        path.stem: read_object(path, counts=dict)["counts"]
        for path in sorted((output / RECEIPTS / job).glob("[!.]*.json"))
        if not languages or path.stem in languages
    }


def least_sure(output: Path, language: str) -> tuple[float, str]:
    """Return the lowest score among some thousand sentences of a language, and the sentence.

    These tell best whether a language is there at all, or only mistakes of the identifier.
    """
    batch = next(sentence_batches(sentence_shards(output, language)[0], ("text", "lid_score")))
    row = int(np.argmin(batch["lid_score"].to_numpy()))
    return float(batch["lid_score"][row].as_py()), str(batch["text"][row].as_py())


def _funnel(extracted: Mapping[str, int], merged: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of both jobs as one account."""
    counts = Counter(extracted)
    counts.update(merged)
    return {reason: counts[reason] for reason in sorted(counts, key=_reading_order)}


def _reading_order(reason: str) -> tuple[int, str]:
    """Order counts from documents to lines to sentences, and there from rejects to kept."""
    order = ("documents", "lines", "repaired_lines", "boilerplate_lines", SENTENCES,
             CUT_SENTENCES, "rejected", KEPT, CHARACTERS)  # fmt: skip
    stem = reason.split(".")[0]
    return (order.index(stem) if stem in order else 0, reason)
