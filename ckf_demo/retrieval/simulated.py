"""Taste sentences of made-up newcomers: what a person liked, put into words.

They train and measure what words do. A sentence knows only the items that it is made from, never
the item that is asked about.
"""

from collections.abc import Sequence

import numpy as np

from ckf_demo.data.splits import TRAIN
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
)
from ckf_demo.retrieval.wishes import TasteMatcher
from ckf_demo.runtime.assets import asset

DISLIKED = 2.0
"""Items with at most so many stars are disliked."""

NEGATION = 0.25
"""Share of sentences that rule something out."""

TITLES = (0.4, 0.25, 0.2, 0.15)
"""Shares of sentences that name no liked item, one, two and three."""

NUMBERS = (0.35, 0.45, 0.2)
"""Shares of sentences with one, two and three wishes."""

SHARPNESS = 1.5
"""How strongly what stands out among the likes is preferred."""


class NewcomerWords:
    """Writes sentences for one data set.

    What stands out among a person's likes is held against how often each item is liked in the
    training part.
    """

    def __init__(self, matcher: TasteMatcher):
        self.matcher, self.prepared = matcher, matcher.prepared
        self.lexicon = lexicon = matcher.reader.lexicon
        data = self.prepared
        liked = data.item[(data.split == TRAIN) & data.liked]
        popularity = np.bincount(liked, minlength=data.n_items) + 0.5
        self._terms = [term for term in _terms(lexicon) if term.count >= 3]
        self._has = np.stack([term.fit >= 0.85 for term in self._terms]).astype(np.float32)
        self._base = self._has @ (popularity / popularity.sum())
        self._wordings = asset("taste_wordings.toml")
        themes = asset("film_themes.toml")
        self._kind_of = {n: k for k in ("subject", "setting", "tone") for n in themes[k]}

    def words(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[str, np.ndarray | None, tuple[int, ...]]:
        """A sentence of the user of some interactions, by index, and what it says of items.

        Returns
        -------
        The sentence, its `TextMatch.features` and the liked items that it names; nothing where
        there is nothing to say.
        """
        items, ratings = self.prepared.item[rows], self.prepared.rating[rows]
        liked = items[self.prepared.likes(ratings)]
        sentence = self.sentence(liked, items[ratings <= DISLIKED], rng)
        match = self.matcher.match(sentence) if sentence else None
        if match is None:
            return "", None, ()
        named = [item for item, stars in match.opinions if stars > DISLIKED]
        return sentence, match.features, tuple(named)

    def sentence(self, liked: np.ndarray, disliked: np.ndarray, rng: np.random.Generator) -> str:
        """A sentence of somebody who liked and disliked some items (indices); "" without likes."""
        if not len(liked):
            return ""
        number = min(1 + int(rng.choice(3, p=NUMBERS)), len(self._terms))
        wishes = [self._phrase(term, rng) for term in self._drawn(liked, number, rng)]
        titles = int(rng.choice(len(TITLES), p=TITLES))
        if titles or not wishes:
            size = min(max(titles, 1), len(liked))
            chosen = rng.choice(liked, size=size, replace=False)
            *others, last = [self.prepared.titles[int(item)] for item in chosen]
            named = f"{', '.join(others)} and {last}" if others else last
            wishes = [*wishes[:2], self._pattern("wish", LIKENESS, rng).format(name=named)]
        name = ("one", "two", "three")[len(wishes) - 1]
        text = self._pattern("sentence", name, rng).format(**dict(zip("abc", wishes, strict=False)))
        if len(disliked) > 1 and rng.random() < NEGATION:
            unwanted = [t for t in self._drawn(disliked, 3, rng) if t.kind in (GENRE, THEME)]
            if unwanted and not self._stands_out(unwanted[0], liked):
                spoken = self._spoken(unwanted[0])
                text = self._pattern("sentence", "except", rng).format(
                    wanted=text, **{"not": spoken}
                )
        return text

    def _drawn(self, items: np.ndarray, number: int, rng: np.random.Generator) -> list[Term]:
        """Terms that stand out among the items, at random, the clearest most often."""
        counts = self._has[:, items].sum(axis=1)
        expected = self._base * len(items)
        lift = (counts - expected) / np.sqrt(expected + 0.5)
        least = min(2, len(items))
        places = np.flatnonzero((counts >= least) & (lift > 0.5))
        if not len(places):
            places = np.flatnonzero(counts > 0)
        weights = np.exp(SHARPNESS * np.minimum(lift[places], 6))
        size = min(number, len(places))
        drawn = rng.choice(places, size=size, replace=False, p=weights / weights.sum())
        return [self._terms[place] for place in drawn]

    def _stands_out(self, term: Term, items: np.ndarray) -> bool:
        return float((term.fit[items] >= 0.85).mean()) > 0.2

    def _phrase(self, term: Term, rng: np.random.Generator) -> str:
        kind = "decade" if term.kind == YEARS else term.kind
        if kind == THEME:
            kind = self._kind_of.get(term.name, "subject")
        return self._pattern("wish", kind, rng).format(name=self._spoken(term))

    def _spoken(self, term: Term) -> str:
        if term.kind == GENRE:
            return self._wordings["spoken"].get(term.name, term.name.lower())
        if term.kind == COUNTRY:
            aliases = asset("sentences.toml")["countries"].get(term.name, [term.name])
            return aliases[0].title()
        return term.name

    def _pattern(self, group: str, name: str, rng: np.random.Generator) -> str:
        patterns: Sequence[str] = self._wordings[group][name]
        return patterns[int(rng.integers(len(patterns)))]


def _terms(lexicon: Lexicon) -> list[Term]:
    """Every term that a person may name, each once; English-speaking films are the usual case."""
    kinds = (GENRE, THEME, COUNTRY)
    named = {
        (term.kind, term.name): term
        for terms in lexicon.terms.values()
        for term in terms
        if term.kind in kinds and term.fit.max(initial=0) >= 1 and term.name != "United States"
    }
    people = [t for terms in lexicon.people.values() for t in terms if t.kind in (DIRECTOR, ACTOR)]
    years = lexicon.prepared.years
    decades = sorted({int(year) // 10 * 10 for year in years[years > 0]})
    spans = [lexicon.years(first, first + 9, f"{first}s") for first in decades if first < 1990]
    return [*named.values(), *people, *spans]
