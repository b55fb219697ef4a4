"""Lines one after the other in one buffer, for compiled parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray


class JoinedLines(Sequence[str]):
    """Lines that are UTF-8 in one buffer; a line becomes a string when it is asked for.

    Attributes:
        data: The buffer.
        bounds: Where each line begins, and the last one ends, [N + 1].
    """

    def __init__(self, data: bytes, bounds: NDArray[np.int64]) -> None:
        self.data, self.bounds = data, bounds

    @classmethod
    def join(cls, lines: Iterable[str], errors: str = "strict") -> JoinedLines:
        """Return lines in one buffer; `errors` says what becomes of lone surrogates."""
        encoded = [line.encode("utf-8", errors) for line in lines]
        bounds = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=bounds[1:])
        return cls(b"".join(encoded), bounds)

    def append(self, other: JoinedLines) -> JoinedLines:
        """Return these lines and others after them; both begin at the begin of their buffers."""
        bounds = np.append(self.bounds, self.bounds[-1] + other.bounds[1:])
        return JoinedLines(self.data + other.data, bounds)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> JoinedLines: ...
    def __getitem__(self, place: int | slice) -> str | JoinedLines:
        if isinstance(place, slice):
            first, end, step = place.indices(len(self))
            assert step == 1
            return JoinedLines(self.data, self.bounds[first : max(first, end) + 1])
        if place < 0:
            place += len(self)
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self.data[self.bounds[place] : self.bounds[place + 1]].decode()

    def __iter__(self) -> Iterator[str]:
        begin = int(self.bounds[0])
        for end in self.bounds[1:].tolist():
            yield self.data[begin:end].decode()
            begin = end
