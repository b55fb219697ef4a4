"""How the usage of experts is measured."""

from dataclasses import dataclass
from typing import Literal

from corpus.config import execution_only
from corpus.errors import UserError


@dataclass(frozen=True, kw_only=True)
class UsageConfig:
    """Which directions and sentences are run through the model."""

    through: str = ""
    """Only directions from or into this language. With 202 languages these are 402 instead of
    40,602, and show each language once as a source and once as a target."""

    sentences: int = 0
    """First sentences of the split per language; 0 for all."""

    device: Literal["auto", "cpu", "cuda"] = execution_only("auto")
    """Where the model runs; `auto` uses a GPU if there is one."""

    threads: int = 2
    """Torch threads."""

    def __post_init__(self) -> None:
        if self.sentences < 0:
            raise UserError(f"`sentences` is {self.sentences}; it must be 0 or more")
