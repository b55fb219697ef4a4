"""A server with byte ranges that answers wrongly when told to, in front of files or a server."""

import http.server
import re
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_OF_BODY = ("content-length", "content-md5", "x-amz-content-sha256")
"""Headers that depend on the body, with checksums of `x-amz-`."""

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


Backend = Callable[[str, str, dict[str, str], bytes], Answer]
"""Method, path, headers and body to an answer."""


class FaultyServer(http.server.ThreadingHTTPServer):
    """Attributes: `faults`, taken from the left, one per request that reads a range, "" for none;
    `head_faults`, those of requests for headers; `write_faults`, those of writes, of which `lost`
    loses the end;
    `requests`, the path and range of each; `sent`, body bytes so far; `moments`, when each came.
    """

    daemon_threads = True

    def __init__(self, backend: Backend) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.backend = backend
        self.faults: deque[str] = deque()
        self.head_faults: deque[str] = deque()
        self.write_faults: deque[str] = deque()
        self.always = ""
        self.requests: list[tuple[str, str]] = []
        self.moments: list[float] = []
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


def serve_files(root: Path) -> Backend:
    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        file = root / urllib.request.url2pathname(path.lstrip("/"))
        if not file.is_file():
            return Answer(404, {}, b"no such file")
        data = file.read_bytes()
        match = _RANGE.fullmatch(headers.get("range", ""))
        if match is None:
            return Answer(200, {"Content-Length": str(len(data)), "Accept-Ranges": "bytes"}, data)
        first = int(match[1])
        last = min(int(match[2] or len(data)), len(data) - 1)
        if first > last:
            return Answer(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
        return Answer(
            206,
            {
                "Content-Range": f"bytes {first}-{last}/{len(data)}",
                "Content-Length": str(last - first + 1),
            },
            data[first : last + 1],
        )

    return answer


def forward_to(server: str) -> Backend:
    """Pass requests on to a server."""

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        # Without one, urllib would call it a form.
        headers = {"content-type": "application/octet-stream", **headers}
        request = urllib.request.Request(
            server.rstrip("/") + path, data=body or None, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    return answer


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        fault = ""
        if self.command == "PUT" and self.server.write_faults:
            fault = self.server.write_faults.popleft()
        if fault == "lost":
            body = body[:-3]
            headers = {"content-length": str(len(body))} | {
                key: headers[key] for key in headers if key not in _OF_BODY
            }
        answer = self.server.backend(self.command, self.path, headers, body)
        if self.command == "HEAD" and self.server.head_faults:
            fault = self.server.head_faults.popleft()
        elif self.command == "GET" and "range" in headers:
            self.server.requests.append((self.path, headers["range"]))
            self.server.moments.append(time.monotonic())
            fault = self.server.faults.popleft() if self.server.faults else self.server.always
        self._send(answer, fault, headers)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815

    def _send(self, answer: Answer, fault: str, headers: dict[str, str]) -> None:
        status, sent, body = answer
        sent = {key: value for key, value in sent.items() if key.lower() != "transfer-encoding"}
        if fault.isdigit():
            status, sent, body = int(fault), {"Content-Length": "5", "Retry-After": "0"}, b"wrong"
        elif fault == "whole":
            del headers["range"]
            status, sent, body = self.server.backend("GET", self.path, headers, b"")
        elif fault == "other":
            told = sent["Content-Range"]
            first = int(re.findall(r"\d+", told)[0])
            sent = {**sent, "Content-Range": told.replace(f" {first}-", f" {first + 1}-")}
        elif fault == "short":
            body = body[:-3]
            sent = {**sent, "Content-Length": str(len(body))}
        elif fault == "long":
            body += b"abc"
            sent = {**sent, "Content-Length": str(len(body))}
        elif fault == "swapped":
            body = body[::-1]
        elif fault == "encoded":
            sent = {**sent, "Content-Encoding": "gzip"}
        if fault == "reset":
            self.close_connection = True
            self.connection.close()
            return
        self.send_response_only(status)
        for name, value in sent.items():
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name in sent):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "cut":
            body = body[: len(body) // 2]
            self.close_connection = True
        try:
            if fault == "slow":
                for place in range(len(body)):
                    self.wfile.write(body[place : place + 1])
                    time.sleep(0.1)
            elif fault == "stalled":
                time.sleep(3)
            else:
                self.wfile.write(body)
                self.server.sent += len(body)
        except OSError:  # who asked has gone
            self.close_connection = True


@contextmanager
def faulty_server(backend: Backend) -> Iterator[FaultyServer]:
    with FaultyServer(backend) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
