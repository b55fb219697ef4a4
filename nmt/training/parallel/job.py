"""A job of several processes: rank 0 keeps its receipt, the others follow."""

from collections.abc import Callable

from corpus.jobs import Outcome, Summary, Task
from nmt.training.parallel.world import World

_BEGUN, _ENDED = "job/begun", "job/ended"

Work = Callable[[Task], Outcome]


def run_together(
    world: World, task: Task, work: Work, job: Callable[[Work], Summary]
) -> Summary | None:
    """Do the work of a one-task job on all processes; return the result of rank 0.

    Rank 0 alone runs `job`, which checks config and receipt, calls the work if there is any, and
    writes the receipt. The others learn whether there is, do it too, and wait until all is written.
    """
    if not world.is_rank_zero:
        if world.wait_for(_BEGUN) == "yes":
            work(task)
        world.wait_for(_ENDED)
        return None
    has_begun = False

    def announce_and_work(task: Task) -> Outcome:
        nonlocal has_begun
        has_begun = True
        world.publish(_BEGUN, "yes")
        return work(task)

    summary = job(announce_and_work)
    if not has_begun:
        world.publish(_BEGUN, "no")
    world.publish(_ENDED, "yes")
    return summary
