import asyncio
import contextlib
import json
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp", reason="needs the extra `serve`")

import aiohttp

from corpus.errors import UserError
from corpus.languages import Direction
from nmt.model.directory import load_model
from nmt.serving.config import ServeConfig
from nmt.serving.serve import serve
from nmt.translation.decoding.config import TranslateConfig
from nmt.translation.translator import TextTranslator, Translation

TRANSLATE = TranslateConfig(threads=1)
QUERY = {"source": "qaa_Latn", "target": "qab_Latn"}


class Client:
    """A client of a server, and the thread's translator behind it."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self.session = session
        self.address = address
        self.port = int(address.rpartition(":")[2])

    async def post(
        self, body: Any, kind: str = "application/json", **query: str
    ) -> tuple[int, str]:
        data = (
            json.dumps(body) if kind == "application/json" and not isinstance(body, bytes) else body
        )
        headers = {"Content-Type": kind}
        url = f"{self.address}/translate"
        async with self.session.post(url, data=data, params=query, headers=headers) as answer:
            return answer.status, await answer.text()

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.session.get(self.address + path, headers=headers) as answer:
            return answer.status, await answer.text()

    async def send(self, data: bytes, seconds: float = 5) -> bytes:
        """Send bytes as they are; return all that comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), seconds)
        writer.close()
        return answer


def run(model: Path, talk: Callable[[Client], Awaitable[None]], **config: Any) -> None:
    """Serve a model, talk to it, and stop it by a signal."""
    tasks: list[asyncio.Task[None]] = []

    async def talking(address: str) -> None:
        try:
            async with aiohttp.ClientSession() as session:
                await talk(Client(session, address))
        finally:
            signal.raise_signal(signal.SIGTERM)

    def ready(address: str) -> None:
        tasks.append(asyncio.get_running_loop().create_task(talking(address)))

    serve(model, ServeConfig(translate=TRANSLATE, port=0, **config), ready)
    tasks[0].result()


def expected(model: Path, lines: Sequence[str]) -> list[str]:
    return TextTranslator(load_model(model), TRANSLATE).translate(lines, *QUERY.values())


def test_json_and_plain_text_are_answered_in_kind_line_by_line(trained_model: Path) -> None:
    lines = ["bara kino. Moli!", "", "kili mo tu"]
    first, _, third = expected(trained_model, lines)

    async def talk(client: Client) -> None:
        status, text = await client.post({**QUERY, "text": "\n".join(lines)})
        assert (status, json.loads(text)["translation"]["text"]) == (200, f"{first}\n\n{third}")
        status, text = await client.post({**QUERY, "text": [lines[2], "", lines[0]]})
        found = json.loads(text)["translations"]
        assert [one["text"] for one in found] == [third, "", first]
        assert found[1]["log_probability"] is None
        assert found[0]["log_probability"] < 0
        plain = f"{lines[2]}\n{lines[0]}\n".encode()
        assert await client.post(plain, "text/plain", **QUERY) == (200, f"{third}\n{first}\n")
        assert await client.post({**QUERY, "text": []}) == (200, '{"translations": []}\n')
        status, text = await client.get("/health")
        assert (status, json.loads(text)["pending_bytes"]) == (200, 0)
        assert "qab_Latn" in json.loads((await client.get("/languages"))[1])["languages"]
        page = (await client.get("/"))[1]
        assert "<option selected>qaa_Latn" in page
        assert 'tongues_requests_total{code="200"}' in (await client.get("/metrics"))[1]

    run(trained_model, talk)


def test_mistakes_are_answered_with_what_is_wrong(trained_model: Path) -> None:
    async def talk(client: Client) -> None:
        for status, words, body in [
            (400, "not JSON", b"{"),
            (400, "not JSON", b"[" * 2000),
            (400, "must be an object", [1]),
            (400, "not UTF-8: byte 2", b'{"\xff"}'),
            (400, "unknown `txt`", {**QUERY, "txt": "bara"}),
            (400, "no `source`", {"text": "bara"}),
            (400, "`text` must be", {**QUERY, "text": 5}),
            (400, "`text` must be", {**QUERY, "text": ["bara", None]}),
            (400, "half of a surrogate pair", {**QUERY, "text": "bara\n\ud800"}),
            (400, "Did you mean `eng_Latn`", {"source": "en", "target": "qab_Latn", "text": ""}),
            (400, "no language `fra_Latn`", {**QUERY, "target": "fra_Latn", "text": "bara"}),
            (400, "both `qaa_Latn`", {**QUERY, "target": "qaa_Latn", "text": "bara"}),
            (413, "line 2 has 30 characters", {**QUERY, "text": "bara\n" + "b" * 30}),
            (413, "has 4 lines", {**QUERY, "text": ["\n", "\n"]}),
            (413, "at most 2,000 are taken", b"x" * 5000),
        ]:  # fmt: skip
            found, text = await client.post(body)
            assert (found, json.loads(text)["error"]) == (
                status,
                text and json.loads(text)["error"],
            )
            assert words in json.loads(text)["error"], text
        assert (await client.post(b"x", "text/xml"))[0] == 415
        assert (await client.post(b"bara", "text/plain"))[1].startswith("the query has no `source`")
        assert (await client.get("/translate"))[0] == 405
        assert (await client.get("/nothing"))[0] == 404
        status, text = await client.get("/health", Host="evil.example")
        assert (status, "not for `evil.example`" in text) == (403, True)
        assert b"400 Bad Request" in await client.send(b"nonsense\r\n\r\n")
        assert json.loads((await client.get("/health"))[1])["pending_bytes"] == 0

    run(
        trained_model,
        talk,
        max_request_bytes=2000,
        max_request_lines=3,
        max_line_characters=20,
    )


def test_slow_clients_are_cut_off(trained_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.serving.serve._LINGERING_SECONDS", 0.1)
    begin = b"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"

    async def talk(client: Client) -> None:
        silent, header, body = await asyncio.gather(
            client.send(b""),
            client.send(begin),
            client.send(begin + b"Content-Length: 90\r\n\r\nbara"),
        )
        assert silent == header == b""
        assert b"408" in body
        assert b"did not arrive within 0.2 s" in body
        assert (await client.get("/health"))[0] == 200

    run(trained_model, talk, read_seconds=0.2)


def test_connections_beyond_the_bound_are_refused(trained_model: Path) -> None:
    async def talk(client: Client) -> None:
        held = [await asyncio.open_connection("127.0.0.1", client.port) for _ in range(3)]
        assert b"503" in await client.send(b"")
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0.05)
        assert (await client.get("/health"))[0] == 200

    run(trained_model, talk, max_connections=3)


class Gated(TextTranslator):
    """Translates when it is let, and fails on request."""

    def __init__(self, model: Path) -> None:
        super().__init__(load_model(model), TRANSLATE)
        self.batches: list[list[str]] = []
        self.gate = threading.Event()

    def translate_numbered(
        self, lines: Sequence[str], direction: Direction, numbers: Sequence[int]
    ) -> list[Translation]:
        self.batches.append(list(lines))
        self.gate.wait(10)
        if "fail" in lines:
            raise RuntimeError("out of memory")
        return [Translation(line.upper(), -1.0, -1.0) for line in lines]

    async def is_busy(self) -> None:
        while not self.batches:
            await asyncio.sleep(0.001)


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch, trained_model: Path) -> Gated:
    translator = Gated(trained_model)
    monkeypatch.setattr("nmt.serving.serve.open_translator", lambda *arguments: translator)
    return translator


async def pending(client: Client, lines: int) -> None:
    while json.loads((await client.get("/health"))[1])["pending_lines"] != lines:
        await asyncio.sleep(0.001)


def test_requests_share_batches_and_only_what_fails_fails(
    trained_model: Path, gated: Gated, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(client: Client) -> None:
        first = asyncio.create_task(client.post({**QUERY, "text": "first"}))
        await gated.is_busy()
        texts = ["one", "two", "fail", "three"]
        requests = [asyncio.create_task(client.post({**QUERY, "text": text})) for text in texts]
        back = {"source": "qab_Latn", "target": "qaa_Latn", "text": "back"}
        requests.append(asyncio.create_task(client.post(back)))
        await pending(client, 5)
        cut = asyncio.create_task(client.post({**QUERY, "text": "cut"}))
        await pending(client, 6)
        cut.cancel()
        await pending(client, 5)
        gated.gate.set()
        answers = await asyncio.gather(first, *requests)
        assert [status for status, _ in answers] == [200, 200, 200, 500, 200, 200]
        assert "THREE" in answers[4][1]
        assert sorted(map(len, gated.batches)) == [1, 1, 1, 1, 1, 1, 4]
        await pending(client, 0)
        assert json.loads((await client.get("/health"))[1])["pending_bytes"] == 0

    run(trained_model, talk, batch_lines=4)
    assert "a batch of 4 lines failed" in caplog.text


def test_requests_that_wait_too_long_or_are_too_many_are_told_so(
    trained_model: Path, gated: Gated
) -> None:
    async def talk(client: Client) -> None:
        body = {**QUERY, "text": "x" * 400}
        answers = await asyncio.gather(*(client.post(body) for _ in range(4)))
        assert sorted(status for status, _ in answers) == [503, 503, 504, 504]
        assert json.loads((await client.get("/health"))[1])["pending_bytes"] == 0
        gated.gate.set()

    run(trained_model, talk, timeout_seconds=0.2, max_pending_bytes=1000)


def test_requests_in_progress_are_answered_when_the_server_is_stopped(
    trained_model: Path, gated: Gated
) -> None:
    answers: list[tuple[int, str]] = []

    async def talk(client: Client) -> None:
        request = asyncio.create_task(client.post({**QUERY, "text": "last"}))
        await gated.is_busy()
        signal.raise_signal(signal.SIGTERM)
        gated.gate.set()
        answers.append(await request)

    run(trained_model, talk)
    assert answers[0][0] == 200
    assert "LAST" in answers[0][1]


def test_port_in_use_is_a_mistake_of_the_user(trained_model: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        config = ServeConfig(port=taken.getsockname()[1])
        with pytest.raises(UserError, match="cannot listen on"):
            serve(trained_model, config, print)
