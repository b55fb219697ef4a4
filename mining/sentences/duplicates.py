"""Which sentences of a language are copies: exact ones, and ones of the same template.

Of all sentences with one key (`corpus.text.sentence_key`: no case, no punctuation, all numbers as
`0`) the one stays whose text has the least hash, and of equal texts the one whose document and
position have the least hash. So the answer depends on the sentences alone: not on the number of
shards, their names or order, nor on the number of workers.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mining.sentences.external_sort import Records, sort_records

SENTENCE = np.dtype([("key", "<u8"), ("text", "<u8"), ("place", "<u8"), ("row", "<u8")])
"""A sentence: hashes of its key, its text, its place, and its row among all of its language."""

LOSER = np.dtype([("row", "<u8"), ("reason", "u1")])
"""A row to drop, and why, as an index into `REASONS`."""

REASONS = ("duplicate", "near_duplicate")
DUPLICATE, NEAR_DUPLICATE = range(2)
_SORTS = 2


def find_duplicates(
    sentences: Iterable[Records], scratch: Path, memory_bytes: int
) -> Iterator[Records]:
    """Yield the rows to drop, in ascending order.

    A key with n sentences of d different texts loses n - d duplicates and d - 1 near duplicates.

    Args:
        sentences: Records of type `SENTENCE`, in blocks.
        scratch: Directory for sorting.
        memory_bytes: About what this may hold at a time.
    """
    share = memory_bytes // _SORTS
    by_key = sort_records(sentences, SENTENCE, scratch / "sentences.sort", share)
    yield from sort_records(_losers(by_key), LOSER, scratch / "losers.sort", share)


def _losers(sentences: Iterable[Records]) -> Iterator[Records]:
    """Yield what is not the first of its key, from sentences sorted by key, text and place."""
    last: Records | None = None
    for block in sentences:
        if not len(block):
            continue
        same_key = _equals_previous(block["key"], None if last is None else last["key"])
        same_text = same_key & _equals_previous(
            block["text"], None if last is None else last["text"]
        )
        losers = np.empty(int(same_key.sum()), LOSER)
        losers["row"] = block["row"][same_key]
        losers["reason"] = np.where(same_text[same_key], DUPLICATE, NEAR_DUPLICATE)
        yield losers
        last = block[-1:]


def _equals_previous(
    values: NDArray[np.uint64], before: NDArray[np.uint64] | None
) -> NDArray[np.bool_]:
    equal = np.zeros(len(values), np.bool_)
    equal[1:] = values[1:] == values[:-1]
    if before is not None:
        equal[0] = values[0] == before[0]
    return equal
