"""The sentences of a bucket out of those of all shards, each once."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.files import read_object
from corpus.jobs import Outcome, Task
from corpus.records import SENTENCES_SCHEMA
from mining.sentences.duplicates import KEPT_ROW, REASONS, find_copies
from mining.sentences.rejects import REJECTS, REJECTS_SCHEMA, as_rejects
from mining.sentences.runs import hashes_of, key_range, merge_runs
from mining.sentences.tables import RowGroups

KEPT = "kept"
CHARACTERS = "characters"
MERGE_JOB = "merge"


def count_buckets(sentences: int, bucket_sentences: int) -> int:
    """Return how many buckets a language has: a power of two, so that more shards only split them.

    Args:
        sentences: Its sentences, all copies included.
        bucket_sentences: The most that a bucket holds, on average.
    """
    return 1 << max(0, -(-sentences // bucket_sentences) - 1).bit_length()


def bucket_task(language: str, bucket: int, buckets: int, runs: Path) -> Task:
    """Return the task of a bucket; the file `runs` names all runs, beside it, with digests."""
    return Task(
        name=f"{language}/{bucket:05d}",
        inputs=(runs,),
        arguments={"language": language, "bucket": bucket, "buckets": buckets},
    )


def merge_bucket(task: Task, *, output: Path, write_rejects: bool) -> Outcome:
    """Write the sentences of a bucket in the order of their hashes, dropping copies.

    Args:
        task: See `bucket_task`.
        output: Gets `<language>/<bucket>.parquet`, and the rejects if they are wanted.
        write_rejects: Whether copies are written out too.
    """
    language = task.arguments["language"]
    listed = task.inputs[0]
    runs = [listed.parent / name for name in read_object(listed)]
    low, high = key_range(language, task.arguments["bucket"], task.arguments["buckets"])
    counts: Counter[str] = Counter({KEPT: 0, CHARACTERS: 0})
    counts.update({f"rejected.{reason}": 0 for reason in REASONS})
    rejects = output / REJECTS / MERGE_JOB / f"{task.name}.parquet"
    with (
        RowGroups(output / f"{task.name}.parquet", SENTENCES_SCHEMA) as kept,
        RowGroups(rejects, REJECTS_SCHEMA) as rejected,
    ):
        for batch, reasons in find_copies(merge_runs(runs, low, high)):
            chosen = _as_sentences(batch.filter(pa.array(reasons == KEPT_ROW)))
            kept.add(chosen)
            counts[CHARACTERS] += pc.sum(pc.utf8_length(chosen["text"])).as_py() or 0
            copies = batch.column("copies").to_numpy().astype(np.int64)
            counts["rejected.duplicate"] += int((copies - 1).sum())
            for number, reason in enumerate(REASONS):
                counts[f"rejected.{reason}"] += int((reasons == number).sum())
            if write_rejects:
                rejected.add(as_rejects(batch, language, reasons, REASONS))
    counts[KEPT] = kept.rows
    outputs = []
    for written in (kept, rejected):
        if written.rows:
            outputs.append(written.path)
        else:  # a file without rows must not be there
            written.path.unlink(missing_ok=True)
    return Outcome(counts=counts, outputs=tuple(outputs))


def _as_sentences(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        pa.array(hashes_of(batch)) if name == "hash" else batch.column(name)
        for name in SENTENCES_SCHEMA.names
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SENTENCES_SCHEMA)
