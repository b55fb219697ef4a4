"""What `mining_real.py` hides, and the text around it, dealt out so that nothing serves twice."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.files import read_lines, write_lines
from corpus.records import labeled_text_files
from corpus.text import sentence_hash
from mining.encoders import BUILTIN_LANGUAGES

DONE = "prepared.txt"
PIVOT = "eng_Latn"
LEAST_CHARACTERS = 40
"""Of English noise: long sentences are nobody's translation by chance."""

LEAST_NOISE = 2500
"""Lines of noise in a language: fewer are filled up with text that a student has seen."""

BUCKETS = 10
"""English sentences of Tatoeba and WMT fall into so many by their hashes: the first is for the
noise around hidden English sentences, the next two for that of the `seen` languages."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One corpus whose sentences are hidden, and what students learn from."""

    hidden: str
    """The corpus that is hidden."""

    other: str
    """The line-aligned corpus that students are trained on, with Tatoeba and WMT."""

    english: tuple[str, ...]
    """Languages mined against English."""

    pairs: tuple[tuple[str, str], ...]
    """Pairs without English. Noise of both is of different English sentences, so that no unlisted
    translations are between them."""

    related: tuple[str, ...]
    """More languages that students learn, relatives of those mined."""

    lines: tuple[int, int, int]
    """How many lines of the corpus are hidden, planted for calibration, and noise of each kind."""

    other_lines: int = 10_000
    """Lines of noise in a language, at most."""

    @property
    def name(self) -> str:
        """How the command line and the work directory call it."""
        return self.hidden

    @property
    def languages(self) -> tuple[str, ...]:
        """All languages with hidden text, English first."""
        others = dict.fromkeys((*self.english, *(code for pair in self.pairs for code in pair)))
        return (PIVOT, *others)

    @property
    def taught(self) -> tuple[str, ...]:
        """All languages with text to train on, but English."""
        return tuple(dict.fromkeys((*self.languages[1:], *self.related)))

    @property
    def mined(self) -> list[tuple[str, str]]:
        """All pairs that are mined, those with English first."""
        return [*((PIVOT, code) for code in self.english), *self.pairs]

    @property
    def seconds(self) -> frozenset[str]:
        """Languages whose noise is the second kind."""
        return frozenset(second for _, second in self.pairs)


EXPERIMENTS = (
    Experiment(
        hidden="ntrex128",
        other="nllb_seed",
        english=(
            "deu_Latn",
            "fra_Latn",
            "mri_Latn",
            "rus_Cyrl",
            "ell_Grek",
            "heb_Hebr",
            "arb_Arab",
            "prs_Arab",
            "hin_Deva",
            "ben_Beng",
            "zho_Hans",
            "jpn_Jpan",
            "kor_Hang",
            "kat_Geor",
        ),
        pairs=(
            ("fra_Latn", "deu_Latn"),
            ("ukr_Cyrl", "rus_Cyrl"),
            ("ben_Beng", "hin_Deva"),
            ("zho_Hans", "jpn_Jpan"),
            ("heb_Hebr", "arb_Arab"),
        ),
        related=("arz_Arab", "pbt_Arab", "bho_Deva", "mag_Deva", "pes_Arab"),
        lines=(900, 300, 100),
    ),
    Experiment(
        hidden="nllb_seed",
        other="ntrex128",
        english=(
            "mri_Latn",
            "prs_Arab",
            "pbt_Arab",
            "dzo_Tibt",
            "arz_Arab",
            "crh_Latn",
            "mag_Deva",
            "vec_Latn",
            "scn_Latn",
            "lim_Latn",
        ),
        pairs=(
            ("pbt_Arab", "prs_Arab"),
            ("ary_Arab", "arz_Arab"),
            ("bho_Deva", "mag_Deva"),
            ("lij_Latn", "vec_Latn"),
        ),
        related=(
            "arb_Arab",
            "pes_Arab",
            "bod_Tibt",
            "hin_Deva",
            "npi_Deva",
            "mar_Deva",
            "tur_Latn",
            "azj_Latn",
            "tuk_Latn",
            "uzn_Latn",
            "ita_Latn",
            "spa_Latn",
            "cat_Latn",
            "por_Latn",
            "fra_Latn",
            "ron_Latn",
            "nld_Latn",
            "afr_Latn",
            "deu_Latn",
            "ltz_Latn",
            "smo_Latn",
        ),
        lines=(1000, 500, 1300),
    ),
)


class Text:
    """The text of one experiment, dealt out so that nothing serves two purposes."""

    def __init__(self, data: Path, experiment: Experiment) -> None:
        self._data = data
        self._experiment = experiment
        order = list(range(len(read_lines(data / experiment.hidden / f"{PIVOT}.txt"))))
        random.Random(1).shuffle(order)
        hidden, planted, noise = experiment.lines
        self._rows = {
            name: order[start : start + count]
            for name, start, count in (
                ("hidden", 0, hidden),
                ("planted", hidden, planted),
                ("english", hidden + planted, noise),
                ("first", hidden + planted + noise, noise),
                ("second", hidden + planted + 2 * noise, noise),
            )
        }

    def hidden(self, language: str, part: str) -> list[str]:
        """Return the lines of a part of the hidden corpus."""
        lines = read_lines(self._data / self._experiment.hidden / f"{language}.txt")
        return [lines[row] for row in self._rows[part]]

    def bitext(self, language: str) -> Iterator[tuple[str, str, str, int]]:
        """Yield source corpus, English, foreign and bucket of all pairs of Tatoeba and WMT."""
        for source in ("tatoeba", "wmt_newstest"):
            path = self._data / source / f"{PIVOT}-{language}.tsv"
            if path.is_file():
                for line in read_lines(path):
                    english, foreign = line.split("\t")[:2]
                    yield source, english, foreign, bucket(english)

    def training(self, language: str) -> dict[str, list[tuple[str, str]]]:
        """Return the pairs of a language with English to train on, by source."""
        used = range(3 if language in self._experiment.seconds else 1, BUCKETS)
        found: dict[str, list[tuple[str, str]]] = {}
        for source, english, foreign, number in self.bitext(language):
            if number in used:
                found.setdefault(source, []).append((english, foreign))
        return found

    def aligned(self, language: str) -> list[str]:
        """Return the language's lines of the other corpus; none where it has no such file."""
        path = self._data / self._experiment.other / f"{language}.txt"
        return read_lines(path) if path.is_file() else []

    def noise(self, language: str) -> list[str]:
        """Return the lines around a language's hidden ones; none translates another one."""
        part = self.part(language)
        lines = self.hidden(language, part)
        kept = set(map(sentence_hash, lines))
        parts = [line for name in self._rows for line in self.hidden(language, name)]
        if language != PIVOT and self._experiment.hidden == "ntrex128":
            parts += self.aligned(language)
        unwanted = set(map(sentence_hash, parts))
        seen = {} if language == PIVOT else self._seen(language)
        fresh = [line for line in self._outside(language) if sentence_hash(line) not in seen]
        filling = [seen[key] for key in sorted(seen)]
        for number, line in enumerate(fresh + filling):
            if number >= len(fresh) and len(lines) >= LEAST_NOISE:
                break
            key = sentence_hash(line)
            if key not in unwanted and key not in kept:
                kept.add(key)
                lines.append(line)
        return lines

    def _outside(self, language: str) -> list[str]:
        """Return noise of other corpora than the hidden one, which no student has seen.

        Where NTREX-128 is hidden, English is of NLLB-Seed, and text of the builtin encoder's other
        languages of Tatoeba and WMT up to 2018: text for language identification has more
        translations of NTREX-128's sentences (WMT's of 2019, French of Canada) and of WMT's.
        """
        is_news = self._experiment.hidden == "ntrex128"
        if language == PIVOT and is_news:
            return self.aligned(PIVOT)
        if language == PIVOT:
            paths = sorted(self._data.glob(f"wmt_newstest/{PIVOT}-*.tsv"))
            languages = [path.stem.split("-")[1] for path in paths]
            pairs = [pair for other in languages for pair in self.bitext(other)]
            return [
                english
                for _, english, _, number in pairs
                if number == 0 and len(english) >= LEAST_CHARACTERS
            ]
        is_second = language in self._experiment.seconds
        if is_second or (is_news and language in BUILTIN_LANGUAGES):
            return [
                foreign
                for *_, foreign, number in self.bitext(language)
                if (number in (1, 2)) == is_second
            ]
        return read_lines(labeled_text_files(self._data / "lid")[language])

    def _seen(self, language: str) -> dict[int, str]:
        """Return what students are trained on, but for translations of the second noise."""
        lines = self.aligned(language)
        lines += [foreign for *_, foreign, number in self.bitext(language) if number > 2]
        return {sentence_hash(line): line for line in lines}

    def part(self, language: str) -> str:
        """Return which part of the hidden corpus is noise of a language."""
        if language == PIVOT:
            return "english"
        return "second" if language in self._experiment.seconds else "first"


def bucket(english: str) -> int:
    """Return the bucket of an English sentence."""
    return sentence_hash(english) % BUCKETS


def prepare(data: Path, work: Path, experiment: Experiment) -> None:
    """Write what an experiment reads: training text, hidden text, noise, pairs to plant."""
    if (work / DONE).is_file():
        return
    text = Text(data, experiment)
    for language in (PIVOT, *experiment.taught):
        if language != PIVOT:
            for source, pairs in text.training(language).items():
                path = work / "train" / source / f"{PIVOT}-{language}.tsv"
                write_lines(path, (f"{english}\t{foreign}" for english, foreign in pairs))
        if aligned := text.aligned(language):
            write_lines(work / "train" / "aligned" / f"{language}.txt", aligned)
    for language in experiment.languages:
        write_lines(work / "text" / f"{language}.txt", text.hidden(language, "hidden"))
        write_lines(work / "other" / f"{language}.txt", text.noise(language))
    for source, target in experiment.mined:
        sides = text.hidden(source, "planted"), text.hidden(target, "planted")
        lines = (f"{a}\t{b}" for a, b in zip(*sides, strict=True) if a and b)
        write_lines(work / "planted" / f"{source}-{target}.tsv", lines)
    write_lines(work / DONE, ["done"])


def prepare_lid(data: Path, work: Path, experiments: Sequence[Experiment]) -> None:
    """Write the text that the identifier is trained on: without any hidden sentence."""
    if (work / DONE).is_file():
        return
    files = labeled_text_files(data / "lid")
    hidden: set[int] = set()
    for experiment in experiments:
        text = Text(data, experiment)
        for language in experiment.languages:
            hidden.update(map(sentence_hash, text.hidden(language, "hidden")))
    languages = {code for one in experiments for code in (*one.languages, *one.related)}
    for language in sorted(languages & set(files)):
        lines = [line for line in read_lines(files[language]) if sentence_hash(line) not in hidden]
        write_lines(work / "text" / f"{language}.txt", lines)
    write_lines(work / DONE, ["done"])
