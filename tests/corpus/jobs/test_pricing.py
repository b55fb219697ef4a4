"""Dry runs: what a job will cost, from running it on parts."""

import functools
import json
from pathlib import Path

import pytest

from corpus.errors import DataError, JobError
from corpus.files import read_lines, write_lines
from corpus.jobs import pricing
from corpus.jobs.pricing import Cut, Price, Trial, describe_price, finished, price_job, spread
from corpus.jobs.run import Outcome, Task, run_job

BYTES_A_LINE = 100
TURNS_A_LINE = 20_000


def repeat_lines(task: Task, output: Path) -> Outcome:
    """Do work and write bytes in proportion to the lines; hold them all."""
    lines = read_lines(task.inputs[0])
    held = [line * BYTES_A_LINE for line in lines]
    for _ in lines:
        sum(range(TURNS_A_LINE))
    if "bad" in lines:
        raise DataError("a bad line")
    path = output / f"{task.name}.txt"
    write_lines(path, [text[: BYTES_A_LINE - 1] for text in held])
    return Outcome(counts={"lines": len(lines), "other": 1}, outputs=(path,), problem="cut")


def run_part(part: Path, output: Path) -> None:
    tasks = [Task(name=path.stem, inputs=(path,)) for path in sorted(part.iterdir())]
    run_job(
        name="repeat",
        tasks=tasks,
        work=functools.partial(repeat_lines, output=output),
        output=output,
    )


def cut_lines(size: int, folder: Path, line: str) -> Cut:
    write_lines(folder / "part.txt", [line] * size)
    return Cut(size, size)


def trial(shards: dict[str, int], done: frozenset[str] = frozenset(), line: str = "x") -> Trial:
    return Trial(
        command="repeat",
        unit="lines",
        shards=shards,
        done=done,
        cut=functools.partial(cut_lines, line=line),
        run=run_part,
        first=50,
        workers=2,
        counts=("lines",),
        assumptions=("All lines are alike.",),
    )


@pytest.fixture(scope="module")
def price() -> Price:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pricing, "MEASURE_SECONDS", 0.1)
        return price_job(trial({"a": 100_000, "b": 300_000, "c": 999}, frozenset({"c"})))


def test_disk_and_counts_grow_with_what_is_to_do(price: Price) -> None:
    assert price.units_to_do == 400_000
    assert price.done == ("c",)
    stage = price.stages["repeat"]
    assert stage.counts == {"lines": 400_000}
    assert stage.disk_bytes == 400_000 * BYTES_A_LINE


def test_parts_grow_until_one_took_long_enough(price: Price) -> None:
    assert 50 < price.sample_units < price.units_to_do
    assert price.stages["repeat"].core_hours > 0
    assert price.hours > 0
    assert price.peak_memory_mb > 1


def test_a_price_is_told_to_people_and_to_machines(price: Price) -> None:
    told = describe_price(price)
    assert "c           999  done" in told
    assert "2 of 3 shards to do, 400,000 lines" in told
    assert "- All lines are alike." in told
    assert json.loads(json.dumps(price.as_json()))["stages"]["repeat"]["gpu_hours"] == 0


def test_long_lists_of_shards_are_shortened_for_people_only() -> None:
    shards = {f"s{i}": 1 for i in range(50)}
    price = price_job(trial(shards, frozenset(shards)))
    assert "… and 10 more; --json has all" in describe_price(price)
    assert "Nothing to do." in describe_price(price)
    assert len(price.as_json()["shards"]) == 50


def test_a_part_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(JobError, match="a bad line"):
        price_job(trial({"a": 100}, line="bad"))


def test_finished_shards_are_those_with_a_receipt_of_no_damage(tmp_path: Path) -> None:
    tasks = [Task(name=name, inputs=()) for name in "ab"]
    with pytest.raises(JobError, match="torn"):
        run_job(
            name="job",
            tasks=tasks,
            output=tmp_path,
            work=lambda task: Outcome(problem="torn" if task.name == "b" else ""),
        )
    assert finished(tmp_path, "job", "abc") == {"a"}


def test_samples_are_taken_from_all_along() -> None:
    assert spread(range(3), 8) == [0, 1, 2]
    assert spread(range(100), 4) == [12, 37, 62, 87]
    assert spread([], 4) == []
