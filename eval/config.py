"""Configurations of `eval score`, `eval compare` and `eval correlate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from corpus.bitext_columns import check_columns
from corpus.config import Bounds, Config, NonNegativeInt, PositiveInt, execution_only
from corpus.errors import UserError

Probability = Annotated[float, Bounds(above=0, below=1)]
"""Of an interval's coverage or of false discoveries: above 0 and below 1."""

LATEST_COUNTS = "nllb-200"
"""Version of the counts of training sentences in eval/languages.tsv."""

RANDOMIZATION = "randomization"
BOOTSTRAP = "bootstrap"
SACREBLEU_BOOTSTRAP = "sacrebleu-bootstrap"
TESTS = (RANDOMIZATION, BOOTSTRAP, SACREBLEU_BOOTSTRAP)
"""Tests of a difference; see eval/statistics/significance.py."""

BASELINES = ("copy",)
"""Baselines that can be scored beside the systems: `copy` returns the source."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(Config):
    """What is scored, and with which models.

    Fields that choose among scores and change none are `execution_only`: finished ones stay valid.
    """

    references: tuple[str, ...] = ()
    """Translators whose references are taken, where a test set has several, as WMT's XML; by
    default all."""

    slices: tuple[str, ...] = ()
    """Columns of the test set whose parts get scores of their own: `domain`, `topic`, `document`
    or any other that it has, or `length`; `--slice` adds to them."""

    spm: Path | None = None
    """SentencePiece model for spBLEU: a file, or `flores200` (the default) or `flores101` of the
    cache."""

    baselines: tuple[str, ...] = execution_only(())
    """Baselines to score in every direction; known: copy."""

    languages: Path | None = execution_only(None)  # noqa: RUF009
    """TSV with the columns `language` and `resource` or `sentences`, for averages by resource
    level; each further column makes buckets of its own. Without it, `counts`."""

    counts: str = execution_only(LATEST_COUNTS)
    """Version of the built-in counts of training sentences that resource levels come from."""

    pivot: str = execution_only("eng_Latn")
    """Language whose directions get buckets of their own."""

    supervised: Path | None = execution_only(None)  # noqa: RUF009
    """File with the directions that had training data, one a line; the others are zero-shot."""

    directions: tuple[str, ...] = execution_only(())
    """Directions that every system should have, beside those that any system has."""

    bleu_tokenizer: str | None = None
    """sacrebleu's tokenizer for `bleu`. By default the target language's: `zh`, `ja-mecab` and
    `ko-mecab` (`char` where MeCab is not installed), and `13a` for all others."""

    resamples: NonNegativeInt = 1_000
    """Bootstrap resamples for intervals (Koehn 2004); 0 leaves intervals out."""

    seed: NonNegativeInt = 12_345
    """Seed of the resamples (sacrebleu's)."""

    confidence: Probability = 0.95
    """Share of the resamples inside an interval."""

    segments: bool = False
    """Whether to write the score of every sentence."""

    page_directions: NonNegativeInt = execution_only(8)  # noqa: RUF009
    """Directions whose lines can be read on the page: those with the lowest scores."""

    page_lines: NonNegativeInt = execution_only(30)  # noqa: RUF009
    """Lines of each of them, from the worst to the best; 0 for a page without text."""

    check_with_sacrebleu: NonNegativeInt = execution_only(0)  # noqa: RUF009
    """Random cells to score with sacrebleu as well; any difference is an error."""

    store: Path | None = execution_only(None)  # noqa: RUF009
    """Directory of statistics by content; by default `statistics` in the output."""

    workers: PositiveInt = execution_only(1)  # noqa: RUF009
    """Processes that score."""

    def __post_init__(self) -> None:
        """Refuse unknown baselines, and values out of range."""
        super().__post_init__()
        for baseline in self.baselines:
            if baseline not in BASELINES:
                raise UserError(
                    f"there is no baseline `{baseline}`. Known: {', '.join(BASELINES)}."
                )


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Config):
    """How systems are tested against the first."""

    metric: str = "chrf++"
    """Metric that is tested: spbleu, chrf++, chrf, bleu or ter."""

    test: str = RANDOMIZATION
    """randomization (approximate randomization), bootstrap (centered), or sacrebleu-bootstrap,
    whose p-values are too small, for numbers that compare with sacrebleu's."""

    references: tuple[str, ...] = ()
    """Translators whose references are taken, where a test set has several, as WMT's XML; by
    default all."""

    spm: Path | None = None
    """SentencePiece model for spBLEU: a file, or `flores200` (the default) or `flores101` of the
    cache."""

    bleu_tokenizer: str | None = None
    """sacrebleu's tokenizer for `bleu`. By default the target language's: `zh`, `ja-mecab` and
    `ko-mecab` (`char` where MeCab is not installed), and `13a` for all others."""

    trials: PositiveInt = 10_000
    """Random swaps or resamples of the test; the smallest p-value is 1 / (trials + 1)."""

    resamples: PositiveInt = 1_000
    """Bootstrap resamples for intervals and the minimum detectable difference."""

    seed: NonNegativeInt = 12_345
    """Seed of all draws (sacrebleu's); the same lines are drawn in every direction."""

    alpha: Probability = 0.05
    """False discovery rate over all directions (Benjamini and Hochberg 1995)."""

    confidence: Probability = 0.95
    """Share of the resamples inside an interval."""

    languages: Path | None = execution_only(None)  # noqa: RUF009
    """Table of languages for the buckets, as for `eval score`."""

    counts: str = execution_only(LATEST_COUNTS)
    """Version of the built-in counts of training sentences."""

    pivot: str = execution_only("eng_Latn")
    """Language whose directions get buckets of their own."""

    supervised: Path | None = execution_only(None)  # noqa: RUF009
    """File with the directions that had training data."""

    store: Path | None = execution_only(None)  # noqa: RUF009
    """Directory of statistics by content, as `statistics` of a scoring run; texts in it are not
    counted again. By default `statistics` in the output."""

    workers: PositiveInt = execution_only(1)  # noqa: RUF009
    """Processes that compare."""

    def __post_init__(self) -> None:
        """Refuse unknown tests, and values out of range."""
        super().__post_init__()
        if self.test not in TESTS:
            raise UserError(f"there is no test `{self.test}`. Known: {', '.join(TESTS)}.")

    def as_scoring(self) -> ScoreConfig:
        """Return the same choices as scoring has them."""
        return ScoreConfig(
            references=self.references,
            spm=self.spm,
            bleu_tokenizer=self.bleu_tokenizer,
            resamples=self.resamples,
            seed=self.seed,
            confidence=self.confidence,
            languages=self.languages,
            counts=self.counts,
            pivot=self.pivot,
            supervised=self.supervised,
            store=self.store,
        )


Calibration = Literal["none", "shift", "moderated"]
ScaleName = Literal["xsts", "esa", "mqm"]


@dataclass(frozen=True, kw_only=True)
class SampleConfig(Config):
    """Which items people are asked to score."""

    references: tuple[str, ...] = ()
    """Translators whose references are taken, where a test set has several, as WMT's XML; of those
    that are left the first is used."""

    lines: PositiveInt = 100
    """Lines of the test set in each direction; every system's translation of them is an item."""

    attention_share: Annotated[float, Bounds(at_least=0, below=1)] = 0.1
    """Attention items, as a share of the items: references of other lines, which are wrong, and of
    the line itself, which are right."""

    seed: NonNegativeInt = 1
    """Seed of the draws and of the order."""


@dataclass(frozen=True, kw_only=True)
class LearnedConfig(Config):
    """How learned metrics are computed."""

    references: tuple[str, ...] = ()
    """Translators whose references are taken, where a test set has several, as WMT's XML; of those
    that are left the first is used."""

    languages: tuple[str, ...] = ()
    """Languages that the model covers, or `all`. By default those that its encoder was trained on;
    other directions are not scored."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the model; published scores are of float32."""

    device: str = execution_only("auto")
    """`cpu`, `cuda`, `cuda:1`, …; `auto` is the GPU if there is one."""

    batch_tokens: PositiveInt = execution_only(8_192)  # noqa: RUF009
    """Tokens that go through the model together, padding included."""

    baseline: str | None = execution_only(None)
    """System that the others are tested against; by default the first."""

    resamples: NonNegativeInt = execution_only(1_000)  # noqa: RUF009
    """Bootstrap resamples for intervals and tests; 0 leaves both out."""

    seed: NonNegativeInt = execution_only(12_345)  # noqa: RUF009
    """Seed of the resamples; the same lines are drawn as for other metrics."""

    confidence: Probability = execution_only(0.95)  # noqa: RUF009
    """Share of the resamples inside an interval."""

    alpha: Probability = execution_only(0.05)  # noqa: RUF009
    """False discovery rate over all directions and systems (Benjamini and Hochberg 1995)."""


@dataclass(frozen=True, kw_only=True)
class ContrastConfig(Config):
    """How contrast sets are counted."""

    confidence: Probability = 0.95
    """Coverage of the intervals (Wilson 1927)."""


@dataclass(frozen=True, kw_only=True)
class CorrelateConfig(Config):
    """How human scores are calibrated and compared with metrics."""

    calibration: Calibration = "moderated"
    """`none`; `shift` by the nominal mean less the group's on the calibration set; `moderated`,
    the same fading out towards both ends of the scale. Both need a calibration set. ESA and MQM are
    never calibrated."""

    scale: ScaleName = "xsts"
    """What the scores of a table of `evaluator`, `item`, `direction`, `score` are: `xsts` (1 to 5),
    `esa` (0 to 100) or `mqm` (0 and below). Published tables of ESA and MQM are recognized."""

    direction: str | None = None
    """Direction of a published table: MQM's name none, and of ESA's this one is taken."""

    first_segment: int | None = None
    """Number of the test set's first line in the table, for the correlation of segments: by default
    1, in tables of ESA 0, and -1 where ESA's numbers leave out a first line that is a canary."""

    max_failed_attention: Annotated[float, Bounds(at_least=0, at_most=1)] = 0.5
    """Evaluators who fail more than this share of their attention items are left out."""

    nominal_mean: Annotated[float, Bounds(above=1, below=5)] = 3.0
    """Mean of the calibration set on the scale of XSTS (NLLB Team 2022)."""

    trials: PositiveInt = 2_000
    """Bootstrap samples of directions, and of items for the agreement."""

    seed: NonNegativeInt = 1
    """Seed of the samples."""

    confidence: Probability = 0.95
    """Coverage of the intervals."""


@dataclass(frozen=True, kw_only=True)
class ContaminationConfig(Config):
    """What counts as a line of a test set in training text."""

    min_share: Annotated[float, Bounds(above=0, at_most=1)] = 0.5
    """Part of a line's characters that one training text must have in common with it, in n-grams of
    24 characters, of 10 in scripts that write a syllable or word per character. Lines shorter than
    that are found as a whole only."""

    paraphrase_quantile: Annotated[float, Bounds(above=0, at_most=1)] = 0.99
    """With an encoder: a training text is a paraphrase of a line if it is closer to it than this
    share of the test set's lines are to their nearest other line, in that language."""

    limit: Annotated[float, Bounds(at_least=0, at_most=1)] = execution_only(0.01)
    """Share of a text's lines that may be found; above it the exit code is 3."""

    only_languages_of_bitext: bool = True
    """Whether to look only for lines in the languages that all bitext files are named by; languages
    of text files are not told apart. False compares every language of the test sets."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source` and `target` of bitext whose header does not
    say which they are."""

    workers: PositiveInt = execution_only(1)  # noqa: RUF009
    """Processes that read training text."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns)
