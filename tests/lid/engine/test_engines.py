"""The compiled pass against its twins in Python, NumPy and fastText; files others wrote."""

import os
import shutil
import struct
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

import lid.identifier as identifier_module
from corpus.errors import DataError, UserError
from corpus.files import write_lines
from corpus.native import load_library
from corpus.text import script_parts
from lid.calibrate import calibrate
from lid.config import CalibrationConfig
from lid.directory import CHECKSUMS_FILE
from lid.engine import kernel
from lid.engine.characters import script_bits
from lid.engine.familiarity import (
    build_profile,
    count_familiar,
    familiarity,
    hash_lines,
    typical_rows,
)
from lid.engine.kernel import is_compiled, prepare_lines
from lid.engine.numpy_preparation import count_in_scripts, prepare_many, scan
from lid.engine.preparation import prepare
from lid.engine.weights import can_compile
from lid.fasttext_model.bindings import FastTextModel
from lid.fasttext_model.model_file import read_fasttext_file
from lid.identifier import LanguageIdentifier
from lid.import_fasttext import import_model
from lid.train import train
from lid.training.finish_model import record_checksums
from tests.lid.conftest import QUICK, UNKNOWN, WORDS, make_sentences

needs_compiler = pytest.mark.skipif(not is_compiled(), reason="the compiled pass was not built")

# Characters on which normalization, lower case, folding and cutting turn.
TURNING = (
    "".join(
        map(chr, [*range(0x300, 0x315), 0x130, 0x3A3, 0x3C2, 0xE01, 0xE34, 0xE48, 0x1100, 0x1161])
    )
    + "각\u11a8\u09be\u09c7_</s>..00\u0661一ကိ\u1037\u102e\x12\u200b\ufb1d\u1f71\u212b aBÇ"
)


@pytest.fixture(scope="module")
def plain(model: Path) -> LanguageIdentifier:
    """The same model asked through fastText."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identifier_module, "is_compiled", lambda: False)
        return LanguageIdentifier.load(model)


MANY = [
    pytest.param(prepare_lines, id="compiled", marks=needs_compiler),
    pytest.param(prepare_many, id="numpy"),
]
"""Ways to prepare many lines at once, each as `prepare` does one."""


@pytest.mark.parametrize("prepare_all", MANY)
@given(lines=st.lists(st.text() | st.text(TURNING, max_size=30), max_size=8))
@settings(max_examples=400)
def test_preparation_of_many_lines_is_that_of_each(
    prepare_all: Callable[[list[str]], list[str]], lines: list[str]
) -> None:
    assert prepare_all(lines) == [prepare(line) for line in lines]


@pytest.mark.parametrize("prepare_all", MANY)
def test_preparation_of_many_lines_knows_every_character(
    prepare_all: Callable[[list[str]], list[str]],
) -> None:
    assigned = [chr(c) for c in range(0x34000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    for form in ("NFC", "NFD"):
        lines = [f"a{unicodedata.normalize(form, c)}{c}b" for c in assigned]
        assert prepare_all(lines) == [prepare(line) for line in lines]


@given(st.lists(st.text(TURNING, max_size=30), max_size=8))
@settings(max_examples=200)
def test_scan_of_many_lines_finds_letters_and_scripts_of_each(lines: list[str]) -> None:
    texts = prepare_many(lines)
    found = scan(texts)
    assert found.has_letters.tolist() == [bool(regex.search(r"\p{L}", text)) for text in texts]
    for script in ("Latn", "Thai", "Mymr", "Jpan", "Kore", "Grek", "Arab"):
        has = (found.scripts & np.uint64(script_bits(script))) != 0
        members = "".join(rf"\p{{Script={part}}}" for part in script_parts(script))
        assert has.tolist() == [bool(regex.search(f"[{members}]", text)) for text in texts]


CHINESE_LINES = {
    "我们说这个": {"Hans", "Jpan"},
    "我們說這個": {"Hant", "Jpan"},
    "山水": {"Hans", "Hant", "Jpan"},
    "我们們": {"Hans", "Hant", "Jpan"},
    "我们說這 Weibo": {"Hant", "Jpan", "Latn"},
    "山の水 water": {"Hans", "Hant", "Jpan", "Latn"},
    "water": {"Latn"},
}
"""Lines, and the scripts that a class of theirs may be in."""


def test_chinese_characters_decide_which_scripts_a_class_may_be_in() -> None:
    found = scan(prepare_many(list(CHINESE_LINES))).writable.tolist()
    for (line, wanted), writable in zip(CHINESE_LINES.items(), found, strict=True):
        scripts = ("Hans", "Hant", "Jpan", "Latn", "Arab")
        assert {one for one in scripts if script_bits(one) & writable} == wanted, line


@needs_compiler
def test_compiled_pass_answers_chinese_in_the_script_of_its_characters() -> None:
    chance = np.random.default_rng(1)
    scripts = ("Hans", "Hant", "Jpan", "Latn", "Arab")
    weights = kernel.Weights(
        rows=chance.integers(-127, 128, (1_009, 64), np.int8),
        row_scale=np.full(1_009, 0.1, np.float32),
        output=chance.normal(size=(len(scripts), 64)).astype(np.float32),
        scripts=np.array([script_bits(one) for one in scripts], np.uint64),
        profiles=None,
        min_ngram=2,
        max_ngram=4,
    )
    answers = kernel.Kernel(weights, np.ones((len(scripts), 5))).identify([*CHINESE_LINES], 5)
    for line, labels in zip(CHINESE_LINES, answers.labels.tolist(), strict=True):
        assert {scripts[label] for label in labels if label >= 0} == CHINESE_LINES[line], line


@needs_compiler
def test_compiled_pass_and_fasttext_give_the_same_answers(
    identifier: LanguageIdentifier, plain: LanguageIdentifier
) -> None:
    lines = [line for code in (*WORDS, *UNKNOWN) for line in make_sentences(code, 60, 4_000)]
    lines += [line[:9] for line in lines] + ["", "123", "\x00", "ΣΑΣ", "강물", "x"]
    ours, theirs = identifier.rank(lines), plain.rank(lines)
    assert [one.language for one in ours] == [one.language for one in theirs]
    assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], abs=0.01)
    pairs, other_pairs = identifier.rank_top(lines, 2), plain.rank_top(lines, 2)
    seconds, other_seconds = ([row[-1].language for row in rows] for rows in (pairs, other_pairs))
    same = [row for row, name in enumerate(seconds) if name == other_seconds[row]]
    assert len(same) > 0.98 * len(lines)
    familiar = [ours[row].familiarity for row in same]
    assert familiar == pytest.approx([theirs[row].familiarity for row in same], abs=0.05)
    top, other_top = identifier.rank_top(lines[:40], 3), plain.rank_top(lines[:40], 3)
    assert [[r.language for r in row] for row in top] == [
        [r.language for r in row] for row in other_top
    ]


def test_switch_turns_the_compiled_pass_off(model: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lid.identifier import LanguageIdentifier;"
        f" i = LanguageIdentifier.load(Path({str(model)!r}));"
        " print(type(i._engine).__name__, i.identify(['the water of the river'])[0].language)"
    )
    environment = {**os.environ, "TONGUES_NATIVE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.split() == ["FastTextEngine", "eng_Latn"]


def test_library_that_is_not_there_is_none() -> None:
    assert load_library("lid.engine", "_nothing", 1) is None


@needs_compiler
def test_library_of_other_sources_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    assert load_library("lid.engine", "_kernel", 10_000) is None
    assert "was built from other sources" in caplog.text


def test_hashes_of_grams_and_words_match_a_plain_loop() -> None:
    lines = ["ab cd", "e", "", "नदी घर"]
    bits = 16
    mask = (1 << 64) - 1

    def bit(value: int) -> int:
        return (value ^ value >> 32) * 0xD6E8FEB86659FD93 % (1 << 64) >> 64 - bits

    grams, words = [], []
    for row, line in enumerate(lines):
        padded = f"|{line}|".replace(" ", "|")
        for start in range(len(padded) - 4):
            value = 0
            for character in padded[start : start + 5]:
                value = value * 0x9E3779B97F4A7C15 + ord(character) & mask
            grams.append((row, bit(value)))
        for word in line.split():
            value = 0xA24BAED4963EE407
            for place, character in enumerate(word):
                value = value + ord(character) * pow(0x9E3779B97F4A7C15, place, 1 << 64) & mask
            words.append((row, bit(value)))
    gram_bits, gram_lines, word_bits, word_lines = hash_lines(lines, bits)
    assert list(zip(gram_lines.tolist(), gram_bits.tolist(), strict=True)) == grams
    assert list(zip(word_lines.tolist(), word_bits.tolist(), strict=True)) == words


def test_profile_knows_its_own_lines_and_leaves_each_out_of_what_is_usual() -> None:
    lines = make_sentences("eng_Latn", 50)
    profile, typical, number = build_profile([*lines, "quixotic zebras"], 16)
    known = typical_rows(["eng_Latn"], {"eng_Latn": typical})

    def count(texts: list[str]) -> np.ndarray:
        labels = np.array([[0, -1]] * len(texts), np.int32)
        scores = np.full(len(texts), 0.9, np.float32)
        return count_familiar(texts, labels, scores, profile[None], known)

    own = count([*lines, "quixotic zebras"])
    assert number == 51
    assert (own[:, kernel.KNOWN_GRAMS] == own[:, kernel.GRAMS]).all()
    assert (own[:, kernel.KNOWN_WORDS] == own[:, kernel.WORDS]).all()
    # All words of the 50 sentences are shared, none of the last one's two is.
    assert typical.words_mean == pytest.approx(50 / 51, abs=0.002)
    strange = count(make_sentences("deu_Latn", 5))
    assert (strange[:, kernel.KNOWN_WORDS] < strange[:, kernel.WORDS] / 2).all()


def make_counts(**given: int) -> np.ndarray:
    """Counts of one line; columns by their names in `lid.engine.kernel`, the second is none."""
    counts = np.zeros((1, kernel.COUNTS), np.int32)
    counts[0, kernel.SECOND] = -1
    for name, value in given.items():
        counts[0, getattr(kernel, name)] = value
    return counts


def test_familiarity_matches_a_hand_calculation() -> None:
    # z of 5-grams (.5 - .9) / .1 = -4, of words (.75 - .8) / .2 = -.25; even odds add nothing.
    line = {"KNOWN_GRAMS": 5, "GRAMS": 10, "KNOWN_WORDS": 3, "WORDS": 4, "CHARACTERS": 100}
    typical = np.array([[0.9, 0.1, 0.8, 0.2, 80.0], [0.6, 0.1, 0.5, 0.2, 80.0]])
    best, even = np.array([0], np.int32), np.array([0.5], np.float32)
    assert familiarity(make_counts(**line), typical, best, even) == pytest.approx([-2.125])
    # A line a quarter as long as typical: distances count half.
    short = make_counts(**{**line, "CHARACTERS": 20})
    assert familiarity(short, typical, best, even) == pytest.approx([-1.0625])
    # The second best class knows as much: z of 5-grams -1, of words 1.25, which counts a fifth.
    second = {"OTHERS_GRAMS": 5, "OTHERS_WORDS": 3, "SECOND": 1}
    found = familiarity(make_counts(**line, **second), typical, best, even)
    assert found == pytest.approx([-2.125 - 0.2 * 0.125])
    # Half a standard deviation below a typical line it counts half of that.
    near = {**line, "KNOWN_GRAMS": 8, "KNOWN_WORDS": 4}
    found = familiarity(make_counts(**near, **second), typical, best, even)
    assert found == pytest.approx([0.0])
    near["KNOWN_GRAMS"] = 7
    found = familiarity(make_counts(**near, **second), typical, best, even)
    assert found == pytest.approx([-0.5 - 0.2 * 0.5 * 0.125])


def test_line_largely_in_another_script_is_strange_to_its_class() -> None:
    whole = {"KNOWN_GRAMS": 10, "GRAMS": 10, "KNOWN_WORDS": 4, "WORDS": 4, "CHARACTERS": 100}
    typical = np.array([[0.9, 0.1, 0.8, 0.2, 80.0]])
    best, score = np.array([0], np.int32), np.array([0.9], np.float32)
    assert familiarity(make_counts(**whole, FOREIGN=30), typical, best, score)[0] > 0
    assert familiarity(make_counts(**whole, FOREIGN=31), typical, best, score)[0] == -12


@given(lines=st.lists(st.text("aбבक中 1", min_size=1, max_size=9), min_size=1, max_size=8))
@settings(max_examples=100)
def test_characters_in_scripts_are_counted_for_each_line(lines: list[str]) -> None:
    wanted = np.array(
        [script_bits(("Cyrl", "Deva")[row % 2]) for row in range(len(lines))], np.uint64
    )
    expected = [line.count(("б", "क")[row % 2]) for row, line in enumerate(lines)]
    assert count_in_scripts(lines, wanted).tolist() == expected


def test_lines_in_unknown_languages_are_seldom_given_a_known_one(
    identifier: LanguageIdentifier, plain: LanguageIdentifier
) -> None:
    for one in (identifier, plain):
        for language in UNKNOWN:
            answers = one.identify(make_sentences(language, 50))
            accepted = [answer.language for answer in answers if answer.language in WORDS]
            assert len(accepted) <= 5, (language, accepted)


def test_int8_form_is_written_for_models_of_n_grams_only(model: Path) -> None:
    head = read_fasttext_file(model / "model.bin")
    assert can_compile(head)
    assert (head.words, head.dim, head.min_ngram, head.max_ngram) == (0, 16, 2, 4)
    assert sorted(head.labels) == sorted(f"__label__{name}" for name in (*WORDS, "zxx"))
    assert not can_compile(read_fasttext_file(model / "model.ftz"))


@pytest.mark.parametrize("name", ["model.bin", "model.ftz"])
def test_file_cut_anywhere_is_an_error_and_never_reaches_fasttext(
    model: Path, tmp_path: Path, name: str
) -> None:
    whole = (model / name).read_bytes()
    cut = tmp_path / name
    for size in [*range(0, 400, 7), len(whole) // 3, len(whole) // 2, len(whole) - 1]:
        cut.write_bytes(whole[:size])
        with pytest.raises(DataError):
            FastTextModel(cut)
    cut.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match="whole file of its kind"):
        FastTextModel(cut)
    cut.write_bytes(b"PK\x03\x04" + bytes(1000))
    with pytest.raises(DataError, match="not a fastText model"):
        FastTextModel(cut)


def relabel(model: Path, path: Path, labels: dict[str, str]) -> Path:
    """Write a model file with other labels; its dictionary holds them as plain strings."""
    data = (model / "model.bin").read_bytes()
    for old, new in labels.items():
        before = f"__label__{old}\0".encode()
        assert data.count(before) == 1
        data = data.replace(before, f"__label__{new}\0".encode())
    path.write_bytes(data)
    return path


def test_model_with_wikipedia_labels_answers_with_flores_codes(model: Path, tmp_path: Path) -> None:
    labels = {
        "eng_Latn": "en",
        "fra_Latn": "br",
        "rus_Cyrl": "ru",
        "arb_Arab": "ar",
        "hin_Deva": "hi",
        "tha_Thai": "th",
    }
    file = relabel(model, tmp_path / "lid.bin", labels)
    imported = import_model(file, tmp_path / "imported")
    assert imported.languages == [
        "arb_Arab", "bre_Latn", "eng_Latn", "hin_Deva", "rus_Cyrl", "tha_Thai"
    ]  # fmt: skip
    assert (imported.labels, imported.unknown) == (7, 0)
    loaded = LanguageIdentifier.load(tmp_path / "imported")
    assert loaded.languages == imported.languages
    for language in ("eng_Latn", "rus_Cyrl", "arb_Arab"):
        answers = loaded.identify(make_sentences(language, 10, 700))
        assert sum(answer.language == language for answer in answers) >= 9
    hostile = ["", "\n", "a\nb", "\x00", "\ud800", "</s>", "__label__en", "x" * 100_000, "1 2"]
    assert len(loaded.identify(hostile)) == len(hostile)
    # Breton, which FLORES-200 lacks, is answered all the same.
    french = loaded.identify(make_sentences("fra_Latn", 10, 700))
    assert sum(answer.language == "bre_Latn" for answer in french) >= 9


def test_import_refuses_another_checksum_a_broken_file_and_a_full_directory(
    model: Path, tmp_path: Path
) -> None:
    file = shutil.copy(model / "model.bin", tmp_path / "x.bin")
    with pytest.raises(DataError, match="has the SHA-256"):
        import_model(Path(file), tmp_path / "a", "00ff")
    assert not (tmp_path / "a").exists()
    Path(file).write_bytes((model / "model.bin").read_bytes()[:-9])
    with pytest.raises(DataError, match="truncated or damaged"):
        import_model(Path(file), tmp_path / "a")
    with pytest.raises(UserError, match="already holds a model"):
        import_model(model / "model.bin", model)
    with pytest.raises(UserError, match="not a file"):
        import_model(tmp_path / "nothing.bin", tmp_path / "a")
    assert not (tmp_path / "a" / CHECKSUMS_FILE).exists()


def test_file_whose_numbers_do_not_fit_is_an_error(model: Path, tmp_path: Path) -> None:
    head = 8  # magic and version; then 12 integers, of which the ninth is the number of buckets
    whole = (model / "model.bin").read_bytes()
    rows_at = read_fasttext_file(model / "model.bin").input_at - 16
    broken = tmp_path / "model.bin"
    for at, layout, value in (
        (head + 4 * 8, "<i", 200_000_000),
        (rows_at, "<q", 2**62),
        (rows_at, "<q", -5),
        (rows_at + 8, "<q", 2**40),
        (head + 12 * 4 + 8 + 8 + 4 + 8, "<q", 2**60),
    ):
        data = bytearray(whole)
        struct.pack_into(layout, data, at, value)
        broken.write_bytes(data)
        with pytest.raises(DataError, match="damaged"):
            read_fasttext_file(broken)


def test_import_leaves_nothing_of_a_model_that_was_there_half(model: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(model, half)
    (half / CHECKSUMS_FILE).unlink()
    file = relabel(model, tmp_path / "lid.bin", {"eng_Latn": "en"})
    import_model(file, half)
    assert not (half / "rows.npy").exists()
    assert LanguageIdentifier.load(half).identify(make_sentences("eng_Latn", 1))


@needs_compiler
def test_arrays_of_another_model_are_refused(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    for name in ("output.npy", "row_scales.npy", "profiles.npy"):
        whole = np.load(copy / name)
        np.save(copy / name, whole[:-1])
        record_checksums(copy)
        with pytest.raises(DataError, match="do not belong together"):
            LanguageIdentifier.load(copy)
        np.save(copy / name, whole)
    for name in ("rows.npy", "output.npy", "profiles.npy"):
        data = (copy / name).read_bytes()
        for broken in (data[:-1], data[:60], b"", data.replace(b"(", b"(-", 1)):
            (copy / name).write_bytes(broken)
            record_checksums(copy)
            with pytest.raises(DataError, match="not a whole array file"):
                LanguageIdentifier.load(copy)
        (copy / name).write_bytes(data)
    np.save(copy / "rows.npy", np.load(copy / "rows.npy")[:0])
    record_checksums(copy)
    with pytest.raises(DataError, match="do not belong together"):
        LanguageIdentifier.load(copy)


def test_model_of_another_command_is_not_written_over(model: Path, tmp_path: Path) -> None:
    import_model(model / "model.bin", tmp_path / "imported")
    with pytest.raises(UserError, match="holds another model"):
        train(tmp_path, tmp_path / "imported", QUICK)
    with pytest.raises(UserError, match="holds another model"):
        calibrate(model, tmp_path, tmp_path / "imported", CalibrationConfig())


def test_language_in_a_script_nobody_knows_is_identified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "".join(chr(0x13A0 + (i * k) % 80) + " " * (k % 4 == 0) for k in range(1, 30))
        for i in range(1, 120)
    ]
    write_lines(tmp_path / "data" / "qaa_Cher.txt", lines)
    write_lines(tmp_path / "data" / "qab_Qaab.txt", make_sentences("eng_Latn", 120))
    train(tmp_path / "data", tmp_path / "model", QUICK)
    compiled = LanguageIdentifier.load(tmp_path / "model")
    monkeypatch.setattr(identifier_module, "is_compiled", lambda: False)
    plain = LanguageIdentifier.load(tmp_path / "model")
    for one in (compiled, plain):
        found = one.rank([lines[5], make_sentences("eng_Latn", 1)[0]])
        assert [best.language for best in found] == ["qaa_Cher", "qab_Qaab"]
