"""Tasks handed out in batches: small ones share the way to a worker and the wait for its disk."""

from collections import Counter, deque
from collections.abc import Sequence

from corpus.jobs.tasks import Result, Task

DEATHS_ALLOWED = 1
"""A task whose worker dies is retried once; a second death is blamed on the task."""

BATCH_SECONDS = 10.0
"""A worker begins no further task of its batch after so long, and gives those left back."""

_MOST_TASKS = 512


class Batches:
    """The tasks of a job that are not handed out.

    Nobody knows beforehand how long tasks take: batches double while workers finish them early, and
    a worker gives back what it did not come to, so that others can do it.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._waiting = deque(tasks)
        self._alone: set[str] = set()
        """Tasks of a batch whose worker died, which one of them may have caused."""
        self._size = 1
        self.deaths: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self, places: int) -> tuple[Task, ...]:
        """Return the next tasks for one of so many workers; none of them has many at the end."""
        size = max(1, min(self._size, len(self._waiting) // (2 * places)))
        batch: list[Task] = []
        while self._waiting and len(batch) < size:
            if self._waiting[0].name in self._alone:
                return tuple(batch) or (self._waiting.popleft(),)
            batch.append(self._waiting.popleft())
        return tuple(batch)

    def ended(self, batch: Sequence[Task], results: Sequence[Result]) -> None:
        """Take back what a worker did not come to."""
        if len(results) < len(batch):
            self._size = max(1, len(results))
            self._waiting.extendleft(reversed(batch[len(results) :]))
        elif len(batch) == self._size:
            self._size = min(2 * self._size, _MOST_TASKS)

    def died(self, batch: Sequence[Task]) -> bool:
        """Take back a batch whose worker died; return False for one task that is to blame."""
        if len(batch) == 1:
            self.deaths[batch[0].name] += 1
            if self.deaths[batch[0].name] > DEATHS_ALLOWED:
                return False
        else:
            self._alone.update(task.name for task in batch)
        self._waiting.extend(batch)
        return True
