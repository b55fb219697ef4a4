"""Parses HTML in a separate process, so that no page can crash the work on a shard.

HTML parsers take quadratic time on some inputs (deep nesting, unclosed formatting, attributes by
the thousand) and are compiled code that cannot be interrupted. So pages are parsed in a child
process with a limit on its CPU time and memory; a page on which it dies is skipped, and the next
page gets a new child.
"""

from __future__ import annotations

import atexit
import os
import resource
import signal
import struct
import subprocess
import sys
from typing import IO

from corpus.crawl.page_text import PageText, page_text, require_resiliparse

MAX_PAGE_CHARACTERS = 8 << 20
"""Longer pages are not parsed. Crawls store at most 1 to 5 MiB of a page."""

MAX_PAGE_SECONDS = 5
"""CPU seconds for a page; the usual one takes milliseconds."""

_MAX_MEMORY_BYTES = 2 << 30
_PAGE = struct.Struct("<Q")
_ANSWER = struct.Struct("<QQ")
_OUT_OF_MEMORY = 3
_PROGRAM = "from corpus.crawl.page_process import serve; serve()"


class PageProcess:
    """Parses pages in a child process, which it starts when it is first needed."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def read(self, html: str) -> PageText | None:
        """Return the text of a page; None if it takes more time or memory than it may.

        Raises:
            UserError: If Resiliparse is not installed.
        """
        if len(html) > MAX_PAGE_CHARACTERS:
            return None
        require_resiliparse()
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        data = html.encode("utf-8", "replace")
        try:
            child.stdin.write(_PAGE.pack(len(data)) + data)
            child.stdin.flush()
            dropped, size = _ANSWER.unpack(_read(child.stdout, _ANSWER.size))
            return PageText(_read(child.stdout, size).decode("utf-8"), dropped)
        except (BrokenPipeError, EOFError):
            if child.wait() == 1:  # Python's own, for what it has said on stderr
                raise RuntimeError(f"a page could not be parsed: {html[:200]!r}") from None
            self.close()
            return None

    def _running(self) -> subprocess.Popen[bytes]:
        # A forked process must not talk to its parent's child.
        if self._child is None or self._owner != os.getpid():
            self._owner = os.getpid()
            self._child = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        return self._child

    def close(self) -> None:
        """End the child, if there is one."""
        if self._child is not None and self._owner == os.getpid():
            self._child.kill()
            self._child.communicate()
        self._child = None


PAGES = PageProcess()
"""The one of this process."""

atexit.register(PAGES.close)


def serve() -> None:
    """Read pages from standard input and write their texts to standard output, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle; it closes the pipe
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_AS, _MAX_MEMORY_BYTES)
    from resiliparse.parse.html.exception import HTMLParserException

    pages, answers = sys.stdin.buffer, sys.stdout.buffer
    while header := pages.read(_PAGE.size):
        data = _read(pages, _PAGE.unpack(header)[0])
        used = resource.getrusage(resource.RUSAGE_SELF)
        _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + MAX_PAGE_SECONDS + 1)
        try:
            text, dropped = page_text(data.decode("utf-8"))
            answer = text.encode("utf-8", "replace")
        except (MemoryError, HTMLParserException):  # which it raises where memory ends
            sys.exit(_OUT_OF_MEMORY)
        answers.write(_ANSWER.pack(dropped, len(answer)) + answer)
        answers.flush()


def _lower(limit: int, value: int) -> None:
    """Set a soft limit, within the hard one."""
    hard = resource.getrlimit(limit)[1]
    soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (soft, hard))


def _read(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
