"""BLEU's tokenizer: sacrebleu's for the target language, and means over several are marked."""

from pathlib import Path

import pytest
import sacrebleu

from corpus.errors import UserError
from corpus.files import read_lines, write_lines
from eval.compare import compare_systems
from eval.config import CompareConfig, ScoreConfig
from eval.metrics import tokenizers
from eval.metrics.metrics import MetricModels, Scorer
from eval.metrics.tokenizers import check_tokenizer, choose_tokenizer, is_installed
from eval.score import score_systems

CHINESE = ["河水一夜之间上涨了两米，桥被关闭了。", "谁打开了门？", "三个孩子在老树下看书。"]
DAMAGED = ["河水一夜之间上涨了三米，桥被关闭了。", "谁打开了窗？", "三个孩子在树下看书。"]
ENGLISH = ["The river rose by two meters.", "Who opened the door?", "Three children are reading."]
WORSE = ["The river rose by three meters.", "Who opened a door?", "Three children are here."]


def test_bleu_of_chinese_is_over_characters_as_in_sacrebleu() -> None:
    scored = Scorer("bleu", CHINESE, MetricModels(), "zho_Hans").score(DAMAGED)
    expected = sacrebleu.corpus_bleu(DAMAGED, [CHINESE], tokenize="zh").score
    assert scored.value == pytest.approx(expected, abs=1e-9)
    assert "|tok:zh|" in scored.signature
    assert scored.value > 2 * sacrebleu.corpus_bleu(DAMAGED, [CHINESE]).score


@pytest.mark.parametrize(
    ("target", "installed", "name"),
    [
        ("zho_Hant", True, "zh"),
        ("yue_Hant", True, "zh"),
        ("jpn_Jpan", True, "ja-mecab"),
        ("jpn_Jpan", False, "char"),
        ("kor_Hang", True, "ko-mecab"),
        ("kor_Hang", False, "char"),
        ("eng_Latn", False, "13a"),
        ("tha_Thai", True, "13a"),
        ("qaa_Latn", True, "13a"),
        ("", True, "13a"),
    ],
)
def test_tokenizer_follows_the_target(
    target: str, installed: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tokenizers, "is_installed", lambda one: installed or one not in ("ja-mecab", "ko-mecab")
    )
    assert choose_tokenizer(None, target) == name
    assert choose_tokenizer("intl", target) == "intl"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flores200", "--config spm=flores200"),
        ("spm", "--config spm=flores101"),
        ("spBLEU-1K", "Known: 13a, char"),
        ("14a", "Known: 13a, char"),
    ],
)
def test_tokenizers_that_are_models_or_unknown_are_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_tokenizer(name)


@pytest.mark.parametrize(("name", "extra"), [("ja-mecab", "ja"), ("ko-mecab", "ko")])
def test_mecab_is_used_where_it_is_installed_and_refused_where_not(name: str, extra: str) -> None:
    if is_installed(name):
        check_tokenizer(name)
        assert Scorer("bleu", ["a b c d"], MetricModels(bleu_tokenizer=name)).score(
            ["a b c d"]
        ).value == pytest.approx(100)
    else:
        with pytest.raises(UserError, match=rf"pip install 'sacrebleu\[{extra}\]'"):
            check_tokenizer(name)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    texts = {"zho_Hans": CHINESE, "eng_Latn": ENGLISH, "fra_Latn": ENGLISH}
    for language, lines in texts.items():
        write_lines(tmp_path / "flores" / "devtest" / f"{language}.devtest", lines)
    for target, lines in (("zho_Hans", DAMAGED), ("eng_Latn", WORSE)):
        for name in ("one", "two"):
            write_lines(tmp_path / name / f"fra_Latn-{target}.txt", lines)
    return tmp_path


def test_means_over_different_tokenizers_are_marked(mixed: Path) -> None:
    output = mixed / "out"
    scores = score_systems(
        [mixed / "one"], mixed / "flores", "devtest", output, ["bleu", "chrf++"], ScoreConfig()
    )
    marked = {(one.metric, one.bucket): one.tokenizers for one in scores.averages}
    assert marked["bleu", "all"] == "13a, zh"
    assert marked["chrf++", "all"] is None
    assert marked["bleu", "script:Hans"] is None
    assert read_lines(output / "averages.tsv")[0].endswith("high\ttokenizers")
    assert "† mean over scores of different tokenizers (13a, zh)" in "\n".join(
        read_lines(output / "averages.md")
    )
    assert any(
        "several tokenizers (13a for eng_Latn; zh for zho_Hans)" in one for one in scores.warnings
    )


def test_one_tokenizer_for_all_leaves_no_mark(mixed: Path) -> None:
    config = ScoreConfig(bleu_tokenizer="char")
    scores = score_systems(
        [mixed / "one"], mixed / "flores", "devtest", mixed / "out", ["bleu"], config
    )
    assert not any(one.tokenizers for one in scores.averages)
    assert read_lines(mixed / "out" / "averages.tsv")[0].endswith("low\thigh")


def test_comparison_marks_them_too(mixed: Path) -> None:
    found = compare_systems(
        [mixed / "one", mixed / "two"],
        mixed / "flores",
        "devtest",
        mixed / "out",
        CompareConfig(metric="bleu", trials=50, resamples=50),
    )
    assert {row["bucket"]: row["tokenizers"] for row in found.buckets}["all"] == "13a, zh"
    assert read_lines(mixed / "out" / "buckets.tsv")[0].endswith("\ttokenizers")
