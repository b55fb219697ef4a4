"""Labels of other identifiers."""

from importlib import resources
from pathlib import Path

import iso639
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError
from corpus.languages import is_language, known_languages
from lid.labels import map_label, map_labels, read_label_table

ISO = sorted({one.part3 for one in iso639.ALL_LANGUAGES} - {"und", "zxx", "mul", "mis"})

WIKIPEDIA_LABELS = """
af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co
cs cv cy da de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif
hr hsb ht hu hy ia id ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo
lrc lt lv mai mg mhr min mk ml mn mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no oc or os
pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn sco sd sh si sk sl so sq sr su sv sw ta te
tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu xal xmf yi yo yue zh
"""
"""Labels of lid.176, from fasttext.cc/docs/en/language-identification.html."""

OPENLID_2_RENAMED = {
    "cmn_Hans": "zho_Hans",
    "cmn_Hant": "zho_Hant",
    "ekk_Latn": "est_Latn",
    "fil_Latn": "tgl_Latn",
    "gug_Latn": "grn_Latn",
    "ktu_Latn": "kon_Latn",
    "zgh_Tfng": "tzm_Tfng",
}
"""All labels of OpenLID-v2's model card that are not FLORES-200 codes."""


def read_rows() -> list[list[str]]:
    text = (resources.files("lid") / "labels.tsv").read_text(encoding="utf-8")
    header, *lines = text.removesuffix("\n").split("\n")
    assert header.split("\t") == ["label", "language", "note"]
    return [line.split("\t") for line in lines]


def test_table_is_sorted_and_holds_each_label_once() -> None:
    labels = [label for label, _, _ in read_rows()]
    assert labels == sorted(set(labels))


def test_table_answers_with_known_languages_only() -> None:
    assert all(is_language(code) or code == "und" for code in read_label_table().values())


def test_table_does_not_repeat_or_contradict_flores_codes() -> None:
    assert not set(read_label_table()) & set(known_languages())


def test_table_says_why_a_label_needs_a_row() -> None:
    assert all(note for _, _, note in read_rows())


def test_table_never_maps_across_scripts() -> None:
    covers = {"Hani": {"Hans", "Hant"}, "Kore": {"Hang"}}
    for label, language in read_label_table().items():
        if "_" in label and language != "und":
            script = label.split("_")[1]
            assert language.split("_")[1] in covers.get(script, {script}), label


def test_each_flores_code_maps_to_itself() -> None:
    assert len(known_languages()) == 204
    assert all(map_label(code) == code for code in known_languages())
    assert all(map_label(f"__label__{code}") == code for code in known_languages())


def test_all_176_wikipedia_labels_are_decided() -> None:
    labels = WIKIPEDIA_LABELS.split()
    assert len(set(labels)) == 176
    assert {label for label in read_label_table() if "_" not in label} < set(labels)
    assert [label for label in labels if map_label(label) is None] == ["nah"]
    assert all(is_language(map_label(label) or "eng_Latn") for label in labels)


def test_no_two_wikipedia_labels_mean_the_same_language() -> None:
    languages = [map_label(label) for label in WIKIPEDIA_LABELS.split()]
    mapped = [language for language in languages if language]
    assert len(mapped) == len(set(mapped)) == 175


@pytest.mark.parametrize(
    ("label", "language"),
    [
        ("en", "eng_Latn"), ("zh", "zho_Hans"), ("no", "nob_Latn"), ("nn", "nno_Latn"),
        ("ar", "arb_Arab"), ("arz", "arz_Arab"), ("az", "azj_Latn"), ("azb", "azb_Arab"),
        ("ku", "kmr_Latn"), ("ckb", "ckb_Arab"), ("ms", "zsm_Latn"), ("tl", "tgl_Latn"),
        ("br", "bre_Latn"), ("tyv", "tyv_Cyrl"), ("sco", "sco_Latn"), ("eml", "eml_Latn"),
        ("sh", "hbs_Latn"), ("bh", "bho_Deva"), ("yi", "ydd_Hebr"), ("mn", "khk_Cyrl"),
        ("yue", "yue_Hant"),
    ],
)  # fmt: skip
def test_wikipedia_label_finds_its_flores_code(label: str, language: str) -> None:
    assert map_label(label) == map_label(f"__label__{label}") == language


def test_alemannic_is_not_taken_for_albanian() -> None:
    assert map_label("__label__als") == "gsw_Latn"
    assert map_label("__label__sq") == "als_Latn"
    assert map_label("__label__als_Latn") == "als_Latn"


@pytest.mark.parametrize(
    "label",
    [
        "bre_Latn", "tyv_Cyrl", "hbs_Latn", "srp_Latn", "uzn_Cyrl", "kpe_Latn", "doi_Deva",
        "lat_Latn", "sdc_Latn", "twi_Latn", "wuu_Hani", "ajp_Arab", "asm_Latn", "ain_Latn",
    ],
)  # fmt: skip
def test_labels_of_glotlid_outside_flores_mean_themselves(label: str) -> None:
    assert map_label(label) == label


def glotlid_labels() -> list[str]:
    rows = (Path(__file__).parent / "glotlid_labels.txt").read_text().split("\n")
    pairs = (row.split(": ") for row in rows if row and not row.startswith("#"))
    return [f"{code}_{script}" for script, codes in pairs for code in codes.split()]


def test_every_language_of_glotlid_is_answered_but_two_groups_of_languages() -> None:
    labels = glotlid_labels()
    assert len(labels) == len(set(labels)) > 1_900
    answers = {label: map_label(label) for label in labels}
    # ISO 639-5 has them, as groups: Nahuatl and Otomian languages.
    assert [label for label, answer in answers.items() if answer is None] == [
        "nah_Latn", "oto_Latn",
    ]  # fmt: skip
    assert all(is_language(answer) for answer in answers.values() if answer)


@given(st.sampled_from(ISO), st.sampled_from(["Latn", "Cyrl", "Arab", "Hani", "Tfng"]))
def test_every_code_is_answered_in_its_script(iso: str, script: str) -> None:
    answer = map_label(f"__label__{iso}_{script}")
    assert answer is not None
    assert answer[4:] == script or (script, answer[4:]) in {("Hani", "Hans"), ("Hani", "Hant")}


@pytest.mark.parametrize(("label", "language"), OPENLID_2_RENAMED.items())
def test_openlid_label_finds_its_flores_code(label: str, language: str) -> None:
    assert map_label(label) == language


@pytest.mark.parametrize(
    ("label", "language"),
    [
        ("ara_Arab", "arb_Arab"), ("zho_Hani", "zho_Hans"), ("cmn_Hani", "zho_Hans"),
        ("fas_Arab", "pes_Arab"), ("swa_Latn", "swh_Latn"), ("nor_Latn", "nob_Latn"),
        ("sqi_Latn", "als_Latn"), ("orm_Latn", "gaz_Latn"), ("kor_Kore", "kor_Hang"),
    ],
)  # fmt: skip
def test_macrolanguage_finds_its_member_in_flores(label: str, language: str) -> None:
    assert map_label(label) == language


@pytest.mark.parametrize(
    "label", ["", "__label__", "und", "und_Xsux", "zxx_Latn", "EN", "positive", "xyz_Latn", "nah"]
)
def test_label_of_no_language_has_no_answer(label: str) -> None:
    assert map_label(label) is None


def test_each_label_of_a_model_gets_an_answer() -> None:
    labels = ["__label__eng_Latn", "__label__cmn_Hani", "__label__lat_Latn", "__label__und_Xsux"]
    special = ["__label__zxx_Latn", "__label__zxx_Zxxx", "__label__zxx"]
    assert map_labels(labels + special) == {
        "__label__eng_Latn": "eng_Latn",
        "__label__cmn_Hani": "zho_Hans",
        "__label__lat_Latn": "lat_Latn",
        "__label__und_Xsux": "und",
        **dict.fromkeys(special, "zxx"),
    }


def test_labels_of_something_else_are_refused_with_examples() -> None:
    with pytest.raises(DataError, match=r"1 of the model's 3 labels .*`__label__positive`"):
        map_labels(["__label__positive", "__label__negative", "__label__en"])
    with pytest.raises(DataError, match="first labels: none"):
        map_labels([])
