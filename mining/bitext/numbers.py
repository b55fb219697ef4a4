"""Whether two sides of a pair have the same numbers, in any script.

A mined pair whose sides differ in a number only is the commonest kind of near miss (the number
replacements of xsim++: Chen et al. 2023, section 3).
"""

import unicodedata
from collections import Counter

import regex

# Not after a Latin letter, where digits are letters in disguise ("3arabi") or names ("F16"); groups
# of three are one number, however they are set off.
_NUMBER = regex.compile(
    r"(?<![\p{Latin}\p{Nd}])\p{Nd}+(?:[.,'’٫٬\u00a0\u202f ]\p{Nd}{3}(?!\p{Nd}))*(?:[.,٫]\p{Nd}+)?"
)
_MIN_DIGITS = 2
_MIN_COMPARED = 3
_YEAR_DIGITS = 4
_HIJRI_YEARS = range(1300, 1501)
_BUDDHIST_YEARS = range(2400, 2601)
_BUDDHIST_OFFSET = 543


def numbers_of(text: str) -> Counter[str]:
    """Count the numbers of a text of two or more digits, as ASCII digits without separators.

    Single digits are left out: languages often write small numbers as words.
    """
    found: Counter[str] = Counter()
    for match in _NUMBER.findall(text):
        digits = "".join(
            str(unicodedata.digit(character))
            for character in match
            if unicodedata.category(character) == "Nd"
        )
        if len(digits) >= _MIN_DIGITS:
            found[digits] += 1
    return found


def numbers_agree(
    source: str, target: str, min_agreement: float, *, one_side_may_have_none: bool = False
) -> bool:
    """Say whether enough digits of the side with more of them are in numbers the other has too.

    Args:
        source: One side.
        target: The other side.
        min_agreement: Least `number_agreement`, in [0, 1].
        one_side_may_have_none: Compare only pairs with numbers on both sides, for languages that
            write numbers as words.
    """
    agreement = number_agreement(source, target, one_side_may_have_none=one_side_may_have_none)
    return agreement >= min_agreement


def number_agreement(source: str, target: str, *, one_side_may_have_none: bool = False) -> float:
    """Return the share of the digits of the side with more that are in numbers of both.

    agreement = digits in common numbers / digits of the side with more

    Zeros at either end do not count, so that 15,000, 15 thousand and 1.5万 agree. Years of the
    Hijri and the Buddhist calendar are also tried in the common one. Pairs with fewer than three
    such digits agree, with 1.
    """
    left, right = numbers_of(source), numbers_of(target)
    if not left and not right:
        return 1.0
    left_cores, right_cores = _cores(left), _cores(right)
    most = max(_digits(left_cores), _digits(right_cores))
    if most < _MIN_COMPARED or (one_side_may_have_none and not (left and right)):
        return 1.0
    common = _digits(left_cores & right_cores)
    if common < most:
        common += _digits(_common_years(left, right) + _common_years(right, left))
    return min(common / most, 1.0)


def _cores(numbers: Counter[str]) -> Counter[str]:
    cores: Counter[str] = Counter()
    for digits, count in numbers.items():
        cores[digits.strip("0") or "0"] += count
    return cores


def _digits(numbers: Counter[str]) -> int:
    return sum(len(digits) * count for digits, count in numbers.items())


def _common_years(numbers: Counter[str], others: Counter[str]) -> Counter[str]:
    """Return the years of another calendar that the other side has in the common one."""
    return Counter(
        {
            digits: count
            for digits, count in numbers.items()
            if any(year in others for year in _common_era(digits))
        }
    )


def _common_era(digits: str) -> tuple[str, ...]:
    """Return what a year of the Hijri or the Buddhist calendar may be in the common one."""
    year = int(digits) if len(digits) == _YEAR_DIGITS else 0
    if year in _HIJRI_YEARS:
        # A Hijri year has 354 days and begins within a common one: (AH × 0.97) + 622, give or take.
        begins = int(year * 0.970224 + 621.5774)
        return (str(begins - 1), str(begins), str(begins + 1))
    if year in _BUDDHIST_YEARS:
        return (str(year - _BUDDHIST_OFFSET),)
    return ()
