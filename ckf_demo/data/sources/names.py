"""Names for items without a title, from the words of their reviews.

A name is the noun that is frequent in the item's reviews and rare in others, with the word that
belongs before it and, if reviews name one, the make: "Snark clip tuner". Only reviews of the part
that collaborative models are fitted on are read, so no name is made from a review that is to be
predicted.

Nouns are recognised in the reviews themselves: a noun ends a group of words that begins with an
article or the like ("this little pop filter is").
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from math import log

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

BEGINNINGS = frozenset("a an the this these those my your his her our their its another".split())
NOUN_SHARE = 0.08
"""A word is a noun from this share of occurrences that end a group with an article."""
SHARE, MAKE_SHARE = 0.2, 0.25
"""Shares of an item's reviews that must hold its noun, and its make."""
BELONGS = 0.25
"""Share of a noun's occurrences in reviews of an item that must follow the word before it."""
TYPICAL = 1.5
"""How much more frequent the pair must be than with this noun in general."""
_TOKEN = re.compile(r"[^\W\d_](?:[\w'’-]*\w)?|[.!?,;:()\"]")
_OPENING = frozenset('.!?:"(')


@dataclass
class _Said:
    """Counts of one item, once per review."""

    reviews: int = 0
    nouns: Counter[str] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    makes: Counter[str] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)

    def form(self, stem: str) -> str:
        """The most frequent form of a word in the reviews."""
        return max((stem, f"{stem}s"), key=self.forms.__getitem__)


def names_from_reviews(items: Sequence[str], reviews: Sequence[tuple[str, str]]) -> dict[str, str]:
    """A readable, unique name for each item.

    Parameters
    ----------
    items
        Ids of the items to name.
    reviews
        Pairs of an item's id and a review of it.

    Returns
    -------
    dict
        From id to name: "Pop filter"; "Pop filter (B000...)" if two items would have the same
        name; "Item B000..." if no noun is in two reviews.
    """
    wanted = set(items)
    texts = [(item, _TOKEN.findall(text)) for item, text in reviews if item in wanted]
    nouns, proper = _nouns(words for _, words in texts), _proper(words for _, words in texts)
    said: dict[str, _Said] = defaultdict(_Said)
    for item, words in texts:
        _count(said[item], words, nouns, proper)
    phrases = _phrases(said)
    times = Counter(phrases.values())
    named = {
        item: f"{phrase} ({item})" if times[phrase] > 1 else phrase
        for item, phrase in phrases.items()
    }
    return {item: named.get(item, f"Item {item}") for item in items}


def _stem(word: str) -> str:
    """A word without the ending of its plural."""
    word = word.lower()
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _content(word: str) -> bool:
    short = len(word) == 1 or not word[0].isalpha()
    return not short and "'" not in word and word.lower() not in ENGLISH_STOP_WORDS


@cache
def opinions() -> frozenset[str]:
    """Words that praise or blame, by VADER's lexicon."""
    return frozenset(SentimentIntensityAnalyzer().lexicon)


def _nouns(texts: Iterable[list[str]]) -> set[str]:
    """Stems of words that end a group which an article begins often enough."""
    heads: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for words in texts:
        begun = False
        for place, word in enumerate(words):
            if not _content(word):
                begun = word.lower() in BEGINNINGS
                continue
            times[_stem(word)] += 1
            after = words[place + 1] if place + 1 < len(words) else "."
            if begun and not _content(after):
                heads[_stem(word)] += 1
    return {word for word, n in heads.items() if n / times[word] >= NOUN_SHARE}


def _proper(texts: Iterable[list[str]]) -> set[str]:
    """Words that are more often written with a capital within sentences than without."""
    high: Counter[str] = Counter()
    low: Counter[str] = Counter()
    for words in texts:
        opening = True
        for word in words:
            if word[0].isalpha():
                (low if word.islower() else high)[word.lower()] += word.islower() or not opening
            opening = word in _OPENING
    return {word for word, n in high.items() if n > 2 * low[word] and word not in BEGINNINGS}


def _count(said: _Said, words: list[str], nouns: set[str], proper: set[str]) -> None:
    said.reviews += 1
    stems = [_stem(word) if _content(word) else "" for word in words]
    own = {stem for stem in stems if stem in nouns and stem not in proper}
    said.nouns.update(own)
    said.forms.update(word.lower() for word in words)
    said.pairs.update(
        {
            (a, b)
            for a, b in pairwise(stems)
            if a and b in own and a not in proper and a not in opinions()
        }
    )
    said.makes.update({word for word in words if _content(word) and word.lower() in proper})


def _phrases(said: dict[str, _Said]) -> dict[str, str]:
    """The name of each item with a noun that two of its reviews hold."""
    having: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    nouns: Counter[str] = Counter()
    for own in said.values():
        having.update(own.nouns.keys() | {word.lower() for word in own.makes})
        pairs.update(own.pairs)
        nouns.update(own.nouns)
    found = {}
    for item, own in said.items():

        def telling(word: str, n: int, own: _Said = own) -> float:
            return n / own.reviews * log(1 + len(said) / having[word])

        enough = max(2, SHARE * own.reviews)
        heads = {w: telling(w, n) for w, n in own.nouns.items() if n >= enough}
        if not heads:
            continue
        head = max(sorted(heads), key=heads.__getitem__)
        before = {
            a: n
            for (a, b), n in own.pairs.items()
            if b == head
            and n >= max(2, BELONGS * own.nouns[head])
            and n / own.nouns[head] >= min(1.0, TYPICAL * pairs[a, b] / nouns[b])
        }
        words = [max(sorted(before), key=before.__getitem__)] if before else []
        makes = {
            w: telling(w.lower(), n)
            for w, n in own.makes.items()
            if n >= max(2, MAKE_SHARE * own.reviews)
        }
        make = [max(sorted(makes), key=makes.__getitem__)] if makes else []
        words = [own.form(word) for word in (*words, head)]
        phrase = " ".join([*make, *words])
        found[item] = phrase[0].upper() + phrase[1:]
    return found
