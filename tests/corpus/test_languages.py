"""Codes and directions."""

import pytest

from corpus.errors import UserError
from corpus.languages import (
    Direction,
    check_language,
    known_languages,
    language_aliases,
    parse_direction,
    parse_directions,
)


def test_the_table_holds_the_204_texts_of_flores_200() -> None:
    assert len(known_languages()) == 204
    assert known_languages()["ckb_Arab"].name == "Central Kurdish"
    assert list(known_languages()) == sorted(known_languages())


@pytest.mark.parametrize("code", ["qaa_Latn", "qtz_Mymr"])
def test_private_use_codes_are_languages(code: str) -> None:
    assert check_language(code).script == code[4:]


@pytest.mark.parametrize(
    ("code", "guess"),
    [
        ("eng", "`eng_Latn`"),
        ("zho_Latn", "`zho_Hans`, `zho_Hant`"),
        ("qua_Latn", "Did you mean"),
        ("en", "Did you mean `eng_Latn`?"),
        ("nor_Latn", "Did you mean `nno_Latn`, `nob_Latn`?"),
        ("no", "Did you mean `nno_Latn`, `nob_Latn`?"),
        ("fas_Arab", "Did you mean `pes_Arab`, `prs_Arab`?"),
        ("fil_Latn", "Did you mean `tgl_Latn`?"),
        ("cmn_Hans", "Did you mean `zho_Hans`?"),
        ("ekk_Latn", "Did you mean `est_Latn`?"),
        ("zh-CN", "Did you mean `zho_Hans`?"),
        ("ENG_LATN", "Did you mean `eng_Latn`?"),
        ("rus_Latn", "Did you mean `rus_Cyrl`?"),
        ("French", "Did you mean `fra_Latn`?"),
    ],
)
def test_unknown_code_is_refused_with_a_guess(code: str, guess: str) -> None:
    with pytest.raises(UserError, match="is not a FLORES-200 language code") as error:
        check_language(code)
    assert guess in str(error.value)


def test_every_alias_names_languages_that_there_are() -> None:
    aliases = language_aliases()
    assert set().union(*aliases.values()) == set(known_languages())
    for code in known_languages():
        assert code in aliases[code[:3]] | aliases[code.casefold()]


def test_direction_is_ordered_and_prints_as_written() -> None:
    direction = parse_direction("eng_Latn-fra_Latn")
    assert direction == Direction("eng_Latn", "fra_Latn")
    assert str(direction) == "eng_Latn-fra_Latn"
    assert str(direction.reverse) == "fra_Latn-eng_Latn"


@pytest.mark.parametrize("text", ["eng_Latn", "eng_Latn-xxx_Latn", "eng_Latn_fra_Latn"])
def test_what_is_no_direction_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_direction(text)


def test_list_of_directions_keeps_order_and_drops_repeats() -> None:
    text = "fra_Latn-eng_Latn, eng_Latn-fra_Latn,fra_Latn-eng_Latn,"
    assert [str(d) for d in parse_directions(text)] == ["fra_Latn-eng_Latn", "eng_Latn-fra_Latn"]
