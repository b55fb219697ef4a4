"""Sentences that were not kept, with the reason, written out on request."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

REJECTS = "rejects"
"""Folder of the rejects in the output of `tongues mining sentences`."""

REJECTS_SCHEMA = pa.schema(
    [
        ("reason", pa.string()),
        ("language", pa.string()),
        ("lid_score", pa.float32()),
        ("text", pa.string()),
        ("document", pa.string()),
        ("position", pa.int32()),
    ]
)
"""A line or sentence that was rejected; language and score are null before identification."""


def as_rejects(
    batch: pa.RecordBatch, language: str, reasons: Any, names: Sequence[str]
) -> pa.RecordBatch:
    """Return the rows of a batch that have a reason, as rejects.

    Args:
        batch: Sentences of one language.
        language: Theirs.
        reasons: Index into `names` for each row, int8; -1 for rows that are kept.
        names: The reasons.
    """
    rows = batch.filter(pa.array(reasons >= 0))
    given = np.array(names, object)[reasons[reasons >= 0]]
    return pa.RecordBatch.from_arrays(
        [
            pa.array(given, pa.string()),
            pa.array([language] * len(given), pa.string()),
            *(rows.column(name) for name in ("lid_score", "text", "document", "position")),
        ],
        schema=REJECTS_SCHEMA,
    )
