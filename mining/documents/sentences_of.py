"""The sentences of documents, in the order of the text."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from corpus.records import sentence_batches


class Place(NamedTuple):
    """A sentence in its shard."""

    position: int
    """In its document, from 0."""

    shard: int
    row: int
    text: str


def read_documents(
    shards: Sequence[Path], wanted: Collection[str] | None = None
) -> dict[str, list[Place]]:
    """Return the sentences of each document, or of those that are wanted, sorted by name.

    A sentence that stands in several documents is in the shards with one of them only.
    """
    found: dict[str, list[Place]] = defaultdict(list)
    for number, shard in enumerate(shards):
        row = 0
        for batch in sentence_batches(shard, ["document", "position", "text"]):
            columns = (batch.column(name).to_pylist() for name in ("document", "position", "text"))
            for document, position, text in zip(*columns, strict=True):
                if wanted is None or document in wanted:
                    found[document].append(Place(position, number, row, text))
                row += 1
    return {name: sorted(places) for name, places in sorted(found.items())}
