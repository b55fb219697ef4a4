import os
import re
from pathlib import Path

import ftfy.badness
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.config import load_config
from corpus.errors import UserError
from corpus.flores import read_split, split_languages
from corpus.protocols import Prediction
from corpus.split import iterate_sentences
from corpus.text import normalize
from mining.sentences.clean import boilerplate_reason, looks_bad, repair
from mining.sentences.config import FilterProfile, SentenceFilterConfig, SentencesConfig
from mining.sentences.filters import damage_reason, form_reason, language_reason
from mining.sentences.profiles import SCRIPT_PROFILES, Profiles

PROFILES = Profiles(SentenceFilterConfig())


def reason_for(text: str, language: str = "eng_Latn", profiles: Profiles = PROFILES) -> str:
    limits = profiles.of(language)
    return damage_reason(text, profiles) or form_reason(text, language, limits)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Home | News | Contact", "navigation"),
        ("Start > Shop > Cart", "navigation"),
        ("© 2026 Example", "notice"),
        ("https://example.org/a/very/long/path see", "link"),
        ("12.5.2026 – 14:30", "no_letters"),
        ("News", "fragment"),
        ("x" * (1 << 20) + "y", "overlong"),
        ("It is a sentence without a full stop", ""),
        ("Go!", ""),
        ("今天天气很好我们去公园吧", ""),
    ],
)
def test_boilerplate_is_known_by_its_form(line: str, reason: str) -> None:
    assert boilerplate_reason(line) == reason


@pytest.mark.parametrize("text", ["при свете дня", "été à la plage", "naïve façade"])
def test_mojibake_is_undone(text: str) -> None:
    assert repair(text.encode().decode("latin-1")) == text
    assert repair(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a b", "too_short"),
        ("word " * 300, "too_long"),
        ("Half a \ufffd character was lost.", "damaged_characters"),
        ("Click <a href='x'>here</a> for more.", "markup"),
        ("*** --- === +++ word ### ///", "few_letters"),
        ("Call 0123456789 or 0987654321 or so now please", "many_digits"),
        ("Noooooooooooooooo way, he said.", "repetition"),
        ("buy buy buy buy buy buy buy it now", "repetition"),
        ("Congratulations!", "few_words"),
        ("The key is " + "abcdefghij" * 9 + " today.", "long_word"),
        ("Он спит очень долго.", "wrong_script"),
        ("This is a sentence.", ""),
    ],
)
def test_form_is_rejected_for_a_reason(text: str, reason: str) -> None:
    assert reason_for(text) == reason


@pytest.mark.parametrize(
    ("language", "text", "reason"),
    [
        ("zho_Hans", "我爱你。", ""),
        ("zho_Hans", "今天天气很好" * 70, "too_long"),
        ("zho_Hans", "哈嘿哈嘿哈嘿哈嘿哈嘿", "repetition"),
        ("tha_Thai", "ภาษาไทยไม่มีช่องว่างระหว่างคำและประโยคนี้ยาวมากพอที่จะเป็นคำเดียวในภาษาอื่นที่มีช่องว่าง", ""),
        ("bod_Tibt", "ཁོང་གིས་དཔེ་ཆ་ཀློག་གི་འདུག", ""),
        ("amh_Ethi", "ይህ፡ቤት፡ትልቅ፡ነው።", ""),
        ("kor_Hang", "사랑해 너를.", ""),
        ("jpn_Jpan", "これは日本語の文です。", ""),
        ("jpn_Jpan", "Это не по-японски, а по-русски.", "wrong_script"),
    ],
)  # fmt: skip
def test_every_script_is_held_to_its_own_profile(language: str, text: str, reason: str) -> None:
    assert reason_for(text, language) == reason


def test_general_word_rules_would_reject_what_the_profile_keeps() -> None:
    assert reason_for("今天天气很好。", "zho_Hans") == ""
    spaced = PROFILES.of("zho_Hans")._replace(has_words=True)
    assert form_reason("今天天气很好。", "zho_Hans", spaced) == "few_words"


@pytest.mark.parametrize(
    ("overrides", "language", "least"),
    [
        ([], "tha_Thai", 6),
        (["filters.min_characters=9"], "tha_Thai", 9),
        (["filters.min_characters=9"], "zho_Hans", 4),
        (["filters.profiles.Thai.min_characters=11"], "tha_Thai", 11),
        (
            ["filters.profiles.Thai.min_characters=11",
             "filters.profiles.tha_Thai.min_characters=12"],
            "tha_Thai", 12,
        ),
    ],
)  # fmt: skip
def test_language_wins_over_script_over_built_in_over_general(
    overrides: list[str], language: str, least: int
) -> None:
    config = load_config(SentencesConfig, overrides=overrides)
    assert Profiles(config.filters).of(language).min_characters == least


def test_what_no_profile_keeps_is_rejected_before_identification() -> None:
    config = SentenceFilterConfig(profiles={"lao_Laoo": FilterProfile(max_characters=2000)})
    profiles = Profiles(config)
    assert profiles.least_characters == min(
        one.min_characters for one in SCRIPT_PROFILES.values() if one.min_characters
    )
    assert damage_reason("x" * 1500, profiles) == ""
    assert damage_reason("x" * 1500, PROFILES) == "too_long"


@pytest.mark.parametrize("key", ["Thay", "tha_Thay", "thai"])
def test_profile_of_nothing_known_is_refused(key: str) -> None:
    with pytest.raises(UserError, match=f"`{key}`"):
        load_config(SentencesConfig, overrides=[f"filters.profiles.{key}.min_words=1"])


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        (Prediction("und", 0.9), "unknown_language"),
        (Prediction("zxx", 0.9), "no_language"),
        (Prediction("eng_Latn", 0.3), "low_lid_score"),
        (Prediction("fra_Latn", 0.9), "other_language"),
        (Prediction("eng_Latn", 0.9), ""),
    ],
)
def test_language_is_rejected_for_a_reason(prediction: Prediction, reason: str) -> None:
    assert language_reason(prediction, frozenset({"eng_Latn"}), 0.5) == reason


def test_least_score_is_a_languages_own() -> None:
    config = load_config(SentencesConfig, overrides=["filters.profiles.ary_Arab.min_lid_score=0.9"])
    profiles = Profiles(config.filters)
    assert profiles.of("ary_Arab").min_lid_score == 0.9
    assert profiles.of("arz_Arab").min_lid_score == 0.5


DATA = os.environ.get("TONGUES_DATA")


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="TONGUES_DATA is not set")
def test_every_flores_language_survives_its_own_filters() -> None:
    assert DATA is not None
    directory = Path(DATA) / "flores200_dataset"
    languages = split_languages(directory, "devtest")
    assert len(languages) == 204
    kept = {}
    for language in languages:
        lines = read_split(directory, "devtest", [language])[language]
        survivors = [
            line
            for line in lines
            if not boilerplate_reason(repair(line))
            and not reason_for(normalize(repair(line)), language)
        ]
        kept[language] = len(survivors) / len(lines)
    assert {language: share for language, share in kept.items() if share < 0.97} == {}


SUSPECTS = "".join(re.findall(r"[^\x00-\x7f]", ftfy.badness.BADNESS_RE.pattern))


@settings(max_examples=500)
@given(st.text(alphabet=st.one_of(st.sampled_from(SUSPECTS), st.sampled_from("aZ .ßéüСО°Ù\xa0Ђ"))))
def test_bad_is_what_ftfy_calls_bad(text: str) -> None:
    assert looks_bad(text) == ftfy.badness.is_bad(text)


@pytest.mark.skipif(DATA is None, reason="TONGUES_DATA is not set")
def test_real_mojibake_of_all_kinds_is_seen_as_ftfy_sees_it() -> None:
    assert DATA is not None
    directory = Path(DATA) / "flores200_dataset"
    for language in ("rus_Cyrl", "fra_Latn", "ell_Grek", "arb_Arab", "hin_Deva", "lvs_Latn"):
        for line in read_split(directory, "dev", [language])[language][:40]:
            for encoding in ("latin-1", "cp1252", "cp1251", "cp1253", "cp1257", "mac_roman"):
                wrong = line.encode().decode(encoding, "replace")
                assert looks_bad(wrong) == ftfy.badness.is_bad(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "a" * 100_000 + "@" + "a" * 100_000,
        "." * 200_000,
        "!." * 100_000 + "x",
        "!" * 200_000 + "x",
        "é" * 200_000,
        "e.g. " * 40_000,
        "x" * 200_000 + ". y",
        "<a " * 60_000,
        "| " * 100_000,
    ],
)
def test_hostile_line_takes_no_time_above_its_length(line: str) -> None:
    # The square of its length would take minutes.
    assert repair(line) == line
    assert boilerplate_reason(line) in ("", "no_letters", "navigation")
    assert "".join(iterate_sentences(line)) == line


@pytest.mark.parametrize(
    ("line", "is_notice"),
    [
        ("© 2026 Example Ltd", True),
        ("Copyright (c) 2024 Foo Inc. All rights reserved.", True),
        ("Windows™ runs on most of the machines in the office.", False),
        ("The sign © stands for copyright and is old.", False),
        ("It rained all day long. " * 20 + "© 2024 dpa", False),
    ],
)
def test_a_sign_in_prose_is_no_notice(line: str, is_notice: bool) -> None:
    assert (boilerplate_reason(line) == "notice") is is_notice
