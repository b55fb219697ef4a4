"""Documentation of configs: YAML with comments, and a page of all commands' keys.

What a key means, its unit and its source are in the docstring under its field; its range is in its
type (see `corpus.config`).
"""

import ast
import dataclasses
import inspect
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml

from corpus.config import REQUIRED, Bounds, default_of, field_types, plain_config

_WIDTH = 100


def field_docs(config_class: type[Any]) -> dict[str, str]:
    """Return the docstring under each field of a config class, on one line; empty without one."""
    docs: dict[str, str] = {}
    for one in reversed(config_class.__mro__):
        if dataclasses.is_dataclass(one):
            docs |= _own_docs(one)
    return {field.name: docs.get(field.name, "") for field in dataclasses.fields(config_class)}


def _own_docs(config_class: type[Any]) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(config_class)))
    (definition,) = tree.body
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[field.target.id] = " ".join(str(below.value.value).split())
    return docs


def commented_yaml(config: Any) -> str:
    """Return a config as YAML with the meaning of each key as a comment.

    A required value that was not given (`corpus.config.REQUIRED`) becomes a comment.
    """
    return "\n".join(_lines(config, 0)) + "\n"


def _lines(config: Any, depth: int) -> Iterator[str]:
    indent = "  " * depth
    docs = field_docs(type(config))
    for number, (name, hint) in enumerate(field_types(type(config)).items()):
        if number and depth == 0:
            yield ""
        value = getattr(config, name)
        is_group = dataclasses.is_dataclass(value)
        about = docs[name] or (_first_line(type(value)) if is_group else "")
        kind = "" if is_group else _kind(hint)
        about = f"{about} [{kind}]" if about and kind else about or kind
        yield from textwrap.wrap(
            about,
            _WIDTH,
            initial_indent=f"{indent}# ",
            subsequent_indent=f"{indent}# ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        if value is REQUIRED:
            yield f"{indent}# {name}:  (required)"
        elif is_group and dataclasses.fields(value):
            yield f"{indent}{name}:"
            yield from _lines(value, depth + 1)
        else:
            text = yaml.safe_dump({name: plain_config(value)}, sort_keys=False, allow_unicode=True)
            yield from (f"{indent}{line}" for line in text.rstrip("\n").split("\n"))


def _first_line(config_class: type[Any]) -> str:
    return (inspect.getdoc(config_class) or "").split("\n")[0]


def _kind(hint: Any) -> str:
    """Return a type and its range in words: `int, at least 1`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = [str(note) for note in arguments[1:] if isinstance(note, Bounds)]
        return ", ".join([_kind(arguments[0]), *bounds])
    if origin in (Union, types.UnionType):
        options = [_kind(one) for one in arguments if one is not type(None)]
        return " or ".join(options) + (" or null" if type(None) in arguments else "")
    if origin is Literal:
        return "one of " + ", ".join(str(one) for one in arguments)
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"mapping to {_kind(arguments[1])}"
    if dataclasses.is_dataclass(hint):
        return "group"
    return {str: "text", Path: "path", Any: "any value"}.get(
        hint, getattr(hint, "__name__", str(hint))
    )


class Key(NamedTuple):
    """A row of the reference page."""

    name: str
    """With its groups: `pairs.neighbors`; `[]` is an item of a list, `<key>` of a mapping."""
    default: str
    kind: str
    about: str


def keys_of(config_class: type[Any], prefix: str = "") -> Iterator[Key]:
    """Yield the keys of a config, those of its groups after the group's own."""
    docs = field_docs(config_class)
    hints = field_types(config_class)
    for field in dataclasses.fields(config_class):
        hint, name = hints[field.name], prefix + field.name
        default = default_of(field)
        inner, suffix = _inner_config(hint)
        about = docs[field.name] or (_first_line(inner) if inner is not None else "")
        is_group = inner is not None and not suffix
        shown = "" if is_group else "required" if default is REQUIRED else _plain(default)
        yield Key(name, shown, _kind(hint), about)
        if inner is not None:
            yield from keys_of(inner, f"{name}{suffix}.")


def _inner_config(hint: Any) -> tuple[type[Any] | None, str]:
    """Return the config class inside a type, and what its keys hang on."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        found = (_inner_config(one) for one in arguments if one is not type(None))
        return next((one for one in found if one[0] is not None), (None, ""))
    if origin is tuple:
        return _inner_config(arguments[0])[0], "[]"
    if origin is dict:
        return _inner_config(arguments[1])[0], ".<key>"
    return (hint, "") if dataclasses.is_dataclass(hint) and isinstance(hint, type) else (None, "")


def _plain(value: Any) -> str:
    plain = plain_config(value)
    if isinstance(plain, float):
        return f"{plain:g}"
    text = yaml.safe_dump(plain, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def reference_page(commands: Mapping[str, type[Any]], update: str) -> str:
    """Return the page of all commands' keys as Markdown; equal configs are listed once.

    Args:
        commands: Config class by command, `nmt train`.
        update: The command that writes the page.
    """
    lines = [
        "# Configuration",
        "",
        "Every key of every command. Give keys in a YAML file (`--config-file`) or one by one"
        " (`--config a.b=c`); `--dump-config` prints a command's values with these explanations.",
        "",
        f"Generated from the code by `{update}`; do not edit.",
    ]
    first: dict[type[Any], str] = {}
    for command, config_class in commands.items():
        lines += ["", f"## `tongues {command}`", ""]
        if config_class in first:
            lines.append(f"The same keys as `tongues {first[config_class]}`.")
            continue
        first[config_class] = command
        lines += [_first_line(config_class), "", "| key | default | type | meaning |"]
        lines.append("|---|---|---|---|")
        for key in keys_of(config_class):
            default = (
                f"`{_cell(key.default)}`" if key.default not in ("", "required") else key.default
            )
            lines.append(f"| `{key.name}` | {default} | {_cell(key.kind)} | {_cell(key.about)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
