import json
import math

from nmt.training.curves import Curves, Validation
from nmt.training.report_page import render_training
from nmt.training.summary import summarize

DIRECTION = "qaa_Latn-qab_Latn"


def report(update: int, **values: float) -> dict[str, float]:
    return {"Step": update, "Loss": 3.0, "NLL Loss": 2.5, **values}


def example() -> Curves:
    gates = {
        f"gate_{figure}/{layer}": value
        for layer in ("decoder.layers.1", "encoder.layers.11", "encoder.layers.3")
        for figure, value in (("entropy", 0.875), ("dropped", 0.125))
    }
    return Curves(
        [
            report(10, tokens_per_second=100.0, mfu=0.2, skipped_updates=0, **gates),
            report(20, tokens_per_second=300.0, mfu=0.4, skipped_updates=3, **gates),
        ],
        {
            DIRECTION: [Validation(10, 2.0, 40.0), Validation(20, 3.0, 38.0)],
            "qab_Latn-qaa_Latn": [Validation(10, 4.0, None), Validation(20, math.nan, None)],
        },
    )


def test_summary_names_the_best_validation_of_each_direction() -> None:
    summary = summarize(example())
    assert summary["update"] == 20
    assert (summary["tokens_per_second"], summary["skipped_updates"]) == (200.0, 3)
    assert summary["best"] == {
        "nll": {"update": 10, "mean": 3.0},
        "chrf++": {"update": 10, "mean": 40.0},
    }
    assert summary["validation"][DIRECTION] == {
        "nll": 3.0,
        "chrf": 38.0,
        "copying": None,
        "empty": None,
        "looping": None,
        "of_other_sources": None,
        "best_nll": 2.0,
        "best_nll_update": 10,
        "best_chrf": 40.0,
        "best_chrf_update": 10,
    }


def test_summary_is_strict_json_also_where_training_diverged() -> None:
    curves = Curves([{"Step": 10, "Loss": math.nan, "NLL Loss": math.inf}], example().validation)
    summary = summarize(curves)
    assert summary["loss"] is None
    assert summary["validation"]["qab_Latn-qaa_Latn"]["nll"] is None
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_page_draws_every_direction_and_every_layer_encoder_first() -> None:
    page = render_training(example(), title="tiny <b>", updates=30)
    assert "tiny &lt;b&gt;: update 20 of 30" in page
    for direction in example().validation:
        assert f"<b>{direction}</b>" in page
    places = [
        page.index(f">{layer}<")
        for layer in ("encoder.layers.3", "encoder.layers.11", "decoder.layers.1")
    ]
    assert places == sorted(places)
    assert ">88<" in page  # 87.5 % of even
    assert "nan" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_page_of_a_training_without_reports_says_so() -> None:
    page = render_training(Curves([], {}), title="tiny", updates=30)
    assert "update 0 of 30" in page
    assert "Nothing was measured" in page
    assert "No direction was validated" in page


def test_page_of_two_thousand_directions_is_of_bearable_size() -> None:
    validations = [Validation(10 * i, 2.0, None) for i in range(1, 31)]
    curves = Curves([report(10)], {f"d{i}": validations for i in range(2000)})
    assert len(render_training(curves, title="large", updates=300)) < 3_000_000
