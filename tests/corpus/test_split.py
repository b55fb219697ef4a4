import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.split import split_sentences


@given(st.text(alphabet='abA1 .!?…।။。؟’")(\n\u2028', max_size=60))
def test_nothing_is_lost(text: str) -> None:
    assert "".join(split_sentences(text)) == text


@pytest.mark.parametrize(
    "sentences",
    [
        ["It rained. ", "We stayed."],
        ["Dr. Smith met J. R. Jones. ", "They spoke."],
        ["It is 3.5 km e.g. from here. ", "Go!"],
        ["“Why?” he asked. ", "Nobody knew."],
        ["Am 3. Mai war er da. ", "Dann ging er."],
        ["यह है। ", "वह है।"],
        ["你好。", "再见！", "好"],
        ["ဤသည်၊ ကောင်း၏။ ", "ဟုတ်သည်။"],
        ["هل هذا؟ ", "نعم."],
        ["ይህ ነው። ", "ያ ነው።"],
        ["Он жил в г. Москва. ", "Там тепло."],
        ["ข้อความไม่มีจุด"],
        ["ຂ້ອຍໄປເຮືອນ ລາວຢູ່ນີ້"],
        ["ខ្ញុំទៅផ្ទះ។ ", "គាត់នៅទីនេះ។"],
        ["ང་ཚོ་འགྲོ། ", "ཁོང་སླེབས་སོང་།"],
        ["ᱚᱲᱟᱜ ᱾ ", "ᱟᱹᱰᱤ ᱢᱟᱨᱟᱝ ᱾"],
        ["یہ گھر ہے۔ ", "وہ بڑا ہے۔"],
        ["ეს სახლია. ", "ის დიდია."],
        ["Սա տուն է: ", "Այն մեծ է։ ", "Լավ է։"],
        ["「行こう。」と彼は言った。", "雨だ。"],
        ["他说：“走吧。”", "下雨了。"],
        ["Books, pens, etc. ", "I like them."],
        ["Eat vitamin C. ", "It helps."],
        ["Be here at 5 p.m. ", "She waits."],
        ["Siehe s. Abbildung z. B. dort. ", "Gut."],
        ["Πού είναι; ", "Εκεί είναι."],
        ["ߊ߬ ߓߘߊ߫ ߣߊ߬߹ ", "ߊ߬ ߦߋ߫ ߦߊ߲߬."],
        ["He paused . . . ", "Then he left."],
        ["She said . . . nothing."],
        ["التقى د. أحمد أمس. ", "ثم ذهب."],
    ],
)
def test_paragraph_is_split_where_sentences_end(sentences: list[str]) -> None:
    assert split_sentences("".join(sentences)) == sentences
