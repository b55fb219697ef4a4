"""How well a model identifies the lines of a FLORES split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus.errors import UserError
from corpus.flores import read_split, split_languages
from corpus.languages import NO_LANGUAGE, UNKNOWN_LANGUAGE
from lid.model import LanguageIdentifier

Confusions = Counter[tuple[str, str]]
"""Lines by (language, answer)."""


def measure(
    identifier: LanguageIdentifier, flores: Path, split: str, confusions: int
) -> dict[str, Any]:
    """Measure a model on the languages that it knows and the split has.

    Returns:
        `macro_f1`, `macro_fpr` and `languages` of the answers as `identify` gives them, with
        `und` counted as wrong; under `closed` the same averages without thresholds;
        `confusions`, the commonest wrong answers; `languages_without_model`, what was left out.

    Raises:
        UserError: If model and split share no language.
    """
    available = split_languages(flores, split)
    known = set(identifier.languages)
    tested = [language for language in available if language in known]
    if not tested:
        raise UserError(
            f"{flores}/{split} holds none of the model's languages ({', '.join(sorted(known)[:5])}"
            ", …). Measure on a split that has them."
        )
    answers: Confusions = Counter()
    closed: Confusions = Counter()
    for language, lines in read_split(flores, split, tested).items():
        for best in identifier.rank(lines):
            closed[language, best.language] += 1
            answers[language, identifier.settle(best).language] += 1
    languages = score_languages(answers, tested)
    return {
        "split": split,
        "lines": answers.total(),
        "macro_f1": _mean(languages, "f1"),
        "macro_fpr": _mean(languages, "fpr"),
        "unknown_share": _answered(answers, UNKNOWN_LANGUAGE),
        "noise_share": _answered(answers, NO_LANGUAGE),
        "closed": {
            "macro_f1": _mean(score_languages(closed, tested), "f1"),
            "macro_fpr": _mean(score_languages(closed, tested), "fpr"),
        },
        "languages": languages,
        "confusions": [
            {"language": language, "answer": answer, "count": count}
            for (language, answer), count in answers.most_common()
            if language != answer
        ][:confusions],
        "languages_without_model": sorted(set(available) - known),
        "languages_without_lines": sorted(known - set(available)),
    }


def score_languages(
    answers: Mapping[tuple[str, str], int], languages: Sequence[str]
) -> dict[str, dict[str, float | int]]:
    """Return f1, precision, recall, false-positive rate and n of each language.

    precision = right / answered, recall = right / n, fpr = wrongly answered / lines of others;
    a ratio over nothing is 0.
    """
    lines: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    for (language, answer), count in answers.items():
        lines[language] += count
        answered[answer] += count
    total = lines.total()
    scores: dict[str, dict[str, float | int]] = {}
    for language in languages:
        right = answers.get((language, language), 0)
        wrong = answered[language] - right
        both = answered[language] + lines[language]
        others = total - lines[language]
        scores[language] = {
            "f1": 2 * right / both if both else 0.0,
            "precision": right / answered[language] if answered[language] else 0.0,
            "recall": right / lines[language] if lines[language] else 0.0,
            "fpr": wrong / others if others else 0.0,
            "n": lines[language],
        }
    return scores


def _mean(languages: Mapping[str, Mapping[str, float | int]], key: str) -> float:
    return sum(scores[key] for scores in languages.values()) / len(languages)


def _answered(answers: Confusions, answer: str) -> float:
    return sum(n for (_, given), n in answers.items() if given == answer) / answers.total()
