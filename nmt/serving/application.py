"""The HTTP side: what is asked, its limits, and what is answered.

`POST /translate` takes JSON or plain text and answers in the same form; `GET /health`, `/metrics`
(Prometheus' text format), `/languages`, and `/`, a page to try it.
"""

import asyncio
import ipaddress
import json
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from aiohttp import web

from corpus.errors import TonguesError, UserError
from corpus.languages import Direction
from nmt.serving.batches import ServerStoppedError, TranslationThread
from nmt.serving.config import ServeConfig
from nmt.serving.page import trial_page
from nmt.translation.translator import Translation

logger = logging.getLogger(__name__)

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Upper edges of the histogram of how long requests take."""

_GONE = "499"
"""Counted for clients that went before their answer, as nginx does."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Problem(Exception):  # noqa: N818 (an answer, not a fault)
    """What a client is told instead of a translation."""

    def __init__(self, status: int, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.retry = retry


class _Wanted(NamedTuple):
    """A request that was understood."""

    direction: Direction
    texts: list[str]
    """Each with as many lines as it has."""

    is_list: bool
    is_plain: bool


class Application:
    """Answers requests; see the module.

    Attributes:
        web: The application for aiohttp.
    """

    def __init__(self, config: ServeConfig, thread: TranslationThread) -> None:
        self._config = config
        self._thread = thread
        self._pending_bytes = 0
        self._answers: Counter[str] = Counter()
        self._seconds: Counter[float] = Counter()
        self._total_seconds = 0.0
        self._characters = 0
        self._is_local = _is_loopback(config.host)
        self.web = web.Application(
            middlewares=[self._answer], client_max_size=config.max_request_bytes
        )
        self.web.add_routes(
            [
                web.get("/", self._page),
                web.get("/health", self._health),
                web.get("/languages", self._languages),
                web.get("/metrics", self._metrics),
                web.post("/translate", self._translate),
            ]
        )

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count requests, and turn what went wrong into an answer."""
        begin = time.monotonic()
        status = _GONE
        try:
            try:
                self._check_host(request)
                response = await handler(request)
            except _Problem as problem:
                response = _problem(request, problem)
            except web.HTTPException as error:
                text = f"{request.method} {request.path}: {error.reason}"
                response = _problem(request, _Problem(error.status, text))
                for name in ("Allow",):
                    if name in error.headers:
                        response.headers[name] = error.headers[name]
            status = str(response.status)
            return response
        finally:
            seconds = time.monotonic() - begin
            self._answers[status] += 1
            if request.path == "/translate":
                self._total_seconds += seconds
                self._seconds[next((s for s in _SECONDS if seconds <= s), math.inf)] += 1

    def _check_host(self, request: web.Request) -> None:
        """Refuse names that a page on another site could give to this address."""
        name = urlsplit(f"//{request.host}").hostname or ""
        if self._is_local and not _is_loopback(name):
            raise _Problem(403, f"this server is for the machine it runs on, not for `{name}`")

    async def _page(self, request: web.Request) -> web.Response:
        translator = self._thread.translator
        assert translator is not None
        return web.Response(
            text=trial_page(translator.model.vocabulary.languages, translator.model.directions),
            content_type="text/html",
            headers={
                "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline';"
                " script-src 'unsafe-inline'; connect-src 'self'",
                "X-Content-Type-Options": "nosniff",
            },
        )

    async def _health(self, request: web.Request) -> web.Response:
        is_alive = self._thread.is_alive
        return _json(
            {
                "status": "ok" if is_alive else "stopped",
                "pending_lines": self._thread.pending_lines,
                "pending_bytes": self._pending_bytes,
            },
            status=200 if is_alive else 503,
        )

    async def _languages(self, request: web.Request) -> web.Response:
        translator = self._thread.translator
        assert translator is not None
        return _json(
            {
                "languages": list(translator.model.vocabulary.languages),
                "directions": [str(direction) for direction in translator.model.directions],
            }
        )

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text="".join(line + "\n" for line in self._metric_lines()))

    def _metric_lines(self) -> list[str]:
        translator = self._thread.translator
        counts = dict(translator.counts) if translator is not None else {}
        lines = ["# TYPE tongues_requests_total counter"]
        lines += [
            f'tongues_requests_total{{code="{code}"}} {count}'
            for code, count in sorted(self._answers.items())
        ]
        lines.append("# TYPE tongues_translate_seconds histogram")
        reached = 0
        for edge in (*_SECONDS, math.inf):
            reached += self._seconds[edge]
            name = "+Inf" if math.isinf(edge) else f"{edge:g}"
            lines.append(f'tongues_translate_seconds_bucket{{le="{name}"}} {reached}')
        lines.append(f"tongues_translate_seconds_sum {self._total_seconds:.6f}")
        lines.append(f"tongues_translate_seconds_count {reached}")
        batches = self._thread.counts
        for name, kind, value in (
            ("pending_lines", "gauge", self._thread.pending_lines),
            ("pending_bytes", "gauge", self._pending_bytes),
            ("source_characters_total", "counter", self._characters),
            ("batches_total", "counter", batches["batches"]),
            ("batch_lines_total", "counter", batches["lines"]),
            ("failed_batches_total", "counter", batches["failed_batches"]),
        ):
            lines += [f"# TYPE tongues_{name} {kind}", f"tongues_{name} {value}"]
        lines.append("# TYPE tongues_translation_notes_total counter")
        lines += [
            f'tongues_translation_notes_total{{note="{name}"}} {count}'
            for name, count in sorted(counts.items())
        ]
        return lines

    async def _translate(self, request: web.Request) -> web.Response:
        async with self._admit(request):
            try:
                async with asyncio.timeout(self._config.read_seconds):
                    body = await request.read()
            except TimeoutError:
                seconds = self._config.read_seconds
                raise _Problem(408, f"the body did not arrive within {seconds:g} s") from None
            wanted = self._understand(request, body)
            translations = await self._wait(wanted)
        return _answer_translations(wanted, translations)

    @asynccontextmanager
    async def _admit(self, request: web.Request) -> AsyncIterator[None]:
        """Hold room for a body, as long as it may be, until its request is answered."""
        most = self._config.max_request_bytes
        size = request.content_length
        if size is not None and size > most:
            raise _Problem(413, f"the body has {size:,} bytes; at most {most:,} are taken")
        size = most if size is None else size
        if self._pending_bytes + size > self._config.max_pending_bytes:
            raise _Problem(503, "too much is waiting; try again in a while", retry=True)
        self._pending_bytes += size
        try:
            yield
        finally:
            self._pending_bytes -= size

    def _understand(self, request: web.Request, body: bytes) -> _Wanted:
        is_plain = request.content_type == "text/plain"
        if not is_plain and request.content_type != "application/json":
            raise _Problem(
                415, f"`{request.content_type}`: give application/json, or text/plain in UTF-8"
            )
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _Problem(400, f"the body is not UTF-8: byte {error.start} is wrong") from None
        fields: Any = {**request.query, "text": text} if is_plain else _parse(text)
        source, target, texts = (fields.get(name) for name in ("source", "target", "text"))
        for name, value in (("source", source), ("target", target)):
            if not isinstance(value, str):
                where = "query" if is_plain else "object"
                raise _Problem(400, f"the {where} has no `{name}`, a language such as eng_Latn")
        is_list = isinstance(texts, list)
        strings = texts if isinstance(texts, list) else [texts]
        if not all(isinstance(one, str) for one in strings):
            raise _Problem(400, "`text` must be a string or a list of strings")
        direction = Direction(source, target)
        self._check(direction, strings)
        return _Wanted(direction, strings, is_list, is_plain)

    def _check(self, direction: Direction, texts: Sequence[str]) -> None:
        translator = self._thread.translator
        assert translator is not None
        try:
            translator.check(direction)
        except UserError as error:
            raise _Problem(400, str(error)) from None
        if direction.source == direction.target:
            raise _Problem(400, f"source and target are both `{direction.source}`")
        lines = [line for text in texts for line in text.split("\n")]
        config = self._config
        if len(lines) > config.max_request_lines:
            most = config.max_request_lines
            raise _Problem(413, f"the text has {len(lines):,} lines; at most {most:,} are taken")
        for number, line in enumerate(lines, 1):
            if len(line) > config.max_line_characters:
                raise _Problem(
                    413,
                    f"line {number:,} has {len(line):,} characters; at most"
                    f" {config.max_line_characters:,} are taken",
                )
            try:
                line.encode("utf-8")
            except UnicodeEncodeError:
                raise _Problem(400, f"line {number:,} has half of a surrogate pair") from None

    async def _wait(self, wanted: _Wanted) -> list[Translation]:
        lines = [line for text in wanted.texts for line in text.split("\n")]
        if not lines:
            return []
        work = None
        try:
            work = self._thread.submit(wanted.direction, lines)
            async with asyncio.timeout(self._config.timeout_seconds):
                found = await work.done
        except TimeoutError:
            seconds = self._config.timeout_seconds
            raise _Problem(504, f"not translated within {seconds:g} s", retry=True) from None
        except ServerStoppedError:
            raise _Problem(503, "the server is stopping", retry=True) from None
        except (TonguesError, RuntimeError):
            raise _Problem(500, "the translation failed; the server's log says why") from None
        finally:
            if work is not None and not (work.done.done() and not work.done.cancelled()):
                self._thread.drop(work)
        self._characters += sum(map(len, lines))
        return found


def _parse(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Problem(400, f"the body is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise _Problem(400, "the body must be an object with `source`, `target` and `text`")
    unknown = sorted(fields.keys() - {"source", "target", "text"})
    if unknown:
        raise _Problem(400, f"unknown `{unknown[0]}`; known: source, target, text")
    return fields


def _answer_translations(wanted: _Wanted, translations: Sequence[Translation]) -> web.Response:
    following = iter(translations)
    texts = [[next(following) for _ in text.split("\n")] for text in wanted.texts]
    if wanted.is_plain:
        return web.Response(text="\n".join(line.text for line in texts[0]))
    found = [
        {
            "text": "\n".join(line.text for line in lines),
            "log_probability": _sum(line.log_probability for line in lines),
            "is_complete": all(line.is_complete for line in lines),
        }
        for lines in texts
    ]
    return _json({"translations": found} if wanted.is_list else {"translation": found[0]})


def _sum(values: Any) -> float | None:
    """Return the sum of what is a number; None if nothing is."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) if numbers else None


def _json(value: object, status: int = 200) -> web.Response:
    text = json.dumps(value, ensure_ascii=False) + "\n"
    return web.Response(text=text, content_type="application/json", status=status)


def _problem(request: web.Request, problem: _Problem) -> web.Response:
    """Return an error: plain to those who sent plain text, JSON to others."""
    if request.content_type == "text/plain":
        response = web.Response(text=f"{problem}\n", status=problem.status)
    else:
        response = _json({"error": str(problem)}, problem.status)
    if problem.retry:
        response.headers["Retry-After"] = "1"
    if problem.status in (408, 413):
        response.force_close()  # the rest of the body is not read
    return response


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
