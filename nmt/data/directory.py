"""A directory of tokens, and what was decided when they were made.

It loads no SentencePiece and no pyarrow, so that tokens of other settings are refused at once.
"""

from pathlib import Path

from corpus.jobs import CONFIG_FILE, check_config, task_counts
from nmt.data.config import TokenizeConfig, TrainingData

TOKENIZE_JOB = "tokenize"


def tokenize_config(data: TrainingData) -> TokenizeConfig:
    """Return what of a run's settings its tokens depend on."""
    return TokenizeConfig(
        max_length=data.max_length,
        evaluation_containment=data.evaluation_containment,
        columns=data.columns,
    )


def check_tokens(directory: Path, data: TrainingData) -> None:
    """Refuse a directory that holds tokens of other settings.

    Raises:
        UserError: Naming every key that differs.
    """
    if task_counts(directory, TOKENIZE_JOB) and (directory / CONFIG_FILE).is_file():
        check_config(directory, TOKENIZE_JOB, tokenize_config(data))
