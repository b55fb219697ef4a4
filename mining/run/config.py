"""The recipe of `mining run`: its inputs, the language pairs, and the settings of its steps."""

from dataclasses import dataclass, field
from pathlib import Path

from corpus.config import Config, PositiveFloat, PositiveInt, execution_only
from corpus.errors import UserError
from corpus.languages import check_language, parse_direction
from corpus.protocols import BUILTIN as BUILTIN_LID
from mining.bitext.config import FilterConfig, ProbabilityConfig
from mining.encoders import BUILTIN
from mining.encoders.embed_config import EmbedConfig, check_encoder_languages
from mining.search.config import MineConfig
from mining.sentences.config import SentencesConfig


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """What is mined, for which language pairs, and how each step works."""

    shards: tuple[str, ...] = ()
    """Crawl shards: files, with `*` as a wildcard, or URLs."""

    extracted: Path | None = None
    """Directory of sentences to mine instead of `shards`: of `mining sentences`, or of another run,
    as for a second one with a better student."""

    lid: Path = BUILTIN_LID
    """Model directory of the language identifier, or `builtin`."""

    pairs: tuple[str, ...] = execution_only(())
    """Language pairs to mine, as `deu_Latn-eng_Latn`. Without them: `pivot`, or all."""

    pivot: str = execution_only("")
    """Mine every language with this one. Without it and `pairs`: each language with each other."""

    languages: tuple[str, ...] = ()
    """Languages to keep of the shards, or to mine of `extracted`. Empty: all that are identified;
    those that the encoder does not know are in no pair."""

    min_sentences: PositiveInt = execution_only(100)  # noqa: RUF009
    """Languages with fewer are in no pair, unless `pairs` names it."""

    encoder: Path = BUILTIN
    """Encoder directory, or `builtin`."""

    encoders: dict[str, Path] = field(default_factory=dict)
    """Languages with an encoder of their own: a student of `encoder`."""

    known: tuple[Path, ...] = ()
    """Directories of pairs known to be translations, which calibrate the directions that they
    have. Other directions are calibrated by their own most mutual pairs."""

    evaluation_sets: tuple[Path, ...] = ()
    """Sets whose sentences must not be among the pairs."""

    toxicity: Path | None = None
    """Word lists by language."""

    budget_core_hours: PositiveFloat | None = execution_only(None)  # noqa: RUF009
    """CPU time of all steps up to mining, over all runs with this output, after which nothing more
    is begun. What is running is finished; pairs that were mined are filtered. None: no limit."""

    workers: PositiveInt = execution_only(2)  # noqa: RUF009
    """Processes that mine and filter, each with a language pair."""

    sentences: SentencesConfig = field(default_factory=SentencesConfig)
    """How shards become sentences; its `languages` are those above."""

    embed: EmbedConfig = field(default_factory=EmbedConfig)
    """How sentences are embedded."""

    mine: MineConfig = field(default_factory=MineConfig)
    """How pairs are found, scored and kept."""

    probability: ProbabilityConfig = field(default_factory=ProbabilityConfig)
    """How the probability of each pair is learned, if `filter.min_probability` is not 0; `encoders`
    and `embed` are those above."""

    filter: FilterConfig = field(default_factory=FilterConfig)
    """Which of these pairs the filters keep."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.extracted is not None and self.shards:
            raise UserError("give `shards` or `extracted`, not both")
        if not self.shards and self.extracted is None:
            raise UserError("`shards` names no crawl shard")
        if self.pairs and self.pivot:
            raise UserError("give `pairs` or `pivot`, not both")
        for language in (*self.languages, *([self.pivot] if self.pivot else [])):
            check_language(language)
        named = set(self.languages)
        for pair in self.pairs:
            direction = parse_direction(pair)
            if direction.source == direction.target:
                raise UserError(f"`pairs`: source and target of `{pair}` are the same")
            missing = [one for one in direction if named and one not in named]
            if missing:
                raise UserError(f"`pairs` has `{pair}`, and `languages` lacks `{missing[0]}`")
        if self.pivot and named and self.pivot not in named:
            raise UserError(f"`pivot` is `{self.pivot}`, which `languages` lacks")
        if self.sentences.languages:
            raise UserError("`sentences.languages` is set by `languages` here")
        if self.filter.direction:
            raise UserError("`filter.direction` cannot be set: every pair has its own")
        check_encoder_languages(self.encoders)
