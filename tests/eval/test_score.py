"""Scores against sacrebleu itself, on real strings in five scripts."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import sentencepiece
from click.testing import CliRunner
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.tokenizers.tokenizer_spm import TokenizerSPM

from corpus.errors import DataError, UserError
from corpus.files import write_lines
from corpus.languages import parse_direction
from eval.cli import group
from eval.config import ScoreConfig
from eval.metrics.metrics import METRICS, MetricModels, Scorer, parse_metrics
from eval.metrics.sentencepiece_models import find_spm
from eval.score import score_systems
from eval.statistics.averages import average
from eval.statistics.buckets import LanguageTable, direction_level, make_buckets, read_levels
from eval.statistics.results import read_scores

REFERENCES = {
    "eng_Latn": [
        "The river rose by two meters overnight, and the bridge was closed.",
        "Who opened the door?",
        "Three children are reading under the old tree.",
        "She said: “It's 5.30 p.m.”",
    ],
    "rus_Cyrl": [
        "За ночь река поднялась на два метра, и мост закрыли.",
        "Кто открыл дверь?",
        "Трое детей читают под старым деревом.",
        "Она сказала: «Сейчас 17:30».",
    ],
    "arb_Arab": [
        "ارتفع منسوب النهر مترين خلال الليل وأُغلق الجسر.",
        "من فتح الباب؟",
        "ثلاثة أطفال يقرؤون تحت الشجرة القديمة.",
        "قالت: «الساعة الآن 5:30 مساءً».",
    ],
    "hin_Deva": [
        "रात भर में नदी दो मीटर बढ़ गई और पुल बंद कर दिया गया।",
        "दरवाज़ा किसने खोला?",
        "तीन बच्चे पुराने पेड़ के नीचे पढ़ रहे हैं।",
        "उसने कहा: “अभी शाम के 5:30 बजे हैं।”",
    ],
    "tha_Thai": [
        "แม่น้ำสูงขึ้นสองเมตรในชั่วข้ามคืนและสะพานถูกปิด",
        "ใครเปิดประตู",
        "เด็กสามคนกำลังอ่านหนังสืออยู่ใต้ต้นไม้เก่า",
        "เธอพูดว่า ตอนนี้ 17:30 น.",
    ],
}
PAIRS = [
    ("eng_Latn", "rus_Cyrl"),
    ("rus_Cyrl", "arb_Arab"),
    ("arb_Arab", "hin_Deva"),
    ("hin_Deva", "tha_Thai"),
    ("tha_Thai", "eng_Latn"),
]


def damage(lines: list[str]) -> list[str]:
    """Return imperfect hypotheses: a word dropped, one doubled, two swapped, trailing space."""
    damaged = []
    for i, line in enumerate(lines):
        characters = list(line)
        del characters[3 + i : 5 + i]
        text = "".join(characters)
        damaged.append([text, text + " ", line + "  " + line[:6], " ".join(text.split()[::-1])][i])
    return damaged


@pytest.fixture(scope="module")
def spm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("spm")
    lines = [line for references in REFERENCES.values() for line in references]
    write_lines(directory / "text.txt", lines * 5)
    sentencepiece.SentencePieceTrainer.train(
        input=str(directory / "text.txt"),
        model_prefix=str(directory / "spm"),
        vocab_size=200,
        character_coverage=1.0,
        minloglevel=2,
    )
    return directory / "spm.model"


@pytest.fixture
def flores(tmp_path: Path) -> Path:
    for language, lines in REFERENCES.items():
        write_lines(tmp_path / "flores" / "devtest" / f"{language}.devtest", lines)
    return tmp_path / "flores"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    for source, target in PAIRS:
        hypotheses = damage(REFERENCES[target])
        write_lines(tmp_path / "mine" / f"{source}-{target}.txt", hypotheses)
    return tmp_path / "mine"


def sacrebleu_score(metric: str, hypotheses: list[str], references: list[str]) -> float:
    if metric == "bleu":
        return float(sacrebleu.corpus_bleu(hypotheses, [references]).score)
    order = 2 if metric == "chrf++" else 0
    return float(sacrebleu.corpus_chrf(hypotheses, [references], word_order=order).score)


@pytest.mark.parametrize("metric", ["chrf++", "chrf", "bleu"])
@pytest.mark.parametrize("language", list(REFERENCES))
def test_corpus_score_is_sacrebleus(metric: str, language: str) -> None:
    references = REFERENCES[language]
    hypotheses = damage(references)
    expected = sacrebleu_score(metric, hypotheses, references)
    scored = Scorer(metric, references, MetricModels()).score(hypotheses)
    assert scored.value == pytest.approx(expected, abs=1e-9)
    assert 5 < scored.value < 99


@pytest.mark.parametrize("language", list(REFERENCES))
def test_spbleu_is_what_sacrebleus_own_tokenizer_gives(language: str, spm: Path) -> None:
    # sacrebleu's tokenizer class with our file in place of the one it would download.
    tokenizer = TokenizerSPM.__new__(TokenizerSPM)
    tokenizer.name = "flores200"
    tokenizer.sp = sentencepiece.SentencePieceProcessor()
    tokenizer.sp.Load(str(spm))
    reference_metric = BLEU(force=True)
    reference_metric.tokenizer = tokenizer
    references = REFERENCES[language]
    hypotheses = damage(references)
    expected = reference_metric.corpus_score(hypotheses, [references]).score
    scored = Scorer("spbleu", references, MetricModels(spm=spm)).score(hypotheses)
    assert scored.value == pytest.approx(expected, abs=1e-9)
    assert 5 < scored.value < 99


def test_spbleu_over_joined_pieces_is_the_same_number(spm: Path) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(spm))
    references = REFERENCES["hin_Deva"]
    hypotheses = damage(references)

    def pieces(lines: list[str]) -> list[str]:
        return [" ".join(model.encode(line.rstrip(), out_type=str)) for line in lines]

    expected = BLEU(tokenize="none", force=True).corpus_score(
        pieces(hypotheses), [pieces(references)]
    )
    scored = Scorer("spbleu", references, MetricModels(spm=spm)).score(hypotheses)
    assert scored.value == pytest.approx(expected.score, abs=1e-9)


def test_signature_names_the_model_by_its_content(spm: Path, tmp_path: Path) -> None:
    references = REFERENCES["eng_Latn"]
    signature = Scorer("spbleu", references, MetricModels(spm=spm)).score(references).signature
    assert "|tok:spm-" in signature
    assert f"|spm:{hashlib.sha256(spm.read_bytes()).hexdigest()[:12]}|" in signature
    assert "flores200" not in signature
    copy = tmp_path / "flores200_sacrebleu_tokenizer_spm.model"
    copy.write_bytes(spm.read_bytes())
    assert Scorer("spbleu", references, MetricModels(spm=copy)).score(references).signature == (
        signature
    )


@pytest.mark.parametrize("metric", METRICS)
def test_summed_statistics_give_the_corpus_score(metric: str, spm: Path) -> None:
    references = REFERENCES["rus_Cyrl"]
    scorer = Scorer(metric, references, MetricModels(spm=spm))
    hypotheses = damage(references)
    summed = scorer.statistics(hypotheses).sum(axis=0)
    assert summed.dtype == np.int64
    assert scorer.score_statistics(summed) == pytest.approx(scorer.score(hypotheses).value)


def test_signature_is_sacrebleus_and_names_the_references() -> None:
    references = REFERENCES["eng_Latn"]
    metric = CHRF(word_order=2)
    metric.corpus_score(references, [references])
    scored = Scorer("chrf++", references, MetricModels()).score(references)
    assert scored.signature.startswith(f"{metric.get_signature()}|refs:")
    other = Scorer("chrf++", references[1:], MetricModels()).score(references[1:])
    assert scored.signature.split("|refs:")[1] != other.signature.split("|refs:")[1]


def test_spbleu_without_a_model_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONGUES_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="--config spm=FILE"):
        find_spm(None)


def test_other_file_in_the_cache_is_not_taken_for_spm200(
    spm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONGUES_CACHE", str(tmp_path))
    (tmp_path / "flores200_sacrebleu_tokenizer_spm.model").write_bytes(spm.read_bytes())
    with pytest.raises(DataError, match="is not SPM-200"):
        find_spm(None)


def test_file_that_is_no_sentencepiece_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.model").write_bytes(b"not a model")
    with pytest.raises(DataError, match=r"x\.model is not a SentencePiece model"):
        Scorer("spbleu", ["a"], MetricModels(spm=tmp_path / "x.model"))


def test_wrong_model_is_refused_before_anything_is_written(
    flores: Path, system: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.model").write_bytes(b"")
    config = ScoreConfig(spm=tmp_path / "x.model")
    with pytest.raises(DataError, match=r"x\.model is not a SentencePiece model"):
        score_systems([system], flores, "devtest", tmp_path / "o", ["spbleu"], config)
    assert not (tmp_path / "o").exists()


def test_unknown_metric_lists_the_known() -> None:
    with pytest.raises(UserError, match=r"`meteor`.*chrf\+\+"):
        parse_metrics("spbleu,meteor")


def test_command_writes_every_direction_and_the_copy_baseline(
    flores: Path, system: Path, spm: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores"
    arguments = [
        "score", "--hypotheses", str(system), "--flores", str(flores), "--output", str(output),
        "--metrics", "spbleu,chrf++", "--config", f"spm={spm}", "--config", "baselines=[copy]",
    ]  # fmt: skip
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    header = (output / "scores.tsv").read_text(encoding="utf-8").split("\n")[0]
    assert header == "system\tdirection\tmetric\tvalue\tn\tsignature"
    rows = read_scores(output / "scores.tsv")
    assert len(rows) == 2 * 2 * len(PAIRS)
    for row in rows:
        source, target = row.direction
        answers = damage(REFERENCES[target]) if row.system == "mine" else REFERENCES[source]
        references = REFERENCES[target]
        if row.metric == "chrf++":
            expected = sacrebleu_score("chrf++", answers, references)
            assert row.value == pytest.approx(expected, abs=1e-9)
        assert row.n == 4
    first = (output / "scores.tsv").read_bytes()
    CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert (output / "scores.tsv").read_bytes() == first


def test_length_mismatch_names_file_and_both_counts(
    flores: Path, system: Path, tmp_path: Path
) -> None:
    path = system / "eng_Latn-rus_Cyrl.txt"
    write_lines(path, REFERENCES["rus_Cyrl"][:3])
    with pytest.raises(DataError, match=r"eng_Latn-rus_Cyrl\.txt has 3 lines .* has 4"):
        score_systems([system], flores, "devtest", tmp_path / "out", ["chrf++"], ScoreConfig())
    assert not (tmp_path / "out" / "scores.tsv").exists()


def test_empty_hypothesis_file_is_refused(flores: Path, system: Path, tmp_path: Path) -> None:
    (system / "eng_Latn-rus_Cyrl.txt").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        score_systems([system], flores, "devtest", tmp_path / "out", ["chrf++"], ScoreConfig())


def test_line_separator_inside_a_line_is_text(flores: Path, system: Path, tmp_path: Path) -> None:
    lines = ["a\u2028b", "c\u0085d", "e\x0cf", "g\xa0h"]
    write_lines(system / "eng_Latn-rus_Cyrl.txt", lines)
    scores = score_systems([system], flores, "devtest", tmp_path / "o", ["chrf"], ScoreConfig())
    assert {row.n for row in scores.rows} == {4}


def test_oddities_are_warned_of(flores: Path, system: Path, tmp_path: Path) -> None:
    write_lines(system / "eng_Latn-rus_Cyrl.txt", REFERENCES["eng_Latn"])
    write_lines(system / "rus_Cyrl-arb_Arab.txt", REFERENCES["arb_Arab"])
    write_lines(system / "hin_Deva-tha_Thai.txt", ["", *REFERENCES["tha_Thai"][1:]])
    scores = score_systems([system], flores, "devtest", tmp_path / "o", ["chrf++"], ScoreConfig())
    warnings = "\n".join(scores.warnings)
    assert "eng_Latn-rus_Cyrl.txt: 4 of 4 lines are equal to the source" in warnings
    assert "hin_Deva-tha_Thai.txt: 1 of 4 lines are empty" in warnings
    assert "scores 100 chrf++ in rus_Cyrl-arb_Arab" in warnings


def test_missing_directions_are_counted_and_shown(
    flores: Path, system: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    write_lines(other / "eng_Latn-rus_Cyrl.txt", damage(REFERENCES["rus_Cyrl"]))
    output = tmp_path / "out"
    config = ScoreConfig(directions=("eng_Latn-hin_Deva",))
    score_systems([system, other], flores, "devtest", output, ["chrf++"], config)
    found = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    assert found["missing"]["mine"] == ["eng_Latn-hin_Deva"]
    assert len(found["missing"]["other"]) == 5
    counted = {
        entry["system"]: (entry["n"], entry["n_missing"])
        for entry in found["averages"]
        if entry["bucket"] == "all"
    }
    assert counted == {"mine": (5, 1), "other": (1, 5)}
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "other: 5 of 6 directions are missing" in page


def test_hypothesis_named_for_no_direction_is_refused(
    flores: Path, system: Path, tmp_path: Path
) -> None:
    write_lines(system / "inglese-rus_Cyrl.txt", ["x"] * 4)
    with pytest.raises(UserError, match="inglese"):
        score_systems([system], flores, "devtest", tmp_path / "o", ["chrf++"], ScoreConfig())


def test_what_is_no_file_is_named(flores: Path, system: Path, tmp_path: Path) -> None:
    arguments = ([system], flores, "devtest", tmp_path / "o", ["chrf++"], ScoreConfig())
    path = system / "eng_Latn-arb_Arab.txt"
    path.symlink_to("nowhere.txt")
    with pytest.raises(UserError, match=r"eng_Latn-arb_Arab\.txt is not a file"):
        score_systems(*arguments)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=r"eng_Latn-arb_Arab\.txt is not a file"):
        score_systems(*arguments)


def test_sentence_scores_of_an_earlier_run_do_not_stay_beside_others(
    flores: Path, system: Path, tmp_path: Path
) -> None:
    output = tmp_path / "o"
    score_systems([system], flores, "devtest", output, ["chrf"], ScoreConfig(segments=True))
    assert (output / "segments" / "rus_Cyrl.parquet").is_file()
    write_lines(system / "eng_Latn-rus_Cyrl.txt", ["река"] * 4)
    score_systems([system], flores, "devtest", output, ["chrf"], ScoreConfig())
    assert not (output / "segments" / "rus_Cyrl.parquet").exists()


def test_two_systems_of_one_name_are_refused(flores: Path, system: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "x" / "mine" / "eng_Latn-rus_Cyrl.txt", ["x"] * 4)
    both = [system, tmp_path / "x" / "mine"]
    with pytest.raises(UserError, match="already taken"):
        score_systems(both, flores, "devtest", tmp_path / "o", ["chrf++"], ScoreConfig())


def test_changed_hypotheses_are_scored_again_and_nothing_else(
    flores: Path, system: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ([system], flores, "devtest", tmp_path / "o", ["chrf++"], ScoreConfig())
    before = {row.direction: row.value for row in score_systems(*arguments).rows}
    write_lines(system / "eng_Latn-rus_Cyrl.txt", ["река"] * 4)
    with caplog.at_level("INFO"):
        after = {row.direction: row.value for row in score_systems(*arguments).rows}
    changed = parse_direction("eng_Latn-rus_Cyrl")
    expected = sacrebleu_score("chrf++", ["река"] * 4, REFERENCES["rus_Cyrl"])
    assert after[changed] == pytest.approx(expected, abs=1e-9) != before[changed]
    assert {k: v for k, v in after.items() if k != changed} == {
        k: v for k, v in before.items() if k != changed
    }
    assert "score: 4 of 5 shards already done" in caplog.text


def test_levels_are_those_of_the_poorer_language(tmp_path: Path) -> None:
    table = ["language\tname\tresource", "eng_Latn\tE\tpivot", "rus_Cyrl\tR\tlow"]
    write_lines(tmp_path / "l.tsv", [*table, "hin_Deva\tH\tvery low"])
    levels = read_levels(tmp_path / "l.tsv")
    directions = [
        parse_direction(text)
        for text in ("eng_Latn-rus_Cyrl", "rus_Cyrl-hin_Deva", "hin_Deva-eng_Latn")
    ]
    assert [direction_level(direction, levels) for direction in directions] == [
        "low",
        "very_low",
        "very_low",
    ]
    values = {("s", "m", directions[0]): 10.0, ("s", "m", directions[1]): 20.0}
    buckets = make_buckets(directions, LanguageTable(levels))
    found = {e.bucket: e[3:6] for e in average(values, buckets) if ":" not in e.bucket}
    # Very low is inside low and counted in both; nothing is high.
    assert found == {"all": (15.0, 2, 1), "low": (15.0, 2, 1), "very_low": (20.0, 1, 1)}


def test_unknown_level_is_named_with_its_line(tmp_path: Path) -> None:
    write_lines(tmp_path / "l.tsv", ["language\tresource", "eng_Latn\tplenty"])
    with pytest.raises(DataError, match=r"l\.tsv:2: resource is `plenty`"):
        read_levels(tmp_path / "l.tsv")
