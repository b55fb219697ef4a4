"""What a training from a model changed, and ways to stay near the start."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from corpus.errors import UserError
from corpus.languages import Direction
from nmt.model.directory import WEIGHTS_FILE
from nmt.training.comparison import (
    BEFORE_FILE,
    COMPARISON_FILE,
    PAGE_FILE,
    ComparedText,
    compare,
    paired_bootstrap,
    quality_of_average,
    read_test_set,
    render,
)
from nmt.training.near_start import pull_to_start, scan_averages
from nmt.training.sections import ComparisonConfig
from nmt.training.train import train
from tests.nmt.conftest import write_bitext, write_flores
from tests.nmt.training.test_start import config_from
from tests.receipts import read_receipt

A, B, C = (Direction(*names) for names in (("x", "y"), ("y", "x"), ("x", "z")))


def overlap(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Score by equal lines, 0 to 100."""
    return 100 * float(np.mean([h == r for h, r in zip(hypotheses, references, strict=True)]))


def test_difference_is_significant_where_sentences_agree_on_it() -> None:
    texts = {"x": list("abcdefghij"), "y": list("ABCDEFGHIJ")}
    tests = ComparedText(texts, trained=(A,), others=(B,))
    before = {"x-y": ["?"] * 10, "y-x": list("abcdefghij")}
    after = {"x-y": list("ABCDEFGHIJ"), "y-x": [*"abcdefghi", "?"]}
    found = compare(tests, before, after, overlap, ComparisonConfig())
    first, second = found["directions"]["x-y"], found["directions"]["y-x"]
    assert (first["kind"], first["before"], first["after"], first["difference"]) == (
        "trained", 0, 100, 100,
    )  # fmt: skip
    assert first["p_value"] < 0.01
    assert second["difference"] == pytest.approx(-10)
    assert second["p_value"] > 0.5  # one sentence of ten is in no resample as often as in some
    assert found["means"]["trained"]["better"] == 1
    assert found["means"]["other"]["worse"] == 0
    assert "+100.0" in render(found)


@pytest.mark.parametrize(
    ("differences", "low", "high"),
    [([0.0] * 9, 1.0, 1.0), ([5.0] * 9, 0.0, 0.01), ([-5.0, 5.0] * 9, 0.5, 1.0)],
)
def test_p_is_the_share_of_resamples_with_the_other_sign(
    differences: list[float], low: float, high: float
) -> None:
    assert low <= paired_bootstrap(np.array(differences), 1000) <= high


def test_sample_of_other_directions_is_spread_and_what_is_named_is_in_it(tmp_path: Path) -> None:
    flores = write_flores(tmp_path / "flores", ["one", "two", "three"])
    languages = ("qaa_Latn", "qab_Latn", "qac_Cyrl")
    known = [Direction(s, t) for s in languages for t in languages if s != t]
    config = ComparisonConfig(sentences=2, max_others=2, directions=("qac_Cyrl-qaa_Latn",))
    tests = read_test_set(config, flores, known[:1], [*known, Direction("qaa_Latn", "eng_Latn")])
    assert tests.trained == (known[0],)
    assert tests.others[0] == Direction("qac_Cyrl", "qaa_Latn")
    assert len(tests.others) == 3
    assert len({direction.source for direction in tests.others[1:]}) == 2
    assert list(tests.texts["qac_Cyrl"]) == ["one", "two"]
    with pytest.raises(UserError, match="has not both languages of eng_Latn-fra_Latn"):
        read_test_set(ComparisonConfig(directions=("eng_Latn-fra_Latn",)), flores, known[:1], known)


def test_training_writes_what_it_changed_and_keeps_the_best_average(
    trained_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write_bitext(tmp_path / "bitext" / "qaa_Latn-qab_Latn.tsv", 40, seed=5)
    flores = write_flores(tmp_path / "flores", ["bara kili mo", "tuno še"])
    config = config_from(
        trained_model, tmp_path / "bitext", f"flores={flores}", "updates=2", "report_every=1",
        "checkpoint_every=2", "validate_every=2", "optimizer.learning_rate=0.01",
        "chrf.sentences=0", "comparison.averages=[0]", "comparison.sentences=2",
        "start_penalty=1", "optimizer.warmup_updates=0",
    )  # fmt: skip
    asked: list[int] = []

    def score(hypotheses: Sequence[str], references: Sequence[str]) -> float:
        asked.append(len(hypotheses))
        return 50.0  # equal for all, and of equals the whole of what was trained is kept

    train(config, tmp_path / "model", load_scorer=lambda: score)
    training = tmp_path / "model" / "training"
    found = json.loads((training / COMPARISON_FILE).read_text(encoding="utf-8"))
    assert found["directions"]["qaa_Latn-qab_Latn"]["kind"] == "trained"
    assert found["directions"]["qab_Latn-qaa_Latn"]["kind"] == "other"
    assert found["averages"] == {
        "0": {"other": 50.0, "trained": 50.0}, "1": {"other": 50.0, "trained": 50.0},
    }  # fmt: skip
    assert found["kept_average"] == 1
    assert "of which 1 of the trained weights is kept" in caplog.text
    assert asked
    assert "Before and after" in (training / PAGE_FILE).read_text(encoding="utf-8")
    assert (training / BEFORE_FILE).is_file()
    assert (
        f"training/{COMPARISON_FILE}"
        in read_receipt(tmp_path / "model", "train", "model")["outputs"]
    )
    weights = [load_file(path / WEIGHTS_FILE) for path in (trained_model, tmp_path / "model")]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_update_pulls_weights_to_the_start_by_rate_strength_and_distance() -> None:
    model, start = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 1.0]]))
        start.weight.copy_(torch.tensor([[1.0, 1.0]]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pull_to_start(optimizer, model, start, 0.5)
    optimizer.step()
    assert torch.equal(model.weight, torch.tensor([[3.0, 1.0]]))  # nothing learned, nothing moved
    model.weight.grad = torch.tensor([[0.0, 2.0]])
    optimizer.step()
    # By hand: 3 + 0.1 · 0.5 · (1 - 3) = 2.9; 1 - 0.1 · 2 = 0.8
    assert torch.allclose(model.weight, torch.tensor([[2.9, 0.8]]))


def test_best_average_of_start_and_end_is_left_in_the_model() -> None:
    model, start = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(3.0)
        start.weight.fill_(1.0)
    found, best = scan_averages(
        model,
        start,
        [0.5, 0.0],
        measure=lambda: float(model.weight.item()),
        quality=lambda weight: -abs(weight - 2.1),
    )
    assert found == {0.0: 1.0, 0.5: 2.0, 1.0: 3.0}
    assert best == 0.5
    assert model.weight.item() == pytest.approx(2.0)


def test_best_average_learned_most_among_those_that_cost_little() -> None:
    def quality(trained: float, difference: float) -> tuple[float, float]:
        means = {"trained": {"after": trained}, "other": {"difference": difference}}
        return quality_of_average(means, 1.0)

    assert quality(50, -1.0) > quality(49, 0.5)
    assert quality(50, -1.0) > quality(60, -1.1) > quality(70, -1.2)
    assert quality_of_average({"other": {"difference": -1.0}}, 1.0) > quality(0, -2.0)
    assert quality_of_average({"trained": {"after": 1.0}}, 1.0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("parallel.mode=fsdp", "needs whole models"),
        ("lora.save=adapter", "needs a model of the start's shape"),
        ("upcycling_noise=0.1", "needs a model of the start's shape"),
    ],
)
def test_nearness_without_a_whole_start_is_refused(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        config_from(Path("model"), Path("bitext"), "start_penalty=1", override)
