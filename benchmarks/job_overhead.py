"""What a job costs besides its work: CPU a shard, files and bytes, and a finished job run again.

    python benchmarks/job_overhead.py [--shards 200,2000,20000] [--workers 1] [--other CLONE]

Each shard copies a line to one output; all depend on a model file of 8 MiB as well, and the config
has 60 keys. The same copies without a job are subtracted from the job's CPU time, user and system,
of all processes. A finished job and `tongues status`, where there is that command, are run in
processes of their own, whose peak memory is read. `--other` is a clone of another commit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from corpus.console import format_table

ROOT = Path(__file__).resolve().parent.parent
MODEL_BYTES = 8 << 20

WORK = """
from dataclasses import make_dataclass
from pathlib import Path
from corpus.files import write_lines
from corpus.jobs import Outcome

Config = make_dataclass(
    "Config", [(f"setting_{i}", str, "a value of usual length") for i in range(60)], frozen=True
)

def copy(task):
    path = Path("out") / f"{task.name}.txt"
    write_lines(path, [task.inputs[0].read_text()])
    return Outcome(counts={"lines": 1, "kept": 1}, outputs=(path,))
"""

RUN = """
import sys, time
from pathlib import Path
from corpus.jobs import Task, run_job
from overhead_work import Config, copy

if __name__ == "__main__":
    kind, shards, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    tasks = [Task(name=f"shard-{i:05}", inputs=(Path(f"in/{i:05}.txt"), Path("model.bin")))
             for i in range(shards)]
    if kind == "alone":
        for task in tasks:
            copy(task)
    elif kind == "job":
        summary = run_job(name="copy", tasks=tasks, work=copy, output=Path("out"),
                          config=Config(), workers=workers)
        assert summary.counts == {"lines": shards, "kept": shards}, summary
"""


def main() -> None:
    """Measure every number of shards, here and in the other clone, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", default="200,2000,20000")
    parser.add_argument("--workers", default="1")
    parser.add_argument("--other", type=Path)
    options = parser.parse_args()
    roots = [ROOT, *([options.other.resolve()] if options.other else [])]
    rows = [
        measure(root, int(shards), int(workers))
        for workers in options.workers.split(",")
        for shards in options.shards.split(",")
        for root in roots
    ]
    print(format_table(list(rows[0]), [list(row.values()) for row in rows]))


def measure(root: Path, shards: int, workers: int) -> dict[str, object]:
    """Return the costs of one job."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for i in range(shards):
            (folder / "in" / f"{i:05}.txt").write_text(f"shard {i}", encoding="utf-8")
        (folder / "model.bin").write_bytes(b"x" * MODEL_BYTES)
        (folder / "overhead_work.py").write_text(WORK, encoding="utf-8")
        (folder / "overhead_run.py").write_text(RUN, encoding="utf-8")

        def run(kind: str, count: int = shards) -> tuple[float, float, float]:
            return timed(root, folder, ["overhead_run.py", kind, str(count), str(workers)])

        start = run("alone", 0)[0]
        alone = run("alone")[0] - start
        for path in (folder / "out").iterdir():
            path.unlink()
        job, wall, _ = run("job")
        again, again_wall, again_memory = run("job")
        receipts = [path for path in (folder / "out" / "receipts").rglob("*") if path.is_file()]
        row: dict[str, object] = {
            "commit": commit_of(root),
            "workers": workers,
            "shards": shards,
            "work, CPU ms a shard": 1000 * alone / shards,
            "job, CPU ms a shard": 1000 * (job - start - alone) / shards,
            "job, wall s": wall,
            "files of receipts": len(receipts),
            "their bytes a shard": sum(path.stat().st_size for path in receipts) / shards,
            "again, CPU s": again,
            "again, wall s": again_wall,
            "again, MB": again_memory,
        }
        if (root / "corpus" / "jobs" / "status.py").exists():
            command = ["-m", "tongues", "status", "out", "--json"]
            _, row["status, wall s"], row["status, MB"] = timed(root, folder, command)
        print(json.dumps(row), file=sys.stderr)
        return row


def timed(root: Path, folder: Path, arguments: list[str]) -> tuple[float, float, float]:
    """Run Python; return CPU seconds of it and its children, wall seconds, peak MB of it."""
    probe = (
        "import os, resource, subprocess, sys, time; began = time.monotonic();"
        " process = subprocess.Popen([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL);"
        " _, status, usage = os.wait4(process.pid, 0);"
        " print(usage.ru_utime + usage.ru_stime, time.monotonic() - began,"
        " usage.ru_maxrss / 1024, status)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", probe, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{folder}"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    cpu, wall, memory, status = map(float, ran.stdout.split())
    if status:
        raise SystemExit(f"{arguments} ended with status {status:.0f} in {root}")
    return cpu, wall, memory


def commit_of(root: Path) -> str:
    """Return the commit of a clone, with a mark where files differ from it."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
