"""What a sentence about a taste asks for, as terms of a `Lexicon` and a remainder.

    reading = Reader(lexicon, vocabulary).read("French comedies from the sixties, no musicals")

Names are matched from the longest to the shortest; misspelt ones by edit distance. A negative word
("no", "without", "hate") reaches to the end of its part of the sentence.
"""

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz, process

from ckf_demo.retrieval.people import People
from ckf_demo.retrieval.polarity import Polarity
from ckf_demo.retrieval.spoken import ENGLISH, Mention, Sentence, filler_of
from ckf_demo.retrieval.terms import (
    ACTOR,
    COUNTRY,
    DIRECTOR,
    GENRE,
    LIKENESS,
    THEME,
    YEARS,
    Lexicon,
    Term,
    key_of,
    singular,
)
from ckf_demo.retrieval.titles import Titles
from ckf_demo.retrieval.years import find_years
from ckf_demo.runtime.assets import asset

WORD_LIKENESS = 85
"""Least similarity (`rapidfuzz.fuzz.ratio`, 0 to 100) of a misspelt word."""

COMPOUND = re.compile(r"(?<=\w{3})film(?:e|en)?$")
"""The end of a German name of a genre."""

ENDINGS = {
    "german": [("es", ""), ("en", ""), ("er", ""), ("em", ""), ("e", "")],
    "french": [("e", ""), ("ive", "if"), ("euse", "eux")],
    "spanish": [("a", "o"), ("o", "a")],
}
"""Endings of words by language, each with the ending of the form that the lexicon may have."""

FOR = frozenset("for with fur mit pour para con avec".split())
"""Words before those for whom the film shall be."""

OLDEST_CHILD = 12
"""Years of age up to which a film for somebody is one for children."""

SHOUTED = frozenset({"us", "la", "ai", "it"})
"""Words that name a place only in capitals."""


@dataclass(frozen=True)
class Wish:
    """One thing that the sentence wants or rules out; any of ``terms`` fulfils it.

    ``words`` are those of the sentence. ``spelt`` is what they were read as where they are
    misspelt. ``like`` are items, by index, whose likes are wanted.
    """

    words: str
    terms: tuple[Term, ...]
    wanted: bool = True
    spelt: str = ""
    like: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of its first term."""
        return self.terms[0].kind if self.terms else LIKENESS

    @property
    def fit(self) -> np.ndarray:
        """How well each item has it: float32 (I,) within 0 and 1."""
        return np.maximum.reduce([term.fit for term in self.terms])

    @property
    def name(self) -> str:
        """What it asks for, in words."""
        names = dict.fromkeys(term.name for term in self.terms if term.kind == self.kind)
        return " or ".join(names) or self.spelt or self.words


@dataclass(frozen=True)
class Reading:
    """A sentence as it was understood.

    Attributes
    ----------
    groups
        What is wanted: every group, and any wish of a group.
    unwanted
        What is ruled out.
    like, unlike
        Items, by index, whose likes are wanted or ruled out.
    remainder, unwanted_remainder
        Words that name no term; their meaning is compared with the items' texts.
    absent
        Names that were asked for and that no item has.
    not_understood
        Words without any meaning here.
    """

    groups: tuple[tuple[Wish, ...], ...] = ()
    unwanted: tuple[Wish, ...] = ()
    like: tuple[Wish, ...] = ()
    unlike: tuple[Wish, ...] = ()
    remainder: str = ""
    unwanted_remainder: str = ""
    absent: tuple[str, ...] = ()
    not_understood: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing of the sentence says anything about items."""
        return self.only_meaning and not (self.remainder or self.unwanted_remainder)

    @property
    def only_meaning(self) -> bool:
        """Whether the sentence names nothing, so that only the meaning of its words is left."""
        return not (self.wishes or self.absent)

    @property
    def wishes(self) -> list[Wish]:
        """Everything that was read as a term or as an item."""
        wanted = [wish for group in self.groups for wish in group]
        return [*wanted, *self.like, *self.unwanted, *self.unlike]


class Reader:
    """Reads sentences for one catalogue.

    ``vocabulary`` holds the words whose meaning can be compared with texts.
    """

    def __init__(self, lexicon: Lexicon, vocabulary: Container[str]):
        self.lexicon, self.vocabulary = lexicon, vocabulary
        words = asset("sentences.toml")
        self._joined = {key_of(name): genres for name, genres in words["joined"].items()}
        self._times = {key_of(name): bounds for name, bounds in words["times"].items()}
        self._joining = frozenset(words["polarity"]["joining"])
        self._languages = words["languages"]["before"]
        self._filler = frozenset(words["filler"]["words"]) | ENGLISH
        self._long_filler = sorted(word for word in self._filler if len(word) >= 5)
        self._idioms = words["filler"]["phrases"]
        self._mine, self._relations = (
            frozenset(words["company"]["mine"]),
            frozenset(words["company"]["persons"]),
        )
        self._between = frozenset(words["company"]["between"])
        self._children = frozenset(words["company"]["children"])
        self._verbs = frozenset(
            {"love", "loves", "loved", "like", "likes", "liked", "hate", "hates"}
        )
        self._people = People(lexicon, self._filler, vocabulary)
        self._titles = Titles(self._people, self._filler)
        self._polarity = Polarity(self._filler)

    def read(self, sentence: str) -> Reading:
        """Read a sentence; nothing in it is an error."""
        said = Sentence.of(sentence)
        self._titles.find(said)
        self._hide_company(said)
        self._hide_ages(said)
        self._hide_idioms(said)
        self._polarity.mark(said)
        find_years(said, self.lexicon)
        self._people.find_full(said)
        self._find_terms(said, range(max(self.lexicon.longest, 3), 1, -1))
        self._people.note_unknown(said)
        self._people.find_surnames(said)
        self._find_terms(said, [1])
        self._titles.find_misspelt(said)
        self._find_misspelt(said)
        self._polarity.apply(said)
        return self._reading(said)

    # Words that say nothing

    def _hide_idioms(self, said: Sentence) -> None:
        """Take phrases of asking, unless they are part of a longer name."""
        for start, end in said.phrases(self._idioms):
            if not self._in_longer_name(said, start, end):
                said.hide(start, end)

    def _in_longer_name(self, said: Sentence, start: int, end: int) -> bool:
        for low in range(max(start - 2, 0), start + 1):
            for high in range(end, min(end + 2, len(said.tokens)) + 1):
                key = tuple(map(singular, said.words(low, high)))
                if high - low > end - start and (key in self.lexicon.terms or key in self._joined):
                    return True
        return False

    def _hide_company(self, said: Sentence) -> None:
        """Take the people who will watch too ("my wife"); children ask for a film for them."""
        for start, token in enumerate(said.tokens):
            if not token.free or token.word not in self._mine:
                continue
            end = start + 1
            while end < min(start + 6, len(said.tokens)) and said.tokens[end].free:
                word = said.tokens[end].word
                if not (word in self._between or word.isdigit()):
                    break
                end += 1
            if said.text(end, end + 1) not in self._relations:
                continue
            child = said.tokens[end].word in self._children
            if not (child and self._for_children(said, start, end + 1)):
                said.hide(start, end + 1)

    def _hide_ages(self, said: Sentence) -> None:
        """Take "a 9 year old": up to an age it asks for children's films."""
        for start, token in enumerate(said.tokens):
            if not (token.free and token.word.isdigit() and len(token.word) < 3):
                continue
            if not re.match(
                r"(?:years?|yrs?|jahre?|ans|anos) ?(?:olds?|alt)?", said.text(start + 1, start + 3)
            ):
                continue
            end = start + 2 + (said.text(start + 2, start + 3) in ("old", "olds", "alt"))
            end += said.text(end, end + 1) in self._relations | {"boy", "girl", "boys", "girls"}
            first = start - (said.text(start - 1, start) in self._mine | {"a", "an"})
            young = int(token.word) <= OLDEST_CHILD
            if not (young and self._for_children(said, first, end)):
                said.hide(first, end)

    def _for_children(self, said: Sentence, start: int, end: int) -> bool:
        """Take tokens as a wish for children's films, where it is a film for or with them."""
        terms = self.lexicon.terms.get(("child",)) or self.lexicon.terms.get(("children",))
        if not terms or said.text(start - 1, start) not in FOR or not said.free(start, end):
            return False
        said.take(start, end, terms)
        return True

    def _find_terms(self, said: Sentence, lengths: Iterable[int]) -> None:
        lexicon = self.lexicon
        for length in lengths:
            for start in range(len(said.tokens) - length + 1):
                end = start + length
                if not said.free(start, end):
                    continue
                key = self._key(said, start, end)
                if genres := self._joined_genres(key):
                    for terms in genres:
                        said.take(start, end, terms)
                elif key in self._times:
                    said.take(start, end, [self._time(said.text(start, end), self._times[key])])
                elif key in lexicon.terms and not self._is_verb(said, start, length):
                    said.take(start, end, self._in_context(said, start, end, lexicon.terms[key]))

    def _key(self, said: Sentence, start: int, end: int) -> tuple[str, ...]:
        """The tokens as a name of the lexicon; of "Horrorfilme" the part before "film"."""
        key = tuple(singular(word) for word in said.words(start, end))
        if len(key) > 1 or key in self.lexicon.terms or key in self._joined:
            return key
        stem = COMPOUND.sub("", key[0])
        stems = [stem, stem.removesuffix("s")] if stem != key[0] else []
        for ending, other in ENDINGS.get(said.language, ()):
            if key[0].endswith(ending) and len(key[0]) > 5:
                stems.append(key[0].removesuffix(ending) + other)
        return next(((each,) for each in stems if (each,) in self.lexicon.terms), key)

    def _joined_genres(self, key: tuple[str, ...]) -> list[list[Term]]:
        """Terms of each genre that an everyday name joins."""
        names = [self.lexicon.terms.get(key_of(genre), []) for genre in self._joined.get(key, ())]
        genres = [[term for term in terms if term.kind == GENRE] for terms in names]
        return [terms for terms in genres if terms]

    def _time(self, name: str, bounds: dict) -> Term:
        low, before = bounds.get("from"), bounds.get("before")
        if "latest" in bounds:
            low = self.lexicon.latest - bounds["latest"] + 1
        return self.lexicon.years(low, before and before - 1, name)

    def _is_verb(self, said: Sentence, start: int, length: int) -> bool:
        """Whether a word such as "love" or "us" is not what the item is about here."""
        token = said.tokens[start]
        if length == 1 and token.word in SHOUTED:
            return not (token.shouted or (token.capital and said.text(start - 1, start) == "the"))
        if length > 1 or said.tokens[start].word not in self._verbs:
            return False
        return not said.before(start, {"about", "of", "on"})

    def _in_context(self, said: Sentence, start: int, end: int, terms: list[Term]) -> list[Term]:
        """Those of a name's terms that the words around it speak of."""
        word = said.text(start, end)
        if said.before(start, {"set in", "takes place in", "taking place in"}):
            return [term for term in terms if term.kind == THEME] or terms
        if said.before(start, {"from", "made in", "produced in"}):
            return [term for term in terms if term.kind == COUNTRY] or terms
        spoken = said.before(start, frozenset(self._languages)) in ("in", "spoken", "spoken in")
        after = said.text(end, end + 1) in ("language", "speaking", "spoken")
        language = self.lexicon.language(word)
        if language and (spoken or after):
            return [language]
        return terms

    def _find_misspelt(self, said: Sentence) -> None:
        quiet = self._filler | filler_of(said.language)
        for start, token in enumerate(said.tokens):
            word = token.word
            if not token.free or len(word) < 5 or word in quiet or word in self.vocabulary:
                continue
            match = process.extractOne(
                singular(word),
                self.lexicon.single_words,
                scorer=fuzz.ratio,
                score_cutoff=WORD_LIKENESS,
            )
            if match:
                said.take(start, start + 1, self.lexicon.terms[match[0],], spelt=match[0])
                continue
            terms, name = self._people.misspelt_surname(word)
            if terms and max(term.count for term in terms) >= 2:
                said.take(start, start + 1, terms, spelt=name)

    # The whole

    def _reading(self, said: Sentence) -> Reading:
        groups: list[list[Mention]] = []
        lists: dict[str, list[Wish]] = {"unwanted": [], "like": [], "unlike": []}
        for mention in sorted(said.mentions, key=lambda each: each.start):
            if self._is_said_twice(said, mention):
                continue
            if mention.like:
                lists["like" if mention.wanted else "unlike"].append(self._wish(said, mention))
            elif not mention.wanted:
                lists["unwanted"].append(self._wish(said, mention))
            elif groups and self._alternative(said, groups[-1][-1], mention):
                groups[-1].append(mention)
            else:
                groups.append([mention])
        rest: tuple[list[str], list[str]] = ([], [])
        strange = list(said.strange)
        quiet = self._filler | filler_of(said.language)
        for token in said.tokens:
            if not token.free or token.word in quiet or token.word.isdigit():
                continue
            if token.word in self.vocabulary or singular(token.word) in self.vocabulary:
                rest[token.negative].append(token.word)
            elif not self._is_near_filler(token.word):
                strange.append(token.word)
        return Reading(
            groups=tuple(tuple(self._wish(said, m) for m in group) for group in groups),
            unwanted=tuple(lists["unwanted"]),
            like=tuple(lists["like"]),
            unlike=tuple(lists["unlike"]),
            remainder=" ".join(rest[0]),
            unwanted_remainder=" ".join(rest[1]),
            absent=tuple(said.absent),
            not_understood=tuple(strange),
        )

    @staticmethod
    def _is_said_twice(said: Sentence, mention: Mention) -> bool:
        """Whether something was asked for before; "not too scary" does not take "scary" back."""
        if mention.like:
            return False
        same = [m for m in said.mentions if m.terms == mention.terms and m is not mention]
        if mention.wanted:
            return any(m.wanted and m.start < mention.start for m in same)
        words = said.words(mention.start, mention.end)
        weak = said.text(mention.start - 1, mention.start) in ("too", "so", "that", "very")
        return any(m.wanted and (weak or said.words(m.start, m.end) != words) for m in same)

    def _is_near_filler(self, word: str) -> bool:
        """Whether a word is one that says nothing, misspelt: "moovie"."""
        near = process.extractOne(
            word, self._long_filler, scorer=fuzz.ratio, score_cutoff=WORD_LIKENESS
        )
        return len(word) >= 5 and near is not None

    def _wish(self, said: Sentence, mention: Mention) -> Wish:
        words = said.text(mention.start, mention.end)
        return Wish(words, tuple(mention.terms), mention.wanted, mention.spelt, mention.like)

    def _alternative(self, said: Sentence, first: Mention, second: Mention) -> bool:
        """Whether two names next to each other are alternatives ("comedies or musicals")."""
        between = said.tokens[first.end : second.start]
        words = {token.word for token in between}
        quiet = self._filler | filler_of(said.language)
        joining = self._joining | {","}
        if not words & joining or not words <= joining | quiet:
            return False
        kinds = first.terms[0].kind, second.terms[0].kind
        people = {DIRECTOR, ACTOR}
        if kinds[0] != kinds[1] and not set(kinds) <= people:
            return "or" in words
        if kinds[0] == THEME:
            return "or" in words
        return kinds[0] in {GENRE, COUNTRY, YEARS, *people}
