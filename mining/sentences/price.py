"""What `tongues mining sentences` will cost: the command on the beginnings of some shards."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from corpus.documents import shard_kind, shard_name
from corpus.errors import UserError
from corpus.files import make_directory
from corpus.prices import Price
from corpus.pricing import Cut, Trial, finished, price_job, spread
from corpus.protocols import IdentifierLoader
from mining.sentences.config import SentencesConfig
from mining.sentences.extract import EXTRACT_JOB
from mining.sentences.run import run_sentences

_FIRST_BYTES = 1 << 18
_CUT_SHARDS = 4
_COPY_BYTES = 1 << 20
_BATCH_ROWS = 256


def price_sentences(
    shards: Sequence[Path],
    lid: Path,
    output: Path,
    config: SentencesConfig,
    load_identifier: IdentifierLoader,
) -> Price:
    """Measure what the shards that are not done yet will cost.

    Raises:
        UserError: If a shard or the identifier is missing.
    """
    paths = {}
    for path in shards:
        shard_kind(path)
        if not path.is_file():
            raise UserError(f"shard {path} does not exist or is not a file")
        paths[shard_name(path)] = path
    done = finished(output, EXTRACT_JOB, paths)
    to_do = [path for name, path in paths.items() if name not in done]
    return price_job(
        Trial(
            command="mining sentences",
            unit="bytes",
            shards={name: path.stat().st_size for name, path in paths.items()},
            done=done,
            cut=functools.partial(cut_shards, paths=to_do),
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


def cut_shards(size: int, folder: Path, *, paths: Sequence[Path]) -> Cut:
    """Copy the beginnings of some shards, `size` bytes in all; readers stop where a copy ends."""
    make_directory(folder)
    chosen = spread(paths, _CUT_SHARDS)
    cuts = []
    for path in chosen:
        whole = path.stat().st_size
        share = min(whole, -(-size // len(chosen)))
        if shard_kind(path) == ".parquet":
            _copy_rows(path, folder / path.name, share / whole)
        else:
            _copy_bytes(path, folder / path.name, share)
        cuts.append(share)
    return Cut(sum(cuts), max(cuts))


def _copy_bytes(path: Path, copy: Path, size: int) -> None:
    with path.open("rb") as source, copy.open("wb") as target:
        while size > 0 and (data := source.read(min(size, _COPY_BYTES))):
            target.write(data)
            size -= len(data)


def _copy_rows(path: Path, copy: Path, share: float) -> None:
    with pq.ParquetFile(path) as source:
        left = round(source.metadata.num_rows * share)
        with pq.ParquetWriter(copy, source.schema_arrow) as target:
            for batch in source.iter_batches(_BATCH_ROWS):
                if left <= 0:
                    break
                target.write_batch(batch.slice(0, left))
                left -= batch.num_rows
