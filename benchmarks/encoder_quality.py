"""Sentence encoders on a CPU budget, and what distillation adds: xsim on FLORES-200.

    python benchmarks/encoder_quality.py --data DIR --work DIR [--architectures bag,lstm]

DATA holds `nllb_seed/` and `flores200_dataset/`. Every architecture learns from some languages
of NLLB-Seed and English, 256 dimensions, in about the same CPU time on one thread. Then a student
of the bag teacher learns Crimean Tatar, which the teacher has never seen, from the same 5,497
sentences; English stays with the teacher. What is done is skipped when the script runs again.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from corpus.files import read_json

TONGUES = str(Path(sys.executable).parent / "tongues")
LANGUAGES = (
    "ace_Latn", "ban_Latn", "bho_Deva", "bjn_Latn", "bug_Latn", "dik_Latn", "fuv_Latn", "fur_Latn",
    "grn_Latn", "hne_Deva", "kas_Deva", "lij_Latn", "lmo_Latn", "ltg_Latn", "mag_Deva",
)  # fmt: skip
NEW = "crh_Latn"
# Sizes with which a third of the bag's epochs costs about as much CPU time.
SETTINGS = {
    "bag": ("hard_negatives=0",),
    "lstm": (
        "lstm.vocabulary_size=8000",
        "lstm.embedding_dim=128",
        "lstm.hidden=128",
        "lstm.layers=1",
        "hard_negatives=0",
    ),
    "transformer": (
        "transformer.vocabulary_size=8000",
        "transformer.dimension=256",
        "transformer.layers=2",
        "transformer.heads=4",
        "transformer.ffn_inner_dim=512",
        "hard_negatives=0",
    ),
}


def main() -> None:
    """Train, measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--architectures", default="bag,lstm,transformer")
    parser.add_argument("--languages", type=int, default=len(LANGUAGES), help="the first so many")
    parser.add_argument("--epochs", type=float, default=2.0, help="of the bag; others have a third")
    arguments = parser.parse_args()
    data, work = arguments.data, arguments.work
    languages = LANGUAGES[: arguments.languages]
    seed = work / "seed"
    seed.mkdir(parents=True, exist_ok=True)
    for language in ("eng_Latn", *languages):
        link = seed / f"{language}.txt"
        if not link.exists():
            link.symlink_to((data / "nllb_seed" / link.name).resolve())
    print("| encoder | CPU s | xsim, xx→eng | xsim++ | held-out Seed |\n|---|---|---|---|---|")
    for architecture in arguments.architectures.split(","):
        epochs = arguments.epochs / (1 if architecture == "bag" else 3)
        settings = (f"architecture={architecture}", f"epochs={epochs}", "device=cpu")
        settings += SETTINGS[architecture]
        encoder = work / architecture
        seconds = timed(
            ["train-encoder", "--bitext", str(seed), "--output", str(encoder)], settings, encoder
        )
        found = xsim(encoder, data, work / f"xsim-{architecture}", languages)
        held_out = list(read_json(encoder / "encoder.json")["validation_errors"].values())
        print(
            f"| {architecture} | {seconds:.0f} | {found['mean_error']:.1%}"
            f" | {found['hard']['mean_error']:.1%} | {sum(held_out) / len(held_out):.1%} |"
        )
    distilled(data, work, languages)


def distilled(data: Path, work: Path, languages: Sequence[str]) -> None:
    """Teach the bag teacher's student a new language; print before and after."""
    teacher, student = work / "bag", work / "student"
    command = ["distill", "--teacher", str(teacher), "--bitext", str(data / "nllb_seed")]
    command += ["--language", NEW, "--output", str(student)]
    before_bytes = (teacher / "weights.safetensors").read_bytes()
    seconds = timed(command, ("device=cpu",), student)
    assert (teacher / "weights.safetensors").read_bytes() == before_bytes
    before = xsim(teacher, data, work / "xsim-before", (NEW,))
    own = (f"encoders.{NEW}={student}",)
    after = xsim(teacher, data, work / "xsim-after", (NEW,), own)
    others = xsim(student, data, work / "xsim-student", languages)
    print(f"\n{NEW} from a student of the bag teacher, {seconds:.0f} CPU s:\n")
    print("| | xsim, into English | xsim++ |\n|---|---|---|")
    for name, found in (("teacher", before), ("student", after)):
        print(f"| {name} | {found['mean_error']:.1%} | {found['hard']['mean_error']:.1%} |")
    print(f"\nThe student on the teacher's languages: {others['mean_error']:.1%}.")


def timed(command: Sequence[str], settings: Sequence[str], output: Path) -> float:
    """Run a mining command unless it is done; return its user CPU seconds, kept in a file."""
    record = output.with_name(f"{output.name}.seconds")
    if not record.exists():
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        run([*command, *flags(settings)])
        after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        record.write_text(str(after - before), encoding="utf-8")
    return float(record.read_text(encoding="utf-8"))


def xsim(
    encoder: Path, data: Path, output: Path, languages: Sequence[str], settings: Sequence[str] = ()
) -> dict[str, object]:
    """Measure an encoder on FLORES-200 devtest into English."""
    if not (output / "xsim.json").exists():
        wanted = f"languages=[{', '.join(('eng_Latn', *languages))}]"
        flores = ["--flores", str(data / "flores200_dataset"), "--split", "devtest"]
        command = ["xsim", "--encoder", str(encoder), *flores, "--output", str(output)]
        run([*command, *flags((wanted, "hard_negatives=true", "device=cpu", *settings))])
    return read_json(output / "xsim.json")


def flags(settings: Sequence[str]) -> list[str]:
    """Return settings as command-line options."""
    return [part for setting in settings for part in ("--config", setting)]


def run(command: Sequence[str]) -> None:
    """Run a mining command on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([TONGUES, "mining", *command], env=environment, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
