"""What an encoder is to those who use it, and to its directory."""

from collections.abc import Sequence
from typing import Protocol

from mining.embeddings import Float32

DESCRIPTION_FILE = "encoder.json"
DEFAULT_BATCH_TOKENS = 8192


class Encoder(Protocol):
    """Maps sentences of all its languages into one space."""

    @property
    def dimension(self) -> int:
        """Width of an embedding."""
        ...

    def encode(self, sentences: Sequence[str], language: str = "") -> Float32:
        """Return unit vectors, [N, dimension]; the same for a sentence whatever the batch.

        Args:
            sentences: Text, all in one language.
            language: Its code. Only encoders that read the language as a token use it (SONAR's).
        """
        ...
