"""Stand-ins for what fairseq2 imports and nothing here uses; see `nmt.fairseq`.

`fairseq2n`, the native package of fairseq2, has a data pipeline and tokenizers. It is built for one
version of torch and for Python below 3.13, and needs libsndfile. fairseq2 itself can do without it:
with `fairseq2n.DOC_MODE` true, as when its documentation is built, it takes nothing else from
there.

The other packages are imported by parts of fairseq2 that read foreign models and tokenizers or log
to services. A recipe refers to them and never calls them; importing them costs seconds. Their
stand-ins are there only while fairseq2 is imported: a module that imports `transformers` for itself
gets the real one.
"""

import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

NATIVE = "fairseq2n"
"""Replaced for as long as the process lives: fairseq2 imports it inside functions, too."""

UNUSED = (
    "clusterscope",
    "editdistance",
    "huggingface_hub",
    "tiktoken",
    "transformers",
    "wandb",
)
"""Replaced while fairseq2 is imported."""


class _StandInClass(type):
    """The type of whatever is taken from a stand-in: classes that hold classes."""

    def __getattr__(cls, name: str) -> "_StandInClass":
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandInClass(name, (), {})


class _StandInModule(types.ModuleType):
    """A module in which any name is a class without contents."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _StandInClass(name, (), {})
        setattr(self, name, made)
        return made


class _StandInLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        """Make a stand-in; fairseq2 asks `fairseq2n` for the two that are set."""
        module = _StandInModule(spec.name)
        module.DOC_MODE = True  # type: ignore[attr-defined]
        module.__version__ = "stand-in"  # type: ignore[attr-defined]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Leave it empty."""


class StandInFinder(MetaPathFinder):
    """Finds stand-ins for packages, and for what lies in them, that are not imported yet."""

    def __init__(self, *packages: str) -> None:
        self._packages = packages

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return a stand-in's spec; None to leave the import to others."""
        package = fullname.partition(".")[0]
        imported = sys.modules.get(package)
        if package not in self._packages or not isinstance(imported, _StandInModule | None):
            return None
        return ModuleSpec(fullname, _StandInLoader(), is_package=True)


def install() -> None:
    """Have `fairseq2n`'s stand-in found from now on, whether or not the package is installed."""
    if not any(isinstance(finder, StandInFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, StandInFinder(NATIVE))


@contextmanager
def unused_packages_replaced() -> Iterator[None]:
    """Replace what fairseq2 imports and nothing here uses, while the context lasts.

    A package that is imported already stays as it is.
    """
    finder = StandInFinder(*UNUSED)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name, module in list(sys.modules.items()):
            if isinstance(module, _StandInModule) and name.partition(".")[0] in UNUSED:
                del sys.modules[name]
