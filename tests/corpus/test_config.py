"""Strict configuration: what is refused, and where the message says it stands."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

from corpus.config import (
    Bounds,
    Config,
    NonNegativeInt,
    PositiveInt,
    Share,
    dump_config,
    execution_only,
    load_config,
    plain_config,
    recorded_values,
    without_execution,
)
from corpus.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Pairs(Config):
    margin_threshold: float = 1.06
    neighbors: PositiveInt = 16
    min_length: NonNegativeInt = 1
    max_length: PositiveInt | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_length is not None and self.max_length < self.min_length:
            raise UserError(f"`max_length` is {self.max_length}, below `min_length`")


@dataclass(frozen=True, kw_only=True)
class Stage(Config):
    name: str
    pairs: Pairs = field(default_factory=Pairs)
    languages: tuple[str, ...] = ()
    weights: dict[str, Share] = field(default_factory=dict)
    betas: tuple[Annotated[float, Bounds(at_least=0, below=1)], ...] = ()
    retrieval: Literal["max", "intersect"] = "max"
    seed: int | None = None
    workers: int = execution_only(2)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_file_then_overrides_win_over_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "name: a\npairs:\n  neighbors: 4\nlanguages: [eng_Latn]\n")
    config = load_config(Stage, path, ["pairs.margin_threshold=1.2", "weights.x=1e-3"])
    assert config.pairs == Pairs(margin_threshold=1.2, neighbors=4)
    assert config.languages == ("eng_Latn",)
    assert config.weights == {"x": 0.001}


def test_files_are_joined_and_the_later_one_wins(tmp_path: Path) -> None:
    first = write(tmp_path, "name: a\npairs:\n  neighbors: 4\n  margin_threshold: 1.2\n")
    second = tmp_path / "second.yaml"
    second.write_text("pairs:\n  neighbors: 8\nlanguages: [eng_Latn]\n", encoding="utf-8")
    config = load_config(Stage, [first, second])
    assert (config.name, config.pairs) == ("a", Pairs(margin_threshold=1.2, neighbors=8))
    second.write_text("pairs:\n  neighbours: 8\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"second\.yaml:2: unknown key `neighbours`"):
        load_config(Stage, [first, second])


def test_unknown_key_is_refused_with_file_line_and_a_guess(tmp_path: Path) -> None:
    path = write(tmp_path, "name: a\npairs:\n  neighbors: 4\n  margin_treshold: 1.1\n")
    with pytest.raises(
        UserError, match=r"tiny\.yaml:4: unknown key `margin_treshold` in `pairs`"
    ) as e:
        load_config(Stage, path)
    assert "Did you mean `margin_threshold`?" in str(e.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\npairs:\n  neighbors: many\n", r"tiny\.yaml:3: `pairs\.neighbors` takes .* int"),
        ("name: a\npairs: 3\n", r"tiny\.yaml:2: `pairs` is a group of keys"),
        ("name: a\nname: b\n", r"tiny\.yaml:2: `name` is given twice; the first is at .*:1"),
        ("name: a\nretrieval: best\n", r"tiny\.yaml:2: `retrieval` is one of max, intersect"),
        ("name: [a\n", r"tiny\.yaml:2: not valid YAML"),
        ("- a\n", r"tiny\.yaml:1: a config is a mapping"),
        ("pairs: {}\n", r"tiny\.yaml: `name` must be given"),
        (
            "name: a\npairs:\n  neighbors: 0\n",
            r"tiny\.yaml:3: `pairs\.neighbors` is 0; it must be at least 1$",
        ),
        (
            "name: a\npairs:\n  max_length: 0\n",
            r"tiny\.yaml:3: `pairs\.max_length` is 0; it must be at least 1$",
        ),
        ("name: a\nweights: {x: 0.5,\n  y: 2}\n", r"tiny\.yaml:3: `weights\.y` is 2"),
        ("name: a\nbetas: [0.9, 1]\n", r"tiny\.yaml:2: `betas\.1` is 1.* at least 0 and below 1$"),
        (
            "name: a\npairs:\n  min_length: 9\n  max_length: 3\n",
            r"tiny\.yaml:4: `max_length` is 3, below `min_length`",
        ),
        ("name: a\nseed: true\n", r"tiny\.yaml:2: `seed` takes"),
    ],
)
def test_mistakes_name_their_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(Stage, write(tmp_path, text))


def test_bounds_hold_for_configs_made_in_python() -> None:
    with pytest.raises(UserError, match=r"^`neighbors` is 0; it must be at least 1$"):
        Pairs(neighbors=0)
    with pytest.raises(UserError, match=r"^`betas`: 1.5 is 1.5; it must be"):
        Stage(name="x", betas=(0.5, 1.5))
    with pytest.raises(UserError, match=r"^`y` in `weights` is 2; it must be"):
        Stage(name="x", weights={"y": 2})


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        (Bounds(at_least=1), (1, 2), (0.999, math.nan, math.inf)),
        (Bounds(above=0), (1e-9,), (0, -1, math.inf)),
        (Bounds(at_most=1), (1, -9), (1.001, -math.inf)),
        (Bounds(below=1), (0.999,), (1, math.nan)),
        (Bounds(above=0, is_finite=False), (math.inf,), (0, math.nan)),
    ],
)
def test_bounds_are_exact(
    bounds: Bounds, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    assert all(bounds.allow(value) for value in inside)
    assert not any(bounds.allow(value) for value in outside)


def test_override_without_equals_is_refused() -> None:
    with pytest.raises(UserError, match=r"--config name: expected KEY=VALUE"):
        load_config(Stage, None, ["name"])


def test_missing_file_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_config(Stage, tmp_path / "no.yaml")


def test_dumped_config_loads_as_the_same_config(tmp_path: Path) -> None:
    config = load_config(Stage, None, ["name=x", "languages=[a, b]", "seed=3"])
    assert load_config(Stage, write(tmp_path, dump_config(config))) == config


def test_execution_fields_do_not_count_as_identity() -> None:
    config = load_config(Stage, None, ["name=x"])
    assert "workers" not in without_execution(config, {"name": "x", "workers": 2})


@dataclass(frozen=True, kw_only=True)
class Data(Config):
    start: Path | None = None
    known: tuple[Path, ...] = ()
    encoders: dict[str, Path] = field(default_factory=dict)
    name: str = ""
    pairs: Pairs = field(default_factory=Pairs)


def test_recorded_paths_are_compared_however_they_are_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recorded = {
        "start": "models/../start",
        "known": ["a", f"{tmp_path}/b"],
        "encoders": {"ces_Latn": "student/"},
        "name": "start",
    }
    config = Data(
        start=tmp_path / "start",
        known=(tmp_path / "a", Path("b")),
        encoders={"ces_Latn": tmp_path / "student"},
        name="start",
    )
    assert recorded_values(config, recorded) == plain_config(config)


@pytest.mark.parametrize(
    "other",
    [
        {"start": "start2"},
        {"start": None},
        {"known": ["a"]},
        {"known": ["b", "a"]},
        {"known": ["a", "b", "c"]},
        {"encoders": {"slk_Latn": "student"}},
        {"name": "./x"},
    ],
)
def test_other_recorded_paths_stay_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, object]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Data(
        start=tmp_path / "start",
        known=(Path("a"), Path("b")),
        encoders={"ces_Latn": Path("student")},
        name="x",
    )
    recorded = {**plain_config(config), **other}
    assert recorded_values(config, recorded) != plain_config(config)
    assert recorded_values(config, recorded)[next(iter(other))] == next(iter(other.values()))
