"""How long the steps took, over all runs: a line of JSON each time a step's command ended."""

import json
from pathlib import Path
from typing import NamedTuple

FILE = "steps.jsonl"
"""Beside the outputs. What a killed run had begun is not in it."""


class Times(NamedTuple):
    """Of a step, over all attempts that ended."""

    seconds: float
    cpu_seconds: float


def note_time(output: Path, step: str, began: float, times: Times, code: int) -> None:
    """Note that the command of a step ended.

    Args:
        output: The directory of all steps.
        step: Its name.
        began: When it began, Unix time.
        times: What it took.
        code: Its exit code.
    """
    row = {
        "step": step,
        "began": round(began, 1),
        "seconds": round(times.seconds, 2),
        "cpu_seconds": round(times.cpu_seconds, 2),
        "exit_code": code,
    }
    with (output / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def step_times(output: Path) -> dict[str, Times]:
    """Return the times of each step that ended, by name."""
    found: dict[str, Times] = {}
    file = output / FILE
    for line in file.read_text("utf-8").splitlines() if file.is_file() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # cut by a kill
            continue
        sums = found.get(row["step"], Times(0.0, 0.0))
        found[row["step"]] = Times(
            sums.seconds + row["seconds"], sums.cpu_seconds + row["cpu_seconds"]
        )
    return found
