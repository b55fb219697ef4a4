"""Lines per second of language identification against a plain loop over fastText's `predict`.

    python benchmarks/lid_speed.py --model DIR --nllb DIR --flores DIR

MODEL and NLLB are the model directories that `lid_quality.py` trains: the defaults, and NLLB's
settings (dimension 256, a million buckets). Lines have 200 characters. The loop gets its lines
prepared beforehand; ours are prepared in the time measured. Everything is timed in turns, and the
median of the turns' ratios is printed.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from corpus.files import read_lines
from lid.engine.kernel import is_compiled, prepare_lines
from lid.fasttext_model.bindings import FastTextModel
from lid.identifier import LanguageIdentifier
from lid.identify import identify_blocks

ROOT = Path(__file__).parent.parent
CHARACTERS = 200
TURNS = 5


def main() -> None:
    """Time everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--nllb", type=Path, required=True)
    parser.add_argument("--flores", type=Path, required=True)
    arguments = parser.parse_args()
    lines = make_lines(arguments.flores)
    print(f"<!-- {len(lines):,} lines of {CHARACTERS} characters, compiled: {is_compiled()} -->")
    few = lines[::10]
    prepared = prepare_lines(few)
    baseline = FastTextModel(arguments.nllb / "model.bin")
    identifier = LanguageIdentifier.load(arguments.model)
    block = "\n".join(lines).encode("utf-8") + b"\n"
    plain = without_compiler(arguments.model, lines[::4])
    runs: dict[str, tuple[int, Callable[[], object]]] = {
        "loop over predict, dim 256": (len(few), lambda: loop(baseline, prepared)),
        "identify(lines), one process": (len(lines), lambda: identifier.identify(lines)),
        "tongues lid identify, one process": (
            len(lines) * 24,
            lambda: stream(block * 24, arguments.model, 1),
        ),
        "tongues lid identify, two processes": (
            len(lines) * 24,
            lambda: stream(block * 24, arguments.model, 2),
        ),
        "preparation alone": (len(lines), lambda: prepare_lines(lines)),
        "decoding and encoding alone": (
            len(lines),
            lambda: [line.encode("utf-8").decode("utf-8") for line in lines],
        ),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    rates["without a compiler"] = []
    for _ in range(TURNS):
        for name, (count, run) in runs.items():
            started = time.perf_counter()
            run()
            rates[name].append(count / (time.perf_counter() - started))
        rates["without a compiler"].append(plain())
    print("| what | lines/s | times the loop |\n|---|---|---|")
    base = rates["loop over predict, dim 256"]
    for name, own in rates.items():
        ratio = statistics.median(a / b for a, b in zip(own, base, strict=True))
        print(f"| {name} | {statistics.median(own):,.0f} | {ratio:.1f} |")
    one, two = (
        rates[f"tongues lid identify, {n} process{'es' * (n == 'two')}"] for n in ("one", "two")
    )
    gain = statistics.median(b / a for a, b in zip(one, two, strict=True))
    print(f"\nTwo processes against one: {gain:.2f} times.")
    memory(arguments.model, lines[:2_000])


def make_lines(flores: Path) -> list[str]:
    """Return lines of 200 characters in all languages of FLORES, in turn."""
    columns = []
    for path in sorted((flores / "devtest").glob("*.devtest")):
        text = " ".join(read_lines(path))
        columns.append([text[i : i + CHARACTERS] for i in range(0, 24_000, CHARACTERS)])
    return [line for row in zip(*columns, strict=False) for line in row if len(line) == CHARACTERS]


def loop(model: FastTextModel, prepared: Sequence[str]) -> list[object]:
    """Ask fastText line by line, as its documentation does; `predict` itself fails on NumPy 2."""
    predict = model._binding.predict
    return [predict(line + "\n", 1, 0.0, "strict") for line in prepared]


def stream(data: bytes, model: Path, processes: int) -> int:
    """Answer a byte stream, the loading of the model included; return the bytes written."""
    return sum(len(one.text) for one in identify_blocks(io.BytesIO(data), model, 1, processes))


def without_compiler(model: Path, lines: Sequence[str]) -> Callable[[], float]:
    """Return a function that gives the lines per second of the slower twin, in its own process."""
    code = (
        "import sys, time; from pathlib import Path;"
        "from lid.identifier import LanguageIdentifier;"
        "lines = sys.stdin.read().split('\\n');"
        f"one = LanguageIdentifier.load(Path({str(model)!r}));"
        "one.identify(lines[:10]);"  # makes its tables, as the loading of a model
        "start = time.perf_counter(); one.identify(lines);"
        "print(len(lines) / (time.perf_counter() - start))"
    )
    environment = {**os.environ, "TONGUES_NATIVE": "0", "PYTHONPATH": str(ROOT)}

    def run() -> float:
        done = subprocess.run(
            [sys.executable, "-c", code],
            input="\n".join(lines),
            env=environment,
            text=True,
            capture_output=True,
            check=True,
        )
        return float(done.stdout)

    return run


def memory(model: Path, lines: Sequence[str]) -> None:
    """Load the model in several processes and add up what they hold of it."""
    print("\n| processes | resident, sum | proportional, sum |\n|---|---|---|")
    context = multiprocessing.get_context("spawn")
    for number in (1, 4, 16):
        barrier = context.Barrier(number + 1)
        workers = [
            context.Process(target=hold, args=(model, list(lines), barrier)) for _ in range(number)
        ]
        for worker in workers:
            worker.start()
        barrier.wait()
        resident = proportional = 0
        for worker in workers:
            text = Path(f"/proc/{worker.pid}/smaps_rollup").read_text(encoding="utf-8")
            values = {row.split()[0]: int(row.split()[1]) for row in text.split("\n")[1:] if row}
            resident += values["Rss:"]
            proportional += values["Pss:"]
        barrier.wait()
        for worker in workers:
            worker.join()
        print(f"| {number} | {resident / 1024:,.0f} MB | {proportional / 1024:,.0f} MB |")


def hold(model: Path, lines: list[str], barrier: multiprocessing.Barrier) -> None:  # type: ignore[valid-type]
    """Load the model, use all of it, and wait to be measured."""
    identifier = LanguageIdentifier.load(model)
    identifier.identify(lines)
    barrier.wait()
    barrier.wait()
    del identifier


if __name__ == "__main__":
    main()
