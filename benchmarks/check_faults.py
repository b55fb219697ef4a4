"""What `tongues eval check` finds of planted faults, how often it errs, and what it costs.

    python benchmarks/check_faults.py --flores DIR --lid DIR --work DIR

The hypotheses are the references of a FLORES split, with ten lines of each kind of fault in every
direction among some languages. There is no peer to compare with: what is known is what was planted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections import Counter, defaultdict
from pathlib import Path

from corpus.files import read_lines, write_lines
from corpus.flores import read_split
from corpus.text import UNSPACED_SCRIPTS
from eval.check import CheckInputs, check_systems
from eval.checks.config import CheckConfig
from tongues import load_identifier

LANGUAGES = (
    "eng_Latn fra_Latn deu_Latn bos_Latn hrv_Latn ind_Latn zsm_Latn ces_Latn hin_Deva ben_Beng"
    " tam_Taml tha_Thai khm_Khmr zho_Hans jpn_Jpan kor_Hang arb_Arab rus_Cyrl swh_Latn tur_Latn"
)
LINES_OF_A_KIND = 10
SIGN_OF = {"copy": "copied", "loop": "repeated", "cut": "too_short", "same output": "shared"}
WRONG_LANGUAGE = "wrong language"
SYSTEM = "faulty"

Faults = dict[str, dict[int, str]]
"""By direction and line, from 0, what was planted."""


def main() -> None:
    """Plant, check, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--lid", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--languages", default=LANGUAGES)
    arguments = parser.parse_args()
    texts = read_split(arguments.flores, "devtest", arguments.languages.split())
    planted = plant_faults(texts, arguments.work / SYSTEM)
    started = time.process_time()
    inputs = CheckInputs(lid=arguments.lid, load=load_identifier)
    output = arguments.work / "checked"
    check_systems(
        [arguments.work / SYSTEM], arguments.flores, "devtest", output, inputs, CheckConfig()
    )
    seconds = time.process_time() - started
    lines = sum(len(texts[pair.split("-")[1]]) for pair in planted)
    print(f"<!-- {len(planted)} directions, {lines:,} lines -->")
    print(f"{1e6 * seconds / lines:.0f} µs of CPU a line, both checks\n")
    print_signs(output, planted, lines)
    print_languages(output)


def plant_faults(texts: dict[str, list[str]], folder: Path) -> Faults:
    """Write the hypotheses of all directions; return what was planted where."""
    planted: Faults = {}
    for source, target in itertools.permutations(texts, 2):
        generator = random.Random(f"{source}-{target}")
        lines = list(texts[target])
        order = generator.sample(range(len(lines)), len(lines))
        repeated = order.pop()
        others = [code for code in texts if code not in (source, target)]
        kinds: dict[int, str] = {repeated: "same output"}
        for kind in (*SIGN_OF, WRONG_LANGUAGE):
            for _ in range(LINES_OF_A_KIND):
                place = order.pop()
                kinds[place] = kind
                lines[place] = {
                    "copy": texts[source][place],
                    "loop": loop(texts[target][place], target),
                    "cut": texts[target][place][: max(2, len(texts[target][place]) // 12)],
                    "same output": texts[target][repeated],
                    WRONG_LANGUAGE: texts[generator.choice(others)][place],
                }[kind]
        planted[f"{source}-{target}"] = kinds
        write_lines(folder / f"{source}-{target}.txt", lines)
    return planted


def loop(line: str, language: str) -> str:
    """Repeat the beginning of a line eight times."""
    if language[4:] in UNSPACED_SCRIPTS:
        return line[:16] * 8
    return " ".join(line.split()[:6] * 8)


def print_signs(output: Path, planted: Faults, lines: int) -> None:
    """Print how many lines of each kind have its sign, and any; and false alarms."""
    signs: dict[str, dict[int, list[str]]] = defaultdict(dict)
    for row in read_lines(output / "hallucination_lines.tsv")[1:]:
        _, direction, line, names = row.split("\t")
        signs[direction][int(line) - 1] = names.split(" ")
    total: Counter[str] = Counter()
    found: Counter[str] = Counter()
    suspect: Counter[str] = Counter()
    for direction, kinds in planted.items():
        for line, kind in kinds.items():
            total[kind] += 1
            found[kind] += SIGN_OF.get(kind, "") in signs[direction].get(line, [])
            suspect[kind] += line in signs[direction]
    print("| planted | lines | with its sign | with any sign |\n|---|---|---|---|")
    for kind, count in total.items():
        own = f"{found[kind] / count:.2%}" if kind in SIGN_OF else "–"
        print(f"| {kind} | {count:,} | {own} | {suspect[kind] / count:.2%} |")
    false = sum(map(len, signs.values())) - sum(suspect.values())
    clean = lines - sum(total.values())
    print(f"| nothing | {clean:,} | – | {false / clean:.3%} |\n")


def print_languages(output: Path) -> None:
    """Print off-target rates beside their floor."""
    means = json.loads((output / "off_target.json").read_text(encoding="utf-8"))
    print("| rate | mean over directions |\n|---|---|")
    for name in ("off_target_rate", "outside_group_rate", "reference_rate", "off_script_rate"):
        print(f"| `{name}` | {means['systems'][SYSTEM][name]['mean']:.4f} |")
    print(f"\ngroups: {'; '.join(' '.join(group) for group in means['groups'])}")


if __name__ == "__main__":
    main()
