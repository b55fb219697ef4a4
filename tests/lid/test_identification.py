"""Real fastText on a few hundred lines in five scripts."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import DataError, UserError
from corpus.files import digest_file, read_json, write_json, write_lines
from lid.cli import group
from lid.config import CalibrationConfig, TrainConfig
from lid.directory import Threshold, read_thresholds, write_thresholds
from lid.identifier import LanguageIdentifier
from lid.train import train
from lid.training.finish_model import record_checksums
from tests.lid.conftest import QUICK, WORDS, make_sentences, write_data


def test_unseen_sentences_get_their_language(identifier: LanguageIdentifier) -> None:
    for language in WORDS:
        answers = identifier.identify(make_sentences(language, 40, start=9_000))
        right = sum(answer.language == language for answer in answers)
        assert right >= 38, (language, Counter(answer.language for answer in answers))


def test_capitals_are_the_same_language(identifier: LanguageIdentifier) -> None:
    lines = make_sentences("fra_Latn", 20, start=5_000)
    assert identifier.rank([line.upper() for line in lines]) == identifier.rank(lines)


def test_two_trainings_give_the_same_bytes(model: Path, tmp_path: Path) -> None:
    train(write_data(tmp_path / "data"), tmp_path / "again", QUICK)
    for name in (
        "model.bin",
        "model.ftz",
        "rows.npy",
        "profiles.npy",
        "thresholds.tsv",
        "familiarity.tsv",
        "languages.tsv",
        "checksums.json",
        "report.html",
    ):
        assert digest_file(tmp_path / "again" / name) == digest_file(model / name)


def test_another_seed_gives_another_model(model: Path, tmp_path: Path) -> None:
    changed = TrainConfig(buckets_per_class=2_000, dim=16, max_repeats=3, seed=2)
    train(write_data(tmp_path / "data"), tmp_path / "other", changed)
    assert digest_file(tmp_path / "other" / "model.bin") != digest_file(model / "model.bin")


def test_many_threads_learn_as_well(tmp_path: Path) -> None:
    config = TrainConfig(buckets_per_class=2_000, dim=16, max_repeats=3, reproducible=False)
    train(write_data(tmp_path / "data"), tmp_path / "model", config)
    answers = LanguageIdentifier.load(tmp_path / "model").rank(make_sentences("rus_Cyrl", 20))
    assert all(answer.language == "rus_Cyrl" for answer in answers)


def test_finished_training_is_not_done_again(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_data(tmp_path / "data")
    train(data, tmp_path / "model", QUICK)
    before = (tmp_path / "model" / "model.bin").stat().st_mtime_ns
    summary = train(data, tmp_path / "model", QUICK)
    assert (summary.done, summary.skipped) == (0, 1)
    assert (tmp_path / "model" / "model.bin").stat().st_mtime_ns == before


def test_hostile_lines_get_one_answer_each(identifier: LanguageIdentifier) -> None:
    lines = [
        "",
        "   \t ",
        "\x00\x00\x00",
        "the\x00water\x07of the river",
        "\ud800 lone surrogate \udfff",
        "__label__fra_Latn the water of the river",
        "</s> the water of the river",
        "line\nbreak of the river\r\nand water",
        "\u2028\u200f\ufeff",
        "1234 5678 !!! ???",
        make_sentences("eng_Latn", 1)[0] * 50_000,
        "\u0301" * 500,
    ]
    answers = identifier.identify(lines)
    assert len(answers) == len(lines)
    assert answers[0] == answers[1] == ("und", 0.0)
    assert answers[9] == ("zxx", 1.0)
    assert all(0.0 <= answer.score <= 1.0 for answer in answers)
    assert answers[10].language == "eng_Latn"


def test_many_threads_read_one_model(identifier: LanguageIdentifier) -> None:
    parts = [make_sentences(code, 400, 20_000) for code in WORDS]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(identifier.identify, parts * 4))
    assert together == [identifier.identify(part) for part in parts] * 4


def test_other_languages_and_own_noise_can_be_classes(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    write_lines(data / "und.txt", make_sentences("deu_Latn", 150))
    noise = [f"{chr(97 + i // 9)}{i} kg x{i}z | y{chr(97 + i % 9)}q" for i in range(150)]
    write_lines(data / "zxx.txt", noise)
    train(data, tmp_path / "model", QUICK)
    loaded = LanguageIdentifier.load(tmp_path / "model")
    assert loaded.languages == sorted(WORDS)
    ranked = loaded.rank([*make_sentences("deu_Latn", 20, 900), "77 539 kg x77z | y5q"])
    assert [one.language for one in ranked] == ["und"] * 20 + ["zxx"]
    assert {one.language for one in loaded.identify(make_sentences("deu_Latn", 20, 900))} == {"und"}


@given(lines=st.lists(st.text(), max_size=20))
@settings(max_examples=40)
def test_any_text_gets_an_answer_that_does_not_depend_on_its_neighbors(
    identifier: LanguageIdentifier, lines: list[str]
) -> None:
    together = identifier.identify(lines)
    assert together == [identifier.identify([line])[0] for line in lines]


def test_language_whose_script_is_absent_is_never_answered(
    identifier: LanguageIdentifier,
) -> None:
    # Greek, Georgian and Hangul are in no training file; whatever fastText likes best, no
    # language written in another script may come out.
    lines = ["το νερό του ποταμού", "მდინარის წყალი", "강물과 사람들"]
    assert {answer.language for answer in identifier.rank(lines)} <= {"und", "zxx"}


def test_answer_below_its_threshold_is_unknown(model: Path, tmp_path: Path) -> None:
    loaded = LanguageIdentifier.load(model)
    line = make_sentences("eng_Latn", 1)
    best = loaded.rank(line)[0]
    assert loaded.identify(line) == [(best.language, best.score)]
    for threshold in (Threshold(score=1.01), Threshold(familiarity=best.familiarity + 0.01)):
        copy = tmp_path / f"{threshold.score}"
        shutil.copytree(model, copy)
        write_thresholds(
            copy / "thresholds.tsv",
            read_thresholds(copy / "thresholds.tsv") | {"eng_Latn": threshold},
        )
        record_checksums(copy)
        strict = LanguageIdentifier.load(copy)
        assert strict.identify(line) == [("und", best.score)]
        assert strict.apply_threshold(strict.rank(line)[0]) == ("und", best.score)


def test_identify_command_answers_every_line_of_broken_input(model: Path) -> None:
    english, russian = (make_sentences(code, 1, start=900)[0] for code in ("eng_Latn", "rus_Cyrl"))
    data = english.encode() + b"\n\xff\xfe\x00 broken\n\n" + russian.encode()
    result = CliRunner().invoke(group, ["identify", "--model", str(model)], input=data)
    assert result.exit_code == 0, result.output
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert len(rows) == 4
    assert rows[0][0] == "eng_Latn"
    assert rows[2] == ["und", "0.0000"]
    assert rows[3][0] == "rus_Cyrl"


def test_measure_command_keeps_the_contract(model: Path, tmp_path: Path) -> None:
    for language in WORDS:
        lines = make_sentences(language, 30, start=9_000)
        write_lines(tmp_path / "devtest" / f"{language}.devtest", lines)
    write_lines(tmp_path / "devtest" / "kor_Hang.devtest", ["강물과 사람들"] * 30)
    arguments = ["measure", "--model", str(model), "--flores", str(tmp_path), "--json"]
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert set(measured["languages"]) == set(WORDS)
    assert measured["languages_without_model"] == ["kor_Hang"]
    assert set(measured["languages"]["eng_Latn"]) == {"f1", "precision", "recall", "fpr", "n"}
    mean = sum(scores["f1"] for scores in measured["languages"].values()) / len(WORDS)
    assert measured["macro_f1"] == pytest.approx(mean)
    assert measured["macro_f1"] > 0.95


def test_directory_without_a_model_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tongues lid train"):
        LanguageIdentifier.load(tmp_path)


def test_cut_model_file_is_an_error_and_not_a_crash(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    whole = (copy / "model.bin").read_bytes()
    (copy / "model.bin").write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"model\.bin is damaged: it has"):
        LanguageIdentifier.load(copy)
    (copy / "model.bin").write_bytes(whole)
    LanguageIdentifier.load(copy)


@pytest.mark.parametrize("compiled", [True, False])
def test_changed_bit_in_any_file_is_an_error(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    if not compiled:
        monkeypatch.setattr("lid.identifier.is_compiled", lambda: False)
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    files = [*read_json(copy / "checksums.json"), "checksums.json"]
    assert len(files) == 11
    chance = random.Random(1)
    for name in files:
        before = (copy / name).read_bytes()
        for at in (0, len(before) // 2, len(before) - 2, chance.randrange(len(before))):
            changed = bytearray(before)
            changed[at] ^= 1 << chance.randrange(7)
            (copy / name).write_bytes(changed)
            with pytest.raises(DataError):
                LanguageIdentifier.load(copy)
        (copy / name).write_bytes(before)
    LanguageIdentifier.load(copy)


def test_relabeled_model_file_ends_the_command_with_2(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    data = (copy / "model.bin").read_bytes()
    (copy / "model.bin").write_bytes(data.replace(b"__label__eng_Latn", b"__label__dng_Latn"))
    command = [sys.executable, "tongues.py", "lid", "identify", "--model", str(copy)]
    done = subprocess.run(
        command, input=b"the water\n", capture_output=True, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"model.bin is damaged or was changed" in done.stderr


def test_file_without_a_checksum_is_not_read(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    checksums = read_json(copy / "checksums.json")
    for name in checksums:
        write_json(copy / "checksums.json", {k: v for k, v in checksums.items() if k != name})
        with pytest.raises(DataError, match=f"no checksum of {name}"):
            LanguageIdentifier.load(copy)
    for garbage in ([], {"model.bin": 1}, {"model.bin": {"bytes": 1}}):
        write_json(copy / "checksums.json", garbage)
        with pytest.raises(DataError, match="size and checksum"):
            LanguageIdentifier.load(copy)


def test_missing_thresholds_are_named(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "copy")
    (tmp_path / "copy" / "thresholds.tsv").unlink()
    with pytest.raises(DataError, match=r"thresholds\.tsv is missing"):
        LanguageIdentifier.load(tmp_path / "copy")


def test_thresholds_lie_between_the_limits(model: Path) -> None:
    thresholds = read_thresholds(model / "thresholds.tsv")
    assert set(thresholds) == {*WORDS, "zxx"}
    assert all(0.3 <= threshold.score <= 0.7 for threshold in thresholds.values())
    assert thresholds["zxx"].familiarity == float("-inf")
    assert thresholds["eng_Latn"].familiarity == CalibrationConfig().min_familiarity


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_crop_words", 0), ("buckets_per_class", 0), ("learning_rate", -1.0),
     ("counted_characters", 0), ("max_validation_lines", -1), ("crop_share", 1.5)],
)  # fmt: skip
def test_value_that_would_train_garbage_is_refused(name: str, value: float) -> None:
    with pytest.raises(UserError, match=name):
        TrainConfig(**{name: value})  # type: ignore[arg-type]


def test_unsafe_thread_number_is_refused_with_its_reason() -> None:
    with pytest.raises(UserError, match="uninitialized"):
        TrainConfig(threads=4, reproducible=False)


def test_killed_training_goes_on_to_the_same_bytes(model: Path, tmp_path: Path) -> None:
    data, output = write_data(tmp_path / "data"), tmp_path / "model"
    code = (
        "import sys; from pathlib import Path; from lid.train import train;"
        " from lid.config import TrainConfig;"
        f" train(Path({str(data)!r}), Path({str(output)!r}), TrainConfig(buckets_per_class=2_000,"
        " dim=16, max_repeats=3))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    while not list(output.glob("training-*.tmp")) and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (output / "checksums.json").exists()
    with pytest.raises(UserError, match="run the same command again"):
        LanguageIdentifier.load(output)
    train(data, output, QUICK)
    assert digest_file(output / "model.bin") == digest_file(model / "model.bin")
    assert not list(output.glob("training-*.tmp"))


def test_languages_may_be_named_as_others_do(model: Path) -> None:
    """`ara_Arab` is the macrolanguage whose main member `arb_Arab` is."""
    identifier = LanguageIdentifier.load(model, languages=["ara_Arab", "eng_Latn"])
    assert identifier.languages == ["arb_Arab", "eng_Latn"]
