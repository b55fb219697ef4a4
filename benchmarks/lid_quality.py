"""Language identification on FLORES-200: the defaults against NLLB's settings and other packages.

    python benchmarks/lid_quality.py --lid DIR --flores DIR --work DIR [--only closed]

Trains what is not there yet in WORK and prints tables in Markdown: closed set, short and altered
text, open set with 30 languages held out whole, calibration, other packages on the same lines.
NLLB's settings are trained by fastText, on many threads; `--without-nllb` leaves them out.
`pip install lingua-language-detector py3langid pycld2` beforehand for the last.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from corpus.files import read_lines
from corpus.text import UNSPACED_SCRIPTS
from lid.config import CONFUSABLE_GROUPS, group_codes
from lid.engine.preparation import prepare, without_diacritics
from lid.identifier import LanguageIdentifier
from lid.import_fasttext import map_labels
from lid.measuring.scores import merge_groups, score_languages
from lid.training.calibration import measure_reliability, predict_held_out
from lid.training.noise import generate_noise

ROOT = Path(__file__).parent.parent
LEAST_LINES = 500
HELD_OUT = 30
Lines = Mapping[str, Sequence[str]]


def main() -> None:
    """Train what is missing and print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lid", type=Path, required=True)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", choices=("closed", "calibration", "open", "peers"))
    parser.add_argument("--without-nllb", action="store_true")
    parser.add_argument("--config", action="append", default=[], help="of `tongues lid train`")
    arguments = parser.parse_args()
    counts = {p.name[:8]: len(read_lines(p)) for p in sorted(arguments.lid.glob("*.txt.gz"))}
    tested = [name for name, count in counts.items() if count >= LEAST_LINES]
    flores = {name: read_lines(arguments.flores / "devtest" / f"{name}.devtest") for name in counts}
    known = {name: flores[name] for name in tested}
    options = [part for pair in arguments.config for part in ("--config", pair)]
    if arguments.only in (None, "open"):
        open_set(arguments.lid, arguments.work, counts, flores, options)
    if arguments.only == "open":
        return
    ours = train(arguments.lid, arguments.work / "defaults", options)
    identifiers = {"defaults": LanguageIdentifier.load(ours)}
    if not arguments.without_nllb:
        settings = ["--config-file", str(ROOT / "recipes/lid/nllb.yaml")]
        nllb = train(arguments.lid, arguments.work / "nllb", settings)
        identifiers["NLLB's settings"] = LanguageIdentifier.load(nllb)
    if arguments.only in (None, "closed"):
        closed_set(identifiers, known)
    if arguments.only in (None, "calibration"):
        calibration(identifiers, known)
    if arguments.only in (None, "peers"):
        peers(identifiers["defaults"], known)


def train(data: Path, output: Path, options: Sequence[str]) -> Path:
    """Train a model unless it is there."""
    started = time.monotonic()
    command = [sys.executable, str(ROOT / "tongues.py"), "lid", "train", "--data", str(data)]
    subprocess.run([*command, "--output", str(output), *options], check=True, cwd=ROOT)
    print(f"<!-- {output.name}: {time.monotonic() - started:.0f} s -->", flush=True)
    return output


def first_words(number: int) -> Callable[[str, str], str]:
    """Return a function that cuts a line to its first words (four-character pieces)."""

    def cut(line: str, language: str) -> str:
        if language[4:] in UNSPACED_SCRIPTS:
            return " ".join(prepare(line).split(" ")[:number])
        return " ".join(line.split()[:number])

    return cut


def punctuate(line: str, language: str) -> str:
    """Add punctuation after three words of ten."""
    chance = random.Random(line)
    marks = ("!!", ",", " -", " ...", '"', " *")
    return " ".join(
        word + (chance.choice(marks) if chance.random() < 0.3 else "") for word in line.split(" ")
    )


def macro(identifier: LanguageIdentifier, lines: Lines) -> tuple[float, float, float]:
    """Return macro-F1, mean false-positive rate and merged macro-F1, thresholds off."""
    answers: Counter[tuple[str, str]] = Counter()
    for language, own in lines.items():
        answers.update((language, best.language) for best in identifier.rank(own))
    scores = score_languages(answers, list(lines))
    merged = merge_groups(answers, list(lines), CONFUSABLE_GROUPS)
    return (
        float(np.mean([one["f1"] for one in scores.values()])),
        float(np.mean([one["fpr"] for one in scores.values()])),
        float(merged["macro_f1"]),
    )


def closed_set(identifiers: Mapping[str, LanguageIdentifier], lines: Lines) -> None:
    """Ask for whole, short and altered lines in known languages."""
    changes: dict[str, Callable[[str, str], str]] = {
        "3 words": first_words(3),
        "5 words": first_words(5),
        "10 words": first_words(10),
        "capitals": lambda line, _: line.upper(),
        "no diacritics": lambda line, _: without_diacritics(line),
        "extra punctuation": punctuate,
    }
    print(f"\n| {len(lines)} languages, closed set | {' | '.join(identifiers)} |")
    print("|---|" + "---|" * len(identifiers))
    plain = [macro(one, lines) for one in identifiers.values()]
    for row, name in enumerate(("macro-F1", "mean false-positive rate", "confusables merged")):
        cells = [f"{found[row]:.4f}" if row != 1 else f"{found[row]:.4%}" for found in plain]
        print(f"| {name} | {' | '.join(cells)} |")
    for name, change in changes.items():
        changed = {code: [change(line, code) for line in own] for code, own in lines.items()}
        cells = [f"{macro(one, changed)[0]:.4f}" for one in identifiers.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def calibration(identifiers: Mapping[str, LanguageIdentifier], lines: Lines) -> None:
    """Compare scores with the share that is right."""
    print("\n| expected calibration error on FLORES | |\n|---|---|")
    for name, identifier in identifiers.items():
        held = predict_held_out(identifier, lines)
        print(f"| {name} | {measure_reliability(held).ece:.4f} |", flush=True)


RULES: dict[str, Callable[..., bool]] = {
    "best class, whatever its score": lambda best, margin, answer: True,
    **{f"score ≥ {t}": lambda best, margin, answer, t=t: best.score >= t for t in (0.5, 0.9)},
    **{
        f"margin of the two best ≥ {t}": lambda best, margin, answer, t=t: margin >= t
        for t in (0.5, 0.9)
    },
    **{
        f"familiarity ≥ {t}": lambda best, margin, answer, t=t: best.familiarity >= t
        for t in (-0.25, -0.5, -0.6, -0.75, -1.0, -1.5)
    },
    "the default thresholds": lambda best, margin, answer: answer.language == best.language,
}
"""When an answer is given, by the best class, its margin and what `identify` answers."""


def open_set(
    lid: Path, work: Path, counts: Mapping[str, int], flores: Lines, options: Sequence[str]
) -> None:
    """Hold 30 languages out whole, five times others; ask for them, for noise and known ones."""
    shares = {}
    for fold in range(5):
        shares[fold] = hold_out(lid, work, counts, flores, fold, options)
    print("\nMeans of the five draws\n")
    header = "known kept right | unknown accepted | no sister accepted | noise accepted |"
    print(f"| rule | {header}\n|---|---|---|---|---|")
    for name in RULES:
        print(f"| {name} | {cells(np.mean([one[name] for one in shares.values()], axis=0))} |")
    print(f"\n| the default thresholds, draw | {header}\n|---|---|---|---|---|")
    for fold, one in shares.items():
        print(f"| {fold} | {cells(one['the default thresholds'])} |")


def cells(shares: Sequence[float]) -> str:
    """Write the shares of a row."""
    return " | ".join([*(f"{share:.3f}" for share in shares[:3]), f"{shares[3]:.4f}"])


def hold_out(
    lid: Path,
    work: Path,
    counts: Mapping[str, int],
    flores: Lines,
    fold: int,
    options: Sequence[str],
) -> dict[str, list[float]]:
    """Train without every fifth language, 30 in all; return for each rule what it lets through.

    "No sister" leaves out the held-out languages whose confusable group has a member among the
    known ones: Dari is no stranger to who knows Persian.

    Returns:
        Shares by rule: known lines given their right language, lines in unknown languages, in
        those without a sister, and of noise given any.
    """
    large = [name for name, count in counts.items() if count >= LEAST_LINES]
    held_out = large[fold::5][:HELD_OUT]
    data = work / f"data_without_30_{fold}"
    data.mkdir(parents=True, exist_ok=True)
    for name in counts:
        if name not in held_out and not (data / f"{name}.txt.gz").exists():
            (data / f"{name}.txt.gz").symlink_to((lid / f"{name}.txt.gz").resolve())
    output = work / f"without_30_{fold}"
    identifier = LanguageIdentifier.load(
        train(data, output, [*options, "--config", "quantize=false"])
    )
    sisters = {
        code: group_codes(group) for group in CONFUSABLE_GROUPS for code in group_codes(group)
    }
    strangers = [
        name for name in held_out if not set(sisters.get(name, ())) & set(large) - set(held_out)
    ]
    known = [(name, line) for name in large if name not in held_out for line in flores[name]]
    unknown = [line for name in held_out for line in flores[name]]
    no_sister = [line for name in strangers for line in flores[name]]
    noise = generate_noise([line for name in large for line in flores[name][:60]], 10_000, 99)
    parts = [
        (identifier.rank_top(part, 2), identifier.identify(part))
        for part in ([line for _, line in known], unknown, no_sister, noise)
    ]
    shares: dict[str, list[float]] = {}
    for name, rule in RULES.items():
        shares[name] = []
        for number, (ranked, answers) in enumerate(parts):
            accepted = 0
            for row, (two, answer) in enumerate(zip(ranked, answers, strict=True)):
                best = two[0]
                margin = best.score - (two[1].score if len(two) > 1 else 0.0)
                is_language = best.language not in ("und", "zxx")
                right = number > 0 or best.language == known[row][0]
                accepted += is_language and right and rule(best, margin, answer)
            shares[name].append(accepted / len(answers))
    wrong = Counter(
        (held_out[row // len(flores[held_out[0]])], answer.language)
        for row, answer in enumerate(parts[1][1])
        if answer.language not in ("und", "zxx")
    )
    print(f"\nDraw {fold}: {' '.join(held_out)}; {len(strangers)} without a sister")
    print("Accepted most:", ", ".join(f"{a} as {b} {n}" for (a, b), n in wrong.most_common(8)))
    return shares


def peers(identifier: LanguageIdentifier, lines: Lines) -> None:
    """Other packages, each on the languages that it and the defaults know."""
    print("\n| package | languages | its accuracy | ours | ours among these | its lines/s | ours |")
    print("|---|---|---|---|---|---|---|")
    for name, make in {"lingua": lingua, "py3langid": langid, "pycld2": cld2}.items():
        try:
            labels, answer = make()
        except ImportError:
            print(f"| {name} | not installed | | | | | |")
            continue
        codes = {label: code for label, code in map_labels(labels).items() if code in lines}
        shared = sorted(set(codes.values()))
        texts = [(code, line) for code in shared for line in lines[code][:100]]
        started = time.perf_counter()
        theirs = [codes.get(answer(line), "") for _, line in texts]
        their_seconds = time.perf_counter() - started
        started = time.perf_counter()
        ours = identifier.rank([line for _, line in texts])
        our_seconds = time.perf_counter() - started
        right = np.mean([code == found for (code, _), found in zip(texts, theirs, strict=True)])
        mine = np.mean([c == best.language for (c, _), best in zip(texts, ours, strict=True)])
        numbers = [identifier.classes.index(code) for code in shared]
        among = identifier.probabilities([line for _, line in texts])[:, numbers].argmax(axis=1)
        fair = np.mean([c == shared[best] for (c, _), best in zip(texts, among, strict=True)])
        print(
            f"| {name} | {len(shared)} | {right:.4f} | {mine:.4f} | {fair:.4f} |"
            f" {len(texts) / their_seconds:,.0f} | {len(texts) / our_seconds:,.0f} |",
            flush=True,
        )


def lingua() -> tuple[list[str], Callable[[str], str]]:
    """Return lingua's labels and its answer to a line."""
    from lingua import Language, LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().build()

    def answer(line: str) -> str:
        found = detector.detect_language_of(line)
        return found.iso_code_639_1.name.lower() if found else ""

    return [one.iso_code_639_1.name.lower() for one in Language.all()], answer


def langid() -> tuple[list[str], Callable[[str], str]]:
    """Return py3langid's labels and its answer to a line."""
    from py3langid import langid as package

    labels = [str(label) for label, _ in package.rank("any text")]
    return labels, lambda line: str(package.classify(line)[0])


def cld2() -> tuple[list[str], Callable[[str], str]]:
    """Return pycld2's labels and its answer to a line."""
    import pycld2

    known = {code.split("-")[0] for _, code in pycld2.LANGUAGES}

    def answer(line: str) -> str:
        text = "".join(c for c in line if c.isprintable())
        return str(pycld2.detect(text)[2][0][1]).split("-")[0]

    return sorted(known), answer


if __name__ == "__main__":
    main()
