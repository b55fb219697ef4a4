"""The recipes of the package, and the command that copies one."""

import re
import shutil
from pathlib import Path

import click

from corpus.command import PATH
from corpus.errors import UserError

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
"""Beside the packages, both in a clone and where a wheel is installed."""

_BESIDE = re.compile(r"\$HERE/\.\./([\w.-]+)")
"""How a recipe's script refers to files next to its directory."""


def recipe_names() -> list[str]:
    """Return the names of the recipes, sorted."""
    return sorted(path.name for path in RECIPES.iterdir() if path.is_dir())


def copy_recipe(name: str, output: Path) -> list[Path]:
    """Copy a recipe, and what its scripts use, into a directory; return what was copied.

    Raises:
        UserError: If there is no such recipe, or one of the copies exists.
    """
    if name not in recipe_names():
        raise UserError(f"there is no recipe `{name}`; there are {', '.join(recipe_names())}")
    wanted = [name]
    for one in wanted:  # grows
        scripts = sorted((RECIPES / one).glob("*.sh")) if (RECIPES / one).is_dir() else []
        found = [
            other for script in scripts for other in _BESIDE.findall(script.read_text("utf-8"))
        ]
        wanted += [other for other in dict.fromkeys(found) if other not in wanted]
    copies = [output / one for one in wanted]
    for copy in copies:
        if copy.exists():
            raise UserError(f"{copy} exists; choose another --output, or remove it")
    output.mkdir(parents=True, exist_ok=True)
    for one, copy in zip(wanted, copies, strict=True):
        source = RECIPES / one
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, copy)
    return copies


@click.command()
@click.argument("name")
@click.option(
    "--output", type=PATH, default=Path("recipes"), show_default=True,
    help="Directory to copy into; created if missing.",
)  # fmt: skip
def group(name: str, output: Path) -> None:
    """Copy the recipe NAME, with the scripts it uses, to change and run."""
    for copy in copy_recipe(name, output):
        click.echo(copy)
