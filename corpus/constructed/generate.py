"""Writes a data set: labelled text, crawl shards, gold, seed bitext, dev and devtest sets."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from corpus.config import Config
from corpus.constructed import concepts
from corpus.constructed.crawl import LanguageText, write_documents
from corpus.constructed.grammar import Speaker
from corpus.constructed.languages import FAMILIES, LANGUAGES, PIVOT, ConstructedLanguage
from corpus.constructed.lexicon import make_lexicon, make_names, make_roots
from corpus.constructed.meaning import Meaning, MeaningGenerator
from corpus.crawl.wet import write_wet
from corpus.files import write_lines
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import script_of
from corpus.text import sentence_key

logger = logging.getLogger(__name__)


GENERATOR_VERSION = 2
"""Version of the generator: increased whenever the same seed gives other bytes."""

CRAWL_DESCRIPTION = "text of a constructed crawl"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of what a language gets, in sentences."""

    seed: int
    gold: int
    extra: int
    """Sentences in the crawl that nobody translated."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large a data set is."""

    languages: dict[str, Sizes]
    """By resource level; the pivot has every sentence that another language has."""

    gold_meanings: int
    pivot_extra: int
    labelled: int
    """Lines of labelled text per language."""

    spare: int
    """Sentences per language for boilerplate and damage."""

    dev: int
    devtest: int
    shards: int
    lexicon_share: float
    """Share of each class of concepts that is used."""


SCALES = {
    "tiny": Scale(
        languages={
            "high": Sizes(seed=250, gold=700, extra=200),
            "low": Sizes(seed=125, gold=290, extra=100),
            "very low": Sizes(seed=42, gold=38, extra=33),
        },
        gold_meanings=900,
        pivot_extra=250,
        labelled=150,
        spare=40,
        dev=20,
        devtest=40,
        shards=2,
        lexicon_share=0.5,
    ),
    "demo": Scale(
        languages={
            "high": Sizes(seed=3000, gold=9000, extra=2500),
            "low": Sizes(seed=1500, gold=3500, extra=1200),
            "very low": Sizes(seed=800, gold=200, extra=150),
        },
        gold_meanings=11_000,
        pivot_extra=3000,
        labelled=1500,
        spare=150,
        dev=100,
        devtest=200,
        shards=8,
        lexicon_share=1.0,
    ),
}


@dataclass(frozen=True, kw_only=True)
class ConstructedConfig(Config):
    """Which data set of constructed languages to write."""

    scale: Literal["demo", "tiny"] = "demo"
    """`demo`: trains in minutes on two cores. `tiny`: a twelfth of it, for tests."""

    seed: int = 1
    """Seed of words and sentences."""


class ConstructedWorld:
    """The languages and the meanings of one seed."""

    def __init__(self, seed: int, lexicon_share: float = 1.0) -> None:
        self._seed = seed
        names = make_names(self.random("names"), len(concepts.NAMES))
        self.speakers: dict[str, Speaker] = {}
        roots = {
            family.name: make_roots(
                family,
                [language for language in LANGUAGES if language.family == family.name],
                concepts.all_words(),
                self.random(f"roots {family.name}"),
            )
            for family in FAMILIES.values()
        }
        for language in LANGUAGES:
            lexicon = make_lexicon(language, roots[language.family], names)
            self.speakers[language.code] = Speaker(language, lexicon)
        self.meanings = MeaningGenerator(self.random("meanings"), lexicon_share)
        self._said: dict[str, set[str]] = {language.code: set() for language in LANGUAGES}

    def random(self, purpose: str) -> Random:
        """Return a generator of random numbers of its own for one purpose."""
        digest = hashlib.blake2b(f"{self._seed} {purpose}".encode(), digest_size=8).digest()
        return Random(int.from_bytes(digest, "little"))

    def say_all(self, meaning: Meaning, languages: Sequence[str]) -> dict[str, str] | None:
        """Say a meaning in several languages.

        Returns:
            A sentence per language, or None if one of them was said before, for another meaning.
        """
        said = {code: self.speakers[code].sentence(meaning) for code in languages}
        keys = {code: sentence_key(sentence) for code, sentence in said.items()}
        if any(key in self._said[code] for code, key in keys.items()):
            return None
        for code, key in keys.items():
            self._said[code].add(key)
        return said

    def say_new(self, count: int, languages: Sequence[str]) -> list[dict[str, str]]:
        """Say `count` new meanings in several languages, each sentence for the first time."""
        said = (self.say_all(meaning, languages) for meaning in self.meanings)
        found: Iterator[dict[str, str]] = (sentences for sentences in said if sentences)
        return [next(found) for _ in range(count)]

    def say_nested(self, count: int, wanted: dict[str, int]) -> dict[str, list[tuple[str, str]]]:
        """Say `count` new meanings in the pivot and samples of them in other languages.

        Args:
            count: Meanings to draw.
            wanted: How many of them each language says.

        Returns:
            Pairs of pivot and other sentence, by language, in a random order; a pair fewer where
            a sentence was said before for another meaning.
        """
        meanings = self.meanings.draw(count)
        random = self.random(f"nested {count}")
        chosen = {code: set(random.sample(range(count), size)) for code, size in wanted.items()}
        pairs: dict[str, list[tuple[str, str]]] = {code: [] for code in wanted}
        for index, meaning in enumerate(meanings):
            codes = [code for code in wanted if index in chosen[code]]
            said = self.say_all(meaning, [PIVOT.code, *codes]) if codes else None
            if said is not None:
                for code in codes:
                    pairs[code].append((said[PIVOT.code], said[code]))
        for listed in pairs.values():
            random.shuffle(listed)
        return pairs


def generate(config: ConstructedConfig, output: Path) -> Summary:
    """Write the data set of a config; see `docs/formats.md` for the layout."""
    task = Task(name="data", inputs=(), arguments={"version": GENERATOR_VERSION})
    return run_job(
        name="constructed", tasks=[task], work=_Work(config, output), output=output, config=config
    )


@dataclass(frozen=True)
class _Work:
    config: ConstructedConfig
    output: Path

    def __call__(self, task: Task) -> Outcome:
        scale = SCALES[self.config.scale]
        world = ConstructedWorld(self.config.seed, scale.lexicon_share)
        counts = _write_all(world, scale, self.output)
        return Outcome(counts=counts)


def _write_all(world: ConstructedWorld, scale: Scale, output: Path) -> dict[str, int]:
    everybody = [language.code for language in LANGUAGES]
    others = [language for language in LANGUAGES if language is not PIVOT]
    sizes = {language.code: scale.languages[language.resource] for language in others}
    for split, size in (("dev", scale.dev), ("devtest", scale.devtest)):
        sentences = world.say_new(size, everybody)
        for code in everybody:
            lines = [said[code] for said in sentences]
            write_lines(output / "flores" / split / f"{code}.{split}", lines)

    most_seed = max(size.seed for size in sizes.values())
    seed = world.say_nested(most_seed, {code: size.seed for code, size in sizes.items()})
    gold = world.say_nested(scale.gold_meanings, {code: size.gold for code, size in sizes.items()})
    for folder, bitext in (("seed", seed), ("gold", gold)):
        for code, pairs in bitext.items():
            path = output / folder / f"{PIVOT.code}-{code}.tsv"
            write_lines(path, [f"{source}\t{target}" for source, target in pairs])

    crawled: dict[str, LanguageText] = {}
    for language in LANGUAGES:
        code = language.code
        clean = _crawled_gold(code, gold)
        extra = scale.pivot_extra if language is PIVOT else sizes[code].extra
        clean += [said[code] for said in world.say_new(extra, [code])]
        spare = [said[code] for said in world.say_new(scale.spare, [code])]
        crawled[code] = LanguageText(clean, spare, language.script.spaced)
        labelled = [said[code] for said in world.say_new(scale.labelled, [code])]
        write_lines(output / "lid" / f"{code}.txt", labelled)
    documents = write_documents(crawled, world.random("crawl"))
    for shard in range(scale.shards):
        path = output / "crawl" / f"shard-{shard:03d}.warc.wet.gz"
        pages = documents[shard :: scale.shards]
        write_wet(path, ((page.url, page.text.encode()) for page in pages), CRAWL_DESCRIPTION)
    write_lines(output / "languages.tsv", _language_table(seed, gold, crawled))
    return {
        "languages": len(LANGUAGES),
        "documents": len(documents),
        "crawled_sentences": sum(len(text.sentences) for text in crawled.values()),
        "gold_pairs": sum(map(len, gold.values())),
        "seed_pairs": sum(map(len, seed.values())),
        "labelled_lines": scale.labelled * len(LANGUAGES),
    }


def _crawled_gold(code: str, gold: dict[str, list[tuple[str, str]]]) -> list[str]:
    """Return the sentences of one language that the gold pairs hold, each once."""
    if code != PIVOT.code:
        return [target for _, target in gold[code]]
    return list(dict.fromkeys(source for pairs in gold.values() for source, _ in pairs))


def _language_table(
    seed: dict[str, list[tuple[str, str]]],
    gold: dict[str, list[tuple[str, str]]],
    crawled: dict[str, LanguageText],
) -> list[str]:
    header = [
        "language",
        "name",
        "script",
        "family",
        "word_order",
        "adpositions",
        "resource",
        "seed_pairs",
        "gold_pairs",
        "crawled_sentences",
    ]
    rows = [header]
    for language in LANGUAGES:
        code = language.code
        rows.append(
            [
                code,
                language.name,
                script_of(code),
                language.family,
                language.word_order,
                _adpositions(language),
                language.resource,
                str(len(seed.get(code, ()))),
                str(len(gold.get(code, ()))),
                str(len(crawled[code].sentences)),
            ]
        )
    return ["\t".join(row) for row in rows]


def _adpositions(language: ConstructedLanguage) -> str:
    return "postpositions" if language.grammar.postpositions else "prepositions"
