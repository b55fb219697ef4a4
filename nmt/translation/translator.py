"""Translation line by line, in order, by beam search or by sampling."""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

import torch

from corpus.console import Progress
from corpus.errors import UserError
from corpus.files import digest_file
from corpus.languages import Direction, check_language, find_language
from corpus.protocols import EncoderLoader, SentenceEncoder
from corpus.text import normalize
from nmt.model.directory import VOCABULARY_DIRECTORY, TrainedModel, load_model
from nmt.threads import find_device
from nmt.translation.decoding.beam import Hypothesis
from nmt.translation.decoding.config import TranslateConfig
from nmt.translation.decoding.constrained import Term
from nmt.translation.decoding.kept import Glossary, count_lost, must_appear
from nmt.translation.decoding.segments import (
    break_sentence,
    join_translations,
    split_line,
    whole_sentences,
)
from nmt.translation.decoding.unknown import Copied, cut_unknown
from nmt.translation.search import Search
from nmt.usage.expert_selection import Needed, needed_experts
from nmt.vocabulary.vocabulary import MODEL_FILE, Vocabulary

logger = logging.getLogger(__name__)

_SHOWN_UNKNOWN = 20
_SHORTEST_CHECKED = 8
"""Tokens of a sentence that is looked at for omissions; in shorter ones a share says little."""

_SLACK = 4
"""Tokens by which a half may be longer, so that it ends after a clause or a word."""
_SEPARATORS = str.maketrans("\t\n\r", "   ")
"""A vocabulary of others may hold them; a line stays a line, a cell a cell."""


class Translation(NamedTuple):
    """The translation of a line."""

    text: str

    log_probability: float
    """Of the text given the line, in nats; the sum of its parts where it was split. NaN for an
    empty line, and for one of which nothing was translated."""

    score: float
    """log_probability / tokens^`length_penalty`, tokens as fairseq counts them: with the language
    and the end."""

    is_complete: bool = True
    """Whether it ended, and did not stop at the length limit."""

    others: tuple["Translation", ...] = ()
    """The next best, best first, where more than one is wanted."""

    def as_ranked_lines(self, number: int) -> list[str]:
        """Return a line for each translation: `number`, rank, score, log-probability and text."""
        ranked = enumerate((self, *self.others), 1)
        return [f"{number}\t{rank}\t{one.as_line(scored=True)}" for rank, one in ranked]

    def as_line(self, scored: bool) -> str:
        """Return the text, or score, log-probability and text with tabs between."""
        return f"{self.score:.6f}\t{self.log_probability:.6f}\t{self.text}" if scored else self.text


class _Segment(NamedTuple):
    line: int
    number: int
    pieces: list[int]
    copied: Copied = Copied()
    terms: tuple[Term, ...] = ()
    """What its translation must have."""
    text: str = ""


class _Part(NamedTuple):
    text: str
    hypothesis: Hypothesis | None
    """None where nothing but unknown characters was there."""


class TextTranslator:
    """Translates lines with one model, on the device and in the type that the model has.

    Attributes:
        model: The model.
        counts: Lines so far, and what the user should know about them: `unknown_characters` are
            those that no token stands for, in `lines_with_unknown_characters`, and
            `copied_characters` those of them that are in the translations; `split` were translated
            sentence by sentence, `sentences` in all, of which `too_long` had more tokens than fit;
            `broken` sentences did not fit by themselves and were cut at punctuation or words;
            `unfinished` translations reached the length limit before they ended. `omissions` may
            have lost a part, `dissimilar` of them by the encoder, and `repaired_omissions` were
            translated again. `terms` were
            wanted, and `lost_terms` are not there; `lost_urls`, `lost_placeholders` and
            `lost_numbers` are in lines and not in their translations. Where experts are left out,
            `routed` tokens, over all layers, and `lost_expert`, those that lost one of their two.
    """

    def __init__(
        self,
        model: TrainedModel,
        config: TranslateConfig,
        others: Sequence[TrainedModel] = (),
        encoder: SentenceEncoder | None = None,
    ) -> None:
        """Set up translation.

        Args:
            model: The model.
            config: How to translate.
            others: Models with the same vocabulary, to average its probabilities with.
            encoder: Says how similar sentences and translations are; for `omissions`.

        Raises:
            UserError: If the model cannot do what the config wants.
        """
        self.model = model
        torch.set_num_threads(config.threads)
        self._config = config
        self._encoder = encoder
        self._search = Search([model, *others], config)
        self._symbols = self._search.symbols
        self._limit = self._search.limit
        self.counts: Counter[str] = Counter()
        self._routed = (0, 0)
        self._glossaries: dict[Direction, Glossary] = {}
        if (config.glossary or config.keep) and (config.method != "beam" or config.n_best > 1):
            raise UserError("`glossary` and `keep` need `method: beam` and an `n_best` of 1")
        if config.omissions != "ignore" and config.n_best > 1:
            raise UserError("`omissions` needs an `n_best` of 1")
        if config.n_best > (config.beam_size if config.method == "beam" else 1):
            raise UserError(
                f"`n_best` is {config.n_best}; beam search gives at most `beam_size`,"
                f" {config.beam_size}, and other methods one"
            )

    def translate(self, lines: Sequence[str], source: str, target: str) -> list[str]:
        """Return the translations of lines; an empty one gives an empty one.

        Raises:
            UserError: If a language code is unknown, or the model does not have the language.
        """
        return [translation.text for translation in self.translate_scored(lines, source, target)]

    def translate_scored(
        self, lines: Sequence[str], source: str, target: str, first: int = 0
    ) -> list[Translation]:
        """Return the translations of lines with their scores.

        Args:
            lines: What to translate.
            source: Its language.
            target: Language to translate into.
            first: Number of the first line in its input, from 0; sampling depends on it.
        """
        with Progress(len(lines), f"{source}-{target}", "lines") as progress:
            numbers = range(first, first + len(lines))
            return self._translate(lines, Direction(source, target), numbers, progress)

    def translate_numbered(
        self, lines: Sequence[str], direction: Direction, numbers: Sequence[int]
    ) -> list[Translation]:
        """Return the translations of lines from different inputs, without a progress bar.

        Args:
            lines: What to translate.
            direction: Its language, and the one to translate into.
            numbers: Number of each line in its input, from 0; sampling depends on it.
        """
        return self._translate(lines, direction, numbers, None)

    def _translate(
        self,
        lines: Sequence[str],
        direction: Direction,
        numbers: Sequence[int],
        progress: Progress | None,
    ) -> list[Translation]:
        source, target = direction
        vocabulary = self.model.vocabulary
        self.check(direction)
        target_index = vocabulary.language_index(target)
        segments = self._segments(lines, numbers, self._glossaries.get(direction))
        found: list[dict[int, list[_Part]]] = [{} for _ in lines]
        for segment in segments:
            if not segment.pieces:
                found[segment.line][segment.number] = self._parts(segment.copied, [None])
        for segment in segments:
            if segment.terms:
                best, lost = self._search.run_with_terms(
                    vocabulary.source_row(source, segment.pieces),
                    target_index,
                    segment.terms,
                    self._symbols._replace(may_be_unknown=bool(segment.copied.inside)),
                )
                self.counts["lost_terms"] += lost
                found[segment.line][segment.number] = self._parts(segment.copied, [best])
                if progress is not None:
                    progress.update(segment.number == 0)
        free = [segment for segment in segments if segment.pieces and not segment.terms]
        for batch in self._batches(free):
            rows = [vocabulary.source_row(source, segment.pieces) for segment in batch]
            keys = [(numbers[segment.line], segment.number) for segment in batch]
            symbols = self._symbols._replace(may_be_unknown=bool(batch[0].copied.inside))
            found_here = self._search.run(rows, target_index, keys, symbols)
            if self._config.omissions != "ignore":
                found_here = self._look_for_omissions(batch, found_here, rows, keys, direction)
            for segment, hypotheses in zip(batch, found_here, strict=True):
                found[segment.line][segment.number] = self._parts(segment.copied, hypotheses)
            if progress is not None:
                progress.update(sum(segment.number == 0 for segment in batch))
        self.counts["lines"] += len(lines)
        self._count_lost()
        translations = [self._join(parts, target) for parts in found]
        for line, translation in zip(lines, translations, strict=True):
            for kind, lost in count_lost(line, translation.text).items():
                self.counts[f"lost_{kind}"] += lost
        return translations

    def check(self, direction: Direction) -> None:
        """Refuse languages that the model lacks, or the glossary where there is one.

        Raises:
            UserError: If one is missing, or the glossary itself.
        """
        check_languages(direction, self.model.vocabulary)
        if self._config.glossary is not None and direction not in self._glossaries:
            self._glossaries[direction] = Glossary.read(self._config.glossary, direction)

    def stream(self, lines: Iterable[str], source: str, target: str) -> Iterator[list[Translation]]:
        """Yield the translations of lines, in order, block by block."""
        iterator = iter(lines)
        total = len(lines) if isinstance(lines, Sequence) else None
        first = 0
        with Progress(total, f"{source}-{target}", "lines") as progress:
            while block := list(islice(iterator, self._config.block_lines)):
                numbers = range(first, first + len(block))
                yield self._translate(block, Direction(source, target), numbers, progress)
                first += len(block)

    def as_lines(
        self, translations: Iterable[Translation], scored: bool, first: int = 1
    ) -> Iterator[str]:
        """Yield the lines of an output: one each, or `n_best` with the number of the input's."""
        for number, translation in enumerate(translations, first):
            if self._config.n_best > 1:
                yield from translation.as_ranked_lines(number)
            else:
                yield translation.as_line(scored)

    def warn(self) -> None:
        """Log the counts that the user should know of."""
        for name, text in (
            ("too_long", f"lines had more than {self._limit} tokens; split by sentence and joined"),
            ("broken", "sentences of theirs did not fit either; cut at punctuation or words"),
            ("unknown_characters", self._fate_of_unknown()),
            ("unfinished", "translations reached the length limit (`max_length_factor`)"),
            ("omissions", "sentences may have lost a part" + self._fate_of_omissions()),
            ("lost_terms", f"of {self.counts['terms']:,} terms are not in the translations"),
            ("lost_urls", "URLs and addresses are not in the translations as they were"),
            ("lost_placeholders", "placeholders are not in the translations as they were"),
            ("lost_numbers", "numbers are not in the translations as they were"),
        ):
            if self.counts[name]:
                logger.warning("%s %s", f"{self.counts[name]:,}", text)
        if self.counts["split"] > self.counts["too_long"]:
            logger.info(
                "%s lines were translated as %s sentences and joined; `split: never` keeps lines"
                " whole that fit",
                f"{self.counts['split']:,}",
                f"{self.counts['sentences']:,}",
            )
        if self.counts["routed"]:
            logger.info(
                "%.2f %% of tokens lost one of their experts, over all layers with experts",
                100 * self.counts["lost_expert"] / self.counts["routed"],
            )

    def _fate_of_omissions(self) -> str:
        dissimilar = self.counts["dissimilar"]
        by_encoder = f", {dissimilar:,} of them by the encoder" if self._encoder else ""
        if self._config.omissions != "retry":
            return by_encoder
        return f"{by_encoder}; {self.counts['repaired_omissions']:,} were translated again in parts"

    def _fate_of_unknown(self) -> str:
        if self._config.unknown == "drop":
            return "characters are not in the vocabulary, and lost"
        lost = self.counts["unknown_characters"] - self.counts["copied_characters"]
        return f"characters are not in the vocabulary and copied; {lost:,} of them found no place"

    def _count_unknown(self, line: str) -> None:
        """Count the characters of a line that the vocabulary lacks; name the first."""
        runs = self.model.vocabulary.unknown_texts(line)
        if not self.counts["unknown_characters"]:
            logger.warning(
                "the vocabulary has no token for `%s`: such characters are %s",
                "".join(runs)[:_SHOWN_UNKNOWN],
                "copied" if self._config.unknown == "copy" else "translated as unknown",
            )
        self.counts["lines_with_unknown_characters"] += 1
        self.counts["unknown_characters"] += sum(map(len, runs))

    def _count_lost(self) -> None:
        lost = self.model.lost
        if lost is not None:
            routed, missed = lost.num_tokens, lost.num_lost
            self.counts["routed"] += routed - self._routed[0]
            self.counts["lost_expert"] += missed - self._routed[1]
            self._routed = (routed, missed)

    def _segments(
        self, lines: Sequence[str], numbers: Sequence[int], glossary: Glossary | None
    ) -> list[_Segment]:
        """Return what is translated at a time, longest first."""
        vocabulary = self.model.vocabulary
        segments: list[_Segment] = []
        for line, pieces in enumerate(vocabulary.encode(lines)):
            if not pieces:
                continue
            if vocabulary.unknown_index in pieces:
                self._count_unknown(lines[line])
            is_too_long = len(pieces) > self._limit
            if not is_too_long and not self._has_sentences(lines[line]):
                segments.append(self._segment(line, 0, lines[line], pieces, glossary))
                continue
            if is_too_long and not self.counts["too_long"]:
                logger.warning(
                    "line %s has %s tokens, more than %d: it is split by sentence",
                    f"{numbers[line] + 1:,}",
                    f"{len(pieces):,}",
                    self._limit,
                )
            parts = split_line(lines[line], lambda text: vocabulary.encode([text])[0], self._limit)
            self.counts["split"] += 1
            self.counts["too_long"] += is_too_long
            self.counts["sentences"] += len(parts.texts)
            self.counts["broken"] += parts.num_broken
            segments += [
                self._segment(line, i, text, encoded, glossary)
                for i, (text, encoded) in enumerate(zip(parts.texts, parts.encoded, strict=True))
            ]
        return sorted(segments, key=lambda one: (bool(one.copied.inside), -len(one.pieces)))

    def _has_sentences(self, line: str) -> bool:
        """Whether a line is to be split, and has more than one sentence."""
        return self._config.split != "never" and len(whole_sentences(line)) > 1

    def _segment(
        self, line: int, number: int, text: str, pieces: list[int], glossary: Glossary | None
    ) -> _Segment:
        """Return a part of a line, less the unknown characters at its ends if they are copied."""
        vocabulary = self.model.vocabulary
        wanted = list(must_appear(normalize(text), glossary, self._config.keep))
        encoded = [tuple(term) for term in vocabulary.encode(wanted) if term]
        terms = tuple(term for term in encoded if vocabulary.unknown_index not in term)
        if encoded:
            self.counts["terms"] += len(encoded)
            self.counts["lost_terms"] += len(encoded) - len(terms)
        if self._config.unknown == "drop" or vocabulary.unknown_index not in pieces:
            return _Segment(line, number, pieces, terms=terms, text=text)
        rest, copied = cut_unknown(normalize(text), vocabulary.unknown_texts(text))
        pieces = vocabulary.encode([rest])[0]
        return _Segment(line, number, pieces, copied, terms if pieces else (), rest)

    def _parts(self, copied: Copied, hypotheses: Sequence[Hypothesis | None]) -> list[_Part]:
        """Return the texts of translations with what is copied into them, best first."""
        parts = []
        for rank, hypothesis in enumerate(hypotheses):
            text, placed = "", 0
            if hypothesis is not None:
                text = self.model.vocabulary.decode(hypothesis.tokens, copied.inside)
                placed = hypothesis.tokens.count(self._symbols.unknown)
            ends = copied.before + copied.after
            inside = "".join(copied.inside[:placed])
            if rank == 0:
                self.counts["copied_characters"] += sum(not c.isspace() for c in ends + inside)
            parts.append(_Part(copied.before + text + copied.after, hypothesis))
        return parts

    def _batches(self, segments: Sequence[_Segment]) -> Iterator[Sequence[_Segment]]:
        # The unknown token is allowed, or not, for all of a batch.
        for _, group in groupby(segments, lambda segment: bool(segment.copied.inside)):
            alike = list(group)
            begin = 0
            while begin < len(alike):
                size = self._search.batch_size(len(alike[begin].pieces))
                yield alike[begin : begin + size]
                begin += size

    def _look_for_omissions(
        self,
        batch: Sequence[_Segment],
        found: list[list[Hypothesis]],
        rows: Sequence[Sequence[int]],
        keys: Sequence[Sequence[int]],
        direction: Direction,
    ) -> list[list[Hypothesis]]:
        """Return a batch's translations; those that may have lost a part in two parts, if asked."""
        languages = map(self.model.vocabulary.language_index, direction)
        shares = self._search.uncovered(rows, [one[0] for one in found], *languages)
        similarities = self._similarities(batch, [one[0] for one in found], direction)
        checked = []
        for i, (segment, share) in enumerate(zip(batch, shares, strict=True)):
            is_dissimilar = similarities[i] < self._config.omission_similarity
            is_lacking = is_dissimilar or share > self._config.omission_share
            is_lacking &= len(segment.pieces) >= _SHORTEST_CHECKED
            self.counts["omissions"] += is_lacking
            self.counts["dissimilar"] += is_lacking and is_dissimilar
            again = None
            if is_lacking and self._config.omissions == "retry":
                again = self._translate_halves(
                    segment, share, similarities[i] if is_dissimilar else None, keys[i], direction
                )
                self.counts["repaired_omissions"] += again is not None
            checked.append(found[i] if again is None else [again])
        return checked

    def _similarities(
        self, batch: Sequence[_Segment], found: Sequence[Hypothesis], direction: Direction
    ) -> list[float]:
        """Return the cosine of each sentence and its translation; 1 without an encoder."""
        if self._encoder is None:
            return [1.0] * len(batch)
        decode = self.model.vocabulary.decode
        texts = [decode(one.tokens, s.copied.inside) for one, s in zip(found, batch, strict=True)]
        sources = self._encoder.encode([segment.text for segment in batch], direction.source)
        targets = self._encoder.encode(texts, direction.target)
        similarities: list[float] = (sources * targets).sum(axis=1).tolist()
        return similarities

    def _translate_halves(
        self,
        segment: _Segment,
        share: float,
        similarity: float | None,
        key: Sequence[int],
        direction: Direction,
    ) -> Hypothesis | None:
        """Return the joined translations of a sentence's parts if less is lost.

        That is: if they are more similar to it, where `similarity` is given, else if less of it is
        uncovered than `share`.
        """
        vocabulary = self.model.vocabulary
        source, target = map(vocabulary.language_index, direction)
        half = (len(segment.pieces) + 1) // 2 + _SLACK
        parts = list(break_sentence(segment.text, lambda text: vocabulary.encode([text])[0], half))
        encoded = [pieces for pieces in vocabulary.encode(parts) if pieces]
        if len(encoded) < 2:
            return None
        rows = [vocabulary.source_row(direction.source, pieces) for pieces in encoded]
        keys = [(*key, number) for number in range(len(rows))]
        symbols = self._symbols._replace(may_be_unknown=bool(segment.copied.inside))
        hypotheses = [one[0] for one in self._search.run(rows, target, keys, symbols)]
        joined = Hypothesis(
            [token for hypothesis in hypotheses for token in hypothesis.tokens],
            sum(hypothesis.log_probability for hypothesis in hypotheses),
            all(hypothesis.is_complete for hypothesis in hypotheses),
        )
        if similarity is not None:
            is_better = self._similarities([segment], [joined], direction)[0] > similarity
            return joined if is_better else None
        shares = self._search.uncovered(rows, hypotheses, source, target)
        lacking = sum(s * len(pieces) for s, pieces in zip(shares, encoded, strict=True))
        return joined if lacking < share * len(segment.pieces) else None

    def _join(self, parts: dict[int, list[_Part]], target: str) -> Translation:
        if not parts:
            return Translation("", math.nan, math.nan)
        best, *others = [
            self._join_parts(chosen, target)
            for chosen in self._best_choices([parts[number] for number in sorted(parts)])
        ]
        self.counts["unfinished"] += not best.is_complete
        return best._replace(others=tuple(others))

    def _best_choices(self, parts: Sequence[list[_Part]]) -> list[list[_Part]]:
        """Return up to `n_best` choices of a translation for each part, the best of each first."""
        choices: list[list[_Part]] = [[]]
        for alternatives in parts:
            first, *rest = [[*chosen, part] for chosen in choices for part in alternatives]
            # Of different lengths, the best of each are not always the best together.
            rest.sort(key=lambda chosen: -self._join_parts(chosen, "").score)
            choices = [first, *rest[: self._config.n_best - 1]]
        return choices

    def _join_parts(self, parts: Sequence[_Part], target: str) -> Translation:
        text = join_translations([part.text for part in parts], target).translate(_SEPARATORS)
        hypotheses = [part.hypothesis for part in parts if part.hypothesis is not None]
        if not hypotheses:
            return Translation(text, math.nan, math.nan)
        is_complete = all(one.is_complete for one in hypotheses)
        total = sum(one.log_probability for one in hypotheses)
        length = sum(one.length for one in hypotheses)
        score = total / length**self._config.length_penalty
        return Translation(text, total, score, is_complete)


def open_translator(
    model: Path,
    config: TranslateConfig,
    needed: Needed,
    load_encoder: EncoderLoader | None = None,
) -> TextTranslator:
    """Load a model directory for translation, on the device and in the type of the config.

    Args:
        model: Model directory.
        config: How to translate.
        needed: Languages that the experts are kept for, where the config leaves some out.
        load_encoder: Loads the config's `encoder`.

    Raises:
        UserError: If it is not a model, a GPU is asked for and none is there, or the config has an
            encoder that nothing loads or uses.
    """
    kept = None
    if config.experts.usage is not None:
        kept = needed_experts(config.experts.usage, needed, config.experts.share)
        for layer, numbers in kept.items():
            logger.info("%s keeps %d experts", layer, len(numbers))
        if config.ensemble:
            raise UserError("`experts.usage` is of one model, and leaves none out of an `ensemble`")
    models = [load_model(model, kept, adapter=config.adapter), *map(load_model, config.ensemble)]
    for directory, loaded in zip(config.ensemble, models[1:], strict=True):
        files = [one / VOCABULARY_DIRECTORY / MODEL_FILE for one in (model, directory)]
        same_pieces = digest_file(files[0]) == digest_file(files[1])
        if not same_pieces or loaded.vocabulary.layout() != models[0].vocabulary.layout():
            raise UserError(f"{directory} has another vocabulary than {model}")
    for loaded in models:
        loaded.translator.to(device=find_device(config.device), dtype=getattr(torch, config.dtype))
    encoder = None
    if config.encoder is not None:
        if config.omissions == "ignore":
            raise UserError("`encoder` looks for omissions: set `omissions` to count or retry")
        if load_encoder is None:
            raise UserError("`encoder` is for `nmt translate` and `nmt translate-flores`")
        encoder = load_encoder(config.encoder, threads=config.threads)
    return TextTranslator(models[0], config, models[1:], encoder)


def check_languages(direction: Direction, vocabulary: Vocabulary) -> None:
    """Refuse languages that a model has no token for; for unknown codes suggest similar ones.

    Raises:
        UserError: If it has none.
    """
    for language in direction:
        if language not in vocabulary.languages:
            check_language(language)
        vocabulary.language_index(language)


def check_direction(
    direction: Direction, vocabulary: Vocabulary, trained: Sequence[Direction]
) -> None:
    """Warn of a direction that a model was not trained on; refuse languages it does not know.

    Raises:
        UserError: If the model has no token for one of the languages.
    """
    check_languages(direction, vocabulary)
    if direction.source == direction.target:
        raise UserError(f"source and target are both `{direction.source}`")
    known = vocabulary.languages
    if Direction(*(find_language(code, known) or code for code in direction)) not in trained:
        logger.warning("the model was not trained on %s; expect little", direction)
