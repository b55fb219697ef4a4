"""Which language pairs a run mines."""

import itertools
import logging
from collections.abc import Mapping, Sequence

from corpus.errors import UserError
from corpus.languages import Direction, find_language, parse_direction
from mining.encoders import BUILTIN, BUILTIN_LANGUAGES
from mining.run.config import RunConfig

logger = logging.getLogger(__name__)


def named_languages(config: RunConfig) -> set[str]:
    """Return the languages that a recipe names: those must have an encoder."""
    in_pairs = (language for pair in config.pairs for language in parse_direction(pair))
    return {*config.languages, *in_pairs, *([config.pivot] if config.pivot else [])}


def choose_pairs(config: RunConfig, sentences: Mapping[str, int]) -> list[Direction]:
    """Return the language pairs to mine.

    Pairs that are not named have their pivot first, or the language with more sentences.

    Args:
        config: Names pairs, a pivot, or neither.
        sentences: Sentences of each language that was found.

    Raises:
        UserError: If a language that is named was not found, or no pair is left.
    """
    named = [parse_direction(pair) for pair in config.pairs]
    for language in (*itertools.chain(*named), *([config.pivot] if config.pivot else [])):
        if language not in sentences:
            raise UserError(f"the shards have no sentences of `{language}`")
    if named:
        return list(dict.fromkeys(named))
    languages = _minable(config, sentences)
    if config.pivot:
        pairs = [Direction(config.pivot, one) for one in languages if one != config.pivot]
    else:
        pairs = list(itertools.starmap(Direction, itertools.combinations(languages, 2)))
    if not pairs:
        raise UserError(
            f"there is no language pair to mine: {', '.join(languages) or 'no language'} has"
            f" `min_sentences`, {config.min_sentences}, and an encoder"
        )
    return pairs


def _minable(config: RunConfig, sentences: Mapping[str, int]) -> Sequence[str]:
    """Return the languages that have enough sentences and an encoder, most sentences first."""
    order = sorted(sentences, key=lambda language: (-sentences[language], language))
    few = [language for language in order if sentences[language] < config.min_sentences]
    unknown = []
    if not config.languages:
        unknown = [one for one in order if one not in few and not _is_encoded(one, config)]
    if few:
        logger.info(
            "%d languages have fewer than %d sentences and are left out: %s",
            len(few),
            config.min_sentences,
            ", ".join(few),
        )
    if unknown:
        logger.warning(
            "the builtin encoder does not know %s, which are left out; `encoders` gives a language"
            " an encoder of its own",
            ", ".join(unknown),
        )
    return [language for language in order if language not in {*few, *unknown}]


def _is_encoded(language: str, config: RunConfig) -> bool:
    encoder = config.encoders.get(language, config.encoder)
    return (
        encoder != BUILTIN
        or config.embed.all_languages
        or find_language(language, BUILTIN_LANGUAGES) is not None
    )
