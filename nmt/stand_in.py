"""A stand-in for `fairseq2n`, the native package of fairseq2, where it is missing or does not fit.

fairseq2 imports `fairseq2n` for its data pipeline and tokenizers, of which nothing is used here. It
is built for one version of torch, and refuses others. fairseq2 itself knows how to do without: with
`fairseq2n.DOC_MODE` true, as when its documentation is built, it takes nothing else from there.
"""

import importlib.metadata
import logging
import re
import sys
import types
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

logger = logging.getLogger(__name__)

NAME = "fairseq2n"
_TORCH = re.compile(r"""^_TORCH_VERSION\b[^=]*=\s*["']([^"'+]+)""", re.MULTILINE)


class _StandIn(Loader):
    """Fills the module, and says why it is there."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def create_module(self, spec: ModuleSpec) -> None:
        """Take a plain module."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill in all that fairseq2 looks for."""
        logger.info("%s: a stand-in takes its place, and nothing is lacking for it", self._reason)
        module.DOC_MODE = True  # type: ignore[attr-defined]
        module.__version__ = "stand-in"  # type: ignore[attr-defined]


class StandInFinder(MetaPathFinder):
    """Finds the stand-in when `fairseq2n` is imported and the native one cannot be."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the stand-in's spec; None to leave the import to others."""
        if fullname != NAME:
            return None
        reason = _unfitness(PathFinder.find_spec(NAME))
        return None if reason is None else ModuleSpec(NAME, _StandIn(reason))


def _unfitness(native: ModuleSpec | None) -> str | None:
    """Return why the native package will not do; None if it will."""
    if native is None or native.origin is None:
        return f"{NAME}, fairseq2's native package, is not installed"
    config = Path(native.origin).with_name("config.py")
    match = _TORCH.search(config.read_text(encoding="utf-8")) if config.is_file() else None
    if match is None:
        return None  # of an unknown make; it knows best what fits it
    installed = importlib.metadata.version("torch").split("+")[0]
    if match[1] == installed:
        return None
    return f"{NAME}, fairseq2's native package, is for torch {match[1]}, here is {installed}"


def install() -> None:
    """Have the stand-in found from now on, where it is needed."""
    if not any(isinstance(finder, StandInFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, StandInFinder())
