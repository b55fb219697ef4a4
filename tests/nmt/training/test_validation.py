import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.config import load_config
from corpus.errors import DataError, UserError
from corpus.languages import Direction
from nmt.training.config import TrainConfig
from nmt.training.readers import ListReader, TokenBatch
from nmt.training.validation_data import read_validation
from nmt.vocabulary.vocabulary import Vocabulary
from tests.nmt.conftest import write_bitext, write_flores
from tests.nmt.training.test_train import write_recipe

LINES = ["bara kili mo", "tuno še", "ki ki bagu"]
A_B, B_A = Direction("qaa_Latn", "qab_Latn"), Direction("qab_Latn", "qaa_Latn")
A_D = Direction("qaa_Latn", "qad_Latn")
DIRECTIONS = [A_B, A_D, B_A]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from nmt.vocabulary.config import VocabularyConfig
    from nmt.vocabulary.train import train_vocabulary

    directory = tmp_path_factory.mktemp("validation")
    write_bitext(directory / "bitext" / "qaa_Latn-qab_Latn.tsv", 60)
    write_bitext(directory / "bitext" / "qaa_Latn-qad_Latn.tsv", 20)
    train_vocabulary([directory / "bitext"], directory / "vocabulary", VocabularyConfig(size=80))
    write_flores(directory / "flores", LINES)
    return directory


def config(data: Path, **differences: Any) -> TrainConfig:
    settings = {"flores": str(data / "flores"), **differences}
    recipe = write_recipe(data, data / "vocabulary", data / "bitext", **settings)
    return load_config(TrainConfig, recipe)


def read(data: Path, max_positions: int = 100, **differences: Any):
    vocabulary = Vocabulary.load(data / "vocabulary")
    return read_validation(config(data, **differences), vocabulary, DIRECTIONS, max_positions)


def test_directions_that_flores_lacks_are_left_out_with_a_warning(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = read(data)
    assert list(found.batches) == [A_B, B_A]
    assert "1 of 3 directions are not validated" in caplog.text
    assert "no file for qad_Latn" in caplog.text


@pytest.mark.parametrize("num_batches", [1, 4, 5])
def test_processes_count_each_batch_once_and_run_the_model_equally_often(
    data: Path, num_batches: int
) -> None:
    (batch,) = read(data).batches[A_B]
    batches = [
        dataclasses.replace(batch, target_lengths=batch.target_lengths + i)
        for i in range(num_batches)
    ]
    counted: list[int] = []
    for rank in range(3):
        reader = ListReader(batches, rank, 3)
        for _ in range(2):
            taken = [step for (step,) in reader]
            assert len(taken) == -(-num_batches // 3)
            reader.reset()
        counted += [step.num_target_tokens for step in taken if step.is_counted]
    assert sorted(counted) == [TokenBatch(each).num_target_tokens for each in batches]


def test_batches_hold_the_first_sentences_with_their_languages(data: Path) -> None:
    vocabulary = Vocabulary.load(data / "vocabulary")
    batches = read(data, validation_sentences=2).batches[A_B]
    assert sum(len(batch.source) for batch in batches) == 2
    for batch in batches:
        assert (batch.source[:, 0] == vocabulary.language_index("qaa_Latn")).all()
        assert (batch.target[:, 1] == vocabulary.language_index("qab_Latn")).all()
        np.testing.assert_array_equal(batch.source_lengths + 1, batch.target_lengths)


def test_translated_are_as_many_directions_and_sentences_as_asked_for(data: Path) -> None:
    chrf: dict[str, Any] = {"sentences": 2, "max_directions": 1}
    assert read(data, chrf=chrf).translated == {A_B: (LINES[:2], LINES[:2])}
    chrf = {"sentences": 2, "max_directions": 0}
    assert set(read(data, chrf=chrf).translated) == {A_B, B_A}
    assert set(read(data, chrf={"directions": [str(B_A)]}).translated) == {B_A}
    assert read(data, chrf={"sentences": 0}).translated == {}


def test_direction_to_translate_that_is_not_validated_is_refused(data: Path) -> None:
    with pytest.raises(UserError, match=r"names qaa_Latn-qad_Latn, which is not both trained and"):
        read(data, chrf={"directions": [str(A_D)]})


def test_sentences_longer_than_the_model_are_left_out_with_a_warning(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flores = write_flores(tmp_path / "flores", [*LINES, "bara " * 200])
    with caplog.at_level(logging.WARNING):
        found = read(data, flores=str(flores))
    assert "2 validation pairs are left out" in caplog.text
    assert sum(len(batch.source) for batch in found.batches[A_B]) == 3
    with pytest.raises(DataError, match=r"no sentence of .* fits the 4 positions"):
        read(data, max_positions=4)


def test_empty_split_is_refused(data: Path, tmp_path: Path) -> None:
    flores = write_flores(tmp_path / "flores", [])
    with pytest.raises(DataError, match=r"flores/dev has no sentence"):
        read(data, flores=str(flores))


def test_nothing_to_validate_is_an_error_only_where_something_depends_on_it(
    data: Path, tmp_path: Path
) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "fra_Latn.dev").write_text("un\n")
    assert read(data, flores=str(tmp_path)).batches == {}
    with pytest.raises(UserError, match=r"has no direction of this training.*qaa_Latn, qab_Latn"):
        read(data, flores=str(tmp_path), selection={"patience": 3})


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        ({"flores": None, "selection": {"keep": "best"}}, "none without `flores`"),
        ({"selection": {"keep": "best"}}, r"`checkpoint_every` \(2\) and `validate_every` \(4\)"),
        ({"selection": {"patience": 1, "score": "chrf++"}, "chrf": {"sentences": 0}}, "is 0"),
        ({"selection": {"patience": -1}}, "must be at least 0"),
        ({"report_every": 0}, "`report_every` is 0; it must be at least 1"),
        ({"validate_every": 0}, "`validate_every` is 0; it must be at least 1"),
        ({"optimizer": {"betas": [0.9, 1.0]}}, r"betas.* 1.0; it must be at least 0 and below 1"),
        ({"model": {"moe_every_n_layers": 0}}, "`model.moe_every_n_layers` is 0; it must be"),
        ({"compute": {"accumulated_batches": 0}}, "`compute.accumulated_batches` is 0"),
        ({"compute": {"peak_teraflops": -1.0}}, "must be above 0"),
        ({"chrf": {"directions": ["qaa_Latn"]}}, "qaa_Latn"),
        ({"chrf": {"beam_size": 0}}, "`chrf.beam_size` is 0"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(
    data: Path, differences: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        config(data, **differences)
