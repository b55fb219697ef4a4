"""How often the rules of `tongues eval check` for content err on references, and what they find.

    python benchmarks/content_rules.py --flores DIR --ntrex DIR

False alarms: the share of references that break each rule, in every fifth of the directions from
English, into English and between neighbors, on FLORES-200's devtest and on NTREX-128. Recall: of
faults planted in the references of some of them. There is no peer to compare with.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from corpus.files import read_lines
from corpus.languages import Direction, is_language
from eval.checks.config import ContentConfig
from eval.checks.content import RULES, find_faults, numbers, placeholders

ENGLISH = "eng_Latn"
_EVERY = 5
"""Of the directions, as the rates of a language hardly depend on the other one."""
PLANTED = 50
"""Lines of a direction in which each fault is planted."""


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--ntrex", type=Path, required=True)
    options = parser.parse_args()
    flores = {path.stem: path for path in (options.flores / "devtest").glob("*.devtest")}
    ntrex = {path.stem: path for path in options.ntrex.glob("*.txt") if is_language(path.stem)}
    for name, files in (("FLORES-200 devtest", flores), ("NTREX-128", ntrex)):
        _report(name, {code: read_lines(path) for code, path in sorted(files.items())})


def _directions(codes: list[str]) -> Iterator[Direction]:
    for index, code in enumerate(codes):
        if code != ENGLISH:
            yield Direction(ENGLISH, code)
            yield Direction(code, ENGLISH)
            yield Direction(code, codes[(index + 1) % len(codes)])


def _report(name: str, texts: dict[str, list[str]]) -> None:
    rates: dict[str, dict[Direction, float]] = defaultdict(dict)
    found: dict[str, list[bool]] = defaultdict(list)
    lines = 0
    start = time.process_time()
    for direction in list(_directions(list(texts)))[::_EVERY]:
        sources, references = texts[direction.source], texts[direction.target]
        faults = find_faults(sources, references, references, direction, ContentConfig())
        lines += len(sources)
        for rule in RULES:
            rates[rule][direction] = sum(rule in one for one in faults) / len(faults)
        rates["any"][direction] = sum(map(bool, faults)) / len(faults)
    seconds = time.process_time() - start
    chance = random.Random(1)
    for direction in list(_directions(list(texts)))[:: 5 * _EVERY]:
        for kind, hit in _plant(direction, texts, chance):
            found[kind].append(hit)
    print(f"\n{name}: {len(rates['any'])} directions, {1e6 * seconds / lines:.0f} µs a line\n")
    print("| rule | mean | median | worst tenth above | highest |\n|---|---|---|---|---|")
    for rule, own in rates.items():
        values = sorted(own.values())
        highest = max(own, key=own.__getitem__)
        shown = [sum(values) / len(values), median(values), values[len(values) * 9 // 10]]
        cells = " | ".join(f"{100 * value:.2f} %" for value in shown)
        print(f"| {rule} | {cells} | {100 * own[highest]:.1f} % ({highest}) |")
    print("\n| planted | found |\n|---|---|")
    for kind, hits in found.items():
        print(f"| {kind} | {sum(hits)} of {len(hits)} ({100 * sum(hits) / len(hits):.1f} %) |")


def _plant(
    direction: Direction, texts: dict[str, list[str]], chance: random.Random
) -> Iterator[tuple[str, bool]]:
    """Yield kinds of faults and whether the fitting rule found them."""
    sources, references = texts[direction.source], texts[direction.target]

    def number(line: int) -> str | None:
        own = sorted(numbers(references[line]).keys() & numbers(sources[line]).keys())
        own = [one for one in own if one in references[line]]
        return references[line].replace(own[0], str(int(own[0]) + 13)) if own else None

    def cut(line: int) -> str:
        return references[line][: len(references[line]) // 3]

    def twice(line: int) -> str:
        other = references[(line + 1) % len(references)]
        return f"{references[line]} {other} {references[line]}"

    def copy(line: int) -> str:
        words = sources[line].split()
        return f"{references[line]} {' '.join(words[len(words) // 3 :][:8])}"

    kinds: tuple[tuple[str, str, Callable[[int], str | None]], ...] = (
        ("a number changed", "number_missing", number),
        ("two thirds cut off", "omission", cut),
        ("three times as long", "addition", twice),
        ("eight words left as they were", "untranslated", copy),
    )
    for kind, rule, damage in kinds:
        lines = dict(enumerate(references))
        chosen = [
            line
            for line in chance.sample(range(len(references)), min(3 * PLANTED, len(references)))
            if (damaged := damage(line)) and not placeholders(damaged)
        ][:PLANTED]
        for line in chosen:
            lines[line] = str(damage(line))
        faults = find_faults(sources, list(lines.values()), references, direction, ContentConfig())
        yield from ((kind, rule in faults[line]) for line in chosen)


if __name__ == "__main__":
    main()
