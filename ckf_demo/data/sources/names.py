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
from collections.abc import Iterable, Mapping, Sequence
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
class _Counts:
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
    """A readable, unique name for each item, from its id and pairs of an id and a review.

    Names are "Pop filter"; "Pop filter (B000...)" if two items would have the same name; "Item
    B000..." if no noun is in two reviews.
    """
    wanted = set(items)
    texts = [(item, _TOKEN.findall(text)) for item, text in reviews if item in wanted]
    nouns, proper = _nouns(words for _, words in texts), _proper(words for _, words in texts)
    counts: dict[str, _Counts] = defaultdict(_Counts)
    for item, words in texts:
        _count(counts[item], words, nouns, proper)
    phrases = _phrases(counts)
    times = Counter(phrases.values())
    names = {}
    for item in items:
        phrase = phrases.get(item, f"Item {item}")
        names[item] = f"{phrase} ({item})" if times[phrase] > 1 else phrase
    return names


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


def _count(counts: _Counts, words: list[str], nouns: set[str], proper: set[str]) -> None:
    """Add the words of one review."""
    counts.reviews += 1
    stems = [_stem(word) if _content(word) else "" for word in words]
    heads = {stem for stem in stems if stem in nouns and stem not in proper}
    counts.nouns.update(heads)
    counts.forms.update(word.lower() for word in words)
    counts.pairs.update(
        {
            (a, b)
            for a, b in pairwise(stems)
            if a and b in heads and a not in proper and a not in opinions()
        }
    )
    counts.makes.update({word for word in words if _content(word) and word.lower() in proper})


def _phrases(counts: dict[str, _Counts]) -> dict[str, str]:
    """The name of each item with a noun that two of its reviews hold."""
    having: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    nouns: Counter[str] = Counter()
    for each in counts.values():
        having.update(each.nouns.keys() | {word.lower() for word in each.makes})
        pairs.update(each.pairs)
        nouns.update(each.nouns)
    rarity = {word: log(1 + len(counts) / n) for word, n in having.items()}
    phrases = {}
    for item, each in counts.items():
        enough = max(2, SHARE * each.reviews)
        heads = {w: n / each.reviews * rarity[w] for w, n in each.nouns.items() if n >= enough}
        if not heads:
            continue
        head = _best(heads)
        before = {
            a: n
            for (a, b), n in each.pairs.items()
            if b == head
            and n >= max(2, BELONGS * each.nouns[head])
            and n / each.nouns[head] >= min(1.0, TYPICAL * pairs[a, b] / nouns[b])
        }
        makes = {
            w: n / each.reviews * rarity[w.lower()]
            for w, n in each.makes.items()
            if n >= max(2, MAKE_SHARE * each.reviews)
        }
        words = [*([_best(before)] if before else []), head]
        make = [_best(makes)] if makes else []
        phrase = " ".join([*make, *map(each.form, words)])
        phrases[item] = phrase[0].upper() + phrase[1:]
    return phrases


def _best(scores: Mapping[str, float]) -> str:
    """The word with the highest score; of equals the first in the alphabet."""
    return max(sorted(scores), key=scores.__getitem__)
