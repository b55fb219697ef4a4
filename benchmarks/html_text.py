"""Text extraction from HTML: how many sentences each extractor keeps, and how much boilerplate.

    python benchmarks/html_text.py

Seventeen page layouts are composed from known sentences and known boilerplate (menus, cookie
notices, footers, teasers), in Latin, Cyrillic, Arabic, Chinese and Japanese script. Recall is the
share of content sentences found whole on one line; leaks is the share of boilerplate items found.
`kept` repeats both after the line rules of `tongues mining sentences`, which see the text next.
trafilatura is measured where it is installed (`pip install trafilatura lxml_html_clean`); it is no
dependency of this package.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from resiliparse.extract.html2text import extract_plain_text

from corpus.crawl.page_text import page_text
from mining.sentences.clean import boilerplate_reason

ROUNDS = 20
SENTENCES = {
    "en": "The {} crossed the river before sunset and nobody on the bridge noticed it.",
    "ru": "Старый {} стоял у реки, и никто на мосту его не заметил.",
    "ar": "عبر {} النهر قبل غروب الشمس ولم يلاحظه أحد على الجسر.",
    "zh": "那只{}在日落之前渡过了河，桥上没有人注意到它。",
    "ja": "その{}は日没前に川を渡り、橋の上の誰も気づかなかった。",
}
NOUNS = {
    "en": "fox heron wagon soldier miller child ferry dog cart pilgrim merchant rider goose monk",
    "ru": "дом сад дуб завод лес рынок вокзал амбар склад порт храм парк двор мост",
    "ar": "التاجر الجندي الطفل الحصان الراعي الصياد الملك الشاعر الحارس الطبيب الكاتب الفارس",
    "zh": "狐狸 白鹭 马车 士兵 磨坊 孩子 渡船 猎犬 商人 骑手 天鹅 僧人 农夫 渔夫",
    "ja": "狐 鷺 荷車 兵士 粉屋 子供 渡し舟 犬 商人 騎手 鵞鳥 僧侶 農夫 漁師",
}
MENU = ("Home page", "All products", "About our company", "Contact us today", "Log in or register")
FOOTER = ("Privacy policy and terms", "Imprint and legal notice", "Sitemap of this website")
COOKIES = "We use cookies to give you the best experience on our website."
TEASERS = ("Ten recipes for a quick dinner", "What the minister said on Monday")


class Layout(NamedTuple):
    """A page, the sentences a reader came for, and what surrounds them."""

    name: str
    html: str
    sentences: tuple[str, ...]
    boilerplate: tuple[str, ...]


def layouts() -> Iterator[Layout]:
    """Compose the pages."""
    menu = "".join(f'<li><a href="/{n}">{item}</a></li>' for n, item in enumerate(MENU))
    footer = "".join(f'<a href="/f{n}">{item}</a> ' for n, item in enumerate(FOOTER))
    teasers = "".join(f'<li><a href="/t{n}">{item}</a></li>' for n, item in enumerate(TEASERS))
    around = (*MENU, *FOOTER)

    def page(main: str, *, extra: str = "") -> str:
        return (
            f"<!doctype html><html><head><title>Page</title><style>p {{}}</style></head><body>"
            f"<header><nav><ul>{menu}</ul></nav></header>{main}{extra}"
            f"<footer>{footer}<p>© 2026 Example Ltd</p></footer><script>var a = 1;</script>"
            "</body></html>"
        )

    def made(language: str, count: int) -> tuple[str, ...]:
        nouns = itertools.islice(itertools.cycle(NOUNS[language].split()), count)
        return tuple(SENTENCES[language].format(noun) for noun in nouns)

    def paragraphs(sentences: tuple[str, ...]) -> str:
        return "".join(f"<p>{sentence}</p>" for sentence in sentences)

    en, ru, ar, zh, ja = (made(language, 8) for language in SENTENCES)
    yield Layout("article", page(
        f"<main><article><h1>Rivers</h1>{paragraphs(en)}</article></main>"),
        en, around)  # fmt: skip
    yield Layout("blog, sidebar of teasers", page(
        f'<div class="content"><div class="post">{paragraphs(ru)}</div></div>',
        extra=f'<aside class="sidebar"><h3>Related</h3><ul>{teasers}</ul></aside>'),
        ru, (*around, *TEASERS))  # fmt: skip
    yield Layout("list of sentences", page(
        f"<div id=content><h2>Facts</h2><ul>{''.join(f'<li>{s}</li>' for s in en)}</ul></div>"),
        en, around)  # fmt: skip
    yield Layout("ordered list within an article", page(
        f"<article><p>{ar[0]}</p><ol>{''.join(f'<li><p>{s}</p></li>' for s in ar[1:])}</ol>"
        "</article>"), ar, around)  # fmt: skip
    yield Layout(
        "divs without classes",
        page("<div><div>" + "".join(f"<div>{s}</div>" for s in ru) + "</div></div>"),
        ru,
        around,
    )
    yield Layout(
        "layout tables",
        (
            f"<html><body><table><tr><td><ul>{menu}</ul></td><td>"
            + "".join(f"<p>{s}</p>" for s in en)
            + f"</td></tr><tr><td colspan=2>{footer}</td></tr></table></body></html>"
        ),
        en,
        around,
    )
    yield Layout("data table", page(
        "<main><table>" + "".join(f"<tr><td>{n}</td><td>{s}</td></tr>" for n, s in enumerate(ru))
        + "</table></main>"), ru, around)  # fmt: skip
    yield Layout("forum thread", page("<div id=thread>" + "".join(
        f'<div class="post"><div class="author">user{n}</div><div class="message">{s}</div></div>'
        for n, s in enumerate(en)) + "</div>"), en, around)  # fmt: skip
    yield Layout("questions and answers", page("<section><dl>" + "".join(
        f"<dt>{q}</dt><dd>{a}</dd>" for q, a in zip(zh[::2], zh[1::2], strict=True))
        + "</dl></section>"), zh, around)  # fmt: skip
    yield Layout(
        "lines broken by br", page("<div class=text>" + "<br><br>".join(ru) + "</div>"), ru, around
    )
    yield Layout(
        "Chinese with breaks inside sentences",
        page(
            "<article>"
            + "".join(f"<p>{s[:6]}<br>{s[6:12]}\n   {s[12:]}</p>" for s in zh)
            + "</article>"
        ),
        zh,
        around,
    )
    yield Layout("Japanese with ruby", page("<main>" + "".join(
        f"<p>{s.replace('川', '<ruby>川<rp>（</rp><rt>かわ</rt><rp>）</rp></ruby>')}</p>"
        for s in ja) + "</main>"), ja, (*around, "かわ"))  # fmt: skip
    yield Layout("product with cookie banner", page(
        f'<div class="product"><h1>Boots</h1><ul class="features">'
        f"{''.join(f'<li>{s}</li>' for s in en[:4])}</ul><div class=description>{en[4]} {en[5]}"
        f'</div><blockquote class="review">{en[6]}</blockquote></div>',
        extra=f'<div id="cookie-banner" class="cookie-consent"><p>{COOKIES}</p></div>'),
        en[:7], (*around, COOKIES))  # fmt: skip
    yield Layout(
        "no semantic elements, menus by class",
        (
            f'<html><body><div id="top" class="navbar">{footer}</div><div class="left-menu">'
            f'<ul>{menu}</ul></div><div class="text"><b>Fakten</b><br>{"<br>".join(ru)}</div>'
            f'<div class="footer"><p>© 2026 Example Ltd</p>{footer}</div></body></html>'
        ),
        ru,
        around,
    )
    yield Layout("wiki article", page(
        f'<div id="content"><div id="toc" class="toc"><ul>{menu}</ul></div><p>{en[0]} {en[1]}</p>'
        f'<ul><li>{en[2]}<ul><li>{en[3]}</li></ul></li></ul><table class="infobox"><tr><th>Name'
        f"</th><td>{en[4]}</td></tr></table><p>{en[5]}<sup>[1]</sup> {en[6]}</p></div>"),
        en[:7], around)  # fmt: skip
    yield Layout("web form around the page", (
        f'<html><body><form method="post"><div class="header"><ul>{menu}</ul></div><div>'
        + "".join(f"<span>{s}</span><br><br>" for s in ar)
        + f"</div><select><option>One</option></select><div>{footer}</div></form></body></html>"),
        ar, around)  # fmt: skip
    yield Layout("news front page", page("<main>" + "".join(
        f'<section class="card"><a href="/{n}"><h3>Story {n}</h3></a><p class="summary">{s}</p>'
        "</section>" for n, s in enumerate(ar)) + "</main>"), ar, around)  # fmt: skip


def extractors() -> dict[str, Callable[[str], str]]:
    """Return the extractors by name."""

    def resiliparse(html: str, *, is_main: bool) -> str:
        text: str = extract_plain_text(
            html, preserve_formatting=True, main_content=is_main, list_bullets=False,
            alt_texts=False,
        )  # fmt: skip
        return text

    found: dict[str, Callable[[str], str]] = {
        "resiliparse main_content": lambda html: resiliparse(html, is_main=True),
        "resiliparse plain": lambda html: resiliparse(html, is_main=False),
        "tongues": lambda html: page_text(html).text,
    }
    try:
        import trafilatura
    except ImportError:
        return found
    for name, options in (("", {}), (" favor_recall", {"favor_recall": True})):
        found[f"trafilatura{name}"] = lambda html, options=options: (
            trafilatura.extract(html, **options) or ""
        )
    return found


def measure(text: str, layout: Layout) -> tuple[int, int]:
    """Return how many sentences and boilerplate items a text holds."""
    lines = [" ".join(line.split()) for line in text.split("\n")]
    sentences = sum(any(sentence in line for line in lines) for sentence in layout.sentences)
    leaks = sum(any(item in line for line in lines) for item in layout.boilerplate)
    return sentences, leaks


def main() -> None:
    """Measure and print tables."""
    pages = list(layouts())
    print(f"| layout | {' | '.join(extractors())} |\n|---|{'---|' * len(extractors())}")
    totals = {name: [0, 0, 0, 0] for name in extractors()}
    for layout in pages:
        row = []
        for name, extract in extractors().items():
            text = extract(layout.html)
            found = measure(text, layout)
            kept = "\n".join(line for line in text.split("\n") if not boilerplate_reason(line))
            for place, count in enumerate((*found, *measure(kept, layout))):
                totals[name][place] += count
            row.append(f"{found[0]}/{len(layout.sentences)}, {found[1]}/{len(layout.boilerplate)}")
        print(f"| {layout.name} | {' | '.join(row)} |")
    sentences = sum(len(layout.sentences) for layout in pages)
    leaks = sum(len(layout.boilerplate) for layout in pages)
    print("\n| extractor | recall | leaks | recall, kept | leaks, kept | ms a page |")
    print("|---|---|---|---|---|---|")
    for name, extract in extractors().items():
        started = time.process_time()
        for layout in pages * ROUNDS:
            extract(layout.html)
        took = 1e3 * (time.process_time() - started) / (ROUNDS * len(pages))
        a, b, c, d = totals[name]
        print(f"| {name} | {a / sentences:.1%} | {b / leaks:.1%} | {c / sentences:.1%}"
              f" | {d / leaks:.1%} | {took:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
