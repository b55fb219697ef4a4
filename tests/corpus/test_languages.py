"""Codes, names and directions."""

import itertools
import logging

import iso639
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import UserError
from corpus.language_names import read_alias_table
from corpus.language_registry import script_names
from corpus.languages import (
    Direction,
    check_language,
    find_language,
    is_language,
    known_languages,
    language_aliases,
    language_choices,
    parse_direction,
    parse_directions,
    parse_language,
    same_language,
)

ISO = sorted({one.part3 for one in iso639.ALL_LANGUAGES} - {"und", "zxx", "mul", "mis"})
SCRIPTS = sorted(set(script_names()) - {"Qaag"})

FLORES_PLUS = [
    "arg_Latn",
    "arn_Latn",
    "brx_Deva",
    "cat_Latn_vale1252",
    "chv_Cyrl",
    "cmn_Hans",
    "cmn_Hant",
    "dar_Cyrl",
    "dgo_Deva",
    "ekk_Latn",
    "fil_Latn",
    "gom_Deva",
    "gug_Latn",
    "kaa_Latn",
    "khk_Mong",
    "ktu_Latn",
    "lld_Latn",
    "lld_Latn_gard1241",
    "mhr_Cyrl",
    "mni_Mtei",
    "myv_Cyrl",
    "nob_Latn_radical",
    "nqo_Nkoo",
    "oci_Latn_aran1260",
    "snd_Deva",
    "twi_Latn_akua1239",
    "twi_Latn_asan1239",
    "apc_Arab_nort3139",
    "apc_Arab_sout3123",
    "tyv_Cyrl",
    "vmw_Latn",
    "wuu_Hans",
    "zgh_Tfng",
]
"""Codes of FLORES+ that FLORES-200 lacks: README and dataset cards of openlanguagedata/flores, and
assets/map/flores.json of cisnlp/GlotLID at e3092dc."""


def test_the_table_holds_the_204_texts_of_flores_200() -> None:
    assert len(known_languages()) == 204
    assert known_languages()["ckb_Arab"].name == "Central Kurdish"
    assert list(known_languages()) == sorted(known_languages())


def test_there_are_all_of_iso_639_3_and_15924() -> None:
    assert len(ISO) > 8300
    assert len(SCRIPTS) > 220


@given(st.sampled_from(ISO), st.sampled_from(SCRIPTS), st.sampled_from(["", "_asan1239", "_1994"]))
def test_every_language_in_every_script_is_one(iso: str, script: str, variety: str) -> None:
    code = f"{iso}_{script}{variety}"
    language = parse_language(code)
    assert (language.code, language.iso, language.script) == (code, iso, script)
    assert f"_{language.variety}" == variety or not variety
    assert language.name
    assert parse_language(code.upper()).code == code
    assert parse_language(code.replace("_", "-").lower()).code == code
    assert same_language(code, code)
    assert parse_direction(f"{code}-eng_Latn") == Direction(code, "eng_Latn")


@pytest.mark.parametrize(
    "code",
    [
        "xxx_Latn",
        "eng_Lant",
        "eng_latn",
        "engLatn",
        "eng_Latn_x",
        "eng_Latn_Asan1239",
        "und_Latn",
        "zxx_Zxxx",
        "en",
        "qua_latn",
        "eng_Latn-",
        "_Latn",
        "eng_",
    ],
)
def test_what_iso_does_not_have_is_no_language(code: str) -> None:
    assert not is_language(code)


@pytest.mark.parametrize("code", ["qaa_Latn", "qtz_Mymr"])
def test_private_use_codes_are_languages(code: str) -> None:
    assert check_language(code).script == code[4:]
    assert check_language(code).family == "unknown"


def test_names_say_what_tells_texts_of_a_language_apart() -> None:
    assert check_language("bre_Latn").name == "Breton"
    assert check_language("snd_Deva").name == "Sindhi (Devanagari script)"
    assert check_language("twi_Latn_asan1239").name == "Twi (asan1239)"
    assert check_language("ekk_Latn").family == "Uralic"
    assert check_language("tyv_Cyrl").family == "unknown"


@pytest.mark.parametrize("code", FLORES_PLUS)
def test_codes_of_flores_plus_are_languages(code: str) -> None:
    assert is_language(code)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("en", "eng_Latn"),
        ("eng", "eng_Latn"),
        ("fre", "fra_Latn"),
        ("br", "bre_Latn"),
        ("tyv", "tyv_Cyrl"),
        ("zh-CN", "zho_Hans"),
        ("zh_Hant", "zho_Hant"),
        ("zh-Hant-HK", "zho_Hant"),
        ("zho_simpl", "zho_Hans"),
        ("pt-BR", "por_Latn"),
        ("be@latin", "bel_Latn"),
        ("sr_Latn", "srp_Latn"),
        ("az-IR", "azb_Arab"),
        ("uz_Cyrl", "uzn_Cyrl"),
        ("iw", "heb_Hebr"),
        ("sw", "swh_Latn"),
        ("fa", "pes_Arab"),
        ("ps", "pbt_Arab"),
        ("ar", "arb_Arab"),
        ("lu", "lub_Latn"),
        ("ekk", "ekk_Latn"),
        ("est", "est_Latn"),
        ("ENG_LATN", "eng_Latn"),
        ("French", "fra_Latn"),
    ],
)
def test_names_that_mean_one_language_are_understood(
    text: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert parse_language(text).code == code


def test_what_a_name_is_taken_for_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        parse_language("gsw")
    (record,) = caplog.records
    assert record.getMessage() == "`gsw` is taken for gsw_Latn (Swiss German)"


@pytest.mark.parametrize(
    "text", ["zh", "sr", "no", "az", "uz", "pa", "ku", "mn", "ak", "sh", "ace", "kas", "nor", "zho"]
)
def test_names_that_mean_several_languages_are_refused_with_the_choices(text: str) -> None:
    with pytest.raises(UserError, match=f"`{text}` may mean `") as error:
        parse_language(text)
    assert all(f"`{choice}` (" in str(error.value) for choice in language_choices(text))


@pytest.mark.parametrize("text", ["xx", "foo", "", "-", "und", "zxx", "english please", "ze_zh"])
def test_what_names_no_language_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a language code"):
        parse_language(text)


@pytest.mark.parametrize(
    ("code", "guess"),
    [
        ("en", "Did you mean `eng_Latn` (English)?"),
        ("no", "Did you mean `nno_Latn` (Norwegian Nynorsk) or `nob_Latn` (Norwegian Bokmål)?"),
        ("zh-CN", "Did you mean `zho_Hans` (Chinese (simplified))?"),
        ("ENG_LATN", "Did you mean `eng_Latn` (English)?"),
        ("eng_Lant", "Did you mean `eng_Latn` (English)?"),
    ],
)
def test_what_is_no_code_is_refused_with_a_guess(code: str, guess: str) -> None:
    with pytest.raises(UserError, match="is not a language code") as error:
        check_language(code)
    assert guess in str(error.value)


def test_every_alias_means_languages_that_there_are() -> None:
    for name, codes in read_alias_table().items():
        assert codes
        assert all(map(is_language, codes)), name
        if is_language(name):  # a renamed code
            assert len(codes) == 1
            assert codes[0] in known_languages()
            assert name not in known_languages()
    aliases = language_aliases()
    assert all(map(is_language, set().union(*aliases.values())))
    for code in known_languages():
        assert aliases[code.casefold()] == {code}
        assert code in language_choices(code[:3]) or code == "arb_Latn"


def test_aliases_and_iso_639_1_never_contradict() -> None:
    """A two-letter code means the same as its three-letter one, or a member of that."""
    for one in iso639.ALL_LANGUAGES:
        if one.part1 and one.scope == "I" and one.part3 not in ("zho", "srp", "pan"):
            assert language_choices(one.part1) == language_choices(one.part3), one.part1
        if one.part2b:
            assert language_choices(one.part2b) == language_choices(one.part3), one.part2b


RENAMED = [
    ("zho_Hans", "cmn_Hans"),
    ("zho_Hant", "cmn_Hant"),
    ("est_Latn", "ekk_Latn"),
    ("grn_Latn", "gug_Latn"),
    ("kon_Latn", "ktu_Latn"),
    ("tgl_Latn", "fil_Latn"),
    ("tzm_Tfng", "zgh_Tfng"),
    ("aka_Latn", "twi_Latn_asan1239"),
    ("twi_Latn", "twi_Latn_akua1239"),
    ("ajp_Arab", "apc_Arab_sout3123"),
    ("apc_Arab", "apc_Arab_nort3139"),
]
"""CHANGELOG of FLORES+, openlanguagedata/flores at 39f541f."""


@pytest.mark.parametrize(("before", "after"), RENAMED)
def test_what_flores_plus_renamed_is_one_language(before: str, after: str) -> None:
    assert same_language(before, after)
    assert same_language(after, before)
    assert find_language(after, ["eng_Latn", before]) == before
    assert find_language(before, ["eng_Latn", after]) == after


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fas_Arab", "pes_Arab"),
        ("doi_Deva", "dgo_Deva"),
        ("mon_Cyrl", "khk_Cyrl"),
        ("mol_Latn", "ron_Latn"),
        ("kor_Kore", "kor_Hang"),
        ("pus_Arab", "pbt_Arab"),
    ],
)
def test_macrolanguages_are_their_main_member(one: str, other: str) -> None:
    assert same_language(one, other)


def test_languages_of_flores_200_are_all_different() -> None:
    for one, other in itertools.combinations(known_languages(), 2):
        assert not same_language(one, other)
    assert not same_language("cmn_Hans", "zho_Hant")
    assert not same_language("nob_Latn", "nob_Latn_radical")
    assert not same_language("bre_Latn", "cym_Latn")


def test_a_language_under_several_other_names_is_not_chosen() -> None:
    assert find_language("fas_Arab", ["pes_Arab", "fas_Arab"]) == "fas_Arab"
    assert find_language("swa_Latn", ["swh_Latn", "swc_Latn"]) == "swh_Latn"
    assert find_language("cmn_Hans", ["zho_Hans", "zho_Hans"]) == "zho_Hans"
    assert find_language("fil_Latn", ["bre_Latn"]) is None


def test_direction_is_ordered_and_prints_as_written() -> None:
    direction = parse_direction("eng_Latn-fra_Latn")
    assert direction == Direction("eng_Latn", "fra_Latn")
    assert str(direction) == "eng_Latn-fra_Latn"
    assert str(direction.reverse) == "fra_Latn-eng_Latn"


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("en-fr", "eng_Latn-fra_Latn"),
        ("zh-Hans-en", "zho_Hans-eng_Latn"),
        ("en-pt_BR", "eng_Latn-por_Latn"),
        ("eng_Latn-tyv_Cyrl", "eng_Latn-tyv_Cyrl"),
        ("cmn_Hans-twi_Latn_asan1239", "cmn_Hans-twi_Latn_asan1239"),
    ],
)
def test_directions_are_understood(text: str, direction: str) -> None:
    assert str(parse_direction(text)) == direction


@pytest.mark.parametrize(
    "text",
    ["eng_Latn", "eng_Latn-xxx_Latn", "eng_Latn_fra_Latn", "en-zh", "en-pt-BR", "", "-", "a-b-c"],
)
def test_what_is_no_direction_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_direction(text)


def test_list_of_directions_keeps_order_and_drops_repeats() -> None:
    text = "fra_Latn-eng_Latn, eng_Latn-fra_Latn,fr-en,"
    assert [str(d) for d in parse_directions(text)] == ["fra_Latn-eng_Latn", "eng_Latn-fra_Latn"]
