"""The kinds of failure that the user can do something about.

Anything else that is raised is a bug or the environment and keeps its traceback.
"""

from collections.abc import Sequence


class TonguesError(Exception):
    """Base of all expected failures; the message says what went wrong, where, and what to do."""

    exit_code = 1


class UserError(TonguesError):
    """A mistake in a recipe or on the command line."""

    exit_code = 2


class DataError(TonguesError):
    """Input data that cannot be used as it is."""

    exit_code = 2


class JobError(TonguesError):
    """Some shards failed; the others are finished and kept."""

    exit_code = 3


class LimitError(TonguesError):
    """A figure that was measured is above the limit that was set for it."""

    exit_code = 3


class FetchError(TonguesError):
    """A download failed for an external reason: network, server, or a full disk."""

    exit_code = 1


class ShareDone(TonguesError):  # noqa: N818 - it ends the command well, with exit code 0
    """This process finished its share of a job; the next step waits for the other shares."""

    exit_code = 0


class BudgetSpent(TonguesError):  # noqa: N818 - it ends the command well, with exit code 0
    """A job's budget of CPU time is spent; what was begun is finished."""

    exit_code = 0

    def __init__(self, job: str, left: Sequence[str]) -> None:
        """Name the job and its tasks that were not begun."""
        super().__init__(job, left)
        self.job, self.left = job, tuple(left)

    def __str__(self) -> str:
        """Say what was left."""
        shown = ", ".join(self.left[:5]) + (", …" if len(self.left) > 5 else "")
        return f"{self.job}: the budget is spent; {len(self.left)} not begun: {shown}"


class Preempted(TonguesError):  # noqa: N818 - it ends the command well, for now
    """A scheduler's signal stopped a training after a checkpoint; run it again to resume."""

    exit_code = 143
    """128 + SIGTERM, whichever signal it was; schedulers and scripts requeue on it."""


class OtherProcessError(TonguesError):
    """Another process of the same job failed and reported it; this one reports nothing.

    Attributes:
        exit_code: That of the other.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code


class LostProcessError(TonguesError):
    """Another process of the same job ended without reporting an error."""

    exit_code = 1
