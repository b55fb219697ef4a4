"""A thread that translates the lines of all requests, batch by batch.

Lines of one direction are translated together, whichever requests they are from; directions take
turns. What a line becomes does not depend on the others of its batch.
"""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from corpus.errors import TonguesError
from corpus.languages import Direction
from nmt.serving.config import ServeConfig
from nmt.translation.translator import TextTranslator, Translation

logger = logging.getLogger(__name__)


class ServerStoppedError(Exception):
    """The translations will not come: the thread has ended."""


@dataclass(eq=False)
class Work:
    """The lines of a request and what has become of them."""

    lines: Sequence[str]
    done: "asyncio.Future[list[Translation]]"
    translations: dict[int, Translation] = field(default_factory=dict)
    is_dropped: bool = False
    """Whether nobody waits for it any more."""

    def finish(self) -> None:
        """Hand out the translations; to be called in the event loop."""
        if not self.done.done():
            self.done.set_result([self.translations[i] for i in range(len(self.lines))])

    def fail(self, error: BaseException) -> None:
        """Hand out an error; to be called in the event loop."""
        if not self.done.done():
            self.done.set_exception(error)


class TranslationThread:
    """Owns the translator and what waits for it.

    Attributes:
        counts: Batches, their lines, and those that failed.
        translator: None until it is loaded.
    """

    def __init__(self, load: Callable[[], TextTranslator], config: ServeConfig) -> None:
        self._load = load
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Direction, deque[tuple[Work, int]]] = {}
        self._changed = threading.Condition()
        self._is_closing = False
        self._loaded: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="translation", daemon=True)
        self.counts: Counter[str] = Counter()
        self.translator: TextTranslator | None = None

    async def start(self) -> None:
        """Load the model.

        Raises:
            UserError: If it is none.
        """
        self._thread.start()
        await self._loaded

    @property
    def is_alive(self) -> bool:
        """Whether translations can be expected."""
        return self._thread.is_alive() and not self._is_closing

    @property
    def pending_lines(self) -> int:
        """Lines that wait, those of the batch being translated not included."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def submit(self, direction: Direction, lines: Sequence[str]) -> Work:
        """Have lines translated.

        Raises:
            ServerStoppedError: If the thread has ended.
        """
        work = Work(lines, self._loop.create_future())
        with self._changed:
            if not self.is_alive:
                raise ServerStoppedError
            queue = self._waiting.setdefault(direction, deque())
            queue.extend((work, i) for i in range(len(lines)))
            self._changed.notify()
        return work

    def drop(self, work: Work) -> None:
        """Forget the lines of a request that are not translated yet."""
        work.is_dropped = True
        with self._changed:
            for direction, queue in list(self._waiting.items()):
                kept = deque(item for item in queue if item[0] is not work)
                if kept:
                    self._waiting[direction] = kept
                else:
                    del self._waiting[direction]

    async def stop(self) -> None:
        """End the thread after the batch at hand; what waits fails."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join, self._config.stop_seconds)

    def _run(self) -> None:
        try:
            # Here, since torch counts its threads for each thread that calls it.
            self.translator = self._load()
        except (TonguesError, OSError, RuntimeError) as error:
            self._call(self._loaded.set_exception, error)
            return
        self._call(self._loaded.set_result, None)
        try:
            while batch := self._next_batch():
                self._translate(*batch)
        finally:
            with self._changed:
                self._is_closing = True
                left = [work for queue in self._waiting.values() for work, _ in queue]
                self._waiting.clear()
            for work in dict.fromkeys(left):
                self._call(work.fail, ServerStoppedError())

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop was closed: nobody waits
            logger.debug("the server ended before its last answers")

    def _next_batch(self) -> tuple[Direction, list[tuple[Work, int]]] | None:
        """Wait for lines; return some of one direction, None when the thread is to end."""
        with self._changed:
            was_idle = not self._waiting
            while not self._waiting and not self._is_closing:
                self._changed.wait()
        if was_idle and not self._is_closing:
            time.sleep(self._config.batch_wait_seconds)
        with self._changed:
            if self._is_closing:
                return None
            if not self._waiting:  # all were dropped meanwhile
                return Direction("", ""), []
            direction = next(iter(self._waiting))
            queue = self._waiting.pop(direction)
            batch: list[tuple[Work, int]] = []
            characters = 0
            while queue and len(batch) < self._config.batch_lines:
                work, i = queue[0]
                characters += len(work.lines[i])
                if batch and characters > self._config.batch_characters:
                    break
                batch.append(queue.popleft())
            if queue:
                self._waiting[direction] = queue  # last: the others' turn
            return direction, batch

    def _translate(self, direction: Direction, batch: Sequence[tuple[Work, int]]) -> None:
        if not batch:
            return
        works = dict.fromkeys(work for work, _ in batch)
        try:
            self._translate_together(direction, batch)
        except (TonguesError, RuntimeError) as error:  # torch's own errors are RuntimeErrors
            logger.exception("a batch of %d lines failed", len(batch))
            self.counts["failed_batches"] += 1
            if len(works) > 1:  # one request's lines are not to fail the others
                for work in works:
                    self._translate(direction, [item for item in batch if item[0] is work])
                return
            for work in works:
                self.drop(work)
                self._call(work.fail, error)
            return
        for work in works:
            if len(work.translations) == len(work.lines):
                self._call(work.finish)

    def _translate_together(self, direction: Direction, batch: Sequence[tuple[Work, int]]) -> None:
        assert self.translator is not None
        lines = [work.lines[i] for work, i in batch]
        found = self.translator.translate_numbered(lines, direction, [i for _, i in batch])
        self.counts["batches"] += 1
        self.counts["lines"] += len(lines)
        for (work, i), translation in zip(batch, found, strict=True):
            work.translations[i] = translation
