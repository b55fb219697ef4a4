"""Errors of the libraries that load other people's models, as errors that name the directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.errors import DataError, TonguesError

_KINDS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)
_SAFETENSORS = "SafetensorError"
"""Known by its name: this module is imported where safetensors may not be installed."""


@contextmanager
def loading_pretrained(path: Path) -> Iterator[None]:
    """Load files of a model with transformers, tokenizers or safetensors.

    Raises:
        DataError: If they raise what they do for damaged files; tokenizers raises bare `Exception`.
    """
    try:
        yield
    except (TonguesError, ModuleNotFoundError):
        raise
    except Exception as error:
        is_known = isinstance(error, _KINDS) or type(error) is Exception
        if is_known or type(error).__name__ == _SAFETENSORS:
            raise DataError(f"{path} cannot be loaded: {str(error)[:500]}") from error
        raise
