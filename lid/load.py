"""Loads an identifier: a model directory, one with a detector beside it, or the builtin one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corpus.errors import UserError
from corpus.protocols import BUILTIN, PLAIN_ANSWERS, IdentifierOptions, builtin_files
from corpus.protocols import LanguageIdentifier as IdentifierProtocol
from lid.extended import is_extended, load_extended
from lid.groups import GroupIdentifier, read_groups
from lid.identifier import Agreement, LanguageIdentifier
from lid.spans import SpanIdentifier


def load_identifier(
    model: Path, options: IdentifierOptions = PLAIN_ANSWERS, top: int = 1
) -> IdentifierProtocol:
    """Load a model directory, or the builtin identifier where `model` is `BUILTIN`.

    Args:
        model: What is loaded.
        options: How it answers; see `lid.groups` and `lid.spans`.
        top: Classes that are asked for per line.

    Raises:
        UserError: If there is none, it lacks a language, two of `top` above 1, a second model,
            groups and spans are asked for, or one but the second of an identifier that gives no
            scores of all languages.
        DataError: If it is damaged.
    """
    asked = {
        "--top": top > 1,
        "--and": options.agree_with is not None,
        "--groups": options.groups,
        "--spans": options.spans,
    }
    names = [name for name, is_asked in asked.items() if is_asked]
    if len(names) > 1:
        raise UserError(f"{' and '.join(names)} exclude each other; leave out all but one.")
    if options.agree_with is not None:
        return Agreement(
            _load(model, options.languages), _load(options.agree_with, options.languages)
        )
    first = _load(model, options.languages)
    if not names:
        return first
    if not isinstance(first, LanguageIdentifier):
        raise UserError(
            f"{names[0]} needs the scores of all languages, which {_without_scores(model)} does not"
            " give. Name a model directory (`tongues lid train`, `tongues lid import`)."
        )
    if options.groups:
        return GroupIdentifier(first, read_groups(model))
    return SpanIdentifier(first) if options.spans else first


def _without_scores(model: Path) -> str:
    if model == BUILTIN:
        return "the builtin identifier"
    return f"an identifier with a detector beside it ({model})"


def _load(model: Path, languages: Sequence[str]) -> IdentifierProtocol:
    if model != BUILTIN:
        if is_extended(model):
            return load_extended(model, languages, _load)
        return LanguageIdentifier.load(model, languages=languages)
    builtin_files()
    from lid.builtin import BuiltinIdentifier

    return BuiltinIdentifier(languages)
