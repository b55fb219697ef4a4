"""The settings of `tongues mining sentences`."""

from dataclasses import dataclass, field

from corpus.config import execution_only
from mining.checks import check_positive, check_share


@dataclass(frozen=True, kw_only=True)
class SentenceFilterConfig:
    """Which sentences of a crawl are worth keeping. Lengths are in characters, for all scripts."""

    min_characters: int = 6
    """Shorter sentences are too common to be anybody's translation."""

    max_characters: int = 1000
    """Longer ones are overlong lines; FLORES-200's longest sentence has about 700."""

    min_letter_share: float = 0.6
    """Letters and marks among the characters that are not spaces."""

    max_digit_share: float = 0.35
    """Digits among the characters that are not spaces."""

    max_character_run: int = 12
    """The same character this many times in a row is a ruler or a scream, not a sentence."""

    max_word_share: float = 0.5
    """Share of the commonest word, in sentences of at least eight words."""

    min_script_share: float = 0.5
    """Letters that belong to the script of the identified language."""

    min_lid_score: float = 0.5
    """Probability of the identified language; the identifier's own thresholds come first."""

    def __post_init__(self) -> None:
        check_positive(
            min_characters=self.min_characters,
            max_characters=self.max_characters,
            max_character_run=self.max_character_run,
        )
        for name in ("min_letter_share", "max_digit_share", "max_word_share", "min_script_share"):
            check_share(name, getattr(self, name))
        check_share("min_lid_score", self.min_lid_score)


@dataclass(frozen=True, kw_only=True)
class SentencesConfig:
    """How crawl shards become sentences."""

    languages: tuple[str, ...] = ()
    """Languages to keep; empty keeps all that are identified."""

    repair_mojibake: bool = True
    """Undo wrong decodings ("Ð¿Ñ€Ð¸" is "при") with ftfy, where its heuristic sees one."""

    filters: SentenceFilterConfig = field(default_factory=SentenceFilterConfig)

    workers: int = execution_only(2)
    """Processes, each with a shard and an identifier of its own."""
