"""The page and its figures as JSON."""

from collections.abc import Mapping

from corpus.files import make_directory, write_json, write_text
from new_language.page import render
from new_language.results import collect
from new_language.steps import Plan
from new_language.times import Times

PAGE, FIGURES = "report.html", "report.json"


def write_report(plan: Plan, times: Mapping[str, Times]) -> None:
    """Write `report.html` and `report.json` of what the steps have made so far.

    Raises:
        DataError: If a file of a step is damaged.
    """
    results = collect(plan, times)
    make_directory(plan.output)
    write_json(plan.output / FIGURES, results)
    write_text(plan.output / PAGE, render(results))
