"""The filters that a pair must pass, in order; the first failure is the reason."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.errors import DataError
from corpus.evaluation_sets import CONTAINED, SAME, EvaluationSentences
from corpus.languages import UNKNOWN_LANGUAGE, Direction
from corpus.protocols import LanguageIdentifier
from corpus.renamed_identifier import RenamedIdentifier
from corpus.terms import TermMatcher
from corpus.text import REPLACEMENT, key_hash, script_share, sentence_key
from mining.bitext.config import FilterConfig
from mining.bitext.hash_counts import HashCounts
from mining.bitext.numbers import numbers_agree
from mining.bitext.pairs import lengths_fit, trigram_overlap

logger = logging.getLogger(__name__)

SIDES = ("source", "target")
PROBABILITY = "probability"
"""Column of `tongues mining probability`."""

REASONS = (
    "empty_side",
    "score_too_low",
    "improbable",
    "low_quality",
    "score_too_high",
    SAME,
    CONTAINED,
    "damaged_characters",
    "length_ratio",
    "copy",
    "wrong_script",
    "numbers",
    "toxicity",
    "wrong_language",
    "duplicate_pair",
    "repeated_source",
    "repeated_target",
)


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """Data of the filters besides the pairs; filters without data are skipped."""

    length_ratio: float
    """Median length of a target by that of its source."""

    direction: Direction | None = None
    evaluation: EvaluationSentences | None = None
    identifier: LanguageIdentifier | None = None
    toxicity: Mapping[str, TermMatcher] | None = None
    """Lists by language."""

    def unmeasured(self) -> list[str]:
        """Return filters that cannot be applied to some pairs, as `filter.language` or `filter`.

        A language without a list is not measured; it is not free of what lists are for.
        """
        if self.direction is None:
            asked = {"toxicity": self.toxicity, "wrong_language": self.identifier}
            return ["wrong_script", *(name for name, value in asked.items() if value is not None)]
        if self.toxicity is None:
            return []
        return [f"toxicity.{side}" for side in self.direction if side not in self.toxicity]


class PairFilter:
    """Gives every pair of a file its reason, batch by batch, in order of the file."""

    def __init__(self, knowledge: Knowledge, config: FilterConfig) -> None:
        self._known = knowledge
        self._config = config
        self._pair_counts = HashCounts()
        self._side_counts = (HashCounts(), HashCounts())

    def reasons(self, table: pa.Table) -> list[str]:
        """Return per pair why it is rejected; empty if it is kept.

        Raises:
            DataError: If a side of a pair is null.
        """
        sources, targets = (table.column(name).to_pylist() for name in SIDES)
        if None in sources or None in targets:
            raise DataError("the bitext has pairs without a source or a target")
        keys = [[sentence_key(text) for text in side] for side in (sources, targets)]
        leaks = self._leaks(keys)
        reasons = [
            "" if source_key and target_key else "empty_side"
            for source_key, target_key in zip(*keys, strict=True)
        ]
        judged = self._judged(table)
        for i, score in enumerate(_scores(table)):
            reasons[i] = (
                reasons[i]
                or self._score_reason(score)
                or judged[i]
                or leaks[i]
                or self._pair_reason(sources[i], targets[i], keys[0][i], keys[1][i])
            )
        self._check_languages(reasons, sources, targets)
        self._check_repetitions(reasons, keys)
        return reasons

    def _leaks(self, keys: Sequence[Sequence[str]]) -> list[str]:
        if self._known.evaluation is None:
            return [""] * len(keys[0])
        return self._known.evaluation.pair_reasons(keys, self._config.evaluation_containment)

    def _judged(self, table: pa.Table) -> list[str]:
        """Return why pairs are rejected by scores other than the margin; a null is no reason."""
        limits = [(name, least, "low_quality") for name, least in self._config.min_quality.items()]
        if self._config.min_probability:
            limits.insert(0, (PROBABILITY, self._config.min_probability, "improbable"))
        reasons = [""] * table.num_rows
        for name, least, reason in limits:
            try:  # columns of TSV are text
                values = pc.cast(table.column(name), pa.float64())
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise DataError(f"the column `{name}` is not of numbers: {error}") from None
            for i, value in enumerate(values.to_pylist()):
                if value is not None and not value >= least:
                    reasons[i] = reasons[i] or reason
        return reasons

    def _score_reason(self, score: float | None) -> str:
        if score is None:
            return ""
        if score < self._config.min_score:
            return "score_too_low"
        # NaN is not a score to trust either.
        return "" if score <= self._config.max_score else "score_too_high"

    def _pair_reason(self, source: str, target: str, source_key: str, target_key: str) -> str:
        config = self._config
        if REPLACEMENT in source or REPLACEMENT in target:
            return "damaged_characters"
        if not lengths_fit(source, target, self._known.length_ratio, config.max_length_ratio):
            return "length_ratio"
        if trigram_overlap(source_key, target_key) > config.max_overlap:
            return "copy"
        direction = self._known.direction
        if direction is not None and not self._scripts_fit(source, target, direction):
            return "wrong_script"
        in_words = direction is not None and not set(direction).isdisjoint(config.numbers_in_words)
        if not numbers_agree(
            source, target, config.min_number_agreement, one_side_may_have_none=in_words
        ):
            return "numbers"
        return "toxicity" if self._is_unevenly_toxic(source, target) else ""

    def _scripts_fit(self, source: str, target: str, direction: Direction) -> bool:
        return all(
            script_share(text, language[4:8]) >= self._config.min_script_share
            for text, language in zip((source, target), direction, strict=True)
        )

    def _is_unevenly_toxic(self, source: str, target: str) -> bool:
        lists, direction = self._known.toxicity, self._known.direction
        if lists is None or direction is None or not set(direction) <= set(lists):
            return False
        terms = [
            len(lists[language].find(text))
            for language, text in zip(direction, (source, target), strict=True)
        ]
        return abs(terms[0] - terms[1]) > self._config.max_toxicity_difference

    def _check_languages(
        self, reasons: list[str], sources: Sequence[str], targets: Sequence[str]
    ) -> None:
        """Reject pairs with a side that is confidently identified as another language."""
        if self._known.identifier is None or self._known.direction is None:
            return
        identifier = RenamedIdentifier(self._known.identifier, self._known.direction)
        for texts, language in zip((sources, targets), self._known.direction, strict=True):
            accepted = {UNKNOWN_LANGUAGE, *self._config.sisters_of(language)}
            left = [i for i, reason in enumerate(reasons) if not reason]
            predictions = identifier.identify([texts[i] for i in left])
            for i, prediction in zip(left, predictions, strict=True):
                is_other = prediction.language not in accepted
                if is_other and prediction.score >= self._config.min_other_language_score:
                    reasons[i] = "wrong_language"

    def _check_repetitions(self, reasons: list[str], keys: Sequence[Sequence[str]]) -> None:
        """Reject pairs that were kept before, and those whose sentence is in too many kept ones."""
        left = [i for i, reason in enumerate(reasons) if not reason]
        source, target = (np.array([key_hash(side[i]) for i in left], np.uint64) for side in keys)
        pair = source * np.uint64(0x9E3779B97F4A7C15) + target
        limit = self._config.max_pairs_per_sentence
        tables = (self._pair_counts, *self._side_counts)
        limits = (1, limit, limit)
        names = ("duplicate_pair", "repeated_source", "repeated_target")
        counts: list[Counter[int]] = []
        for seen, hashes in zip(tables, (pair, source, target), strict=True):
            before = seen.counts(hashes).tolist()
            counts.append(Counter(dict(zip(hashes.tolist(), before, strict=True))))
        kept = []
        for row, values in enumerate(
            zip(pair.tolist(), source.tolist(), target.tolist(), strict=True)
        ):
            full = [
                name
                for name, count, value, most in zip(names, counts, values, limits, strict=True)
                if count[value] >= most
            ]
            if full:
                reasons[left[row]] = full[0]
                continue
            kept.append(row)
            for count, value in zip(counts, values, strict=True):
                count[value] += 1
        for seen, hashes in zip(tables, (pair, source, target), strict=True):
            seen.add(hashes[kept])


def _scores(table: pa.Table) -> Iterator[float | None]:
    if "score" in table.column_names:
        yield from table.column("score").to_pylist()
    else:
        yield from [None] * table.num_rows
