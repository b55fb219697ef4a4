"""Which update is selected where a training replays what its start could do."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from corpus.config import load_config
from corpus.errors import UserError
from corpus.languages import Direction
from nmt.data.tokenize import DirectionPairs, Part
from nmt.model.directory import WEIGHTS_FILE
from nmt.training.comparison import COMPARISON_FILE
from nmt.training.config import TrainConfig
from nmt.training.curves import Curves, Validation, read_curves, stopped_at
from nmt.training.sections import SelectionConfig
from nmt.training.selection import learned_directions, update_scores
from nmt.training.train import train
from tests.nmt.conftest import write_bitext, write_flores
from tests.nmt.training.test_start import config_from
from tests.receipts import read_receipt

NEW, OLD, BOTH = Direction("x", "new"), Direction("x", "old"), Direction("old", "x")
PAIRS = {
    direction: DirectionPairs(direction, tuple(Part(0, 0, -1, 5, is_replay=r) for r in replayed))
    for direction, replayed in ((NEW, (False,)), (OLD, (True,)), (BOTH, (True, False)))
}


def curves(new: list[float], old: list[float]) -> Curves:
    """Return chrF++ after 0, 10, 20, … updates."""
    return Curves(
        [],
        {
            str(direction): [Validation(10 * i, 1.0, score) for i, score in enumerate(scores)]
            for direction, scores in ((NEW, new), (OLD, old))
        },
    )


def best(new: list[float], old: list[float], max_loss: float = 1.0) -> int:
    config = SelectionConfig(keep="best", score="chrf++", max_loss=max_loss)
    chosen = update_scores(config, PAIRS, {NEW, OLD}.__contains__)
    assert chosen.needs_start
    return max(chosen.of(curves(new, old)), key=lambda pair: pair[1])[0]


def test_best_update_learned_most_among_those_that_forgot_little() -> None:
    new, old = [10.0, 40.0, 50.0, 60.0], [70.0, 69.5, 69.0, 68.9]
    assert best(new, old) == 20
    assert best(new, old, max_loss=2) == 30
    assert best(new, old, max_loss=0) == 30  # none keeps to it: the best of all
    assert best([10.0, 40.0, 30.0], [70.0, 60.0, 69.5]) == 20  # the loss may fall again


def test_likelihood_of_references_sets_no_limit() -> None:
    chosen = update_scores(SelectionConfig(keep="best"), PAIRS, {NEW, OLD}.__contains__)
    assert not chosen.needs_start
    # As after 0, 100, 200 and 600 updates on Multi30k.
    found = Curves(
        [],
        {
            str(direction): [Validation(10 * i, nll, None) for i, nll in enumerate(values)]
            for direction, values in (
                (NEW, [6.347, 4.224, 3.99, 3.662]), (OLD, [2.324, 2.614, 2.69, 2.731]),
            )
        },
    )  # fmt: skip
    assert max(chosen.of(found), key=lambda pair: pair[1]) == (30, -3.662)


def test_start_is_no_update_and_patience_counts_by_the_same_scores() -> None:
    config = SelectionConfig(keep="best", score="chrf++")
    scores = update_scores(config, PAIRS, {NEW, OLD}.__contains__).of(
        curves([90.0, 40.0, 50.0, 60.0], [70.0, 70.0, 60.0, 50.0])
    )
    assert [update for update, _ in scores] == [10, 20, 30]
    assert stopped_at(scores, 2) == 30


def test_without_replay_or_without_anything_else_the_mean_of_all_selects() -> None:
    config = SelectionConfig(keep="best", score="chrf++")
    for pairs in ({NEW: PAIRS[NEW], BOTH: PAIRS[BOTH]}, {OLD: PAIRS[OLD]}):
        chosen = update_scores(config, pairs, lambda direction: True)
        assert not chosen.needs_start
        assert chosen.of(curves([0.0, 10.0], [0.0, 30.0])) == [(10, 20.0)]
    # Nothing that is learned is validated.
    assert not update_scores(config, PAIRS, {OLD}.__contains__).needs_start
    assert not update_scores(SelectionConfig(), PAIRS, {NEW, OLD}.__contains__).needs_start
    assert learned_directions(PAIRS) == [NEW, BOTH]


def test_training_with_replay_validates_its_start_and_compares_replayed_directions_as_others(
    trained_model: Path, tmp_path: Path
) -> None:
    write_bitext(tmp_path / "new" / "qaa_Latn-qab_Latn.tsv", 40, seed=5)
    write_bitext(tmp_path / "replay" / "qab_Latn-qaa_Latn.tsv", 10, seed=6)
    flores = write_flores(tmp_path / "flores", ["bara kili mo", "tuno še"])
    settings = (
        # Distilled bitext is trained one way, so that the other way is replayed only.
        "bitext.primary=[]", f"bitext.distilled={tmp_path / 'new'}",
        f"bitext.replay={tmp_path / 'replay'}", "directions=[]", f"flores={flores}", "updates=4",
        "report_every=2", "checkpoint_every=2", "validate_every=2", "chrf.sentences=2",
        "selection.score=chrf++", "comparison.sentences=2", "comparison.max_others=9",
        "optimizer.learning_rate=0.03", "optimizer.warmup_updates=0", "selection.max_loss=0",
    )  # fmt: skip
    config = config_from(trained_model, tmp_path / "new", *settings)
    train(config, tmp_path / "model", load_scorer=lambda: lambda hypotheses, references: 50.0)
    training = tmp_path / "model" / "training"
    validated = read_curves(training).validation
    assert sorted(validated) == ["qaa_Latn-qab_Latn", "qab_Latn-qaa_Latn"]
    assert {tuple(v.update for v in own) for own in validated.values()} == {(0, 2, 4)}
    scores = update_scores(
        SelectionConfig(keep="best", score="chrf++", max_loss=0),
        {
            Direction(*name.split("-")): PAIRS[OLD if name.startswith("qab") else NEW]
            for name in validated
        },
        lambda direction: True,
    ).of(read_curves(training))
    receipt = read_receipt(tmp_path / "model", "train", "model")
    assert receipt["counts"]["kept_update"] == max(scores, key=lambda pair: pair[::-1])[0]
    found = json.loads((training / COMPARISON_FILE).read_text(encoding="utf-8"))
    kinds = {name: row["kind"] for name, row in found["directions"].items()}
    assert kinds == {"qaa_Latn-qab_Latn": "trained", "qab_Latn-qaa_Latn": "other"}
    weights = [load_file(path / WEIGHTS_FILE) for path in (trained_model, tmp_path / "model")]
    assert any(not weights[0][name].equal(weights[1][name]) for name in weights[0])


def test_replay_without_the_model_that_made_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`bitext\.replay` needs `start_from`"):
        load_config(TrainConfig, None, [f"vocabulary={tmp_path}", f"bitext.replay={tmp_path}"])
