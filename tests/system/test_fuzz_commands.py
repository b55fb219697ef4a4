"""Every command, with one of its inputs damaged or taken for another: never a traceback.

The commands run in this process on inputs of a few lines. Each ends with 0, or with 2 or 3 and a
message, which for an input that is something else altogether names it.
"""

import dataclasses
import gzip
import io
import json
import logging
import os
import random
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import numpy as np
import pytest

import tongues
from corpus.config import field_types
from corpus.files import write_lines
from tests.system.damage import damaged, limited

pytest.importorskip("fasttext")
pytest.importorskip("torch")

SEED = 20261130
TRIES = int(os.environ.get("TONGUES_FUZZ_COMMANDS", "60"))
"""Damaged inputs and odd values to try; 60 of each take some ten CPU seconds beside the inputs."""
SECONDS = 600
"""For one command, before it counts as stuck."""

WORDS = {
    "qaa_Latn": "bara kili motu tulo seno gubi rano lagu",
    "qab_Latn": "berek kolok metak talik sonok gebuk ronak logik",
}
PAIR = "qaa_Latn-qab_Latn"
ENCODER = (
    "--config bag.dimension=16 --config bag.hidden=16 --config bag.buckets=256"
    " --config bag.vocabulary_size=60 --config epochs=1"
)
SHORT = "--config max_length_factor=0 --config max_length_constant=4"
TRAINING = (
    "--config vocabulary={vocabulary} --config bitext.primary={bitext} --config model.size=tiny"
    " --config batches.max_tokens=400 --config batches.max_length=60 --config updates=2"
    " --config checkpoint_every=2 --config report_every=2 --config threads=1"
    " --config data.workers=1 --config optimizer.warmup_updates=1"
)
STEPS = {
    "lid": "lid train --data {data} --output {lid} --config buckets_per_class=500 --config dim=8"
    " --config max_repeats=2 --config quantize=false",
    "sentences": "mining sentences {crawl} --lid {lid} --output {sentences} --config workers=1",
    "encoder": "mining train-encoder --bitext {bitext} --output {encoder} " + ENCODER,
    "embeddings": "mining embed --sentences {sentences} --encoder {encoder} --output {embeddings}"
    " --config workers=1",
    "known": "mining embed-known --bitext {many} --encoder {encoder} --output {known}",
    "mined": f"mining mine --sentences {{sentences}} --embeddings {{embeddings}} --source qaa_Latn"
    f" --target qab_Latn --output {{mined}}/{PAIR}.parquet",
    "metadata": f"mining metadata --bitext {{mined}}/{PAIR}.parquet --sentences {{sentences}}"
    " --output {metadata}",
    "vocabulary": "nmt vocabulary --bitext {bitext} --output {vocabulary} --config size=60",
    "model": "nmt train --output {model} " + TRAINING,
    "export": "nmt export --model {model} --to transformers --output {export}",
    "scores": "eval score --hypotheses {hypotheses} --flores {flores} --output {scores}"
    " --metrics chrf --config resamples=5",
}
"""What makes the inputs that are not plain text, in order."""

OUTPUTS = {"metadata": "{out}/x.meta"}
COMMANDS = (
    *(text.replace("{" + name + "}", OUTPUTS.get(name, "{out}")) for name, text in STEPS.items()),
    "data scatter --text {aligned} --other {data} --output {out}"
    " --config languages=[qaa_Latn,qab_Latn]",
    "lid calibrate --model {lid} --data {data} --output {out}",
    "lid measure --model {lid} --flores {flores} --json --output {out}",
    "lid import --model {lid}/model.bin --output {out}",
    "mining text --sentences {sentences} --output {out} --config workers=1",
    "mining text {crawl} --lid {lid} --output {out} --config workers=1",
    "mining distill --teacher {encoder} --bitext {bitext} --output {out} --config epochs=1"
    " --config pivot=qaa_Latn",
    "mining xsim --encoder {encoder} --flores {flores} --json",
    "mining sentences {crawl} --lid {lid} --output {out} --dry-run",
    "mining embed --sentences {sentences} --encoder {encoder} --output {out} --dry-run",
    f"mining mine --sentences {{sentences}} --embeddings {{embeddings}} --source qaa_Latn"
    f" --target qab_Latn --output {{out}}/{PAIR}.tsv --known {{known}}",
    "mining mine-local --sentences {sentences} --embeddings {embeddings} --source qaa_Latn"
    " --target qab_Latn --documents {documents} --output {out}/x.tsv"
    " --config margin_threshold=1",
    "mining train-index --embeddings {embeddings} --config clusters=4",
    f"mining score --bitext {{bitext}}/{PAIR}.tsv --encoder {{encoder}} --output {{out}}/{PAIR}.tsv"
    " --config embed.workers=1",
    f"mining filter --bitext {{mined}}/{PAIR}.parquet --output {{out}}/{PAIR}.tsv"
    " --evaluation-sets {flores} --lid {lid} --toxicity {words}",
    f"mining filter --bitext {{bitext}}/{PAIR}.tsv --output {{out}}/{PAIR}.tsv"
    " --rejects {out}/r.tsv",
    "mining rebuild --metadata {metadata} --sentences {sentences} --output {out}/x.tsv",
    "mining rebuild {crawl} --metadata {metadata} --output {out}/x.tsv",
    "mining evaluate --bitext {mined} --gold {bitext} --sentences {sentences} --json",
    "mining report --bitext {bitext} --mined {mined} --sentences {sentences}"
    " --embeddings {embeddings} --output {out}/x.html",
    "nmt vocabulary --text {data} --output {out} --config size=60",
    "nmt tokenize --output {out} " + TRAINING,
    "nmt curriculum --training {curves} --output {out}/x.yaml",
    "nmt translate {text} --model {model} --source qaa_Latn --target qab_Latn --output {out}"
    f" {SHORT}",
    f"nmt translate-flores --model {{model}} --flores {{flores}} --directions {PAIR}"
    " --output {out} " + SHORT,
    f"nmt back-translate --model {{model}} --text {{few}} --directions {PAIR} --output {{out}}"
    f" {SHORT.replace('max', 'translate.max')}",
    f"nmt distill --teacher {{model}} --bitext {{seed}} --directions {PAIR} --output {{out}}"
    f" {SHORT}",
    f"nmt experts --model {{model}} --flores {{flores}} --directions {PAIR} --json",
    "nmt import --from {export} --output {out}",
    "eval score --manifest {manifest} --flores {flores} --output {out} --metrics chrf,spbleu"
    " --config resamples=5 --config spm={vocabulary}/sentencepiece.model"
    " --config languages={languages}",
    "eval compare --hypotheses {hypotheses} --hypotheses {aligned_hypotheses} --flores {flores}"
    " --output {out} --config trials=10 --config metric=chrf",
    "eval compare --hypotheses {hypotheses} --quoted {quoted} --flores {flores} --output {out}"
    " --config trials=10 --config metric=chrf",
    "eval report --run {scores} --output {out}/x.html",
    "eval report --run {world} --output {out}/x.html",
    "eval check --hypotheses {hypotheses} --flores {flores} --output {out} --lid {lid}"
    " --toxicity {words} --segment-scores {segments} --segment-scores {comet}"
    " --config segment_scores.languages=[all]",
    "lid identify --model {lid}",
    "lid identify --model {lid} --spans --languages qaa_Latn,qab_Latn",
    "lid identify --model {lid} --groups",
    "lid identify --model {lid} --and {second} --processes 1",
    "data convert {others} --output {out} --format tmx --config workers=1",
    f"mining pair {{aligned}}/qaa_Latn.txt {{aligned}}/qab_Latn.txt --source qaa_Latn --target"
    f" qab_Latn --encoder {{encoder}} --known {{many}}/{PAIR}.tsv --output {{out}}/x.tsv",
    "mining import-laser --checkpoint {laser}/laser2.pt --sentencepiece {laser}/laser2.spm"
    " --output {out}",
    "nmt average --model {model} --model {model} --output {out}",
    "nmt extend --model {model} --language qac_Latn --like qaa_Latn --text {extended}"
    " --output {out} --config min_count=2 --config max_pieces=5",
    "eval test-set --test-set {published} --output {out}",
    "eval contamination --bitext {bitext} --test-set {flores} --output {out} --limit 1",
    "eval contamination --bitext {data} --test-set {published} --output {out} --limit 1"
    " --config only_languages_of_bitext=false",
    "eval sample --hypotheses {hypotheses} --test-set {flores} --output {out}"
    " --calibration {calibration} --config lines=2",
    "eval learned --metric comet-22 --checkpoint {comet22} --encoder {comet22}/encoder"
    " --hypotheses {real}/system --test-set {real}/flores --output {out}",
    "eval contrast --sets {contrasts} --hypotheses {hypotheses} --output {out}",
    "eval correlate --human {human} --scores {scores}/scores.tsv --output {out} --config trials=5"
    " --config calibration=none",
)

ALONE = (
    "nmt describe --size tiny --json",
    "data fetch flores200 --from /nowhere",
    "data constructed --output {out} --config scale=tiny",
)
"""Commands with a config and no input but what they are named."""

ODD = ("-1", "0", "1", "nan", "inf", "-inf", "1e400", "9" * 40, "", "null", "~", "[]", "{}", "[[]]",
       "{a: 1}", "[1, x]", "x", "true", "2020-13-45", "!!python/name:os.system", "&a [*a]", "a\0b",
       "a\nb", "😀", "/", ".", "..", "/dev/null", "/nowhere/x", "-0.0", "1e-320", "0x10", "1_0",
       "*", "{", '"', "- a", "? b", "\u2028", "qaa_Latn", "[qaa_Latn, qaa_Latn]", "%s",
       "{}{}")  # fmt: skip
"""Values of config keys; none of them means much work."""


def sentences_of(language: str, count: int) -> list[str]:
    words = WORDS[language].split()
    numbers = random.Random(3)
    lines = [" ".join(words[numbers.randrange(8)] for _ in range(6)) for _ in range(count)]
    return [f"{line.capitalize()} {words[n % 8]}." for n, line in enumerate(lines)]


def write_world(world: Path) -> dict[str, str]:
    """Write the plain inputs, and let the commands make the others; return where they are."""
    where = {name: str(world / name) for name in (*STEPS, "data", "aligned", "bitext", "flores")}
    where |= {name: str(world / name) for name in ("words", "few", "seed", "many")}
    where["world"] = str(world)
    texts = {language: sentences_of(language, 40) for language in WORDS}
    for language, lines in texts.items():
        write_lines(world / "data" / f"{language}.txt", lines)
        write_lines(world / "aligned" / f"{language}.txt", lines[:12])
        write_lines(world / "few" / f"{language}.txt", lines[:2])
        for split in ("dev", "devtest"):
            write_lines(world / "flores" / split / f"{language}.{split}", lines[:3])
        write_lines(world / "words" / f"{language}.txt", lines[0].split()[:2])
    sides = list(texts.values())
    rows = [f"{1.5}\t{a}\t{b}" for a, b in zip(*sides, strict=True)]
    write_lines(world / "bitext" / f"{PAIR}.tsv", ["score\tsource\ttarget", *rows])
    write_lines(world / "seed" / f"{PAIR}.tsv", ["score\tsource\ttarget", *rows[:2]])
    others = zip(*(sentences_of(language, 200)[40:] for language in WORDS), strict=True)
    write_lines(world / "many" / f"{PAIR}.tsv", [f"{a}\t{b}" for a, b in others])
    for system in ("hypotheses", "aligned_hypotheses"):
        where[system] = str(world / system)
        write_lines(world / system / f"{PAIR}.txt", texts["qab_Latn"][:3])

    def table(name: str, *lines: str) -> None:
        where[name.partition(".")[0]] = str(world / name)
        write_lines(world / name, lines)

    table("text.txt", *texts["qaa_Latn"][:2])
    documents = [(n, " ".join(side[n : n + 8])) for side in sides for n in range(0, 32, 8)]
    table("crawl.jsonl", *(f'{{"text": "{text}", "url": "u{n}"}}' for n, text in documents))
    table("documents.tsv", "u0\tu0", "u8\tu8")
    table("manifest.tsv", "system\tsource\ttarget\tpath",
          f"s\tqaa_Latn\tqab_Latn\t{world}/hypotheses/{PAIR}.txt")  # fmt: skip
    table("languages.tsv", "language\tresource", "qaa_Latn\thigh", "qab_Latn\tlow")
    table("curves.tsv", "direction\tupdate\tnll",
          *(f"{PAIR}\t{n}\t{3 - n / 100}" for n in range(0, 200, 20)))  # fmt: skip
    table("quoted.csv", f"{PAIR},48.1")
    table("human.tsv", "evaluator\titem\tdirection\tscore\tsystem",
          *(f"{who}\t{n}\t{PAIR}\t{n + 1}\thypotheses" for who in "ab"
            for n in range(3)))  # fmt: skip
    header = '{"metric": "m", "model": "x", "languages": "all"}'
    segment = f'{{"system": "hypotheses", "direction": "{PAIR}", "line": %d, "score": 0.5}}'
    table("segments.jsonl", header, *(segment % n for n in (1, 2, 3)))
    comet = {f"{world}/hypotheses/{PAIR}.txt": [{"src": "a", "mt": "b", "COMET": 0.5}] * 3}
    table("comet.json", *json.dumps(comet, indent=4).split("\n"))
    table("calibration.tsv", "source\ttarget", "bara kili\tberek kolok")
    write_published(world, where, texts)
    where["metadata"] = str(world / "metadata.meta")
    for text in STEPS.values():
        code, told = call(text.format(**where).split())
        assert code == 0, f"{text}: {told}"
    shutil.copytree(world / "lid", world / "second")
    return where


def write_published(world: Path, where: dict[str, str], texts: dict[str, list[str]]) -> None:
    """Write what the newer commands take: layouts of others, and models of other programs."""
    import torch

    from tests.eval.test_learned import HYPOTHESES, REFERENCES, SOURCES, make_comet
    from tests.mining.encoders import test_laser

    names = ("others", "laser", "extended", "published", "comet22", "real", "contrasts", "second")
    where |= {name: str(world / name) for name in names}
    rows = list(zip(*(lines[:5] for lines in texts.values()), strict=True))
    for side, language in enumerate(WORDS):
        write_lines(world / "others" / f"x.{language}", [row[side] for row in rows])
        write_lines(
            world / "published" / "devtest" / f"{language}.jsonl",
            [
                json.dumps(
                    {"id": n, "iso_639_3": language[:3], "iso_15924": "Latn", "text": row[side]}
                )
                for n, row in enumerate(rows)
            ],
        )
        write_lines(world / "extended" / f"{language}.txt", texts[language])
    write_lines(world / "extended" / "qac_Latn.txt", [line[::-1] for line in texts["qaa_Latn"]])
    units = "".join(
        f'<tu><tuv xml:lang="qaa_Latn"><seg>{a}</seg></tuv>'
        f'<tuv xml:lang="qad_Arab"><seg>{b}</seg></tuv></tu>\n'
        for a, b in rows
    )
    head = '<tmx version="1.4"><header srclang="qaa_Latn"/><body>'
    write_lines(
        world / "others" / "qaa_Latn-qad_Arab.tmx", f"{head}{units}</body></tmx>".split("\n")
    )
    pairs = [json.dumps({"translation": {"qab_Latn": b, "qaf_Latn": a}}) for a, b in rows]
    write_lines(world / "others" / "qab_Latn-qaf_Latn.jsonl", pairs)
    with zipfile.ZipFile(world / "others" / "qaa_Latn-qae_Deva.txt.zip", "w") as archive:
        for side, language in enumerate(("qaa_Latn", "qae_Deva")):
            lines = "".join(f"{row[side]}\n" for row in rows)
            archive.writestr(f"X.qaa_Latn-qae_Deva.{language}", lines)
    contrasts = [f"{a}\t{b}\t{b} more" for a, b in rows[:3]]
    write_lines(world / "contrasts" / f"{PAIR}.tsv", ["source\tright\twrong", *contrasts])
    (world / "laser").mkdir()
    spm = world / "laser" / "laser2.spm"
    test_laser.write_spm(spm)
    torch.save(test_laser.laser2_state(spm), world / "laser" / "laser2.pt")
    make_comet(world / "comet22", "regression_metric")
    for code, lines in (("eng_Latn", SOURCES), ("fra_Latn", REFERENCES)):
        write_lines(world / "real" / "flores" / "devtest" / f"{code}.devtest", lines)
    write_lines(world / "real" / "system" / "eng_Latn-fra_Latn.txt", HYPOTHESES)


def call(arguments: list[str]) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it printed."""
    streams = sys.stdin, sys.stdout, sys.stderr
    told = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    lines = io.BytesIO(b"bara kili motu tulo seno\nberek kolok metak\n")
    sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(lines), told, told
    try:
        with limited(SECONDS):
            code = tongues.main(arguments)
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        logging.getLogger().handlers.clear()
    return code, told.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_world(tmp_path_factory.mktemp("world"))


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


FOREIGN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "zeros": lambda: bytes(300),
    "UTF-16": lambda: "some text\tand more\n".encode("utf-16"),
    "long line": lambda: b"x" * 100_000,
    "blank lines": lambda: b"\n\n\r\n",
    "noise": lambda: random.Random(1).randbytes(500),
    "JSON list": lambda: b"[]",
    "JSON object": lambda: b"{}\n",
    "JSON number": lambda: b"NaN",
    "JSON deep": lambda: b"[" * 50_000,
    "YAML": lambda: b"a: &a [1]\nb: *a\n",
    "HTML": lambda: b"<!doctype html><html><body>404 Not Found</body></html>",
    "LFS pointer": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
    "gzip": lambda: gzip.compress(b"some text\n"),
    "npy of objects": lambda: npy(np.array([{"a": 1}], dtype=object)),
    "npy scalar": lambda: npy(np.float16(1)),
    "npy big-endian": lambda: npy(np.ones((3, 16), ">f2")),
    "npy Fortran": lambda: npy(np.asfortranarray(np.ones((3, 16), np.float16))),
    "npy NaN": lambda: npy(np.full((3, 16), np.nan, np.float16)),
    "npy text": lambda: npy(np.array(["a", "b"])),
}  # fmt: skip
"""What people have by mistake where a file should be, beside other files of the run."""


def replaced(path: Path, others: list[Path], numbers: random.Random) -> str:
    """Put something else in the place of a file; return what."""
    kind = numbers.choice(
        ("directory", "dangling link", "link to itself", "nothing", "other", *FOREIGN)
    )
    path.unlink()
    if kind == "directory":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    elif kind == "link to itself":
        path.symlink_to(path.name)
    elif kind == "other":
        other = numbers.choice(others)
        shutil.copyfile(other, path)
        return f"{kind}: {other}"
    elif kind != "nothing":
        path.write_bytes(FOREIGN[kind]())
    return kind


def files_of(path: Path) -> list[Path]:
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [p for p in found if not {".lock", ".running"} & {*p.parts} and p.suffix != ".html"]


def fails(command: str, told: str, code: int | None) -> str:
    """Return what is wrong with an outcome, or nothing."""
    if code not in (0, 2, 3):
        return f"exit {code}"
    if "Traceback" in told:
        return "traceback"
    return "" if code == 0 or "rror" in told or "ailed" in told else "no message"


@pytest.mark.slow
def test_commands_work_on_these_inputs(world: dict[str, str], tmp_path: Path) -> None:
    """Else the others would damage what nothing reads."""
    for number, command in enumerate(COMMANDS):
        where = {**world, "out": str(tmp_path / str(number))}
        code, told = call([part.format(**where) for part in command.split()])
        assert code == 0, f"{command}: {told}"


@pytest.mark.slow
def test_commands_survive_damaged_inputs(world: dict[str, str], tmp_path: Path) -> None:
    numbers = random.Random(SEED)
    others = files_of(Path(world["world"]))
    wrong, refused = [], 0
    for number in range(TRIES):
        command = COMMANDS[number % len(COMMANDS)]
        names = [n for n in world if f"{{{n}}}" in command]
        name = numbers.choice(names)
        folder = tmp_path / str(number)
        folder.mkdir()
        copy = folder / Path(world[name]).name
        source = Path(world[name])
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copy2(source, copy)
        victim = numbers.choice(files_of(copy))
        if numbers.random() < 0.5:
            kind = "damaged"
            victim.write_bytes(damaged(victim.read_bytes(), numbers))
        else:
            kind = replaced(victim, others, numbers)
        where = {**world, name: str(copy), "out": str(folder / "out")}
        arguments = [part.format(**where) for part in command.split()]
        told, code = "", None
        try:
            code, told = call(arguments)
            problem = fails(command, told, code)
            if (
                not problem
                and code
                and kind != "damaged"
                and not (victim.name in told or victim.parent.name in told or copy.name in told)
            ):
                problem = "input not named"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            problem = f"{type(error).__name__}: {error}"
        refused += code in (2, 3)
        if problem:
            wrong.append((number, " ".join(arguments), victim.name, kind, problem, told[-300:]))
        else:
            shutil.rmtree(folder)
    assert wrong == []
    assert refused > TRIES / 10


def keys_of(config_class: type[Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key of a config, groups as `a.b`, with its type."""
    for name, hint in field_types(config_class).items():
        inner = [hint, *get_args(hint)] if get_origin(hint) else [hint]
        groups = [one for one in inner if dataclasses.is_dataclass(one)]
        yield f"{path}{name}", hint
        for group in groups:
            yield from keys_of(group, f"{path}{name}.")  # type: ignore[arg-type]


def config_class_of(command: str) -> Any:
    context: Any = click.Context(tongues.cli)
    found: Any = tongues.cli
    for word in command.split():
        if not isinstance(found, click.Group):
            break
        found = found.get_command(context, word)
    return getattr(found.callback, "config_class", None) if found else None


@pytest.mark.slow
def test_commands_survive_odd_config_values(world: dict[str, str], tmp_path: Path) -> None:
    numbers = random.Random(SEED)
    classes = {command: config_class_of(command) for command in (*COMMANDS, *ALONE)}
    choices = [command for command, found in classes.items() if found is not None]
    assert len(choices) > 20
    wrong, refused = [], 0
    for number in range(TRIES):
        command = choices[number % len(choices)]
        key, _ = numbers.choice(list(keys_of(classes[command])))
        value = numbers.choice(ODD)
        folder = tmp_path / f"c{number}"
        where = {**world, "out": str(folder / "out")}
        arguments = [part.format(**where) for part in command.split()]
        if numbers.random() < 0.5:
            arguments += ["--config", f"{key}={value}"]
        else:
            folder.mkdir()
            file = folder / "c.yaml"
            text = value
            for part in reversed(key.split(".")):
                text = f"{part}:\n" + "".join(f"  {line}\n" for line in text.split("\n"))
            file.write_bytes(text.encode("utf-8", "surrogatepass"))
            arguments += ["--config-file", str(file)]
        told, code = "", None
        try:
            code, told = call(arguments)
            problem = fails(command, told, code)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            problem = f"{type(error).__name__}: {error}"
        refused += code == 2
        if problem:
            wrong.append((number, " ".join(arguments), problem, told[-300:]))
        shutil.rmtree(folder, ignore_errors=True)
    assert wrong == []
    assert refused > TRIES / 3
