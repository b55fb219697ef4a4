"""A crawl of a small web: documents in ten languages, with the usual defects of crawls."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

SITES_PER_LANGUAGE = 4
MOST_PARAGRAPHS = 9
MOST_SENTENCES = 4

REPEATED_SENTENCE = 0.04
"""Share of sentences that stand in the crawl once more, elsewhere."""

REPEATED_DOCUMENT = 0.02
FOREIGN_PARAGRAPH = 0.05
MOJIBAKE_LINE = 0.04
DIGIT_LINE = 0.02
OVERLONG_LINE = 0.004
OVERLONG_CHARACTERS = 6000


class Document(NamedTuple):
    """A page."""

    url: str
    text: str


class LanguageText(NamedTuple):
    """What one language gives to the crawl."""

    sentences: Sequence[str]
    """Each appears cleanly at least once."""

    spare: Sequence[str]
    """Sentences for boilerplate and damage; they appear nowhere else."""

    spaced: bool


def write_documents(texts: Mapping[str, LanguageText], random: Random) -> list[Document]:
    """Lay the sentences of all languages out in documents, with noise, in a random order.

    A document is mainly in one language. A paragraph is a line of one to four sentences.
    """
    documents: list[Document] = []
    for language, text in texts.items():
        others = [other for code, other in texts.items() if code != language]
        documents.extend(_write_site_pages(language, text, others, random))
    copies = [
        Document(f"{document.url}?print=1", document.text)
        for document in documents
        if random.random() < REPEATED_DOCUMENT
    ]
    documents.extend(copies)
    random.shuffle(documents)
    return documents


def _write_site_pages(
    language: str, text: LanguageText, others: Sequence[LanguageText], random: Random
) -> list[Document]:
    sentences = list(text.sentences)
    repeats = int(len(sentences) * REPEATED_SENTENCE)
    sentences.extend(random.sample(sentences, repeats))
    random.shuffle(sentences)
    frames = [_Frame.draw(language, site, text, random) for site in range(SITES_PER_LANGUAGE)]
    documents: list[Document] = []
    while sentences:
        frame = random.choice(frames)
        lines = [frame.menu]
        for _ in range(random.randint(2, MOST_PARAGRAPHS)):
            count = random.randint(1, MOST_SENTENCES)
            if paragraph := [sentences.pop() for _ in range(min(count, len(sentences)))]:
                lines.append(" ".join(paragraph))
            lines.extend(_noise(text, others, random))
        lines.extend((frame.cookies, frame.copyright))
        page = f"{frame.host}/{random.randint(2019, 2025)}/{len(documents):05d}.html"
        documents.append(Document(f"https://{page}", "\n".join(lines) + "\n"))
    return documents


class _Frame(NamedTuple):
    """The lines that all pages of a site share."""

    host: str
    menu: str
    cookies: str
    copyright: str

    @classmethod
    def draw(cls, language: str, site: int, text: LanguageText, random: Random) -> "_Frame":
        host = f"site{site}.{language[:3]}.example"
        words = [_shorten(sentence, text) for sentence in random.sample(list(text.spare), 6)]
        cookies = " ".join(random.sample(list(text.spare), 2))
        return cls(host, " | ".join(words[:5]), cookies, f"© 2026 {words[5]} | {host}")


def _shorten(sentence: str, text: LanguageText) -> str:
    """Return the beginning of a sentence, short enough for a menu."""
    return sentence.split(" ")[0] if text.spaced else sentence[:8]


def _noise(text: LanguageText, others: Sequence[LanguageText], random: Random) -> list[str]:
    lines = []
    if random.random() < FOREIGN_PARAGRAPH:
        lines.append(" ".join(random.sample(list(random.choice(others).spare), 2)))
    if random.random() < MOJIBAKE_LINE:
        lines.append(garble(random.choice(text.spare), random))
    if random.random() < DIGIT_LINE:
        lines.append(" ".join(str(random.randint(0, 99_999)) for _ in range(12)))
    if random.random() < OVERLONG_LINE:
        lines.append(_overlong(text, random))
    return lines


def garble(sentence: str, random: Random) -> str:
    """Return a sentence decoded wrongly, as by a program that reads UTF-8 as another encoding.

    Pure ASCII would survive that, so its letters are lost to replacement characters instead.
    """
    if sentence.isascii():
        kept = [
            "\ufffd" if character.isalpha() and random.random() < 0.5 else character
            for character in sentence
        ]
        return "".join(kept)
    return sentence.encode("utf-8").decode(random.choice(("latin-1", "cp1252")), "replace")


def _overlong(text: LanguageText, random: Random) -> str:
    """Return a very long line, as in pages that lost their markup."""
    glue = " " if text.spaced else ""
    parts: list[str] = []
    length = 0
    while length < OVERLONG_CHARACTERS:
        parts.append(random.choice(text.spare)[:-1])
        length += len(parts[-1]) + len(glue)
    return glue.join(parts)
