"""Off-target rate: translations in another language than the target.

The rate is the share of non-empty hypotheses whose identified language is not the target; `und`,
where the identifier is not sure, counts as not the target and is also counted by itself. The same
rate on the references is its floor. An identifier cannot tell some languages from their sisters:
languages that it confuses on the references form groups, and the rate outside the target's group
says how often the language is truly another. The rate by script needs no identifier.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus.files import write_json
from corpus.languages import NO_LANGUAGE, UNKNOWN_LANGUAGE, Direction, script_of
from corpus.protocols import LanguageIdentifier, identifier_inputs
from corpus.renamed_identifier import RenamedIdentifier
from eval.checks.batches import Batch, found_by_direction, mean, rate, read_text, run_batches
from eval.checks.config import OffTargetConfig
from eval.checks.scripts import lines_in_other_script
from eval.tables import write_table

logger = logging.getLogger(__name__)

CHECK = "off-target"


class OffTarget(NamedTuple):
    """A direction of a system; rates are None where the identifier does not know the target."""

    system: str
    direction: Direction
    n: int
    """Non-empty hypotheses."""
    empty: int
    off_target: int | None
    off_target_rate: float | None
    outside_group: int | None
    outside_group_rate: float | None
    unknown: int
    no_language: int
    off_script: int
    off_script_rate: float | None
    reference_rate: float | None
    reference_script_rate: float | None
    identified: str
    """What the others are taken for: `language:count`, commonest first."""


def measure_off_target(
    batches: Sequence[Batch],
    lid: Path,
    load: Callable[[Path], LanguageIdentifier],
    output: Path,
    config: OffTargetConfig,
    workers: int,
) -> list[OffTarget]:
    """Identify the language of all hypotheses; write off_target.tsv and off_target.json.

    Args:
        batches: The hypotheses.
        lid: Model directory of the identifier.
        load: Loads it, in the worker.
        output: Directory of the results.
        config: How they are counted.
        workers: Processes.

    Raises:
        UserError: If there is no such model directory.
        DataError: If hypotheses and references differ in length.
    """
    _identifier.cache_clear()
    model = identifier_inputs(lid)
    results = run_batches(
        CHECK,
        batches,
        functools.partial(_identify, lid=lid, load=load, config=config),
        output=output,
        config=config,
        workers=workers,
        more_inputs=lambda batch: model,
    )
    by_text = {
        batch.references: (batch.target, result["reference"]["identified"])
        for batch, result in zip(batches, results, strict=True)
        if result["is_known"]
    }
    confusions: dict[str, Counter[str]] = {}
    for target, identified in by_text.values():
        confusions.setdefault(target, Counter()).update(identified)
    groups = confusable_groups(confusions, config.confusable_share)
    rows = [
        _row(batch.system, direction, found, result, groups)
        for batch, direction, found, result in found_by_direction(batches, results)
    ]
    _write(output, rows, groups, confusions)
    return rows


def confusable_groups(
    confusions: Mapping[str, Mapping[str, int]], share: float
) -> dict[str, frozenset[str]]:
    """Group languages that an identifier does not tell apart; each is in a group, mostly alone.

    Two languages are linked where at least `share` of one's references are taken for the other;
    groups are the connected ones.

    Args:
        confusions: How often the references of each language are taken for which.
        share: In (0, 1].
    """
    groups = {language: {language} for language in confusions}
    for language, answers in confusions.items():
        total = sum(answers.values())
        for answer, count in answers.items():
            if answer in (UNKNOWN_LANGUAGE, NO_LANGUAGE, language) or count < share * total:
                continue
            merged = groups[language] | groups.get(answer, {answer})
            for member in merged:
                groups[member] = merged
    return {language: frozenset(group) for language, group in groups.items()}


@functools.lru_cache(maxsize=1)
def _identifier(load: Callable[[Path], LanguageIdentifier], lid: Path) -> LanguageIdentifier:
    return load(lid)


def _identify(
    batch: Batch, *, lid: Path, load: Callable[[Path], LanguageIdentifier], config: OffTargetConfig
) -> dict[str, Any]:
    identifier = RenamedIdentifier(_identifier(load, lid), [batch.target])
    count = functools.partial(
        _count, identifier=identifier, target=batch.target, share=config.min_script_share
    )
    return {
        "is_known": batch.target in identifier.languages,
        "reference": count(read_text(batch.references)),
        "directions": [count(batch.read(index)) for index in range(len(batch.sources))],
    }


def _count(
    lines: Sequence[str], *, identifier: LanguageIdentifier, target: str, share: float
) -> dict[str, Any]:
    there = [line for line in lines if line.strip()]
    answers = Counter(prediction.language for prediction in identifier.identify(there))
    return {
        "n": len(there),
        "empty": len(lines) - len(there),
        "off_script": lines_in_other_script(there, script_of(target), share),
        # By count, then by name: equal runs write equal bytes.
        "identified": dict(sorted(answers.items(), key=lambda item: (-item[1], item[0]))),
    }


def _row(
    system: str,
    direction: Direction,
    found: dict[str, Any],
    result: dict[str, Any],
    groups: Mapping[str, frozenset[str]],
) -> OffTarget:
    target, n, answers = direction.target, found["n"], found["identified"]
    reference = result["reference"]
    off = outside = floor = None
    if result["is_known"]:
        off = n - answers.get(target, 0)
        outside = n - sum(answers.get(member, 0) for member in groups[target])
        floor = rate(reference["n"] - reference["identified"].get(target, 0), reference["n"])
    return OffTarget(
        system=system,
        direction=direction,
        n=n,
        empty=found["empty"],
        off_target=off,
        off_target_rate=rate(off, n),
        outside_group=outside,
        outside_group_rate=rate(outside, n),
        unknown=answers.get(UNKNOWN_LANGUAGE, 0),
        no_language=answers.get(NO_LANGUAGE, 0),
        off_script=found["off_script"],
        off_script_rate=rate(found["off_script"], n),
        reference_rate=floor,
        reference_script_rate=rate(reference["off_script"], reference["n"]),
        identified=" ".join(f"{name}:{count}" for name, count in answers.items() if name != target),
    )


def _write(
    output: Path,
    rows: Sequence[OffTarget],
    groups: Mapping[str, frozenset[str]],
    confusions: Mapping[str, Mapping[str, int]],
) -> None:
    write_table(output / "off_target.tsv", OffTarget._fields, rows)
    unknown = sorted({row.direction.target for row in rows} - set(confusions))
    if unknown:
        logger.warning("the identifier does not know %s: not measured", ", ".join(unknown))
    write_json(
        output / "off_target.json",
        {
            "systems": summarize_off_target(rows),
            "groups": [
                sorted(one) for one in sorted(set(groups.values()), key=sorted) if len(one) > 1
            ],
            "references": {code: dict(answers) for code, answers in sorted(confusions.items())},
            "not_measured": unknown,
        },
    )


def summarize_off_target(rows: Sequence[OffTarget]) -> dict[str, Any]:
    """Return means over directions by system, and into each language and script."""
    summary = {}
    for system in sorted({row.system for row in rows}):
        own = [row for row in rows if row.system == system]
        summary[system] = {
            "off_target_rate": mean([row.off_target_rate for row in own]),
            "outside_group_rate": mean([row.outside_group_rate for row in own]),
            "off_script_rate": mean([row.off_script_rate for row in own]),
            "reference_rate": mean([row.reference_rate for row in own]),
            "into": _means_by(own, lambda target: target),
            "into_script": _means_by(own, script_of),
        }
    return summary


def _means_by(rows: Sequence[OffTarget], key: Callable[[str], str]) -> dict[str, Any]:
    return {
        name: mean([row.off_target_rate for row in rows if key(row.direction.target) == name])
        for name in sorted({key(row.direction.target) for row in rows})
    }
