"""Concepts: what the constructed languages have words for, by the roles they can play."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(" "))


PEOPLE = _words(
    "man woman child doctor teacher farmer king queen sailor baker soldier singer painter"
    " merchant judge hunter guest neighbor friend brother sister mother father grandmother"
    " poet student servant smith weaver shepherd"
)
ANIMALS = _words(
    "dog cat horse cow goat bird fish wolf bear fox sheep hen donkey snake mouse frog bee eagle"
)
FOODS = _words("bread apple rice milk honey soup cheese egg onion salt bean fig grape cake")
THINGS = _words(
    "book letter lamp table door window knife rope boat cart coat hat ring key coin basket"
    " cup bell drum mirror map ladder hammer needle blanket stone flag box candle wheel net"
    " sword picture carpet"
)
SITES = _words(
    "house garden river mountain market bridge school village forest field temple harbor"
    " road well tower mill kitchen island valley shore"
)

VERBS_BY_OBJECT = {
    "people": _words("help greet call teach thank invite visit believe"),
    "animals": ("feed", "chase", "hunt", "catch"),
    "foods": ("eat", "cook", "taste", "share"),
    "things": _words(
        "make buy sell carry break wash hide paint lose bring steal repair count measure draw clean"
    ),
    "any": _words("see find want watch remember seek need touch"),
}
"""Transitive verbs by the kind of object they take."""

GIVING = _words("give send show lend promise offer")
RESTING = _words(
    "sleep sing laugh dance work cry wait rest fall swim stand sit speak dream shout play"
    " tremble smile"
)
MOVING = _words("go come return travel walk hurry")

TRAITS = _words(
    "old young tall clever tired happy sad strong weak rich poor quiet brave kind strange"
    " hungry famous honest lazy angry"
)
"""Adjectives of people and animals."""

QUALITIES = _words(
    "big small new red white black green blue yellow beautiful heavy light long short warm"
    " cold dirty empty broken round"
)
"""Adjectives of things, foods and places."""

TIMES = {
    "past": ("yesterday", "long_ago", "last_night", "once"),
    "present": ("now", "today", "often", "always"),
    "future": ("tomorrow", "soon", "next_year", "tonight"),
}
MANNERS = _words("quickly slowly quietly gladly carefully together again alone")
PLACING = ("in", "on", "under", "near", "behind")
"""Adpositions of place; `to`, `from` and `of` have uses of their own."""

ACCOMPANYING = ("with", "for", "without")
NUMBERS = _words("two three four five six seven eight nine ten")
COORDINATORS = ("and", "but")
SUBORDINATORS = ("because", "when")
PRONOUNS = {"I": "1s", "you": "2s", "we": "1p", "they": "3p"}
DETERMINERS = ("this", "that")
MARKERS = _words("to from of who whether classifier")
"""Words with grammatical work only; a language uses the ones its grammar asks for."""

FUNCTION_WORDS = (
    *PLACING, *ACCOMPANYING, *NUMBERS, *COORDINATORS, *SUBORDINATORS, *PRONOUNS, *DETERMINERS,
    *MARKERS,
)  # fmt: skip

PERSON_NAMES = tuple(f"person_{index}" for index in range(24))
PLACE_NAMES = tuple(f"town_{index}" for index in range(16))
NAMES = PERSON_NAMES + PLACE_NAMES


def all_words() -> list[str]:
    """Return every concept that is not a name, each once, in a fixed order."""
    listed = [
        *PEOPLE, *ANIMALS, *FOODS, *THINGS, *SITES,
        *(verb for verbs in VERBS_BY_OBJECT.values() for verb in verbs),
        *GIVING, *RESTING, *MOVING, *TRAITS, *QUALITIES,
        *(time for times in TIMES.values() for time in times),
        *MANNERS, *FUNCTION_WORDS,
    ]  # fmt: skip
    return list(dict.fromkeys(listed))
