"""The settings of scoring a bitext that is there already."""

from dataclasses import dataclass, field

from mining.encoders.use_config import EmbedConfig
from mining.search.config import SearchConfig


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(SearchConfig):
    """How the pairs of a bitext are scored."""

    embed: EmbedConfig = field(default_factory=EmbedConfig)
    """How its sentences are embedded; they stay in memory, as float16."""
