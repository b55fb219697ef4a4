"""Configs for people: YAML with comments, and the page of all keys."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import click
import pytest
from click.testing import CliRunner

from corpus.command import config_options
from corpus.config import Bounds, Config, PositiveInt, Share, load_config
from corpus.config_reference import commented_yaml, field_docs, keys_of, reference_page
from corpus.errors import UserError
from docs.make_configuration import PAGE, UPDATE, config_classes


@dataclass(frozen=True, kw_only=True)
class Limits(Config):
    """What is kept."""

    neighbors: PositiveInt = 16
    """Neighbors per sentence and direction, k."""

    min_score: Share | None = None


@dataclass(frozen=True, kw_only=True)
class Named(Config):
    """Named limits."""

    name: str
    """Of whatever it is,
    on two lines."""

    limits: Limits = field(default_factory=Limits)

    others: tuple[Limits, ...] = ()
    """More of them."""

    mode: Literal["max", "min"] = "max"
    """Which | one."""

    ratio: Annotated[float, Bounds(above=1)] = 2.0


def test_docstrings_under_fields_are_found() -> None:
    assert field_docs(Named) == {
        "name": "Of whatever it is, on two lines.",
        "limits": "",
        "others": "More of them.",
        "mode": "Which | one.",
        "ratio": "",
    }


def test_commented_yaml_says_meaning_type_and_range_and_loads_again(tmp_path: Path) -> None:
    config = load_config(Named, None, ["name=x", "limits.neighbors=3"])
    text = commented_yaml(config)
    assert "# What is kept.\nlimits:\n" in text
    assert (
        "  # Neighbors per sentence and direction, k. [int, at least 1]\n  neighbors: 3\n" in text
    )
    assert "# Which | one. [one of max, min]\nmode: max\n" in text
    (tmp_path / "a.yaml").write_text(text)
    assert load_config(Named, tmp_path / "a.yaml") == config


@click.command()
@click.option("--output", required=True)
@config_options(Named)
def command(output: str, config: Named) -> None:
    click.echo(f"{output} {config.name}")


def test_dumping_a_config_needs_no_required_key_and_no_required_option() -> None:
    run = CliRunner().invoke(command, ["--dump-config", "--config", "limits.neighbors=3"])
    assert run.exit_code == 0
    assert "# name:  (required)\n" in run.stdout
    assert "  neighbors: 3\n" in run.stdout
    run = CliRunner().invoke(command, ["--config", "name=x", "--output", "o"])
    assert run.stdout == "o x\n"
    with pytest.raises(UserError, match="`name` must be given"):
        CliRunner().invoke(command, ["--output", "o"], catch_exceptions=False)
    with pytest.raises(UserError, match=r"--config limits.neighbors=0: `limits.neighbors` is 0"):
        CliRunner().invoke(
            command, ["--config", "limits.neighbors=0", "--dump-config"], catch_exceptions=False
        )


def test_page_has_the_keys_of_groups_and_lists() -> None:
    assert [key.name for key in keys_of(Named)] == [
        "name",
        "limits",
        "limits.neighbors",
        "limits.min_score",
        "others",
        "others[].neighbors",
        "others[].min_score",
        "mode",
        "ratio",
    ]
    page = reference_page({"a b": Named, "a c": Named}, "make page")
    assert "| `name` | required | text | Of whatever it is, on two lines. |" in page
    assert "| `mode` | `max` | one of max, min | Which \\| one. |" in page
    assert "| `ratio` | `2` | float, above 1 |" in page
    assert "## `tongues a c`\n\nThe same keys as `tongues a b`.\n" in page


def test_the_page_of_all_keys_is_up_to_date() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert reference_page(config_classes(), UPDATE) == written, f"run `{UPDATE}` and commit {PAGE}"
