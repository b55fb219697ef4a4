"""What `--dry-run` says a job will cost, against what the job then costs. No peer has such a thing.

    python benchmarks/dry_run.py --text DIR --lid DIR --encoder DIR --seed DIR --work DIR

TEXT has `<language>.txt[.gz]`; its lines become crawl shards of very unequal size. SEED has bitext.
Then `mining sentences`, `embed`, `mine` and `nmt tokenize` are priced and run with one worker each,
in the order in which they need each other's files; `--commands mine` prices and runs only that one.
Time is CPU time of the whole command; memory is its peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from corpus.console import format_table
from corpus.files import open_binary, read_lines

SHARDS = 8
LINES_A_DOCUMENT = 12
MEGABYTE = 1 << 20


def main() -> None:
    """Price and run the commands, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("text", "lid", "encoder", "seed", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--source", default="eng_Latn")
    parser.add_argument("--target", default="fra_Latn")
    parser.add_argument("--languages", type=int, default=0, help="Only the first of TEXT; 0: all.")
    parser.add_argument("--commands", default="", help="Names, by comma; all that there are.")
    given = parser.parse_args()
    commands = mining_commands(given) | tokenize_command(given)
    chosen = given.commands.split(",") if given.commands else list(commands)
    for name in chosen:
        output, words = commands[name]
        if name == "tokenize" and not (given.work / "vocabulary").exists():
            run("nmt", "vocabulary", "--bitext", given.seed, "--output", given.work / "vocabulary")
        told, asking, _ = run(*words, "--dry-run", "--json")
        price = json.loads(told)
        _, spent, memory = run(*words, "--json")
        # The same sum as the command's own, which has the start once for each worker.
        said = price["hours"] * 3600 * price["workers"]
        disk = sum(stage["disk_bytes"] for stage in price["stages"].values()) / MEGABYTE
        rows = [
            [name, "CPU s", said, spent],
            [name, "disk MB", disk, sum(map(disk_mb, output))],
            [name, "memory MB", price["peak_memory_mb"], memory],
            [name, "CPU s of the dry run", asking, None],
        ]
        print(format_table(["command", "what", "said", "was"], rows), flush=True)


Commands = dict[str, tuple[list[Path], list[object]]]
"""By name: where its outputs lie, and its words."""


def mining_commands(given: argparse.Namespace) -> Commands:
    """Return the jobs of mining that have a dry run."""
    work: Path = given.work
    shards = write_shards(given.text, work / "crawl", given.languages)
    one = ["--config", "workers=1"]
    sentences, embeddings = work / "sentences", work / "embeddings"
    mined = work / "mined" / f"{given.source}-{given.target}.parquet"
    words: dict[str, tuple[Path, list[object]]] = {
        "sentences": (sentences, [*shards, "--lid", given.lid, "--output", sentences, *one]),
        "embed": (
            embeddings,
            ["--sentences", sentences, "--encoder", given.encoder, "--output", embeddings, *one],
        ),
        "mine": (
            mined.parent,
            [
                "--sentences",
                sentences,
                "--embeddings",
                embeddings,
                "--source",
                given.source,
                "--target",
                given.target,
                "--output",
                mined,
                "--config",
                "margin_threshold=0",
            ],
        ),
    }
    return {name: ([path], ["mining", name, *rest]) for name, (path, rest) in words.items()}


def tokenize_command(given: argparse.Namespace) -> Commands:
    """Return `nmt tokenize` of the seed bitext."""
    output = given.work / "tokens"
    values = (
        f"vocabulary={given.work / 'vocabulary'}",
        f"bitext.primary=[{given.seed}]",
        "data.workers=1",
    )
    config = [word for value in values for word in ("--config", value)]
    return {"tokenize": ([output], ["nmt", "tokenize", "--output", output, *config])}


def write_shards(text: Path, folder: Path, languages: int) -> list[Path]:
    """Write documents of some lines to shards, the last one eight times the first."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"s{number}.jsonl.gz" for number in range(SHARDS)]
    if all(path.exists() for path in paths):
        return paths
    owners = [number for number in range(SHARDS) for _ in range(number + 1)]
    shards: list[list[str]] = [[] for _ in range(SHARDS)]
    documents = 0
    for path in sorted(text.glob("*.txt*"))[: languages or None]:
        lines = read_lines(path)
        for start in range(0, len(lines), LINES_A_DOCUMENT):
            row = {"id": f"{path.name}/{start}", "text": "\n".join(lines[start : start + 12])}
            shards[owners[documents % len(owners)]].append(json.dumps(row))
            documents += 1
    for path, rows in zip(paths, shards, strict=True):
        with open_binary(path, "wb") as file:
            file.write("\n".join(rows).encode())
    return paths


def run(*arguments: object) -> tuple[str, float, float]:
    """Run a command; return its output, its CPU seconds and its peak memory in MB."""
    code = (
        "import json, resource, subprocess, sys; done = subprocess.run(sys.argv[1:]); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps([done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss]),"
        " file=sys.stderr)"
    )
    command = [str(Path(sys.executable).parent / "tongues"), *map(str, arguments)]
    result = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
    )
    status, seconds, kilobytes = json.loads(result.stderr.strip().split("\n")[-1])
    if status:
        raise SystemExit(result.stderr)
    return result.stdout, seconds, kilobytes / 1024


def disk_mb(output: Path) -> float:
    """Return the size of a directory without its receipts, in MB."""
    files: list[Any] = [path for path in output.rglob("*") if path.is_file()]
    return sum(p.stat().st_size for p in files if "receipts" not in p.parts) / MEGABYTE


if __name__ == "__main__":
    main()
