"""A bad model is called bad: by what it writes, and by its curves."""

from collections.abc import Sequence

import pytest

from nmt.training.curves import Curves, Validation
from nmt.training.report_page import render_training
from nmt.training.warning_signs import empty_share, is_loop, loop_share, warning_signs

ONE, OTHER = "qaa_Latn-qab_Latn", "qab_Latn-qaa_Latn"


def curves(training: Sequence[float] = (), **validation: Sequence[Validation]) -> Curves:
    reports = [{"Step": 10 * (i + 1), "NLL Loss": loss} for i, loss in enumerate(training)]
    return Curves(reports, {name.replace("__", "-"): own for name, own in validation.items()})


def of_losses(*losses: float) -> Sequence[Validation]:
    return [Validation(10 * (i + 1), loss, None) for i, loss in enumerate(losses)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the dog the dog the dog the dog the dog", True),
        ("\u0915\u0941\u0924\u094d\u0924\u093e " * 5, True),
        ("\u72d7\u5728\u8dd1\u6b65" * 6, True),
        ("ha ha ha ha", False),
        ("........................................", False),
        ("1 000 000 000 000 000 000 000 000 000", False),
        ("one two three two one three two one", False),
        ("", False),
    ],
)
def test_loops_are_told_from_laughter_dots_and_numbers(text: str, expected: bool) -> None:
    assert is_loop(text) is expected


def test_shares_are_of_all_translations() -> None:
    lines = ["", "  ", "a line", "a loop of words " * 5]
    assert empty_share(lines) == 0.5
    assert loop_share(lines) == 0.25
    assert empty_share([]) == loop_share([]) == 0


def test_direction_below_copying_is_named_and_whether_it_still_learns() -> None:
    learning = [Validation(10, 5.0, 3.0, 9.0, 0.0, 0.0), Validation(20, 4.0, 8.9, 9.0, 0.0, 0.0)]
    assert warning_signs(Curves([], {ONE: learning})) == [
        f"below copying the source after 20 updates: {ONE}. Validation still improves"
    ]
    stuck = [learning[0], Validation(20, 4.99, 8.9, 9.0, 0.0, 0.0)]
    both = {ONE: stuck, OTHER: [Validation(20, 4.99, 9.0, 9.0, 0.0, 0.0)]}
    (sign,) = warning_signs(Curves([], both))
    assert sign.startswith("below copying the source after 20 updates: 1 of 2 directions, and")


def test_translations_that_would_do_for_other_sources_are_not_aligned() -> None:
    def scored(chrf: float, others: float) -> Curves:
        return Curves([], {ONE: [Validation(20, 4.0, chrf, 9.0, 0.0, 0.0, others)]})

    # Copying is beaten by text that ignores its source.
    (sign,) = warning_signs(scored(20.0, 16.0))
    assert sign.startswith("translations fit other sources nearly as well as their own after 20")
    assert "smaller batches" in sign
    # As English to German on Multi30k after 250 updates.
    assert warning_signs(scored(22.3, 13.0)) == []


def test_empty_and_looping_translations_are_said_from_a_twentieth_on() -> None:
    few = {ONE: [Validation(10, 1.0, 9.0, 1.0, 0.04, 0.049)]}
    assert warning_signs(Curves([], few)) == []
    many = {ONE: [Validation(10, 1.0, 9.0, 1.0, 0.05, 0.5)]}
    assert warning_signs(Curves([], many)) == [
        "5% of the validation translations are empty",
        "50% of the validation translations repeat themselves",
    ]


def test_overfitting_is_a_loss_that_rose_twice_by_two_percent() -> None:
    (sign,) = warning_signs(curves(a__b=of_losses(3.0, 2.0, 2.02, 2.05)))
    assert sign.startswith("overfitting: validation was best after update 20.")
    assert warning_signs(curves(a__b=of_losses(3.0, 2.0, 2.02, 2.03))) == []
    assert warning_signs(curves(a__b=of_losses(3.0, 2.0, 2.5, 2.4))) == []
    assert warning_signs(curves(a__b=of_losses(2.0, 2.5))) == []


@pytest.mark.parametrize("losses", [(5.0, 3.0, 3.7), (5.0, 3.0, float("nan"))])
def test_training_loss_that_rises_by_a_fifth_or_is_lost_diverges(losses: Sequence[float]) -> None:
    (sign,) = warning_signs(curves(losses))
    assert sign.startswith("diverging: the training loss rises.")


def test_good_training_has_no_signs() -> None:
    good = [Validation(10, 3.0, 20.0, 9.0, 0.0, 0.0), Validation(20, 2.0, 40.0, 9.0, 0.0, 0.0)]
    both = Curves([{"Step": 10, "NLL Loss": 5.0}, {"Step": 20, "NLL Loss": 3.0}], {ONE: good})
    assert warning_signs(both) == []
    assert "What the curves say" not in render_training(both, title="x", updates=20)
    assert warning_signs(Curves([], {})) == []


def test_page_says_what_is_wrong() -> None:
    page = render_training(curves((5.0, 3.0, 4.0)), title="x", updates=30)
    assert "What the curves say" in page
    assert "diverging: the training loss rises" in page
