"""Errors of the libraries that load other people's models, as errors that name the directory."""

from pathlib import Path
from types import TracebackType

from corpus.errors import DataError, TonguesError

_KINDS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)
_SAFETENSORS = "SafetensorError"
"""Known by its name: this module is imported where safetensors may not be installed."""


class loading_pretrained:  # noqa: N801 (used as a function)
    """Context in which transformers, tokenizers or safetensors load files of a model.

    Raises:
        DataError: If they raise what they do for damaged files; tokenizers raises bare `Exception`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, TonguesError | ModuleNotFoundError):
            return
        is_known = isinstance(error, _KINDS) or type(error) is Exception
        if is_known or type(error).__name__ == _SAFETENSORS:
            raise DataError(f"{self._path} cannot be loaded: {str(error)[:500]}") from error
