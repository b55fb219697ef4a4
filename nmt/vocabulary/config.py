"""Config of a vocabulary."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from corpus.bitext_columns import check_columns
from corpus.config import Bounds, Config, PositiveInt


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig(Config):
    """How the SentencePiece model is trained."""

    size: PositiveInt = 256_000
    """Pieces, control symbols of SentencePiece included (NLLB-200)."""

    kind: Literal["bpe", "unigram"] = "bpe"
    """SentencePiece's algorithm."""

    temperature: Annotated[float, Bounds(above=0, is_finite=False)] = 5.0
    """Languages are sampled with p ∝ n^(1/temperature), n their distinct sentences (NLLB-200)."""

    max_sentences: PositiveInt = 10_000_000
    """Sentences that the model is trained on, over all languages. Bounds memory."""

    languages: tuple[str, ...] = ()
    """Languages that get a token although they have no text."""

    character_coverage: Annotated[float, Bounds(above=0, at_most=1)] = 0.99995
    """Share of the text's characters that get a piece of their own (SentencePiece)."""

    seed: int = 1
    """Seed of the choice of sentences."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source` and `target` of bitext whose header does not
    say which they are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns)
