"""The settings of scoring and filtering bitext, and of finding the text of metadata."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from corpus.bitext_columns import check_columns
from corpus.config import Bounds, Config, NonNegativeInt, PositiveInt, Share, execution_only
from corpus.errors import UserError
from corpus.languages import check_language, parse_direction
from mining.encoders.embed_config import EmbedConfig, check_encoder_languages
from mining.search.config import ExactSearchConfig

SISTER_LANGUAGES = (
    "arb_Arab,apc_Arab,ajp_Arab,acm_Arab,ary_Arab,arz_Arab,aeb_Arab,acq_Arab,ars_Arab",
    "ace_Arab,bjn_Arab,min_Arab",
    "aka_Latn,twi_Latn",
    "awa_Deva,bho_Deva,hin_Deva,hne_Deva,mag_Deva,mai_Deva",
    "bam_Latn,dyu_Latn",
    "bos_Latn,hrv_Latn",
    "dan_Latn,nno_Latn,nob_Latn",
    "ind_Latn,zsm_Latn",
    "kab_Latn,taq_Latn",
    "kam_Latn,kik_Latn",
    "kmb_Latn,umb_Latn",
    "nso_Latn,sot_Latn,tsn_Latn",
    "nya_Latn,tum_Latn",
    "pes_Arab,prs_Arab",
    "zho_Hans,zho_Hant,yue_Hant",
)
"""Languages that identifiers trained on little text confuse confidently (FLORES-200 dev)."""


@dataclass(frozen=True, kw_only=True)
class FilterConfig(Config):
    """Which mined pairs are kept. What the defaults cost true pairs is in docs/experiments.md."""

    direction: str = ""
    """`<source>-<target>`, where the file is not named so. Without it, script, language, toxicity
    and languages that spell numbers out cannot be told."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source`, `target` and `score` of bitext whose header
    does not say which they are."""

    min_score: float = 0.0
    """Pairs with a lower margin are dropped, in addition to the threshold of mining."""

    min_probability: Share = 0.0
    """Pairs whose column `probability` (`tongues mining probability`) is lower are dropped."""

    min_quality: dict[str, float] = field(default_factory=dict)
    """Least values of columns that other tools have scored pairs in, by name: `bicleaner_ai: 0.5`,
    `cometkiwi: 0.7`, `laser: 1.05`."""

    max_score: float = 10.0
    """Margin above which pairs are dropped; copies and outliers of sparse regions lie there. It
    depends on the encoder: stopes has 1.25 for LASER3, where `bag` encoders only begin."""

    evaluation_containment: Annotated[float, Bounds(above=0, at_most=1)] = 0.5
    """Share of the shorter sentence that may lie in n-grams shared with an evaluation sentence."""

    max_length_ratio: Annotated[float, Bounds(above=1)] = 2.0
    """Length in characters against the median ratio of the file's pairs, either way."""

    max_overlap: Share = 0.7
    """Share of common character trigrams above which a pair is a copy, not a translation. Sister
    languages (Bosnian and Croatian) need more, up to 1."""

    min_script_share: Share = 0.5
    """Minimum share of letters in the script of the side's language, 0 to 1."""

    min_number_agreement: Share = 0.5
    """Minimum share of digits in numbers that both sides have, of the digits of the side with
    more."""

    numbers_in_words: tuple[str, ...] = (
        "dik_Latn",
        "dyu_Latn",
        "kik_Latn",
        "sna_Latn",
        "yor_Latn",
    )
    """Languages whose texts often write large numbers as words (measured on FLORES-200 dev). With
    them a number that only one side has is no reason."""

    max_toxicity_difference: NonNegativeInt = 2
    """Maximum difference in words of the toxicity lists between the sides (stopes' value)."""

    min_other_language_score: Share = 0.9
    """Probability from which a side identified as another language is rejected."""

    sister_languages: tuple[str, ...] = SISTER_LANGUAGES
    """Languages, comma-separated, of which one is accepted for another by the identifier."""

    max_pairs_per_sentence: PositiveInt = 10
    """Pairs that a sentence may be in on its side; the first ones are kept, which in mined bitext
    are the best. Bounds hubs; one-to-one retrieval gives 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns)
        if self.min_score > self.max_score:
            raise UserError(f"`min_score` {self.min_score} is above `max_score` {self.max_score}")
        if self.direction:
            parse_direction(self.direction)
        for language in (*self.numbers_in_words, *",".join(self.sister_languages).split(",")):
            if language:
                check_language(language)

    @property
    def filters_by_score(self) -> bool:
        """Whether a bound of the score was set, so that pairs need one."""
        default = FilterConfig.min_score, FilterConfig.max_score
        return (self.min_score, self.max_score) != default

    def sisters_of(self, language: str) -> frozenset[str]:
        """Return a language and those that it is confused with."""
        groups = (group.split(",") for group in self.sister_languages)
        return frozenset({language}.union(*(group for group in groups if language in group)))


@dataclass(frozen=True, kw_only=True)
class RebuildConfig(Config):
    """How the text of bitext metadata is recovered."""

    workers: PositiveInt = execution_only(2)  # noqa: RUF009
    """Processes, each with a shard; each needs 24 bytes per line of the metadata."""


@dataclass(frozen=True, kw_only=True)
class MetadataConfig(Config):
    """How the bitext is read whose sentences' places are written."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source`, `target` and `score` of bitext whose header
    does not say which they are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """How the two bitexts are read that are compared."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source`, `target` and `score` of mined bitext whose
    header does not say which they are."""

    gold_columns: dict[str, str] = field(default_factory=dict)
    """The same for the pairs that are known to be there."""

    directions: tuple[str, ...] = ()
    """Language pairs to compare, in either order; empty for all that are known to be there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for direction in self.directions:
            parse_direction(direction)
        check_columns(self.columns)
        check_columns(self.gold_columns)


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(ExactSearchConfig):
    """How the pairs of a bitext are scored."""

    encoders: dict[str, Path] = field(default_factory=dict)
    """Languages with an encoder of their own: a student of the encoder given. The bitext is named
    `<source>-<target>` then."""

    embed: EmbedConfig = field(default_factory=EmbedConfig)
    """How its sentences are embedded, in blocks of 65,536 pairs, by `embed.workers` processes;
    their vectors stay on disk beside the output, as float16, until the scores are there."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source`, `target` and `score` of bitext whose header
    does not say which they are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_encoder_languages(self.encoders)
        check_columns(self.columns)


@dataclass(frozen=True, kw_only=True)
class ProbabilityConfig(ExactSearchConfig):
    """How the probability that a pair is a translation is learned."""

    encoders: dict[str, Path] = field(default_factory=dict)
    """Languages with an encoder of their own: a student of the encoder given."""

    embed: EmbedConfig = field(default_factory=EmbedConfig)
    """How sentences are embedded; in one process."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source`, `target` and `score` of bitext whose header
    does not say which they are; of known pairs as well."""

    planted_pairs: PositiveInt = 2000
    """Pairs to learn from at most; each gives up to four negatives."""

    neighbor_weight: Share = 0.75
    """Share of the weight of all negatives for sentences paired with a wrong neighbor, as most
    wrong mined pairs are; changed numbers and dropped parts have the rest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_encoder_languages(self.encoders)
        check_columns(self.columns)
