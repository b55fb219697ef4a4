"""The page on which a person scores translations: one file that works without a network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from corpus.languages import Direction, check_language
from corpus.report.html import as_script, escape, interactive_script, page
from eval.human.sampling import Item

SCALE = {
    1: ("different", "about different things, or no meaning in common"),
    2: ("partly alike", "some details are shared, but the main point is not"),
    3: ("mostly alike", "the main point is the same, but important details are not"),
    4: ("paraphrases", "the same meaning; small differences of emphasis or style"),
    5: ("the same", "exactly the same meaning, and used in the same situations"),
}
"""XSTS (Licht et al. 2022, appendix), shortened."""

_STYLE = """
main { max-width: 860px; }
#who label { display: block; margin-bottom: 8px; }
input, button { font: inherit; color: var(--ink); background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; }
button { cursor: pointer; } button:focus-visible, input:focus-visible {
  outline: 3px solid var(--accent); outline-offset: 1px; }
section > .text { color: var(--ink); font-size: 20px; line-height: 1.6; margin: 0; max-width: none;
  overflow-wrap: anywhere; }
.text:empty::before { content: "(nothing)"; color: var(--soft); } .text + h3 { margin-top: 20px; }
#scale { display: grid; grid-template-columns: repeat(5, 1fr); gap: 8px; margin-top: 20px; }
#scale button { text-align: start; padding: 10px 12px; align-content: start; }
#scale b { display: block; font-size: 20px; } #scale small { display: block; font-size: 12px; }
#scale button[aria-pressed="true"] { background: var(--accent-soft); border-color: var(--accent); }
.tools { display: flex; flex-wrap: wrap; gap: 10px; align-items: center; margin-top: 16px; }
.tools .room { flex: 1; } #save.ready { border-color: var(--accent); font-weight: 600; }
progress { width: 100%; accent-color: var(--accent); }
[hidden] { display: none !important; }
@media (max-width: 560px) { #scale { grid-template-columns: 1fr; gap: 6px; }
  #scale button { display: grid; grid-template-columns: 24px 1fr; column-gap: 8px; }
  #scale b { grid-row: span 2; align-self: center; } section > .text { font-size: 18px; } }
"""


def render_page(direction: Direction, items: Sequence[Item], sample: str) -> str:
    """Return the page of a direction.

    Each item is there once, without its system, its kind and its score.

    Args:
        direction: Of all items.
        items: Rows of items.tsv.
        sample: Names the sample, so that the answers of two are not mixed in one browser.
    """
    source, target = (check_language(code) for code in direction)
    texts = {item.item: (item.source, item.target) for item in sorted(items)}
    data = {
        "sample": sample,
        "direction": str(direction),
        "items": [{"id": name, "source": a, "target": b} for name, (a, b) in texts.items()],
    }
    buttons = "".join(
        f'<button type="button" value="{value}"><b>{value}</b><span>{escape(name)}</span>'
        f"<small>{escape(words)}</small></button>"
        for value, (name, words) in SCALE.items()
    )
    who = (
        '<form id="who"><section><label for="name">Your name, or what you were asked to write'
        ' here</label><input id="name" autocomplete="off" autofocus required>'
        " <button>Begin</button></section></form>"
    )
    work = (
        '<div id="work" hidden><section>'
        f'<h3>{escape(source.name)}</h3><p class="text" id="source" dir="auto"'
        f' lang="{_tag(direction.source)}"></p>'
        f'<h3>{escape(target.name)}</h3><p class="text" id="target" dir="auto"'
        f' lang="{_tag(direction.target)}"></p>'
        f'<div id="scale" role="group" aria-label="How much of the meaning is the same?">{buttons}'
        '</div></section><div class="tools"><button type="button" id="back">← Back</button>'
        '<button type="button" id="next">Next →</button><span id="place"></span>'
        '<span class="room"></span><span id="done" role="status"></span>'
        '<button type="button" id="save">Save as a table</button></div>'
        '<progress id="bar" value="0"></progress>'
        '<p class="missing" id="lost" hidden>This browser keeps nothing for files: save the table'
        " before you close the page.</p></div>"
    )
    title = f"{source.name} → {target.name}: how similar is the meaning?"
    hint = (
        "Judge the meaning only, not style or spelling. Keys 1 to 5 score, ← and → move. Your"
        " answers stay in this browser until you save them."
    )
    script = interactive_script() + (resources.files("eval.human") / "annotate.js").read_text(
        encoding="utf-8"
    )
    return page(title, hint, [who, work, as_script(data)], script, _STYLE)


def _tag(code: str) -> str:
    """Return the tag of a FLORES-200 code for browsers (BCP 47): `arb-Arab`."""
    return "-".join(code.split("_")[:2])
