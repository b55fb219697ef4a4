"""Config of the server, with its defaults."""

from dataclasses import dataclass, field
from typing import Annotated

from corpus.config import Bounds, Config, NonNegativeFloat, PositiveFloat, PositiveInt
from nmt.translation.decoding.config import TranslateConfig

Port = Annotated[int, Bounds(at_least=0, at_most=65535)]


@dataclass(frozen=True, kw_only=True)
class ServeConfig(Config):
    """What is served, and to how many at a time."""

    translate: TranslateConfig = field(default_factory=TranslateConfig)
    """How lines are translated."""

    host: str = "127.0.0.1"
    """Address to listen on. There is no authentication: beyond the loopback, put a proxy with TLS
    and passwords before it."""

    port: Port = 8080
    """TCP port; 0 for any free one, which is printed."""

    batch_lines: PositiveInt = 256
    """Most lines of one direction, of all requests together, that are translated at a time."""

    batch_characters: PositiveInt = 20_000
    """Most characters of such a batch; a longer line makes one of its own."""

    batch_wait_seconds: NonNegativeFloat = 0.003
    """How long a batch that is not full waits for others' lines."""

    max_request_bytes: PositiveInt = 262_144
    """Longest body of a request; longer ones are answered with 413."""

    max_request_lines: PositiveInt = 1000
    """Most lines of a request."""

    max_line_characters: PositiveInt = 5000
    """Longest line of a request."""

    max_pending_bytes: PositiveInt = 33_554_432
    """Bodies of all requests that are being read or wait for their translation; beyond it, requests
    are answered with 503."""

    max_connections: PositiveInt = 1000
    """Open connections; further ones are answered with 503 and closed."""

    read_seconds: PositiveFloat = 10.0
    """How long a client may take to send its request."""

    timeout_seconds: PositiveFloat = 60.0
    """How long a request may wait for its translations; then it is answered with 504."""

    stop_seconds: PositiveFloat = 30.0
    """How long requests in progress may take to finish when the server is stopped."""
