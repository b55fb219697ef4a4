"""`tongues nmt serve`: a model over HTTP until it is stopped."""

import asyncio
import functools
import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from corpus.errors import UserError
from nmt.serving.application import Application
from nmt.serving.batches import TranslationThread
from nmt.serving.config import ServeConfig
from nmt.serving.connections import limit_connections
from nmt.translation.translator import open_translator
from nmt.usage.expert_selection import Needed

logger = logging.getLogger(__name__)

_LINGERING_SECONDS = 2.0
"""How long what a refused client still sends is read and dropped, so that it sees the answer."""

_HEADER_BYTES = 8190
_BACKLOG = 512


def serve(model: Path, config: ServeConfig, ready: Callable[[str], None]) -> None:
    """Serve a model until SIGINT or SIGTERM; requests in progress are answered first.

    Args:
        model: Model directory.
        config: Where, and how much.
        ready: Called with the address when requests are taken.

    Raises:
        UserError: If it is not a model, or the address cannot be listened on.
    """
    config.translate.check_single()
    if config.translate.experts.usage is not None:
        raise UserError("`translate.experts.usage` needs directions that are known in advance")
    asyncio.run(_serve(model, config, ready))


async def _serve(model: Path, config: ServeConfig, ready: Callable[[str], None]) -> None:
    listening = _listen(config)  # before the model is loaded: a port in use is told at once
    load = functools.partial(open_translator, model, config.translate, Needed((), ()))
    thread = TranslationThread(load, config)
    try:
        await thread.start()
        runner = web.AppRunner(
            Application(config, thread).web,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=config.read_seconds,
            lingering_time=_LINGERING_SECONDS,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            shutdown_timeout=config.stop_seconds,
        )
        await runner.setup()
        assert runner.server is not None
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        make = limit_connections(runner.server, config.max_connections)
        server = await loop.create_server(make, sock=listening, backlog=_BACKLOG)
        ready(_address(listening))
        await stopped.wait()
        logger.info("stopping; requests in progress are answered first")
        server.close()
        await runner.cleanup()
        await thread.stop()
    finally:
        listening.close()


def _listen(config: ServeConfig) -> socket.socket:
    try:
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server(
            (config.host, config.port), family=family, backlog=_BACKLOG
        )
    except OSError as error:
        raise UserError(
            f"cannot listen on {config.host}, port {config.port}: {error.strerror or error}"
        ) from error
    listening.setblocking(False)
    return listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
