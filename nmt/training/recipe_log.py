"""Redirects the log of fairseq2, which configures logging itself."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def log_in_file_only() -> Iterator[None]:
    """Send fairseq2's log lines to a file, without environment variables.

    fairseq2 replaces the handlers of the root logger, and would log every environment variable,
    secrets too.
    """
    root, library, ours = (logging.getLogger(name) for name in (None, "fairseq2", "nmt"))
    before = [(log, list(log.handlers), log.level, log.propagate) for log in (root, library, ours)]
    ours.handlers[:] = root.handlers
    ours.propagate = False
    # Without a handler, before its file is open, the library would fall back to standard error.
    library.handlers[:] = [logging.NullHandler()]
    library.setLevel(logging.INFO)
    library.propagate = False
    library.addFilter(_is_not_environment)
    root.addFilter(_is_not_zero)
    try:
        with warnings.catch_warnings(record=True):
            yield
    finally:
        for handler in library.handlers:
            handler.close()
        library.removeFilter(_is_not_environment)
        root.removeFilter(_is_not_zero)
        for log, handlers, level, propagates in before:
            log.handlers[:] = handlers
            log.setLevel(level)
            log.propagate = propagates


def _is_not_environment(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Environment Variables")


def _is_not_zero(record: logging.LogRecord) -> bool:
    """Whether a record is not torcheval's false warning about a mean of 0."""
    return not record.getMessage().startswith("No calls to update()")
