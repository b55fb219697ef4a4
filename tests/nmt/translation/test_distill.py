from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from corpus.config import load_config
from corpus.errors import UserError
from corpus.files import write_lines
from corpus.languages import Direction, parse_direction
from corpus.records import read_bitext
from nmt.cli import group
from nmt.data.tokenize import direction_pairs, tokenize
from nmt.training.config import TrainConfig
from nmt.training.train import train
from nmt.translation.decoding.config import DistillBitextConfig
from nmt.translation.distill import distill_bitext
from nmt.translation.translator import open_translator
from nmt.usage.expert_selection import Needed
from nmt.vocabulary.config import VocabularyConfig
from nmt.vocabulary.train import train_vocabulary
from nmt.vocabulary.vocabulary import Vocabulary
from tests.nmt.conftest import write_bitext
from tests.nmt.training.test_train import write_recipe

FORWARD, BACKWARD = (parse_direction(d) for d in ("qaa_Latn-qab_Latn", "qab_Latn-qaa_Latn"))
FAST = DistillBitextConfig(beam_size=2, threads=1, block_lines=8, max_length_factor=0.5)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that was trained a little, and bitext to distill."""
    directory = tmp_path_factory.mktemp("school")
    write_bitext(directory / "bitext" / f"{FORWARD}.tsv", 100)
    train_vocabulary([directory / "bitext"], directory / "vocabulary", VocabularyConfig(size=80))
    recipe = write_recipe(directory, directory / "vocabulary", directory / "bitext")
    train(load_config(TrainConfig, recipe), directory / "teacher")
    lines = ["bara kili\tmo tu", "\tše", "mono ligu\tbali"]
    path = directory / "sources" / f"{FORWARD}.tsv"
    path.parent.mkdir()
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return directory


def distill(school: Path, output: Path, *directions: Direction) -> dict[str, int]:
    summary = distill_bitext(school / "teacher", school / "sources", directions, output, FAST)
    return dict(summary.counts)


def pairs_of(directory: Path, direction: Direction) -> list[tuple[str, str]]:
    table = read_bitext(directory / f"{direction}.parquet")
    return list(
        zip(*(table.column(side).to_pylist() for side in ("source", "target")), strict=True)
    )


def test_targets_are_the_teachers_translations_and_sources_stay(
    school: Path, tmp_path: Path
) -> None:
    counts = distill(school, tmp_path)
    translator = open_translator(school / "teacher", FAST, Needed((), ()))
    for direction, sources in (
        (FORWARD, ["bara kili", "mono ligu"]),
        (BACKWARD, ["mo tu", "še", "bali"]),
    ):
        expected = zip(sources, translator.translate(sources, *direction), strict=True)
        assert pairs_of(tmp_path, direction) == [pair for pair in expected if pair[1]]
    assert counts["pairs"] + counts["empty"] == 6
    assert counts["empty"] >= 1
    assert counts["lines"] == 6


def test_finished_directions_are_not_translated_again(school: Path, tmp_path: Path) -> None:
    distill(school, tmp_path, FORWARD)
    assert not (tmp_path / f"{BACKWARD}.parquet").exists()
    before = (tmp_path / f"{FORWARD}.parquet").stat().st_mtime_ns
    distill(school, tmp_path, FORWARD)
    assert (tmp_path / f"{FORWARD}.parquet").stat().st_mtime_ns == before


def test_distilled_bitext_is_trained_from_source_to_target_only(
    school: Path, tmp_path: Path
) -> None:
    write_bitext(tmp_path / "distilled" / f"{FORWARD}.tsv", 20)
    vocabulary = Vocabulary.load(school / "vocabulary")
    for tag, expected in (("distilled", [FORWARD]), ("primary", [FORWARD, BACKWARD])):
        recipe = write_recipe(tmp_path, school / "vocabulary", school / "bitext")
        config = load_config(TrainConfig, recipe)
        config = replace(config, bitext={tag: (tmp_path / "distilled",)})
        tokens = tokenize(config.training_data, vocabulary, tmp_path / tag)
        found = direction_pairs(tokens, vocabulary, ())
        assert list(found) == expected
        assert [part.tag_index for part in found[FORWARD].parts] == [-1]
        if tag == "distilled":
            with pytest.raises(UserError, match=r"from qab_Latn to qaa_Latn.*trained one way"):
                direction_pairs(tokens, vocabulary, [str(BACKWARD)])


def test_direction_without_bitext_is_refused(school: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no bitext for direction qaa_Latn-qac_Cyrl"):
        distill(school, tmp_path, parse_direction("qaa_Latn-qac_Cyrl"))


def test_teacher_that_knows_none_of_the_bitext_is_refused(school: Path, tmp_path: Path) -> None:
    write_bitext(tmp_path / "other" / "qaa_Latn-qac_Cyrl.tsv", 2)
    with pytest.raises(UserError, match="was trained on no direction of the bitext"):
        distill_bitext(school / "teacher", tmp_path / "other", (), tmp_path / "out", FAST)


def test_command_writes_bitext_of_the_directions_named(school: Path, tmp_path: Path) -> None:
    arguments = ["distill", "--teacher", str(school / "teacher"), "--bitext"]
    arguments += [str(school / "sources"), "--directions", str(BACKWARD)]
    arguments += ["--output", str(tmp_path / "out"), "--config", "beam_size=1"]
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert [path.name for path in (tmp_path / "out").glob("*.parquet")] == [f"{BACKWARD}.parquet"]


def test_sources_of_a_moses_pair_are_translated_either_way(school: Path, tmp_path: Path) -> None:
    for side, language in enumerate(FORWARD):
        lines = read_bitext(school / "sources" / f"{FORWARD}.tsv").column(side).to_pylist()
        path = tmp_path / "in" / f"x.{language}"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    distill(school, tmp_path / "tsv")
    distill_bitext(school / "teacher", tmp_path / "in", (), tmp_path / "moses", FAST)
    for direction in (FORWARD, BACKWARD):
        assert pairs_of(tmp_path / "moses", direction) == pairs_of(tmp_path / "tsv", direction)


def test_columns_of_the_bitext_may_be_numbered(school: Path, tmp_path: Path) -> None:
    rows = read_bitext(school / "sources" / f"{FORWARD}.tsv").to_pylist()
    lines = [f"0.5\t{row['source']}\t{row['target']}" for row in rows]
    write_lines(tmp_path / "in" / f"{FORWARD}.tsv", lines)
    distill(school, tmp_path / "tsv")
    config = replace(FAST, columns={"source": "2", "target": "3"})
    distill_bitext(school / "teacher", tmp_path / "in", (), tmp_path / "numbered", config)
    assert pairs_of(tmp_path / "numbered", FORWARD) == pairs_of(tmp_path / "tsv", FORWARD)
