"""Strict configuration: a frozen dataclass filled from YAML and `a.b=c` overrides.

A mistake is reported with the file and line it was made on; unknown keys are refused.

How a config is declared:

    @dataclass(frozen=True, kw_only=True)
    class PairConfig(Config):
        "How candidate pairs are scored and kept."

        neighbors: PositiveInt = 16
        "Neighbors per sentence and direction, k."

        max_length_ratio: Annotated[float, Bounds(above=1)] = 2.0
        "Longer side by shorter side, in characters (CCAligned)."

        workers: PositiveInt = execution_only(1)
        "Processes."

- The base class `Config` checks the bounds that stand in the types, however a config is made: from
  a file the message names key, file and line, from Python the key. `PositiveInt`,
  `NonNegativeInt`, `PositiveFloat`, `NonNegativeFloat` and `Share` are the usual ones; in
  `PositiveInt | None`, `tuple[Share, ...]` and `dict[str, Share]` they hold for what is there.
- What depends on more than one field is checked in `__post_init__`, which calls
  `super().__post_init__()` first. All errors are `UserError`; a key in backticks in the message
  gives it the line of that key.
- The docstring under a field gives meaning, unit and source. `--dump-config` and
  docs/configuration.md show it.
"""

import dataclasses
import difflib
import math
import os
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml

from corpus.errors import UserError
from corpus.yaml_files import (
    MAX_DEPTH,
    Located,
    Place,
    is_writable_text,
    parse_yaml,
    read_yaml,
    shown,
)

T = TypeVar("T")

_INTEGERS = 1 << 63
_EXECUTION_ONLY = "execution_only"


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The range of a number, as an annotation of a config field's type."""

    at_least: float = -math.inf
    at_most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    is_finite: bool = True
    """Whether infinity is refused."""

    def allow(self, value: float) -> bool:
        """Return whether a number is in the range; NaN never is."""
        in_range = self.at_least <= value <= self.at_most
        is_beyond = self.is_finite and math.isinf(value)
        inside = (value > self.above or self.above == -math.inf) and (
            value < self.below or self.below == math.inf
        )
        return in_range and inside and not is_beyond

    def __str__(self) -> str:
        """Return the range in words: `at least 0 and below 1`."""
        words = {
            "at least": self.at_least,
            "above": self.above,
            "at most": self.at_most,
            "below": self.below,
        }
        said = [f"{word} {limit:g}" for word, limit in words.items() if math.isfinite(limit)]
        return " and ".join(said) or "a finite number"


PositiveInt = Annotated[int, Bounds(at_least=1)]
NonNegativeInt = Annotated[int, Bounds(at_least=0)]
PositiveFloat = Annotated[float, Bounds(above=0)]
NonNegativeFloat = Annotated[float, Bounds(at_least=0)]
Share = Annotated[float, Bounds(at_least=0, at_most=1)]


class Config:
    """Base of all configs: checks the bounds of its fields."""

    def __post_init__(self) -> None:
        """Refuse numbers out of their bounds.

        Raises:
            UserError: Naming the key, its value and its range.
        """
        for name, hint in field_types(type(self)).items():
            _check_bounds(hint, getattr(self, name), f"`{name}`")


class Required:
    """Placeholder for a required value that was not given, where that is allowed."""


REQUIRED = Required()


def field_types(config_class: type[Any]) -> dict[str, Any]:
    """Return the type of each field, bounds included."""
    hints = typing.get_type_hints(config_class, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(config_class)}


def _check_bounds(hint: Any, value: Any, label: str) -> None:
    """Check a value, or those inside a tuple or dictionary, against the bounds in its type."""
    origin = get_origin(hint)
    if value is None:
        return
    if origin is Annotated:
        inner, *notes = get_args(hint)
        for bounds in notes:
            if isinstance(bounds, Bounds) and not bounds.allow(value):
                raise UserError(f"{label} is {value}; it must be {bounds}")
        _check_bounds(inner, value, label)
    elif origin in (Union, types.UnionType):
        for option in get_args(hint):
            _check_bounds(option, value, label)
    elif origin is tuple:
        for one in value:
            _check_bounds(get_args(hint)[0], one, f"{label}: {one}")
    elif origin is dict:
        for key, one in value.items():
            _check_bounds(get_args(hint)[1], one, f"`{key}` in {label}")


def load_config(
    config_class: type[T],
    file: Path | Sequence[Path] | None = None,
    overrides: Sequence[str] = (),
    *,
    is_partial: bool = False,
) -> T:
    """Build a config from its defaults, then a YAML file or several, then `a.b=c` overrides.

    Of several files each adds to those before it; where two give a value, the later one wins. A
    partial config, to be shown and not used, has `REQUIRED` where a value must be given and is not.

    Raises:
        UserError: For a file that is not YAML, an unknown key, a value of the wrong type or out
            of range; the message names file, line, key and the known keys.
    """
    files = [file] if isinstance(file, Path) else list(file or ())
    tree = Located()
    for one in files:
        _merge(tree, _read_config(one))
    for override in overrides:
        _apply_override(tree, override)
    place = Place(", ".join(map(str, files)) or "--config")
    built: T = _build(config_class, tree, place, (), is_partial)
    return built


def dump_config(config: Any) -> str:
    """Return a config as YAML, every field resolved, in the order of its declaration."""
    return yaml.safe_dump(plain_config(config), sort_keys=False, allow_unicode=True)


def execution_only(default: Any) -> Any:
    """Declare a field that changes how fast or where a job runs, never what it writes.

    Worker counts and devices are such: finished shards stay valid when they change.
    """
    return dataclasses.field(default=default, metadata={_EXECUTION_ONLY: True})


def plain_config(config: Any) -> Any:
    """Return a config as plain dictionaries, lists and scalars."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {
            field.name: plain_config(getattr(config, field.name))
            for field in dataclasses.fields(config)
        }
    if isinstance(config, Path):
        return str(config)
    if isinstance(config, Mapping):
        return {str(key): plain_config(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [plain_config(value) for value in config]
    return config


def without_execution(config: Any, values: Any) -> Any:
    """Return the plain `values` of a config less its execution-only fields."""
    if not dataclasses.is_dataclass(config) or not isinstance(values, Mapping):
        return values
    kept = dict(values)
    for field in dataclasses.fields(config):
        if field.metadata.get(_EXECUTION_ONLY):
            kept.pop(field.name, None)
        elif field.name in kept:
            kept[field.name] = without_execution(getattr(config, field.name), kept[field.name])
    return kept


def recorded_values(config: Any, values: Any) -> Any:
    """Return plain values that an earlier run recorded, as a run of `config` would write them.

    Keys that they lack, since an earlier version did not know them, have their defaults: it ran as
    these say. A path that is another spelling of the config's, relative or absolute, is spelled as
    there: what a file holds is compared where files are read.
    """
    if isinstance(config, Path) and isinstance(values, str):
        return str(config) if _absolute(values) == _absolute(config) else values
    if isinstance(values, list) and isinstance(config, list | tuple):
        known = [*config[: len(values)], *[None] * (len(values) - len(config))]
        return [recorded_values(one, value) for one, value in zip(known, values, strict=True)]
    if not isinstance(values, Mapping):
        return values
    if isinstance(config, Mapping):
        return {key: recorded_values(config.get(key), value) for key, value in values.items()}
    if not dataclasses.is_dataclass(config):
        return values
    filled = dict(values)
    for field in dataclasses.fields(config):
        default = default_of(field)
        if field.name not in filled and default is not REQUIRED:
            filled[field.name] = plain_config(default)
        elif field.name in filled:
            filled[field.name] = recorded_values(getattr(config, field.name), filled[field.name])
    return filled


def _absolute(path: Path | str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - symbolic links stay, `..` goes


def _read_config(file: Path) -> Located:
    tree = read_yaml(file)
    if tree is None:
        return Located()
    if not isinstance(tree, Located):
        raise UserError(f"{file}:1: a config is a mapping of keys to values")
    return tree


def _merge(tree: Located, later: Located) -> None:
    """Add the keys of a later file; mappings are joined, anything else is replaced."""
    for key, value in later.items():
        there = tree.get(key)
        if isinstance(there, Located) and isinstance(value, Located):
            _merge(there, value)
        else:
            tree[key] = value
        tree.places[key] = later.places[key]


def _apply_override(tree: Located, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"--config {override}: expected KEY=VALUE, for example a.b=3")
    if key.count(".") >= MAX_DEPTH:
        raise UserError(f"--config {shown(override)}: a key has fewer than {MAX_DEPTH} parts")
    try:
        value = parse_yaml(text, f"--config {shown(override)}") if text else ""
    except yaml.YAMLError:
        value = text
    *parents, last = key.split(".")
    for parent in parents:
        child = tree.get(parent)
        if not isinstance(child, Located):
            child = Located()
            tree[parent] = child
            tree.places.setdefault(parent, Place(f"--config {override}"))
        tree = child
    tree[last] = value
    tree.places[last] = Place(f"--config {override}")


def _build(
    config_class: type[Any],
    tree: Mapping[str, Any],
    place: Place,
    path: tuple[str, ...],
    is_partial: bool = False,
) -> Any:
    hints = field_types(config_class)
    fields = {field.name: field for field in dataclasses.fields(config_class) if field.init}
    places = tree.places if isinstance(tree, Located) else {}
    values = {}
    for key, value in tree.items():
        here = places.get(key, place)
        if key not in fields:
            raise UserError(f"{here}: {_unknown_key(key, path, list(fields))}")
        values[key] = _convert(hints[key], value, here, (*path, key), is_partial)
    missing = [name for name, field in fields.items() if name not in values and is_required(field)]
    if missing and is_partial:
        return _unchecked(config_class, values)
    if missing:
        names = ", ".join(f"`{'.'.join((*path, name))}`" for name in missing)
        raise UserError(f"{place}: {names} must be given; it has no default")
    try:
        return config_class(**values)
    except UserError as error:
        raise UserError(f"{_place_of(str(error), places, place)}: {error}") from None


def is_required(field: "dataclasses.Field[Any]") -> bool:
    """Return whether a field has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """Return the default of a field, or `REQUIRED`."""
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED


def _unchecked(config_class: type[Any], values: Mapping[str, Any]) -> Any:
    """Make a config that lacks required values, without its checks."""
    config = object.__new__(config_class)
    for field in dataclasses.fields(config_class):
        value = values[field.name] if field.name in values else default_of(field)
        object.__setattr__(config, field.name, value)
    return config


def _place_of(message: str, places: Mapping[str, Place], place: Place) -> Place:
    """Return where the first key in backticks of a message was written, else `place`."""
    named = (key for key in re.findall(r"`(\w+)`", message) if key in places)
    return places.get(next(named, ""), place)


def _unknown_key(key: str, path: tuple[str, ...], known: list[str]) -> str:
    where = f" in `{'.'.join(path)}`" if path else ""
    near = difflib.get_close_matches(key, known, n=1)
    guess = f" Did you mean `{near[0]}`?" if near else ""
    return f"unknown key `{key}`{where}.{guess} Known: {', '.join(known)}."


def _convert(
    hint: Any, value: Any, place: Place, path: tuple[str, ...], is_partial: bool = False
) -> Any:
    name = ".".join(path)
    origin = get_origin(hint)
    if hint is Any:  # settings for another command, which checks them
        return value
    if origin is Annotated:
        converted = _convert(get_args(hint)[0], value, place, path, is_partial)
        _check_bounds(hint, converted, f"{place}: `{name}`")
        return converted
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        if value is None and len(options) < len(get_args(hint)):
            return None
        return _convert(options[0], value, place, path, is_partial)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise UserError(f"{place}: `{name}` is a group of keys, not {shown(value)}")
        return _build(hint, value, place, path, is_partial)
    if origin is tuple:
        items = value if isinstance(value, list) else [value]
        item_hint = get_args(hint)[0]
        return tuple(
            _convert(item_hint, item, place, (*path, str(i)), is_partial)
            for i, item in enumerate(items)
        )
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{place}: `{name}` is a mapping, not {shown(value)}")
        item_hint = get_args(hint)[1]
        places = value.places if isinstance(value, Located) else {}
        return {
            str(key): _convert(
                item_hint, item, places.get(key, place), (*path, str(key)), is_partial
            )
            for key, item in value.items()
        }
    if origin is typing.Literal:
        if value not in get_args(hint):
            known = ", ".join(str(option) for option in get_args(hint))
            raise UserError(f"{place}: `{name}` is one of {known}; not {shown(value)}")
        return value
    return _scalar(hint, value, place, name)


def _scalar(hint: Any, value: Any, place: Place, name: str) -> Any:
    if isinstance(value, str) and not is_writable_text(value):
        raise UserError(f"{place}: `{name}` holds characters that no file can: {shown(value)}")
    if hint is Path and isinstance(value, str) and value:
        return Path(value)
    if hint is str and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        if not -_INTEGERS <= value < _INTEGERS:
            raise UserError(f"{place}: `{name}` is {shown(value)}, beyond integers of 64 bits")
        return value
    if hint is float and not isinstance(value, bool):
        # YAML 1.1 reads `1e-4` as text; the user means the number.
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isnan(number):
            return number
    wanted = getattr(hint, "__name__", str(hint))
    raise UserError(f"{place}: `{name}` takes a value of type {wanted}, not {shown(value)}")
