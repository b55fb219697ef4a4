"""Cost estimate of `tongues mining mine`, from a trial run on both languages' first sentences."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from corpus import stores
from corpus.errors import UserError
from corpus.files import make_directory
from corpus.jobs import Cut, Price, Trial, finished, price_job
from corpus.records import (
    SENTENCES_SCHEMA,
    count_rows,
    read_first_rows,
    sentence_shards,
    write_table,
)
from mining.embeddings import open_embeddings, write_embeddings
from mining.search.config import MineConfig
from mining.search.mine import MINE_JOB, run_mine
from mining.search.neighbors import uses_index
from mining.search.train_index import INDEX_FOLDER, index_files

_FIRST_PAIRS = 1000 * 1000


def price_mine(
    sentences: Path,
    embeddings: Path,
    source: str,
    target: str,
    output: Path,
    config: MineConfig,
    known: Path | None = None,
) -> Price:
    """Estimate the cost of mining a language pair.

    The unit is a comparison of a sentence with a sentence, since every one is compared with all of
    the other language.

    Raises:
        UserError: If a language has no sentences, the languages are the same, or the shared index
            is to be searched and is not there.
        DataError: If embeddings are missing.
    """
    for language in (source, target):
        stores.pull(sentences / language)
        stores.pull(embeddings / language)
    shards = {language: sentence_shards(sentences, language) for language in (source, target)}
    rows = [sum(count_rows(path) for path in paths) for paths in shards.values()]
    if not all(rows):
        raise UserError(f"{source} or {target} has no sentences in {sentences}")
    # A part is too small for `auto` to choose the index for it.
    index = index_files(embeddings) if uses_index(config, max(rows)) else ()
    config = replace(config, plan="index") if index else config
    text_bytes = [sum(path.stat().st_size for path in paths) for paths in shards.values()]
    name = output.name.split(".")[0]
    return price_job(
        Trial(
            command="mining mine",
            unit="comparisons",
            shards={name: math.prod(rows)},
            done=finished(output.parent, MINE_JOB, [name]),
            cut=functools.partial(_cut_pair, shards=shards, embeddings=embeddings, index=index),
            run=functools.partial(
                _run_part,
                source=source,
                target=target,
                # Few sentences may not reach a precision that all of them reach.
                config=replace(config, target_precision=None),
                known=known,
            ),
            first=_FIRST_PAIRS,
            workers=1,
            counts=("source_sentences", "target_sentences"),
            row_exponent=0.5,
            disk_bytes=round(
                min(rows) * sum(size / count for size, count in zip(text_bytes, rows, strict=True))
            ),
            assumptions=(
                "The whole is searched as the part is, or in fewer dimensions and faster;"
                " `threads` divide its time.",
                "Disk is for a bitext that has every sentence of the smaller language.",
            ),
        )
    )


def _run_part(
    part: Path, output: Path, *, source: str, target: str, config: MineConfig, known: Path | None
) -> None:
    run_mine(
        part / "sentences",
        part / "embeddings",
        source,
        target,
        output / f"{source}-{target}.parquet",
        config,
        known,
    )


def _cut_pair(
    size: int,
    folder: Path,
    *,
    shards: Mapping[str, Sequence[Path]],
    embeddings: Path,
    index: Sequence[Path],
) -> Cut:
    """Write the first sentences of every shard, as large a share of both languages."""
    whole = {language: [count_rows(path) for path in paths] for language, paths in shards.items()}
    share = math.sqrt(size / math.prod(map(sum, whole.values())))
    kept = []
    for language, paths in shards.items():
        sizes = [math.ceil(rows * share) for rows in whole[language]]
        for path, rows in zip(paths, sizes, strict=True):
            name = f"{language}/{path.stem}"
            table = read_first_rows(path, SENTENCES_SCHEMA, rows)
            write_table(folder / "sentences" / f"{name}.parquet", table)
            npy = f"{name}.npy"
            _copy_rows(embeddings / npy, folder / "embeddings" / npy, rows)
        kept.append(sum(sizes))
    for file in index:
        linked = folder / "embeddings" / INDEX_FOLDER / file.name
        make_directory(linked.parent)
        linked.symlink_to(file.resolve())
    return Cut(math.prod(kept), math.prod(kept))


def _copy_rows(path: Path, copy: Path, rows: int) -> None:
    """Copy the first rows of an embedding file, stored as they are there."""
    vectors = open_embeddings(path)
    taken = vectors.take(slice(0, rows))
    write_embeddings(
        copy,
        [taken],
        rows=len(taken),
        dimension=vectors.dimension,
        storage="float16" if vectors.scales is None else "int8",
    )
