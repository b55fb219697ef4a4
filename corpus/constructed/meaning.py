"""Meanings: small events with participants, independent of any language, and their generator."""

import itertools
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from corpus.constructed import concepts

FEWEST_CONCEPTS = 4
MOST_CONCEPTS = 10


class Phrase(NamedTuple):
    """A participant: something, someone, somewhere."""

    head: str
    plural: bool = False
    number: str = ""
    """A number word's concept, or digits."""

    adjective: str = ""
    determiner: str = ""
    possessor: "Phrase | None" = None
    relative: "Clause | None" = None
    """What the head does, as a clause without its subject."""

    partner: "Phrase | None" = None
    """A second participant in the same role."""

    @property
    def person(self) -> str:
        """Person and number for agreement, as `3s`."""
        if self.head in concepts.PRONOUNS:
            return concepts.PRONOUNS[self.head]
        return "3p" if self.plural or self.number or self.partner else "3s"


class Clause(NamedTuple):
    """An event."""

    verb: str
    tense: str
    subject: Phrase | None = None
    negated: bool = False
    object: Phrase | None = None
    recipient: Phrase | None = None
    place: tuple[str, Phrase] | None = None
    """An adposition and what it belongs to."""

    time: str = ""
    manner: str = ""


class Meaning(NamedTuple):
    """What a sentence says: an event, or two with a link between them."""

    main: Clause
    link: str = ""
    second: Clause | None = None
    is_question: bool = False


def content(meaning: Meaning) -> tuple[str, ...]:
    """Return the sorted content concepts of a meaning.

    Two meanings with the same content differ in roles, number, tense or negation only, which is
    too little to tell them apart by their words; a generator gives out at most one of them.
    """
    found = list(_clause_content(meaning.main))
    if meaning.second is not None:
        found.extend(_clause_content(meaning.second))
    return tuple(sorted(found))


def _clause_content(clause: Clause) -> Iterator[str]:
    yield clause.verb
    if clause.time:
        yield clause.time
    if clause.manner:
        yield clause.manner
    for phrase in (
        clause.subject,
        clause.object,
        clause.recipient,
        clause.place and clause.place[1],
    ):
        if phrase:
            yield from _phrase_content(phrase)


def _phrase_content(phrase: Phrase) -> Iterator[str]:
    yield phrase.head
    if phrase.adjective:
        yield phrase.adjective
    for inner in (phrase.possessor, phrase.partner):
        if inner:
            yield from _phrase_content(inner)
    if phrase.relative:
        yield from _clause_content(phrase.relative)


class MeaningGenerator:
    """Draws meanings, no two of the same content."""

    def __init__(self, random: Random, lexicon_share: float = 1.0) -> None:
        """Prepare to draw from the first `lexicon_share` of every class of concepts."""
        self._random = random
        self._share = lexicon_share
        self._seen: set[tuple[str, ...]] = set()
        self._objects = {
            "people": self._part(concepts.PEOPLE),
            "animals": self._part(concepts.ANIMALS),
            "foods": self._part(concepts.FOODS),
            "things": self._part(concepts.THINGS),
        }
        self._sites = self._part(concepts.SITES)
        self._traits = self._part(concepts.TRAITS)
        self._qualities = self._part(concepts.QUALITIES)
        self._beings = [*self._objects["people"], *self._objects["animals"]]
        self._people_names = self._part(concepts.PERSON_NAMES)
        self._place_names = self._part(concepts.PLACE_NAMES)
        self._verbs = [
            (verb, kind)
            for kind, verbs in concepts.VERBS_BY_OBJECT.items()
            for verb in self._part(verbs)
        ]
        self._giving = self._part(concepts.GIVING)
        self._resting = self._part(concepts.RESTING)
        self._moving = self._part(concepts.MOVING)
        self._being_set = frozenset(self._beings)

    def _part(self, listed: Sequence[str]) -> list[str]:
        return list(listed[: max(3, round(len(listed) * self._share))])

    def draw(self, count: int) -> list[Meaning]:
        """Return `count` new meanings."""
        return list(itertools.islice(self, count))

    def __iter__(self) -> Iterator[Meaning]:
        while True:
            meaning = self._meaning()
            key = content(meaning)
            within = FEWEST_CONCEPTS <= len(key) <= MOST_CONCEPTS
            if within and len(set(key)) == len(key) and key not in self._seen:
                self._seen.add(key)
                yield meaning

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _choice(self, options: Sequence[str]) -> str:
        return options[int(self._random.random() * len(options))]

    def _meaning(self) -> Meaning:
        tense = self._choice(("past", "past", "present", "future"))
        if self._chance(0.25):
            if self._chance(0.5):
                link = self._choice(concepts.COORDINATORS)
            else:
                link = self._choice(concepts.SUBORDINATORS)
            main, second = self._clause(tense, short=True), self._clause(tense, short=True)
            return Meaning(main, link, second._replace(time=""))
        return Meaning(self._clause(tense), is_question=self._chance(0.1))

    def _clause(self, tense: str, short: bool = False) -> Clause:
        kind = self._random.random()
        rich = 0.0 if short else 1.0
        subject = self._subject(rich)
        place = self._place() if self._chance(0.45 * rich) else None
        event = Clause(
            verb="",
            tense=tense,
            subject=subject,
            negated=self._chance(0.12),
            place=place,
            time=self._choice(concepts.TIMES[tense]) if self._chance(0.2 + 0.15 * rich) else "",
            manner=self._choice(concepts.MANNERS) if self._chance(0.08 + 0.12 * rich) else "",
        )
        if kind < 0.62:
            verb, object_kind = self._verbs[int(self._random.random() * len(self._verbs))]
            return event._replace(verb=verb, object=self._object(object_kind, rich))
        if kind < 0.76:
            recipient = self._being(0.3)
            gift = self._object(self._choice(("things", "foods")), 0.5)
            verb = self._choice(self._giving)
            return event._replace(verb=verb, object=gift, recipient=recipient, place=None)
        if kind < 0.88:
            goal = (self._choice(("to", "from")), self._site(0.4))
            return event._replace(verb=self._choice(self._moving), place=goal)
        return event._replace(verb=self._choice(self._resting), place=place or self._place())

    def _subject(self, rich: float) -> Phrase:
        kind = self._random.random()
        if kind < 0.12:
            return Phrase(self._choice(tuple(concepts.PRONOUNS)))
        if kind < 0.32:
            return self._named()
        phrase = self._being(0.3 + 0.25 * rich)
        if self._chance(0.12 * rich):
            return phrase._replace(relative=self._relative(), possessor=None)
        if self._chance(0.08):
            return phrase._replace(number="", possessor=None, partner=self._named_or_being())
        return phrase

    def _relative(self) -> Clause:
        verb, kind = self._verbs[int(self._random.random() * len(self._verbs))]
        return Clause(verb, self._choice(("past", "present")), object=self._object(kind, 0.2))

    def _named(self) -> Phrase:
        return Phrase(self._choice(self._people_names))

    def _named_or_being(self) -> Phrase:
        return self._named() if self._chance(0.4) else Phrase(self._choice(self._beings))

    def _object(self, kind: str, rich: float) -> Phrase:
        if kind == "any":
            kind = self._choice(("people", "animals", "foods", "things", "things"))
        if kind == "people" and self._chance(0.2):
            return self._named()
        return self._dressed(self._choice(self._objects[kind]), 0.35 + 0.3 * rich)

    def _being(self, rich: float) -> Phrase:
        return self._dressed(self._choice(self._beings), rich)

    def _site(self, rich: float) -> Phrase:
        if self._chance(0.3):
            return Phrase(self._choice(self._place_names))
        return self._dressed(self._choice(self._sites), rich, counted=False)

    def _place(self) -> tuple[str, Phrase]:
        if self._chance(0.2):
            return self._choice(concepts.ACCOMPANYING), self._being(0.3)
        if self._chance(0.25):
            return self._choice(concepts.PLACING), self._object("things", 0.3)
        return self._choice(concepts.PLACING), self._site(0.5)

    def _dressed(self, head: str, rich: float, counted: bool = True) -> Phrase:
        """Give a noun an adjective, a number, a determiner, a possessor, as chance will."""
        adjective = determiner = number = ""
        possessor = None
        if self._chance(rich):
            adjective = self._choice(self._traits if head in self._being_set else self._qualities)
        plural = self._chance(0.25)
        kind = self._random.random()
        if kind < 0.12 and counted:
            plural = True
            number = str(int(11 + self._random.random() * 89)) if kind < 0.015 else ""
            number = number or self._choice(concepts.NUMBERS)
        elif kind < 0.22:
            determiner = self._choice(concepts.DETERMINERS)
        elif kind < 0.32:
            possessor = self._named_or_being()
        return Phrase(head, plural, number, adjective, determiner, possessor)
