"""A language more: its lines among others' found, a detector trained, both answering together."""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from corpus.errors import DataError, UserError
from corpus.files import read_json, read_lines, write_lines
from corpus.jobs import task_counts
from corpus.protocols import Prediction
from lid.cli import group
from lid.config import ExtendConfig, MeasureConfig
from lid.extend import extend
from lid.extended import ExtendedIdentifier
from lid.identifier import LanguageIdentifier
from lid.load import load_identifier
from lid.measure import measure_directory
from lid.training.unmix import find_own_lines
from tests.lid.conftest import make_sentences

CONFIG = ExtendConfig(sampled_lines=4_000, buckets_per_class=2_000, dim=16, max_repeats=3)
NEW = "deu_Latn"


def relatives(count: int) -> tuple[list[str], list[str]]:
    """Return sentences of two languages that share three of four words."""
    chance = random.Random(0)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(chance.choices(syllables, k=3)) for _ in range(400)]
    first, second = words[:300], words[100:]
    return tuple(
        [" ".join(chance.choices(own, k=8)) for _ in range(count)] for own in (first, second)
    )  # type: ignore[return-value]


@pytest.mark.parametrize(("theirs", "ours"), [(400, 300), (600, 100)])
def test_lines_are_found_among_those_of_a_relative(theirs: int, ours: int) -> None:
    new, old = relatives(900)
    labeled = {
        "old": [*old[:theirs], *new[:ours]],
        "other": ["xyz " * 5 + str(n) for n in range(50)],
    }
    taken = find_own_lines(new[600:], labeled)
    assert not taken["other"].any()
    assert taken["old"][:theirs].mean() < 0.1
    assert taken["old"][theirs:].mean() > 0.9


def test_where_most_are_ours_those_found_are_ours() -> None:
    new, old = relatives(900)
    taken = find_own_lines(new[600:], {"old": [*old[:250], *new[:600]]})["old"]
    assert not taken[:250].any()
    assert taken[250:].sum() > 30


def test_nothing_is_taken_where_nothing_is() -> None:
    new, old = relatives(600)
    taken = find_own_lines(new[:300], {"old": old})
    assert taken["old"].mean() < 0.01


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a model that does not know the language labels: its lines lie among two others'."""
    folder = tmp_path_factory.mktemp("labeled")
    new = make_sentences(NEW, 200)
    for number, label in enumerate(("eng_Latn", "fra_Latn")):
        own = make_sentences(label, 150, 1_000)
        write_lines(folder / f"{label}.txt", [*own, *new[100 * number :][:100]])
    write_lines(folder / "rus_Cyrl.txt", make_sentences("rus_Cyrl", 150, 1_000))
    write_lines(folder / "hin_Deva.txt", make_sentences("hin_Deva", 5, 1_000))
    write_lines(folder / "und.txt", make_sentences(NEW, 30, 3_000))
    return folder


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("known")
    write_lines(folder / f"{NEW}.txt", make_sentences(NEW, 60, 2_000))
    return folder


@pytest.fixture(scope="module")
def extended(
    model: Path, known: Path, labeled: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("extended") / "model"
    extend(model, NEW, [known], [labeled], output, CONFIG)
    return output


def test_an_extended_identifier_knows_both(extended: Path, model: Path) -> None:
    counts = task_counts(extended, "extend")["identifier"]
    assert (counts["known"], counts["labeled"], counts["labels_left_out"]) == (60, 650, 1)
    assert 190 <= counts["moved"] <= 202
    identifier = load_identifier(extended)
    base = LanguageIdentifier.load(model)
    assert list(identifier.languages) == sorted({*base.languages, NEW})
    answers = identifier.identify(make_sentences(NEW, 50, 5_000))
    assert sum(one.language == NEW for one in answers) >= 48
    for language in ("eng_Latn", "rus_Cyrl", "hin_Deva", "tha_Thai"):
        lines = make_sentences(language, 30, 5_000)
        assert identifier.identify(lines) == base.identify(lines)
    assert identifier.identify(["", "123"]) == base.identify(["", "123"])


def test_lines_that_were_moved_can_be_read(extended: Path) -> None:
    own = set(read_lines(extended / "text" / f"{NEW}.txt"))
    assert set(make_sentences(NEW, 60, 2_000)) <= own
    assert len(own & set(make_sentences(NEW, 200))) >= 190
    assert not (extended / "text" / "hin_Deva.txt").exists()


def test_extending_again_does_nothing_and_another_model_is_refused(
    extended: Path, model: Path, known: Path, labeled: Path, tmp_path: Path
) -> None:
    before = (extended / "checksums.json").stat().st_mtime_ns
    assert extend(model, NEW, [known], [labeled], extended, CONFIG).skipped == 1
    assert (extended / "checksums.json").stat().st_mtime_ns == before
    shutil.copytree(model, tmp_path / "other")
    with pytest.raises(UserError, match="holds another model"):
        extend(model, NEW, [known], [labeled], tmp_path / "other", CONFIG)


@pytest.mark.parametrize("part", ["base", "detector"])
def test_a_damaged_part_is_noticed(extended: Path, tmp_path: Path, part: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(extended, copy)
    file = copy / part / "thresholds.tsv"
    file.write_text(file.read_text() + " ")
    with pytest.raises(DataError, match=r"thresholds\.tsv is damaged"):
        load_identifier(copy)
    shutil.rmtree(copy / part)
    with pytest.raises(DataError, match="is missing"):
        load_identifier(copy)


def test_an_extended_identifier_is_extended(extended: Path, labeled: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "more" / "ukr_Cyrl.txt", make_sentences("ukr_Cyrl", 60))
    output = tmp_path / "twice"
    extend(extended, "ukr_Cyrl", [tmp_path / "more"], [labeled], output, CONFIG)
    identifier = load_identifier(output)
    for language in (NEW, "ukr_Cyrl", "rus_Cyrl", "tha_Thai"):
        answers = identifier.identify(make_sentences(language, 30, 7_000))
        assert sum(one.language == language for one in answers) >= 25, language


def test_asked_languages_are_answered_alone(extended: Path) -> None:
    def answered(languages: str) -> set[str]:
        lines = [*make_sentences(NEW, 20, 8_000), *make_sentences("fra_Latn", 20, 8_000)]
        result = CliRunner().invoke(
            group,
            ["identify", "--model", str(extended), "--languages", languages],
            input="\n".join(lines) + "\n",
        )
        assert result.exit_code == 0, result.output
        return {line.split("\t")[0] for line in result.stdout.splitlines()} - {"und", "zxx"}

    assert answered(NEW) == {NEW}
    assert answered(f"{NEW},fra_Latn") == {NEW, "fra_Latn"}
    assert answered("fra_Latn") == {"fra_Latn"}


@pytest.mark.parametrize("option", [["--top", "2"], ["--spans"], ["--groups"]])
def test_what_needs_scores_of_all_languages_is_refused(extended: Path, option: list[str]) -> None:
    result = CliRunner().invoke(group, ["identify", "--model", str(extended), *option], input="a\n")
    assert isinstance(result.exception, UserError)
    assert "an identifier with a detector beside it" in str(result.exception)
    with pytest.raises(UserError, match="name one of the two model directories in it"):
        LanguageIdentifier.load(extended)


def test_an_extended_identifier_is_measured(extended: Path, model: Path, tmp_path: Path) -> None:
    for language in (NEW, "eng_Latn", "rus_Cyrl"):
        lines = make_sentences(language, 30, 9_000)
        write_lines(tmp_path / "devtest" / f"{language}.devtest", lines)
    measured = measure_directory(extended, tmp_path, "devtest", MeasureConfig(), against=model)
    assert measured["languages"][NEW]["recall"] > 0.9
    assert measured["training_lines"][NEW] > 200
    assert measured["against"]["closed"]


def test_damaged_description_is_a_data_error(extended: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(extended, copy)
    there = read_json(copy / "extended.json")
    assert there == {"language": NEW, "base": "base"}
    (copy / "extended.json").write_text("[]")
    with pytest.raises(DataError, match="is damaged"):
        load_identifier(copy)


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ("ita_Latn", "there is no text of `ita_Latn`"),
        ("kat_Geor", "no language of the script of kat_Geor"),
    ],
)
def test_what_cannot_work_is_refused(
    model: Path, labeled: Path, tmp_path: Path, language: str, message: str
) -> None:
    for code in (NEW, "kat_Geor"):
        write_lines(tmp_path / "text" / f"{code}.txt", ["some words of it"])
    with pytest.raises(UserError, match=message):
        extend(model, language, [tmp_path / "text"], [labeled], tmp_path / "out", CONFIG)


class Written:
    """Answers each line with what it says."""

    def __init__(self, *languages: str) -> None:
        self.languages = languages
        self.asked: list[str] = []

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        self.asked += lines
        return [Prediction(one if one in self.languages else "und", 0.5) for one in lines]


def test_the_base_is_asked_for_what_the_detector_leaves() -> None:
    base, detector = Written("fra_Latn", "eng_Latn"), Written("deu_Latn", "eng_Latn")
    both = ExtendedIdentifier(base, detector, "deu_Latn")
    lines = ["deu_Latn", "eng_Latn", "fra_Latn", "ita_Latn"]
    answers = [one.language for one in both.identify(lines)]
    assert answers == ["deu_Latn", "eng_Latn", "fra_Latn", "und"]
    assert base.asked == lines[1:]
    alone = ExtendedIdentifier(None, detector, "deu_Latn")
    assert [one.language for one in alone.identify(lines)] == ["deu_Latn", "und", "und", "und"]
