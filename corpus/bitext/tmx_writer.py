"""Writing of TMX 1.4 (https://www.gala-global.org/tmx-14b), a unit a pair.

Scores and documents go into the properties that ParaCrawl's files have, `score` and
`source-document`. Characters that XML cannot hold become spaces.
"""

import re
from collections.abc import Callable
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa

from corpus.bitext_columns import SCORE, SIDES
from corpus.language_registry import canonical_language
from corpus.languages import Direction, language_choices

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<tmx version="1.4">
<header creationtool="tongues" creationtoolversion="1" segtype="sentence" o-tmf="tongues" \
adminlang="en" srclang={source} datatype="plaintext"/>
<body>
"""
_TAIL = b"</body>\n</tmx>\n"
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class TmxWriter:
    """Writes tables of pairs as TMX."""

    def __init__(self, write: Callable[[bytes], object], direction: Direction) -> None:
        self._write = write
        self._tags = [quoteattr(language_tag(language)) for language in direction]
        write(_HEAD.format(source=self._tags[0]).encode())

    def write_table(self, table: pa.Table) -> None:
        """Write pairs; of their columns score, sides and documents."""
        names = table.column_names
        scores = _texts(table.column(SCORE)) if SCORE in names else [""] * table.num_rows
        sides = []
        for tag, side in zip(self._tags, SIDES, strict=True):
            document = f"{side}_document"
            texts = _texts(table.column(side))
            documents = _texts(table.column(document)) if document in names else [""] * len(texts)
            sides.append([
                f"<tuv xml:lang={tag}>{_property('source-document', one)}<seg>{text}</seg></tuv>"
                for text, one in zip(texts, documents, strict=True)
            ])  # fmt: skip
        self._write(
            "".join(
                f"<tu>{_property('score', score)}{source}{target}</tu>\n"
                for score, source, target in zip(scores, *sides, strict=True)
            ).encode()
        )

    def finish(self) -> None:
        """Write the end of the file."""
        self._write(_TAIL)


def language_tag(language: str) -> str:
    """Return a language's tag of BCP-47, without a script where that is understood: `en`.

    Where no tag means this language alone, as of private ones, the code itself.
    """
    code, *rest = language.split("_")
    short = canonical_language(code)
    tags = (short, code, "-".join([short, *rest]), "-".join([code, *rest]))
    return next((tag for tag in tags if language_choices(tag) == (language,)), language)


def _property(kind: str, text: str) -> str:
    return f'<prop type="{kind}">{text}</prop>' if text else ""


def _texts(column: pa.ChunkedArray) -> list[str]:
    text = column.cast(pa.string()).fill_null("")  # imports pyarrow.compute only when it is called
    return [escape(_NOT_XML.sub(" ", cell)) for cell in text.to_pylist()]
