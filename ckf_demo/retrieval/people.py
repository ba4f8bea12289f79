"""People whom a sentence names: directors and actors by full name, surname or nickname."""

from collections import defaultdict
from functools import cached_property

from rapidfuzz import fuzz, process

from ckf_demo.retrieval.spoken import Sentence, filler_of
from ckf_demo.retrieval.terms import ACTOR, COUNTRY, DIRECTOR, GENRE, Lexicon, Term, Words, singular
from ckf_demo.runtime.assets import asset

NAME_LIKENESS, COMMON_LIKENESS = 84, 90
"""Least similarity (`rapidfuzz.fuzz.ratio`, 0 to 100) of a misspelt name, and of one whose
spelling is a word of its own."""

MOST_LETTERS = 2
"""Letters that a misspelt full name may have too many or too few."""

LONGEST_NAME = 4
"""Words."""

SHORTEST_MISSPELT = 6
"""Letters of a surname that is read with a fault in it."""

BY = {"by", "directed by", "made by"}
"""Words after which a name in small letters is one."""

PARTICLES = frozenset("de van von der di da del".split())
"""Words in small letters within a name."""

GROUPS = ("brothers", "sisters")


class People:
    """Finds people in sentences.

    ``filler`` are the words that say nothing, ``vocabulary`` those that texts use.
    """

    def __init__(self, lexicon: Lexicon, filler: frozenset[str], vocabulary):
        self.lexicon, self.filler, self.vocabulary = lexicon, filler, vocabulary
        words = asset("sentences.toml")
        self.by = frozenset(words["people"]["director"])
        self.cues = self.by | frozenset(words["people"]["actor"])
        self._nicknames = {
            short: frozenset(names) for short, names in words["people"]["nicknames"].items()
        }

    @cached_property
    def _by_first(self) -> dict[str, list[Words]]:
        """Full names by first name."""
        found: dict[str, list[Words]] = defaultdict(list)
        for key in self.lexicon.people:
            if len(key) > 1:
                found[key[0]].append(key)
        return found

    def find_full(self, said: Sentence) -> None:
        """Take full names, those with a nickname, and those with a fault in the surname."""
        for length in range(LONGEST_NAME, 1, -1):
            for start in range(len(said.tokens) - length + 1):
                end = start + length
                if said.free(start, end):
                    words = tuple(said.words(start, end))
                    terms = self.lexicon.people.get(words) or self._familiar(said, start, end)
                    if terms:
                        said.take(start, end, self._in_role(said, start, terms))
        for start in range(len(said.tokens) - 1):
            if said.free(start, start + 2):
                terms = self._near_surname(said, start)
                if terms:
                    said.take(
                        start, start + 2, self._in_role(said, start, terms), spelt=terms[0].name
                    )

    def note_unknown(self, said: Sentence) -> None:
        """Note full names in capitals, by their first name, that nobody here has."""
        for start in range(len(said.tokens) - 1):
            end = start + 2
            tokens = said.tokens[start:end]
            if not (said.free(start, end) and all(t.capital for t in tokens)):
                continue
            kinds = {t.kind for t in self.lexicon.terms.get((singular(tokens[1].word),), ())}
            plain = kinds & {GENRE, COUNTRY} or (singular(tokens[0].word),) in self.lexicon.terms
            quiet = {token.word for token in tokens} & {*self.filler, *GROUPS}
            if plain or quiet or tokens[0].closes or not self._is_first_name(tokens[0].word):
                continue
            if not self.knows(said, start, end):
                said.absent.append(said.name(start, end))
                said.hide(start, end)

    def knows(self, said: Sentence, start: int, end: int) -> bool:
        """Whether tokens begin with the name of a person here, as it is, familiar or misspelt."""
        for last in range(min(end, start + LONGEST_NAME), start + 1, -1):
            words = said.words(start, last)
            if tuple(words) in self.lexicon.people or self._familiar(said, start, last):
                return True
        whole = tuple(said.words(start, end))
        in_full = any(
            key[-len(whole) :] == whole for key in self.lexicon.surnames.get(whole[-1], ())
        )
        return in_full or bool(self._near_surname(said, start) or self._misspelt(list(whole))[0])

    def _familiar(self, said: Sentence, start: int, end: int) -> list[Term]:
        """Terms of those whose surname it is and whose first name is familiarly so called."""
        first, rest = said.tokens[start], tuple(said.words(start + 1, end))
        keys = [
            key
            for key in self.lexicon.surnames.get(rest[-1], ())
            if key[-len(rest) :] == rest
            and len(key) > len(rest)
            and self._fits(first.word, key[0], first.capital)
        ]
        return self._most_known(keys)

    def _fits(self, said: str, name: str, capital: bool) -> bool:
        """Whether a first name may be said for another: a nickname, a short form, an initial."""
        if name in self._nicknames.get(said, ()):
            return True
        short, long = sorted((said, name), key=len)
        return long.startswith(short) and (len(short) >= 3 or (capital and short == said))

    def _near_surname(self, said: Sentence, start: int) -> list[Term]:
        """Terms of a known first name with a misspelt surname."""
        first, last = said.tokens[start], said.tokens[start + 1]
        names = self._by_first.get(first.word, ())
        if len(last.word) < 4 or first.word in self.filler or last.word in self.filler:
            return []
        if (singular(last.word),) in self.lexicon.terms or (
            last.word in self.lexicon.surnames and last.capital
        ):
            return []
        least = COMMON_LIKENESS if last.word in self.vocabulary else NAME_LIKENESS
        fits = [
            (fuzz.ratio(last.word, key[-1]), key)
            for key in names
            if len(key) == 2 and key[-1][0] == last.word[0]
        ]
        score, key = max(fits, default=(0, ()))
        return self.lexicon.people[key] if score >= least else []

    def find_surnames(self, said: Sentence) -> None:
        """Take surnames, names that are misspelt, and note those that nobody here has."""
        for start, token in enumerate(said.tokens):
            if not token.free or token.word in self.filler | filler_of(said.language):
                continue
            cue = said.before(start, self.cues)
            by = bool(cue) and (token.capital or cue in BY)
            first, end = self._run(said, start) if token.capital else (start, start + 1)
            named = by or token.capital or self._is_a_name(said, start)
            term = (singular(token.word),) in self.lexicon.terms
            if not named or (term and not cue and (start == 0 or not token.capital)):
                continue
            if token.word in self.lexicon.surnames and self._stands_alone(said, first, start, end):
                last = start + 1 + (said.text(start + 1, start + 2) in GROUPS)
                terms = self._of_surname(tuple(said.words(first, end)))
                said.take(first, max(last, end), self._in_role(said, first, terms))
            elif end - start == 1 == end - first and (token.word,) in self.lexicon.people:
                terms = self.lexicon.people[token.word,]
                said.take(start, end, self._in_role(said, start, terms))
            elif first == start and (by or token.capital):
                self._take_unknown(said, start, end, by)

    def _run(self, said: Sentence, at: int) -> tuple[int, int]:
        """Names in capitals on both sides of a token, which belong to it."""
        start, end = at, at + 1
        while start and self._goes_on(said, start - 1) and not said.tokens[start - 1].closes:
            start -= 1
        while end < len(said.tokens) and not said.tokens[end - 1].closes:
            # "Louis de Funès"
            last = end + (said.tokens[end].free and said.tokens[end].word in PARTICLES)
            if last == len(said.tokens) or not self._goes_on(said, last):
                break
            end = last + 1
        if start < at and said.begins(start) and not self._is_first_name(said.tokens[start].word):
            start += 1
        return start, end

    def _goes_on(self, said: Sentence, at: int) -> bool:
        token = said.tokens[at]
        plain = token.word in self.filler or token.word in GROUPS
        return (
            token.free
            and token.capital
            and not plain
            and (singular(token.word),) not in self.lexicon.terms
        )

    def _is_first_name(self, word: str) -> bool:
        return word in self._by_first or word in self._nicknames

    def _stands_alone(self, said: Sentence, first: int, at: int, end: int) -> bool:
        """Whether a surname is no part of a longer name ("The Thin Red Line") but "De Niro"."""
        run = tuple(said.words(first, end))
        keys = self.lexicon.surnames.get(run[-1], ())
        return at == first and any(key[-len(run) :] == run for key in keys)

    def _is_a_name(self, said: Sentence, start: int) -> bool:
        """Whether a word in small letters is the surname of somebody well represented."""
        word = said.tokens[start].word
        if word not in self.lexicon.surnames or (singular(word),) in self.lexicon.terms:
            return False
        if len(word) < 5 or word in self.lexicon.common_words:
            return False
        least = 3 if word in self.vocabulary else 2
        return max(t.count for t in self._of_surname((word,))) >= least

    def _of_surname(self, name: tuple[str, ...]) -> list[Term]:
        """Terms of the people whose name so ends; of the one with most items if one stands out."""
        keys = self.lexicon.surnames.get(name[-1], ())
        return self._most_known([key for key in keys if key[-len(name) :] == name])

    def _most_known(self, keys: list[Words]) -> list[Term]:
        people = self.lexicon.people
        counted = sorted(((max(t.count for t in people[key]), key) for key in keys), reverse=True)
        if len(counted) > 1 and counted[0][0] >= 2 * counted[1][0]:
            counted = counted[:1]
        return [term for _, key in counted for term in people[key]]

    def _in_role(self, said: Sentence, start: int, terms: list[Term]) -> list[Term]:
        """Those of a person's terms that the words before the name speak of."""
        by = said.before(start, self.by)
        kind = DIRECTOR if by else ACTOR if said.before(start, self.cues) else ""
        if not kind and said.text(start - 1, start) in ("and", "or", ",", "und", "et", "y"):
            # "with A and B"
            before = [m for m in said.mentions if m.end == start - 1 and m.terms]
            kinds = {term.kind for m in before for term in m.terms}
            kind = kinds.pop() if len(kinds) == 1 else ""
        known = sorted(terms, key=lambda term: -term.count)
        return [term for term in known if term.kind == kind] or known

    def _take_unknown(self, said: Sentence, start: int, end: int, by: bool) -> None:
        """A name in capitals or after "by" or "with": misspelt, or of nobody in the catalogue."""
        token = said.tokens[start]
        if not token.capital and token.word in self.vocabulary:
            return
        # a German noun has a capital and is no name for it
        if said.language == "german" and end - start == 1 and not said.before(start, self.by):
            return
        end = min(end, start + LONGEST_NAME)
        for last in range(end, max(start + 1, end - 2), -1) if end - start > 1 else [end]:
            terms, name = self._misspelt(said.words(start, last))
            if terms:
                said.take(start, last, self._in_role(said, start, terms), spelt=name)
                return
        terms = self._most_known(self._by_first.get(token.word, [])) if end - start == 1 else []
        if by and len({term.name for term in terms}) == 1:
            said.take(start, end, self._in_role(said, start, terms), spelt=terms[0].name)
        elif by:
            name = said.name(start, end)
            said.absent.append(name if token.capital else name.title())
            said.hide(start, end)

    def misspelt_surname(self, word: str) -> tuple[list[Term], str]:
        """Terms and name of the people whose surname is nearly the word."""
        return self._misspelt([word])

    def _misspelt(self, words: list[str]) -> tuple[list[Term], str]:
        text = " ".join(words)
        if len(words) == 1:
            if len(text) < SHORTEST_MISSPELT or text in self.vocabulary:
                return [], ""
            names = self._surnames_by_initial.get(text[0], [])
            match = process.extractOne(text, names, scorer=fuzz.ratio, score_cutoff=NAME_LIKENESS)
            # "stoner" is made from a name and not a name with a fault
            if match is None or text.startswith(match[0]):
                return [], ""
            return self._of_surname((match[0],)), match[0].capitalize()
        match = process.extractOne(
            text, self._full_names, scorer=fuzz.ratio, score_cutoff=NAME_LIKENESS
        )
        if not match or abs(len(match[0]) - len(text)) > MOST_LETTERS:
            return [], ""
        terms = self.lexicon.people[tuple(match[0].split())]
        return terms, terms[0].name

    @cached_property
    def _full_names(self) -> list[str]:
        return [" ".join(key) for key in self.lexicon.people]

    @cached_property
    def _surnames_by_initial(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for surname in self.lexicon.surnames:
            found[surname[0]].append(surname)
        return found
