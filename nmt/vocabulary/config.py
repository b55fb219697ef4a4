"""Config of a vocabulary."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from corpus.bitext_columns import check_columns
from corpus.config import Bounds, Config, NonNegativeInt, PositiveFloat, PositiveInt, Share


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig(Config):
    """How the SentencePiece model is trained."""

    size: PositiveInt | None = None
    """Pieces, control symbols of SentencePiece included. null: 16 · √n for n distinct sentences, to
    the next 500, at most 256,000 (NLLB-200), and the text's characters besides."""

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


@dataclass(frozen=True, kw_only=True)
class ExtendConfig(Config):
    """How the vocabulary of a model gets a language more."""

    tokens_per_character: PositiveFloat = 0.33
    """Pieces are added while the text has more tokens per character than this; NLLB-200 cuts its
    own languages in the Latin script into 0.2 to 0.35."""

    max_pieces: NonNegativeInt = 2000
    """Pieces that are added for a language at most; 0 for none."""

    min_count: PositiveInt = 20
    """Occurrences in the text that a new piece, or a character that lacks one, has at least."""

    max_sentences: PositiveInt = 200_000
    """First sentences of a language's text that are read."""

    flores: Path | None = None
    """Directory in FLORES-200's layout: text of the model's languages that is to be cut as
    before."""

    split: str = "dev"
    """Its split."""

    max_changed_share: Share = 0.001
    """Share of the old languages' sentences whose tokens may change; where pieces change more,
    others are taken, and if that is not enough, nothing is written."""
