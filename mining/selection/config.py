"""Config of `tongues mining select`."""

from dataclasses import dataclass, field
from typing import Literal

from corpus.config import Config, PositiveInt, Share, execution_only
from corpus.errors import UserError
from corpus.languages import check_language
from mining.sentences.config import SentencesConfig


@dataclass(frozen=True, kw_only=True)
class ExpandConfig(Config):
    """How `--expand` looks for a language that the index does not know."""

    among: tuple[str, ...] = ()
    """Languages of the index among whose pages the first round looks too, as neighbors that the
    language is taken for."""

    pages_per_host: PositiveInt = 3
    """Pages of each host that are read to know it."""

    hosts_per_round: PositiveInt = 1000
    """Hosts looked at in a round, those with the most pages first."""

    min_share: Share = 0.2
    """Least share of a host's sentences in the language for which the host is taken."""

    min_sentences: PositiveInt = 3
    """Least number of them."""

    sentences: SentencesConfig = field(default_factory=SentencesConfig)
    """How the pages become sentences."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for language in self.among:
            check_language(language)
        if self.sentences.languages:
            raise UserError("`sentences.languages` would hide what else is on a page; leave it out")


@dataclass(frozen=True, kw_only=True)
class SelectConfig(Config):
    """Which pages of an index are selected, besides what the options say."""

    statuses: tuple[int, ...] = (200,)
    """HTTP status codes (`fetch_status`); empty for all."""

    media_types: tuple[str, ...] = ("text/html", "application/xhtml+xml")
    """As detected (`content_mime_detected`); empty for all."""

    subsets: tuple[str, ...] = ("warc",)
    """Partitions of the index; others are `crawldiagnostics` and `robotstxt`. Files whose path
    names no `subset=` are always read."""

    near: Literal["host", "path"] = "host"
    """What is near a page of `--near`: pages of its host, or those in its directory and below."""

    main_language: bool = False
    """Whether a language must be the first, largest one of a page, not any of its three."""

    once: bool = True
    """Of pages with the same content (`content_digest`), select the one in the last file only."""

    expand: ExpandConfig = field(default_factory=ExpandConfig)

    workers: PositiveInt = execution_only(2)  # noqa: RUF009
    """Processes, each with a file of the index."""
