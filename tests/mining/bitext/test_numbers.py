import pytest

from mining.bitext.numbers import numbers_agree, numbers_of


def agree(source: str, target: str, *, words: bool = False) -> bool:
    return numbers_agree(source, target, 0.5, one_side_may_have_none=words)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("In 1987 it cost 1,234,567 kroner", ["1987", "1234567"]),
        ("1 234 567 or 1.234.567 or 1’234’567", ["1234567"] * 3),
        ("3.75 is 3,75", ["375", "375"]),
        ("وصل عام ١٩٨٧ و١٬٢٣٤", ["1987", "1234"]),
        ("साल १९८७ में", ["1987"]),
        ("ปี ๒๕๓๐", ["2530"]),
        ("在1987年", ["1987"]),
        ("3arabi F16 a7 5", []),
        ("10:30", ["10", "30"]),
    ],
)
def test_numbers_are_read_in_every_script_and_format(text: str, numbers: list[str]) -> None:
    assert sorted(numbers_of(text).elements()) == sorted(numbers)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("It was built in 1987.", "بُني عام ١٩٨٧."),
        ("15,000 people came", "有1.5万人来了"),
        ("It cost 1,250,000 dollars", "Es kostete 1.250.000 Dollar"),
        ("since 2011", "منذ 1432ه"),
        ("in 1987", "ในปี 2530"),
        ("He has 12 dogs", "Il a douze chiens"),
        ("No number", "Keine Zahl"),
    ],
)
def test_true_translations_agree(source: str, target: str) -> None:
    assert agree(source, target)
    assert agree(target, source)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("It was built in 1987.", "Es wurde 1988 gebaut."),
        ("It was built in 1987.", "Es wurde gebaut."),
        ("Room 1234 and room 5678", "Zimmer 1234"),
    ],
)
def test_near_misses_do_not(source: str, target: str) -> None:
    assert agree(source, target) is (source.count("Room") == 1)
    assert agree(target, source) is agree(source, target)


def test_number_that_one_side_has_in_words_is_no_reason_where_that_is_usual() -> None:
    assert agree("It was built in 1987.", "waga kelen ni", words=True)
    assert not agree("It was built in 1987.", "san 1999 la", words=True)
