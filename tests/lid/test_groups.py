"""Groups over an engine whose probabilities are written down here."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from corpus.errors import DataError, UserError
from lid.cli import group
from lid.config import CONFUSABLE_GROUPS
from lid.directory import Threshold
from lid.engine.kernel import CHARACTERS, COUNTS, EMPTY, NO_LETTERS, SECOND, Answers
from lid.groups import GroupIdentifier, read_groups
from lid.identifier import LanguageIdentifier

CLASSES = ["bos_Latn", "hrv_Latn", "slv_Latn", "zxx"]
PROBABILITIES = {
    "either": [0.5, 0.4, 0.1, 0.0],
    "split": [0.28, 0.27, 0.25, 0.2],
    "sure": [0.2, 0.75, 0.05, 0.0],
    "other": [0.4, 0.1, 0.5, 0.0],
    "weak": [0.2, 0.15, 0.15, 0.0],
}
PAIR = "bos_Latn,hrv_Latn"


class Written:
    """Answers with the probabilities above; other lines hold no letters."""

    def identify(self, lines: Sequence[str], top: int = 1) -> Answers:
        counts = np.zeros((len(lines), COUNTS), np.int32)
        scores = np.array([PROBABILITIES.get(line, [0.0] * 4) for line in lines], np.float32)
        labels = np.argsort(-scores, axis=1, kind="stable").astype(np.int32)
        counts[:, SECOND] = labels[:, 1]
        counts[:, CHARACTERS] = [
            len(line) if line in PROBABILITIES else NO_LETTERS if line else EMPTY for line in lines
        ]
        return Answers(
            labels[:, :top], np.take_along_axis(scores, labels[:, :top].astype(int), 1), counts
        )


@pytest.fixture
def identifier() -> LanguageIdentifier:
    thresholds = dict.fromkeys(CLASSES[:3], Threshold(score=0.4))
    return LanguageIdentifier(Written(), CLASSES, thresholds, {})


def test_group_is_answered_where_none_of_its_languages_is_sure(
    identifier: LanguageIdentifier,
) -> None:
    lines = ["either", "split", "sure", "other", "weak", "", "123"]
    answers = GroupIdentifier(identifier, [PAIR]).identify(lines)
    names = [PAIR, PAIR, "hrv_Latn", "slv_Latn", "und", "und", "zxx"]
    assert [one.language for one in answers] == names
    assert [one.score for one in answers[:2]] == pytest.approx([0.9, 0.55])
    alone = identifier.identify(lines)
    assert alone[0].language == "bos_Latn"
    assert alone[1].language == "und"  # no language alone reaches its threshold, the group does
    assert answers[2:4] == alone[2:4]
    assert answers[5:] == alone[5:]


def test_languages_of_two_groups_are_answered_alone(identifier: LanguageIdentifier) -> None:
    # Of these groups the model knows one language each.
    apart = GroupIdentifier(identifier, ["bos_Latn,srp_Cyrl", "hrv_Latn,ces_Latn"])
    assert apart.identify(["either", "sure"]) == identifier.identify(["either", "sure"])


def test_command_answers_with_the_groups_of_its_model(
    identifier: LanguageIdentifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LanguageIdentifier, "load", lambda *_, **__: identifier)
    (tmp_path / "config.yaml").write_text(f"seed: 1\ncalibration:\n  groups: ['{PAIR}']\n")
    arguments = ["identify", "--model", str(tmp_path), "--groups"]
    result = CliRunner().invoke(group, arguments, input="either\nsure\n")
    assert result.stdout == f"{PAIR}\t0.9000\nhrv_Latn\t0.7500\n"
    refused = CliRunner().invoke(group, [*arguments, "--top", "2"], input="x")
    assert isinstance(refused.exception, UserError)
    assert "--top and --groups" in str(refused.exception)


def test_groups_are_those_of_training_or_calibration(tmp_path: Path) -> None:
    assert read_groups(tmp_path) == CONFUSABLE_GROUPS  # an imported model has no config
    config = tmp_path / "config.yaml"
    config.write_text(f"calibration:\n  groups: ['{PAIR}']\n")
    assert read_groups(tmp_path) == (PAIR,)
    config.write_text(f"target_precision: 0.9\ngroups: ['{PAIR}']\n")
    assert read_groups(tmp_path) == (PAIR,)
    for damaged in ("groups: 7\n", "seed: 1\n", "[", ""):
        config.write_text(damaged)
        with pytest.raises(DataError, match="names no groups"):
            read_groups(tmp_path)
