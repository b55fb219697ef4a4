"""How sentences should get from shards to buckets on a cluster: Ray Data's shuffle, or files.

    python benchmarks/shuffle_engines.py --work DIR [--shards 100] [--rows 2000] [--engines ...]

Needs an environment with `ray[data]`, pandas and psutil. Sorted runs of shards are made, with
copies among them. Three simulated Ray nodes of one CPU each group them by language and range of the
hash, drop the copies and write a Parquet file a group: with the jobs `gather` and `merge` over
files (`files`), with Ray Data's `groupby().map_groups()` by hash shuffle (`hash`) and by
push-based sort shuffle (`push`). Each engine runs twice undisturbed, and once with a node killed in
the middle. Wall time, CPU of all processes of the cluster, whether the bytes are those of the first
run of all, and what happened are printed.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import ray
from ray.cluster_utils import Cluster

from corpus.jobs import Task, find_executor, run_job
from corpus.records import SENTENCES_SCHEMA
from mining.sentences.gather import gather_runs, group_runs
from mining.sentences.merge import count_buckets, merge_bucket
from mining.sentences.runs import RUN_SCHEMA, RunWriter, sentence_sort_key, sort_batch
from mining.sentences.sentences import _bucket_tasks
from mining.sentences.tables import RowGroups

LANGUAGES = 50
BUCKET = 20_000
KILL_SECONDS = 6.0
"""After the start of a disturbed run; undisturbed ones take longer."""


def main() -> None:
    """Run all engines and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--engines", default="files,hash,push")
    arguments = parser.parse_args()
    work: Path = arguments.work
    runs = write_runs(work / "runs", arguments.shards, arguments.rows)
    size = sum(path.stat().st_size for path in runs)
    print(f"<!-- {len(runs)} runs, {len(runs) * arguments.rows:,} rows, {size / 1e6:.1f} MB -->")
    print(
        "| engine | run | wall s | CPU s | same bytes | what happened |\n|---|---|---|---|---|---|"
    )
    engines: dict[str, Callable[[list[Path], Path], None]] = {
        "files": with_files,
        "hash": with_ray_data("HASH_SHUFFLE"),
        "push": with_ray_data("SORT_SHUFFLE_PUSH_BASED"),
    }
    expected: dict[str, bytes] | None = None
    for name in arguments.engines.split(","):
        for turn in ("first", "second", "node killed"):
            output = work / f"{name} {turn}"
            shutil.rmtree(output, ignore_errors=True)
            row = run_turn(engines[name], runs, output, is_disturbed=turn == "node killed")
            found = digests(output)
            expected = expected or found
            same = "yes" if found == expected else "no"
            print(
                f"| {name} | {turn} | {row['wall']:.1f} | {row['cpu']:.1f} |"
                f" {same if found else 'nothing written'} | {row['told']} |",
                flush=True,
            )


def write_runs(folder: Path, shards: int, rows: int) -> list[Path]:
    """Write the sorted runs of shards; every fourth sentence is one of a hundred a language."""
    generator = random.Random(3)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for shard in range(shards):
        paths.append(folder / f"{shard:05d}.arrows")
        if paths[-1].exists():
            continue
        made = []
        for place in range(rows):
            language = f"q{chr(97 + int(generator.paretovariate(0.7)) % LANGUAGES % 26)}a_Latn"
            number = (
                generator.randrange(100) if generator.random() < 0.25 else generator.getrandbits(40)
            )
            text = f"{number:x} is a sentence of {language} that is as long as many others are."
            hashed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
            key = sentence_sort_key(language, hashed, hashed, shard * rows + place)
            made.append((key, 1, text, 0.9, f"https://example.org/{shard}", place))
        columns = [
            pa.array(column, field.type)
            for column, field in zip(zip(*made, strict=True), RUN_SCHEMA, strict=True)
        ]
        with RunWriter(paths[-1]) as run:
            run.add(sort_batch(pa.RecordBatch.from_arrays(columns, schema=RUN_SCHEMA)))
    return paths


def with_files(runs: list[Path], output: Path) -> None:
    """Gather and merge, as `mining sentences` does."""
    executor = find_executor("ray")
    folder = output / ".work" / "gathered" / "1"
    tasks = [Task(name=f"{n:04d}", inputs=tuple(group)) for n, group in enumerate(group_runs(runs))]
    counts = run_job(
        name="gather",
        tasks=tasks,
        work=functools.partial(gather_runs, folder=folder, keep_copies=False),
        output=output,
        executor=executor,
        workers=3,
    ).counts
    gathered = [folder / f"{task.name}.arrows" for task in tasks]
    buckets = _bucket_tasks(output / ".work" / "runs.json", gathered, counts, BUCKET)
    run_job(
        name="merge",
        tasks=buckets,
        work=functools.partial(merge_bucket, output=output, write_rejects=False),
        output=output,
        executor=executor,
        workers=3,
    )


def with_ray_data(strategy: str) -> Callable[[list[Path], Path], None]:
    """Return an engine by Ray Data."""

    def run(runs: list[Path], output: Path) -> None:
        import ray.data
        from ray.data.context import DataContext, ShuffleStrategy

        context = DataContext.get_current()
        context.shuffle_strategy = ShuffleStrategy[strategy]
        context.enable_progress_bars = False
        counts = ray.data.from_items([str(path) for path in runs]).map_batches(_count, batch_size=8)
        totals: dict[str, int] = {}
        for row in counts.iter_rows():
            totals[row["language"]] = totals.get(row["language"], 0) + row["count"]
        buckets = {language: count_buckets(count, BUCKET) for language, count in totals.items()}
        rows = ray.data.from_items([str(path) for path in runs]).map_batches(
            _Read(buckets), batch_size=8, batch_format="pyarrow"
        )
        grouped = rows.groupby(["language", "bucket"], num_partitions=12)
        grouped.map_groups(_writer(str(output)), batch_format="pyarrow").materialize()

    return run


def _tables(paths: Any) -> list[pa.Table]:
    tables = []
    for path in paths:
        with open(str(path), "rb") as file:  # noqa: PTH123
            tables.append(pa.ipc.open_stream(file).read_all())
    return tables


def _count(batch: dict[str, Any]) -> dict[str, Any]:
    table = pa.concat_tables(_tables(batch["item"]))
    keys = [key[:24].rstrip(b"\0").decode() for key in table["key"].to_pylist()]
    names, counts = np.unique(np.array(keys, object).astype(str), return_counts=True)
    return {"language": names, "count": counts}


class _Read:
    """Reads runs, and says which bucket each sentence goes to."""

    def __init__(self, buckets: dict[str, int]) -> None:
        self.buckets = buckets

    def __call__(self, batch: pa.Table) -> pa.Table:
        table = pa.concat_tables(_tables(batch["item"].to_pylist()))
        keys = table["key"].to_pylist()
        languages = [key[:24].rstrip(b"\0").decode() for key in keys]
        places = [
            int.from_bytes(key[24:32], "big") * self.buckets[language] >> 64
            for key, language in zip(keys, languages, strict=True)
        ]
        table = table.set_column(0, "key", pa.array(keys, pa.binary()))
        return table.append_column("language", pa.array(languages)).append_column(
            "bucket", pa.array(places)
        )


def _writer(output: str) -> Callable[[pa.Table], pa.Table]:
    """Return what drops the copies in a group, and writes it."""

    def write(group: pa.Table) -> pa.Table:
        table = group.sort_by("key").combine_chunks()
        keys = np.array([key[:32] for key in table["key"].to_pylist()], object)
        first = np.ones(len(keys), bool)
        first[1:] = keys[1:] != keys[:-1]
        table = table.filter(pa.array(first))
        hashes = [int.from_bytes(key[24:32], "big") for key in table["key"].to_pylist()]
        name = f"{group['language'][0].as_py()}/{group['bucket'][0].as_py():05d}.parquet"
        columns = [
            pa.array(hashes, pa.uint64())
            if field.name == "hash"
            else table[field.name].combine_chunks()
            for field in SENTENCES_SCHEMA
        ]
        with RowGroups(Path(output) / name, SENTENCES_SCHEMA) as file:
            file.add(pa.RecordBatch.from_arrays(columns, schema=SENTENCES_SCHEMA))
        return pa.table({"rows": [table.num_rows]})

    return write


def run_turn(
    engine: Callable[[list[Path], Path], None],
    runs: list[Path],
    output: Path,
    *,
    is_disturbed: bool,
) -> dict[str, Any]:
    """Run an engine on a new cluster."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "include_dashboard": False,
            "object_store_memory": 300 << 20,
        },
    )
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=300 << 20) for _ in range(2)]
    os.environ["RAY_ADDRESS"] = cluster.address
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    spent: dict[tuple[int, float], float] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.3):
            for process in psutil.Process().children(recursive=True):
                try:
                    times = process.cpu_times()
                    spent[process.pid, process.create_time()] = times.user + times.system
                except psutil.Error:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    killer = threading.Timer(
        KILL_SECONDS, lambda: cluster.remove_node(nodes[0], allow_graceful=False)
    )
    if is_disturbed:
        killer.start()
    begin, own, told = time.monotonic(), time.process_time(), ""
    try:
        engine(runs, output)
    except Exception as error:  # what an engine does when a node dies is what is asked
        told = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    wall, cpu = time.monotonic() - begin, time.process_time() - own
    if is_disturbed and killer.is_alive():
        told += " ended before the node was killed"
    killer.cancel()
    ended.set()
    watcher.join()
    ray.shutdown()
    cluster.shutdown()
    return {"wall": wall, "cpu": cpu + sum(spent.values()), "told": told or "finished"}


def digests(output: Path) -> dict[str, str]:
    """Return a digest of each file of the output."""
    return {
        str(path.relative_to(output)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(output.glob("*_*/*.parquet"))
    }


if __name__ == "__main__":
    sys.exit(main())
