"""Two jobs in an object store, as a process that can be killed: `store_work.py URL LOG`."""

import functools
import os
import sys
import time
from pathlib import Path

from corpus.files import write_text
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.stores import open_place

SHARDS = 12


def repeat(task: Task, *, output: Path, log: Path | None, seconds: float) -> Outcome:
    time.sleep(seconds)
    if log is not None:
        with log.open("a") as file:
            file.write(f"{task.name} {os.getpid()}\n")
    path = output / "parts" / f"{task.name}.txt"
    write_text(path, task.name * 1000)
    return Outcome(counts={"letters": len(task.name) * 1000}, outputs=(path,))


def join(task: Task, *, output: Path) -> Outcome:
    path = output / "all.txt"
    write_text(path, "".join(one.read_text() for one in task.inputs))
    return Outcome(outputs=(path,))


def run(output: Path, log: Path | None = None, seconds: float = 0.0) -> list[Summary]:
    tasks = [Task(name=f"shard{number:02d}", inputs=()) for number in range(SHARDS)]
    work = functools.partial(repeat, output=output, log=log, seconds=seconds)
    first = run_job(name="repeat", tasks=tasks, work=work, output=output)
    parts = tuple(output / "parts" / f"{task.name}.txt" for task in tasks)
    task = Task(name="all", inputs=parts)
    work = functools.partial(join, output=output)
    return [first, run_job(name="join", tasks=[task], work=work, output=output)]


if __name__ == "__main__":
    run(open_place(sys.argv[1]), Path(sys.argv[2]), seconds=0.15)
