import json
import logging
from pathlib import Path

import pytest

from corpus.config import load_config
from corpus.errors import DataError, JobError, UserError
from nmt.data.phases import Curriculum
from nmt.training.config import TrainConfig
from nmt.training.curriculum import (
    NLLB_STARTS,
    DerivationConfig,
    derive_curriculum,
    derive_entries,
    format_phases,
)
from nmt.training.curves import Validation

A, B, C, D = (f"qaa_Latn-q{letter}b_Latn" for letter in "abcd")
CURVES = {
    A: {100: 3.0, 200: 2.0, 300: 1.0},
    B: {100: 3.0, 200: 2.0, 300: 2.5},
    C: {50: 1.0, 100: 1.0, 300: 4.0},
    D: {10: 1.0, 100: float("nan"), 300: 9.0},
}


def validations(curve: dict[int, float]) -> list[Validation]:
    return [Validation(update, nll, None) for update, nll in curve.items()]


def write_training(directory: Path, trained: tuple[str, ...] = (A, B, C, D)) -> Path:
    folder = directory / "training" / "metrics" / "valid"
    folder.mkdir(parents=True)
    (folder.parent / "train.jsonl").write_text('{"Step": 300, "Loss": 1.0}\n')
    for direction, curve in CURVES.items():
        lines = [json.dumps({"Step": update, "NLL Loss": nll}) for update, nll in curve.items()]
        (folder / f"{direction}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (directory / "model.json").write_text(json.dumps({"directions": trained}))
    return directory


def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text("vocabulary: v\nbitext: {primary: b}\ncurriculum: {high_resource_pairs: 7}\n")
    return path


def test_direction_enters_so_late_that_it_ends_where_it_was_best() -> None:
    # By hand, 300 updates: A was best after 300, so 0. B after 200: 100 is nearer to 170 than to
    # 0. C after 50, the first of two: 250 is as near to 230 as to 270. D after 10: 290.
    starts = [round(300 * share) for share in NLLB_STARTS]
    assert starts == [0, 170, 230, 270]
    curves = {direction: validations(curve) for direction, curve in CURVES.items()}
    entries = derive_entries(curves, 300, starts)
    assert {direction: entry.start for direction, entry in entries.items()} == {
        A: 0,
        B: 170,
        C: 230,
        D: 270,
    }


def test_run_begins_with_the_directions_that_would_enter_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # By hand, 600 updates: A 300, B 400, C 550, D 590 of 0, 340, 460, 540.
    curves = {direction: validations(curve) for direction, curve in CURVES.items()}
    entries = derive_entries(curves, 600, [0, 340, 460, 540])
    assert [entries[d].start for d in (A, B, C, D)] == [0, 0, 540, 540]
    assert "enter at update 340 or later" in caplog.text


def test_train_accepts_the_phases_beside_a_recipe(tmp_path: Path) -> None:
    training, output = write_training(tmp_path / "model"), tmp_path / "phases.yaml"
    summary = derive_curriculum(training, output, DerivationConfig())
    assert summary.counts["enter at 170"] == 1
    config = load_config(TrainConfig, [recipe(tmp_path), output])
    assert [phase.from_update for phase in config.curriculum.phases] == [0, 170, 230, 270]
    # Nested, and the recipe's own keys stay.
    assert [set(phase.directions) for phase in config.curriculum.phases] == [
        {A},
        {A, B},
        {A, B, C},
        {A, B, C, D},
    ]
    assert config.curriculum.high_resource_pairs == 7
    text = output.read_text()
    assert f"- {B}  # best nll 2.000 after update 200, 2.500 after 300\n" in text
    again = derive_curriculum(training, output, DerivationConfig())
    assert again.skipped == 1


def test_directions_that_were_not_validated_are_in_the_first_phase(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = "qta_Latn-qtb_Latn"
    training = write_training(tmp_path / "model", (A, B, C, D, other))
    derive_curriculum(training, tmp_path / "phases.yaml", DerivationConfig())
    config = load_config(TrainConfig, [recipe(tmp_path), tmp_path / "phases.yaml"])
    assert set(config.curriculum.phases[0].directions) == {A, other}
    assert f"{other} among them" in caplog.text
    assert f"- {other}  # not validated\n" in (tmp_path / "phases.yaml").read_text()


def test_table_of_curves_gives_the_phases_of_the_files(tmp_path: Path) -> None:
    rows = [f"{d}\t{u}\t{nll}\n" for d, curve in CURVES.items() for u, nll in curve.items()]
    table = tmp_path / "curves.tsv"
    table.write_text("direction\tupdate\tnll\n" + "".join(rows))
    derive_curriculum(table, tmp_path / "a.yaml", DerivationConfig())
    derive_curriculum(write_training(tmp_path / "m"), tmp_path / "b.yaml", DerivationConfig())
    assert (tmp_path / "a.yaml").read_text() == (tmp_path / "b.yaml").read_text()


def test_curves_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"no validation loss of {A} is a number"):
        derive_entries({A: validations({10: float("nan")})}, 300, [0])
    with pytest.raises(UserError, match="holds no validation curves"):
        derive_curriculum(tmp_path, tmp_path / "phases.yaml", DerivationConfig())
    with pytest.raises(UserError, match="begins at update 400"):
        DerivationConfig(updates=300, phase_starts=(0, 400))
    with pytest.raises(UserError, match="must rise"):
        DerivationConfig(phase_starts=(10, 20))
    table = tmp_path / "curves.tsv"
    table.write_text(f"direction\tupdate\tnll\n{A}\tsoon\t1\n")
    with pytest.raises(JobError, match=r"curves.tsv:2: not a direction"):
        derive_curriculum(table, tmp_path / "phases.yaml", DerivationConfig())


def test_phases_are_for_people_to_read() -> None:
    curves = {A: validations({300: 1.0}), B: validations({30: 1.25, 300: 2.0})}
    text = format_phases(derive_entries(curves, 300, [0, 270]), 300)
    assert text.split("curriculum:\n")[1] == (
        "  phases:\n"
        "    - from_update: 0\n"
        "      # 1 new, 0 before\n"
        "      directions:\n"
        f"        - {A}  # best nll 1.000 after update 300\n"
        "    - from_update: 270\n"
        "      # 1 new, 1 before\n"
        "      directions:\n"
        f"        - {B}  # best nll 1.250 after update 30, 2.000 after 300\n"
        f"        - {A}\n"
    )


def test_direction_that_no_phase_names_is_said_to_go_untrained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from corpus.languages import parse_direction
    from nmt.data.config import CurriculumConfig, PhaseConfig

    caplog.set_level(logging.WARNING)
    phases = CurriculumConfig(phases=(PhaseConfig(directions=(A,)),))
    Curriculum(phases, {parse_direction(A): 5, parse_direction(B): 5})
    assert f"1 directions with bitext are in no phase, {B} among them" in caplog.text
