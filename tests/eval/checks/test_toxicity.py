"""Word lists against planted made-up terms: recall in twelve languages, nothing found elsewhere."""

import io
import json
import os
import random
import unicodedata
import zipfile
from pathlib import Path

import pytest
import regex
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError, UserError
from corpus.files import read_lines, write_lines
from corpus.terms import TermMatcher, is_usable
from corpus.text import UNSPACED_SCRIPTS, script_of_character, script_parts
from corpus.word_lists import PASSWORD_VARIABLE, read_word_lists
from eval.checks.batches import find_batches
from eval.checks.config import ToxicityConfig
from eval.checks.toxicity import Toxicity, measure_toxicity
from eval.cli import group

DATA = os.environ.get("TONGUES_DATA")

# Sentences of our own, for where no real text is at hand.
SENTENCES = {
    "eng_Latn": ["The river rose by two meters, and the bridge was closed.", "Who opened it?"],
    "tur_Latn": ["Irmak gece boyunca iki metre yükseldi ve köprü kapatıldı.", "Kapıyı kim açtı?"],
    "rus_Cyrl": ["За ночь река поднялась на два метра, и мост закрыли.", "Кто открыл дверь?"],
    "arb_Arab": ["ارتفع منسوب النهر مترين خلال الليل وأُغلق الجسر.", "من فتح الباب؟"],
    "hin_Deva": ["रात भर में नदी दो मीटर बढ़ गई और पुल बंद कर दिया गया।", "दरवाज़ा किसने खोला?"],
    "ben_Beng": ["রাতভর নদী দুই মিটার বেড়ে গেছে এবং সেতু বন্ধ করা হয়েছে।", "দরজা কে খুলেছে?"],
    "tam_Taml": ["இரவோடு இரவாக ஆறு இரண்டு மீட்டர் உயர்ந்தது, பாலம் மூடப்பட்டது.", "கதவைத் திறந்தது யார்?"],
    "khm_Khmr": ["ទន្លេឡើងពីរម៉ែត្រក្នុងមួយយប់ ហើយស្ពានត្រូវបានបិទ។", "អ្នកណាបើកទ្វារ?"],
    "mya_Mymr": ["မြစ်ရေသည် တစ်ညတာအတွင်း နှစ်မီတာ မြင့်တက်ခဲ့ပြီး တံတားကို ပိတ်ခဲ့သည်။", "တံခါးကို ဘယ်သူဖွင့်တာလဲ။"],
    "tha_Thai": ["แม่น้ำสูงขึ้นสองเมตรในชั่วข้ามคืนและสะพานถูกปิด", "ใครเปิดประตู"],
    "bod_Tibt": ["མཚན་གཅིག་ལ་གཙང་པོ་མི་ཊར་གཉིས་འཕར་ནས་ཟམ་པ་བཀག་པ་རེད།", "སྒོ་སུས་ཕྱེ་པ་རེད།"],
    "jpn_Jpan": ["川は一晩で二メートル上昇し、橋は閉鎖された。", "誰がドアを開けましたか。"],
}  # fmt: skip
LANGUAGES = tuple(SENTENCES)
CLUSTER = regex.compile(r"\X")
WORD = regex.compile(r"[\p{L}\p{M}]+")
DOTLESS = ("tur_Latn", "azj_Latn", "crh_Latn")
MARK = regex.compile(r"\p{M}")


def text_of(language: str, data: str | None) -> list[str]:
    if data is None:
        return SENTENCES[language] * 20
    return read_lines(Path(data) / "flores200_dataset" / "dev" / f"{language}.dev")[:150]


def is_unspaced(language: str) -> bool:
    return language[4:] in UNSPACED_SCRIPTS


def clusters_of(language: str, text: str) -> list[str]:
    """Cut text into what a person sees as characters; a Khmer or Burmese stack is one."""
    if language.endswith("_Tibt"):
        return [syllable + "་" for syllable in WORD.findall(text)]
    found: list[str] = []
    for cluster in CLUSTER.findall("".join(WORD.findall(text))):
        # A regex takes Burmese tone marks for characters of their own.
        if found and (found[-1][-1] in "\u17d2\u1039" or MARK.match(cluster)):
            found[-1] += cluster
        else:
            found.append(cluster)
    return found


def made_up_terms(language: str, lines: list[str], count: int, seed: int) -> list[str]:
    """Join pieces of real words to words, and some to pairs of words, that the text lacks."""
    generator = random.Random(seed)
    text = unicodedata.normalize("NFC", "\n".join(lines)).casefold()
    own = script_parts(language[4:])
    pieces = [
        piece
        for line in lines
        for piece in clusters_of(language, line)
        if script_of_character(piece[0]) in own
    ]
    terms: list[str] = []
    while len(terms) < count:
        words = ["".join(generator.choices(pieces, k=generator.randint(4, 7)))]
        if generator.random() < 0.3:
            words.append("".join(generator.choices(pieces, k=3)))
        words = [word.removesuffix("་") for word in words]
        term = ("་" if language.endswith("_Tibt") else " ").join(words)
        if all(unicodedata.normalize("NFC", word).casefold() not in text for word in words):
            terms.append(term)
    return terms


def plant(language: str, line: str, term: str, generator: random.Random) -> str:
    """Put a term into a line as a writer or a machine may: other case, form, space, punctuation."""
    capital = term.replace("i", "İ") if language in DOTLESS else term
    term = generator.choice([term, capital.upper(), capital[:1].upper() + term[1:]])
    term = unicodedata.normalize(generator.choice(["NFC", "NFD"]), term)
    if is_unspaced(language):
        parts = clusters_of(language, line) if not language.endswith("_Tibt") else None
        if parts is None:
            syllables = line.split("་")
            syllables.insert(generator.randrange(len(syllables)), term)
            return "་".join(syllables)
        place = generator.randrange(len(parts) + 1)
        return "".join([*parts[:place], term, *parts[place:]])
    words = line.split(" ")
    shape = generator.choice(["{}", "{},", "«{}»", "({})", "{}!", "“{}”"])
    words.insert(generator.randrange(len(words) + 1), shape.format(term))
    return " ".join(words)


def planted_recall(language: str, data: str | None) -> tuple[float, int]:
    """Return the recall of planted terms, and the matches on the clean text."""
    lines = text_of(language, data)
    terms = made_up_terms(language, lines, 40, seed=7)
    matcher = TermMatcher(terms, language)
    generator = random.Random(11)
    found = 0
    for line in lines:
        number = generator.randrange(len(terms))
        found += number in matcher.find(plant(language, line, terms[number], generator))
    return found / len(lines), sum(bool(matcher.find(line)) for line in lines)


@pytest.mark.parametrize("language", LANGUAGES)
def test_planted_terms_are_found_and_nothing_else(language: str) -> None:
    recall, false_matches = planted_recall(language, None)
    assert recall >= 0.99
    assert false_matches == 0


@pytest.mark.skipif(DATA is None, reason="TONGUES_DATA is not set")
@pytest.mark.parametrize("language", LANGUAGES)
def test_planted_terms_are_found_in_flores_and_nothing_else(language: str) -> None:
    recall, false_matches = planted_recall(language, DATA)
    assert recall >= 0.99
    assert false_matches == 0


def find(language: str, term: str, line: str) -> bool:
    return bool(TermMatcher([term], language).find(line))


@pytest.mark.parametrize(
    ("language", "term", "line", "is_there"),
    [
        ("eng_Latn", "fizz", "Fizzy drinks fizzle.", False),
        ("eng_Latn", "fizz", "“FIZZ”!", True),
        ("eng_Latn", "fizz buzz", "fizz-buzz", True),
        ("eng_Latn", "fizz buzz", "fizz and buzz", False),
        ("eng_Latn", "don't", "They don’t know", True),
        ("eng_Latn", "f*zz", "What the f*zz!", True),
        ("eng_Latn", "f*zz", "f zz", False),
        ("eng_Latn", "fizz buzz", "Fizz, buzz.", False),  # two phrases
        ("zho_Hans", "好*人", "一个好*人。", True),
        ("fra_Latn", "élan", "E\u0301LAN", True),
        ("fra_Latn", "elan", "élan", False),
        ("deu_Latn", "straße", "STRASSE", True),
        ("tur_Latn", "ılık", "ILIK", True),
        ("tur_Latn", "ılık", "ilik", False),
        ("hin_Deva", "कमल", "कमला", False),  # a vowel sign makes it another word
        ("hin_Deva", "कमल", "वह कमल।", True),
        ("pes_Arab", "می‌روم", "میروم", True),  # with or without the joiner
        ("tha_Thai", "กา", "กาแฟ", True),  # inside running text: no list can tell
        ("tha_Thai", "กา", "ก่า", False),  # a tone mark inside
        ("tha_Thai", "มา", "ม้า", False),
        ("tha_Thai", "ตก", "ตกใจ", True),
        ("tha_Thai", "ตก", "ตกี", False),  # the last consonant bears a vowel
        ("khm_Khmr", "កម", "កម្ម", False),  # the last consonant has another below it
        ("mya_Mymr", "မာ", "ဓမ္မာ", False),  # the first one stands below another
        ("zho_Hans", "好人", "他是好人。", True),
        ("zho_Hans", "好人", "你好，人们。", False),  # punctuation between
        ("zho_Hans", "好人", "好 人", True),  # a space between
        ("zho_Hans", "cat", "education", False),  # Latin words keep their ends in any text
        ("zho_Hans", "cat", "我的cat很好", True),
        ("zho_Hans", "14", "2014年", False),
        ("bod_Tibt", "ཀ་ཁ", "ཀ་ཁའི", False),  # another syllable
        ("bod_Tibt", "ཀ་ཁ", "ང་ཀ་ཁ་", True),
    ],
)
def test_words_are_matched_whole(language: str, term: str, line: str, is_there: bool) -> None:
    assert find(language, term, line) is is_there


def test_longest_term_is_found_and_every_occurrence_counts() -> None:
    matcher = TermMatcher(["red", "red fox", "fox"], "eng_Latn")
    assert matcher.find("red fox, red, fox fox") == [1, 0, 2, 2]


@given(
    term=st.text(min_size=1, max_size=12),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    language=st.sampled_from(["eng_Latn", "hin_Deva", "tha_Thai", "zho_Hans", "bod_Tibt"]),
)
def test_any_usable_term_is_found_by_itself_and_any_text_can_be_searched(
    term: str, before: str, after: str, language: str
) -> None:
    matcher = TermMatcher([term], language)
    assert bool(matcher.find(term)) == is_usable(term, language)
    assert bool(matcher.find(f"{before}. {term} .{after}")) >= is_usable(term, language)


# Reading lists.


def zip_crypto(members: dict[str, bytes], password: bytes) -> bytes:
    """Encrypt as the published lists are (PKWARE's appnote, section 6.1), which zipfile cannot."""
    table = []
    for i in range(256):
        value = i
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        table.append(value)

    class Keys:
        def __init__(self) -> None:
            self.keys = [0x12345678, 0x23456789, 0x34567890]
            for byte in password:
                self.update(byte)

        def update(self, byte: int) -> None:
            k = self.keys
            k[0] = table[(k[0] ^ byte) & 0xFF] ^ (k[0] >> 8)
            k[1] = ((k[1] + (k[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
            k[2] = table[(k[2] ^ (k[1] >> 24)) & 0xFF] ^ (k[2] >> 8)

        def encrypt(self, byte: int) -> int:
            temporary = (self.keys[2] | 2) & 0xFFFF
            mask = ((temporary * (temporary ^ 1)) >> 8) & 0xFF
            self.update(byte)
            return byte ^ mask

    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    data = plain.getvalue()
    out, directory = b"", b""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            keys = Keys()
            name = info.filename.encode()
            head = bytes(11) + bytes([info.CRC >> 24])
            body = bytes(keys.encrypt(byte) for byte in head + archive.read(info))
            common = (
                (20).to_bytes(2, "little") + (1).to_bytes(2, "little") + bytes(2) + bytes(4)
                + info.CRC.to_bytes(4, "little") + len(body).to_bytes(4, "little")
                + info.file_size.to_bytes(4, "little") + len(name).to_bytes(2, "little") + bytes(2)
            )  # fmt: skip
            directory += (
                b"PK\x01\x02" + (20).to_bytes(2, "little") + common + bytes(2 + 2 + 2 + 4)
                + len(out).to_bytes(4, "little") + name
            )  # fmt: skip
            out += b"PK\x03\x04" + common + name + body
    count = len(members).to_bytes(2, "little")
    end = (
        b"PK\x05\x06" + bytes(4) + count + count + len(directory).to_bytes(4, "little")
        + len(out).to_bytes(4, "little") + bytes(2)
    )  # fmt: skip
    return out + directory + end


LISTS = {"eng_Latn": ["flurb", "big grot", "", "—", "Flurb"], "hin_Deva": ["ढमकू"]}


def list_bytes(language: str) -> bytes:
    return "".join(f"{term}\n" for term in LISTS[language]).encode()


@pytest.fixture(params=["directory", "tsv", "zip of zips", "zip of texts", "zips in a directory"])
def lists(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return lists in each shape they may come in; zips as the published ones, encrypted."""
    monkeypatch.setenv(PASSWORD_VARIABLE, "open sesame")
    path = tmp_path / "lists"
    texts = {f"{code}_twl.txt": list_bytes(code) for code in LISTS}
    zips = {
        name.replace(".txt", ".zip"): zip_crypto({name: content}, b"open sesame")
        for name, content in texts.items()
    }
    if request.param == "directory":
        for name, content in texts.items():
            path.mkdir(exist_ok=True)
            (path / name).write_bytes(content)
    elif request.param == "zips in a directory":
        for name, content in zips.items():
            path.mkdir(exist_ok=True)
            (path / name).write_bytes(content)
    elif request.param == "tsv":
        path = path.with_suffix(".tsv")
        rows = [f"{code}\t{term}" for code, terms in LISTS.items() for term in terms]
        write_lines(path, ["language\tterm", *rows])
    else:
        path = path.with_suffix(".zip")
        if request.param == "zip of texts":
            path.write_bytes(
                zip_crypto({f"NLLB-200_TWL/{n}": c for n, c in texts.items()}, b"open sesame")
            )
        else:
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in zips.items():
                    archive.writestr(f"NLLB-200_TWL/{name}", content)
    return path


def test_lists_are_read_in_every_shape(lists: Path) -> None:
    found = read_word_lists(lists)
    assert sorted(found) == ["eng_Latn", "hin_Deva"]
    english = found["eng_Latn"]
    assert (english.terms, english.lines) == (("flurb", "big grot"), (1, 2))
    assert (english.repeated, english.unusable) == (1, 1)
    assert english.size == len(list_bytes("eng_Latn"))


@pytest.mark.parametrize("password", [None, "wrong"])
def test_zip_without_its_password_says_who_gives_it(
    password: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "eng_Latn_twl.zip"
    path.write_bytes(zip_crypto({"eng_Latn_twl.txt": list_bytes("eng_Latn")}, b"open sesame"))
    if password is None:
        monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(PASSWORD_VARIABLE, password)
    with pytest.raises(UserError, match=PASSWORD_VARIABLE):
        read_word_lists(path)


def test_odd_lists_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_word_lists(tmp_path / "nowhere")
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(UserError, match="holds no word list"):
        read_word_lists(tmp_path)
    (tmp_path / "eng_Latn.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="the list of eng_Latn is not UTF-8"):
        read_word_lists(tmp_path)
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="not a readable zip"):
        read_word_lists(tmp_path / "x.zip")


def test_other_files_beside_the_lists_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "eng_Latn.txt").write_bytes(list_bytes("eng_Latn"))
    with (tmp_path / "crawl.txt").open("wb") as file:
        file.truncate(100 << 20)
    assert list(read_word_lists(tmp_path)) == ["eng_Latn"]


def test_list_that_is_a_bomb_is_given_up(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("eng_Latn.txt", bytes(17 << 20))
    with pytest.raises(DataError, match="unpacks to more than"):
        read_word_lists(tmp_path / "x.zip")


# The whole check.

TEXTS = {
    "eng_Latn": ["A fine day.", "What a flurb!", "He went home."],
    "hin_Deva": ["अच्छा दिन।", "क्या ढमकू है!", "वह घर गया।"],
    "rus_Cyrl": ["Хороший день.", "Вот так.", "Он ушёл домой."],
}


@pytest.fixture
def system(tmp_path: Path) -> Path:
    for language, lines in TEXTS.items():
        write_lines(tmp_path / "flores" / "devtest" / f"{language}.devtest", lines)
    folder = tmp_path / "mine"
    write_lines(folder / "hin_Deva-eng_Latn.txt", ["A BIG grot day.", "What a flurb!", "Home."])
    write_lines(folder / "rus_Cyrl-eng_Latn.txt", ["A day.", "What a flurb!", "Home."])
    write_lines(folder / "eng_Latn-rus_Cyrl.txt", TEXTS["rus_Cyrl"])
    return folder


def toxicity(system: Path, lists: Path, config: ToxicityConfig) -> dict[str, Toxicity]:
    flores = system.parent / "flores"
    batches = find_batches([system], flores, "devtest", system.parent / "texts")
    rows = measure_toxicity(batches, lists, system.parent / "out", config, 1)
    return {str(row.direction): row for row in rows}


def test_added_toxicity_is_what_the_source_has_not(system: Path, lists: Path) -> None:
    found = toxicity(system, lists, ToxicityConfig())
    row = found["hin_Deva-eng_Latn"]
    assert (row.n, row.toxic, row.added, row.source_toxic, row.reference_toxic) == (3, 2, 1, 1, 1)
    assert row.added_rate == pytest.approx(1 / 3)


def test_language_without_a_list_is_not_measured_and_never_zero(system: Path, lists: Path) -> None:
    found = toxicity(system, lists, ToxicityConfig())
    target = found["eng_Latn-rus_Cyrl"]
    assert (target.toxic, target.added_rate) == (None, None)
    assert target.status == "not measured: no list of the target"
    source = found["rus_Cyrl-eng_Latn"]
    assert (source.toxic, source.added, source.source_toxic) == (1, None, None)
    summary = json.loads((system.parent / "out" / "toxicity.json").read_text())["mine"]
    assert summary["added_rate"] == {"mean": pytest.approx(1 / 3), "n": 1, "n_missing": 2}
    assert summary["not_measured"] == ["rus_Cyrl"]
    lines = read_lines(system.parent / "out" / "toxicity.tsv")
    assert lines[0].split("\t") == list(Toxicity._fields)
    assert "\t0.0\t" not in next(line for line in lines if "eng_Latn-rus_Cyrl" in line)


def test_terms_are_named_by_their_lines_unless_asked_for(system: Path, lists: Path) -> None:
    toxicity(system, lists, ToxicityConfig())
    written = "".join(
        path.read_text() for path in (system.parent / "out").rglob("*") if path.is_file()
    )
    assert "grot" not in written
    assert "flurb" not in written
    assert "mine\thin_Deva-eng_Latn\t1\tyes\t2\n" in written
    assert "mine\trus_Cyrl-eng_Latn\t2\t\t1\n" in written
    with pytest.raises(UserError, match="show_terms"):
        toxicity(system, lists, ToxicityConfig(show_terms=True))
    folder = system.parent / "out"
    folder.rename(folder.with_name("redacted"))
    toxicity(system, lists, ToxicityConfig(show_terms=True))
    assert "2:big grot" in (folder / "toxicity_lines.tsv").read_text()


def test_hash_and_size_of_each_list_are_written(system: Path, lists: Path) -> None:
    toxicity(system, lists, ToxicityConfig())
    rows = [line.split("\t") for line in read_lines(system.parent / "out" / "toxicity_lists.tsv")]
    table = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    english = read_word_lists(lists)["eng_Latn"]
    assert table["eng_Latn"]["sha256"] == english.sha256
    assert (table["eng_Latn"]["terms"], table["eng_Latn"]["repeated"]) == ("2", "1")


def test_check_command_runs_twice_to_the_same_bytes(system: Path, lists: Path) -> None:
    output = system.parent / "out"
    arguments = [
        "check", "--hypotheses", str(system), "--flores", str(system.parent / "flores"),
        "--output", str(output), "--toxicity", str(lists), "--json",
    ]  # fmt: skip
    first = CliRunner().invoke(group, arguments, catch_exceptions=False)
    summary = json.loads(first.stdout)
    assert summary["toxicity"]["mine"]["toxic_rate"] == {
        "mean": pytest.approx(0.5), "n": 2, "n_missing": 1,
    }  # fmt: skip
    tables = {path.name: path.read_bytes() for path in output.glob("*.tsv")}
    assert len(tables) == 7
    again = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert json.loads(again.stdout) == summary
    assert {path.name: path.read_bytes() for path in output.glob("*.tsv")} == tables
