"""The learned metrics: what each reads, whether higher is better, and whose languages it knows."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Literal

from corpus.errors import UserError

ALL_LANGUAGES = "all"


@dataclass(frozen=True, kw_only=True)
class LearnedMetric:
    """A published metric."""

    family: Literal["comet", "metricx", "blaser", "sonar"]
    kinds: tuple[str, ...] = ()
    """COMET's `class_identifier` in hparams.yaml."""
    needs_reference: bool
    needs_source: bool = True
    higher_is_better: bool = True
    languages: Literal["xlm-r", "mt5", "sonar"]
    """Whose languages; a column of languages.tsv."""


LEARNED = {
    "comet-22": LearnedMetric(
        family="comet", kinds=("regression_metric",), needs_reference=True, languages="xlm-r"
    ),
    "cometkiwi-22": LearnedMetric(
        family="comet", kinds=("unified_metric", "referenceless_regression_metric"),
        needs_reference=False, languages="xlm-r",
    ),
    "cometkiwi-23": LearnedMetric(
        family="comet", kinds=("unified_metric", "referenceless_regression_metric"),
        needs_reference=False, languages="xlm-r",
    ),
    "xcomet": LearnedMetric(
        family="comet", kinds=("xcomet_metric",), needs_reference=True, languages="xlm-r"
    ),
    "xcomet-qe": LearnedMetric(
        family="comet", kinds=("xcomet_metric",), needs_reference=False, languages="xlm-r"
    ),
    "metricx-24": LearnedMetric(
        family="metricx", needs_reference=True, higher_is_better=False, languages="mt5"
    ),
    "metricx-24-qe": LearnedMetric(
        family="metricx", needs_reference=False, higher_is_better=False, languages="mt5"
    ),
    "blaser-2": LearnedMetric(family="blaser", needs_reference=True, languages="sonar"),
    "blaser-2-qe": LearnedMetric(family="blaser", needs_reference=False, languages="sonar"),
    "sonar": LearnedMetric(
        family="sonar", needs_reference=True, needs_source=False, languages="sonar"
    ),
    "sonar-qe": LearnedMetric(family="sonar", needs_reference=False, languages="sonar"),
}  # fmt: skip


def find_learned(name: str) -> LearnedMetric:
    """Return the metric of a name.

    Raises:
        UserError: If there is none.
    """
    if name not in LEARNED:
        raise UserError(f"there is no learned metric `{name}`. Known: {', '.join(LEARNED)}.")
    return LEARNED[name]


def covered_languages(model: str) -> frozenset[str]:
    """Return the languages that a model was trained on; see languages.tsv.

    XLM-R: Conneau et al. 2020, appendix A. mT5: Xue et al. 2021, appendix B. SONAR: the list in its
    model card. A language that they name without a script or variety is taken in its usual ones.
    """
    text = (resources.files("eval.learned_models") / "languages.tsv").read_text(encoding="utf-8")
    header, *rows = (line.split("\t") for line in text.split("\n") if line)
    column = header.index(model)
    return frozenset(row[0] for row in rows if row[column] == "yes")
