"""Generated noise for the class `zxx`: mojibake, code, markup, numbers, lists.

Mojibake is made from the training lines themselves, by the wrong decodings seen in crawls; the
rest (code, markup, numbers, addresses, lists, random letters) is put together from small parts.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence

from lid.engine.preparation import prepare

MIN_DAMAGE = 0.2
"""Share of characters a wrong decoding must change; below it the line is still language."""

_WRONG_DECODINGS = ("latin-1", "cp1252", "cp437", "cp866", "mac-roman", "koi8-r")
_NAMES = (
    "index", "value", "result", "count", "data", "item", "node", "key", "config", "buffer",
    "offset", "length", "path", "name", "text", "user", "parser", "cache", "request", "response",
    "handler", "token", "field", "list", "map", "queue", "size", "width",
)  # fmt: skip
_KEYWORDS = (
    "if", "for", "while", "return", "def", "class", "var", "let", "const", "function", "import",
    "new", "null", "true",
)  # fmt: skip
_TAGS = (
    "div", "span", "p", "a", "li", "ul", "td", "tr", "table", "h1", "h2", "img", "script",
    "style", "section", "nav",
)  # fmt: skip
_UNITS = ("km", "kg", "px", "em", "%", "€", "$", "GB", "MB", "h", "min", "°C", "pts")
_DOMAINS = ("com", "org", "net", "info", "io")
_CONSONANTS = "bcdfghjklmnpqrstvwxz"


def generate_noise(lines: Sequence[str], number: int, seed: int) -> list[str]:
    """Return `number` prepared lines that are no language.

    Args:
        lines: Real lines in many languages, the raw material of mojibake; at least one.
        number: How many lines to make.
        seed: The same lines, number and seed give the same noise.
    """
    chance = random.Random(seed)
    makers: tuple[Callable[[random.Random], str], ...] = (
        _code,
        _markup,
        _numbers,
        _address,
        _random_letters,
        _encoded,
        _list,
    )
    made: list[str] = []
    while len(made) < number:
        text = ""
        if chance.random() < 0.4:
            text = _mojibake(chance, lines[chance.randrange(len(lines))])
        text = prepare(text or makers[chance.randrange(len(makers))](chance))
        if text:
            made.append(text)
    return made


def _mojibake(chance: random.Random, line: str) -> str:
    if line.isascii():
        return ""
    encoding = _WRONG_DECODINGS[chance.randrange(len(_WRONG_DECODINGS))]
    data = line.encode("utf-8")
    broken = data.decode(encoding, "ignore")
    if chance.random() < 0.2:
        broken = broken.encode("utf-8").decode("latin-1")
    if chance.random() < 0.15:
        broken = "".join(c if ord(c) < 128 else "\ufffd" for c in line)
    damaged = sum(c not in line for c in broken)
    return broken if damaged >= MIN_DAMAGE * len(broken) else ""


def _name(chance: random.Random) -> str:
    name = chance.choice(_NAMES)
    style = chance.randrange(4)
    if style == 0:
        return f"{name}_{chance.choice(_NAMES)}"
    if style == 1:
        return name + chance.choice(_NAMES).title()
    return name + str(chance.randrange(100)) if style == 2 else name


def _code(chance: random.Random) -> str:
    parts = []
    for _ in range(chance.randint(1, 5)):
        parts.append(
            chance.choice(
                (
                    f"{_name(chance)}({_name(chance)}, {_name(chance)});",
                    f"{_name(chance)} = {_name(chance)}[{chance.randrange(99)}]",
                    f"{chance.choice(_KEYWORDS)} ({_name(chance)} != {_name(chance)}) {{",
                    f"}} {chance.choice(_KEYWORDS)} {_name(chance)}.{_name(chance)}()",
                    f'"{_name(chance)}": {{"{_name(chance)}": [{chance.random():.3f}]}}',
                    f"--{_name(chance)}={chance.randrange(10_000)}",
                )
            )
        )
    return " ".join(parts)


def _markup(chance: random.Random) -> str:
    parts = []
    for _ in range(chance.randint(1, 4)):
        tag = chance.choice(_TAGS)
        parts.append(
            chance.choice(
                (
                    f'<{tag} class="{_name(chance)}-{_name(chance)}">',
                    f"</{tag}>",
                    f"<{tag} {_name(chance)}={chance.randrange(999)}px/>",
                    f"&nbsp;&{_name(chance)};",
                    f".{_name(chance)} {{ {_name(chance)}: {chance.randrange(99)}px; }}",
                )
            )
        )
    return "".join(parts) if chance.random() < 0.5 else " ".join(parts)


def _numbers(chance: random.Random) -> str:
    parts = []
    for _ in range(chance.randint(1, 9)):
        number = chance.randrange(10 ** chance.randint(1, 7))
        parts.append(
            chance.choice(
                (
                    str(number),
                    f"{number / 100:.2f}{chance.choice(_UNITS)}",
                    f"{chance.randrange(28) + 1}/{chance.randrange(12) + 1}/{number % 100}",
                    f"+{number}-{number % 997}",
                    f"[{number}]",
                    f"{chr(65 + number % 26)}{number}",
                )
            )
        )
    return chance.choice((" ", " | ", ", ", "\u00b7")).join(parts)


def _address(chance: random.Random) -> str:
    host = f"{_name(chance)}.{chance.choice(_DOMAINS)}".lower()
    path = "/".join(_name(chance) for _ in range(chance.randint(1, 3)))
    return chance.choice(
        (
            f"https://www.{host}/{path}?{_name(chance)}={chance.randrange(9999)}",
            f"{_name(chance)}@{host}",
            f"/{path}/{_name(chance)}.html",
            f"{path}.jpg {chance.randrange(4000)}x{chance.randrange(4000)}",
        )
    )


def _list(chance: random.Random) -> str:
    """Make a list of names and sizes, as of files or menu entries."""
    mark = chance.choice(("•", "-", "*", "»", "|", "·", "#", ">"))
    entries = []
    for number in range(1, chance.randint(3, 8)):
        entry = chance.choice(
            (
                _name(chance),
                f"{_name(chance)}.{chance.choice(_TAGS)}",
                f"{number}. {_name(chance)} ({chance.randrange(999)})",
                f"{_name(chance)}: {chance.randrange(99)}{chance.choice(_UNITS)}",
            )
        )
        entries.append(entry)
    return f" {mark} ".join(entries) if chance.random() < 0.7 else ", ".join(entries)


def _random_letters(chance: random.Random) -> str:
    words = []
    for _ in range(chance.randint(1, 8)):
        words.append("".join(chance.choices(_CONSONANTS, k=chance.randint(1, 12))))
    return " ".join(words)


def _encoded(chance: random.Random) -> str:
    data = chance.randbytes(chance.randint(6, 60))
    return data.hex() if chance.random() < 0.5 else base64.b64encode(data).decode("ascii")
