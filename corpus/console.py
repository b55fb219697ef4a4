"""Output for the user while a job runs: log lines, progress, tables; all on standard error."""

import logging
import os
import sys
import time
import unicodedata
from collections.abc import Sequence
from types import TracebackType
from typing import Any

LINE_INTERVAL_SECONDS = 30.0


def set_up_logging(verbose: bool = False) -> None:
    """Send log records to standard error; the only place that sets handlers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for room in ("corpus", "lid", "mining", "nmt", "eval", "new_language", "tongues"):
        logging.getLogger(room).setLevel(logging.DEBUG if verbose else logging.INFO)


def _bar(total: int | None, description: str, unit: str) -> Any:
    from tqdm import tqdm  # a tenth of a second, and only terminals have bars

    return tqdm(total=total, desc=description, unit=f" {unit}")


class Progress:
    """A bar on a terminal, a line every 30 s otherwise, nothing on ranks above 0."""

    def __init__(self, total: int | None, description: str, unit: str) -> None:
        self._total = total
        self._description = description
        self._unit = unit
        self._done = 0
        self._started = time.monotonic()
        self._last_line = self._started
        self._silent = os.environ.get("RANK", "0") != "0"
        on_terminal = sys.stderr.isatty() and not self._silent
        self._bar = _bar(total, description, unit) if on_terminal else None
        self._logger = logging.getLogger("tongues")

    def update(self, count: int = 1) -> None:
        """Count `count` more units as done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
            return
        now = time.monotonic()
        if not self._silent and now - self._last_line >= LINE_INTERVAL_SECONDS:
            self._last_line = now
            self._logger.info("%s", self._line(now))

    def _line(self, now: float) -> str:
        rate = self._done / max(now - self._started, 1e-9)
        line = f"{self._description} {self._done:,}"
        if self._total is not None:
            line += f"/{self._total:,}"
        line += f" {self._unit}, {rate:,.1f}/s"
        if self._total is not None and rate > 0:
            line += f", {format_duration((self._total - self._done) / rate)} left"
        return line

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def format_duration(seconds: float) -> str:
    """Return a duration in readable form: `42 s`, `6 min 05 s`, `3 h 12 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as an aligned text table; numbers to the right, text to the left.

    Columns are aligned by what a terminal shows: wide characters take two places, combining ones
    none. Where standard output is a terminal, right-to-left text is isolated, so that it does not
    reorder the columns beside it.
    """
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    header = [_isolate(name) if is_terminal else name for name in header]
    cells = [[_cell(value) for value in row] for row in rows]
    if is_terminal:
        cells = [[_isolate(cell) for cell in row] for row in cells]
    numeric = [
        all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        for i in range(len(header))
    ]
    widths = [
        max([_width(header[i]), *(_width(row[i]) for row in cells)]) for i in range(len(header))
    ]
    lines = []
    for row in [list(header), ["-" * width for width in widths], *cells]:
        padded = [
            _pad(cell, width, is_number)
            for cell, width, is_number in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _pad(text: str, width: int, to_the_right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if to_the_right else text + space


def _width(text: str) -> int:
    """Return how many places of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
        if unicodedata.category(character) not in ("Mn", "Me", "Cf")
    )


def _isolate(text: str) -> str:
    """Return right-to-left text between the marks that keep its order to itself (UAX 9)."""
    if text.isascii() or not any(unicodedata.bidirectional(one) in ("R", "AL") for one in text):
        return text
    return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
