"""CPU seconds in which commands start: here and in another clone, in turn, whole processes.

    python benchmarks/start_up.py --model DIR [--other CLONE] [--runs 3]

`--model` is a small translation model. `--other` is a clone of another commit; both run with this
Python. The least of the runs is printed, user and system time of the process and its children. Each
command runs once before, so that compiled files are there, whether or not `PYTHONDONTWRITEBYTECODE`
is set. `import torch` is the floor of whatever translates or trains.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from corpus.console import format_table

ROOT = Path(__file__).resolve().parent.parent

_START = "import sys; import tongues; sys.exit(tongues.main(sys.argv[1:]))"
_TRAINING = "import torch, nmt.training.train, nmt.training.recipe"


def main() -> None:
    """Run every command in both clones by turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--other", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    roots = [ROOT, *([options.other.resolve()] if options.other else [])]
    model = str(options.model.resolve())
    pair = ("--source", "qaa_Latn", "--target", "qab_Latn")
    commands: dict[str, tuple[list[str], str]] = {
        "import torch": ([], "import torch"),
        "tongues --help": (["--help"], ""),
        "nmt translate, no model": (["nmt", "translate", "--model", "nothing", *pair], ""),
        "nmt train, no config": (["nmt", "train", "--output", "nothing"], ""),
        "nmt translate, one line": (["nmt", "translate", "--model", model, *pair], "a\n"),
        "import of the training recipe": ([], _TRAINING),
    }
    rows = []
    for name, (arguments, text) in commands.items():
        code, text = (_START, text) if arguments else (text, "")
        times: dict[Path, list[float]] = {root: [] for root in roots}
        for _ in range(options.runs + 1):
            for root in roots:
                times[root].append(cpu_seconds(root, code, arguments, text))
        rows.append([name, *(f"{min(times[root][1:]):.2f}" for root in roots)])
    print(format_table(["CPU seconds", "here", *(["other"] if options.other else [])], rows))


def cpu_seconds(root: Path, code: str, arguments: list[str], text: str) -> float:
    """Return the CPU time of one run, in an empty directory."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments], input=text.encode(), cwd=folder,
            env=environment, capture_output=True, check=False,
        )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
