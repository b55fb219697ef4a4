import functools
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.bitext import BitextReader
from corpus.errors import DataError, JobError, UserError
from corpus.evaluation_sets import EvaluationSentences
from corpus.flores import read_split, split_languages
from corpus.languages import Direction
from corpus.protocols import Prediction
from corpus.records import BITEXT_SCHEMA, read_bitext, write_bitext
from corpus.terms import TermMatcher
from mining.bitext.config import FilterConfig
from mining.bitext.filter import FilterInputs, run_filter
from mining.bitext.pairs import lengths_fit, median_length_ratio, trigram_overlap
from mining.bitext.rules import REASONS, Knowledge, PairFilter

CONFIG = FilterConfig(min_score=1.05, max_score=1.8)
GOOD = ("The house stands by the river.", "Дом стоит у самой реки.")
RUSSIAN = Direction("eng_Latn", "rus_Cyrl")


def bitext(*pairs: tuple[str, str], scores: list[float] | None = None) -> pa.Table:
    return pa.table(
        {
            "score": scores or [1.2] * len(pairs),
            "source": [source for source, _ in pairs],
            "target": [target for _, target in pairs],
            "source_document": ["u"] * len(pairs),
            "target_document": ["v"] * len(pairs),
        },
        schema=BITEXT_SCHEMA,
    )


def reasons(
    table: pa.Table, config: FilterConfig = CONFIG, length_ratio: float = 1.0, **known: object
) -> list[str]:
    knowledge = Knowledge(length_ratio=length_ratio, **known)  # type: ignore[arg-type]
    return PairFilter(knowledge, config).reasons(table)


def test_good_pair_is_kept() -> None:
    assert reasons(bitext(GOOD), direction=RUSSIAN) == [""]


@pytest.mark.parametrize("score", [1.0, 1.9, float("nan")])
def test_score_outside_the_range_is_rejected(score: float) -> None:
    expected = "score_too_low" if score < 1.05 else "score_too_high"
    assert reasons(bitext(GOOD, scores=[score])) == [expected]


def test_copy_is_rejected() -> None:
    pairs = bitext(GOOD, ("This line was copied whole.", "This line was copied, whole!"))
    assert reasons(pairs) == ["", "copy"]


def test_side_without_letters_is_rejected() -> None:
    assert reasons(bitext(("!!!", GOOD[1]), (GOOD[0], ""))) == ["empty_side", "empty_side"]


def test_side_with_characters_lost_in_decoding_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "eng_Latn-rus_Cyrl.tsv"
    path.write_bytes("\t".join(GOOD).encode().replace(b"house", b"h\xffuse") + b"\n")
    assert reasons(read_bitext(path)) == ["damaged_characters"]


def test_length_is_judged_by_the_ratio_of_the_pair_not_by_one() -> None:
    chinese = ("The weather is very good today.", "今天天气很好。")
    pairs = bitext(*[(f"{chinese[0]} {i}", f"{chinese[1]}{i}") for i in range(9)], GOOD)
    ratio = median_length_ratio([pairs])
    assert [lengths_fit(*pair, ratio, 2.0) for pair in (chinese, GOOD)] == [True, False]
    assert lengths_fit(*chinese, 1.0, 2.0) is False


def test_median_length_ratio_by_hand() -> None:
    # By hand, five characters added to each: 10/10, 10/10, 25/10: the median is 1, in steps of 1 %.
    pairs = bitext(("a" * 5, "b" * 5), ("a" * 5, "b" * 5), ("a" * 5, "b" * 20))
    assert median_length_ratio([pairs]) == pytest.approx(1.0, abs=0.01)
    assert median_length_ratio([]) == 1.0


def test_script_of_a_side_is_checked_where_the_language_is_known() -> None:
    swapped = bitext((GOOD[1], GOOD[0]))
    assert reasons(swapped, direction=RUSSIAN) == ["wrong_script"]
    assert reasons(swapped) == [""]


class SaysFrench:
    languages = ("fra_Latn",)

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        return [Prediction("fra_Latn" if "maison" in line else "und", 0.95) for line in lines]


def test_side_surely_in_another_language_is_rejected_and_an_unsure_one_is_not() -> None:
    pairs = bitext(GOOD, ("La maison est au bord de la.", "Дом стоит у самой реки, да."))
    known = {"direction": RUSSIAN, "identifier": SaysFrench()}
    assert reasons(pairs, **known) == ["", "wrong_language"]
    assert reasons(pairs, FilterConfig(min_other_language_score=0.96), **known) == ["", ""]


def test_toxicity_of_one_side_only_is_rejected_and_without_a_list_not_measured() -> None:
    words = {"eng_Latn": ["darn"], "rus_Cyrl": ["чёрт"]}
    lists = {code: TermMatcher(terms, code) for code, terms in words.items()}
    pairs = bitext(
        ("Darn, darn, darn it.", "Вот это да и как."),
        ("Darn, darn, darn it!!", "Чёрт, чёрт возьми."),
    )
    assert reasons(pairs, direction=RUSSIAN, toxicity=lists) == ["toxicity", ""]
    known = Knowledge(length_ratio=1.0, direction=RUSSIAN, toxicity={"eng_Latn": lists["eng_Latn"]})
    assert PairFilter(known, CONFIG).reasons(pairs) == ["", ""]
    assert known.unmeasured() == ["toxicity.rus_Cyrl"]


def test_same_pair_again_is_a_duplicate_also_in_a_later_batch() -> None:
    pair_filter = PairFilter(Knowledge(length_ratio=1.0), CONFIG)
    assert pair_filter.reasons(bitext(GOOD, (GOOD[0].upper(), GOOD[1]))) == ["", "duplicate_pair"]
    assert pair_filter.reasons(bitext(GOOD)) == ["duplicate_pair"]


@pytest.mark.parametrize("side", [0, 1])
def test_sentence_is_in_at_most_so_many_pairs_of_its_side(side: int) -> None:
    others = [f"Слово номер {name} в ряду." for name in ("раз", "два", "три", "пять")]
    pairs = [(GOOD[0], other) if side == 0 else (other, GOOD[0]) for other in others]
    pair_filter = PairFilter(Knowledge(length_ratio=1.0), FilterConfig(max_pairs_per_sentence=2))
    name = ("repeated_source", "repeated_target")[side]
    assert pair_filter.reasons(bitext(*pairs[:3])) == ["", "", name]
    assert pair_filter.reasons(bitext(pairs[3])) == [name]


def test_rejected_pairs_do_not_count_towards_the_limit() -> None:
    pairs = bitext((GOOD[0], "Да."), (GOOD[0], GOOD[1]))
    assert reasons(pairs, FilterConfig(max_pairs_per_sentence=1)) == ["length_ratio", ""]


def test_null_side_is_an_error() -> None:
    table = pa.table({"source": pa.array([None], pa.string()), "target": ["x"]})
    with pytest.raises(DataError, match="without a source"):
        reasons(table)


def test_trigram_overlap_by_hand() -> None:
    # By hand: abc bcd cde against abc bcd: both of the smaller side's.
    assert trigram_overlap("abcde", "abcd") == 1.0
    assert trigram_overlap("abcde", "xyz") == 0.0
    assert trigram_overlap("", "") == 1.0


def evaluation_set(folder: Path, sentence: str) -> Path:
    split = folder / "flores" / "devtest"
    split.mkdir(parents=True)
    (split / "rus_Cyrl.devtest").write_text(f"{sentence}\n", encoding="utf-8")
    return folder / "flores"


PAIRS = (
    GOOD,
    GOOD,
    ("The river was wide and slow.", "Река была широкой и тихой."),
    ("A copied line, as it was.", "A copied line, as it was."),
    ("Short", "Это предложение гораздо длиннее, чем должно быть."),
)


@pytest.mark.parametrize("suffix", ["parquet", "tsv", "tsv.zst"])
def test_file_is_filtered_and_every_pair_is_kept_or_among_the_rejects(
    tmp_path: Path, suffix: str
) -> None:
    source = tmp_path / f"eng_Latn-rus_Cyrl.{suffix}"
    write_bitext(source, bitext(*PAIRS))
    sets = (evaluation_set(tmp_path, "Река была широкой и тихой"),)
    output, rejects = tmp_path / "out" / f"x.{suffix}", tmp_path / "out" / f"rejects.{suffix}"
    inputs = FilterInputs(evaluation_sets=sets)
    summary = run_filter(source, output, inputs, FilterConfig(), rejects=rejects)
    counts = {name: count for name, count in summary.counts.items() if count}
    assert counts == {
        "pairs": 5, "kept": 1, "rejected.evaluation_overlap": 1, "rejected.length_ratio": 1,
        "rejected.copy": 1, "rejected.duplicate_pair": 1,
    }  # fmt: skip
    kept = read_bitext(output)
    assert kept.select(["source", "target", "source_document"]).to_pylist() == [
        {"source": GOOD[0], "target": GOOD[1], "source_document": "u"}
    ]
    assert kept.column("score").type == pa.float32()
    assert Counter(read_bitext(rejects).column("reason").to_pylist()) == {
        name.removeprefix("rejected."): n for name, n in counts.items() if "." in name
    }


def test_further_columns_go_through(tmp_path: Path) -> None:
    table = bitext(GOOD).append_column("source_position", pa.array([7], pa.int32()))
    write_bitext(tmp_path / "in.parquet", table)
    run_filter(tmp_path / "in.parquet", tmp_path / "o.parquet", FilterInputs(), FilterConfig())
    assert read_bitext(tmp_path / "o.parquet").equals(table)


def test_empty_bitext_gives_empty_bitext(tmp_path: Path) -> None:
    write_bitext(tmp_path / "in.parquet", bitext())
    (tmp_path / "in.tsv").write_bytes(b"")
    for name in ("in.parquet", "in.tsv"):
        output = tmp_path / f"out-{name}" / name
        counts = run_filter(tmp_path / name, output, FilterInputs(), FilterConfig()).counts
        assert counts["pairs"] == counts["kept"] == 0
        assert read_bitext(output).num_rows == 0


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    write_bitext(tmp_path / "eng_Latn-rus_Cyrl.parquet", bitext(GOOD))
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "eng_Latn_twl.txt").write_text("darn\n", encoding="utf-8")
    inputs = FilterInputs(toxicity=lists)
    run = functools.partial(run_filter, inputs=inputs, config=FilterConfig())
    counts = run(tmp_path / "eng_Latn-rus_Cyrl.parquet", tmp_path / "o.parquet").counts
    assert counts["unmeasured.toxicity.rus_Cyrl"] == 1
    write_bitext(tmp_path / "any.parquet", bitext(GOOD))
    counts = run(tmp_path / "any.parquet", tmp_path / "o2.parquet").counts
    assert counts["unmeasured.wrong_script"] == counts["unmeasured.toxicity"] == 1


def test_wrong_files_are_the_users_mistake(tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    write_bitext(source, bitext(GOOD))
    config, none = FilterConfig(), FilterInputs()
    with pytest.raises(UserError, match="is the input"):
        run_filter(source, source, none, config)
    with pytest.raises(UserError, match="is the input"):
        run_filter(source, tmp_path / "o.parquet", none, config, rejects=source)
    with pytest.raises(UserError, match="both"):
        run_filter(source, tmp_path / "o.tsv", none, config, rejects=tmp_path / "o.tsv")
    with pytest.raises(UserError, match="written as"):
        run_filter(source, tmp_path / "o.csv", none, config)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="holds no evaluation set"):
        run_filter(source, tmp_path / "o.parquet", FilterInputs(evaluation_sets=(empty,)), config)
    with pytest.raises(UserError, match="is not a language identifier"):
        run_filter(source, tmp_path / "o.parquet", FilterInputs(lid=empty), config)
    with pytest.raises(UserError, match="holds no word list"):
        run_filter(source, tmp_path / "o.parquet", FilterInputs(toxicity=empty), config)


def test_damaged_bitext_fails_and_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    write_bitext(source, bitext(*[(f"{GOOD[0]} {i}", GOOD[1]) for i in range(3000)]))
    source.write_bytes(source.read_bytes()[:-200])
    with pytest.raises(JobError, match="not a readable Parquet file"):
        run_filter(source, tmp_path / "out" / "o.parquet", FilterInputs(), FilterConfig())
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_filter_killed_half_way_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{a}{b}" for a in "abcdefghij" for b in "abcdefghij"]
    source = tmp_path / "eng_Latn-rus_Cyrl.parquet"
    write_bitext(source, bitext(*[(f"The {x} house stands.", f"Дом {x} стоит.") for x in names]))
    killed, undisturbed = tmp_path / "killed" / "o.parquet", tmp_path / "undisturbed" / "o.parquet"
    script = textwrap.dedent(
        """
        import functools, os, signal, sys
        from pathlib import Path
        from mining.bitext import filter as room
        from mining.bitext.config import FilterConfig
        asked, calls = room.PairFilter.reasons, []
        def dying(self, table):
            calls.append(table)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return asked(self, table)
        room.PairFilter.reasons = dying
        room.BitextReader = functools.partial(room.BitextReader, rows=30)
        room.run_filter(*map(Path, sys.argv[1:3]), room.FilterInputs(), FilterConfig())
        """
    )
    command = [sys.executable, "-c", script, str(source), str(killed)]
    dead = subprocess.run(command, check=False, capture_output=True)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    assert not killed.exists()
    monkeypatch.setattr(
        "mining.bitext.filter.BitextReader", functools.partial(BitextReader, rows=30)
    )
    for output in (killed, undisturbed):
        run_filter(source, output, FilterInputs(), FilterConfig())
    assert killed.read_bytes() == undisturbed.read_bytes()
    assert pq.ParquetFile(killed).num_row_groups == 4


def test_every_reason_is_told_of_in_the_guide() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guide.md").read_text(encoding="utf-8")
    assert [reason for reason in REASONS if f"`{reason}`" not in guide] == []


DATA = os.environ.get("TONGUES_DATA")


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="TONGUES_DATA is not set")
@pytest.mark.parametrize("split", ["dev", "devtest"])
def test_true_pairs_of_every_flores_language_survive_every_filter(split: str) -> None:
    assert DATA is not None
    directory = Path(DATA) / "flores200_dataset"
    english = read_split(directory, split, ["eng_Latn"])["eng_Latn"]
    below = {}
    for language in split_languages(directory, split):
        if language == "eng_Latn":
            continue
        lines = read_split(directory, split, [language])[language]
        pairs = pa.table({"source": english, "target": lines})
        known = Knowledge(
            length_ratio=median_length_ratio([pairs]),
            direction=Direction("eng_Latn", language),
            evaluation=EvaluationSentences(["Nothing that FLORES has, but long enough to be cut."]),
        )
        counts = Counter(PairFilter(known, FilterConfig()).reasons(pairs))
        for reason, count in counts.items():
            if reason and count > 0.03 * len(lines):
                below[language, reason] = count / len(lines)
    assert not below
