"""Scores on public test sets: several references, lines that are not scored, codes that meet."""

import json
import random
from pathlib import Path

import pytest
import sacrebleu
from click.testing import CliRunner

from corpus.errors import UserError
from corpus.files import read_lines, write_lines
from corpus.languages import Direction
from eval.checks.batches import find_batches
from eval.cli import group
from eval.compare import compare_systems
from eval.config import CompareConfig, SampleConfig, ScoreConfig
from eval.human.sampling import ATTENTION, ITEM, read_items
from eval.sample import sample_items
from eval.score import score_systems
from eval.statistics.slices import read_slices

TEXT = "the house on river bridge opened, children are reading (a book) near water."
WORDS = TEXT.split()
CONFIG = ScoreConfig(resamples=0, check_with_sacrebleu=50)


def sentence(seed: str) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=8))


@pytest.fixture
def three_references(tmp_path: Path) -> Path:
    """A table with three references; the second translator left a line out."""
    rows = [
        {
            "source": f"line {n}", "refA": sentence(f"a{n}"), "refC": sentence(f"c{n}"),
            "refB": sentence(f"b{n}") if n != 3 else "",
        }
        for n in range(12)
    ]  # fmt: skip
    write_lines(tmp_path / "set.en-de.jsonl", map(json.dumps, rows))
    return tmp_path / "set.en-de.jsonl"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    lines = [sentence(f"{'abc'[n % 3]}{n}")[: 60 - n] + " more" for n in range(12)]
    write_lines(tmp_path / "mine" / "eng_Latn-deu_Latn.txt", lines)
    return tmp_path / "mine"


def test_several_references_score_as_sacrebleu_scores_them(
    three_references: Path, system: Path, tmp_path: Path
) -> None:
    metrics = ["chrf++", "chrf", "bleu", "ter"]
    scores = score_systems([system], three_references, "", tmp_path / "out", metrics, CONFIG)
    hypotheses = (system / "eng_Latn-deu_Latn.txt").read_text().splitlines()
    rows = [json.loads(line) for line in three_references.read_text().splitlines()]
    references = [[row[name] for row in rows] for name in ("refA", "refB", "refC")]
    theirs = {
        "chrf++": sacrebleu.CHRF(word_order=2), "chrf": sacrebleu.CHRF(),
        "bleu": sacrebleu.BLEU(), "ter": sacrebleu.TER(),
    }  # fmt: skip
    for row in scores.rows:
        peer = theirs[row.metric]
        assert row.value == pytest.approx(peer.corpus_score(hypotheses, references).score, abs=1e-9)
        assert row.signature.startswith("nrefs:3|")
    sentences = [sacrebleu.sentence_chrf(h, [r[n] for r in references]).score for n, h in
                 enumerate(hypotheses)]  # fmt: skip
    found = next(row for row in scores.rows if row.metric == "chrf")
    assert found.sentence_mean == pytest.approx(sum(sentences) / len(sentences))


def test_comparison_takes_the_same_references(
    three_references: Path, system: Path, tmp_path: Path
) -> None:
    write_lines(
        tmp_path / "other" / "eng_Latn-deu_Latn.txt", [sentence(f"x{n}") for n in range(12)]
    )
    config = CompareConfig(trials=100, resamples=20)
    found = compare_systems(
        [system, tmp_path / "other"], three_references, "", tmp_path / "c", config
    )
    (one,) = found.comparisons
    scores = score_systems([system], three_references, "", tmp_path / "out", ["chrf++"], CONFIG)
    assert one.first == pytest.approx(scores.rows[0].value)


def test_lines_marked_bad_are_left_out_of_whole_hypotheses(tmp_path: Path) -> None:
    rows = [
        {
            "lp": "en-de_DE", "domain": "news", "document_id": "d", "segment_id": n,
            "is_bad_source": n == 2, "source": f"s{n}", "target": sentence(f"t{n}"),
        }
        for n in range(6)
    ]  # fmt: skip
    write_lines(tmp_path / "en-de_DE.jsonl", map(json.dumps, rows))
    whole = [sentence(f"h{n}") for n in range(6)]
    write_lines(tmp_path / "whole" / "eng_Latn-deu_Latn.txt", whole)
    write_lines(tmp_path / "scored" / "eng_Latn-deu_Latn.txt", whole[:2] + whole[3:])
    scores = score_systems(
        [tmp_path / "whole", tmp_path / "scored"], tmp_path / "en-de_DE.jsonl", "",
        tmp_path / "out", ["chrf++"], ScoreConfig(resamples=0),
    )  # fmt: skip
    first, second = scores.rows
    assert first.value == second.value
    assert first.n == 5


@pytest.fixture
def flores_plus(tmp_path: Path) -> Path:
    for code in ("eng_Latn", "cmn_Hans"):
        rows = [
            {"id": n, "text": sentence(f"{code}{n}"), "domain": "news" if n < 5 else "travel",
             "url": f"https://example.org/{n // 2}"}
            for n in range(12)
        ]  # fmt: skip
        write_lines(tmp_path / "plus" / "devtest" / f"{code}.jsonl", map(json.dumps, rows))
    return tmp_path / "plus"


def test_slices_are_scores_of_their_lines_alone(flores_plus: Path, tmp_path: Path) -> None:
    hypotheses = [sentence(f"h{n}") for n in range(12)]
    write_lines(tmp_path / "mine" / "eng_Latn-zho_Hans.txt", hypotheses)
    output = tmp_path / "out"
    arguments = [
        "score", "--hypotheses", str(tmp_path / "mine"), "--test-set", str(flores_plus),
        "--output", str(output), "--metrics", "chrf++,bleu", "--slice", "domain",
        "--slice", "document", "--slice", "length", "--config", "resamples=20",
    ]  # fmt: skip
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 0, result.output
    assert "zho_Hans is its cmn_Hans" in result.stderr
    found = {(one.slice, one.part): one for one in read_slices(output) if one.metric == "chrf++"}
    references = [sentence(f"cmn_Hans{n}") for n in range(12)]
    news = sacrebleu.corpus_chrf(hypotheses[:5], [references[:5]], word_order=2).score
    one = found["domain", "news"]
    assert (one.direction, one.n) == (Direction("eng_Latn", "zho_Hans"), 5)
    assert one.value == pytest.approx(news)
    assert (one.low or 100) <= one.value <= (one.high or 0)
    assert sum(one.n for (name, _), one in found.items() if name == "document") == 12
    assert len([part for name, part in found if name == "length"]) == 3
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "Parts of the test set" in page
    assert "zho_Hans is its cmn_Hans" in page
    assert "chrf++ by domain" in result.stdout


def test_a_slice_that_the_set_does_not_have_is_refused_with_those_it_has(
    flores_plus: Path, tmp_path: Path
) -> None:
    write_lines(tmp_path / "mine" / "eng_Latn-zho_Hans.txt", ["x"] * 12)
    config = ScoreConfig(slices=("genre",))
    with pytest.raises(UserError, match=r"says nothing of `genre`.*document, domain, length, url"):
        score_systems([tmp_path / "mine"], flores_plus, "", tmp_path / "o", ["chrf"], config)


def test_flores_is_found_by_another_name_of_the_language(tmp_path: Path) -> None:
    for code in ("eng_Latn", "zho_Hans"):
        lines = [sentence(f"{code}{n}") for n in range(3)]
        write_lines(tmp_path / "flores" / "devtest" / f"{code}.devtest", lines)
    write_lines(tmp_path / "mine" / "eng_Latn-cmn_Hans.txt", [sentence(f"{n}") for n in range(3)])
    output = tmp_path / "out"
    scores = score_systems([tmp_path / "mine"], tmp_path / "flores", "", output, ["chrf"], CONFIG)
    assert scores.test_set == "FLORES-200 devtest; cmn_Hans is its zho_Hans"


def write_wmt_xml(path: Path, source: str, target: str, translators: dict[str, list[str]]) -> None:
    """WMT's layout of one direction: a document, its sources, and a text of each translator."""

    def texts(tag: str, lines: list[str]) -> str:
        inner = "".join(f'<seg id="{n}">{line}</seg>' for n, line in enumerate(lines, 1))
        return f"<{tag}><p>{inner}</p></{tag.split()[0]}>"

    count = len(next(iter(translators.values())))
    parts = [texts(f'src lang="{source}"', [f"{source} says {n}0" for n in range(count)])]
    parts += [
        texts(f'ref lang="{target}" translator="{name}"', lines)
        for name, lines in translators.items()
    ]
    content = f'<dataset id="x"><doc id="d">{"".join(parts)}</doc></dataset>'
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")


def test_check_reads_wmt_with_lines_of_its_own_for_each_direction(tmp_path: Path) -> None:
    lines = {name: [f"{name} {n}0 说" for n in range(6)] for name in "AB"}
    write_wmt_xml(tmp_path / "wmt" / "wmttest.en-zh.xml", "en", "zh", lines)
    write_wmt_xml(tmp_path / "wmt" / "wmttest.cs-zh.xml", "cs", "zh", {"A": lines["B"][:4]})
    write_lines(tmp_path / "mine" / "eng_Latn-cmn_Hans.txt", [*lines["A"][:5], "A 说"])
    write_lines(tmp_path / "mine" / "ces_Latn-cmn_Hans.txt", lines["B"][:4])
    arguments = [
        "check", "--hypotheses", str(tmp_path / "mine"), "--test-set", str(tmp_path / "wmt"),
        "--output",
    ]  # fmt: skip
    result = CliRunner().invoke(group, [*arguments, str(tmp_path / "out")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    header, *rows = (line.split("\t") for line in read_lines(tmp_path / "out" / "content.tsv"))
    found = {row[1]: dict(zip(header, row, strict=True)) for row in rows}
    english, czech = (found[f"{code}-cmn_Hans"] for code in ("eng_Latn", "ces_Latn"))
    assert (english["n"], czech["n"]) == ("6", "4")
    assert (english["number_missing"], czech["number_missing"]) == ("1", "0")
    reference = tmp_path / "out" / "test_set" / "eng_Latn-cmn_Hans.reference.txt"
    assert read_lines(reference) == lines["A"]
    result = CliRunner().invoke(group, [*arguments, str(tmp_path / "b"), "--config",
        "references=[B]"])  # fmt: skip
    assert "has no reference by `B`" in str(result.exception)  # Czech has none


def test_check_says_which_of_several_references_it_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = {name: [f"{name} {n}" for n in range(4)] for name in "AB"}
    write_wmt_xml(tmp_path / "en-de.xml", "en", "de", lines)
    write_lines(tmp_path / "mine" / "eng_Latn-deu_Latn.txt", lines["A"])
    find_batches([tmp_path / "mine"], tmp_path / "en-de.xml", "", tmp_path / "texts")
    assert "by A, B: of several references the first is taken" in caplog.text
    caplog.clear()
    (batch,) = find_batches(
        [tmp_path / "mine"], tmp_path / "en-de.xml", "", tmp_path / "texts", ["B"]
    )
    assert read_lines(batch.references) == lines["B"]
    assert "the first is taken" not in caplog.text


def test_sample_shows_the_texts_of_the_set_under_the_systems_codes(tmp_path: Path) -> None:
    folder = tmp_path / "ntrex" / "NTREX-128"
    texts = {code: [f"{code} {n}" for n in range(5)] for code in ("eng", "zho-CN")}
    write_lines(folder / "newstest2019-src.eng.txt", texts["eng"])
    write_lines(folder / "newstest2019-ref.eng.txt", texts["eng"])
    write_lines(folder / "newstest2019-ref.zho-CN.txt", texts["zho-CN"])
    write_lines(tmp_path / "mine" / "eng_Latn-cmn_Hans.txt", [f"ours {n}" for n in range(5)])
    output = tmp_path / "sample"
    found = sample_items(
        [tmp_path / "mine"], tmp_path / "ntrex", "", None, output,
        SampleConfig(lines=5, attention_share=0.4),
    )  # fmt: skip
    assert "NTREX-128" in found["test_set"]
    assert "cmn_Hans is its zho-CN" in found["test_set"]
    items = read_items(output / "items.tsv")
    assert {item.source for item in items if item.kind == ITEM} == set(texts["eng"])
    assert {item.target for item in items if item.kind == ATTENTION} <= set(texts["zho-CN"])
    assert (output / "pages" / "eng_Latn-cmn_Hans.html").is_file()


def test_checks_leave_out_lines_marked_bad(tmp_path: Path) -> None:
    rows = [
        {"lp": "en-de_DE", "domain": "news", "document_id": "d", "segment_id": n,
         "is_bad_source": n == 2, "source": f"s{n}", "target": f"t{n}"}
        for n in range(4)
    ]  # fmt: skip
    write_lines(tmp_path / "en-de_DE.jsonl", map(json.dumps, rows))
    write_lines(tmp_path / "mine" / "eng_Latn-deu_Latn.txt", [f"h{n}" for n in range(4)])
    (batch,) = find_batches(
        [tmp_path / "mine"], tmp_path / "en-de_DE.jsonl", "", tmp_path / "texts"
    )
    assert batch.read(0) == ["h0", "h1", "h3"]
