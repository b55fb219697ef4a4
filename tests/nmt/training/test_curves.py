import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError
from nmt.training.curves import Validation, forget_after, mean_scores, read_curves, stopped_at


def write_metrics(training: Path, name: str, *records: dict[str, object], cut: str = "") -> Path:
    path = training / "metrics" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(record) + "\n" for record in records)
    path.write_text(text + cut, encoding="utf-8")
    return path


def validation(update: int, nll: float, chrf: float | None = None) -> dict[str, object]:
    record: dict[str, object] = {"Time": "now", "Step": update, "NLL Loss": nll}
    return record if chrf is None else {**record, "chrF++": chrf}


def test_curves_hold_what_the_files_say_and_no_half_written_line(tmp_path: Path) -> None:
    write_metrics(tmp_path, "train", {"Step": 10, "Loss": 3.0}, cut='{"Step": 20, "Lo')
    write_metrics(tmp_path, "valid/qaa_Latn-qab_Latn", validation(10, 2.0, 30.0), validation(20, 1))
    curves = read_curves(tmp_path)
    assert curves.training == [{"Step": 10, "Loss": 3.0}]
    assert curves.validation == {
        "qaa_Latn-qab_Latn": [Validation(10, 2.0, 30.0), Validation(20, 1.0, None)]
    }


def test_training_without_reports_has_empty_curves(tmp_path: Path) -> None:
    curves = read_curves(tmp_path)
    assert (curves.training, curves.validation) == ([], {})


@pytest.mark.parametrize("line", ["no json", "[]", '{"Loss": 1.0}', '{"Step": "ten"}'])
def test_line_that_is_no_report_is_named(tmp_path: Path, line: str) -> None:
    path = write_metrics(tmp_path, "train", {"Step": 10}, cut=f"{line}\n")
    with pytest.raises(DataError, match=r"train\.jsonl:2 is not a report"):
        read_curves(tmp_path)
    assert path.exists()


def test_reports_after_the_last_checkpoint_are_forgotten_and_no_other(tmp_path: Path) -> None:
    train = write_metrics(tmp_path, "train", {"Step": 10}, {"Step": 20}, {"Step": 30}, cut='{"St')
    whole = write_metrics(tmp_path, "valid/qaa_Latn-qab_Latn", validation(20, 1.5))
    before = (whole.read_bytes(), whole.stat().st_ino)
    forget_after(tmp_path, 20)
    assert [json.loads(line)["Step"] for line in train.read_text().splitlines()] == [10, 20]
    assert (whole.read_bytes(), whole.stat().st_ino) == before


def test_score_is_the_mean_over_directions(tmp_path: Path) -> None:
    write_metrics(tmp_path, "valid/qaa_Latn-qab_Latn", validation(10, 2.0, 30.0))
    write_metrics(tmp_path, "valid/qab_Latn-qaa_Latn", validation(10, 4.0, 50.0))
    write_metrics(tmp_path, "valid/qaa_Latn-qac_Cyrl", validation(10, 6.0))
    curves = read_curves(tmp_path)
    assert mean_scores(curves, "nll") == [(10, -4.0)]
    assert mean_scores(curves, "chrf++") == [(10, 40.0)]  # of the two that were translated


def test_training_stops_after_so_many_validations_without_a_better_one() -> None:
    scores = [(10, 1.0), (20, 3.0), (30, 2.0), (40, 3.0), (50, 4.0)]
    assert stopped_at(scores, 0) is None
    assert stopped_at(scores, 1) == 30
    assert stopped_at(scores, 2) == 40  # an equal score is no better one
    assert stopped_at(scores, 3) is None


def test_score_that_is_not_a_number_is_no_better_than_any() -> None:
    nan = float("nan")
    assert stopped_at([(10, nan), (20, nan)], 2) == 20
    assert stopped_at([(10, 1.0), (20, nan), (30, 2.0)], 2) is None


@given(
    scores=st.lists(st.floats(allow_nan=True), max_size=12),
    patience=st.integers(0, 4),
    interrupted=st.integers(0, 12),
)
def test_interrupted_training_stops_where_an_undisturbed_one_does(
    scores: list[float], patience: int, interrupted: int
) -> None:
    curve = [(10 * (i + 1), score) for i, score in enumerate(scores)]
    whole = stopped_at(curve, patience)
    # Whoever reads only a beginning of the curve stops at the same place, or not yet.
    assert stopped_at(curve[:interrupted], patience) in (whole, None)
