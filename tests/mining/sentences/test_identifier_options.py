"""What `mining sentences` does with sentences that switch languages or are in none clearly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import UserError
from corpus.protocols import IdentifierOptions, Prediction, Span
from mining.sentences.config import IdentifierConfig, SentencesConfig
from mining.sentences.sentences import run_sentences
from tests.mining.sentences.test_sentences import ByScript, texts
from tests.receipts import finished_tasks, read_receipt

MIXED = "The river is long and Она читает книгу дома."
PAGE = f"{MIXED}\nThe price is 40 coins today."
SEEN: list[IdentifierOptions] = []


class WithSpans(ByScript):
    def identify_spans(self, lines: Sequence[str]) -> list[list[Span]]:
        found = []
        for line in lines:
            cut = line.find("Она")
            bounds = [(0, cut - 1), (cut, len(line))] if cut > 0 else [(0, len(line))]
            parts = [self.identify([line[start:end]])[0] for start, end in bounds]
            found.append([Span(*part, *bound) for part, bound in zip(parts, bounds, strict=True)])
        return found


class InGroups(ByScript):
    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        answers = super().identify(lines)
        return [
            Prediction("bos_Latn,hrv_Latn", 0.9) if "40" in line else answer
            for line, answer in zip(lines, answers, strict=True)
        ]


def load(path: Path, options: IdentifierOptions) -> ByScript:
    SEEN.append(options)
    return InGroups() if options.groups else WithSpans()


def run(tmp_path: Path, **options: Any) -> dict[str, int]:
    (tmp_path / "lid").mkdir()
    (tmp_path / "lid/model.bin").write_bytes(b"stand-in")
    (tmp_path / "page.txt").write_text(PAGE)
    config = SentencesConfig(workers=1, identifier=IdentifierConfig(**options))
    return run_sentences([tmp_path / "page.txt"], tmp_path / "lid", tmp_path / "out", config, load)


def test_sentences_that_switch_languages_are_cut_into_their_parts(tmp_path: Path) -> None:
    counts = run(tmp_path, spans="cut")
    kept = {code: [text for text, _, _ in rows] for code, rows in texts(tmp_path / "out").items()}
    assert kept == {
        "eng_Latn": ["The river is long and", "The price is 40 coins today."],
        "rus_Cyrl": ["Она читает книгу дома."],
    }
    assert (counts["sentences"], counts["cut_sentences"], counts["kept"]) == (3, 1, 3)


def test_sentences_that_switch_languages_can_be_dropped(tmp_path: Path) -> None:
    counts = run(tmp_path, spans="drop")
    assert [text for text, _, _ in texts(tmp_path / "out")["eng_Latn"]] == [
        "The price is 40 coins today."
    ]
    assert (counts["sentences"], counts["rejected.mixed_languages"], counts["kept"]) == (2, 1, 1)


def test_sentences_that_fit_a_confusable_group_can_be_rejected(tmp_path: Path) -> None:
    counts = run(tmp_path, groups=True)
    assert (counts["rejected.confusable"], counts["kept"]) == (1, 1)


def test_the_second_identifier_is_an_input_of_the_job(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="second is not a language identifier"):
        run(tmp_path, agree_with=str(tmp_path / "second"))
    second = tmp_path / "second"
    second.mkdir()
    (second / "model.bin").write_bytes(b"stand-in")
    (tmp_path / "lid/model.bin").unlink()
    (tmp_path / "lid").rmdir()
    run(tmp_path, agree_with=str(second), languages=("eng_Latn",))
    assert SEEN[-1] == IdentifierOptions(languages=("eng_Latn",), agree_with=second)
    (shard,) = finished_tasks(tmp_path / "out", "extract")
    assert "second" in str(read_receipt(tmp_path / "out", "extract", shard))


@pytest.mark.parametrize(
    "options",
    [{"spans": "split"}, {"spans": "cut", "groups": True}, {"languages": ("eng",)}],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        IdentifierConfig(**options)
