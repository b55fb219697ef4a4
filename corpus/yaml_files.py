"""Safe YAML: plain values with their line numbers, in bounded time and memory.

YAML 1.1 by PyYAML's safe loader, less what a config has no use for: dates stay text, and tags,
aliases to what they stand in, keys that are no text, depth and size without bound are refused.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from corpus.errors import UserError

MAX_BYTES = 1 << 22
MAX_DEPTH = 50
MAX_VALUES = 100_000
"""Values of a file, those behind aliases counted wherever they stand."""

_LONGEST_NUMBER = 100
_SHOWN = 200
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq"))
_SCALAR_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null")
)


@dataclass(frozen=True)
class Place:
    """Where a value was written, for messages."""

    text: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


class Located(dict[str, Any]):
    """A mapping that remembers on which line each of its keys stands."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, Place] = {}


def shown(value: object) -> str:
    """Return a value for a message, cut where it is long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # ValueError: an integer of too many digits
        return f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def read_yaml(file: Path) -> Any:
    """Return what a YAML file holds; mappings are `Located`, an empty file is None.

    Raises:
        UserError: If it cannot be read, is not YAML, or is refused; the message has the line.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UserError(f"config file {file} has more than {MAX_BYTES:,} bytes")
        text = data.decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"config file {file} does not exist") from None
    except (OSError, ValueError) as error:
        raise UserError(f"config file {file} cannot be read: {error}") from None
    try:
        return parse_yaml(text, str(file))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or error
        raise UserError(f"{file}{line}: not valid YAML: {problem}") from None


def parse_yaml(text: str, where: str) -> Any:
    """Return what a YAML text holds.

    Args:
        text: The YAML.
        where: What it was read from, for messages.

    Raises:
        yaml.YAMLError: If it is not YAML.
        UserError: If it is refused; see the module.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _Construction(loader, where).value_of(node)
    except _DepthError as error:
        raise UserError(
            f"{where}:{error.line}: values are nested more than {MAX_DEPTH} deep"
        ) from None
    finally:
        loader.dispose()


class _DepthError(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.depth >= MAX_DEPTH:
            raise _DepthError(self.peek_event().start_mark.line + 1)  # type: ignore[no-untyped-call]
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Construction:
    """Makes values of nodes and counts them."""

    def __init__(self, loader: yaml.SafeLoader, where: str) -> None:
        self._loader = loader
        self._where = where
        self._open: set[int] = set()
        self._count = 0

    def value_of(self, node: yaml.Node) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise UserError(
                f"{self._place(node)}: more than {MAX_VALUES:,} values, aliases followed; this is"
                " no config"
            )
        if id(node) in self._open:
            raise UserError(f"{self._place(node)}: an alias to what it stands in")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.ScalarNode):
                return self._scalar(node)
            if node.tag not in _PLAIN_TAGS:
                raise UserError(f"{self._place(node)}: the tag `{shown(node.tag)}` is not read")
            if isinstance(node, yaml.SequenceNode):
                return [self.value_of(item) for item in node.value]
            return self._mapping(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node) -> Located:
        tree = Located()
        for key_node, value_node in node.value:
            place = self._place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise UserError(f"{place}: a key is text, not a list or a mapping")
            key = str(key_node.value)
            if key in tree:
                raise UserError(
                    f"{place}: `{key}` is given twice; the first is at {tree.places[key]}"
                )
            tree[key] = self.value_of(value_node)
            tree.places[key] = place
        return tree

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = shown(node.value)
        if node.tag not in _SCALAR_TAGS:
            raise UserError(f"{self._place(node)}: the tag `{shown(node.tag)}` is not read")
        if node.tag.endswith((":int", ":float")) and len(node.value) > _LONGEST_NUMBER:
            raise UserError(f"{self._place(node)}: {text} is not a number that a config could need")
        try:
            return self._loader.construct_object(node)
        except (ValueError, OverflowError, LookupError, yaml.YAMLError):
            kind = node.tag.rpartition(":")[2]
            raise UserError(f"{self._place(node)}: {text} is no value of type {kind}") from None

    def _place(self, node: yaml.Node) -> Place:
        return Place(f"{self._where}:{node.start_mark.line + 1}")


def is_writable_text(text: str) -> bool:
    """Whether text can stand in files and paths: no zero character, no half of a surrogate pair."""
    return re.search("[\0\ud800-\udfff]", text) is None
