import functools
import io
import json
import math
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import tongues
from corpus.errors import UserError
from corpus.files import read_lines
from corpus.languages import Direction
from nmt.model.directory import load_model
from nmt.translation.decoding.beam import Hypothesis
from nmt.translation.decoding.config import SamplingConfig, TranslateConfig
from nmt.translation.decoding.scores import Symbols
from nmt.translation.translate_files import translate_files, translate_flores
from nmt.translation.translator import TextTranslator, open_translator
from nmt.usage.expert_selection import Needed
from tests.nmt.conftest import write_flores

LINES = ["bara", "", "kili mo tu", "   ", "še še še še", "bagu. kino! turano"]


@pytest.fixture
def model(trained_model: Path) -> Path:
    return trained_model


def translator(model: Path, **config: object) -> TextTranslator:
    return TextTranslator(
        load_model(model),
        TranslateConfig(threads=1, **config),  # type: ignore[arg-type]
    )


def run(
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
    text: str,
    *arguments: str,
) -> tuple[int, list[str], str]:
    stream = io.TextIOWrapper(io.BytesIO(text.encode("utf-8")))
    monkeypatch.setattr(sys, "stdin", stream)
    code = tongues.main(["nmt", "translate", "--config", "threads=1", *arguments])
    captured = capsysbinary.readouterr()
    return code, captured.out.decode("utf-8").split("\n"), captured.err.decode("utf-8")


def test_scores_are_log_probability_over_tokens(model: Path) -> None:
    for penalty in (1.0, 0.0):
        found = translator(model, length_penalty=penalty).translate_scored(
            LINES, "qaa_Latn", "qab_Latn"
        )
        assert math.isnan(found[1].score)
        assert found[0].log_probability < 0
        if penalty == 0:
            assert found[0].score == found[0].log_probability
        else:
            assert found[0].log_probability < found[0].score < 0


def test_translation_does_not_depend_on_what_else_is_translated(model: Path) -> None:
    together = translator(model).translate(LINES, "qaa_Latn", "qab_Latn")
    alone = translator(model, max_batch_tokens=1)
    assert [alone.translate([line], "qaa_Latn", "qab_Latn")[0] for line in LINES] == together


def test_long_line_is_translated_sentence_by_sentence_and_nothing_is_cut(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sentences = ["bara kino moli.", "tugu baba!", "kili " * 9 + "end."]
    whole = translator(model, max_source_tokens=16)
    text = whole.translate([LINES[0], " ".join(sentences)], "qaa_Latn", "qab_Latn")[1]
    assert whole.counts["split"] == whole.counts["too_long"] == 1
    assert whole.counts["broken"] == 1
    assert "line 2 has" in caplog.text
    one_by_one = translator(model, max_source_tokens=16)
    parts = one_by_one.translate(sentences, "qaa_Latn", "qab_Latn")
    assert text == " ".join(part for part in parts if part)
    whole.warn()
    assert "1 sentences of theirs did not fit either" in caplog.text


def test_line_is_split_by_sentence_unless_it_is_one_or_must_stay_whole(model: Path) -> None:
    lines = ["bara kino. Moli tu! Kili?", "", "bara kino", " Moli tu! "]
    by_sentence, whole = translator(model), translator(model, split="never")
    found = by_sentence.translate_scored(lines, "qaa_Latn", "qab_Latn")
    parts = whole.translate_scored(["bara kino. ", "Moli tu! ", "Kili?"], "qaa_Latn", "qab_Latn")
    assert found[0].text == " ".join(part.text for part in parts if part.text)
    assert found[0].log_probability == pytest.approx(sum(one.log_probability for one in parts))
    assert by_sentence.counts["split"] == 1
    assert by_sentence.counts["sentences"] == 3
    assert [one.text for one in found[1:]] == whole.translate(lines[1:], "qaa_Latn", "qab_Latn")
    assert whole.counts["split"] == 0


def test_lines_of_a_test_set_stay_whole(model: Path, tmp_path: Path) -> None:
    lines = ["bara kino. Moli tu!", "kili"]
    flores = write_flores(tmp_path / "flores", lines)
    directions = [Direction("qaa_Latn", "qab_Latn")]
    summaries = [
        translate_flores(
            model, flores, "devtest", directions, tmp_path / split,
            TranslateConfig(threads=1, split=split),
        )
        for split in ("auto", "never", "always")
    ]  # fmt: skip
    texts = [read_lines(tmp_path / s / "qaa_Latn-qab_Latn.txt") for s in ("auto", "never")]
    assert texts[0] == texts[1]
    assert [summary.counts.get("split", 0) for summary in summaries] == [0, 0, 1]


def test_translations_stopped_by_the_length_limit_are_counted(model: Path) -> None:
    short = translator(model, method="sampling", max_length_factor=0, max_length_constant=1)
    assert short.translate(["bara kino"] * 20, "qaa_Latn", "qab_Latn") == [""] * 20
    assert 0 < short.counts["unfinished"] <= 20


def test_characters_that_the_vocabulary_lacks_are_counted_and_named_once(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    translating = translator(model)
    assert translating.model.vocabulary.unknown_texts(" 🙂🙂 “ ") == ["🙂🙂", "“"]
    translating.translate(["🙂🙂 “", "ܐ"], "qaa_Latn", "qab_Latn")
    assert translating.counts["unknown_characters"] == 4
    assert translating.counts["lines_with_unknown_characters"] == 2
    translating.warn()
    assert [record.getMessage() for record in caplog.records] == [
        "the vocabulary has no token for `🙂🙂“`: such characters are translated as unknown",
        "4 characters are not in the vocabulary, and lost",
    ]


def test_characters_that_the_vocabulary_lacks_are_copied_on_request(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = translator(model)
    wanted = plain.translate(["bara kino", "kili"], "qaa_Latn", "qab_Latn")
    copying = translator(model, unknown="copy")
    lines = ["🙂 “bara kino”", "kili", "🙂 🙂", "", "bara 🙂 kino"]
    found = copying.translate_scored(lines, "qaa_Latn", "qab_Latn")
    assert [one.text for one in found[:4]] == [f"🙂 “{wanted[0]}”", wanted[1], "🙂 🙂", ""]
    assert math.isnan(found[2].score)
    assert copying.counts["unknown_characters"] == 6
    lost = "🙂" not in found[4].text
    assert copying.counts["copied_characters"] == 6 - lost
    copying.warn()
    assert "6 characters are not in the vocabulary and copied; " in caplog.text


def test_unknown_token_of_a_translation_becomes_what_the_source_has(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copying = translator(model, unknown="copy", max_source_tokens=16)
    allowed = []

    def copy_rows(
        rows: list[list[int]], target: int, keys: object, symbols: Symbols
    ) -> list[list[Hypothesis]]:
        allowed.extend([symbols.may_be_unknown] * len(rows))
        return [[Hypothesis(row[1:-1], -1.0, True)] for row in rows]

    monkeypatch.setattr(copying._search, "run", copy_rows)
    lines = ["bara “kino” 🙂 tu.", "kili", "bara 🙂 kino.", "“bara” kino. " * 5 + "bara “kino” tu."]
    assert copying.translate(lines, "qaa_Latn", "qab_Latn") == lines
    assert copying.counts["copied_characters"] == copying.counts["unknown_characters"] == 24
    assert allowed == sorted(allowed)
    assert allowed.count(False) == 1


def test_block_is_answered_before_the_next_one_is_read(model: Path) -> None:
    read = []

    def lines() -> Iterator[str]:
        for i in range(5):
            read.append(i)
            yield "bara kino"

    stream = translator(model, block_lines=2).stream(lines(), "qaa_Latn", "qab_Latn")
    assert len(next(stream)) == 2
    assert read == [0, 1]
    assert [len(block) for block in stream] == [2, 1]


def test_drawn_translations_are_the_same_in_any_blocks(model: Path) -> None:
    found = [
        [
            text
            for block in translator(model, method="sampling", block_lines=size).stream(
                ["bara kino"] * 5, "qaa_Latn", "qab_Latn"
            )
            for text in block
        ]
        for size in (2, 100)
    ]
    assert [one.text for one in found[0]] == [one.text for one in found[1]]
    assert len({one.text for one in found[0]}) > 1


def test_best_translations_of_a_line_come_with_its_number_and_their_rank(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    languages = ["--model", str(model), "--source", "qaa_Latn", "--target", "qab_Latn"]
    lines = ["bara kino", "", "kili. mo tu."]
    one = translator(model).translate_scored(lines, "qaa_Latn", "qab_Latn")
    code, found, _ = run(
        monkeypatch, capsysbinary, "\n".join(lines), *languages,
        "--config", "n_best=3", "--config", "block_lines=2",
    )  # fmt: skip
    assert code == 0
    rows = [line.split("\t") for line in found[:-1]]
    assert [row[:2] for row in rows] == [
        ["1", "1"], ["1", "2"], ["1", "3"], ["2", "1"], ["3", "1"], ["3", "2"], ["3", "3"],
    ]  # fmt: skip
    for i, row in ((0, rows[0]), (1, rows[3]), (2, rows[4])):
        assert row[4] == one[i].text
        numbers = [float(cell) for cell in row[2:4]]
        assert numbers == pytest.approx([one[i].score, one[i].log_probability], 1e-4, nan_ok=True)
    assert float(rows[0][2]) > float(rows[1][2]) > float(rows[2][2])
    assert float(rows[5][2]) > float(rows[6][2])


def test_models_that_agree_translate_together_as_each_alone(model: Path, tmp_path: Path) -> None:
    needed = Needed(("qaa_Latn",), ("qab_Latn",))
    alone = translator(model).translate_scored(LINES, "qaa_Latn", "qab_Latn")
    config = TranslateConfig(threads=1, ensemble=(model,))
    found = open_translator(model, config, needed).translate_scored(LINES, "qaa_Latn", "qab_Latn")
    assert [one.text for one in found] == [one.text for one in alone]
    scores = [[one.log_probability for one in those] for those in (found, alone)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4, nan_ok=True)
    other = Path(shutil.copytree(model, tmp_path / "other"))
    path = other / "vocabulary" / "vocabulary.json"
    layout = json.loads(path.read_text())
    symbols = layout["symbols"]
    first, second = "__qaa_Latn__", "__qab_Latn__"
    symbols[first], symbols[second] = symbols[second], symbols[first]
    path.write_text(json.dumps(layout))
    with pytest.raises(UserError, match="has another vocabulary than"):
        open_translator(model, TranslateConfig(threads=1, ensemble=(other,)), needed)


def test_minimum_risk_takes_one_of_the_drawn_translations(model: Path) -> None:
    sampling = SamplingConfig(samples=4, top_k=3)
    lines = ["bara kino", "", "kili mo"]
    taking = translator(model, method="mbr", sampling=sampling)
    found = taking.translate_scored(lines, "qaa_Latn", "qab_Latn")
    again = translator(model, method="mbr", sampling=sampling, max_batch_tokens=1)
    assert [one.text for one in found] == again.translate(lines, "qaa_Latn", "qab_Latn")
    assert found[1].text == ""
    assert found[0].log_probability < 0


def test_terms_of_a_glossary_and_what_is_kept_are_in_the_translation(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    glossary = tmp_path / "terms.tsv"
    glossary.write_text("qaa_Latn\tqab_Latn\nkino\ttugu ba\n", encoding="utf-8")
    lines = ["bara kino", "Kino. moli tu.", "moli ki", "mo {ki}"]
    plain = translator(model)
    free = plain.translate(lines, "qaa_Latn", "qab_Latn")
    assert plain.counts["lost_placeholders"] == 1
    bound = translator(model, glossary=glossary, keep=("placeholders",))
    found = bound.translate(lines, "qaa_Latn", "qab_Latn")
    assert "tugu ba" in found[0]
    assert "tugu ba" in found[1]
    assert found[2] == free[2]
    assert bound.counts["terms"] == 3
    assert bound.counts["lost_terms"] == 1  # the vocabulary has no braces
    with pytest.raises(UserError, match="need `method: beam`"):
        translator(model, glossary=glossary, n_best=2)
    plain.warn()
    assert "1 placeholders are not in the translations as they were" in caplog.text


def test_options_are_the_configs_keys(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    glossary = tmp_path / "terms.tsv"
    glossary.write_text("qaa_Latn\tqab_Latn\nkino\ttugu ba\n", encoding="utf-8")
    way = ["--model", str(model), "--source", "qaa_Latn", "--target", "qab_Latn"]
    run_way = functools.partial(run, monkeypatch, capsysbinary, "bara kino\n", *way)
    code, lines, _ = run_way("--glossary", str(glossary))
    assert code == 0
    assert "tugu ba" in lines[0]
    nowhere = str(tmp_path / "nowhere")
    for option, message in (("--adapter", "there is no adapter"), ("--encoder", "nowhere")):
        code, lines, log = run_way(option, nowhere)
        assert (code, lines) == (2, [""])
        assert message in log


def test_sentence_that_lost_a_part_is_translated_again_in_parts(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [" ".join(["bara kino moli tu kili"] * 6), "bara kino"]
    pieces = len(load_model(model).vocabulary.encode(lines)[0])
    most = (pieces + 1) // 2 + 4  # as many as a part may have

    def copy_a_part(
        rows: list[list[int]], target: int, keys: object, symbols: Symbols
    ) -> list[list[Hypothesis]]:
        return [[Hypothesis(row[1:-1][:most], -1.0, True)] for row in rows]

    def lacking(
        rows: list[list[int]], hypotheses: list[Hypothesis], source: int, target: int
    ) -> list[float]:
        return [
            1 - len(one.tokens) / (len(row) - 2) for row, one in zip(rows, hypotheses, strict=True)
        ]

    found = {}
    for omissions in ("count", "retry"):
        checking = translator(model, omissions=omissions)
        monkeypatch.setattr(checking._search, "run", copy_a_part)
        monkeypatch.setattr(checking._search, "uncovered", lacking)
        found[omissions] = checking.translate_scored(lines, "qaa_Latn", "qab_Latn")
        assert checking.counts["omissions"] == 1
        assert checking.counts["repaired_omissions"] == (omissions == "retry")
    assert len(found["count"][0].text) < len(lines[0])
    assert [one.text for one in found["retry"]] == lines
    assert found["retry"][0].log_probability < -1
    checking.warn()
    assert "1 sentences may have lost a part; 1 were translated again in parts" in caplog.text


class Counting:
    """An encoder by how often words occur."""

    def encode(self, sentences: Sequence[str], language: str = "") -> NDArray[np.float32]:
        words = [Counter(sentence.replace(".", "").split()) for sentence in sentences]
        known = sorted({word for one in words for word in one} | {"bara", "kino", "moli"})[:3]
        rows = np.array([[1e-3 + one[word] for word in known] for one in words], np.float32)
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


def test_encoder_finds_translations_that_lack_a_part(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [" ".join(["bara"] * 20 + ["kino"] * 20)]
    half = (len(load_model(model).vocabulary.encode(lines)[0]) + 1) // 2 + 4

    def copy_a_part(
        rows: list[list[int]], target: int, keys: object, symbols: Symbols
    ) -> list[list[Hypothesis]]:
        return [[Hypothesis(row[1:-1][:half], -1.0, True)] for row in rows]

    for omissions, repaired in (("count", 0), ("retry", 1)):
        config = TranslateConfig(
            threads=1, omissions=omissions, encoder=Path("e"), omission_similarity=0.9
        )
        loaded = load_model(model)
        checking = TextTranslator(loaded, config, encoder=Counting())
        monkeypatch.setattr(checking._search, "run", copy_a_part)
        monkeypatch.setattr(checking._search, "uncovered", lambda rows, *_: [0.0] * len(rows))
        checking.translate_scored(lines, "qaa_Latn", "qab_Latn")
        counts = ("omissions", "dissimilar", "repaired_omissions")
        assert [checking.counts[name] for name in counts] == [1, 1, repaired]
    checking.warn()
    assert "1 sentences may have lost a part, 1 of them by the encoder; 1 were" in caplog.text


def test_encoder_that_nothing_asks_or_loads_is_refused(model: Path) -> None:
    for omissions, message in (("ignore", "set `omissions`"), ("count", "is for `nmt translate`")):
        config = TranslateConfig(threads=1, omissions=omissions, encoder=Path("builtin"))
        with pytest.raises(UserError, match=message):
            open_translator(model, config, Needed((), ()))


def test_omissions_that_are_only_looked_for_change_nothing(model: Path) -> None:
    plain = translator(model).translate(LINES, "qaa_Latn", "qab_Latn")
    assert translator(model, omissions="count").translate(LINES, "qaa_Latn", "qab_Latn") == plain


def test_command_writes_scores_before_translations(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    languages = ["--model", str(model), "--source", "qaa_Latn", "--target", "qab_Latn"]
    code, plain, _ = run(monkeypatch, capsysbinary, "bara\n\nkino", *languages)
    assert code == 0
    assert len(plain) == 4
    code, scored, _ = run(monkeypatch, capsysbinary, "bara\n\nkino", *languages, "--scores")
    assert code == 0
    assert [line.split("\t")[2] for line in scored[:3]] == plain[:3]
    assert scored[1] == "nan\tnan\t"


def test_files_are_translated_to_files_of_the_same_names(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    files = [tmp_path / "in" / "a.txt"]
    direction, config = Direction("qaa_Latn", "qab_Latn"), TranslateConfig(threads=1)
    summary = translate_files(model, files, direction, tmp_path / "out", config)
    assert summary.counts["lines"] == len(LINES)
    expected = translator(model).translate(LINES, *direction)
    assert read_lines(tmp_path / "out" / "a.txt") == expected
    (tmp_path / "b.txt").write_bytes(b"bara\xff\nkino\n")
    broken = translate_files(model, [tmp_path / "b.txt"], direction, tmp_path / "other", config)
    assert broken.counts["replacement_character"] == 1
    assert translate_files(model, files, direction, tmp_path / "out", config).skipped == 1
    with pytest.raises(UserError, match="another argument: `direction`"):
        translate_files(model, files, direction.reverse, tmp_path / "out", config)
    with pytest.raises(UserError, match="lies in"):
        translate_files(model, files, direction, tmp_path / "in", config)


def test_wishes_that_the_model_cannot_meet_are_refused(model: Path) -> None:
    with pytest.raises(UserError, match="has positions for 510"):
        translator(model, max_source_tokens=4000)
    with pytest.raises(UserError, match="too large for"):
        translator(model, beam_size=50)
    with pytest.raises(UserError, match="`n_best` is 5"):
        translator(model, n_best=5)
    with pytest.raises(UserError, match="here each line has one translation"):
        translate_flores(model, model, "dev", [], model, TranslateConfig(n_best=2))
    with pytest.raises(UserError, match="finds no GPU"):
        open_translator(model, TranslateConfig(device="cuda"), Needed((), ()))
