"""Settings of what a run trains on, and of what is kept out of it."""

from dataclasses import dataclass, field
from pathlib import Path

from corpus.bitext_columns import check_columns
from corpus.config import execution_only
from corpus.errors import UserError


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How bitext and text become tokens."""

    directory: Path | None = None
    """Where tokens stay for other runs with the same vocabulary (see `tongues nmt tokenize`).

    Without it they are the run's own, and go when it is done."""

    workers: int = execution_only(2)
    """Processes that tokenize, a file each; one where there is little to do."""

    keep_evaluation_sentences: bool = False
    """Train on sentences of `flores` and `evaluation_sets` too, as a study of leaks may want."""

    evaluation_containment: float = 0.5
    """Share of the shorter sentence that may lie in n-grams shared with an evaluation sentence, as
    in `tongues mining filter`."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source`, `target` and `score` of bitext whose header
    does not say which they are."""

    def __post_init__(self) -> None:
        check_columns(self.columns)
        if not 0 < self.evaluation_containment <= 1:
            raise UserError(
                f"`evaluation_containment` is {self.evaluation_containment}; it is a share above 0"
            )


@dataclass(frozen=True, kw_only=True)
class MonolingualConfig:
    """Objectives that need no translation, beside the bitext's, as NLLB-200 had them.

    A language's text is drawn from in phases whose directions have the language.
    """

    text: tuple[Path, ...] = ()
    """Directories of `<language>.txt` (plain, `.gz`, `.zst`), or of sentences by language."""

    denoising_weight: float = 0.0
    """Sentences to restore from a masked copy, for each pair that is drawn."""

    causal_weight: float = 0.0
    """Sentences for the decoder alone to predict, for each pair that is drawn."""

    min_masked: float = 0.3
    """Share of a sentence's tokens that is masked, at least (NLLB-200)."""

    max_masked: float = 0.5
    """The same at most; each sentence has a share between the two."""

    mean_span: float = 3.5
    """Mean of the Poisson distribution of masked spans' lengths (NLLB-200)."""

    random_share: float = 0.1
    """Spans that become a random token instead of `<mask>` (NLLB-200)."""

    def __post_init__(self) -> None:
        if min(self.denoising_weight, self.causal_weight) < 0:
            raise UserError("weights of `monolingual` must not be negative")
        if bool(self.text) != self.is_used:
            raise UserError(
                "`monolingual` needs both `text` and a `denoising_weight` or `causal_weight`"
                " above 0"
            )
        if not 0 < self.min_masked <= self.max_masked < 1:
            raise UserError(
                f"`min_masked` {self.min_masked} and `max_masked` {self.max_masked} must rise"
                " between 0 and 1"
            )
        if self.mean_span <= 0 or not 0 <= self.random_share <= 1:
            raise UserError("`mean_span` must be positive and `random_share` between 0 and 1")

    @property
    def is_used(self) -> bool:
        """Whether a run has such an objective."""
        return self.denoising_weight + self.causal_weight > 0
