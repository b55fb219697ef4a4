"""Trainings in this process, cut where a kill would cut them."""

import errno
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from corpus.config import load_config
from corpus.errors import DataError, UserError
from nmt.model.directory import WEIGHTS_FILE
from nmt.training.config import TrainConfig
from nmt.training.curves import mean_scores, read_curves
from nmt.training.directory import last_update
from nmt.training.train import train
from tests.nmt.conftest import write_bitext, write_flores
from tests.nmt.training.test_train import metrics_of, write_recipe
from tests.receipts import read_receipt

LINES = ["bara kili mo", "tuno še", "ki ki bagu", "noli mora tu", "bara", "še še kino"]
SCORES = [10.0, 40.0, 30.0, 40.0, 20.0, 50.0]
"""What the scorer answers validation after validation; it stops being better after the second."""


COPYING = 5.0


class Scorer:
    """Answers the score of the validation that it is asked in, and may be killed in one.

    What copying the sources scores is asked once by each process, and not counted.
    """

    def __init__(self, killed_at: int | None = None, first: int = 0) -> None:
        self.asked = first
        self.killed_at = killed_at

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> float:
        assert len(hypotheses) == len(references) > 0
        if list(hypotheses) == LINES[: len(hypotheses)]:
            return COPYING
        self.asked += 1
        if self.asked == self.killed_at:
            raise KeyboardInterrupt
        return SCORES[self.asked - 1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from nmt.vocabulary.config import VocabularyConfig
    from nmt.vocabulary.train import train_vocabulary

    directory = tmp_path_factory.mktemp("recipe")
    write_bitext(directory / "bitext" / "qaa_Latn-qab_Latn.tsv", 60)
    train_vocabulary([directory / "bitext"], directory / "vocabulary", VocabularyConfig(size=80))
    write_flores(directory / "flores", LINES)
    return directory


def configured(data: Path, **differences: Any) -> TrainConfig:
    settings = {
        "batches": {"max_tokens": 300, "max_length": 60},
        "directions": ["qaa_Latn-qab_Latn"],
        "optimizer": {"learning_rate": 0.004, "warmup_updates": 2},
        "updates": 4,
        "checkpoint_every": 2,
        "validate_every": 2,
        "report_every": 1,
        "compute": {"peak_teraflops": 1.0, "tensorboard": False},
    }
    for name, value in differences.items():
        there = settings.get(name)
        settings[name] = {**there, **value} if isinstance(there, dict) else value
    return load_config(
        TrainConfig, write_recipe(data, data / "vocabulary", data / "bitext", **settings)
    )


def counts(output: Path) -> dict[str, int]:
    found: dict[str, int] = read_receipt(output, "train", "model")["counts"]
    return found


@pytest.mark.slow
def test_training_killed_in_validations_stops_and_chooses_as_an_undisturbed_one(
    data: Path, tmp_path: Path
) -> None:
    config = configured(
        data,
        flores=str(data / "flores"),
        updates=12,
        selection={"keep": "best", "score": "chrf++", "patience": 3},
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(config, whole, load_scorer=lambda: Scorer())
    assert counts(whole)["updates"] == 10  # 40 at update 4, and no better at 6, 8 and 10
    assert counts(whole)["kept_update"] == 8  # of equals the later one
    # The kill in a validation leaves its checkpoint unfinished: the update before is gone on from.
    for killed_at, first in ((2, 0), (5, 1)):
        with pytest.raises(KeyboardInterrupt):
            train(config, killed, load_scorer=lambda k=killed_at, f=first: Scorer(k, f))
        saved = [p.name for p in (killed / "training" / "checkpoints").glob("step_*[0-9]")]
        assert f"step_{2 * killed_at}" not in saved
    train(config, killed, load_scorer=lambda: Scorer(first=4))
    assert metrics_of(killed) == metrics_of(whole)
    assert counts(killed) == counts(whole)
    assert (killed / WEIGHTS_FILE).read_bytes() == (whole / WEIGHTS_FILE).read_bytes()
    curves = read_curves(whole / "training")
    assert mean_scores(curves, "chrf++") == [(2 * i + 2, SCORES[i]) for i in range(5)]
    (validations,) = curves.validation.values()
    assert {validation.copying for validation in validations} == {COPYING}
    assert "40.0" in (whole / "training" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_full_disk_at_a_checkpoint_is_said_and_the_same_command_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(data)
    train(config, tmp_path / "whole")

    def fail(self: object, name: Path, *_: object) -> None:
        Path(name).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(name))

    with monkeypatch.context() as patch:
        patch.setattr("fairseq2.io._TorchTensorFileDumper.dump", lambda s, d, f, o=None: fail(s, f))
        with pytest.raises(OSError, match="No space left on device") as raised:
            train(config, tmp_path / "full")
    assert raised.value.errno == errno.ENOSPC
    checkpoints = tmp_path / "full" / "training" / "checkpoints"
    assert [path.name for path in checkpoints.glob("step_*")] == ["step_2.tmp"]
    train(config, tmp_path / "full")
    whole, full = (tmp_path / name / WEIGHTS_FILE for name in ("whole", "full"))
    assert full.read_bytes() == whole.read_bytes()


def test_full_disk_is_said_where_torchs_writer_calls_it_something_else() -> None:
    from fairseq2.checkpoint.manager import CheckpointStateNotValidError

    from nmt.training.recipe import _errors_of_ours

    def save() -> None:
        try:
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            finally:  # what torch 2.9 says as it closes the file
                raise RuntimeError("unexpected pos 1831552 vs 1831440")
        except RuntimeError as error:
            raise CheckpointStateNotValidError(2, "optimizer", "must be pickeable") from error

    with pytest.raises(CheckpointStateNotValidError):
        save()
    with pytest.raises(OSError, match="No space left on device"), _errors_of_ours():
        save()


@pytest.mark.slow
def test_diverging_training_skips_and_then_stops_with_the_remedy(
    data: Path, tmp_path: Path
) -> None:
    config = configured(
        data,
        updates=40,
        optimizer={"learning_rate": 1e6},
        compute={"max_skipped_updates": 5},
        checkpoint_every=1,
        validate_every=1,
    )
    with pytest.raises(UserError, match="5 updates in a row had no finite gradient"):
        train(config, tmp_path / "model")
    assert not (tmp_path / "model" / WEIGHTS_FILE).exists()
    training = tmp_path / "model" / "training"
    assert read_curves(training).training[-1]["skipped_updates"] == 4
    saved = training / "checkpoints" / f"step_{last_update(training)}" / "model"
    (file,) = saved.rglob("*.pt")
    assert all(tensor.isfinite().all() for tensor in torch.load(file, weights_only=True).values())


@pytest.mark.slow
def test_layers_computed_again_and_compiled_ones_learn_the_same(data: Path, tmp_path: Path) -> None:
    ways: dict[str, dict[str, Any]] = {
        "plain": {},
        "again": {"activation_checkpointing": True},
        "compiled": {"compile": True, "compile_backend": "eager"},
        "bf16": {"precision": "bf16"},
    }
    weights = {}
    for name, way in ways.items():
        updates = {"updates": 3, "checkpoint_every": 3, "validate_every": 3}
        train(configured(data, compute=way, **updates), tmp_path / name)
        weights[name] = load_file(tmp_path / name / WEIGHTS_FILE)
    for name, tensor in weights["plain"].items():
        assert torch.equal(weights["again"][name], tensor), name
        torch.testing.assert_close(weights["compiled"][name], tensor, rtol=1e-4, atol=1e-5)
    losses = {name: read_curves(tmp_path / name / "training").training[-1]["Loss"] for name in ways}
    assert losses["bf16"] == pytest.approx(losses["plain"], rel=0.02)
    assert losses["bf16"] != losses["plain"]


@pytest.mark.slow
def test_accumulated_batches_are_one_update_of_all_their_tokens(data: Path, tmp_path: Path) -> None:
    config = configured(data, compute={"accumulated_batches": 3}, updates=3)
    train(config, tmp_path / "model")
    one, three = tmp_path / "one", tmp_path / "model"
    train(configured(data, updates=9, checkpoint_every=9, validate_every=9), one)
    names = ("Number of Source Elements", "Number of Target Elements")
    accumulated = read_curves(three / "training").training
    single = read_curves(one / "training").training
    assert len(accumulated) == 3
    for i, line in enumerate(accumulated):
        for name in names:
            assert line[name] == sum(other[name] for other in single[3 * i : 3 * i + 3])


def test_config_of_a_begun_training_cannot_be_changed(data: Path, tmp_path: Path) -> None:
    config = configured(data, updates=3)
    from corpus.jobs import run_job

    run_job(name="train", tasks=[], work=lambda task: None, output=tmp_path, config=config)  # type: ignore[arg-type,return-value]
    (tmp_path / "training" / "checkpoints" / "step_2" / "trainer").mkdir(parents=True)
    changed = configured(data, updates=3, optimizer={"learning_rate": 0.1})
    with pytest.raises(UserError, match=r"another config.*learning_rate"):
        train(changed, tmp_path)
    only_faster = configured(data, updates=3, compute={"peak_teraflops": 3.0})
    run_job(name="train", tasks=[], work=lambda task: None, output=tmp_path, config=only_faster)  # type: ignore[arg-type,return-value]


def test_damaged_checkpoint_of_the_best_update_is_named(tmp_path: Path) -> None:
    from nmt.model.config import named_config
    from nmt.model.translator import create_model
    from nmt.training.checkpoints import best_update, load_weights

    folder = tmp_path / "checkpoints"
    for name in ("step_4", "step_20", "step_30.tmp"):
        (folder / name / "trainer").mkdir(parents=True)
    (folder / "scores").mkdir()
    assert last_update(tmp_path) == 20  # the half-written one does not count
    with pytest.raises(DataError, match=r"no checkpoint in .* was validated"):
        best_update(tmp_path)
    for update, score in ((4, -1.5), (20, -2.5), (30, -0.5)):
        (folder / "scores" / f"step_{update}.txt").write_text(f"{score}\n")
    assert best_update(tmp_path) == 4
    weights = folder / "step_4" / "model" / "pp_00" / "tp_00" / "sdp_00.pt"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"PK\x03\x04 half")
    config = replace(named_config("tiny"), vocab_size=20)
    with pytest.raises(DataError, match=r"sdp_00\.pt is damaged"):
        load_weights(tmp_path, 4, create_model(config))
    shutil.rmtree(folder)
    assert last_update(tmp_path) == 0
