"""Files of monolingual text: listing them and reading their sentences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.files import open_lines
from corpus.records import (
    labeled_text_files,
    sentence_batches,
    sentence_languages,
    sentence_shards,
)

_LINES = 1 << 14
_NAME = "text"


@dataclass(frozen=True)
class TextFile:
    """A file of sentences of one language."""

    name: str
    """Of its task and shard: `text/<number of its directory>/<language>[/<file>]`."""

    language: str
    path: Path

    @classmethod
    def of_task(cls, name: str, path: Path) -> "TextFile | None":
        """Return the file that a task of such a name is about; None if it is about bitext."""
        kind, _, language, *_ = name.split("/")
        return cls(name, language, path) if kind == _NAME else None


def text_files(directories: Sequence[Path]) -> list[TextFile]:
    """Return the files of text of directories: `<language>.txt`, or sentences by language.

    Raises:
        UserError: If a directory is missing or holds neither.
    """
    found = []
    for number, directory in enumerate(directories):
        languages = list(sentence_languages(directory))
        for language in languages:
            found += [
                TextFile(f"{_NAME}/{number}/{language}/{shard.stem}", language, shard)
                for shard in sentence_shards(directory, language)
            ]
        if not languages:
            found += [
                TextFile(f"{_NAME}/{number}/{language}", language, path)
                for language, path in labeled_text_files(directory).items()
            ]
    return found


def read_text(path: Path) -> Iterator[list[str]]:
    """Yield the sentences of a text file in batches."""
    if path.suffix == ".parquet":
        for batch in sentence_batches(path, ["text"]):
            yield [text or "" for text in batch.column("text").to_pylist()]
        return
    lines: list[str] = []
    for line in open_lines(path):
        lines.append(line)
        if len(lines) == _LINES:
            yield lines
            lines = []
    if lines:
        yield lines
