"""The compiled pass gives what Python gives, whatever the text."""

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ftfy.badness
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.crawl.documents import Document, read_documents
from corpus.files import read_lines
from corpus.joined_lines import JoinedLines
from corpus.protocols import Prediction
from corpus.text import scripts_of, sentence_hash
from mining.sentences import extract, kernel
from mining.sentences.clean import looks_bad
from mining.sentences.config import SentenceFilterConfig, SentencesConfig
from mining.sentences.kernel import Cleaner, load_cleaner
from mining.sentences.runs import LANGUAGE_BYTES, TEMPLATE_BYTES, language_of
from mining.sentences.sentences import run_sentences

LANGUAGES = {
    "Latn": "eng_Latn", "Cyrl": "rus_Cyrl", "Deva": "hin_Deva", "Hani": "zho_Hans",
    "Thai": "tha_Thai", "Ethi": "amh_Ethi", "Grek": "ell_Grek", "Armn": "hye_Armn",
    "Hang": "kor_Hang", "Tibt": "bod_Tibt", "Arab": "arb_Arab",
}  # fmt: skip


class ByScript:
    """Answers by script; some answers are of every kind that is rejected."""

    languages = tuple(LANGUAGES.values())

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        return [self._answer(line) for line in lines]

    def _answer(self, line: str) -> Prediction:
        if len(line) % 11 == 0:
            return Prediction(("und", "zxx", "bos_Latn,hrv_Latn")[len(line) % 3], 0.8)
        script = next(iter(scripts_of(line)), "Latn")
        return Prediction(LANGUAGES.get(script, "eng_Latn"), (1.000001, 0.9, 0.3)[len(line) % 3])


def real_text() -> Path:
    if "TONGUES_DATA" not in os.environ:
        pytest.skip("TONGUES_DATA names no directory of real text")
    return Path(os.environ["TONGUES_DATA"])


class Kept:
    """Takes rows one by one and in batches."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def add(self, row: tuple[Any, ...], characters: int) -> None:
        self.rows.append(row)

    def add_batch(self, batch: pa.RecordBatch) -> None:
        self.rows += [tuple(row.values()) for row in batch.to_pylist()]


@pytest.fixture(scope="module", name="cleaner")
def fixture_cleaner() -> Cleaner:
    cleaner = load_cleaner()
    if cleaner is None:
        pytest.skip("no compiler was there when the package was installed")
    return cleaner


def rows_of(
    texts: Sequence[str], config: SentencesConfig, cleaner: Cleaner | None
) -> tuple[list[tuple[Any, ...]], Counter[str]]:
    """Return the sorted rows of documents, scores as float32, and counts."""
    kept = Kept()
    rows: Any = extract._Rows(kept, None)  # type: ignore[arg-type]
    documents: Any = [Document(f"d{n % 3}", text, n) for n, text in enumerate(texts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract, "load_cleaner", lambda: cleaner)
        extract._extract(documents, ByScript(), config, rows)
    found = [(*row[:3], pa.scalar(row[3], pa.float32()).as_py(), *row[4:]) for row in kept.rows]
    return sorted(found), rows.counts


def check_same(texts: Sequence[str], cleaner: Cleaner, **options: Any) -> int:
    config = SentencesConfig(**options)
    compiled, counts = rows_of(texts, config, cleaner)
    plain, plain_counts = rows_of(texts, config, None)
    assert compiled == plain
    assert counts == plain_counts
    return len(plain)


PIECES = [
    *" .!?,;:-–—…()[]{}<>/|•·→~›»«“”‘’\"'@&$#©%0123456789\\_",
    *"aabcdeéèêëìíòóùúüñçßøåæœŒÂÃÐÑØÙðÎİıſKkß",
    *"абвгдежзиРСВГЂўІ", *"αβγδΒΓΞΟςσ", *"աբգդԱ", *"שלוםאב", *"ابتثجۂئ", *"कखगघािी", *"গঘঙাো",
    *"กขคงไ", *"བཀཁ་།༎༑", *"ሀለሐ፡።፧", *"中文字国語日本", *"かがカｶﾞ", *"한국어가",
    "\u1100", "\u1161", "\u11a8", "\u093c", "\u094d", "\u09be", "\u09c7", "\u0301", "\u0323",
    "\u0306", "\u0338", "\u0327", "\u05b0", "\u064b", "\u0651", "\u0f71", "\u0f72", "\u3099",
    "\u0345", "\u0344", "\u037e", "\u2126", "\u212b", "\ufb01", "\u00bd", "\u00b2", "\u2460",
    "\u00a0", "\u2028", "\u0085", "\u000b", "\u001c", "\u001f", "\u200b", "\u200c", "\u200d",
    "\u00ad", "\ufeff", "\u2003", "\u2000", "\u3000", "\t", "\r", "\0", "\ufffd", "😀", "𝒜", "𞤀",
    "\U0001d160", "。", "！", "？", "」", "』", "）", "と", "っ", "、", "।", "॥", "؟", "۔", "။",
    "word", "Word", "The", "the", "It", "he", "Он", "это", "e.g.", "etc.", "p.m.", "и т.д.", "Dr.",
    "г.", "J.", "J. R.", "U.S.", "А.", "א.", "1.", "23.", "1990.", "٣.", ". . .", "...", "?!", "! ",
    ". ", "? ", "\u0589 ", ": ", "; ", "ﬁg. ", "ſt. ", "İt", "www.a.b", "http://x.y", "a@b.cd",
    "&amp;", "&copy;", "&lt;", "&#169;", "(c)", "(C) 2020", "© 2019", "Copyright ©", "<b>", "\\n",
    ";  $", "вЂ", "Ã©", "â€™", "Ð¿Ñ€Ð¸", "à¤®", "×", "√±", "ГўВЂВ", "l’été", "aaaaaaaaaaaa",
    "no no no no no no no no no", "中中中中中中中中中", "\n", "\n", "\n",
]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=60), st.sampled_from(["", " ", " "]))
def test_odd_text_gives_the_same_rows_and_counts(
    cleaner: Cleaner, pieces: list[str], between: str
) -> None:
    check_same([between.join(pieces), "".join(pieces)], cleaner)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_gives_the_same_rows_and_counts(cleaner: Cleaner, text: str) -> None:
    check_same([text, f"{text}. {text} word\n{text}"], cleaner)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.integers(1, 8), st.floats(0, 1))
def test_limits_are_the_same(
    cleaner: Cleaner, pieces: list[str], number: int, share: float
) -> None:
    filters = SentenceFilterConfig(
        min_characters=1, max_characters=5 * number, min_words=1, max_word_characters=number,
        max_character_run=number, min_letter_share=share, max_digit_share=share,
        max_word_share=share, min_script_share=share, min_lid_score=share,
    )  # fmt: skip
    text = "".join(pieces)
    for config in ({}, {"repair_mojibake": False}, {"languages": ("rus_Cyrl", "zho_Hans")}):
        check_same([text, " ".join(pieces)], cleaner, filters=filters, **config)


def test_every_character_is_the_same(cleaner: Cleaner) -> None:
    # Of Han and Hangul, which are alike, one of 31.
    alike = {*range(0x3400, 0xA000), *range(0xAC00, 0xD7A4), *range(0x20000, 0x32000)}
    characters = [
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")
        and (code not in alike or code % 31 == 0)
    ]
    assert len(characters) > 25_000
    parts = ["".join(characters[start : start + 16]) for start in range(0, len(characters), 16)]
    lines = [f"{one} some words and. {one[::-1]} others" for one in parts]
    assert check_same(["\n".join(lines)], cleaner, filters=ANYTHING) > 1_000


ANYTHING = SentenceFilterConfig(
    min_characters=1, min_letter_share=0, max_digit_share=1, min_script_share=0, min_lid_score=0
)


@settings(max_examples=300, deadline=None)
@given(
    st.text(
        st.sampled_from("".join(ftfy.badness.MOJIBAKE_CATEGORIES.values()) + "aB \xa0"), max_size=12
    )
)
def test_what_looks_like_a_wrong_decoding_is_handed_back(cleaner: Cleaner, line: str) -> None:
    found = cleaner.clean(JoinedLines.join([f"words {line}"]), 1, 1000, True)
    assert len(found.handed) or not looks_bad(f"words {line}")


def test_most_lines_are_not_handed_back(cleaner: Cleaner) -> None:
    files = sorted((real_text() / "flores200_dataset" / "devtest").iterdir())
    lines = [line for file in files for line in read_lines(file)[:12]]
    cleaner.clean(JoinedLines.join(lines), 1, 1000, True)  # what is met first is handed back
    assert len(cleaner.clean(JoinedLines.join(lines), 1, 1000, True).handed) < len(lines) / 20
    assert check_same(lines, cleaner) > len(lines) / 4


def test_damaged_shards_give_the_same(cleaner: Cleaner) -> None:
    shards = [
        path
        for path in sorted((real_text() / "crawl" / "odd").iterdir())
        if path.name.endswith((".warc", ".warc.gz"))
    ]
    texts = [one.text for path in shards for one in read_documents(path)]
    assert texts
    check_same(texts, cleaner)


def test_keys_are_those_of_python(cleaner: Cleaner) -> None:
    texts = ["ﬁ ½ 12 Straße 1٣4", "x" * 127, "x" * 128, "x" * 129, "é" * 500, "", "ｶﾞ ga"]
    joined = JoinedLines.join([unicodedata.normalize("NFC", text) for text in texts])
    cleaner.learn(joined.data)
    count = len(texts)
    keys, slow = cleaner.sort_keys(
        np.arange(count),
        joined,
        np.zeros(count, np.int32),
        b"eng_Latn".ljust(LANGUAGE_BYTES, b"\0"),
        np.zeros(count, np.int32),
        JoinedLines.join(["https://a.example/"]),
        np.arange(count),
    )
    assert slow.tolist() == [6]
    for number, text in enumerate(texts[:6]):
        key = keys[number].tobytes()
        assert language_of(key) == "eng_Latn"
        assert key[LANGUAGE_BYTES:TEMPLATE_BYTES] == sentence_hash(text).to_bytes(8, "big")
        assert key[TEMPLATE_BYTES : TEMPLATE_BYTES + 8] == extract._hash(text).to_bytes(8, "big")
        place = extract._hash(f"https://a.example/\n{number}")
        assert key[TEMPLATE_BYTES + 8 :] == place.to_bytes(8, "big")


def test_all_compositions_are_known() -> None:
    everywhere = [
        code
        for code in range(0x110000)
        if len((step := unicodedata.decomposition(chr(code))).split()) == 2
        and not step.startswith("<")
        and unicodedata.is_normalized("NFC", chr(code))
    ]
    assert len(kernel._compositions()) == len(everywhere)


@pytest.mark.parametrize("memory_mb", [256, 1])
def test_all_files_of_a_job_are_the_same(tmp_path: Path, cleaner: Cleaner, memory_mb: int) -> None:
    lid = tmp_path / "lid"
    lid.mkdir()
    (lid / "model.bin").write_bytes(b"stand-in")
    pages = [
        f"The {n} rivers are wide. Он спит {n % 7} часов.\né cafe\u0301 {n}!" for n in range(2000)
    ]
    shard = tmp_path / "shard.jsonl"
    lines = [json.dumps({"text": page, "url": f"u{n}"}) for n, page in enumerate(pages)]
    shard.write_text("\n".join(lines), encoding="utf-8")
    outputs = []
    for name, own in (("compiled", cleaner), ("plain", None)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(extract, "load_cleaner", lambda own=own: own)
            config = SentencesConfig(workers=1, memory_mb=memory_mb)
            run_sentences([shard], lid, tmp_path / name, config, lambda *_: ByScript())
        outputs.append(
            {
                path.relative_to(tmp_path / name): path.read_bytes()
                for path in sorted((tmp_path / name).rglob("*.parquet"))
                + sorted((tmp_path / name).rglob("*.arrows"))
            }
        )
    assert len(outputs[0]) == 3
    if memory_mb == 1:  # blocks of a run that was sorted on disk depend on what was in memory
        outputs = [{k: v for k, v in one.items() if k.suffix == ".parquet"} for one in outputs]
    assert outputs[0] == outputs[1]
