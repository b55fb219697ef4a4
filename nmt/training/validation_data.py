"""Validation of each direction on sentences of a FLORES split: likelihood and chrF++."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.errors import DataError, UserError
from corpus.flores import read_split, split_languages
from corpus.languages import Direction, find_language, parse_direction
from nmt.data.batches import Batch, Rows, cut
from nmt.data.tokenize import DirectionPairs, TokenizedBitext, hold_out
from nmt.training.config import ResolvedTrainConfig, TrainConfig
from nmt.vocabulary.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

_EXTRA_TOKENS = 3
"""Language and end, and the beginning of a target."""


@dataclass(frozen=True)
class ValidationSet:
    """The data of a validation."""

    batches: dict[Direction, list[Batch]]
    """Batches whose likelihood is measured."""

    translated: dict[Direction, tuple[list[str], list[str]]]
    """Sources and references of the directions that are translated too."""


def read_validation(
    config: ResolvedTrainConfig,
    vocabulary: Vocabulary,
    directions: Sequence[Direction],
    max_positions: int,
) -> ValidationSet:
    """Read the validation split for those directions whose languages it has.

    Args:
        config: What is validated.
        vocabulary: Tokenizes.
        directions: What is trained.
        max_positions: Tokens that the model takes; longer sentences are left out, with a warning.

    Raises:
        UserError: If a direction of `chrf.directions` cannot be validated, or if no direction can
            and `selection` needs one.
        DataError: If the split is empty, or all its sentences are too long for the model.
    """
    if config.flores is None:
        return ValidationSet({}, {})
    split = config.validation_split
    there = set(split_languages(config.flores, split))
    covered = covered_directions(config, directions)
    _report_missing(config, there, directions, covered)
    languages = sorted({language for direction in covered for language in direction})
    texts = read_split(config.flores, split, languages)
    if any(not lines for lines in texts.values()):
        raise DataError(f"{config.flores / split} has no sentence; fetch it again")
    kept = {language: lines[: config.validation_sentences] for language, lines in texts.items()}
    count = config.chrf.sentences
    return ValidationSet(
        batches=_batches(config, vocabulary, covered, kept, max_positions),
        translated={
            direction: (texts[direction.source][:count], texts[direction.target][:count])
            for direction in _translated(config, covered)
        },
    )


def read_held_out(
    config: ResolvedTrainConfig,
    vocabulary: Vocabulary,
    bitext: TokenizedBitext,
    pairs: Mapping[Direction, DirectionPairs],
    max_positions: int,
) -> ValidationSet:
    """Read pairs of the bitext that are held out of training, for each direction.

    Args:
        config: What is validated.
        vocabulary: Tokenizes.
        bitext: Tokenized pairs.
        pairs: What there is, held-out pairs included.
        max_positions: Tokens that the model takes; longer sentences are left out, with a warning.

    Raises:
        UserError: If a direction of `chrf.directions` has none, or if none is held out and
            `selection` needs a validation.
    """
    texts = {
        direction: sides
        for direction, own in hold_out(pairs, config.held_out_every).items()
        if (sides := _held_out_texts(config, vocabulary, bitext, own))[0]
    }
    if not texts and config.selection.needs_validation:
        raise UserError(
            f"`selection` compares validations, but no file of the bitext has"
            f" {config.held_out_every} pairs, of which one is held out; give `flores`, or"
            " set `held_out_every`"
        )
    count = config.chrf.sentences
    return ValidationSet(
        batches={
            direction: batches
            for direction, (sources, targets) in texts.items()
            for batches in _batches(
                config,
                vocabulary,
                [direction],
                {direction.source: sources, direction.target: targets},
                max_positions,
            ).values()
        },
        translated={
            direction: (texts[direction][0][:count], texts[direction][1][:count])
            for direction in _translated(config, list(texts))
        },
    )


def _held_out_texts(
    config: ResolvedTrainConfig,
    vocabulary: Vocabulary,
    bitext: TokenizedBitext,
    pairs: DirectionPairs,
) -> tuple[list[str], list[str]]:
    """Return sources and targets of the first pairs that are held out, spread over the files."""
    shards = bitext.shards
    rows = [
        (part, row)
        for part in pairs.parts
        for row in part.held_out_rows(shards.num_sentences(part.shard) // 2)
    ]
    most = config.validation_sentences
    if len(rows) > most:
        rows = [rows[i * len(rows) // most] for i in range(most)]
    sides: tuple[list[str], list[str]] = [], []
    for part, row in rows:
        offsets, tokens = shards.offsets(part.shard), shards.tokens(part.shard)
        for side, texts in zip((part.source_side, 1 - part.source_side), sides, strict=True):
            begin, end = offsets[2 * row + side], offsets[2 * row + side + 1]
            texts.append(vocabulary.decode(tokens[begin:end].tolist()))
    return sides


def covered_directions(config: TrainConfig, directions: Sequence[Direction]) -> list[Direction]:
    """Return the directions whose languages the validation split has."""
    if config.flores is None:
        return []
    there = split_languages(config.flores, config.validation_split)
    named = {code for direction in directions for code in direction}
    covered = {code: find_language(code, there) for code in named}
    return [d for d in directions if covered[d.source] and covered[d.target]]


def _report_missing(
    config: TrainConfig,
    there: set[str],
    directions: Sequence[Direction],
    covered: Sequence[Direction],
) -> None:
    """Warn of directions without validation; raise if none is left but one is needed."""
    languages = sorted({language for d in directions for language in d})
    missing = [language for language in languages if find_language(language, there) is None]
    if not missing:
        return
    folder = f"{config.flores}/{config.validation_split}"
    named = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
    if not covered and config.selection.needs_validation:
        raise UserError(
            f"`selection` compares validations, but {folder} has no direction of this training: it"
            f" has no file for {named}"
        )
    logger.warning(
        "%d of %d directions are not validated: %s has no file for %s",
        len(directions) - len(covered),
        len(directions),
        folder,
        named,
    )


def _translated(config: TrainConfig, covered: Sequence[Direction]) -> list[Direction]:
    chrf = config.chrf
    if chrf.sentences == 0:
        return []
    if chrf.directions:
        named = [parse_direction(text) for text in chrf.directions]
        for direction in named:
            if direction not in covered:
                where = (
                    f"in {config.flores}/{config.validation_split}"
                    if config.flores
                    else "among the pairs held out"
                )
                raise UserError(
                    f"`chrf.directions` names {direction}, which is not both trained and {where}"
                )
        return sorted(set(named))
    most = chrf.max_directions or len(covered)
    if len(covered) <= most:
        return list(covered)
    # Evenly spaced in the sorted list, which spreads them over source languages.
    return [covered[i * len(covered) // most] for i in range(most)]


def _batches(
    config: TrainConfig,
    vocabulary: Vocabulary,
    directions: Sequence[Direction],
    texts: dict[str, list[str]],
    max_positions: int,
) -> dict[Direction, list[Batch]]:
    tokens, lengths = vocabulary.encode_flat([line for lines in texts.values() for line in lines])
    rows = Rows(tokens, np.concatenate([[0], np.cumsum(lengths)]), vocabulary)
    number = len(next(iter(texts.values()), []))
    first = {language: i * number for i, language in enumerate(texts)}
    batches: dict[Direction, list[Batch]] = {}
    too_long = 0
    for direction in directions:
        source = first[direction.source] + np.arange(number)
        target = first[direction.target] + np.arange(number)
        longest = np.maximum(rows.lengths(source), rows.lengths(target))
        fits = longest + _EXTRA_TOKENS <= max_positions
        too_long += int((~fits).sum())
        source, target = source[fits], target[fits]
        if not len(source):
            where = f"{config.flores}/{config.validation_split}" if config.flores else "the bitext"
            raise DataError(
                f"no sentence of {where} for {direction} fits"
                f" the {max_positions} positions of the model (`model.max_seq_len`)"
            )
        chosen = cut(rows.lengths(source), rows.lengths(target), config.batches.positions)
        batches[direction] = [
            Batch(*_rows(rows, vocabulary, direction, source[c], target[c])) for c in chosen
        ]
    if too_long:
        logger.warning(
            "%d validation pairs are left out: longer than the model's %d positions",
            too_long,
            max_positions,
        )
    return batches


def _rows(
    rows: Rows,
    vocabulary: Vocabulary,
    direction: Direction,
    source: NDArray[np.int64],
    target: NDArray[np.int64],
) -> tuple[NDArray[np.int64], ...]:
    """Return source and target rows with lengths, for one direction and no tag."""
    source_language = np.full(len(source), vocabulary.language_index(direction.source))
    target_language = np.full(len(target), vocabulary.language_index(direction.target))
    end = np.full(len(target), vocabulary.end_index)
    return (
        *rows.assemble([source_language], source),
        *rows.assemble([end, target_language], target),
    )
