"""A bound on open connections."""

import asyncio
from collections.abc import Callable

from aiohttp import web

_FULL_TEXT = b"too many connections; try again in a while\n"
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Retry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
) % (len(_FULL_TEXT), _FULL_TEXT)


class _Refusal(asyncio.Protocol):
    """Answers 503 and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(_FULL)
        transport.close()


def limit_connections(server: web.Server, most: int) -> Callable[[], asyncio.Protocol]:
    """Return what makes the protocol of each new connection: the server's, or a refusal."""

    def make() -> asyncio.Protocol:
        return _Refusal() if len(server.connections) >= most else server()

    return make
