"""Configs of `tongues mining sentences` and `tongues mining text`."""

from dataclasses import dataclass, field
from pathlib import Path

from corpus.config import Config, PositiveInt, Share, execution_only
from corpus.errors import UserError
from corpus.fetch.byte_ranges import RangesConfig
from corpus.languages import check_language
from corpus.protocols import IdentifierOptions
from corpus.text import scripts_by_code
from mining.checks import check_positive, check_share

_SHARES = (
    "min_letter_share", "max_digit_share", "max_word_share", "min_script_share", "min_lid_score",
)  # fmt: skip
_COUNTS = (
    "min_characters", "max_characters", "min_words", "max_word_characters", "max_character_run",
)  # fmt: skip
_LANGUAGE_SCRIPTS = ("Hans", "Hant", "Jpan", "Kore")


@dataclass(frozen=True, kw_only=True)
class FilterProfile:
    """Limits that differ for a script or a language; null keeps the general limit."""

    min_characters: int | None = None
    """Shorter sentences are dropped."""

    max_characters: int | None = None
    """Longer sentences are dropped."""

    min_words: int | None = None
    """Sentences with fewer words are dropped."""

    max_word_characters: int | None = None
    """Sentences with a longer word are dropped."""

    min_letter_share: float | None = None
    """Least share of letters and marks among the characters that are not spaces, 0 to 1."""

    max_digit_share: float | None = None
    """Largest share of digits among the characters that are not spaces, 0 to 1."""

    max_character_run: int | None = None
    """Repetitions of one character in a row from which a sentence is dropped."""

    max_word_share: float | None = None
    """Largest share of the commonest word (of the commonest letter in scripts without spaces),
    0 to 1."""

    min_script_share: float | None = None
    """Least share of letters in the script of the identified language, 0 to 1."""

    min_lid_score: float | None = None
    """Least probability of the identified language, 0 to 1."""

    def __post_init__(self) -> None:
        _check_limits(self)


@dataclass(frozen=True, kw_only=True)
class SentenceFilterConfig:
    """Which sentences of a crawl are worth keeping.

    These limits are for languages that put spaces between words. `mining.sentences.profiles` has
    what scripts without spaces have instead; `profiles` wins over both.
    """

    min_characters: int = 6
    """Shorter sentences are dropped: too common to be found again as a translation."""

    max_characters: int = 1000
    """Longer sentences are dropped; FLORES-200's longest has about 700."""

    min_words: int = 2
    """Sentences with fewer words are dropped: a single word is a label."""

    max_word_characters: int = 80
    """Sentences with a longer word are dropped: it is an address, a key or encoded data.
    FLORES-200's longest has 72 characters (in Lao)."""

    min_letter_share: float = 0.6
    """Least share of letters and marks among the characters that are not spaces, 0 to 1."""

    max_digit_share: float = 0.35
    """Largest share of digits among the characters that are not spaces, 0 to 1."""

    max_character_run: int = 12
    """Sentences with the same character this many times in a row are dropped, as rulers are."""

    max_word_share: float = 0.5
    """Largest share of the commonest word in sentences of at least eight words, 0 to 1; of the
    commonest letter in scripts without spaces."""

    min_script_share: float = 0.5
    """Least share of letters in the script of the identified language, 0 to 1."""

    min_lid_score: float = 0.5
    """Least probability of the identified language, 0 to 1; the identifier's own thresholds
    apply first."""

    profiles: dict[str, FilterProfile] = field(default_factory=dict)
    """Other limits by script (`Thai`) or language (`tha_Thai`); those of a language win."""

    def __post_init__(self) -> None:
        _check_limits(self)
        for key in self.profiles:
            if len(key) == len("Latn"):
                if key not in scripts_by_code() and key not in _LANGUAGE_SCRIPTS:
                    raise UserError(f"`{key}` in `profiles` is neither a script nor a language")
            else:
                check_language(key)


SPANS = KEEP, CUT, DROP = "keep", "cut", "drop"


@dataclass(frozen=True, kw_only=True)
class IdentifierConfig:
    """How the identifier answers; `agree_with`, `groups` and `spans` exclude each other."""

    languages: tuple[str, ...] = ()
    """The only languages it answers, beside `und` and `zxx`, as if the model had no others; all if
    empty. Text in others is taken for one of these, or for `und`: name the neighbors too."""

    agree_with: str = ""
    """Directory of a second identifier, or `builtin`. Where the answers differ, the sentence is
    rejected as `unknown_language`."""

    groups: bool = False
    """Reject sentences that fit several languages of a confusable group (`bos_Latn`, `hrv_Latn`)
    and none clearly, as `confusable`."""

    spans: str = KEEP
    """Sentences that switch languages: `keep` them in the language they have as a whole, `cut` them
    into their parts, or `drop` them as `mixed_languages`. `cut` and `drop` score every word: some
    thousand sentences a second and core."""

    def __post_init__(self) -> None:
        for language in self.languages:
            check_language(language)
        if self.spans not in SPANS:
            raise UserError(f"`spans` is `{self.spans}`; known: {', '.join(SPANS)}")
        if bool(self.agree_with) + self.groups + (self.spans != KEEP) > 1:
            raise UserError("`agree_with`, `groups` and `spans` exclude each other; leave two out")

    @property
    def options(self) -> IdentifierOptions:
        """The same as the loader takes it."""
        return IdentifierOptions(
            languages=self.languages,
            agree_with=Path(self.agree_with) if self.agree_with else None,
            groups=self.groups,
            spans=self.spans != KEEP,
        )


@dataclass(frozen=True, kw_only=True)
class DocumentsConfig:
    """Which documents of the shards are read."""

    blocked: tuple[Path, ...] = ()
    """Lists of domains and addresses that are left out, one a line: `example.org` with all hosts
    below, `example.org/forum` with all pages below. Lines that begin with `#` say nothing."""

    only: tuple[Path, ...] = ()
    """Lists of the domains and addresses that are read, without the others."""

    near_duplicates: float | None = None
    """Of documents whose texts are at least so alike, the longest one is read: Jaccard index of
    their 24-byte shingles, estimated, as 0.8. Takes a pass of its own over all shards, and none can
    be added later. None reads all."""

    def __post_init__(self) -> None:
        if self.near_duplicates is not None:
            check_share("near_duplicates", self.near_duplicates)


@dataclass(frozen=True, kw_only=True)
class SentencesConfig:
    """How crawl shards become sentences."""

    languages: tuple[str, ...] = ()
    """Languages to keep; empty keeps all that are identified."""

    documents: DocumentsConfig = field(default_factory=DocumentsConfig)

    identifier: IdentifierConfig = field(default_factory=IdentifierConfig)

    repair_mojibake: bool = True
    """Undo wrong decodings ("Ð¿Ñ€Ð¸" is "при") with ftfy, where its heuristic sees one."""

    filters: SentenceFilterConfig = field(default_factory=SentenceFilterConfig)

    write_rejects: bool = False
    """Write every rejected line and sentence with its reason to `OUTPUT/rejects`."""

    ranges: RangesConfig = field(default_factory=RangesConfig)
    """How records are read by byte range, with `--ranges`."""

    max_document_mb: int = 64
    """Records and JSON lines above this are skipped and counted; blocks of plain text are cut."""

    shard_mb: int = 1024
    """Larger files on this machine are read by several tasks where they can be divided: JSON lines,
    plain text and Parquet; compressed ones from a quarter of it on, WET, WARC and JSON lines of
    several gzip members or Zstandard frames, as crawlers write them."""

    bucket_sentences: int = 2_000_000
    """Sentences in one file of the output at most, on average, copies not yet dropped. A language
    with more has 2, 4, 8 … buckets, each a range of the hash that exact and near copies share."""

    memory_mb: int = execution_only(256)
    """Memory for sentences in each process, in MiB, besides a document and the identifier."""

    workers: int = execution_only(2)
    """Processes, each with a shard and an identifier of its own."""

    def __post_init__(self) -> None:
        check_positive(
            max_document_mb=self.max_document_mb,
            shard_mb=self.shard_mb,
            bucket_sentences=self.bucket_sentences,
            memory_mb=self.memory_mb,
            workers=self.workers,
        )


TEXT_SUFFIXES = (".txt", ".txt.gz", ".txt.zst", ".jsonl", ".jsonl.gz", ".jsonl.zst")


@dataclass(frozen=True, kw_only=True)
class TextConfig(Config):
    """Which sentences are written as text, and how."""

    suffix: str = ".txt"
    """`.txt`: a sentence a line. `.jsonl`: an object a line with `language`, `text`, `lid_score`,
    `document` and `position`. Either with `.gz` or `.zst` after it."""

    min_lid_score: Share = 0.0
    """Least probability of the identified language; sentences were filtered by it before."""

    min_characters: PositiveInt = 1
    """Shorter sentences are left out."""

    max_characters: PositiveInt | None = None
    """Longer sentences are left out; None for no limit."""

    sentences: SentencesConfig = field(default_factory=SentencesConfig)
    """How crawl shards become sentences, where shards are given."""

    workers: PositiveInt = execution_only(2)  # noqa: RUF009
    """Processes, each with a language of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.suffix not in TEXT_SUFFIXES:
            raise UserError(f"`suffix` is `{self.suffix}`; known: {', '.join(TEXT_SUFFIXES)}")
        if self.max_characters is not None and self.max_characters < self.min_characters:
            raise UserError(
                f"`max_characters` is {self.max_characters}, below `min_characters`"
                f" ({self.min_characters})"
            )


def _check_limits(limits: FilterProfile | SentenceFilterConfig) -> None:
    for name in _COUNTS:
        value = getattr(limits, name)
        if value is not None:
            check_positive(**{name: value})
    for name in _SHARES:
        value = getattr(limits, name)
        if value is not None:
            check_share(name, value)
