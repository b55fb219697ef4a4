"""Where mining reads and writes, and which files a language pair is mined from."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from corpus import stores
from corpus.errors import UserError
from corpus.languages import Direction, check_language
from corpus.records import count_rows, sentence_shards
from mining.embeddings import SPACE_FILE, check_one_space, embedding_files
from mining.search.config import SearchConfig
from mining.search.known_pairs import KnownFiles, known_files
from mining.search.neighbors import uses_index
from mining.search.train_index import index_files


class MineFiles(NamedTuple):
    """What a language pair is mined from."""

    shards: dict[str, list[Path]]
    """Sentence shards of both languages."""

    vectors: dict[str, list[Path]]
    """Their embeddings."""

    known: KnownFiles | None
    shared_index: tuple[Path, ...]
    """Files of the shared index, where it is searched."""


class MinePlaces(NamedTuple):
    """Directories of mining."""

    sentences: Path
    """Of `tongues mining sentences`."""

    embeddings: Path
    """Of `tongues mining embed`."""

    output: Path
    """Of the bitext."""

    known: Path | None = None
    """Of `tongues mining embed-known`."""

    def files(self, direction: Direction, config: SearchConfig) -> MineFiles:
        """Return what a language pair is mined from.

        Raises:
            UserError: If a language has no sentences, or there are no known pairs of the direction.
        """
        source, target = direction
        shards, vectors = language_files(self.sentences, self.embeddings, source, target)
        largest = max(sum(map(count_rows, paths)) for paths in shards.values())
        return MineFiles(
            shards,
            vectors,
            known_files(self.known, source, target) if self.known else None,
            index_files(self.embeddings) if uses_index(config, largest) else (),
        )


def language_files(
    sentences: Path, embeddings: Path, source: str, target: str
) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Return the sentence shards and the embeddings of two languages.

    Raises:
        UserError: If a language has no sentences, the languages are the same, or their encoders are
            of different spaces.
    """
    for language in (source, target):
        check_language(language)
    if source == target:
        raise UserError(f"source and target are both `{source}`")
    for language in (source, target):
        stores.pull(sentences / language)
        stores.pull(embeddings / language)
    shards = {language: sentence_shards(sentences, language) for language in (source, target)}
    check_one_space([embeddings / language / SPACE_FILE for language in (source, target)])
    vectors = {
        language: [embeddings / language / f"{path.stem}.npy" for path in paths]
        for language, paths in shards.items()
    }
    return shards, vectors


def files_of(shards: Mapping[str, list[Path]], vectors: Mapping[str, list[Path]]) -> list[Path]:
    """Return all files that sentence shards and embeddings consist of, as inputs of a task."""
    sentences = [path for paths in shards.values() for path in paths]
    return sentences + [
        part for paths in vectors.values() for path in paths for part in embedding_files(path)
    ]
