"""A real S3 server on the loopback, moto's, and one before it that answers wrongly when told to."""

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
import pytest

from tests.corpus.fetch.faulty_server import FaultyServer, faulty_server, forward_to

BUCKET = "crawl"


def access(url: str) -> dict[str, object]:
    """Return fsspec's settings for a server; own attempts are few, so that ours are seen."""
    client = {"endpoint_url": url}
    settings = {"retries": {"total_max_attempts": 1}, "read_timeout": 1, "connect_timeout": 1}
    return {"key": "x", "secret": "x", "client_kwargs": client, "config_kwargs": settings}


@contextmanager
def s3_server() -> Iterator[str]:
    """Yield the URL of an S3 server with an empty bucket; skip the test where there is none."""
    pytest.importorskip("s3fs", reason="needs the extra `s3`")
    moto_server = pytest.importorskip("moto.server", reason="needs moto with its server")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    # What one server of a process holds, the next holds too.
    reset = urllib.request.Request(f"{url}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset, timeout=10).close()
    system_of(url).mkdir(BUCKET)
    yield url
    server.stop()


def system_of(url: str) -> fsspec.AbstractFileSystem:
    """Return the file system of a server, past the one that fails."""
    return fsspec.filesystem(
        "s3", skip_instance_cache=True, use_listings_cache=False, **access(url)
    )


@contextmanager
def through_faults(url: str, patch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """Have `s3://` mean a server, through one that fails when told to."""
    patch.setattr("s3fs.core.S3FileSystem.retries", 1)
    with faulty_server(forward_to(url)) as server:
        patch.setitem(fsspec.config.conf, "s3", access(server.url.rstrip("/")))
        yield server


def environment(url: str, scratch: object) -> dict[str, str]:
    """Return the environment of a process for which `s3://` means a server."""
    return {
        **os.environ,
        "FSSPEC_S3_KEY": "x",
        "FSSPEC_S3_SECRET": "x",
        "FSSPEC_S3_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "TONGUES_SCRATCH": str(scratch),
    }


def objects(url: str, prefix: str) -> dict[str, bytes]:
    """Return what lies below a prefix of the bucket, but receipts."""
    system, start = system_of(url), f"{BUCKET}/{prefix}/"
    return {
        name.removeprefix(start): system.cat_file(name)
        for name in system.find(start)
        if "receipts/" not in name.removeprefix(start)
    }
