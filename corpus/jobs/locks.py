"""Locks between processes, on one machine or on several that share a file system.

POSIX record locks: the kernel frees them when their process ends, however it ends, and network file
systems pass them on to the server. One file holds all locks of a job, as ranges of one byte.
"""

import errno
import fcntl
import hashlib
import logging
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.files import make_directory

logger = logging.getLogger(__name__)

_HELD_ELSEWHERE = (errno.EACCES, errno.EAGAIN)
_NOT_SUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_FLOCK = "hhqqi0q"
"""`struct flock` of 64-bit Linux: type, whence, start, length, process."""


class LockFile:
    """An open lock file; the locks taken through it are freed when the block ends.

    A process that closes a lock file frees all its locks there, so it opens one once at a time.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = -1

    def take(self, name: str, *, wait: bool = False, is_shared: bool = False) -> bool:
        """Take the lock `name`; return whether that succeeded. See `hold_lock`."""
        return _lock(self._descriptor, _offset(name), wait, is_shared, self._file)

    def __enter__(self) -> "LockFile":
        make_directory(self._file.parent)
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


@contextmanager
def hold_lock(
    file: Path, name: str, *, wait: bool = False, is_shared: bool = False
) -> Iterator[bool]:
    """Hold the lock `name` of a lock file during the block; yield whether that succeeded.

    Where the file system has no locks, a warning is logged and the block runs without: two
    processes may then do the same work, and the later one replaces files with equal ones.

    Args:
        file: The lock file; it is made and stays.
        name: Name of the lock. A process does not lock itself out.
        wait: Whether to wait for another process that holds it.
        is_shared: Whether others may hold it in the same way. A process that closes a lock file
            frees all its locks there, so one that is held for long has a file of its own.
    """
    with LockFile(file) as locks:
        yield locks.take(name, wait=wait, is_shared=is_shared)


def is_held_elsewhere(file: Path, name: str) -> bool | None:
    """Return whether another process holds a lock, without taking it; None where none can tell."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _offset(name), 1, 0)
        told = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return bool(struct.unpack(_FLOCK, told)[0] != fcntl.F_UNLCK)


def _offset(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2  # within a signed 64-bit file offset


def _lock(descriptor: int, offset: int, wait: bool, is_shared: bool, file: Path) -> bool:
    operation = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
    if not wait:
        operation |= fcntl.LOCK_NB
    try:
        fcntl.lockf(descriptor, operation, 1, offset)
    except OSError as error:
        if error.errno in _HELD_ELSEWHERE:
            return False
        if error.errno not in _NOT_SUPPORTED:
            raise
        logger.warning(
            "%s: this file system has no locks (%s); do not run two jobs on this output at once",
            file,
            error.strerror,
        )
    return True
