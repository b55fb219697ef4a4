"""Compiled parts, available if the package was installed with a compiler.

They are plain shared libraries with a C interface, built by setuptools beside the Python files
(`[[tool.setuptools.ext-modules]]` in pyproject.toml, each marked optional) and called through
ctypes, which releases the interpreter lock during calls. Each has a slower equivalent in Python or
NumPy with the same results, which `TONGUES_NATIVE=0` selects.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

SWITCH = "TONGUES_NATIVE"
"""Environment variable; `0` turns the compiled parts off."""


def load_library(package: str, name: str, interface: int) -> ctypes.CDLL | None:
    """Return the compiled part `name` of a package, or None where there is none.

    Args:
        package: Importable package that the library lies in, as `lid`.
        name: Module name of the extension without its package, as `_kernel`.
        interface: What its `tongues_interface` must return. One built from older sources would read
            and write beyond the arrays it is given.
    """
    if os.environ.get(SWITCH, "1") == "0":
        return None
    spec = importlib.util.find_spec(package)
    for directory in spec.submodule_search_locations or [] if spec else []:
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = Path(directory) / f"{name}{suffix}"
            if path.is_file():
                return _open(path, interface)
    return None


def _open(path: Path, interface: int) -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        # Built for another machine, say. The slower twin does the same.
        logger.warning("%s cannot be loaded (%s); the slower Python path is used", path, error)
        return None
    try:
        there = int(library.tongues_interface())
    except AttributeError:
        there = 0
    if there != interface:
        logger.warning(
            "%s was built from other sources than these; the slower Python path is used. `make"
            " setup`, or installing the package again, rebuilds it",
            path,
        )
        return None
    return library
