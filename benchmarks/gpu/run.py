"""All that is to be measured on a GPU, in one command of at most ten minutes.

    benchmarks/gpu/prepare.sh                                                # with a network
    python benchmarks/gpu/run.py --wheels benchmarks/gpu/wheels --output DIR # where the GPU is
    python benchmarks/gpu/run.py --output DIR --device cpu --tiny            # the same code

Parts run one after the other, the most valuable first, each in a process with a time limit of its
own, so that one that fails or hangs does not take the others with it. A part writes each figure as
soon as it has it. After each part `DIR/results.json` and `DIR/results.md` are written anew: a cut
leaves what was done. Needed are torch and the packages that `prepare.sh` gathers; transformers is a
peer where it is installed. Exits with 1 if a part failed or a tolerance was exceeded.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PARTS = {
    "correctness": 60,
    "layers": 60,
    "training": 170,
    "translation": 60,
    "search": 150,
    "processes": 90,
}
"""Seconds that each part may take on a GPU."""

CPU_PATIENCE = 10
"""How many times longer parts may take on a CPU."""


def main() -> None:
    """Run the parts, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="Sizes for a CPU.")
    parser.add_argument("--wheels", type=Path, help="What prepare.sh gathered.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=570, help="For all parts together.")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path[:0] = [str(HERE), str(ROOT)]
    if arguments.only:
        run_part(arguments.only, arguments)
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.wheels:
        install_wheels(arguments.wheels, arguments.output)
    began, on_gpu = time.monotonic(), arguments.device == "cuda"
    results: dict[str, Any] = {"command": sys.argv, "parts": {}}
    for part in arguments.parts:
        left = arguments.seconds - (time.monotonic() - began)
        seconds = min(PARTS[part], left) if on_gpu else CPU_PATIENCE * PARTS[part]
        results["parts"][part] = start_part(part, arguments, seconds)
        write(results, arguments.output)
    print((arguments.output / "results.md").read_text(encoding="utf-8"))
    if any(is_bad(part) for part in results["parts"].values()):
        sys.exit(1)


def install_wheels(wheels: Path, output: Path) -> None:
    """Put wheels beside the results, without a network."""
    target = output / "packages"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
               "--upgrade", "--target", str(target)]  # fmt: skip
    command += map(str, sorted(wheels.glob("*.whl")))
    subprocess.run(command, check=True)


def start_part(part: str, arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Run a part in a process of its own; return its rows and how it ended."""
    rows = arguments.output / f"{part}.jsonl"
    rows.unlink(missing_ok=True)
    command = [sys.executable, str(Path(__file__).resolve()), "--only", part, "--output",
               str(arguments.output), "--device", arguments.device, "--seconds", str(seconds),
               *(["--tiny"] if arguments.tiny else [])]  # fmt: skip
    packages = arguments.output.resolve() / "packages"
    # Behind what the machine has: its own numpy and torch come first.
    behind = f"import sys; sys.path.append({str(packages)!r})\n"
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "8")}
    if packages.exists():
        site = arguments.output.resolve() / "site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(behind, encoding="utf-8")
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
    began = time.monotonic()
    log = arguments.output / f"{part}.log"
    end = "no time was left"
    if seconds > 1:
        with log.open("w", encoding="utf-8") as file:
            # A group of its own, so that a cut ends what the part has started, too.
            child = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=environment,
                start_new_session=True,
            )  # fmt: skip
            try:
                code = child.wait(seconds)
                end = "done" if code == 0 else f"failed with {code}"
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                end = f"cut after {seconds:.0f} s"
    found = rows.read_text(encoding="utf-8").splitlines() if rows.exists() else []
    result = {"end": end, "seconds": round(time.monotonic() - began, 1),
              "rows": [json.loads(row) for row in found]}  # fmt: skip
    if end != "done" and log.exists():
        result["log"] = log.read_text(encoding="utf-8", errors="replace")[-3000:]
    return result


def run_part(part: str, arguments: argparse.Namespace) -> None:
    """Run a part here."""
    started = time.monotonic()
    import torch
    from harness import Setting

    if arguments.device == "cpu":
        torch.set_num_threads(1)
    setting = Setting(
        torch.device(arguments.device), arguments.tiny, arguments.output / f"{part}.jsonl", started,
        arguments.seconds,
    )  # fmt: skip
    importlib.import_module(part).run(setting)


def row_fault(row: dict[str, Any]) -> str | None:
    """Return what is wrong with a row: a tolerance that its value exceeds."""
    if "limit" in row and not row["value"] <= row["limit"]:
        return f"above {row['limit']}"
    if "floor" in row and not row["value"] >= row["floor"]:
        return f"below {row['floor']}"
    return None


def is_bad(part: dict[str, Any]) -> bool:
    """Whether a part failed or exceeded a tolerance; a cut is not a fault."""
    return part["end"].startswith("failed") or any(map(row_fault, part["rows"]))


def write(results: dict[str, Any], output: Path) -> None:
    """Write what is known so far, as JSON and as a table."""
    results["machine"] = machine()
    (output / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    lines = [f"{results['machine']}", "", "| part | what | value | ratio | remark |",
             "|---|---|---|---|---|"]  # fmt: skip
    for name, part in results["parts"].items():
        for row in part["rows"]:
            lines.append(table_line(name, row))
        lines.append(f"| {name} | all | {part['seconds']:.0f} s | | {part['end']} |")
    (output / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def table_line(part: str, row: dict[str, Any]) -> str:
    """Return a row of the table."""
    if "skipped" in row:
        return f"| {part} | {row['what']} | not run | | {row['skipped']} |"
    bounds = {"limit": "at most", "floor": "at least", "goal": "goal"}
    remarks = [f"{word} {row[name]}" for name, word in bounds.items() if name in row]
    remarks += [row["note"]] if "note" in row else []
    fault = row_fault(row)
    if fault:
        remarks.insert(0, f"**{fault}**")
    ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
    value = f"{row['value']:.4g} {row['unit']}"
    return f"| {part} | {row['what']} | {value} | {ratio} | {', '.join(remarks)} |"


def machine() -> str:
    """Return hardware, versions and commit in a line."""
    code = (
        "import torch; c = torch.cuda.is_available();"
        "print(torch.cuda.get_device_name() if c else 'no GPU', torch.__version__, sep=', torch ')"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    words = [found.stdout.strip(), f"Python {platform.python_version()}"]
    return ", ".join([*words, f"commit {commit.stdout.strip() or 'unknown'}"])


if __name__ == "__main__":
    main()
