"""Receipts, for tests that look at them."""

from pathlib import Path
from typing import Any

from corpus.jobs.logs import read_log


def read_receipt(output: Path, job: str, task: str) -> dict[str, Any]:
    """Return the receipt of a finished task."""
    receipt = read_log(output / "receipts" / job).receipt(task)
    assert receipt is not None, f"{task} of {job} has no receipt in {output}"
    return receipt


def finished_tasks(output: Path, job: str) -> set[str]:
    """Return the tasks of a job that have receipts."""
    return set(read_log(output / "receipts" / job).receipts)
