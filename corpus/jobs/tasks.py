"""The parts of a job: tasks, their outcomes, and the results that executors return."""

import dataclasses
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus.errors import TonguesError
from corpus.remote import RemoteFile


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One shard of a job."""

    name: str
    """Names the receipt; may contain `/`, as in `fra_Latn/0007`."""

    inputs: tuple[Path, ...]
    """Files whose content the result depends on."""

    remote: tuple[RemoteFile, ...] = ()
    """Such files that are not on this machine."""

    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Other values that it depends on, as plain JSON."""

    @property
    def files(self) -> tuple[Path | RemoteFile, ...]:
        """All files, as the receipt lists them."""
        return (*self.inputs, *self.remote)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one task did."""

    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Records in, records out and rejects by reason."""

    outputs: tuple[Path, ...] = ()
    """Files it wrote, each whole."""

    problem: str = ""
    """Damage in the input. What could be read is kept, and the shard is reported as failed."""


@dataclasses.dataclass(frozen=True)
class Done:
    """The task has its receipt."""

    problem: str = ""
    """As in `Outcome`."""

    peak_memory_mb: float = 0.0
    """Of the process that did it, since that process started."""


@dataclasses.dataclass(frozen=True)
class Failed:
    """The task's data cannot be used, or its worker died."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Busy:
    """Another process is doing the task at this moment."""


@dataclasses.dataclass(frozen=True)
class Raised:
    """The task hit a bug, a mistake of the user, or a full disk, which ends the whole job."""

    error: Exception

    def __reduce__(self) -> tuple[type["Raised"], tuple[Exception]]:
        """Send the error to another process with its traceback, which pickling would lose."""
        error = self.error
        told = "In a worker process:\n" + "".join(traceback.format_exception(error))
        # Exceptions of other packages may not survive the way: their text does.
        if not isinstance(error, TonguesError) and type(error).__module__ != "builtins":
            error = RuntimeError(f"{type(error).__name__}: {error}")
        error.add_note(told)
        return Raised, (error,)


@dataclasses.dataclass(frozen=True)
class Postponed:
    """The task was not begun: the job's budget is spent."""


Result = Done | Failed | Busy | Raised | Postponed

TaskAttempt = Callable[[Sequence[Task]], Sequence[Result]]
"""Does tasks in turn and returns their results: of at least the first, not necessarily of all."""
