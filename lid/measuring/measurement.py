"""How well a model identifies the lines of a FLORES split, and text that it does not know."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from corpus.console import Progress
from corpus.errors import DataError, UserError
from corpus.files import read_lines
from corpus.flores import read_split, split_languages
from corpus.languages import (
    NO_LANGUAGE,
    UNKNOWN_LANGUAGE,
    find_language,
    is_language,
    language_name,
    script_of,
)
from corpus.protocols import LanguageIdentifier as IdentifierProtocol
from corpus.protocols import Prediction
from lid.config import MeasureConfig
from lid.directory import SPECIAL_CLASSES
from lid.identifier import Ranked
from lid.labeled_text import SUFFIXES
from lid.measuring.scores import (
    Confusions,
    PairedAnswers,
    compare,
    mean_score,
    merge_groups,
    micro_f1,
    score_languages,
)

LEVELS = (("high", 5_000), ("low", 500), ("very low", 0))
"""Resource levels and the fewest training lines that each begins with."""

UNKNOWN_LEVEL = "unknown"
"""Level of a language whose training lines are not recorded, as in an imported model."""

EXPLAINED_BELOW = 0.5
"""Languages with a lower F1 are explained."""

_NAMED = 2  # other languages that an explanation names on each side


@runtime_checkable
class _Ranking(Protocol):
    def rank(self, lines: Sequence[str]) -> Sequence[Ranked]: ...

    def apply_threshold(self, best: Ranked) -> Prediction: ...


def measure(
    identifier: IdentifierProtocol,
    flores: Path,
    split: str,
    config: MeasureConfig,
    *,
    training_lines: Mapping[str, int] | None = None,
    unknown: Path | None = None,
    other: IdentifierProtocol | None = None,
) -> dict[str, Any]:
    """Measure a model on the languages that it knows and the split has.

    A language's level is `high` from 5,000 training lines, `low` from 500, `very low` below, and
    `unknown` if the model does not record them.

    Args:
        identifier: The model.
        flores: Directory in FLORES-200's layout.
        split: Name of the split.
        config: Lengths, groups and trials.
        training_lines: Lines that the model learned each language from, as far as known.
        unknown: Directory of lines that belong to no language of the model; see `measure_unknown`.
        other: A second model for the same lines; see `compare`.

    Returns:
        `macro_f1`, `micro_f1`, `macro_fpr` and `languages` of the answers as `identify` gives
        them, with `und` counted as wrong; `merged`, the same with the config's groups as one
        language each; `scripts` and `levels`, means over their languages; under `closed` the
        averages without thresholds; `confusions`, the commonest wrong answers; `explanations` of
        poor languages; `languages_without_model`, what was left out; `open` and `against` if
        asked for.

    Raises:
        UserError: If model and split share no language, or the two models do not.
    """
    available = split_languages(flores, split)
    known = _names_in_split(identifier, available)
    tested = [language for language in available if language in known.values()]
    if not tested:
        some = ", ".join(identifier.languages[:5])
        raise UserError(
            f"{flores}/{split} holds none of the model's languages ({some}, …). Measure on a split"
            " that has them."
        )
    other_known = {} if other is None else _names_in_split(other, available)
    shared = [code for code in tested if code in other_known.values()]
    if other is not None and not shared:
        raise UserError(f"the two models share none of the languages of {flores}/{split}.")
    answers: Confusions = Counter()
    closed: Confusions = Counter()
    paired: PairedAnswers = Counter()
    paired_closed: PairedAnswers = Counter()
    with Progress(len(tested), "measuring", "languages") as progress:
        for language, lines in read_split(flores, split, tested).items():
            best, answered = _answer(identifier, lines, known)
            closed.update((language, answer) for answer in best)
            answers.update((language, answer) for answer in answered)
            if other is not None and language in shared:
                other_best, other_answered = _answer(other, lines, other_known)
                paired_closed.update(zip(itertools.repeat(language), best, other_best))
                paired.update(zip(itertools.repeat(language), answered, other_answered))
            progress.update()
    if not answers:
        raise DataError(f"{flores}/{split} holds no lines in {', '.join(tested)}.")
    languages = score_languages(answers, tested)
    closed_languages = score_languages(closed, tested)
    learned = {code: (training_lines or {}).get(name) for name, code in known.items()}
    measured = {
        "split": split,
        "lines": answers.total(),
        "macro_f1": mean_score(languages, "f1"),
        "micro_f1": micro_f1(answers, tested),
        "macro_fpr": mean_score(languages, "fpr"),
        "unknown_share": _answered(answers, UNKNOWN_LANGUAGE),
        "noise_share": _answered(answers, NO_LANGUAGE),
        "merged": merge_groups(answers, tested, config.groups),
        "closed": {
            "macro_f1": mean_score(closed_languages, "f1"),
            "macro_fpr": mean_score(closed_languages, "fpr"),
            "merged": merge_groups(closed, tested, config.groups),
        },
        "scripts": _average_by(languages, script_of),
        "levels": _average_by(languages, lambda code: resource_level(learned[code])),
        "languages": languages,
        "training_lines": learned,
        "confusions": [
            {"language": language, "answer": answer, "count": count}
            for (language, answer), count in answers.most_common()
            if language != answer
        ][: config.confusions],
        "explanations": explain(answers, languages, learned),
        "languages_without_model": sorted(set(available) - set(tested)),
        "languages_without_lines": sorted(set(identifier.languages) - known.keys()),
    }
    if unknown is not None:
        measured["open"] = measure_unknown(identifier, unknown)
    if other is not None:
        measured["against"] = {
            **compare(paired, shared, config.trials, config.seed),
            "closed": compare(paired_closed, shared, config.trials, config.seed),
        }
    return measured


def resource_level(training_lines: int | None) -> str:
    """Return the level of a language by the number of its training lines."""
    if training_lines is None:
        return UNKNOWN_LEVEL
    return next(name for name, least in LEVELS if training_lines >= least)


def explain(
    answers: Confusions,
    scores: Mapping[str, Mapping[str, float | int]],
    training_lines: Mapping[str, int | None],
) -> dict[str, str]:
    """Say of each language with an F1 below .5 where its lines go and whose it takes."""
    explanations = {}
    for language, own in scores.items():
        if own["f1"] >= EXPLAINED_BELOW:
            continue
        taken = Counter({b: n for (a, b), n in answers.items() if a == language != b})
        given = Counter({a: n for (a, b), n in answers.items() if b == language != a})
        takers, givers = taken.most_common(_NAMED), given.most_common(_NAMED)
        goes = [f"{n:,} go to {_name(code)}" for code, n in takers]
        if rest := taken.total() - sum(n for _, n in takers):
            goes.append(f"{rest:,} go elsewhere")
        text = f"{_name(language)}: {answers[language, language]:,} of {own['n']:,} lines are right"
        text += f"; {', '.join(goes)}." if goes else "."
        if givers:
            gets = " and ".join(f"{n:,} lines of {_name(code)}" for code, n in givers)
            text += f" It is given {gets}."
        named = dict.fromkeys([language, *(code for code, _ in takers + givers)])
        learned = [
            f"{code} {_count(training_lines.get(code))}"
            for code in named
            if code not in SPECIAL_CLASSES
        ]
        explanations[language] = f"{text} Training lines: {', '.join(learned)}."
    return explanations


def measure_unknown(identifier: IdentifierProtocol, directory: Path) -> dict[str, Any]:
    """Measure how much text of no language it knows a model answers with a language.

    Args:
        identifier: The model.
        directory: Files `<anything>.txt[.gz|.zst]`: languages that the model does not know, or
            noise. Empty lines are left out, since they are never accepted.

    Returns:
        `lines` and `accepted_share`, the share answered with neither `und` nor `zxx`, of all
        lines and under `files` of each file, with its commonest accepted `answers`.

    Raises:
        UserError: If there is no such text, or a file is named after a language of the model.
    """
    if not directory.is_dir():
        raise UserError(f"{directory} is not a directory of <anything>.txt[.gz|.zst] files.")
    files: dict[str, dict[str, Any]] = {}
    counts: Counter[str] = Counter()
    for path in sorted(path for path in directory.iterdir() if path.name.endswith(SUFFIXES)):
        if path.name.partition(".")[0] in identifier.languages:
            raise UserError(f"{path} is named after a language that the model knows; remove it.")
        lines = [line for line in read_lines(path) if line.strip()]
        accepted = Counter(_answer(identifier, lines, {})[1])
        for special in SPECIAL_CLASSES:
            accepted.pop(special, None)
        files[path.name] = {
            "lines": len(lines),
            "accepted_share": accepted.total() / max(len(lines), 1),
            "answers": dict(accepted.most_common(3)),
        }
        counts.update(lines=len(lines), accepted=accepted.total())
    if not counts["lines"]:
        raise UserError(f"{directory} holds no lines in <anything>.txt[.gz|.zst] files.")
    share = counts["accepted"] / counts["lines"]
    return {"lines": counts["lines"], "accepted_share": share, "files": files}


def _names_in_split(identifier: IdentifierProtocol, available: Sequence[str]) -> dict[str, str]:
    """Return what the split calls the languages that a model knows, by the model's names."""
    found = {code: find_language(code, identifier.languages) for code in available}
    return {known: code for code, known in found.items() if known is not None}


def _answer(
    identifier: IdentifierProtocol, lines: Sequence[str], names: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return each line's best class and its answer with thresholds, by the split's names.

    An identifier that has no classes without thresholds answers the same both times.
    """
    if not isinstance(identifier, _Ranking):
        given = [names.get(one.language, one.language) for one in identifier.identify(lines)]
        return given, given
    ranked = identifier.rank(lines)
    answers = [identifier.apply_threshold(best).language for best in ranked]
    best = [one.language for one in ranked]
    return [names.get(one, one) for one in best], [names.get(one, one) for one in answers]


def _average_by(
    languages: Mapping[str, Mapping[str, float | int]], key: Callable[[str], str]
) -> dict[str, dict[str, float | int]]:
    """Average scores over the languages with the same key; level names keep their order."""
    order = [name for name, _ in LEVELS]
    buckets: dict[str, dict[str, Mapping[str, float | int]]] = {}
    for code, scores in languages.items():
        buckets.setdefault(key(code), {})[code] = scores
    return {
        name: {
            "languages": len(buckets[name]),
            "macro_f1": mean_score(buckets[name], "f1"),
            "macro_fpr": mean_score(buckets[name], "fpr"),
        }
        for name in sorted(buckets, key=lambda n: (order.index(n) if n in order else 9, n))
    }


def _answered(answers: Confusions, answer: str) -> float:
    return sum(n for (_, given), n in answers.items() if given == answer) / answers.total()


def _name(code: str) -> str:
    """Return a language as a person knows it, with its code."""
    if code == UNKNOWN_LANGUAGE:
        return "und (not sure enough)"
    if code == NO_LANGUAGE:
        return "zxx (no language)"
    return f"{language_name(code)} ({code})" if is_language(code) else code


def _count(lines: int | None) -> str:
    return "unknown" if lines is None else f"{lines:,}"
