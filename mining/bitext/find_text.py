"""Search for the sentences of bitext metadata, shard by shard."""

import functools
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.crawl.documents import Document, Shard, read_documents, shard_names
from corpus.errors import DataError, UserError
from corpus.jobs import Outcome, Task
from corpus.records import sentence_batches, write_table
from corpus.remote import RemoteFile
from corpus.split import split_sentences
from corpus.text import normalize
from mining.bitext.metadata import read_metadata, text_digest, without_spaces
from mining.sentences.clean import repair

FIND_JOB = "rebuild-find"
FOUND_SCHEMA = pa.schema([("digest", pa.uint64()), ("text", pa.string())])
_CRAWL, _SENTENCES = "crawl", "sentences"

UInt64 = npt.NDArray[np.uint64]


class Wanted(NamedTuple):
    """The sentences that a metadata file asks for, by document."""

    documents: UInt64
    """Digest of the document of each, ascending, [N]."""

    digests: UInt64
    """Their own digests, [N]."""

    every: UInt64
    """Those digests, ascending, each once."""

    @classmethod
    def read(cls, metadata: Path) -> "Wanted":
        """Read a metadata file.

        Raises:
            UserError: If it is damaged: what every shard is asked for is no fault of a shard.
        """
        documents, digests = array("Q"), array("Q")
        try:
            for side in read_metadata(metadata):
                documents.append(text_digest(side.document_url))
                digests.append(side.sentence_digest)
        except DataError as error:
            raise UserError(str(error)) from None
        found = np.frombuffer(documents, np.uint64), np.frombuffer(digests, np.uint64)
        order = np.argsort(found[0], kind="stable")
        return cls(found[0][order], found[1][order], np.unique(found[1]))

    def of(self, document: str) -> set[int]:
        """Return the digests of the sentences that are wanted of a document."""
        digest = np.uint64(text_digest(document))
        start = int(np.searchsorted(self.documents, digest))
        stop = int(np.searchsorted(self.documents, digest, "right"))
        return set(self.digests[start:stop].tolist())


def find_tasks(
    name: str, metadata: Path, shards: Sequence[Shard], tables: Mapping[str, Sequence[Path]]
) -> list[Task]:
    """Return a task for every crawl shard and every shard of sentences."""
    tasks = [
        Task(name=f"{name}/{_CRAWL}/{stem}", inputs=(metadata,), remote=(shard,))
        if isinstance(shard, RemoteFile)
        else Task(name=f"{name}/{_CRAWL}/{stem}", inputs=(metadata, shard))
        for stem, shard in shard_names(shards).items()
    ]
    return tasks + [
        Task(name=f"{name}/{_SENTENCES}/{language}/{path.stem}", inputs=(metadata, path))
        for language, paths in tables.items()
        for path in paths
    ]


def find_in_shard(task: Task, *, parts: Path) -> Outcome:
    """Write the wanted sentences of a shard to `parts/<task>.parquet`, each once."""
    metadata, *local = task.inputs
    wanted = _wanted(metadata, metadata.stat().st_size, metadata.stat().st_mtime_ns)
    shard: Shard = local[0] if local else task.remote[0]
    problem = ""
    texts: dict[int, str] = {}
    counts: Counter[str] = Counter()
    if task.name.split("/")[1] == _SENTENCES:
        _find_in_sentences(local[0], wanted, texts)
    else:
        documents = read_documents(shard)
        for document in documents:
            _find_in_document(document, wanted, texts)
        problem = documents.problem
        counts["documents"] = documents.counts["documents"]
    path = parts / f"{task.name}.parquet"
    ordered = sorted(texts.items())
    columns = [[digest for digest, _ in ordered], [text for _, text in ordered]]
    write_table(path, pa.table(columns, schema=FOUND_SCHEMA))
    counts["sentences"] = len(texts)
    return Outcome(counts=counts, outputs=(path,), problem=problem)


@functools.lru_cache(maxsize=1)
def _wanted(metadata: Path, *state: int) -> Wanted:
    """Read the metadata once per process instead of once per shard."""
    return Wanted.read(metadata)


def _find_in_sentences(path: Path, wanted: Wanted, texts: dict[int, str]) -> None:
    for batch in sentence_batches(path, ["text"]):
        column = batch.column(0).to_pylist()
        digests = np.array([text_digest(text or "") for text in column], np.uint64)
        for row in np.flatnonzero(np.isin(digests, wanted.every)).tolist():
            texts[int(digests[row])] = column[row] or ""


def _find_in_document(document: Document, wanted: Wanted, texts: dict[int, str]) -> None:
    digests = wanted.of(without_spaces(document.identifier))
    if not digests:
        return
    for line in document.text.split("\n"):
        for text in _candidates(line):
            digest = text_digest(text)
            if digest in digests:
                texts[digest] = text


def _candidates(line: str) -> Iterator[str]:
    """Yield the forms of a sentence to look up: normalized here, unchanged, and in NLLB's NFKC."""
    for whole in {line, repair(line)}:
        for sentence in (whole, *split_sentences(whole)):
            text = normalize(sentence)
            yield from {text, sentence.strip(), unicodedata.normalize("NFKC", text)}
