"""Configurations of `tongues lid`: training, calibration and measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from corpus.config import (
    Bounds,
    Config,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
)
from corpus.errors import UserError
from corpus.languages import check_language

SAFE_THREADS = 11
"""fastText 0.9.3 fills its input matrix in ten blocks, one a thread, beside the main one;
with fewer threads part of the matrix keeps whatever was in memory."""


CONFUSABLE_GROUPS: tuple[str, ...] = (
    "arb_Arab,apc_Arab,ajp_Arab,acm_Arab,ary_Arab,arz_Arab,aeb_Arab,acq_Arab,ars_Arab",
    "bos_Latn,hrv_Latn",
    "nob_Latn,nno_Latn,dan_Latn",
    "dyu_Latn,bam_Latn",
    "aka_Latn,twi_Latn",
    "pes_Arab,prs_Arab",
    "zho_Hans,zho_Hant,yue_Hant",
    "zsm_Latn,ind_Latn",
    "kmb_Latn,umb_Latn",
)
"""Languages that share most of their words, each group as codes with commas between."""


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig(Config):
    """How temperature and thresholds are chosen; an answer below its thresholds is `und`."""

    target_precision: Share = 0.9
    """Each class's threshold is the lowest from which this share of its answers is right, every
    true class counting the same."""

    groups: tuple[str, ...] = CONFUSABLE_GROUPS
    """Languages hard to tell apart: an answer from the line's own group counts as right here, since
    no threshold tells sisters apart. Their confusions are shown in the training report."""

    min_threshold: Share = 0.3
    """Lowest score a threshold may be; below it the answer is `und`."""

    max_threshold: Share = 0.7
    """Highest score a threshold may be; confusable languages seldom get beyond."""

    min_familiarity: float = -0.7
    """Familiarity an answer needs, in standard deviations from a typical line of the language (see
    `lid/engine/familiarity.py`). With 30 languages held out, five times others, it accepts 15 %
    of the lines in unknown languages on average (11 to 21 %) and keeps 91 % of known ones right;
    -1.5 accepts 25 % and keeps 94 % (docs/experiments.md)."""

    rejected_share: Share = 0.0
    """Share of a language's own lines that may be less familiar than an answer needs: the need is
    then chosen for each language on these lines. 0: `min_familiarity` everywhere. For `lid
    calibrate` with text of the kind that is to be identified; what training holds out is too much
    like what it learned from to tell."""

    def __post_init__(self) -> None:
        """Refuse thresholds in the wrong order and groups that overlap."""
        super().__post_init__()
        if self.min_threshold > self.max_threshold:
            raise UserError(
                f"`min_threshold` is {self.min_threshold}, above `max_threshold`"
                f" ({self.max_threshold})."
            )
        check_groups(self.groups)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """How `tongues lid train` turns labeled text into a model directory."""

    seed: int = 1
    """Seed of the sampling, the crops and the generated noise."""

    sampled_lines: PositiveInt = 1_700_000
    """Lines drawn for one epoch, all languages together."""

    sampling_temperature: PositiveFloat = 3.0
    """A language with n lines gets a share of n^(1/temperature); 1 keeps the natural shares.
    Sampling without temperature lost .11 of macro-F1 on 200 languages."""

    max_repeats: PositiveInt = 6
    """A language's lines are drawn at most this many times an epoch."""

    length_exponent: NonNegativeFloat = 1.0
    """A line is drawn in proportion to its length to this power; 0 draws all lines alike. Labeled
    collections hold many short sentences, and documents are written in long ones: macro-F1 on
    FLORES rose from .951 to .954."""

    counted_characters: PositiveInt = 150
    """Length beyond which a line weighs no more."""

    strip_share: Share = 0.15
    """Share of the drawn lines whose diacritics are removed where people leave them out (Latin,
    Cyrillic, Greek, Arabic, Hebrew); without it such text lost .02 of macro-F1."""

    crop_share: Share = 0.4
    """Share of the drawn lines cut to a few words, so that short inputs work."""

    max_crop_words: PositiveInt = 8
    """Longest crop, in words (or four-character pieces where text has no spaces)."""

    noise: bool = True
    """Add the class `zxx`: generated mojibake, code, digits and markup."""

    validation_share: Share = 0.03
    """Share of each language's lines held out for thresholds and the list of confusions."""

    max_validation_lines: NonNegativeInt = 300
    """Most lines a language holds out."""

    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    """How thresholds are chosen from the held-out lines."""

    profile_bits: Annotated[int, Bounds(at_least=8, at_most=26)] = 20
    """A class's familiar n-grams and words are kept in a bitmap of 2^profile_bits bits."""

    profile_lines: PositiveInt = 20_000
    """Most lines of a class that enter its bitmap; more would fill it."""

    quantize: bool = True
    """Write `model.ftz` as well, for machines with little memory, and measure what it loses."""

    word_min_count: NonNegativeInt = 0
    """Words seen this often get a vector (NLLB: 1,000); 0 for none, as the compiled pass wants."""

    dim: PositiveInt = 64
    """Width of the n-gram vectors; 64 loses nothing to NLLB's 256 and predicts faster."""

    min_ngram: PositiveInt = 2
    """Shortest character n-gram."""

    max_ngram: Annotated[int, Bounds(at_least=1, at_most=32)] = 4
    """Longest character n-gram."""

    buckets_per_class: PositiveInt = 20_000
    """Hash buckets for n-grams, for each class."""

    max_buckets: PositiveInt = 1_000_000
    """Most hash buckets in all (NLLB's number)."""

    learning_rate: PositiveFloat = 0.8
    """Initial learning rate, falling linearly to zero (NLLB)."""

    epochs: PositiveInt = 4
    """Passes over the drawn lines (NLLB: 2)."""

    reproducible: bool = True
    """Where fastText trains (a model with word vectors, or no compiler at installation): with one
    thread, so that the same data and seed give the same bytes; else with `threads`. The compiled
    trainer uses all cores and always gives the same bytes."""

    threads: int = 12
    """Threads of fastText when not reproducible; fastText 0.9.3 needs at least 11."""

    def __post_init__(self) -> None:
        """Refuse values that fastText accepts but trains a useless model with."""
        super().__post_init__()
        if self.threads < SAFE_THREADS:
            raise UserError(
                f"`threads` is {self.threads}, but fastText 0.9.3 leaves part of its matrix"
                f" uninitialized below {SAFE_THREADS}. Use {SAFE_THREADS} or more (also on a"
                " machine with fewer cores), or reproducible=true for one thread."
            )
        if self.max_ngram < self.min_ngram:
            raise UserError(
                f"`max_ngram` is {self.max_ngram}, below `min_ngram` ({self.min_ngram})."
            )


@dataclass(frozen=True, kw_only=True)
class ExtendConfig(TrainConfig):
    """How `tongues lid extend` trains the detector of a language."""

    sampled_lines: PositiveInt = 150_000
    quantize: bool = False

    most_lines: PositiveInt = 20_000
    """Lines that are read of a language at most, of the new one as of each label."""

    least_lines: PositiveInt = 20
    """Labels with fewer lines are left out of the detector: their answers stay the identifier's."""


@dataclass(frozen=True, kw_only=True)
class MeasureConfig(Config):
    """What `tongues lid measure` reports."""

    confusions: NonNegativeInt = 20
    """How many of the most frequent confusions are listed."""

    groups: tuple[str, ...] = CONFUSABLE_GROUPS
    """Languages that are hard to tell apart, each group as codes with commas between; the merged
    scores count an answer from the line's own group as right."""

    trials: PositiveInt = 1_000
    """Trials of the randomization test that compares two models."""

    seed: int = 1
    """Seed of those trials."""

    def __post_init__(self) -> None:
        """Refuse groups that are too small or overlap."""
        super().__post_init__()
        check_groups(self.groups)


def check_groups(groups: Sequence[str]) -> None:
    """Refuse groups of fewer than two languages, unknown codes and groups that overlap."""
    seen: set[str] = set()
    for group in groups:
        codes = group_codes(group)
        if len(codes) < 2:
            raise UserError(f"the group `{group}` has fewer than two languages.")
        for code in codes:
            check_language(code)
            if code in seen:
                raise UserError(
                    f"`{code}` occurs twice in groups; a language belongs to one group."
                )
            seen.add(code)


def group_codes(group: str) -> list[str]:
    """Return the codes of a group written as `aka_Latn,twi_Latn`."""
    return [code.strip() for code in group.split(",") if code.strip()]
