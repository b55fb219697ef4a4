"""`mining match-documents`: documents that belong together, by address and by vectors."""

import functools
from collections import Counter
from pathlib import Path

import numpy as np

from corpus.errors import UserError
from corpus.files import write_lines
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, run_file_job
from corpus.languages import Direction, check_language
from corpus.records import sentence_shards
from mining.documents.addresses import match_addresses
from mining.documents.config import MatchConfig
from mining.documents.sentences_of import Place, read_documents
from mining.embeddings import Embeddings, open_embeddings
from mining.search.config import MineConfig
from mining.search.margin import Float32
from mining.search.mine import mine_pairs
from mining.search.places import files_of, language_files

MATCH_JOB = "match-documents"
Documents = dict[str, list[Place]]


def run_match(
    sentences: Path,
    embeddings: Path | None,
    direction: Direction,
    output: Path,
    config: MatchConfig,
    executor: Executor = LOCAL,
) -> Summary:
    """Write pairs of documents as TSV without header, for `mine-local` and `align`.

    Args:
        sentences: Directory of `tongues mining sentences`.
        embeddings: Directory of `tongues mining embed`; matching by vectors needs it.
        direction: The languages.
        output: The list.
        config: What is matched by, and from which margin on.
        executor: Where it runs.

    Raises:
        UserError: If a language has no sentences, or there are no embeddings to match by.
        JobError: If embeddings are missing or do not fit the sentences.
    """
    if embeddings is None and config.by != "url":
        raise UserError(
            "documents are matched by vectors with --embeddings; `by=url` matches without"
        )
    vectors: dict[str, list[Path]] = {}
    if config.by == "url" or embeddings is None:
        for language in direction:
            check_language(language)
        shards = {language: sentence_shards(sentences, language) for language in direction}
    else:
        shards, vectors = language_files(sentences, embeddings, *direction)
    work = functools.partial(
        _match, shards=shards, vectors=vectors, direction=direction, output=output, config=config
    )
    return run_file_job(
        name=MATCH_JOB,
        inputs=files_of(shards, vectors),
        work=work,
        output=output,
        config=config,
        arguments={"direction": str(direction)},
        executor=executor,
    )


def _match(
    task: Task,
    *,
    shards: dict[str, list[Path]],
    vectors: dict[str, list[Path]],
    direction: Direction,
    output: Path,
    config: MatchConfig,
) -> Outcome:
    sides = [read_documents(shards[language]) for language in direction]
    counts: Counter[str] = Counter(
        {"source_documents": len(sides[0]), "target_documents": len(sides[1])}
    )
    pairs: list[tuple[str, str]] = []
    if config.by != "vectors":
        pairs = match_addresses(sides[0], sides[1], direction)
        counts["by_address"] = len(pairs)
    if config.by != "url":
        matched = [{pair[side] for pair in pairs} for side in (0, 1)]
        left = [
            {
                name: places
                for name, places in documents.items()
                if name not in own and len(places) >= config.min_sentences
            }
            for documents, own in zip(sides, matched, strict=True)
        ]
        opened = [[open_embeddings(path) for path in vectors[language]] for language in direction]
        found = _by_vectors((left[0], left[1]), (opened[0], opened[1]), config)
        counts["by_vectors"] = len(found)
        pairs += found
    counts["pairs"] = len(pairs)
    write_lines(output, (f"{source}\t{target}" for source, target in sorted(pairs)))
    return Outcome(counts=counts, outputs=(output,))


def _by_vectors(
    documents: tuple[Documents, Documents],
    vectors: tuple[list[Embeddings], list[Embeddings]],
    config: MatchConfig,
) -> list[tuple[str, str]]:
    """Return documents that are each other's best by margin, and reach the least margin."""
    if not all(documents):
        return []
    means = [document_vectors(own, there) for own, there in zip(documents, vectors, strict=True)]
    mine = MineConfig(retrieval="intersect", neighbors=config.neighbors)
    found = mine_pairs(means[0], means[1], mine)
    names = [list(side) for side in documents]
    return [
        (names[0][source], names[1][target])
        for source, target, score in zip(*(one.tolist() for one in found), strict=True)
        if score >= config.min_margin
    ]


def document_vectors(documents: Documents, vectors: list[Embeddings]) -> Float32:
    """Return the mean vector of each document's sentences, as a unit vector, [N, D]."""
    dimension = vectors[0].dimension
    means = np.zeros((len(documents), dimension), np.float32)
    rows = [
        (place.shard, place.row, number)
        for number, places in enumerate(documents.values())
        for place in places
    ]
    by_shard = np.array(sorted(rows), np.int64).reshape(-1, 3)
    for shard, matrix in enumerate(vectors):
        own = by_shard[by_shard[:, 0] == shard]
        for start in range(0, len(own), 1 << 14):
            part = own[start : start + (1 << 14)]
            np.add.at(means, part[:, 2], matrix.take(part[:, 1]))
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    unit: Float32 = means / np.maximum(lengths, np.float32(1e-12))
    return unit
