"""Config of training data: what is used, and what is excluded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from corpus.bitext_columns import check_columns
from corpus.config import (
    Bounds,
    Config,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
    execution_only,
)
from corpus.errors import UserError
from corpus.languages import parse_direction

PositiveShare = Annotated[float, Bounds(above=0, at_most=1)]
InnerShare = Annotated[float, Bounds(above=0, below=1)]
Temperature = Annotated[float, Bounds(above=0, is_finite=False)]
"""Of sampling with p ∝ n^(1/temperature); infinity samples evenly."""


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """How bitext and text become tokens."""

    directory: Path | None = execution_only(None)  # noqa: RUF009
    """Directory of tokens that runs with the same vocabulary share (see `tongues nmt tokenize`);
    null keeps them with the run and deletes them when it is done. It may be a copy elsewhere when a
    training resumes."""

    workers: PositiveInt = execution_only(2)  # noqa: RUF009
    """Processes that tokenize, one file each; small inputs use one process."""

    keep_evaluation_sentences: bool = False
    """Train on sentences of `flores` and `evaluation_sets` too, for studies of contamination."""

    evaluation_containment: PositiveShare = 0.5
    """Share of the shorter sentence that may lie in n-grams shared with an evaluation sentence, as
    in `tongues mining filter`."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source`, `target` and `score` of bitext whose header
    does not say which they are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns)


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run trains on, as far as its tokens depend on it; made by a training config."""

    vocabulary: Path
    """Vocabulary directory."""

    bitext: Mapping[str, tuple[Path, ...]]
    """Bitext directories by tag."""

    text: tuple[Path, ...] = ()
    """Directories of text of one language."""

    directions: tuple[str, ...] = ()
    """Directions whose files are read; empty for all files."""

    evaluation_sets: tuple[Path, ...] = ()
    """Test sets whose sentences are left out."""

    evaluation_containment: float
    """As in `DataConfig`."""

    columns: dict[str, str]
    """As in `DataConfig`."""

    max_length: int
    """As in `BatchConfig`."""

    workers: int
    """As in `DataConfig`."""


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig:
    """What the tokens depend on besides their texts and the vocabulary."""

    max_length: int
    """Sentences with more tokens are left out, pairs with their other side."""

    evaluation_containment: float
    """As in `DataConfig`."""

    columns: dict[str, str]
    """As in `DataConfig`."""


@dataclass(frozen=True, kw_only=True)
class MonolingualConfig(Config):
    """Objectives on monolingual text, in addition to translation, as in NLLB-200.

    A language's text is used in the phases whose directions include the language.
    """

    text: tuple[Path, ...] = ()
    """Directories of `<language>.txt` (plain, `.gz`, `.zst`), or of sentences by language."""

    denoising_weight: NonNegativeFloat = 0.0
    """Sentences to restore from a masked copy, per sampled pair."""

    causal_weight: NonNegativeFloat = 0.0
    """Sentences for the decoder alone to predict, per sampled pair."""

    min_masked: InnerShare = 0.3
    """Minimum share of a sentence's tokens that is masked (NLLB-200)."""

    max_masked: InnerShare = 0.5
    """Maximum share; each sentence gets a share between the two."""

    mean_span: PositiveFloat = 3.5
    """Mean of the Poisson distribution of masked spans' lengths (NLLB-200)."""

    random_share: Share = 0.1
    """Share of spans that become a random token instead of `<mask>` (NLLB-200)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.text) != self.is_used:
            raise UserError(
                "`monolingual` needs both `text` and a `denoising_weight` or `causal_weight`"
                " above 0"
            )
        if self.min_masked > self.max_masked:
            raise UserError(
                f"`min_masked` is {self.min_masked}, more than `max_masked`, {self.max_masked}"
            )

    @property
    def is_used(self) -> bool:
        """Whether a run has such an objective."""
        return self.denoising_weight + self.causal_weight > 0


PRIMARY = "primary"


DISTILLED = "distilled"


REPLAY = "replay"
"""Pairs that the model which training starts from translated itself, so that it forgets less."""


TAGS = (PRIMARY, "mined", "back_translated", "smt_back_translated", DISTILLED, REPLAY)
"""Where a pair comes from. Primary, distilled and replayed bitext carry no tag in the source; the
others one each.

Back-translations by neural and by statistical models have different tags, as in NLLB-200."""


ONE_WAY_TAGS = ("back_translated", "smt_back_translated", DISTILLED, REPLAY)
"""Pairs that are trained from source to target only. In back-translated pairs the source is machine
output, which a model should not learn to write; in distilled and replayed ones the target is."""


MAX_TOKENS = 8192


RESOURCE_LEVELS = ("high", "low", "very_low")


@dataclass(frozen=True, kw_only=True)
class BatchConfig(Config):
    """How pairs become batches."""

    max_tokens: PositiveInt | None = None
    """Source and target positions of a batch, padding included; null: 8,192, and where `updates` is
    null, too, by the number of pairs."""

    temperature: Temperature = 1.0
    """Directions are sampled with p ∝ n^(1/temperature), n their pairs (NLLB-200: 1)."""

    replay_share: InnerShare = 0.5
    """Share of the pairs drawn that are of tag `replay`, however many of them there are."""

    max_length: PositiveInt = 256
    """Pairs with more tokens on a side are left out."""

    round_size: PositiveInt = 65_536
    """Pairs that are drawn together, sorted by length and cut into batches."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.positions < 2 * (self.max_length + 3):
            raise UserError(
                f"`max_tokens` is {self.positions}, too small for one pair of `max_length`"
                f" {self.max_length}"
            )

    @property
    def positions(self) -> int:
        """Source and target positions of a batch."""
        return self.max_tokens or MAX_TOKENS


@dataclass(frozen=True, kw_only=True)
class PhaseConfig(Config):
    """Which directions are trained from an update until the next phase."""

    from_update: NonNegativeInt = 0
    """Update at which the phase begins; that of the first phase is 0."""

    directions: tuple[str, ...] = ()
    """Directions of this phase; empty leaves the choice to `resource_levels`."""

    resource_levels: tuple[str, ...] = RESOURCE_LEVELS
    """Levels of directions in this phase; only where `directions` is empty."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for direction in self.directions:
            parse_direction(direction)
        for level in self.resource_levels:
            if level not in RESOURCE_LEVELS:
                raise UserError(
                    f"`{level}` is not a resource level; there are {', '.join(RESOURCE_LEVELS)}"
                )


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig(Config):
    """When directions enter training; optimizer and schedule continue across phases."""

    phases: tuple[PhaseConfig, ...] = (PhaseConfig(),)

    high_resource_pairs: NonNegativeInt = 1_000_000
    """A direction with this many pairs is `high`, one with fewer `low` (NLLB-200)."""

    very_low_resource_pairs: NonNegativeInt = 100_000
    """A direction with this many pairs or fewer is `very_low` (NLLB-200)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        starts = [phase.from_update for phase in self.phases]
        if not starts or starts[0] != 0 or sorted(set(starts)) != starts:
            raise UserError(
                f"phases begin at updates {starts}; the first must be 0, and they must increase"
            )
