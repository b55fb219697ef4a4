"""Speaking: a language's grammar and lexicon turn a meaning into a sentence."""

from typing import NamedTuple

from corpus.constructed.concepts import PRONOUNS, SUBORDINATORS
from corpus.constructed.languages import ConstructedLanguage
from corpus.constructed.lexicon import Lexicon
from corpus.constructed.meaning import Clause, Meaning, Phrase
from corpus.constructed.phonology import NAME_MARK, attach
from corpus.constructed.scripts import capitalize, write_word

_COMMA = ","


class Word(NamedTuple):
    """A word, in sounds, with what it means; `form` holds a space where particles go with it."""

    form: str
    gloss: str


class Speaker:
    """Says meanings in one language."""

    def __init__(self, language: ConstructedLanguage, lexicon: Lexicon) -> None:
        self.language = language
        self.lexicon = lexicon
        self._grammar = language.grammar
        self._nouns: dict[tuple[str, bool, str], Word] = {}
        self._verbs: dict[tuple[str, str, str, bool, bool, bool], Word] = {}
        self._written: dict[str, str] = {}

    def sentence(self, meaning: Meaning) -> str:
        """Return the sentence that says `meaning`, as written."""
        script = self.language.script
        text = ""
        for word in self.words(meaning):
            if word.gloss == _COMMA:
                text += script.comma
                continue
            for part in word.form.split(" "):
                text += (" " if text and script.spaced else "") + self._write(part)
        return capitalize(text) + (script.question if meaning.is_question else script.stop)

    def gloss(self, meaning: Meaning) -> str:
        """Return the glosses of the sentence's words, in its order."""
        return " ".join(word.gloss for word in self.words(meaning))

    def _write(self, form: str) -> str:
        if form not in self._written:
            written = form if form.isdigit() else write_word(form, self.language.script)
            self._written[form] = written
        return self._written[form]

    def words(self, meaning: Meaning) -> list[Word]:
        """Return the words that say `meaning`, in order; a comma is a word of its own."""
        grammar = self._grammar
        said = self._clause(meaning.main, is_question=meaning.is_question)
        if meaning.is_question and grammar.question == "first":
            said = [self._function("whether"), *said]
        elif meaning.is_question and grammar.question == "last":
            said = [*said, self._function("whether")]
        if meaning.second is None:
            return said
        comma, link = Word(_COMMA, _COMMA), self._function(meaning.link)
        second = self._clause(meaning.second)
        if meaning.link in SUBORDINATORS and grammar.subordinate_first:
            return [*second, link, comma, *said]
        return [*said, comma, link, *second]

    def _function(self, concept: str) -> Word:
        return Word(self.lexicon[concept], concept)

    def _clause(
        self, clause: Clause, is_question: bool = False, relative_person: str = ""
    ) -> list[Word]:
        grammar = self._grammar
        person = clause.subject.person if clause.subject else relative_person
        said: list[Word] = []
        for slot in grammar.clause:
            if slot == "V":
                said.append(self._verb(clause, person, is_question, bool(relative_person)))
            elif slot == "S" and clause.subject is not None:
                if not (grammar.drops_pronouns and clause.subject.head in PRONOUNS):
                    said.extend(self._phrase(clause.subject, ""))
            elif slot == "O" and clause.object is not None:
                said.extend(self._phrase(clause.object, "object"))
            elif slot == "R" and clause.recipient is not None:
                said.extend(self._related(clause.recipient, "recipient", "to"))
            elif slot == "P" and clause.place is not None:
                said.extend(self._related(clause.place[1], clause.place[0], clause.place[0]))
            elif slot == "T" and clause.time:
                said.append(self._function(clause.time))
            elif slot == "M" and clause.manner:
                said.append(self._function(clause.manner))
        return said

    def _related(self, phrase: Phrase, case: str, adposition: str) -> list[Word]:
        """Say a phrase in a case of its own if there is one, else with an adposition."""
        if case in self._grammar.cases:
            return self._phrase(phrase, case)
        said = self._phrase(phrase, "oblique")
        marker = self._function(adposition)
        return [*said, marker] if self._grammar.postpositions else [marker, *said]

    def _phrase(self, phrase: Phrase, case: str) -> list[Word]:
        grammar = self._grammar
        plural = phrase.plural and (grammar.plural_after_numbers or not phrase.number)
        said: list[Word] = []
        for slot in grammar.phrase:
            if slot == "H":
                said.append(self._noun(phrase.head, plural, case))
            elif slot == "A" and phrase.adjective:
                agreeing = plural and grammar.adjectives_agree
                said.append(self._noun(phrase.adjective, agreeing, ""))
            elif slot == "N" and phrase.number:
                form = self.lexicon.get(phrase.number, phrase.number)
                said.append(Word(form, phrase.number))
                if grammar.classifier:
                    said.append(self._function("classifier"))
            elif slot == "D" and phrase.determiner:
                said.append(self._function(phrase.determiner))
            elif slot == "G" and phrase.possessor is not None:
                said.extend(self._related(phrase.possessor, "possessor", "of"))
            elif slot == "C" and phrase.relative is not None:
                said.extend(self._relative(phrase.relative, phrase.person))
        if phrase.partner is not None:
            said += [self._function("and"), *self._phrase(phrase.partner, case)]
        return said

    def _relative(self, clause: Clause, person: str) -> list[Word]:
        said = self._clause(clause, relative_person=person)
        if self._grammar.relative != "who":
            return said
        marker = self._function("who")
        is_before_head = self._grammar.phrase.index("C") < self._grammar.phrase.index("H")
        return [*said, marker] if is_before_head else [marker, *said]

    def _noun(self, concept: str, plural: bool, case: str) -> Word:
        key = (concept, plural, case)
        if key not in self._nouns:
            grammar = self._grammar
            form, gloss = self.lexicon[concept], concept
            if form.startswith(NAME_MARK):
                gloss = form.removeprefix(NAME_MARK).capitalize()
            if plural:
                form = attach(form, grammar.plural, grammar.harmony)
                gloss += ".PL"
            if case in grammar.cases:
                form = attach(form, grammar.cases[case], grammar.harmony)
                gloss += f".{case.upper()}"
            self._nouns[key] = Word(form, gloss)
        return self._nouns[key]

    def _verb(self, clause: Clause, person: str, is_question: bool, is_relative: bool) -> Word:
        key = (clause.verb, clause.tense, person, clause.negated, is_question, is_relative)
        if key not in self._verbs:
            self._verbs[key] = self._inflect(*key)
        return self._verbs[key]

    def _inflect(
        self,
        verb: str,
        tense: str,
        person: str,
        negated: bool,
        is_question: bool,
        is_relative: bool,
    ) -> Word:
        grammar = self._grammar
        form, gloss = self.lexicon[verb], f"{verb}.{tense.upper()}"
        affixes = [grammar.tenses[tense], grammar.persons.get(person, "")]
        if negated:
            # A negative suffix stands next to the stem, any other mark outside the other affixes.
            affixes.insert(0 if grammar.negation.startswith("-") else 2, grammar.negation)
            gloss += ".NOT"
        if is_relative and grammar.relative != "who":
            affixes[-1] = grammar.relative
            gloss += ".WHO"
        elif person in grammar.persons:
            gloss += f".{person.upper()}"
        if is_question and grammar.question not in ("first", "last"):
            affixes.append(grammar.question)
            gloss += ".Q"
        for affix in affixes:
            form = attach(form, affix, grammar.harmony)
        return Word(form, gloss)
