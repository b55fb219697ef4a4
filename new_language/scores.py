"""Scores of the systems, as the page and its advice ask for them."""

from collections.abc import Mapping
from typing import Any

MAIN_METRIC = "chrf++"


def score_of(
    results: Mapping[str, Any], system: str, direction: str, metric: str = MAIN_METRIC
) -> dict[str, Any] | None:
    """Return the row of a system's score in a direction; None without one."""
    for row in results["scores"]:
        if (row["system"], row["direction"], row["metric"]) == (system, direction, metric):
            found: dict[str, Any] = row
            return found
    return None


def mean_score(results: Mapping[str, Any], system: str) -> float | None:
    """Return the mean score of the new language's two directions; None if one is missing."""
    rows = [score_of(results, system, direction) for direction in new_directions(results)]
    values = [row["value"] for row in rows if row is not None]
    return sum(values) / len(values) if len(values) == len(rows) else None


def new_directions(results: Mapping[str, Any]) -> tuple[str, str]:
    """Return the directions into the new language and out of it."""
    language, pivot = results["language"], results["pivot"]
    return f"{pivot}-{language}", f"{language}-{pivot}"


def best_system(results: Mapping[str, Any]) -> str | None:
    """Return the system that is exported, or the last that has scores."""
    scored = [one for one in results["systems"] if mean_score(results, one) is not None]
    if results["exported"] in scored:
        return str(results["exported"])
    return scored[-1] if scored else None


def mean_change(results: Mapping[str, Any], system: str) -> float | None:
    """Return by how much the other directions changed in their mean; None without any."""
    rows = [row for row in results["others"] if row["system"] == system]
    changes = [row["difference"] for row in rows if row["difference"] is not None]
    return sum(changes) / len(changes) if changes else None
