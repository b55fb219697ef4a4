"""Which sentences of a language are copies: exact ones, and ones of the same template.

Of all sentences with one key (`corpus.text.sentence_key`: no case, no punctuation, all numbers as
`0`) the one stays whose text has the least hash, and of equal texts the one whose document and
position have the least hash. That is the order of sorted runs, so that the first of a key stays,
and the answer depends on the sentences alone: not on the number of shards, their names or order,
nor on how runs were merged.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mining.sentences.runs import TEMPLATE_BYTES, TEXT_BYTES, keys_of, prefix_changes

REASONS = ("duplicate", "near_duplicate")
DUPLICATE, NEAR_DUPLICATE = range(2)
KEPT_ROW = -1


def join_copies(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield sorted sentences with those of one text as one, the first, that counts them all.

    A sentence that is on every page of a crawl then weighs no more than any other.
    """
    last: pa.RecordBatch | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        if last is not None:
            batch = pa.concat_batches([last, batch])
        starts = np.flatnonzero(prefix_changes(keys_of(batch), TEXT_BYTES))
        copies = np.add.reduceat(batch.column("copies").to_numpy(), starts)
        place = batch.schema.get_field_index("copies")
        joined = batch if len(starts) == batch.num_rows else batch.take(pa.array(starts))
        joined = joined.set_column(place, batch.schema.field(place), pa.array(copies, pa.uint32()))
        yield joined.slice(0, joined.num_rows - 1)
        last = joined.slice(joined.num_rows - 1)  # more of its text may follow
    if last is not None:
        yield last


def find_copies(
    batches: Iterable[pa.RecordBatch],
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int8]]]:
    """Yield sorted sentences with why each is dropped, as an index into `REASONS`, -1 if it stays.

    A key with n sentences of d different texts loses n - d duplicates and d - 1 near duplicates.
    """
    before = b""
    for batch in batches:
        if not batch.num_rows:
            continue
        keys = keys_of(batch)
        reasons = np.full(len(keys), NEAR_DUPLICATE, np.int8)
        reasons[~prefix_changes(keys, TEXT_BYTES, before)] = DUPLICATE
        reasons[prefix_changes(keys, TEMPLATE_BYTES, before)] = KEPT_ROW
        before = keys[-1:].tobytes()
        yield batch, reasons
