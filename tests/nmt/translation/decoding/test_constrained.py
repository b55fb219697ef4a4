import pytest
import torch

from nmt.model.translator import Translator
from nmt.translation.decoding.beam import Hypothesis
from nmt.translation.decoding.constrained import Term, search_with_terms
from nmt.translation.decoding.decoder import DecoderState
from tests.nmt.translation.decoding.literal_beam import END, beam_search, log_probabilities
from tests.nmt.translation.decoding.test_decoding import (
    SOURCES,
    SYMBOLS,
    TARGET,
    batch,
    random_model,
)


@pytest.fixture(scope="module")
def model() -> Translator:
    return random_model()


def search(
    model: Translator, source: list[int], terms: list[Term], limit: int = 12
) -> tuple[Hypothesis, int]:
    with torch.inference_mode():
        return search_with_terms(
            DecoderState(model, *batch([source])),
            model.output_weight,
            SYMBOLS,
            terms=terms,
            target=TARGET,
            limit=limit,
            beam_size=3,
            length_penalty=1.0,
        )


def test_without_terms_it_is_beam_search(model: Translator) -> None:
    for source in SOURCES:
        tokens, total, is_complete = beam_search(
            model, source, TARGET, beam_size=3, limit=12, length_penalty=1.0
        )
        found, lacking = search(model, source, [])
        assert (found.tokens, found.is_complete, lacking) == (tokens, is_complete, 0)
        assert found.log_probability == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize(
    "terms", [[(20, 21)], [(5,), (5,)], [(6, 7, 8), (6, 7, 9)], [(30, 30, 31), (30, 31)]]
)
def test_terms_appear_as_often_as_they_are_wanted(model: Translator, terms: list[Term]) -> None:
    found, lacking = search(model, SOURCES[0], terms, limit=16)
    assert lacking == 0
    text = found.tokens
    places = {
        (i, i + len(term))
        for term in terms
        for i in range(len(text))
        if tuple(text[i : i + len(term)]) == term
    }
    assert len(places) >= len(terms)
    prefix, total = [END, TARGET], 0.0
    for token in [*text, END]:
        total += float(log_probabilities(model, SOURCES[0], prefix)[token])
        prefix.append(token)
    assert found.log_probability == pytest.approx(total, abs=1e-3)


def test_terms_without_room_are_counted(model: Translator) -> None:
    found, lacking = search(model, SOURCES[0], [(20, 21), (22, 23)], limit=4)
    assert lacking == 1
    assert len(found.tokens) == 3
