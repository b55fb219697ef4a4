"""How the usage of experts is measured."""

from dataclasses import dataclass
from typing import Literal

from corpus.config import Config, NonNegativeInt, PositiveInt, execution_only


@dataclass(frozen=True, kw_only=True)
class UsageConfig(Config):
    """Which directions and sentences are run through the model."""

    through: str = ""
    """Only directions from or into this language. With 202 languages these are 402 instead of
    40,602, and show each language once as a source and once as a target."""

    sentences: NonNegativeInt = 0
    """First sentences of the split per language; 0 for all."""

    device: Literal["auto", "cpu", "cuda"] = execution_only("auto")
    """Where the model runs; `auto` uses a GPU if there is one."""

    threads: PositiveInt = 2
    """Torch threads."""
