"""Crawl shards to sentences per language: map, shuffle, reduce, as three jobs over files.

`extract` has a task per shard and writes its sentences as one sorted run. `gather` merges the runs
of many shards to one, about the root of their number. `merge` has a task per bucket: a language, or
a range of the hash that exact and near copies share. It reads its range of all runs, drops the
copies, and writes the output.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from corpus import stores
from corpus.crawl.documents import Shard
from corpus.errors import JobError, UserError
from corpus.jobs import LOCAL, Executor, Task, hold_lock, run_job, task_counts
from corpus.languages import check_language
from corpus.protocols import IdentifierLoader, identifier_inputs
from corpus.records import sentence_batches, sentence_shards
from mining.sentences.addresses import read_addresses
from mining.sentences.candidates import SENTENCES
from mining.sentences.config import SentencesConfig
from mining.sentences.extract import (
    CUT_SENTENCES,
    EXTRACT_JOB,
    PARTS_LOCK,
    SHARDS,
    extract_shard,
)
from mining.sentences.gather import FEW, GATHER_JOB, Gathering, count_rows, list_runs
from mining.sentences.inputs import Ranges, range_tasks, shard_tasks
from mining.sentences.merge import (
    CHARACTERS,
    KEPT,
    MERGE_JOB,
    bucket_task,
    count_buckets,
    merge_bucket,
)
from mining.sentences.near_documents import DROPPED, NEAR, find_near_documents
from mining.sentences.runs import RUN_SUFFIX, WORK

_GATHERED = "gathered"
_RUNS = "runs.json"
_MEGABYTE = 1 << 20


def run_sentences(
    shards: Sequence[Shard],
    lid: Path,
    output: Path,
    config: SentencesConfig,
    load_identifier: IdentifierLoader,
    executor: Executor = LOCAL,
    ranges: Ranges | None = None,
) -> dict[str, int]:
    """Write the sentences of crawl shards to `output/<language>/<bucket>.parquet`.

    With `ranges`, single records are read instead of whole shards.

    Returns:
        Counts: documents, lines, `sentences` that were split, those `kept`, and the rejects by
        reason. `sentences` is `kept` plus all `rejected.…`.

    Raises:
        UserError: If a shard or the identifier is missing, or the output is of an earlier version.
        JobError: If shards are damaged. What could be read of them is in the output.
    """
    for language in config.languages:
        check_language(language)
    model_files = identifier_inputs(lid)
    if config.identifier.agree_with:
        model_files += identifier_inputs(Path(config.identifier.agree_with))
    _refuse_earlier_version(output)
    lists = (*config.documents.blocked, *config.documents.only)
    read_addresses(config.documents.blocked), read_addresses(config.documents.only)
    tasks = _tasks(shards, ranges, config, (*model_files, *lists))
    if config.documents.near_duplicates is not None:
        signed = _tasks(shards, ranges, config, lists)
        dropped = find_near_documents(signed, output, config, executor, ranges)
        tasks = [
            dataclasses.replace(task, arguments={**task.arguments, DROPPED: dropped[task.name]})
            for task in tasks
        ]
    work = functools.partial(
        extract_shard,
        lid=lid,
        output=output,
        config=config,
        load_identifier=load_identifier,
        ranges=ranges,
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


def _tasks(
    shards: Sequence[Shard],
    ranges: Ranges | None,
    config: SentencesConfig,
    files: tuple[Path, ...],
) -> list[Task]:
    """Return a task per shard that depends on some files beside it."""
    if ranges is None:
        return shard_tasks(shards, files, config.shard_mb * _MEGABYTE)
    return range_tasks(ranges, config.ranges, files)


def _refuse_earlier_version(output: Path) -> None:
    """Refuse to continue what a version began that wrote a file per shard and language."""
    work = output / WORK
    if work.is_dir() and any(
        path.is_dir() and path.name not in (SHARDS, _GATHERED, NEAR) for path in work.iterdir()
    ):
        raise UserError(
            f"{output} was begun by an earlier version, which wrote a file per shard and language."
            " Choose another output, or delete it to start over; its sentences can be used as they"
            " are."
        )


def _merge(
    output: Path, shards: Sequence[str], config: SentencesConfig, executor: Executor
) -> Mapping[str, int]:
    """Gather the runs of many shards and merge them bucket by bucket; return what that counted."""
    folder = output / WORK / SHARDS
    paths = (folder / f"{shard}{RUN_SUFFIX}" for shard in sorted(shards))
    runs = [path for path in paths if stores.exists(path)]
    gathering = Gathering(GATHER_JOB, output, config.workers, executor)
    if len(runs) > FEW:
        runs, counts = gathering.gather(
            runs, output / WORK / _GATHERED, keep_copies=config.write_rejects
        )
    else:
        counts = count_rows(runs)
    return gathering.run(
        MERGE_JOB,
        _bucket_tasks(output / WORK / _RUNS, runs, counts, config.bucket_sentences),
        functools.partial(merge_bucket, output=output, write_rejects=config.write_rejects),
    )


def _bucket_tasks(
    listed: Path, runs: Sequence[Path], counts: Mapping[str, int], bucket_sentences: int
) -> list[Task]:
    list_runs(listed, runs)
    return [
        bucket_task(language, bucket, buckets, listed)
        for language in sorted(counts)
        for buckets in (count_buckets(counts[language], bucket_sentences),)
        for bucket in range(buckets)
    ]


def count_by_language(
    output: Path, job: str, languages: Sequence[str] = ()
) -> dict[str, Mapping[str, int]]:
    """Return what a job with tasks per language counted in `output`, by language, or of some."""
    totals: dict[str, Counter[str]] = {}
    for task, counts in task_counts(output, job).items():
        language = task.split("/")[0]
        if not languages or language in languages:
            totals.setdefault(language, Counter()).update(counts)
    return dict(totals)


def least_sure(output: Path, language: str) -> tuple[float, str]:
    """Return the lowest score among some thousand sentences of a language, and the sentence.

    These tell best whether a language is there at all, or only mistakes of the identifier.
    """
    shard = stores.fetch(sentence_shards(output, language)[0])
    batch = next(sentence_batches(shard, ("text", "lid_score")))
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
