"""The page to try a server with."""

from collections.abc import Sequence
from importlib import resources

from corpus.languages import Direction
from corpus.report.html import escape, page

_STYLE = """
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 20px;
  margin-top: 20px; }
.pair section { display: flex; flex-direction: column; gap: 12px; margin: 0; }
textarea, output { font: inherit; font-size: 17px; min-height: 220px; width: 100%;
  padding: 10px 12px;
  color: var(--ink); background: transparent; border: 1px solid var(--line); border-radius: 8px;
  resize: vertical; white-space: pre-wrap; overflow-wrap: anywhere; }
output { background: var(--page); border-color: transparent; flex: 1; }
textarea:focus { outline: 2px solid var(--accent); outline-offset: -1px; }
small { min-height: 1.5em; }
@media (max-width: 560px) { textarea, output { min-height: 130px; } }
select, button { font: inherit; color: var(--ink); background: var(--card); padding: 6px 12px;
  border: 1px solid var(--line); border-radius: 8px; }
button { background: var(--accent); color: var(--page); border-color: var(--accent); }
button:disabled { opacity: .5; }
"""


def trial_page(languages: Sequence[str], directions: Sequence[Direction]) -> str:
    """Return the page for a model's languages; its first trained direction is chosen."""
    source, target = directions[0] if directions else (languages[0], languages[-1])
    body = (
        '<form id="form"><div class="pair"><section>'
        f"{_select('source', 'From', languages, source)}"
        '<textarea id="text" dir="auto" autofocus aria-label="Text" required></textarea>'
        '<div><button id="go">Translate</button></div></section><section>'
        f"{_select('target', 'Into', languages, target)}"
        '<output id="translation" dir="auto" aria-live="polite"></output>'
        '<small id="note"></small></section></div></form>'
    )
    script = (resources.files("nmt.serving") / "page.js").read_text(encoding="utf-8")
    return page(
        "Translation", "A line is a paragraph; Ctrl+Enter translates.", [body], script, _STYLE
    )


def _select(name: str, label: str, languages: Sequence[str], chosen: str) -> str:
    options = "".join(
        f"<option{' selected' if language == chosen else ''}>{escape(language)}</option>"
        for language in sorted(languages)
    )
    return f'<label>{label} <select id="{name}">{options}</select></label>'
