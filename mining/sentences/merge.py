"""The sentences of a language out of those of all shards, each once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.files import make_directory
from corpus.jobs import Outcome, Task
from corpus.records import SENTENCES_SCHEMA
from mining.sentences.duplicates import REASONS, SENTENCE, find_duplicates
from mining.sentences.external_sort import Records
from mining.sentences.rejects import REJECTS, REJECTS_SCHEMA, as_rejects
from mining.sentences.tables import RowGroups, read_batches

PART_SCHEMA = pa.schema([*SENTENCES_SCHEMA, ("text_hash", pa.uint64()), ("place", pa.uint64())])
"""A sentence of a shard, with the hashes of its text, and of its document and position."""

KEPT = "kept"
CHARACTERS = "characters"
MERGE_JOB = "merge"


def merge_language(
    task: Task, *, output: Path, scratch: Path, memory_bytes: int, write_rejects: bool
) -> Outcome:
    """Copy a language's sentences shard by shard, dropping duplicates.

    Args:
        task: Named by the language; its inputs are the parts, `<shard>/<language>.parquet`.
        output: Gets `<language>/<shard>.parquet`, and the rejects if they are wanted.
        scratch: Directory for sorting.
        memory_bytes: About what this may hold at a time.
        write_rejects: Whether copies are written out too.
    """
    folder = output / task.name
    rejects = output / REJECTS / MERGE_JOB
    workplace = scratch / task.name
    make_directory(workplace)
    losers = _Losers(find_duplicates(_hashes(task.inputs), workplace, memory_bytes))
    outputs: list[Path] = []
    counts: Counter[str] = Counter({KEPT: 0, CHARACTERS: 0})
    with RowGroups(rejects / f"{task.name}.parquet", REJECTS_SCHEMA) as rejected:
        row = 0
        for part in task.inputs:
            shard = part.parent.name
            with RowGroups(folder / f"{shard}.parquet", SENTENCES_SCHEMA) as kept:
                for batch in read_batches(part, PART_SCHEMA, SENTENCES_SCHEMA.names):
                    reasons = losers.take(row, row + batch.num_rows)
                    row += batch.num_rows
                    chosen = batch.filter(pa.array(reasons < 0))
                    kept.add(chosen)
                    counts[CHARACTERS] += pc.sum(pc.utf8_length(chosen["text"])).as_py() or 0
                    for number, reason in enumerate(REASONS):
                        counts[f"rejected.{reason}"] += int((reasons == number).sum())
                    if write_rejects:
                        rejected.add(as_rejects(batch, task.name, reasons, REASONS))
            counts[KEPT] += kept.rows
            _settle(kept, outputs)
    _settle(rejected, outputs)
    workplace.rmdir()
    return Outcome(counts=counts, outputs=tuple(outputs))


def _settle(written: RowGroups, outputs: list[Path]) -> None:
    """Note a file that was written; one without rows must not be there."""
    if written.rows:
        outputs.append(written.path)
    else:
        written.path.unlink(missing_ok=True)


def _hashes(parts: Sequence[Path]) -> Iterator[Records]:
    row = 0
    for part in parts:
        for batch in read_batches(part, PART_SCHEMA, ("hash", "text_hash", "place")):
            records = np.empty(batch.num_rows, SENTENCE)
            records["key"] = batch.column("hash").to_numpy()
            records["text"] = batch.column("text_hash").to_numpy()
            records["place"] = batch.column("place").to_numpy()
            records["row"] = np.arange(row, row + batch.num_rows, dtype=np.uint64)
            row += batch.num_rows
            yield records


class _Losers:
    """The rows to drop, in order of their numbers."""

    def __init__(self, blocks: Iterator[Records]) -> None:
        self._blocks = blocks
        self._block: Records | None = next(blocks, None)

    def take(self, start: int, end: int) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
        """Return for each row from `start` to `end` why it is dropped, -1 if it is kept."""
        reasons = np.full(end - start, -1, np.int8)
        while self._block is not None:
            here = self._block[: np.searchsorted(self._block["row"], end)]
            reasons[here["row"].astype(np.int64) - start] = here["reason"]
            self._block = self._block[len(here) :]
            if len(self._block):
                break
            self._block = next(self._blocks, None)
        return reasons
