"""Documents that are nearly copies of longer ones, found over all shards before any is read.

Three jobs over files, as sentences have them (decision 0107). `sign` writes a row for each band of
each document's signature, sorted by the band's hash; the rows are gathered; `near` has a task per
range of that hash, in which documents that share a band meet by construction. A document is dropped
if one before it is alike by their whole signatures. Longer documents come first, and texts of one
length in the order of their hashes: so what is dropped does not depend on shards or workers.
"""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from corpus import stores
from corpus.errors import JobError
from corpus.files import atomic_path, make_directory, read_object, temporary_path
from corpus.jobs import Executor, Outcome, Task, run_job
from corpus.text import key_hash
from mining.sentences.config import SentencesConfig
from mining.sentences.gather import Gathering, list_runs
from mining.sentences.inputs import Ranges, open_documents
from mining.sentences.merge import count_buckets
from mining.sentences.minhash import BANDS, VALUES, UInt32, band_hashes, signature, similarity
from mining.sentences.runs import (
    RUN_SCHEMA,
    RUN_SUFFIX,
    TEMPLATE_BYTES,
    WORK,
    RunWriter,
    key_range,
    keys_of,
    merge_runs,
    prefix_changes,
    sentence_sort_key,
    sort_batch,
)
from mining.sentences.tables import WaitingRows

SIGN_JOB, NEAR_JOB = "sign", "near"
NEAR = "near"
"""Folder of all this, in `WORK`."""

DROPPED = "dropped"
"""Argument of a task: the digest of the numbers of its documents that are dropped."""

_ALL = "zxx_Zxxx"
"""Stands where the rows of sentences have a language."""

_SIGNED, _ROWS, _LISTED, _FOUND, _MERGED = "signed", "rows", "rows.json", "found", "dropped"
_MOST_LEADERS = 16
"""Different documents that share a band, beyond which no more are compared with."""

_MOST_CHARACTERS = (1 << 32) - 1
_OPEN_SIGNATURES = 512
_MEGABYTE = 1 << 20


def find_near_documents(
    tasks: Sequence[Task],
    output: Path,
    config: SentencesConfig,
    executor: Executor,
    ranges: Ranges | None,
) -> dict[str, str]:
    """Find which documents of all shards are dropped.

    Returns:
        A digest of the numbers of each shard's dropped documents, by the names of the tasks.

    Raises:
        JobError: If an executor has not done all shards. Damaged ones are reported when their
            sentences are read.
    """
    work = functools.partial(sign_documents, output=output, config=config, ranges=ranges)
    try:
        run_job(
            name=SIGN_JOB, tasks=tasks, work=work, output=output, config=config,
            workers=config.workers, executor=executor,
        )  # fmt: skip
    except JobError:
        if len(executor.share(tasks)) < len(tasks):
            raise
    folder = output / WORK / NEAR
    names = sorted(task.name for task in tasks)
    signed = (folder / _SIGNED / f"{name}{RUN_SUFFIX}" for name in names)
    gathering = Gathering("gather-signatures", output, config.workers, executor)
    runs, counts = gathering.gather(
        [path for path in signed if stores.exists(path)], folder / _ROWS, keep_copies=True
    )
    list_runs(folder / _LISTED, runs)
    buckets = count_buckets(counts.get(_ALL, 0), config.bucket_sentences)
    asked = {"buckets": buckets, "similarity": config.documents.near_duplicates}
    ranges_of_hashes = [
        Task(
            name=f"{bucket:05d}",
            inputs=(folder / _LISTED,),
            arguments={"bucket": bucket, **asked},
        )
        for bucket in range(buckets)
    ]
    gathering.run(NEAR_JOB, ranges_of_hashes, functools.partial(find_in_bucket, folder=folder))
    found = [folder / _FOUND / f"{task.name}{RUN_SUFFIX}" for task in ranges_of_hashes]
    last = Gathering("gather-dropped", output, config.workers, executor)
    last.gather(found, folder / _MERGED, keep_copies=True, most=1)
    return {name: _digest(_numbers(folder, name)) for name in names}


def sign_documents(
    task: Task, *, output: Path, config: SentencesConfig, ranges: Ranges | None
) -> Outcome:
    """Write the signatures of a shard's documents, and a row for each of their bands, sorted."""
    folder = output / WORK / NEAR / _SIGNED
    path = folder / f"{task.name}{RUN_SUFFIX}"
    documents = open_documents(task, ranges, output, config)
    waiting = WaitingRows(RUN_SCHEMA, config.memory_mb * _MEGABYTE // 3)
    runs: list[Path] = []
    signatures: list[UInt32] = []
    for number, document in documents.numbered():
        signatures += [np.zeros(VALUES, np.uint32)] * (number - len(signatures))
        found = signature(document.text)
        if found is None:
            continue
        signatures.append(found)
        length = _MOST_CHARACTERS - min(len(document.text), _MOST_CHARACTERS)
        rank = length << 32 | key_hash(document.text) >> 32
        place = key_hash(f"{document.identifier}\n{task.name}\n{number}")
        for band in band_hashes(found):
            row = (sentence_sort_key(_ALL, band, rank, place), 1, None, None, task.name, number)
            if waiting.add(row, len(task.name)):
                runs.append(_spill(path, len(runs), waiting))
    runs.append(_spill(path, len(runs), waiting))
    matrix = np.stack(signatures) if signatures else np.zeros((0, VALUES), np.uint32)
    with atomic_path(path.with_suffix(".npy")) as temporary, temporary.open("wb") as file:
        np.save(file, matrix)
    with atomic_path(path) as temporary, RunWriter(temporary) as run:
        for batch in merge_runs(runs):
            run.add(batch)
    for spilled in runs:
        spilled.unlink()
    return Outcome(
        counts={"documents": documents.counts["documents"], "rows": BANDS * len(signatures)},
        outputs=(path, path.with_suffix(".npy")),
        problem=documents.problem,
    )


def _spill(path: Path, number: int, waiting: WaitingRows) -> Path:
    """Write the rows that wait, sorted, to a file beside the path."""
    run_path = temporary_path(path, f"run{number}")
    make_directory(path.parent)
    with RunWriter(run_path) as run:
        run.add(sort_batch(waiting.take()))
    return run_path


def find_in_bucket(task: Task, *, folder: Path) -> Outcome:
    """Write which documents are like one before them with which they share a band.

    Args:
        task: Its bucket, how many there are, and the least similarity.
        folder: Of the signatures and rows; gets the run of the bucket.
    """
    listed = task.inputs[0]
    runs = [listed.parent / name for name in read_object(listed)]
    low, high = key_range(_ALL, task.arguments["bucket"], task.arguments["buckets"])
    least = task.arguments["similarity"]
    signatures = functools.lru_cache(maxsize=_OPEN_SIGNATURES)(
        lambda shard: np.load(stores.fetch(folder / _SIGNED / f"{shard}.npy"), mmap_mode="r")
    )
    dropped: set[tuple[str, int]] = set()
    leaders: list[UInt32] = []
    before = b""
    for batch in merge_runs(runs, low, high):
        keys = keys_of(batch)
        is_new = prefix_changes(keys, TEMPLATE_BYTES, before).tolist()
        before = keys[-1:].tobytes()
        shards, numbers = (batch.column(name).to_pylist() for name in ("document", "position"))
        for is_first, shard, number in zip(is_new, shards, numbers, strict=True):
            own = signatures(shard)[number]
            if is_first:
                leaders = [own]
            elif any(similarity(own, leader) >= least for leader in leaders):
                dropped.add((shard, number))
            elif len(leaders) < _MOST_LEADERS:
                leaders.append(own)
    path = folder / _FOUND / f"{task.name}{RUN_SUFFIX}"
    make_directory(path.parent)
    rows = WaitingRows(RUN_SCHEMA, 0)
    for shard, number in sorted(dropped):
        rows.add((_place_key(shard, number), 1, None, None, shard, number), 0)
    with atomic_path(path) as temporary, RunWriter(temporary) as run:
        run.add(sort_batch(rows.take()))
    return Outcome(counts={_ALL: len(dropped)}, outputs=(path,))


def _place_key(shard: str, number: int) -> bytes:
    return sentence_sort_key(_ALL, key_hash(shard), number, 0)


def dropped_documents(task: Task, output: Path) -> frozenset[int]:
    """Return the numbers of a shard's documents that are dropped."""
    if DROPPED not in task.arguments:
        return frozenset()
    return frozenset(_numbers(output / WORK / NEAR, task.name))


def _numbers(folder: Path, shard: str) -> list[int]:
    level = max(stores.names_in(folder / _MERGED), key=int)
    low = _place_key(shard, 0)
    high = low[:TEMPLATE_BYTES] + b"\xff" * (len(low) - TEMPLATE_BYTES)
    found: set[int] = set()
    for batch in merge_runs([folder / _MERGED / level / f"0000{RUN_SUFFIX}"], low, high):
        rows = batch.to_pydict()
        pairs = zip(rows["document"], rows["position"], strict=True)
        found.update(number for name, number in pairs if name == shard)
    return sorted(found)


def _digest(numbers: Sequence[int]) -> str:
    return hashlib.blake2b(np.array(numbers, "<i8").tobytes(), digest_size=16).hexdigest()
