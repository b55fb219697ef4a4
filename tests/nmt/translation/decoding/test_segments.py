import pytest

from nmt.translation.decoding.segments import whole_sentences


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("One sentence without end", ["One sentence without end"]),
        ("  spaced. ", ["  spaced. "]),
        ("A dog. A cat!", ["A dog. ", "A cat!"]),
        ("Wait... !!! Now. ?!", ["Wait... !!! ", "Now. ?!"]),
        ("… Und? Ja.", ["… Und? ", "Ja."]),
        ("他来了。她走了！", ["他来了。", "她走了！"]),
        ("ወጣ። ገባ።", ["ወጣ። ", "ገባ።"]),
        ("!!!", ["!!!"]),
        ("", []),
    ],
)
def test_sentences_keep_what_has_no_letter(line: str, sentences: list[str]) -> None:
    assert whole_sentences(line) == sentences
    assert "".join(sentences) == line
