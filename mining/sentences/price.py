"""Cost estimate of `tongues mining sentences`, from a trial run on some shards' beginnings."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from corpus.crawl.documents import Shard, open_shard, shard_bytes, shard_kind
from corpus.files import make_directory
from corpus.jobs import Cut, Price, Trial, finished, price_job, spread
from corpus.parquet import copy_first_rows, open_parquet
from corpus.protocols import IdentifierLoader
from mining.sentences.config import SentencesConfig
from mining.sentences.extract import EXTRACT_JOB
from mining.sentences.inputs import shard_tasks, task_part, task_shard
from mining.sentences.sentences import run_sentences

_FIRST_BYTES = 1 << 18
_CUT_SHARDS = 4
_COPY_BYTES = 1 << 20
_BATCH_ROWS = 256
_MEGABYTE = 1 << 20


def price_sentences(
    shards: Sequence[Shard],
    lid: Path,
    output: Path,
    config: SentencesConfig,
    load_identifier: IdentifierLoader,
) -> Price:
    """Estimate the cost of the shards that are not done yet.

    Raises:
        UserError: If a shard or the identifier is missing.
    """
    tasks = shard_tasks(shards, (), config.shard_mb * _MEGABYTE)
    named = {task.name: task_shard(task) for task in tasks}
    sizes = {
        task.name: part.end - part.begin
        if (part := task_part(task)) is not None
        else shard_bytes(named[task.name])
        for task in tasks
    }
    done = finished(output, EXTRACT_JOB, sizes)
    to_do = list(dict.fromkeys(shard for name, shard in named.items() if name not in done))
    return price_job(
        Trial(
            command="mining sentences",
            unit="bytes",
            shards=sizes,
            done=done,
            cut=functools.partial(cut_shards, shards=to_do),
            run=functools.partial(
                _run_part,
                lid=lid,
                config=dataclasses.replace(config, workers=1),
                load_identifier=load_identifier,
            ),
            first=_FIRST_BYTES,
            workers=config.workers,
            counts=("documents", "lines", "sentences", "kept"),
            assumptions=(
                "Later shards have as many new sentences as the first: copies across shards make"
                " the output smaller.",
            ),
        )
    )


def _run_part(
    part: Path, output: Path, *, lid: Path, config: SentencesConfig,
    load_identifier: IdentifierLoader,
) -> None:  # fmt: skip
    run_sentences(sorted(part.iterdir()), lid, output, config, load_identifier)


def cut_shards(size: int, folder: Path, *, shards: Sequence[Shard]) -> Cut:
    """Copy the beginnings of some shards, `size` bytes in all; readers stop where a copy ends."""
    make_directory(folder)
    chosen = spread(shards, _CUT_SHARDS)
    cuts = []
    for shard in chosen:
        whole = max(1, shard_bytes(shard))
        share = min(whole, -(-size // len(chosen)))
        with open_shard(shard) as source:
            if shard_kind(shard) == ".parquet":
                _copy_rows(source, folder / shard.name, share / whole)
            else:
                _copy_bytes(source, folder / shard.name, share)
        cuts.append(share)
    return Cut(sum(cuts), max(cuts))


def _copy_bytes(source: BinaryIO, copy: Path, size: int) -> None:
    with copy.open("wb") as target:
        while size > 0 and (data := source.read(min(size, _COPY_BYTES))):
            target.write(data)
            size -= len(data)


def _copy_rows(source: BinaryIO, copy: Path, share: float) -> None:
    with open_parquet(source, copy.name) as file:
        rows = round(file.metadata.num_rows * share)
        copy_first_rows(file, source, copy, rows, _BATCH_ROWS)
