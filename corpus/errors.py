"""The kinds of failure a person can do something about.

Anything else that is raised is a bug or the environment and keeps its traceback.
"""


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
    """Some shards failed; the others are finished and are kept."""

    exit_code = 3


class FetchError(TonguesError):
    """A download failed for a reason outside: no network, a server's refusal, no room."""

    exit_code = 1


class ShareDone(TonguesError):  # noqa: N818 - it ends the command well, with exit code 0
    """This process did its share of a job; what follows waits for the shares of others."""

    exit_code = 0


class Preempted(TonguesError):  # noqa: N818 - it ends the command well, for now
    """A signal of the scheduler stopped a training after a checkpoint; it is to be run again."""

    exit_code = 143
    """128 + SIGTERM, whichever signal it was; schedulers and scripts requeue on it."""


class OtherProcessError(TonguesError):
    """Another of the processes that work together failed, and has said why; this one says nothing.

    Attributes:
        exit_code: That of the other.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code


class LostProcessError(TonguesError):
    """Another of the processes that work together is gone without a word."""

    exit_code = 1
