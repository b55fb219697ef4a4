"""A budget decides sizes, the same on any machine."""

from pathlib import Path

import pytest

from corpus.errors import UserError
from new_language.budget import decide
from new_language.steps import make_steps
from tests.new_language.test_steps import plan_of


def write(path: Path, size: int) -> str:
    with path.open("wb") as file:
        file.truncate(size)
    return str(path)


def test_shards_rounds_updates_and_text_are_those_that_fit(tmp_path: Path) -> None:
    weights = Path(write(tmp_path / "model.safetensors", 8_000_000))  # 2 million parameters
    shards = [write(tmp_path / f"{i}.wet.gz", 10_000_000) for i in range(9)]
    few = decide(60, shards=shards, rounds=2, trainings=3, positions=1000, weights=weights)
    # By hand: 3,600 s · .3 / 2 rounds = 540 s, at 160 s a shard
    assert few.shards == tuple(shards[:3])
    assert few.rounds == 2
    # 3,600 s · .5 / 3 trainings = 600 s; 6 · 2e6 · 1,000 / 1e10 = 1.2 s an update
    assert few.max_updates == 500
    # 3,600 s · .1 / 2 = 180 s; 2 · 2e6 · 30 · 4 / 1e10 = .048 s a sentence
    assert few.back_translated == 3750


def test_least_budget_still_reads_a_shard_once(tmp_path: Path) -> None:
    weights = Path(write(tmp_path / "model.safetensors", 1 << 30))
    sizes = decide(
        1, shards=["https://x/a.gz", "https://x/b.gz"], rounds=2, trainings=1, positions=8192,
        weights=weights,
    )  # fmt: skip
    assert (sizes.shards, sizes.rounds, sizes.max_updates) == (("https://x/a.gz",), 1, 40)


def test_sizes_are_those_of_the_commands_and_settings_win(tmp_path: Path) -> None:
    write_to = tmp_path / "model"
    write_to.mkdir()
    write(write_to / "model.safetensors", 8_000_000)
    shards = [write(tmp_path / f"{i}.gz", 100_000_000) for i in range(3)]

    plan = plan_of(
        tmp_path, shards=[f"{tmp_path}/*.gz"], budget_core_minutes=60,
        settings={"train_seed": {"max_updates": 5}},
    )  # fmt: skip
    steps = {step.name: step.words for step in make_steps(plan)}
    assert f'shards=["{shards[0]}"]'.replace('"', "") in steps["mine"]
    assert "max_updates=5" in steps["train_seed"]
    assert plan.sizes is not None
    assert f"max_updates={plan.sizes.max_updates}" in steps["train_mined"]


def test_identifier_that_is_only_a_model_gets_a_detector(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, shards=["https://x/a.gz"], identifier_text=[], label_shards=True)
    steps = {step.name: step.words for step in make_steps(plan)}
    assert steps["label"][:5] == ("mining", "text", "https://x/a.gz", "--lid", "lid")
    assert steps["identifier"][:4] == ("lid", "extend", "--model", "lid")
    assert str(plan.at("labeled")) in steps["identifier"]
    assert f"lid={plan.at('identifier')}" in steps["mine"]
    with pytest.raises(UserError, match="leave one out"):
        plan_of(tmp_path, identifier_text=["text"], label_shards=True)
