"""What all tests share: hypothesis' profile, and which tests stay in one process."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Machines are busy: how long an example takes says nothing.
settings.register_profile(
    "tongues", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("tongues")

# On AMD, CTranslate2 chooses oneDNN, whose int8 products saturate on a CPU without VNNI (errors of
# .38 in a log-probability); with MKL a comparison measures the quantization alone. Read at import.
os.environ.setdefault("CT2_USE_MKL", "1")

# The Makefile names where real text is on the maintainers' machines; elsewhere tests of it skip.
if not Path(os.environ.get("TONGUES_DATA", os.devnull)).is_dir():
    os.environ.pop("TONGUES_DATA", None)

ROOT = Path(__file__).parent

RAY = ("corpus/jobs/test_ray_cluster.py", "system/test_executors.py")
"""Both start clusters, and one looks for a cluster of this machine: never at the same time."""

LONGEST_FIRST = ("system/test_recipe.py", "test_docs.py", RAY[1], RAY[0])
"""Else one process would do them at the end, while the other has nothing left to do."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their length: gzip writes the time, and processes must agree on names."""
    return f"{argname}{len(val)}" if isinstance(val, bytes) else None


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process, as they share what is costly to make."""
    for item in items:
        file = item.path.relative_to(ROOT).as_posix()
        item.add_marker(pytest.mark.xdist_group("ray" if file in RAY else file))
    places = {file: i for i, file in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.relative_to(ROOT).as_posix(), len(places)))


@pytest.fixture(autouse=True)
def _handlers_of_before() -> Iterator[None]:
    """A command run inside a test sends the log to that test's standard error, closed after it."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    rooms = [root, *map(logging.getLogger, ("corpus", "lid", "mining", "nmt", "eval", "tongues"))]
    levels = [room.level for room in rooms]
    yield
    root.handlers[:] = handlers
    for room, level in zip(rooms, levels, strict=True):
        room.setLevel(level)
