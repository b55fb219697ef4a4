"""What `tongues mining rebuild` will cost: the command on the beginnings of some shards."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from corpus.crawl.documents import Shard, shard_bytes
from corpus.files import make_directory
from corpus.jobs import Cut, Price, Trial, finished, price_job, spread
from corpus.records import SENTENCES_SCHEMA, count_rows, read_first_rows, write_table
from mining.bitext.config import RebuildConfig
from mining.bitext.find_text import FIND_JOB, find_tasks
from mining.bitext.rebuild import PARTS, REBUILD_JOB, find_workers, rebuild_inputs, run_rebuild
from mining.sentences.price import cut_shards

_FIRST_BYTES = 1 << 18
_CUT_SHARDS = 4
_METADATA, _CRAWL, _SENTENCES = "metadata", "crawl", "sentences"


def price_rebuild(
    metadata: Path,
    shards: Sequence[Shard],
    output: Path,
    sentences: Path | None,
    config: RebuildConfig,
) -> Price:
    """Measure what finding the text of metadata will cost; the metadata are read whole for it.

    Raises:
        UserError: If there is nothing to find text in, or the metadata are damaged.
    """
    found = rebuild_inputs(metadata, shards, output, sentences)
    name = output.name.split(".")[0]
    tasks = find_tasks(name, metadata, found.shards, found.tables)
    places = [*found.shards, *(path for paths in found.tables.values() for path in paths)]
    sizes = {task.name: shard_bytes(place) for task, place in zip(tasks, places, strict=True)}
    done = frozenset(
        one
        for one in finished(output.parent, FIND_JOB, sizes)
        if (output.parent / PARTS / f"{one}.parquet").is_file()
    )
    if finished(output.parent, REBUILD_JOB, [name]):
        done = frozenset(sizes)
    return price_job(
        Trial(
            command="mining rebuild",
            unit="bytes",
            shards=sizes,
            done=done,
            cut=functools.partial(
                _cut, metadata=metadata, shards=found.shards, tables=found.tables
            ),
            run=functools.partial(_run_part, names=(metadata.name, output.name)),
            first=_FIRST_BYTES,
            workers=find_workers(tasks, config),
            counts=("documents", "sentences"),
            fixed_stages=(REBUILD_JOB,),
            assumptions=(
                "Each process reads the metadata whole, as its start.",
                "What rebuild-find leaves on disk goes when the bitext is there, which takes about"
                " as much if all is found: of a part of the text, fewer pairs have both sides.",
            ),
        )
    )


def _run_part(part: Path, output: Path, *, names: tuple[str, str]) -> None:
    crawl, sentences = part / _CRAWL, part / _SENTENCES
    run_rebuild(
        part / _METADATA / names[0],
        sorted(crawl.iterdir()) if crawl.is_dir() else [],
        output / names[1],
        sentences if sentences.is_dir() else None,
        RebuildConfig(workers=1),
        keep_parts=True,
    )


def _cut(
    size: int, folder: Path, *, metadata: Path, shards: Sequence[Shard],
    tables: Mapping[str, Sequence[Path]],
) -> Cut:  # fmt: skip
    """Write the beginnings of some crawl shards, and of some shards of each language."""
    linked = folder / _METADATA / metadata.name
    make_directory(linked.parent)
    linked.symlink_to(metadata.resolve())
    weights = [sum(map(shard_bytes, shards))]
    weights += [sum(path.stat().st_size for path in paths) for paths in tables.values()]
    share = size / max(1, sum(weights))
    cuts = []
    if shards:
        cuts.append(cut_shards(round(weights[0] * share), folder / _CRAWL, shards=shards))
    for (language, paths), weight in zip(tables.items(), weights[1:], strict=True):
        cuts.append(_cut_table(weight * share, folder / _SENTENCES / language, paths))
    return Cut(sum(cut.units for cut in cuts), max(cut.largest for cut in cuts))


def _cut_table(size: float, folder: Path, paths: Sequence[Path]) -> Cut:
    chosen = spread(paths, _CUT_SHARDS)
    cuts = []
    for path in chosen:
        whole = path.stat().st_size
        share = min(1.0, size / len(chosen) / whole)
        table = read_first_rows(path, SENTENCES_SCHEMA, max(1, round(count_rows(path) * share)))
        write_table(folder / path.name, table)
        cuts.append(max(1, round(whole * share)))
    return Cut(sum(cuts), max(cuts))
