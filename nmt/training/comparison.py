"""What a training that starts from a model changed: scores before and after, with significance.

The start is scored on directions that are trained and on a sample of its others, and so is what
came of it, on the same sentences. A difference of a direction is that of chrF++ of the text;
whether it is significant is decided on the sentences' own chrF++, by paired bootstrap resampling
(Koehn 2004): the share of resamples in which the mean difference has the other sign, twice.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.console import format_table
from corpus.errors import UserError
from corpus.files import read_json, write_json, write_text
from corpus.flores import read_split, split_languages
from corpus.languages import Direction, parse_direction
from corpus.protocols import TranslationScorer
from corpus.report.html import SORT_SCRIPT, figure, page, section, table
from nmt.model.directory import VOCABULARY_DIRECTORY, TrainedModel, load_model
from nmt.model.lora import merge_lora
from nmt.model.translator import Translator
from nmt.threads import find_device
from nmt.training.config import ResolvedTrainConfig
from nmt.training.near_start import scan_averages
from nmt.training.sections import ComparisonConfig
from nmt.training.start import Start
from nmt.translation.decoding.config import TranslateConfig
from nmt.translation.translator import TextTranslator
from nmt.vocabulary.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

BEFORE_FILE = "before.json"
COMPARISON_FILE = "comparison.json"
PAGE_FILE = "comparison.html"

_WORDS = {
    "trained": "What the training was for.",
    "other": "A sample of what else the model translates: what the training cost them.",
}

Hypotheses = dict[str, list[str]]
"""Translations by direction."""


class ComparedText(NamedTuple):
    """What is translated before and after."""

    texts: Mapping[str, Sequence[str]]
    """First sentences of the split by language."""

    trained: tuple[Direction, ...]
    others: tuple[Direction, ...]

    @property
    def directions(self) -> tuple[Direction, ...]:
        """All directions."""
        return (*self.trained, *self.others)


def read_test_set(
    config: ComparisonConfig,
    flores: Path,
    trained: Sequence[Direction],
    known: Sequence[Direction],
) -> ComparedText:
    """Choose directions, and read their sentences.

    Args:
        config: What is compared.
        flores: Directory in FLORES-200's layout.
        trained: Directions of the training.
        known: Those of the model that it starts from.

    Raises:
        UserError: If the split is missing, or has not a language of a direction that is named.
    """
    there = set(split_languages(flores, config.split))
    named = [parse_direction(direction) for direction in config.directions]
    for direction in named:
        if not there.issuperset(direction):
            raise UserError(f"{flores / config.split} has not both languages of {direction}")
    covered = [direction for direction in trained if there.issuperset(direction)]
    unseen = [d for d in known if there.issuperset(d) and d not in trained and d not in named]
    chosen = _spaced(covered, config.max_trained)
    others = [d for d in named if d not in chosen] + _spaced(unseen, config.max_others)
    languages = sorted({language for direction in (*chosen, *others) for language in direction})
    texts = read_split(flores, config.split, languages) if languages else {}
    first = {language: lines[: config.sentences] for language, lines in texts.items()}
    return ComparedText(first, tuple(chosen), tuple(others))


def _spaced(directions: Sequence[Direction], most: int) -> list[Direction]:
    """Return at most so many, evenly spaced in a sorted list, which spreads them over languages."""
    count = min(most, len(directions))
    return [sorted(directions)[i * len(directions) // count] for i in range(count)]


def translate(
    model: TrainedModel, tests: ComparedText, config: ComparisonConfig, threads: int
) -> Hypotheses:
    """Return translations of the test set, in every direction whose languages the model has."""
    translator = TextTranslator(model, TranslateConfig(beam_size=config.beam_size, threads=threads))
    known = set(model.vocabulary.languages)
    return {
        str(direction): translator.translate(list(tests.texts[direction.source]), *direction)
        for direction in tests.directions
        if known.issuperset(direction)
    }


@dataclass(frozen=True)
class Comparison:
    """The comparison of one training."""

    config: ComparisonConfig
    threads: int
    start: Start
    model: Path
    """Directory of the start."""

    tests: ComparedText
    score: TranslationScorer
    max_loss: float
    """chrF++ that an average may cost the other directions."""

    def translate_before(self, directory: Path) -> None:
        """Translate with the start, once: a resumed training finds the file."""
        path = directory / BEFORE_FILE
        if path.is_file():
            return
        logger.info("translating in %d directions before training", len(self.tests.directions))
        loaded = load_model(self.model)
        loaded.translator.to(find_device("auto"))
        write_json(path, translate(loaded, self.tests, self.config, self.threads))

    def finish(self, directory: Path, model: Translator) -> tuple[Path, ...]:
        """Compare with what came of it, average if that is wanted, and write both.

        Args:
            directory: Of the training.
            model: What came of it; it has the best average's weights afterwards, in evaluation
                mode.
        """
        before: Hypotheses = read_json(directory / BEFORE_FILE)
        vocabulary = Vocabulary.load(self.model / VOCABULARY_DIRECTORY)
        trained = TrainedModel(model.eval(), vocabulary, ())

        def compare_now() -> dict[str, Any]:
            after = translate(trained, self.tests, self.config, self.threads)
            return compare(self.tests, before, after, self.score, self.config)

        averages: dict[str, Any] = {}
        if self.config.averages:
            merge_lora(model)
            found, best = scan_averages(
                model,
                self.start.create(),
                self.config.averages,
                measure=lambda: compare_now()["means"],
                quality=lambda means: quality_of_average(means, self.max_loss),
            )
            averages = {
                "averages": {
                    f"{share:g}": {kind: own["after"] for kind, own in means.items()}
                    for share, means in found.items()
                },
                "kept_average": best,
            }
        return write_comparison(directory, {**compare_now(), **averages})


def quality_of_average(
    means: Mapping[str, Mapping[str, float]], max_loss: float
) -> tuple[float, float]:
    """Return what orders averages: the trained directions' score, if the others lost little enough.

    Args:
        means: As `compare` has them.
        max_loss: chrF++ that the others may lose; the less beyond it, the better.
    """
    lost = -means["other"]["difference"] if "other" in means else 0.0
    return -max(lost - max_loss, 0.0), means["trained"]["after"] if "trained" in means else -lost


def open_comparison(
    config: ResolvedTrainConfig,
    start: Start,
    trained: Sequence[Direction],
    score: TranslationScorer,
) -> Comparison | None:
    """Return the comparison of a training; None if it compares nothing."""
    if config.flores is None or config.start_from is None or not config.comparison.is_used:
        return None
    known = start.description.directions
    tests = read_test_set(config.comparison, config.flores, trained, known)
    if not tests.directions:
        logger.warning("nothing is compared: %s has no direction of the model", config.flores)
        return None
    return Comparison(
        config.comparison,
        config.threads,
        start,
        config.start_from,
        tests,
        score,
        config.selection.max_loss,
    )


def compare(
    tests: ComparedText,
    before: Hypotheses,
    after: Hypotheses,
    score: TranslationScorer,
    config: ComparisonConfig,
) -> dict[str, Any]:
    """Return scores before and after, by direction, and their means.

    Returns:
        `directions`, {direction: {kind, before, after, difference, p_value, sentences}}, chrF++ 0
        to 100, kind `trained` or `other`; `means`, {kind: {before, after, difference, worse,
        better}}, the latter two being counts of significant differences; `significance`, the level.
    """
    rows: dict[str, dict[str, Any]] = {}
    for direction in tests.directions:
        references = list(tests.texts[direction.target])
        name = str(direction)
        scores = [score(found[name], references) for found in (before, after)]
        ours, theirs = (
            np.array([score([h], [r]) for h, r in zip(found[name], references, strict=True)])
            for found in (before, after)
        )
        rows[name] = {
            "kind": "trained" if direction in tests.trained else "other",
            "before": scores[0],
            "after": scores[1],
            "difference": scores[1] - scores[0],
            "p_value": paired_bootstrap(theirs - ours, config.resamples),
            "sentences": len(references),
        }
    kinds: set[str] = {row["kind"] for row in rows.values()}
    return {
        "directions": rows,
        "means": {kind: _means(rows, kind, config.significance) for kind in sorted(kinds)},
        "significance": config.significance,
    }


def paired_bootstrap(differences: NDArray[np.float64], resamples: int) -> float:
    """Return how likely a mean difference of the other sign is, two-sided, in (0, 1].

    Args:
        differences: Of the sentences, [N].
        resamples: Sentences are drawn with replacement so often.
    """
    generator = np.random.default_rng(1)
    drawn = generator.integers(0, len(differences), (resamples, len(differences)))
    means = differences[drawn].mean(1)
    other = min((means <= 0).sum(), (means >= 0).sum())
    return min(1.0, 2 * (int(other) + 1) / (resamples + 1))


def _means(rows: Mapping[str, Mapping[str, Any]], kind: str, level: float) -> dict[str, float]:
    own = [row for row in rows.values() if row["kind"] == kind]
    means = {
        name: sum(row[name] for row in own) / len(own) for name in ("before", "after", "difference")
    }
    clear = [row["difference"] for row in own if row["p_value"] < level]
    return {
        **means,
        "worse": sum(difference < 0 for difference in clear),
        "better": sum(difference > 0 for difference in clear),
    }


def write_comparison(directory: Path, comparison: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write the comparison as JSON and as a page; log its tables."""
    write_json(directory / COMPARISON_FILE, comparison)
    write_text(directory / PAGE_FILE, render(comparison))
    header = ["direction", "", "before", "after", "difference", "p"]
    logger.info("chrF++ before and after:\n%s", format_table(header, _rows(comparison)))
    averages = comparison.get("averages")
    if averages:
        kinds = _kinds(comparison)
        rows = [[share, *(f"{means[k]:.1f}" for k in kinds)] for share, means in averages.items()]
        logger.info(
            "mean chrF++ of averages of start and end, of which %g of the trained weights is"
            " kept:\n%s",
            comparison["kept_average"],
            format_table(["trained weights", *kinds], rows),
        )
    return directory / COMPARISON_FILE, directory / PAGE_FILE


def _rows(comparison: Mapping[str, Any]) -> list[list[str]]:
    rows = [
        [
            name,
            row["kind"],
            *(f"{row[key]:.1f}" for key in ("before", "after")),
            f"{row['difference']:+.1f}",
            f"{row['p_value']:.3f}",
        ]
        for name, row in comparison["directions"].items()
    ]
    for kind, means in comparison["means"].items():
        numbers = [f"{means[key]:.1f}" for key in ("before", "after")]
        clear = f"{means['better']} better, {means['worse']} worse"
        rows.append([f"mean, {kind}", kind, *numbers, f"{means['difference']:+.1f}", clear])
    return rows


def _kinds(comparison: Mapping[str, Any]) -> list[str]:
    return sorted(comparison["means"], reverse=True)  # trained before other


def render(comparison: Mapping[str, Any]) -> str:
    """Return the page."""
    kinds = _kinds(comparison)
    cards, sections = [], []
    for kind in kinds:
        means = comparison["means"][kind]
        own = {n: row for n, row in comparison["directions"].items() if row["kind"] == kind}
        words = f"chrF++, mean of {len(own)} {kind} directions"
        clear = f"{means['better']} significantly better, {means['worse']} worse"
        cards.append(figure(f"{means['difference']:+.1f}", f"{words}: {clear}"))
        columns = ["before", "after", "difference", "p_value"]
        rows: list[list[object]] = [[n, *(row[key] for key in columns)] for n, row in own.items()]
        header = ["direction", *columns[:-1], "p"]
        shown = table(header, rows, sortable=True, decimals=(0, 1, 1, 1, 3))
        sections.append(section(f"{kind.capitalize()} directions", _WORDS[kind], shown))
    words = (
        "chrF++ of the model that training started from and of the trained one, on the same"
        f" sentences; p by paired bootstrap, significant below {comparison['significance']:g}."
    )
    body = [f'<div class="figures">{"".join(cards)}</div>', *sections]
    averages = comparison.get("averages")
    if averages:
        names = ["share of the trained weights", *kinds]
        rows = [[share, *(means[kind] for kind in kinds)] for share, means in averages.items()]
        average_words = f"Mean chrF++ of each average; {comparison['kept_average']:g} is kept."
        shown = table(names, rows, decimals=1)
        body.append(section("Averages of start and end", average_words, shown))
    return page("Before and after", words, body, SORT_SCRIPT)
