"""What to do next, by the figures of a run."""

from collections.abc import Iterator, Mapping
from typing import Any

from new_language.scores import best_system, mean_change, mean_score

_SURE = 0.8
"""Expected precision below which mined pairs teach many wrong ones."""

_FOUND = 0.6
"""Expected recall, and one less the xsim error, below which the student is the bottleneck."""

_FAILED = 0.7
"""xsim error above which the student learned next to nothing."""

_IDENTIFIED = 0.95
"""F1 of the language below which other languages' text is among its own, or its own is lost."""

_FEW_SENTENCES = 10_000
_FEW_SEED = 2_000
_MOST_LOST = 1.0
"""chrF++ that the other directions may lose, in their mean."""

_GAIN = 1.0
"""chrF++ that is worth more of the same."""

_LONG = 0.4
"""Tokens per character; NLLB-200 cuts its own languages in the Latin script into 0.2 to 0.35."""


def advise(results: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return advice, each with `what` to do and `why`, that with the most to gain first."""
    rules = (
        _student_fails,
        _mined_is_worse,
        _shards,
        _precision,
        _student,
        _identifier,
        _others,
        _seed,
        _system,
        _vocabulary,
    )
    return [{"what": what, "why": why} for rule in rules for what, why in rule(results)]


_Advice = Iterator[tuple[str, str]]


def _student_fails(results: Mapping[str, Any]) -> _Advice:
    error = results["student"]["xsim_error"]
    if error is not None and error > _FAILED:
        yield (
            "Look at the seed before all else: are its sides in the right order, translations line"
            " by line, in the language and script that `language` names?",
            f"The student finds the translation of only {1 - error:.0%} of the sentences.",
        )


def _mined_is_worse(results: Mapping[str, Any]) -> _Advice:
    seed, mined = (mean_score(results, system) for system in ("seed", "mined"))
    if seed is not None and mined is not None and mined < seed:
        yield (
            "Look at the mined pairs: too few, or no translations? Were both systems trained long"
            " enough (`settings.train.updates`)?",
            f"The mined pairs cost {seed - mined:.1f} chrF++.",
        )


def _shards(results: Mapping[str, Any]) -> _Advice:
    shards, mining = results["shards"], results["mining"]
    found = shards["kept"].get(results["language"])
    if found is None or mining is None or mining["kept"] is None:
        return
    each = mining["kept"] / max(shards["shards"], 1)
    seed, mined = (mean_score(results, system) for system in ("seed", "mined"))
    if seed is not None and mined is not None and mined - seed >= _GAIN:
        yield (
            "More shards: `tongues mining select` finds those of a language in Common Crawl.",
            f"{mining['kept']:,} mined pairs were worth {mined - seed:.1f} chrF++; a shard gave"
            f" {each:,.0f} on average.",
        )
    elif found < _FEW_SENTENCES:
        yield (
            "More shards: `tongues mining select` finds those of a language in Common Crawl.",
            f"The shards have {found:,} sentences of the language.",
        )


def _precision(results: Mapping[str, Any]) -> _Advice:
    mining = results["mining"]
    if mining is None or mining["expected_precision"] is None:
        return
    expected = mining["expected_precision"]
    if expected < _SURE:
        yield (
            "Fewer, surer pairs: `settings.mine.mine.target_precision: 0.9`, or `tongues mining"
            " probability` and a filter by it. Look at the samples below.",
            f"Of the mined pairs {expected:.0%} should be translations.",
        )


def _student(results: Mapping[str, Any]) -> _Advice:
    mining, error = results["mining"], results["student"]["xsim_error"]
    recall = mining and mining["expected_recall"]
    if (recall is not None and recall < _FOUND) or (error is not None and error > 1 - _FOUND):
        figures = [
            *([f"a recall of {recall:.0%} is expected"] if recall is not None else []),
            *([f"the student's xsim error is {error:.0%}"] if error is not None else []),
        ]
        yield (
            "More pairs for the student: bitext of relatives (`student_bitext`), or another round"
            " (`rounds`).",
            f"{' and '.join(figures)}.".capitalize(),
        )


def _identifier(results: Mapping[str, Any]) -> _Advice:
    measured = results["identifier"]
    own = measured and measured["own"]
    if not own or own["f1"] >= _IDENTIFIED:
        return
    rivals = {
        one["language"] if one["answer"] == results["language"] else one["answer"]
        for one in measured["confusions"]
    }
    names = ", ".join(sorted(rivals)) or "others"
    yield (
        f"More labeled lines of the language and of {names} in `identifier_text`.",
        f"The identifier's F1 of the language is {own['f1']:.3f}.",
    )


def _others(results: Mapping[str, Any]) -> _Advice:
    best = best_system(results)
    change = None if best is None else mean_change(results, best)
    if change is not None and change < -_MOST_LOST:
        yield (
            "More replay: text of the model's other languages in `replay`, or the pairs that it was"
            " trained on in `settings.train.bitext.replay`, each in both orders; and more updates.",
            f"With `{best}` the other directions lost {-change:.1f} chrF++ on average.",
        )


def _seed(results: Mapping[str, Any]) -> _Advice:
    train = results["seed"].get("train")
    if train is not None and train < _FEW_SEED:
        yield (
            "More seed pairs: they teach the student, calibrate mining, and are the pairs that are"
            " surely right. Some hundred lines of the text at hand help most.",
            f"The seed has {train:,} pairs to train on.",
        )


def _system(results: Mapping[str, Any]) -> _Advice:
    scores = {one: mean_score(results, one) for one in ("mined", "all")}
    mined, everything = scores["mined"], scores["all"]
    if mined is None or everything is None:
        return
    gain = everything - mined
    if gain >= _GAIN:
        yield (
            "A second round: translate back with `all` in place of `mined`, and more text.",
            f"Text translated back was worth {gain:.1f} chrF++.",
        )
    elif gain < 0:
        yield (
            "Leave back-translation out (`systems: [seed, mined]`), or repeat it when `mined` is"
            " better.",
            f"Text translated back cost {-gain:.1f} chrF++.",
        )


def _vocabulary(results: Mapping[str, Any]) -> _Advice:
    measured = results["vocabulary"]
    if measured and measured["after"]["tokens_per_character"] > _LONG:
        yield (
            "More pieces: `settings.extend.min_count` lower, or more text of the language.",
            f"Its text has {measured['after']['tokens_per_character']:.2f} tokens per character.",
        )
