"""The page about a mining run: funnel, scores and precision, samples, domains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from corpus.languages import language_name
from corpus.report.charts import Line
from corpus.report.histograms import Counts, Mark, histogram
from corpus.report.html import SORT_SCRIPT, absent, escape, figure, page, section, table
from mining.bitext.report_data import NO_ADDRESS, Band, DirectionReport, Domain, MiningReport

_RIGHT_TO_LEFT = frozenset({"Arab", "Hebr", "Nkoo", "Syrc", "Thaa"})
_SHOWN_DIRECTIONS = 12
_SHOWN_DOMAINS = 25
_REJECTED = "rejected."
_LEAKS = ("rejected.evaluation_overlap", "rejected.evaluation_containment")
_CSS = (
    "<style>.pair { display: grid; grid-template-columns: 4.5em 1fr 1fr; gap: 2px 18px;"
    " padding: 10px 0; border-bottom: 1px solid var(--line); }"
    " .pair > span { color: var(--soft); font-variant-numeric: tabular-nums; }"
    " .pair > div { font-size: 16px; overflow-wrap: anywhere; }"
    " details > summary { cursor: pointer; color: var(--soft); margin-top: 14px; }"
    " @media (max-width: 560px) { .pair { grid-template-columns: 1fr; }"
    " .figures { grid-template-columns: 1fr 1fr; } .figure b { font-size: 22px; } }"
    " .figures { grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); }</style>"
)


def render(report: MiningReport, left: Sequence[str] = ()) -> str:
    """Return the page; `left` are language pairs that were not mined."""
    largest = sorted(report.directions, key=lambda one: -_kept(one))[:_SHOWN_DIRECTIONS]
    body = [
        _CSS,
        _figures(report),
        _funnel(report),
        _rejects(report),
        _directions(report.directions),
        _left(left),
        *(_scores(one) for one in largest),
        _samples(largest),
        _domains(report.domains),
        "<footer>One file, no network. Every figure is read from receipts, calibrations and the"
        " bitext itself.</footer>",
    ]
    more = len(report.directions) - len(largest)
    words = f"{len(report.directions)} language pair{'' if len(report.directions) == 1 else 's'}"
    if more:
        words += f"; charts and samples are of the {len(largest)} largest"
    return page("Mined bitext", f"{words}.", body, SORT_SCRIPT)


def _kept(one: DirectionReport) -> int:
    counts = one.filtered or {}
    return counts.get("kept", (one.mined or {}).get("pairs", 0))


def _total(counts: Sequence[Mapping[str, int] | None]) -> Counter[str]:
    total: Counter[str] = Counter()
    for some in counts:
        total.update(some or {})
    return total


def _figures(report: MiningReport) -> str:
    mined = _total([one.mined for one in report.directions])
    filtered = _total([one.filtered for one in report.directions])
    precision = _expected_precision(report.directions)
    leaks = sum(filtered[name] for name in _LEAKS)
    values: list[tuple[str | None, str]] = [
        (_number(report.sentences.get("kept")), "sentences"),
        (_number(mined["pairs"] if mined else None), "pairs mined"),
        (_number(filtered["kept"] if filtered else None), "pairs kept"),
        (
            f"{precision:.1%}" if precision is not None else None,
            "expected precision as mined",
        ),
        (_number(leaks if filtered else None), "pairs with text of evaluation sets removed"),
        (str(len(report.directions)), "language pairs"),
    ]
    cards = [figure(value or "not known", label, value is not None) for value, label in values]
    return f'<div class="figures">{"".join(cards)}</div>'


def _number(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _expected_precision(directions: Sequence[DirectionReport]) -> float | None:
    """Return the mean over mined pairs, of the directions that were calibrated."""
    known = [
        (one.calibration["expected_precision"], one.calibration["pairs"])
        for one in directions
        if one.calibration and one.calibration.get("expected_precision") is not None
    ]
    pairs = sum(count for _, count in known)
    return sum(value * count for value, count in known) / pairs if pairs else None


def _funnel(report: MiningReport) -> str:
    mined = _total([one.mined for one in report.directions])
    filtered = _total([one.filtered for one in report.directions])
    steps = [
        ("documents", report.sentences.get("documents")),
        ("lines", report.sentences.get("lines")),
        ("sentences", report.sentences.get("sentences")),
        ("sentences kept", report.sentences.get("kept")),
        ("embedded", report.embedded.get("sentences")),
        ("candidate pairs", mined.get("candidate_pairs")),
        ("pairs mined", mined.get("pairs")),
        ("pairs kept", filtered.get("kept")),
    ]
    there = [(name, count) for name, count in steps if count is not None]
    missing = [name for name, count in steps if count is None]
    words = "From the receipts of every step; pairs are summed over language pairs."
    if missing:
        words += f" Not at hand: {', '.join(missing)}."
    largest = max((count for _, count in there), default=0) or 1
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="number">{count:,}</td><td style="width: 60%">'
        f'<div class="meter" style="width: {100 * count / largest:.2f}%; margin: 9px 0"></div>'
        "</td></tr>"
        for name, count in there
    )
    return section("The funnel", words, f"<table><tbody>{rows}</tbody></table>")


def _rejects(report: MiningReport) -> str:
    filtered = _total([one.filtered for one in report.directions])
    cards = []
    for title, counts, whole in (
        ("Rejected sentences", report.sentences, "sentences"),
        ("Rejected pairs", filtered, "pairs"),
    ):
        rows = [
            [name.removeprefix(_REJECTED).replace("_", " "), count, count / counts[whole]]
            for name, count in sorted(counts.items(), key=lambda item: -item[1])
            if name.startswith(_REJECTED) and count
        ]
        if rows:
            content = table(["reason", whole, "share"], rows, sortable=True, decimals=4)
            cards.append(section(title, f"Of {counts[whole]:,} {whole}.", content))
    unmeasured = sorted(name for name in filtered if name.startswith("unmeasured."))
    if unmeasured:
        items = "".join(
            f"<li>{escape(name.removeprefix('unmeasured.'))}: {filtered[name]:,} pairs</li>"
            for name in unmeasured
        )
        cards.append(
            section(
                "Not measured",
                "Pairs that a filter could not check: no list, or no language.",
                f'<ul class="warnings">{items}</ul>',
            )
        )
    return f'<div class="columns">{"".join(cards)}</div>' if cards else ""


def _directions(directions: Sequence[DirectionReport]) -> str:
    header = [
        "pair", "source sentences", "target sentences", "candidates", "mined", "threshold",
        "expected precision", "at least", "expected recall", "kept", "share kept",
    ]  # fmt: skip
    rows: list[list[object]] = []
    for one in directions:
        mined, filtered, known = one.mined or {}, one.filtered or {}, one.calibration or {}
        pairs = filtered.get("pairs")
        rows.append(
            [
                str(one.direction),
                *(mined.get(name) for name in ("source_sentences", "target_sentences")),
                mined.get("candidate_pairs"),
                mined.get("pairs"),
                known.get("threshold"),
                known.get("expected_precision"),
                known.get("expected_precision_low"),
                known.get("expected_recall"),
                filtered.get("kept"),
                filtered["kept"] / pairs if pairs else None,
            ]
        )
    return section("Language pairs", "", table(header, rows, sortable=True, decimals=3))


def _left(left: Sequence[str]) -> str:
    if not left:
        return ""
    items = "".join(f"<li>{escape(pair)}</li>" for pair in left)
    words = "The budget ran out before these; a run with a larger budget mines them."
    return section("Language pairs not mined", words, f'<ul class="warnings">{items}</ul>')


def _scores(one: DirectionReport) -> str:
    title = f"{_name(one.direction.source)} and {_name(one.direction.target)}: scores"
    known = one.calibration
    if known is None:
        return absent(title, f"{one.direction}.calibration.json, which `mining mine` writes")
    counts, edges = known["histogram"], known["histogram"]["edges"]
    series = [Counts("mined pairs", counts["mined"])]
    for key, label in (("found", "planted, found"), ("wrong", "planted, wrong")):
        if key in counts:
            series.append(Counts(label, counts[key]))
    curves = [
        Line(label, [(point["threshold"], point[key]) for point in known["curve"]])
        for key, label in (("precision", "precision"), ("recall", "recall"))
        if known["curve"]
    ]
    marks = [Mark(f"threshold {known['threshold']:.3f}", known["threshold"])]
    chart = histogram(edges, series, across=_margin_words(known), curves=curves, marks=marks)
    return section(title, _score_words(known), chart)


def _margin_words(known: Mapping[str, Any]) -> str:
    return f"{known['margin']} margin, k = {known['neighbors']}"


def _score_words(known: Mapping[str, Any]) -> str:
    if not known["curve"]:
        return "Not calibrated: how many are correct is unknown. See `tongues mining embed-known`."
    expected = ", ".join(
        f"{name} {known[key]:.3f}"
        for name, key in (
            ("precision", "expected_precision"),
            ("at least", "expected_precision_low"),
            ("recall", "expected_recall"),
        )
        if known.get(key) is not None
    )
    by = "the most mutual pairs and second choices"
    if "known.planted_whole" in known:
        by = f"{known['known.planted_whole']:,} planted pairs"
    return (
        "Each kind of pair has its own scale. The curves show what a threshold is expected to give,"
        f" estimated from {by}. At the threshold: {expected or 'nothing'}."
    )


def _samples(directions: Sequence[DirectionReport]) -> str:
    parts = []
    for number, one in enumerate(directions):
        inner = "".join(_band(one, band) for band in one.bands)
        if inner:
            names = f"{_name(one.direction.source)} and {_name(one.direction.target)}"
            state = " open" if number == 0 else ""
            parts.append(f"<details{state}><summary>{escape(names)}</summary>{inner}</details>")
    if not parts:
        return absent("Samples by score", "pairs with a score")
    words = "Kept pairs from each fifth by score; every report shows the same ones."
    return section("Samples by score", words, "".join(parts))


def _band(one: DirectionReport, band: Band) -> str:
    rows = "".join(
        f'<div class="pair"><span>{sample.score:.3f}</span>'
        f"{_text(sample.source, one.direction.source)}{_text(sample.target, one.direction.target)}"
        "</div>"
        for sample in band.samples
    )
    return f"<h3>{band.low:.3f} to {band.high:.3f}</h3>{rows}"


def _text(text: str, language: str) -> str:
    """Return a sentence in the direction of its script, so that punctuation stands right."""
    way = "rtl" if language[4:8] in _RIGHT_TO_LEFT else "ltr"
    tag = f"{language[:3]}-{language[4:8]}"
    return f'<div lang="{escape(tag)}" dir="{way}">{escape(text)}</div>'


def _domains(domains: Sequence[Domain]) -> str:
    if all(domain.name == NO_ADDRESS for domain in domains):
        return ""
    rows: list[list[object]] = [
        [
            domain.name,
            domain.pairs,
            domain.sentences,
            domain.pairs / domain.sentences if domain.sentences else None,
        ]
        for domain in domains[:_SHOWN_DOMAINS]
    ]
    words = (
        "Hosts of the documents that kept pairs come from, beside all the host's sentences in these"
        " languages. A sentence may be in several pairs."
    )
    if len(domains) > len(rows):
        words += f" The first {len(rows)} of {len(domains):,}."
    header = ["domain", "sides of pairs", "sentences", "sides per sentence"]
    return section("Domains", words, table(header, rows, sortable=True, decimals=3))


def _name(language: str) -> str:
    return language_name(language) or language
