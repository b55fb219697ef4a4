"""Random damage to small files, for the tests that fuzz, and a limit to their time."""

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager

ODD = [b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\t", b"\n", b"\r", b'"', b"[", b"{", b"&a",
       b"*a", b"!!int ", b"\xed\xa0\x80", b"9" * 40, b"nan", b"-", b"-1", b": ",
       b"\xf0\x9f\x99\x82"]  # fmt: skip


def damaged(data: bytes, numbers: random.Random) -> bytes:
    """Return bytes with some changed, cut out, repeated or put in, often near the beginning."""
    changed = bytearray(data)
    for _ in range(numbers.randint(1, 4)):
        place = numbers.randrange(min(len(changed), numbers.choice((200, 1 << 30))) + 1)
        match numbers.randrange(6):
            case 0 if changed:
                changed[place % len(changed)] ^= 1 << numbers.randrange(8)
            case 1 if changed:
                changed[place % len(changed)] = numbers.randrange(256)
            case 2:
                del changed[place : place + numbers.randint(1, 20)]
            case 3:
                changed[place:place] = numbers.choice(ODD)
            case 4:
                changed[place:place] = changed[place : place + 20]
            case _:
                del changed[place:]
    return bytes(changed)


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise a RuntimeError if the block takes longer."""

    def stop(*_: object) -> None:
        raise RuntimeError(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
