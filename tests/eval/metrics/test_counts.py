"""Counts and scores against sacrebleu itself, integer by integer, on real and on hostile text."""

import itertools
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from corpus.files import read_lines, write_lines
from eval.metrics import counts, counts_numpy
from eval.metrics.counts import TokenIds, count_bleu_ids, count_chrf, is_compiled, space_flags
from eval.metrics.formulas import chrf_scores
from eval.metrics.measures import pack_counts, unpack_counts
from eval.metrics.metrics import MetricModels, Scorer, build_peer
from eval.metrics.sentencepiece_models import PieceTokenizer

DATA = Path(os.environ.get("TONGUES_DATA", os.devnull)) / "flores200_dataset" / "devtest"
LANGUAGES = sorted(path.stem for path in DATA.glob("*.devtest"))
needs_flores = pytest.mark.skipif(not LANGUAGES, reason="FLORES-200 is not in TONGUES_DATA")

ODD = [
    "", " ", "\xa0", "a\xa0b", "x\u2028y", "\u200b\u200c\u200d", "क्‍ष", "👩‍👩‍👧‍👦 🇩🇪", "e\u0301",
    "é", "w" * 300,
    "שלום עולם", "مرحبًا", "\u202bאב\u202c", "...", "(a)", '"q"', "!?", "a.", ".a", "-",
    "\x1c\x1d", "\x85",
    "\ufeffx", "\u3000全角　空白", "1.5,2-3", "&quot;a&amp;b&lt;", "<skipped>", "a-\tb",
    "\x00", "\x0b\x0c",
    "\u180e", "▁", "a ▁b", "\U0010ffff", "Ｆｕｌｌ", "ﬁ", "  two  spaces ", "a\rb",
    "<s> </s>", "<unk>",
]  # fmt: skip


def fuzz(line: str, chance: random.Random) -> str:
    """Return a hypothesis for a reference: words lost, moved, doubled, odd text put in."""
    words = line.split(" ")
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(words))
        kind = chance.randrange(5)
        if kind == 0 and len(words) > 1:
            del words[at]
        elif kind == 1:
            words.insert(at, words[chance.randrange(len(words))])
        elif kind == 2:
            words[at] = words[at][::-1]
        elif kind == 3:
            words.insert(at, chance.choice(ODD))
        else:
            words[at] += chance.choice(ODD)
    text = " ".join(words)
    return text if chance.random() > 0.02 else chance.choice(ODD)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> MetricModels:
    directory = tmp_path_factory.mktemp("spm")
    text = [line for language in LANGUAGES[::12] for line in flores(language)[:40]]
    write_lines(directory / "text.txt", [*text, *ODD[30:]] if text else ["a b c d e f g h"] * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(directory / "text.txt"), model_prefix=str(directory / "spm"), minloglevel=2,
        vocab_size=900 if text else 20, character_coverage=0.98,
        normalization_rule_name="identity", hard_vocab_limit=False,
    )  # fmt: skip
    return MetricModels(spm=directory / "spm.model")


def flores(language: str) -> list[str]:
    return read_lines(DATA / f"{language}.devtest")


def peer_statistics(
    metric: str, models: MetricModels, references: Sequence[str], hypotheses: Sequence[str]
) -> Any:
    peer = build_peer(metric, models)
    return peer._extract_corpus_statistics(list(hypotheses), [list(references)])


def check_against_sacrebleu(
    metrics: Sequence[str],
    models: MetricModels,
    references: Sequence[str],
    hypotheses: Sequence[str],
) -> None:
    for metric in metrics:
        peer = build_peer(metric, models)
        scorer = Scorer(metric, references, models)
        found = scorer.statistics(hypotheses)
        wanted = peer._extract_corpus_statistics(list(hypotheses), [list(references)])
        assert found.tolist() == wanted, metric
        score = peer.corpus_score(list(hypotheses), [list(references)]).score
        assert scorer.score(hypotheses).value == pytest.approx(score, abs=1e-9), metric


def check_sentences(
    models: MetricModels, references: Sequence[str], hypotheses: Sequence[str]
) -> None:
    for metric in ("chrf++", "spbleu", "bleu"):
        peer = build_peer(metric, models)
        peer.effective_order = True
        wanted = [
            peer._compute_score_from_stats(row).score
            for row in peer_statistics(metric, models, references, hypotheses)
        ]
        found = Scorer(metric, references, models).score_sentences(hypotheses)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)


def check_languages(languages: Sequence[str], lines: slice, models: MetricModels) -> None:
    for language in languages:
        chance = random.Random(language)
        references = flores(language)[lines]
        hypotheses = [fuzz(line, chance) for line in references]
        check_against_sacrebleu(("chrf++", "spbleu", "bleu"), models, references, hypotheses)


@needs_flores
@pytest.mark.parametrize("part", range(4))
def test_every_language_has_sacrebleus_integers(part: int, models: MetricModels) -> None:
    check_languages(LANGUAGES[part::4], slice(part, None, 150), models)


@needs_flores
@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_every_language_has_sacrebleus_integers_on_many_lines(
    part: int, models: MetricModels
) -> None:
    check_languages(LANGUAGES[part::8], slice(0, None, 5), models)


@needs_flores
def test_sentence_scores_are_sacrebleus(models: MetricModels) -> None:
    for language in ("eng_Latn", "zho_Hans", "urd_Arab"):
        chance = random.Random(language)
        references = flores(language)[:12] + ODD
        check_sentences(models, references, [fuzz(line, chance) for line in references])


@pytest.mark.parametrize("tokenizer", ["13a", "intl", "zh", "char", "none"])
def test_odd_text_has_sacrebleus_integers(tokenizer: str, models: MetricModels) -> None:
    models = MetricModels(spm=models.spm, bleu_tokenizer=tokenizer)
    chance = random.Random(7)
    references = ODD * 3
    hypotheses = [fuzz(line, chance) for line in references]
    check_against_sacrebleu(("chrf", "chrf++", "spbleu", "bleu"), models, references, hypotheses)
    check_against_sacrebleu(("chrf++", "spbleu", "bleu"), models, references, references[::-1])


ALPHABET = st.one_of(
    st.sampled_from("ab .,-!é한क्\u200d\xa0\u2028\x1c👍"), st.characters(exclude_categories=["Cs"])
)
LINES = st.lists(
    st.tuples(st.text(ALPHABET, max_size=25), st.text(ALPHABET, max_size=25)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60)
@given(pairs=LINES)
def test_any_text_has_sacrebleus_integers(
    pairs: list[tuple[str, str]], models: MetricModels
) -> None:
    references, hypotheses = ([pair[side] for pair in pairs] for side in (0, 1))
    check_against_sacrebleu(("chrf++", "spbleu", "bleu"), models, references, hypotheses)


@settings(max_examples=60)
@given(pairs=LINES)
def test_compiled_and_numpy_counts_are_the_same(pairs: list[tuple[str, str]]) -> None:
    if not is_compiled():
        pytest.skip("the compiled part is not built here")
    references, hypotheses = ([pair[side] for pair in pairs] for side in (0, 1))
    systems = [hypotheses, references, hypotheses[::-1]]
    for ours, twin in (
        (count_chrf, counts_numpy.count_chrf),
        (counts.count_bleu, counts_numpy.count_bleu),
    ):
        found = ours(references, systems)
        rows, lengths = twin(references, systems)
        assert (found.hypotheses == rows).all()
        assert (found.references == lengths).all()


def test_numpy_path_counts_ids_like_the_compiled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    own = TokenIds(np.array([1, 2, 1, 2, 3, 9], np.uint32), np.array([0, 5, 6, 6], np.int64))
    other = TokenIds(np.array([1, 2, 3, 9, 9, 4], np.uint32), np.array([0, 3, 5, 6], np.int64))
    found = count_bleu_ids(own, [other, own])
    monkeypatch.setattr(counts, "_library", lambda: None)
    twin = count_bleu_ids(own, [other, own])
    # By hand: 1 2 3 in 1 2 1 2 3 has 3 tokens, 2 pairs, 1 triple; 9 9 in 9 has one.
    assert found.hypotheses[0].tolist() == [[3, 3, 2, 1, 0], [2, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    assert (found.hypotheses == twin.hypotheses).all()
    assert (found.references == twin.references).all()


def test_number_of_systems_at_once_changes_nothing() -> None:
    references = ["the house by the river", "", "one more"]
    systems = [["the house", "x", "one more"], references, ["river the by", "", ""]]
    together = count_chrf(references, systems)
    for place, system in enumerate(systems):
        assert (count_chrf(references, [system]).hypotheses[0] == together.hypotheses[place]).all()


def test_newline_inside_a_line_is_a_space() -> None:
    references, hypotheses = ["a\nb c", "d"], ["a b\nc", "d\n"]
    check_against_sacrebleu(("chrf++",), MetricModels(), references, hypotheses)


def test_every_space_of_python_is_known() -> None:
    spaces = [point for point in range(0x110000) if chr(point).isspace()]
    assert spaces == np.flatnonzero(space_flags()).tolist()


def test_lines_that_do_not_pair_up_are_refused_and_never_cut() -> None:
    with pytest.raises(ValueError, match="1 hypotheses for 2 references"):
        count_chrf(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="3 hypotheses for 2 references"):
        Scorer("bleu", ["a", "b"], MetricModels()).score(["a", "b", "c"])


def test_ter_is_sacrebleus() -> None:
    references = ["the house by the river was old", "who opened the door", ""]
    hypotheses = ["by the river the house was Old", "who the door opened it", "x"]
    check_against_sacrebleu(("ter",), MetricModels(), references, hypotheses)
    assert (
        Scorer("ter", references, MetricModels())
        .score(hypotheses)
        .signature.startswith(str(signed(TER(references=[references]))))
    )


def signed(metric: Any) -> Any:
    return metric.get_signature()


@settings(max_examples=80)
@given(
    rows=st.lists(st.lists(st.integers(0, 70_000), min_size=5, max_size=5), max_size=6),
    chains=st.sampled_from([(5,), (3, 2), (1, 1, 3)]),
)
def test_packed_counts_come_back_as_they_were(rows: list[list[int]], chains: tuple[int]) -> None:
    table = np.array(rows, np.int32).reshape(-1, 5)
    start = 0
    for length in chains:  # what chains promise: no number is larger than the one before
        part = table[:, start : start + length]
        table[:, start : start + length] = np.sort(part, axis=1)[:, ::-1]
        start += length
    packed = pack_counts(table, chains)
    assert (unpack_counts(packed, len(table), chains) == table).all()


def test_unknown_characters_are_told_apart_by_their_text(models: MetricModels) -> None:
    assert models.spm is not None
    tokenizer = PieceTokenizer(models.spm)
    ids, offsets = tokenizer.number(["𐍈", "𐍉", "𐍈", ""])
    rows = [ids[start:stop].tolist() for start, stop in itertools.pairwise(offsets)]
    assert rows[0] == rows[2] != rows[1]
    assert rows[3] == []


def test_empty_text_scores_nothing_without_a_warning() -> None:
    with np.errstate(all="raise"):
        for metric in ("chrf++", "bleu", "ter"):
            for pair in (["", ""], ["a", ""], ["", "a"]):
                value = Scorer(metric, pair[:1], MetricModels()).score(pair[1:]).value
                peer = {"chrf++": CHRF(word_order=2), "bleu": BLEU(force=True), "ter": TER()}
                assert value == pytest.approx(peer[metric].corpus_score(pair[1:], [pair[:1]]).score)


def test_chrf_of_a_small_case_is_the_hand_calculation() -> None:
    # "ab" against "ac", one order: precision and recall 1/2 each; order 2: none of one match.
    statistics = np.zeros(18)
    statistics[:6] = [2, 2, 1, 1, 1, 0]
    # Averages over the two orders there are: 1/4; F of equal parts is the same.
    assert chrf_scores(statistics) == pytest.approx(25.0)
    assert sacrebleu.corpus_chrf(["ab"], [["ac"]]).score == pytest.approx(25.0)
