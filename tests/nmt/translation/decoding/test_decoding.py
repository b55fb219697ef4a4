from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import DataError
from nmt.fairseq import BatchLayout
from nmt.model.config import named_config
from nmt.model.translator import Translator, create_model
from nmt.translation.decoding import sampling
from nmt.translation.decoding.beam import BeamSearch
from nmt.translation.decoding.config import SamplingConfig
from nmt.translation.decoding.decoder import DecoderState, DecoderStates
from nmt.translation.decoding.scores import Symbols, likeliest_tokens, top_of_rows
from nmt.translation.decoding.segments import break_sentence, join_translations, split_line
from tests.nmt.translation.decoding.literal_beam import (
    BEGIN,
    END,
    PAD,
    UNKNOWN,
    beam_search,
    beam_search_finished,
    log_probabilities,
)

SYMBOLS = Symbols(pad=PAD, unknown=UNKNOWN, end=END)
VOCABULARY_SIZE = 40
TARGET = 39
SOURCES = [[38, 7, 9, 11, END], [38, 5, END], [38, 30, 31, 5, 6, 7, 8, END]]


def random_model(num_experts: int = 4, seed: int = 3) -> Translator:
    torch.manual_seed(seed)
    config = replace(
        named_config("tiny"), vocab_size=VOCABULARY_SIZE, pad_idx=PAD, num_experts=num_experts
    )
    model = create_model(config).eval()
    with torch.no_grad():  # with fresh weights a token's own embedding drowns all else
        for name, parameter in model.named_parameters():
            parameter.mul_(1.5 if "embed" in name else 3)
    return model


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> Translator:
    return random_model()


def batch(sources: list[list[int]]) -> tuple[torch.Tensor, list[int]]:
    lengths = [len(source) for source in sources]
    padded = [source + [PAD] * (max(lengths) - len(source)) for source in sources]
    return torch.tensor(padded), lengths


@pytest.mark.parametrize("num_experts", [0, 4])
def test_decoding_step_by_step_equals_decoding_at_once_for_reordered_beams(
    num_experts: int,
) -> None:
    model = random_model(num_experts)
    with torch.inference_mode():
        state = DecoderState(model, *batch(SOURCES))
        state.step(torch.full((3, 1), END))
        state.step(torch.full((3, 1), TARGET))
        state.reorder(torch.tensor([0, 0, 1, 1, 2, 2]))
        state.step(torch.tensor([[4, 5], [6, 7], [8, 9]]))
        state.keep(torch.tensor([0, 2]))
        state.reorder(torch.tensor([1, 0, 5, 5]))
        output = state.step(torch.tensor([[10, 11], [12, 13]]))
        logits = output @ model.output_weight.T
        for row, source, text in (
            (0, SOURCES[0], [5, 10]),
            (1, SOURCES[0], [4, 11]),
            (2, SOURCES[2], [9, 12]),
            (3, SOURCES[2], [9, 13]),
        ):
            sources, targets = torch.tensor([source]), torch.tensor([[END, TARGET, *text]])
            whole = model(sources, BatchLayout.of(sources), targets, BatchLayout.of(targets))
            torch.testing.assert_close(logits[row], whole[0, -1], atol=1e-3, rtol=1e-5)


def test_more_steps_than_were_made_room_for_at_first_are_kept(model: Translator) -> None:
    text = [4 + i % 30 for i in range(40)]
    with torch.inference_mode():
        state = DecoderState(model, *batch(SOURCES[:1]))
        output = torch.stack([state.step(torch.tensor([[token]])) for token in text])[:, 0]
        sources, targets = torch.tensor(SOURCES[:1]), torch.tensor([text])
        whole = model(sources, BatchLayout.of(sources), targets, BatchLayout.of(targets))[0]
        logits = output @ model.output_weight.T
    torch.testing.assert_close(logits, whole, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize(
    ("beam_size", "length_penalty", "unlikely_empty"),
    [
        (1, 1.0, True),
        (3, 1.0, True),
        (4, 0.5, True),
        (2, 2.0, True),
        (4, 0.0, True),
        (4, 0.0, False),
    ],
)
def test_beam_search_finds_what_a_loop_over_hypotheses_finds(
    model: Translator, beam_size: int, length_penalty: float, unlikely_empty: bool
) -> None:
    limits = [9, 4, 12]
    with torch.inference_mode():
        search = BeamSearch(
            DecoderState(model, *batch(SOURCES)),
            model.output_weight,
            SYMBOLS,
            beam_size=beam_size,
            length_penalty=length_penalty,
            unlikely_empty=unlikely_empty,
        )
        found = search.run(TARGET, limits)
    for source, limit, hypothesis in zip(SOURCES, limits, found, strict=True):
        tokens, log_probability, is_complete = beam_search(
            model,
            source,
            TARGET,
            beam_size=beam_size,
            limit=limit,
            length_penalty=length_penalty,
            unlikely_empty=unlikely_empty,
        )
        assert hypothesis.tokens == tokens
        assert hypothesis.log_probability == pytest.approx(log_probability, abs=1e-4)
        assert hypothesis.is_complete == is_complete


def test_best_hypotheses_are_the_finished_ones_of_a_loop(model: Translator) -> None:
    limits = [7, 4, 9]
    how = {"beam_size": 4, "length_penalty": 0.5}
    with torch.inference_mode():
        search = BeamSearch(
            DecoderState(model, *batch(SOURCES)),
            model.output_weight,
            SYMBOLS,
            num_results=3,
            **how,  # type: ignore[arg-type]
        )
        found = search.run_many(TARGET, limits)
    for source, limit, hypotheses in zip(SOURCES, limits, found, strict=True):
        finished = beam_search_finished(model, source, TARGET, limit=limit, **how)  # type: ignore[arg-type]
        assert [one.tokens for one in hypotheses] == [tokens for tokens, _, _ in finished[:3]]
        for one, (_, log_probability, is_complete) in zip(hypotheses, finished, strict=False):
            assert one.log_probability == pytest.approx(log_probability, abs=1e-4)
            assert one.is_complete == is_complete


def test_ensemble_has_the_mean_probability_of_its_models(model: Translator) -> None:
    models = [model, random_model(seed=5)]
    with torch.inference_mode():
        search = BeamSearch(
            DecoderStates([DecoderState(one, *batch(SOURCES)) for one in models]),
            [one.output_weight for one in models],
            SYMBOLS,
            beam_size=2,
            length_penalty=1.0,
        )
        found = search.run(TARGET, [9] * 3)
    for source, hypothesis in zip(SOURCES, found, strict=True):
        total, prefix = 0.0, [END, TARGET]
        for token in [*hypothesis.tokens, END]:
            shares = [log_probabilities(one, source, prefix).exp() for one in models]
            total += float((sum(shares) / 2).log()[token])
            prefix.append(token)
        assert hypothesis.log_probability == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_beam_search_finds_what_fairseq2_finds(seed: int) -> None:
    from fairseq2.data.tokenizers import VocabularyInfo
    from fairseq2.generation.beam_search import BeamSearchSeq2SeqGenerator

    model = random_model(seed=seed)
    sources, lengths = batch(SOURCES)
    with torch.inference_mode():
        search = BeamSearch(
            DecoderState(model, sources, lengths),
            model.output_weight,
            SYMBOLS,
            beam_size=4,
            length_penalty=0.0,
        )
        found = search.run(TARGET, [20] * 3)
    # Without a length penalty, what fairseq2 adds for the language is the same for all.
    info = VocabularyInfo(
        size=VOCABULARY_SIZE, unk_idx=UNKNOWN, bos_idx=BEGIN, eos_idx=END, pad_idx=PAD
    )
    generator = BeamSearchSeq2SeqGenerator(
        model,
        info,
        beam_size=4,
        max_gen_len=(0.0, 20),
        unk_penalty=torch.inf,
        len_penalty=0.0,
    )
    prompts = torch.tensor([[END, TARGET]] * 3)
    output = generator(sources, BatchLayout.of(sources, lengths), prompts, BatchLayout.of(prompts))
    for source, hypothesis, theirs in zip(SOURCES, found, output.hypotheses, strict=True):
        assert [*hypothesis.tokens, END] == theirs[0].seq.tolist()
        assert theirs[0].score is not None
        language = log_probabilities(model, source, [END])[TARGET]
        expected = float(theirs[0].score - language)
        assert hypothesis.log_probability == pytest.approx(expected, abs=1e-3)


def test_weights_that_are_not_numbers_are_refused() -> None:
    model = random_model(0)
    with torch.no_grad():
        model.output_weight[7] = torch.nan
    with torch.inference_mode():
        search = BeamSearch(
            DecoderState(model, *batch(SOURCES)),
            model.output_weight,
            SYMBOLS,
            beam_size=2,
            length_penalty=1.0,
        )
        with pytest.raises(DataError, match="not numbers"):
            search.run(TARGET, [5] * 3)


@given(st.integers(1, 8), st.integers(0, 3))
@settings(max_examples=20)
def test_largest_values_through_blocks_are_the_largest_values(count: int, seed: int) -> None:
    values = torch.randn(3, 9000 + 77 * seed, generator=torch.Generator().manual_seed(seed))
    values[1, -3:] = 9.0 + torch.arange(3)  # also in what is left beside whole blocks
    top, index = top_of_rows(values, count)
    expected = values.topk(count, dim=1)
    assert torch.equal(top, expected.values)
    assert torch.equal(index, expected.indices)


def test_candidates_have_the_probabilities_of_the_whole_softmax() -> None:
    generator = torch.Generator().manual_seed(1)
    output, weight = torch.randn(5, 8, generator=generator), torch.randn(50, 8, generator=generator)
    weight[PAD] = 9.0  # its probability counts, though nobody takes it
    expected = (output @ weight.T).log_softmax(dim=1)
    found = likeliest_tokens(output, weight, SYMBOLS, 6)
    assert not set(found.token_NC.flatten().tolist()) & {PAD, UNKNOWN}
    torch.testing.assert_close(found.log_probability_NC, expected.gather(1, found.token_NC))
    torch.testing.assert_close(found.end_N, expected[:, END])
    expected[:, [PAD, UNKNOWN]] = -torch.inf
    assert torch.equal(found.token_NC, expected.topk(6, dim=1).indices)


def draw(
    model: Translator, sources: list[list[int]], keys: list[tuple[int, ...]], **how: float
) -> list[tuple[list[int], float]]:
    with torch.inference_mode():
        found = sampling.sample(
            DecoderState(model, *batch(sources)),
            model.output_weight,
            SYMBOLS,
            TARGET,
            [12] * len(sources),
            keys,
            SamplingConfig(**how),  # type: ignore[arg-type]
        )
    return [(hypothesis.tokens, hypothesis.log_probability) for hypothesis in found]


def test_drawn_translation_depends_on_seed_and_place_and_not_on_the_batch(
    model: Translator,
) -> None:
    together = draw(model, SOURCES, [(0, 0), (1, 0), (2, 0)])
    alone = [draw(model, [source], [(i, 0)])[0] for i, source in enumerate(SOURCES)]
    assert [tokens for tokens, _ in together] == [tokens for tokens, _ in alone]
    assert draw(model, SOURCES, [(0, 0), (1, 0), (2, 0)], seed=2) != together
    assert draw(model, SOURCES[:1], [(7, 0)])[0] != together[0]


def test_drawing_from_one_token_is_greedy_search(model: Translator) -> None:
    greedy = [
        beam_search(model, source, TARGET, beam_size=1, limit=12, length_penalty=1.0)
        for source in SOURCES
    ]
    for how in ({"top_k": 1}, {"top_p": 1e-6}):
        found = draw(model, SOURCES, [(0, 0), (1, 0), (2, 0)], **how)
        assert [tokens for tokens, _ in found] == [tokens for tokens, _, _ in greedy]
        assert [total for _, total in found] == pytest.approx([t for _, t, _ in greedy], abs=1e-4)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    shares = torch.tensor([0.1, 0.0, 0.15, 0.0, 0.2, 0.25, 0.3])
    logits = shares.log().repeat(4000, 1)
    uniform = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    counts = Counter(sampling.draw(logits, SYMBOLS, uniform, SamplingConfig())[0].tolist())
    assert [counts[token] for token in range(7)] == [400, 0, 600, 0, 800, 1000, 1200]
    # By hand: 0.3 + 0.25 do not reach 0.7, 0.3 + 0.25 + 0.2 do.
    nucleus = Counter(
        sampling.draw(logits, SYMBOLS, uniform, SamplingConfig(top_p=0.7))[0].tolist()
    )
    assert [nucleus[token] for token in (0, 2, 4, 5, 6)] == [0, 0, 1067, 1333, 1600]
    flat = Counter(
        sampling.draw(logits, SYMBOLS, uniform, SamplingConfig(top_k=2, temperature=1e6))[
            0
        ].tolist()
    )
    assert set(flat) == {5, 6}
    assert abs(flat[5] - 2000) <= 1


def count_words(text: str) -> list[int]:
    """Stand in for a vocabulary: a token per letter, none for a space."""
    return [ord(character) for character in text if not character.isspace()]


@given(st.text(alphabet="ab ,.!、。क्", max_size=80), st.integers(4, 9))
def test_parts_of_a_line_fit_and_leave_nothing_out(line: str, limit: int) -> None:
    parts = split_line(line, count_words, limit)
    assert all(0 < len(part) <= limit for part in parts.encoded)
    assert [token for part in parts.encoded for token in part] == count_words(line)


def test_sentence_is_broken_at_punctuation_before_words_before_letters() -> None:
    assert list(break_sentence("aaa bb, cc dd", count_words, 8)) == ["aaa bb, ", "cc dd"]
    assert list(break_sentence("aaa bb cc dd", count_words, 8)) == ["aaa bb cc ", "dd"]
    assert list(break_sentence("abcdefghij", count_words, 4)) == ["abcd", "efgh", "ij"]
    # Tokens are code points here; letters joined to one cluster stay together all the same.
    assert list(break_sentence("कक्किक", count_words, 4)) == ["क", "क्कि", "क"]


def test_translations_of_parts_are_joined_as_the_script_has_it() -> None:
    assert join_translations(["Uno.", "", "Dos."], "spa_Latn") == "Uno. Dos."
    assert join_translations(["一。", "二。"], "zho_Hans") == "一。二。"
    assert join_translations(["หนึ่ง", "สอง"], "tha_Thai") == "หนึ่ง สอง"
