"""The text of an HTML page without its menus, as lines.

Resiliparse (Bevendorff et al. 2018, https://resiliparse.chatnoir.eu), an optional package, parses
HTML as browsers do. Its own choice of main content loses lists outside tables, so what is no
content is removed here and the rest is taken whole; `benchmarks/html_text.py` compares.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from corpus.errors import UserError

_READINGS = "rt, rp, rtc"
_NO_CONTENT = (
    "nav, footer, aside, dialog, noscript, template, select, button, textarea, svg, [hidden],"
    " [role=navigation], [role=contentinfo], [role=menu], [role=menubar], [role=search],"
    " [role=dialog], [role=alertdialog], [aria-hidden=true]"
)
_NAMES_OF_NO_CONTENT = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|navigation|menu|mainmenu|submenu|breadcrumbs?|footer|sidebar|cookies?"
    r"|consent|pagination|skiplink|toc|noprint|editsection|catlinks|printfooter)(?:$|[\s_-])",
    re.IGNORECASE,
)
_MAX_SHARE_OF_NAMED = 0.5
"""An element whose name says `menu` and that holds more of the page is its content all the same."""

_CONTAINERS = "ul, ol, p, div, td, dl, section"
_MIN_LINKS = 3
_MAX_LINK_SHARE = 0.8
_STOP = re.compile(r"[.!?…。！？।॥؟۔።]\s*$")

# Scripts without spaces between words, with their punctuation: a line that is broken inside a
# paragraph goes on without a space.
_UNSPACED = (
    r"[\u3000-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff9f"
    r"\U00020000-\U0003ffff]"
)
_NEWLINE = r"[ \t]*\r?\n\s*"
_BR = rf"\s*<br\b[^<>]{{0,100}}>[ \t]*(?:{_NEWLINE})?"
_BREAK = re.compile(rf"(?<={_UNSPACED})(?:{_NEWLINE}|{_BR})(?={_UNSPACED})", re.IGNORECASE)
_PREFORMATTED = re.compile(r"(<pre\b.*?</pre\s*>|<textarea\b.*?</textarea\s*>)", re.I | re.S)
_CELLS = re.compile(r"[ \t]*\t[ \t]*")


class PageText(NamedTuple):
    """The text of a page, and how much was removed."""

    text: str
    """Paragraphs, list items and table cells are lines."""

    dropped_characters: int
    """Characters of menus, footers and the like, as far as they are text."""


def page_text(html: str) -> PageText:
    """Return the text of a page.

    Scripts and styles are never text. Of ruby the readings are dropped. Inside paragraphs, line
    breaks between Chinese or Japanese characters are dropped too, where others become spaces.

    Raises:
        UserError: If Resiliparse is not installed.
    """
    require_resiliparse()
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(join_lines(html))
    dropped = 0
    body: Any = tree.body
    if body is not None:
        for node in body.query_selector_all(_READINGS):
            node.remove()
        dropped = _drop_boilerplate(body)
    text: str = extract_plain_text(
        tree, preserve_formatting=True, main_content=False, list_bullets=False, alt_texts=False
    )
    text = _CELLS.sub("\n", text)
    return PageText("\n".join(line.strip() for line in text.split("\n")), dropped)


def require_resiliparse() -> None:
    """Check that Resiliparse is there.

    Raises:
        UserError: If it is not.
    """
    try:
        import resiliparse.extract.html2text
        import resiliparse.parse.encoding
        import resiliparse.parse.html  # noqa: F401
    except ImportError as error:
        raise UserError(
            "reading HTML in WARC files needs the package `resiliparse`: pip install"
            " 'tongues[mining]', or take the WET files of the same crawl"
        ) from error


def join_lines(html: str) -> str:
    """Drop single line breaks, `<br>` among them, between Chinese or Japanese characters."""
    if html.isascii():
        return html
    parts = _PREFORMATTED.split(html)
    parts[::2] = [_BREAK.sub("", part) for part in parts[::2]]
    return "".join(parts)


def _drop_boilerplate(body: Any) -> int:
    """Remove what is no content; return its characters."""
    # The inner ones first: of nested elements the outer one is looked at without the inner.
    dropped = sum(_drop(node) for node in reversed(body.query_selector_all(_NO_CONTENT)))
    named = [
        node
        for node in reversed(body.query_selector_all("[class], [id]"))
        if _NAMES_OF_NO_CONTENT.search(node.class_name or "")
        or _NAMES_OF_NO_CONTENT.search(node.id or "")
    ]
    if named:
        room = _MAX_SHARE_OF_NAMED * len(body.text)
        dropped += sum(_drop(node) for node in named if len(node.text) <= room)
    for node in reversed(body.query_selector_all(_CONTAINERS)):
        if node.query_selector(_CONTAINERS) is None and _is_menu(node):
            dropped += _drop(node)
    return dropped


def _drop(node: Any) -> int:
    size = len(node.text)
    node.remove()  # not `decompose`: lists made before may still hold its children
    return size


def _is_menu(node: Any) -> bool:
    """Return whether an element holds little but links that are not sentences."""
    links = [link.text for link in node.query_selector_all("a")]
    text = node.text
    if len(links) < _MIN_LINKS or any(map(_STOP.search, (*links, text))):
        return False
    return _letters("".join(links)) >= _MAX_LINK_SHARE * _letters(text)


def _letters(text: str) -> int:
    return sum(map(len, text.split()))
