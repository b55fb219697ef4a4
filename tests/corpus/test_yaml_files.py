"""YAML that ends in no traceback, takes bounded time, and means what it says."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.config import dump_config, load_config
from corpus.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Inner:
    share: float = 0.5
    count: int = 3


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str = "x"
    path: Path | None = None
    inner: Inner = field(default_factory=Inner)
    names: tuple[str, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: &x [*x]\n", r":1: an alias to what it stands in"),
        ("inner: &x\n  share: *x\n", r":1: an alias to what it stands in"),
        (BOMB, "more than 100,000 values"),
        ("names: " + "[" * 10_000 + "]" * 10_000, ":1: .*50 deep"),
        ("".join(f"{' ' * i}a:\n" for i in range(200)), r":5\d: .*50 deep"),
        ("name: !!python/object/apply:os.system [ls]\n", r":1: the tag .* is not read"),
        ("name: !!binary aGk=\n", r":1: the tag .* is not read"),
        ("names: !!set {a, b}\n", r":1: the tag .* is not read"),
        ("name: !mine x\n", r":1: the tag .* is not read"),
        ("inner:\n  count: !!int many\n", r":2: 'many' is no value of type int"),
        ("inner:\n  count: " + "9" * 5000, r":2: '9+…. is not a number that a config could need|9"),
        ("inner:\n  count: 9223372036854775808\n", r":2: `inner\.count` .*beyond integers of 64"),
        ("inner:\n  share: .nan\n", r":2: `inner\.share` takes"),
        ("inner:\n  share: [" + "1, " * 1000 + "1]\n", r"takes a value of type float, not .*…$"),
        ("? [a, b]\n: c\n", r":1: a key is text"),
        ('name: "a\\0b"\n', r":1: `name` holds characters that no file can"),
        ('path: "\\ud800"\n', r":1: `path` holds characters that no file can"),
        ("a: 1\n---\na: 2\n", "not valid YAML"),
        ("name: \x01\n", "not valid YAML"),
        ("x" * (1 << 22) + "x", "more than 4,194,304 bytes"),
    ],
    ids=lambda text: text[:24].encode("ascii", "replace").decode(),
)
def test_what_is_refused_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        load_config(Outer, path)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("date", ["2021-02-30", "2021-02-03", "2021-13-01T25:00:00Z"])
def test_dates_are_text(tmp_path: Path, date: str) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(f"name: {date}\nnames: [{date}]\n", encoding="utf-8")
    config = load_config(Outer, path, [f"path={date}"])
    assert (config.name, config.names, config.path) == (date, (date,), Path(date))
    assert load_config(Outer, None, [f"name={date}"]).name == date


@pytest.mark.parametrize(
    "override",
    ["names=&x [*x]", "names=" + "[" * 10_000, "inner=" + "{a: " * 5000, "a." * 3000 + "b=1",
     "name=!!python/name:os.system", "inner.count=" + "9" * 5000, "name=a\0b", "inner.share=1e999x",
     "inner.count=0x" + "f" * 90, "weights=[a]", "weights.a.b.c=1", "inner=3"],
    ids=lambda text: text[:24].encode("ascii", "replace").decode(),
)  # fmt: skip
def test_overrides_are_refused_as_files_are(override: str) -> None:
    with pytest.raises(UserError, match="--config") as error:
        load_config(Outer, None, [override])
    assert len(str(error.value)) < 1500


def test_aliases_that_repeat_a_value_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text("name: &n abc\nnames: [*n, *n]\n", encoding="utf-8")
    assert load_config(Outer, path).names == ("abc", "abc")


def test_places_that_are_no_config_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to(tmp_path / "b.yaml")
    (tmp_path / "b.yaml").symlink_to(tmp_path / "a.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: na\xefve\n")
    for name in ("a.yaml", "latin.yaml", ".", "x" * 300, "x/../\0"):
        with pytest.raises(UserError, match=r"cannot be read|does not exist"):
            load_config(Outer, tmp_path / name)
    with pytest.raises(UserError, match="more than"):
        load_config(Outer, Path("/dev/zero"))


ATOMS = st.sampled_from(
    [
        "name",
        "inner",
        "names",
        "weights",
        "share",
        ":",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "&a",
        "*a",
        "!!int ",
        "!!x ",
        "'",
        '"',
        "\n",
        "\n  ",
        "#",
        "|",
        ">",
        "?",
        "%",
        "@",
        "1",
        "-.inf",
        "~",
        "2021-02-31",
        "0x1f",
        "1:30",
        "\t",
        "\0",
        "\u2028",
        "\ufeff",
        "---",
        "...",
        "<<",
        ",",
    ],
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ATOMS, max_size=30).map("".join))
def test_any_yaml_is_a_config_or_a_users_mistake(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("x") / "x.yaml"
    path.write_text(text, encoding="utf-8")
    for files, overrides in ((path, []), (None, [f"name={text}"]), (None, [text])):
        try:
            config = load_config(Outer, files, overrides)
        except UserError:
            continue
        path.write_text(dump_config(config), encoding="utf-8")
        assert load_config(Outer, path) == config
