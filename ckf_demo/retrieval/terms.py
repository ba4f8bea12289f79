"""What a catalogue can be asked for: genres, people, themes, countries, languages and years.

`Lexicon` knows every name of these, everyday names in ``assets/sentences.toml`` and
``assets/film_themes.toml`` included, and which items fit.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ckf_demo.data.item_facts import ItemFacts
from ckf_demo.data.prepared import Prepared
from ckf_demo.runtime.assets import asset

GENRE, DIRECTOR, ACTOR, THEME = "genre", "director", "actor", "theme"
COUNTRY, LANGUAGE, YEARS, LIKENESS = "country", "language", "years", "likeness"
FURTHER = 0.9
"""The fit of an item whose first country or language is another."""

SECOND_READING = 0.5
"""The fit of an item that a second reading of a name finds: a theme of the name of a genre."""

FULFILLED = 0.85
"""Least fit of an item that has what is wanted."""

Words = tuple[str, ...]


@dataclass(frozen=True)
class Term:
    """Something that an item has or has not.

    ``fit`` is float32 (I,): 1 for items that have it, 0 for those that do not, between them for
    uncertain ones.
    """

    kind: str
    name: str
    fit: np.ndarray = field(repr=False, compare=False)

    @property
    def count(self) -> int:
        """How many items have it."""
        return int((self.fit >= FULFILLED).sum())


_AUXILIARY = "do|does|did|is|was|are|were|would|could|should|have|has|had|wo"


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared: lower case, no accents, "n't" as "not"."""
    text = re.sub(r"[’‘`´]", "'", text.casefold())
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    bare = re.sub(r"\b(?:can't|cant|cannot)\b", "can not", bare)
    bare = re.sub(rf"\b({_AUXILIARY})n'?t\b", r"\1 not", bare)
    bare = re.sub(r"n't\b", " not", bare)
    bare = re.sub(r"(?<=\w)'s\b", "", bare)
    return re.findall(r"[^\W_]+", bare)


def singular(word: str) -> str:
    """A word without its plural ending."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "ches", "shes", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def key_of(text: str) -> Words:
    """A name as the lexicon keeps it."""
    return tuple(singular(word) for word in words_of(text))


class Lexicon:
    """Names that a sentence may use for what the items of a data set are.

    Attributes
    ----------
    terms
        Terms by name, as `key_of` writes it. A name may have several terms.
    people
        Terms of directors and actors by full name.
    surnames
        Full names, as keys of `people`, by last word.
    """

    def __init__(self, prepared: Prepared):
        self.prepared, self.facts = prepared, prepared.facts or ItemFacts.empty(prepared.n_items)
        self.terms: dict[Words, list[Term]] = defaultdict(list)
        self.people: dict[Words, list[Term]] = defaultdict(list)
        self.surnames: dict[str, list[Words]] = defaultdict(list)
        self._sentences = asset("sentences.toml")
        self._add_genres()
        self._add_places()
        self._add_themes()
        self._add_people()

    @property
    def size(self) -> int:
        """Number of items."""
        return self.prepared.n_items

    @cached_property
    def longest(self) -> int:
        """The most words of a name."""
        return max(map(len, self.terms), default=1)

    @cached_property
    def single_words(self) -> list[str]:
        """Names of one word with five letters or more."""
        return sorted({key[0] for key in self.terms if len(key) == 1 and len(key[0]) >= 5})

    @cached_property
    def common_words(self) -> frozenset[str]:
        """Words that the items' texts write in small letters, which are no names for certain."""
        texts = " ".join(filter(None, self.facts.descriptions))
        return frozenset(re.findall(r"(?<![^\W_])[^\W\d_A-Z]+", texts))

    @cached_property
    def titles(self) -> dict[Words, list[int]]:
        """Items by title, without article; those with several titles count with each."""
        found: dict[Words, list[int]] = defaultdict(list)
        for item, title in enumerate(self.prepared.titles):
            for part in {title, *re.split(r"[()]", title)}:
                key = tuple(words_of(part))
                if key[:1] in (("the",), ("a",), ("an",)) and len(key) > 1:
                    key = key[1:]
                if key and item not in found[key]:
                    found[key].append(item)
        return found

    def years(self, low: int | None, high: int | None, name: str) -> Term:
        """Items from year ``low`` to year ``high``, both included; unknown years do not fit."""
        years = self.prepared.years
        fits = years > 0
        if low is not None:
            fits &= years >= low
        if high is not None:
            fits &= years <= high
        return Term(YEARS, name, fits.astype(np.float32))

    @cached_property
    def latest(self) -> int:
        """The last year of an item."""
        return int(self.prepared.years.max(initial=0))

    def language(self, name: str) -> Term | None:
        """The term of a spoken language, by its English name; None where no item has it."""
        known = {key_of(each): each for each in self._languages}
        each = known.get(key_of(name))
        return None if each is None else self._languages[each]

    @cached_property
    def foreign(self) -> Term:
        """Items in which another language than English is the first."""
        fits = [bool(spoken) and spoken[0] != "English" for spoken in self.facts.languages]
        return Term(LANGUAGE, "not in English", np.array(fits, np.float32))

    @cached_property
    def _languages(self) -> dict[str, Term]:
        return {
            name: Term(LANGUAGE, f"in {name}", fit)
            for name, fit in self._members(self.facts.languages, FURTHER).items()
        }

    def _members(
        self, values: Sequence[Sequence[str]], further: float = 1.0
    ) -> dict[str, np.ndarray]:
        """For each value, the items that have it: float32 (I,).

        It is 1 for the first value of an item, and ``further`` for its others.
        """
        members: dict[str, np.ndarray] = {}
        for item, names in enumerate(values):
            for place, name in enumerate(names):
                fit = members.setdefault(name, np.zeros(self.size, np.float32))
                fit[item] = further if place else 1.0
        return members

    def _add(self, name: str, term: Term) -> None:
        """Add a term under a name, which may hold nothing that is compared."""
        key = key_of(name)
        if key and term not in self.terms[key]:
            self.terms[key].append(term)

    def _add_genres(self) -> None:
        everyday = self._sentences["genres"]
        for name, fit in self._members(self.prepared.genres).items():
            term = Term(GENRE, name, fit)
            for alias in (name, *everyday.get(name, ())):
                self._add(alias, term)

    def _add_places(self) -> None:
        countries = self._members(self.facts.countries, FURTHER)
        for name, aliases in self._sentences["countries"].items():
            if name in countries:
                term = Term(COUNTRY, name, countries[name])
                for alias in (name, *aliases):
                    self._add(alias, term)
        for region, names in self._sentences["regions"].items():
            fits = [countries[name] for name in names if name in countries]
            if fits:
                term = Term(COUNTRY, region, np.maximum.reduce(fits))
                self.terms[key_of(region)] = [term]
                self._add(f"from {region}", term)
        if countries:
            for alias in self._sentences["languages"]["foreign"]:
                self._add(alias, self.foreign)

    def _add_themes(self) -> None:
        members = self._members(self.facts.tags)
        themes = asset("film_themes.toml")
        for kind in ("subject", "setting", "tone"):
            for name, aliases in themes[kind].items():
                if name not in members:
                    continue
                term = Term(THEME, name, self._toned(name, members))
                for alias in (name, *aliases):
                    key = key_of(alias)
                    if any(known.kind == GENRE for known in self.terms.get(key, ())):
                        term_of_alias = Term(THEME, name, SECOND_READING * members[name])
                    else:
                        term_of_alias = term
                    self._add(alias, term_of_alias)
        for name, fit in members.items():
            self._add(name, Term(THEME, name, fit))

    def _toned(self, name: str, members: dict[str, np.ndarray]) -> np.ndarray:
        """The fit of a tag; of a tone, half for items that do not have its opposites either."""
        opposites = asset("film_themes.toml")["opposite"].get(name)
        if opposites is None:
            return members[name]
        against = [members[other] > 0 for other in opposites if other in members]
        neutral = np.where(np.any(against, axis=0), 0.0, 0.5) if against else 0.5
        return np.maximum(members[name], neutral).astype(np.float32)

    def _add_people(self) -> None:
        for kind, values in ((DIRECTOR, self.facts.directors), (ACTOR, self.facts.actors)):
            for name, fit in self._members(values).items():
                key = tuple(words_of(name))
                self.people[key].append(Term(kind, name, fit))
        for key in self.people:
            self.surnames[key[-1]].append(key)
