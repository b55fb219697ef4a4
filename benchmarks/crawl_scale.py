"""Cost of `mining sentences`, `embed` and `filter` over numbers of shards and of sentences.

    python benchmarks/crawl_scale.py --text DIR --work DIR [--cells 200x1e5,2000x1e5,...]
        [--lid DIR] [--against CHECKOUT] [--stages sentences,embed,filter] [--bucket-sentences N]

TEXT holds `<language>.txt.gz`, labeled text for language identification. Shards are JSON lines of
150 of its languages, commonest first as in a crawl (one over rank). A sentence is a line of TEXT,
or the beginning of one and the end of another; every fifth is one of a thousand that are
everywhere. So any number of sentences can be made, most of which are new. The identifier is the
builtin one or that of `--lid`. The encoder is a stand-in, whose vectors are random numbers made
from the text's hash: what is measured is reading, writing and the job. `filter` gets a bitext of
random pairs of the two largest languages, as many as the smaller of these has sentences.

Every stage is a process of its own; `sentences` has two workers. CPU is of all its processes,
start-up included. Memory is the largest resident set of the process, and of any of its workers.
Exponents are slopes of log(CPU less that of one shard with ten sentences) over log(size) between
cells that differ in one size. CHECKOUT is another version of this repository.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LANGUAGES = 150
DOCUMENT_SENTENCES = 10
COPY_SHARE = 0.2
COMMON = 7
"""Sentences of a language that are everywhere: a thousand in all."""

DIMENSION = 16
CELLS = "200x1e5,2000x1e5,20000x1e5,200x1e6,2000x1e6,2000x1e7"
STAGES = ("sentences", "embed", "filter")
PARTS = {
    "sentences": {
        "extract": (".work/shards/*",),
        "gather-1": (".work/gathered/**/*",),
        "merge": ("*_*/*.parquet",),
    },
    "embed": {"embed": ("*_*/*.npy",)},
    "filter": {"filter": ("*.parquet",)},
}
"""Jobs of each stage, and where their files are."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A size of the job."""

    shards: int
    sentences: int

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Read `200x1e5`."""
        shards, sentences = text.split("x")
        return cls(int(shards), int(float(sentences)))

    def __str__(self) -> str:
        """Return what `parse` reads."""
        return f"{self.shards}x{self.sentences:.0e}".replace("e+0", "e")


def main() -> None:
    """Run all cells, print a table and exponents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--cells", default=CELLS)
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--lid", default="builtin")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--bucket-sentences", type=int, default=2_000_000)
    parser.add_argument("--keep", action="store_true", help="keep shards and outputs")
    parser.add_argument("--turn", help="(what a stage's own process is given)")
    arguments = parser.parse_args()
    if arguments.turn:
        print(json.dumps(take_turn(arguments.turn, arguments)))
        return
    versions = {"this": ROOT}
    if arguments.against is not None:
        versions["before"] = arguments.against
    cells = [Cell(1, DOCUMENT_SENTENCES), *map(Cell.parse, arguments.cells.split(","))]
    rows: list[dict[str, Any]] = []
    print(
        "| version | shards | sentences | stage | CPU s | wall s | files | MB | driver MiB |"
        " worker MiB | buckets |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for cell in cells:
        shards = arguments.work / str(cell) / "shards"
        if not shards.exists():
            write_shards(shards, cell, arguments.text)
        for version, checkout in versions.items():
            output = shards.with_name(version)
            for stage in arguments.stages.split(","):
                row = run_turn(stage, checkout, shards, output, arguments)
                rows.append({"version": version, "cell": cell, "stage": stage, **row})
                print_row(rows[-1])
        if not arguments.keep:
            shutil.rmtree(shards.parent)
    print_exponents(rows)
    this = [row for row in rows if row["version"] == "this"]
    (arguments.work / "results.json").write_text(json.dumps(this, default=str, indent=1))
    print_units(this)


def print_units(rows: list[dict[str, Any]]) -> None:
    """Print what a sentence and a shard cost each job: differences of cells that differ in one."""
    print("\n| job | cells | of what | CPU µs | bytes |\n|---|---|---|---|---|")
    costs = {(job, row["cell"]): cost for row in rows for job, cost in row["jobs"].items()}
    for (job, one), cost in costs.items():
        for (other_job, other), more in costs.items():
            shards, count = other.shards - one.shards, other.sentences - one.sentences
            if (
                other_job != job
                or one.shards == 1
                or min(shards, count) < 0
                or max(shards, count) == 0
            ):
                continue
            if shards and count:
                continue
            units = (shards or count) / 1e6
            print(
                f"| {job} | {one} to {other} | {'shard' if shards else 'sentence'} |"
                f" {(more['cpu'] - cost['cpu']) / units:.1f} |"
                f" {(more['megabytes'] - cost['megabytes']) / units:.1f} |"
            )


def read_text(directory: Path) -> dict[str, list[str]]:
    """Return the lines of the languages with the largest files, the largest first."""
    files = sorted(directory.glob("*.txt.gz"), key=lambda path: (-path.stat().st_size, path.name))
    found = {}
    for path in files[:LANGUAGES]:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            found[path.name.split(".")[0]] = [line.strip() for line in file][:4000]
    return found


def write_shards(folder: Path, cell: Cell, text: Path) -> None:
    """Write the shards of a cell."""
    generator = random.Random(7)
    lines = read_text(text)
    languages = list(lines)
    weights = [1 / rank for rank in range(1, len(languages) + 1)]
    common = {
        code: [next(sentences(own, generator)) for _ in range(COMMON)]
        for code, own in lines.items()
    }
    made = folder.with_name("making")
    made.mkdir(parents=True)
    documents = max(1, cell.sentences // DOCUMENT_SENTENCES)
    length = cell.sentences // documents
    for shard in range(cell.shards):
        begin, end = (documents * part // cell.shards for part in (shard, shard + 1))
        rows = []
        for number in range(begin, end):
            code = generator.choices(languages, weights)[0]
            own = sentences(lines[code], generator)
            page = [
                generator.choice(common[code]) if generator.random() < COPY_SHARE else next(own)
                for _ in range(length)
            ]
            address = f"https://{code}.example/{number}"
            rows.append(json.dumps({"url": address, "text": "\n".join(page)}, ensure_ascii=False))
        path = made / f"crawl-{shard:06d}.jsonl"
        path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    made.rename(folder)


def sentences(lines: Sequence[str], generator: random.Random) -> Iterator[str]:
    """Yield lines, and ones made of two."""
    while True:
        first = generator.choice(lines)
        if generator.random() < 0.5:
            yield first
            continue
        second = generator.choice(lines)
        cut = " " if " " in first and " " in second else ""
        if cut:
            left, right = first.split(), second.split()
        else:
            left, right = list(first), list(second)
        begin = left[: generator.randint(1, len(left))]
        yield cut.join([*begin, *right[generator.randint(0, len(right) - 1) :]])


def run_turn(
    stage: str, checkout: Path, shards: Path, output: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Run one stage in a process of its own; return what it took."""
    command = [
        sys.executable, "-P", str(Path(__file__).resolve()), "--turn", stage,
        "--work", str(shards.parent), "--lid", arguments.lid,
        "--bucket-sentences", str(arguments.bucket_sentences),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OUTPUT": str(output)}
    done = subprocess.run(
        command,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    folder = output / stage
    files = [path for path in folder.rglob("*") if path.is_file()]
    row["files"] = len(files)
    row["megabytes"] = sum(path.stat().st_size for path in files) / 1e6
    row["buckets"] = len(list((output / "sentences").glob("*_*/*.parquet")))
    row["jobs"] = {job: job_cost(folder, job, parts) for job, parts in PARTS[stage].items()}
    return row


def job_cost(output: Path, job: str, parts: Sequence[str]) -> dict[str, float]:
    """Return the CPU seconds in the receipts of a job, and the megabytes that it wrote."""
    from corpus.jobs.logs import read_log

    entries = read_log(output / "receipts" / job).receipts.values()
    written = [path for part in parts for path in output.glob(part) if path.is_file()]
    return {
        "cpu": sum(entry.cpu_seconds for entry in entries),
        "megabytes": sum(path.stat().st_size for path in written) / 1e6,
    }


def take_turn(stage: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one stage in this process; return CPU and wall seconds and memory."""
    output = Path(os.environ["OUTPUT"])
    begin = time.monotonic()
    work: dict[str, Callable[..., object]] = {
        "sentences": run_sentences_stage,
        "embed": run_embed_stage,
        "filter": run_filter_stage,
    }
    started = work[stage](arguments, output) or 0.0
    own, workers = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {
        "cpu": sum(usage.ru_utime + usage.ru_stime for usage in (own, workers))
        - float(str(started)),
        "wall": time.monotonic() - begin,
        "driver": own.ru_maxrss / 1024,
        "worker": workers.ru_maxrss / 1024,
    }


def run_sentences_stage(arguments: argparse.Namespace, output: Path) -> None:
    """Run `mining sentences` with two workers."""
    from corpus.config import load_config
    from mining.sentences.config import SentencesConfig
    from mining.sentences.sentences import run_sentences
    from tongues import load_identifier

    is_new = "bucket_sentences" in SentencesConfig.__dataclass_fields__
    overrides = [f"bucket_sentences={arguments.bucket_sentences}"] if is_new else []
    shards = sorted((arguments.work / "shards").iterdir())
    config = load_config(SentencesConfig, overrides=overrides)
    run_sentences(shards, Path(arguments.lid), output / "sentences", config, load_identifier)


class StandIn:
    """Vectors of random numbers that depend on the text."""

    dimension = DIMENSION

    def encode(self, texts: Sequence[str], language: str) -> Any:
        """Return vectors of unit length, [N, 16]."""
        import hashlib

        import numpy as np

        digests = [hashlib.blake2b(text.encode(), digest_size=DIMENSION).digest() for text in texts]
        numbers = np.frombuffer(b"".join(digests), np.int8).reshape(-1, DIMENSION) + 0.5
        vectors = numbers / np.linalg.norm(numbers, axis=1, keepdims=True)
        return vectors.astype(np.float32)


def run_embed_stage(arguments: argparse.Namespace, output: Path) -> None:
    """Run `mining embed` with a stand-in for the encoder."""
    import mining.encoders.embed as module
    from mining.encoders.embed_config import EmbedConfig

    directory = output / "stand-in"
    directory.mkdir(exist_ok=True)
    (directory / "nothing").write_bytes(b"")
    module.load_encoder = lambda *_, **__: StandIn()  # type: ignore[assignment]
    module.encoder_files = lambda _: (directory / "nothing",)  # type: ignore[assignment]
    module.encoder_space = lambda _: "stand-in"  # type: ignore[assignment]
    config = EmbedConfig(workers=1, device="cpu", all_languages=True)
    module.run_embed(output / "sentences", directory, output / "embed", config)


def run_filter_stage(arguments: argparse.Namespace, output: Path) -> float:
    """Run `mining filter` over random pairs of the two largest languages; return other CPU."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from corpus.records import BITEXT_SCHEMA
    from mining.bitext.config import FilterConfig
    from mining.bitext.filter import FilterInputs, run_filter

    folders = [path for path in (output / "sentences").glob("*_*") if path.is_dir()]
    sizes = {path: sum(one.stat().st_size for one in path.glob("*.parquet")) for path in folders}
    pair = sorted(sorted(folders), key=lambda path: -sizes[path])[:2]
    if len(pair) < 2:
        pair *= 2
    texts, places = [], []
    for folder in pair:
        tables = [
            pq.read_table(path, columns=["text", "document"])
            for path in sorted(folder.glob("*.parquet"))
        ]
        table = pa.concat_tables(tables).combine_chunks()
        texts.append(table["text"])
        places.append(table["document"])
    rows = min(map(len, texts))
    columns = [
        pa.array([1.1] * rows, pa.float32()),
        *(one.slice(0, rows) for one in texts),
        *(one.slice(0, rows) for one in places),
    ]
    bitext = output / "bitext" / "eng_Latn-fra_Latn.parquet"
    bitext.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_arrays(columns, schema=BITEXT_SCHEMA), bitext)
    before = time.process_time()
    target = output / "filter" / bitext.name
    run_filter(bitext, target, FilterInputs(), FilterConfig(max_length_ratio=9.0))
    return before


def print_row(row: dict[str, Any]) -> None:
    """Print a row of the table."""
    cell = row["cell"]
    print(
        f"| {row['version']} | {cell.shards:,} | {cell.sentences:,} | {row['stage']} |"
        f" {row['cpu']:.1f} | {row['wall']:.1f} | {row['files']:,} | {row['megabytes']:.1f} |"
        f" {row['driver']:.0f} | {row['worker']:.0f} | {row['buckets']} |",
        flush=True,
    )


def print_exponents(rows: list[dict[str, Any]]) -> None:
    """Print exponents of CPU less start-up between cells that differ in one size."""
    print("\n| version | stage | from | to | exponent |\n|---|---|---|---|---|")
    keyed = {(row["version"], row["stage"], row["cell"]): row["cpu"] for row in rows}
    for (version, stage, cell), cpu in keyed.items():
        start = keyed.get((version, stage, Cell(1, DOCUMENT_SENTENCES)), 0.0)
        for (other_version, other_stage, other), other_cpu in keyed.items():
            if (other_version, other_stage) != (version, stage) or cell.shards == 1:
                continue
            grown = (other.shards / cell.shards, other.sentences / cell.sentences)
            if sorted(grown)[0] != 1.0 or max(grown) == 1.0:
                continue
            ratio = (other_cpu - start) / (cpu - start) if cpu > start else math.nan
            exponent = math.log(ratio) / math.log(max(grown)) if ratio > 0 else math.nan
            print(f"| {version} | {stage} | {cell} | {other} | {exponent:.2f} |")


if __name__ == "__main__":
    main()
