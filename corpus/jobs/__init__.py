"""Jobs over shards: receipts, locks, cost estimates and executors.

Stages import from this package only, never from its modules.
"""

from corpus.jobs.budget import WithinBudget, core_seconds
from corpus.jobs.executors import EXECUTORS, LOCAL, Executor, find_executor
from corpus.jobs.job_config import CONFIG_FILE, check_config, forget_config
from corpus.jobs.locks import hold_lock
from corpus.jobs.pricing import Cut, Price, Trial, describe_price, finished, price_job, spread
from corpus.jobs.receipts import (
    RECEIPTS,
    check_digests,
    describe_input,
    differences,
    forget_outdated,
    forget_receipts,
    recall_digests,
    task_counts,
)
from corpus.jobs.run import (
    Summary,
    begin_job,
    check_not_inputs,
    has_receipt,
    redo_changed,
    run_file_job,
    run_job,
)
from corpus.jobs.status import JobStatus, job_statuses
from corpus.jobs.tasks import Outcome, Task

__all__ = [
    "CONFIG_FILE",
    "EXECUTORS",
    "LOCAL",
    "RECEIPTS",
    "Cut",
    "Executor",
    "JobStatus",
    "Outcome",
    "Price",
    "Summary",
    "Task",
    "Trial",
    "WithinBudget",
    "begin_job",
    "check_config",
    "check_digests",
    "check_not_inputs",
    "core_seconds",
    "describe_input",
    "describe_price",
    "differences",
    "find_executor",
    "finished",
    "forget_config",
    "forget_outdated",
    "forget_receipts",
    "has_receipt",
    "hold_lock",
    "job_statuses",
    "price_job",
    "recall_digests",
    "redo_changed",
    "run_file_job",
    "run_job",
    "spread",
    "task_counts",
]
