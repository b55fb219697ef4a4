"""Findings while a shard is read: counts, damage, and its place."""

import logging
from collections import Counter

logger = logging.getLogger(__name__)

_LOGGED_DEFECTS = 5


class Findings:
    """Counts of what a shard holds, and the first reason why part of it could not be read.

    Attributes:
        counts: Counts by kind.
        problem: Why part of the shard could not be read; empty if all of it could.
    """

    def __init__(self, name: str, *, is_logged: bool = True) -> None:
        self._name = name
        self._is_logged = is_logged
        self.counts: Counter[str] = Counter()
        self.problem = ""

    def skip(self, reason: str, offset: int, what: str) -> None:
        """Count what was skipped; log the place of the first few."""
        self.counts[reason] += 1
        if self._is_logged and self.counts[reason] <= _LOGGED_DEFECTS:
            logger.warning("%s: byte %d: %s; skipped", self._name, offset, what)

    def note(self, problem: str) -> None:
        """Note why part of the shard could not be read; the first note is kept."""
        if not self.problem:
            self.problem = f"{self._name}{problem}"

    def note_error(self, error: Exception) -> None:
        """Note an error whose message names the shard."""
        if not self.problem:
            self.problem = str(error)

    def decode(self, data: bytes) -> str:
        """Return UTF-8 as text; what is invalid becomes U+FFFD and is counted."""
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            self.counts["invalid_utf8"] += 1
            return data.decode("utf-8", "replace")
