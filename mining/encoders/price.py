"""Cost estimate of `tongues mining embed`, from a trial run on some shards' first sentences."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from corpus import stores
from corpus.jobs import Cut, Price, Trial, finished, price_job, spread
from corpus.records import (
    SENTENCES_SCHEMA,
    count_rows,
    read_first_rows,
    write_table,
)
from mining.embeddings import EMBED_JOB
from mining.encoders.embed import run_embed, runs_on_gpu, shards_to_embed
from mining.encoders.embed_config import EmbedConfig

_FIRST_SENTENCES = 256
_CUT_SHARDS = 8


def price_embed(
    sentences: Path, encoder: Path, output: Path, config: EmbedConfig, languages: Sequence[str] = ()
) -> Price:
    """Estimate the cost of the shards that are not embedded yet.

    Raises:
        UserError: If there are no sentences, or the directory is not an encoder's.
    """
    shards = shards_to_embed(sentences, languages)
    done = finished(output, EMBED_JOB, shards)
    on_gpu = runs_on_gpu(config)
    to_do = {name: path for name, path in shards.items() if name not in done}
    return price_job(
        Trial(
            command="mining embed",
            unit="sentences",
            shards={name: count_rows(path) for name, path in shards.items()},
            done=done,
            cut=functools.partial(_cut_shards, paths=to_do),
            run=functools.partial(
                _run_part, encoder=encoder, config=dataclasses.replace(config, workers=1)
            ),
            first=_FIRST_SENTENCES,
            workers=1 if on_gpu else config.workers,
            gpu_stages=(EMBED_JOB,) if on_gpu else (),
            counts=("sentences",),
        )
    )


def _run_part(part: Path, output: Path, *, encoder: Path, config: EmbedConfig) -> None:
    run_embed(part, encoder, output, config)


def _cut_shards(size: int, folder: Path, *, paths: Mapping[str, Path]) -> Cut:
    chosen = spread(list(paths), _CUT_SHARDS)
    cuts = []
    for name in chosen:
        table = read_first_rows(
            stores.fetch(paths[name]), SENTENCES_SCHEMA, -(-size // len(chosen))
        )
        write_table(folder / f"{name}.parquet", table)
        cuts.append(table.num_rows)
    return Cut(sum(cuts), max(cuts))
