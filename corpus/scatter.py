"""Crawl shards with known translations: aligned text hidden among other text of its languages.

Mining is measured on them: the sentences that are translations of each other are known, and
everything around them is not.
"""

import dataclasses
import hashlib
import logging
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import regex

from corpus.config import Config, NonNegativeInt, PositiveInt
from corpus.crawl.wet import write_wet
from corpus.errors import DataError, UserError
from corpus.files import read_lines, write_lines
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import check_language
from corpus.records import labeled_text_files
from corpus.text import normalize

logger = logging.getLogger(__name__)

# A mark that may end a sentence with text after it: a splitter may rightly split there, and then
# the line is no longer the unit whose translation is known. CJK marks need no space after them.
_INNER_END = regex.compile(r"[.!?…؟۔।:;](?=[\s\p{P}]+\p{L})|[。！？](?=.*\p{L})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScatterConfig(Config):
    """Which text is scattered, and among how much other text."""

    languages: tuple[str, ...]
    """Languages to scatter, the pivot of the gold pairs first."""

    other_languages: tuple[str, ...] = ()
    """Languages of which there is other text only: what `languages` are to be told apart from."""

    other_lines: NonNegativeInt = 6000
    """Maximum lines of other text per language."""

    document_lines: PositiveInt = 25
    """Lines per document, on average."""

    documents_per_shard: PositiveInt = 500
    """Documents in one shard, of all languages mixed."""

    seed: int = 1
    """Seed of order and placement."""

    def __post_init__(self) -> None:
        """Check the languages as well."""
        super().__post_init__()
        if len(self.languages) < 2:
            raise UserError("`languages` names the pivot and at least one more language")
        for language in self.languages + self.other_languages:
            check_language(language)
        both = sorted(set(self.languages) & set(self.other_languages))
        if both:
            raise UserError(f"`{both[0]}` is in both `languages` and `other_languages`")


def scatter(text: Path, other: Path, output: Path, config: ScatterConfig) -> Summary:
    """Write `output/crawl/*.warc.wet.gz` and `output/gold/<pivot>-<language>.tsv`.

    Args:
        text: `<language>.txt`, line-aligned: what is scattered.
        other: `<language>.txt[.gz|.zst]`: the text around it, unaligned.
        output: Where the shards and the gold pairs go.
        config: Languages and sizes.

    Raises:
        UserError: If a language has no file.
        DataError: If the aligned files differ in their number of lines.
    """
    aligned, around = labeled_text_files(text), labeled_text_files(other)
    every = config.languages + config.other_languages
    for wanted, directory, files in ((config.languages, text, aligned), (every, other, around)):
        for language in wanted:
            if language not in files:
                raise UserError(f"{directory} holds no text of `{language}`")
    inputs = [files[language] for language in config.languages for files in (aligned, around)]
    inputs += [around[language] for language in config.other_languages]

    def work(task: Task) -> Outcome:
        return _scatter(
            {language: read_lines(aligned[language]) for language in config.languages},
            {language: read_lines(around[language]) for language in every},
            output,
            config,
        )

    return run_job(
        name="scatter",
        tasks=[Task(name="shards", inputs=tuple(inputs))],
        work=work,
        output=output,
        config=config,
    )


def _scatter(
    aligned: dict[str, list[str]],
    around: dict[str, list[str]],
    output: Path,
    config: ScatterConfig,
) -> Outcome:
    lengths = {language: len(lines) for language, lines in aligned.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{language} {count:,}" for language, count in lengths.items())
        raise DataError(f"the aligned files differ in their number of lines: {listed}")
    texts = {language: [normalize(line) for line in lines] for language, lines in aligned.items()}
    kept = list(_single_sentences(texts))
    outputs = list(_write_gold(texts, kept, output, config.languages))
    documents: list[tuple[str, bytes]] = []
    for language in config.languages + config.other_languages:
        lines = texts.get(language, [])
        known = set(lines)
        others = [line for line in map(normalize, around[language]) if line and line not in known]
        documents += _documents(language, [lines[i] for i in kept if lines], others, config)
    _random(config.seed, "shards").shuffle(documents)
    for number, start in enumerate(range(0, len(documents), config.documents_per_shard)):
        path = output / "crawl" / f"shard-{number:03d}.warc.wet.gz"
        write_wet(path, documents[start : start + config.documents_per_shard], "scattered text")
        outputs.append(path)
    counts = {
        "aligned lines": len(texts[config.languages[0]]),
        "of them scattered, being one sentence in every language": len(kept),
        "documents": len(documents),
    }
    return Outcome(counts=counts, outputs=tuple(outputs))


def _single_sentences(texts: dict[str, list[str]]) -> Iterator[int]:
    """Yield the lines that are one sentence in every language and occur once in each."""
    seen: dict[str, set[str]] = {language: set() for language in texts}
    for i in range(len(next(iter(texts.values())))):
        lines = {language: text[i] for language, text in texts.items()}
        if any(not line or _INNER_END.search(line) for line in lines.values()):
            continue
        if any(line in seen[language] for language, line in lines.items()):
            continue
        for language, line in lines.items():
            seen[language].add(line)
        yield i


def _write_gold(
    texts: dict[str, list[str]], kept: Sequence[int], output: Path, languages: Sequence[str]
) -> Iterator[Path]:
    pivot, *others = languages
    for language in others:
        path = output / "gold" / f"{pivot}-{language}.tsv"
        write_lines(path, (f"{texts[pivot][i]}\t{texts[language][i]}" for i in kept))
        yield path


def _documents(
    language: str, known: list[str], others: list[str], config: ScatterConfig
) -> list[tuple[str, bytes]]:
    """Return documents of one language: both kinds of lines shuffled, one line a paragraph."""
    generator = _random(config.seed, language)
    generator.shuffle(others)
    lines = known + others[: config.other_lines]
    generator.shuffle(lines)
    documents: list[tuple[str, bytes]] = []
    start = 0
    while start < len(lines):
        length = generator.randint(config.document_lines // 2, config.document_lines * 3 // 2)
        body = "\n".join(lines[start : start + length]) + "\n"
        documents.append((f"https://{language}.example/{len(documents):05d}", body.encode()))
        start += length
    return documents


def _random(seed: int, name: str) -> random.Random:
    """Return a generator for one purpose, so that adding a language moves no other one's text."""
    digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))
