"""Batches of tasks: every task is handed out until it has ended, small ones together."""

from corpus.jobs.executors.batches import Batches
from corpus.jobs.tasks import Done, Task
from tests.corpus.jobs.executor_work import tasks


def names(batch: tuple[Task, ...]) -> list[str]:
    return [task.name for task in batch]


def test_many_small_tasks_are_few_batches_and_none_holds_many_at_the_end() -> None:
    batches = Batches(tasks(20_000))
    sizes = []
    while batches:
        batch = batches.take(64)
        sizes.append(len(batch))
        batches.ended(batch, [Done()] * len(batch))
    assert sum(sizes) == 20_000
    assert len(sizes) < 900
    assert sizes[0] == sizes[-1] == 1
    assert max(sizes) > 100


def test_what_a_worker_did_not_come_to_is_handed_out_next_in_smaller_batches() -> None:
    batches = Batches(tasks(100))
    for size in (1, 2, 4, 8):
        batch = batches.take(1)
        assert len(batch) == size
        batches.ended(batch, [Done()] * size)
    batch = batches.take(1)
    batches.ended(batch, [Done()] * 3)
    assert names(batches.take(1)) == names(batch)[3:6]


def test_tasks_of_a_batch_whose_worker_died_are_tried_alone() -> None:
    batches = Batches(tasks(12))
    first = batches.take(1)
    batches.ended(first, [Done()])
    lost = batches.take(1)
    assert names(lost) == ["t1", "t2"]
    assert batches.died(lost)
    alone = []
    while batches:
        batch = batches.take(1)
        alone += [batch] if set(names(batch)) & set(names(lost)) else []
        batches.ended(batch, [Done()] * len(batch))
    assert [names(batch) for batch in alone] == [["t1"], ["t2"]]
    assert batches.died(lost[:1])
    assert not batches.died(lost[:1])
    assert batches.deaths["t1"] == 2
