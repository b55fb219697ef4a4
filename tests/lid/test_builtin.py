import importlib.util
import io
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import UserError
from corpus.languages import is_language
from corpus.protocols import BUILTIN, IdentifierOptions, builtin_files
from lid.load import load_identifier
from tongues import main

if importlib.util.find_spec("pycld2") is None:
    pytest.skip("the extra `cld2` is not installed", allow_module_level=True)

from lid.builtin import BuiltinIdentifier

BRETON = "Demat deoc'h, penaos emañ kont ganeoc'h hiziv e Breizh?"


def answers(*lines: str, **options: Any) -> list[str]:
    return [one.language for one in BuiltinIdentifier(**options).identify(lines)]


def test_a_language_outside_flores_200_is_identified_without_a_model() -> None:
    assert answers(BRETON) == ["bre_Latn"]


def test_a_language_is_answered_in_the_script_of_the_line() -> None:
    assert answers(
        "Ово је реченица на српском језику и ништа више.",
        "Ovo je rečenica na srpskom jeziku i ništa više od toga.",
        "這是一個繁體中文的句子。",
        "这是一个简体中文的句子。",
        "ᱥᱟᱱᱛᱟᱲᱤ ᱫᱚ ᱢᱤᱫ ᱯᱟᱹᱨᱥᱤ ᱠᱟᱱᱟ",
    ) == ["srp_Cyrl", "srp_Latn", "zho_Hant", "zho_Hans", "sat_Olck"]


def test_what_is_no_language_or_in_doubt_is_not_answered_as_one() -> None:
    lines = ("", "  ", "1234 !!", "Xqwz vbkt")
    assert answers(*lines) == ["und", "und", "zxx", "und"]


@pytest.mark.parametrize("noise", ["\ufffe", "\ud800", "\x00", "\x7f", "\U0001ffff", "\ufdd0"])
def test_characters_that_cld2_refuses_are_left_out(noise: str) -> None:
    [answer] = BuiltinIdentifier().identify([f"The cat sat{noise} on the mat in the hall."])
    assert answer.language == "eng_Latn"
    assert 0.9 < answer.score <= 1


def test_every_language_it_names_is_one() -> None:
    languages = BuiltinIdentifier().languages
    assert all(map(is_language, languages))
    assert len(languages) > 150


def test_answers_can_be_restricted_to_some_languages() -> None:
    english = "The cat sat on the mat in the hall."
    assert answers(english, BRETON, languages=["bre_Latn", "cmn_Hans"]) == ["und", "bre_Latn"]
    with pytest.raises(UserError, match="does not know vmw_Latn"):
        BuiltinIdentifier(["vmw_Latn"])


def test_lid_identify_needs_no_model(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(BRETON.encode() + b"\n"))
    monkeypatch.setattr("sys.stdin", stream)
    assert main(["lid", "identify"]) == 0
    assert capfdbinary.readouterr().out == b"bre_Latn\t0.9800\n"


@pytest.mark.parametrize(
    ("top", "options"),
    [
        (2, IdentifierOptions()),
        (1, IdentifierOptions(groups=True)),
        (1, IdentifierOptions(spans=True)),
    ],
)
def test_what_the_builtin_identifier_cannot_do_is_refused(
    top: int, options: IdentifierOptions
) -> None:
    with pytest.raises(UserError, match="builtin identifier does not give"):
        load_identifier(BUILTIN, options, top)


def test_the_builtin_identifier_can_be_the_second_that_must_agree() -> None:
    both = load_identifier(BUILTIN, IdentifierOptions(agree_with=BUILTIN, languages=("bre_Latn",)))
    answers = [one.language for one in both.identify([BRETON, "The cat sat on the mat."])]
    assert answers == ["bre_Latn", "und"]


def test_its_compiled_package_is_the_input_of_jobs() -> None:
    [file] = builtin_files()
    assert file.is_file()
    assert file.name.startswith("_pycld2")


def test_where_it_is_missing_the_message_names_three_ways(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "page.txt").write_text("A line.\n")
    for command in (
        ["lid", "identify"],
        ["mining", "sentences", str(tmp_path / "page.txt"), "--output", str(tmp_path / "out")],
    ):
        assert main(command) == 2
        told = capsys.readouterr().err
        for way in ("pip install '.[cld2]'", "tongues data fetch", "tongues lid train"):
            assert way in told
