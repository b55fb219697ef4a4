"""Tasks for the tests of executors, where workers can import them."""

import os
import signal
import time
from pathlib import Path

from corpus.files import read_lines, write_lines
from corpus.jobs.tasks import Outcome, Task


def tasks(count: int = 6) -> list[Task]:
    return [Task(name=f"t{i}", inputs=()) for i in range(count)]


def write_name(task: Task, output: Path) -> Outcome:
    path = output / f"{task.name}.txt"
    write_lines(path, [task.name])
    return Outcome(counts={"lines": 1}, outputs=(path,))


def die_on(task: Task, output: Path, name: str, deaths: int) -> Outcome:
    """Kill this process when it does the task of that name, the first few times."""
    before = output / f"{task.name}.deaths"
    seen = len(read_lines(before)) if before.exists() else 0
    if task.name == name and seen < deaths:
        write_lines(before, ["dead"] * (seen + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return write_name(task, output)


class OddError(Exception):
    """Cannot be made from its message alone, so it does not survive pickling."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def stumble(task: Task, error: Exception | None) -> Outcome:
    if error is None:
        raise OddError("one", "two")
    raise error


def slowly(task: Task, output: Path, seconds: float) -> Outcome:
    time.sleep(seconds)
    return write_name(task, output)


def results(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(output.glob("*.txt"))}
