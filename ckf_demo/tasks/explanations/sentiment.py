"""The tone of a text by an external lexicon (VADER, Hutto and Gilbert 2014).

The lexicon knows nothing of how explanations are composed, so it can judge them. Film titles and
genre names are taken out first: "Die Hard" or "Horror" would be judged as opinions.
"""

import re
from collections.abc import Iterable
from functools import cache

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from ckf_demo.tasks.explanations.facts import GENRES, Polarity
from ckf_demo.tasks.explanations.speech import genre_pattern

THRESHOLD = 0.05
"""Compound scores at least this far from 0 are positive or negative, as its authors advise."""


def compound(text: str, titles: Iterable[str] = ()) -> float:
    """VADER's compound score in [-1, 1] of a text without ``titles`` and genre names."""
    for title in sorted(titles, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(title)}(?!\w)", "it", text, flags=re.IGNORECASE)
    return _analyzer().polarity_scores(genre_pattern(GENRES).sub("genre", text))["compound"]


def polarity(text: str, titles: Iterable[str] = ()) -> Polarity:
    """Whether a text sounds positive, negative, or like neither (mixed)."""
    score = compound(text, titles)
    if score >= THRESHOLD:
        return "positive"
    return "negative" if score <= -THRESHOLD else "mixed"


@cache
def _analyzer() -> SentimentIntensityAnalyzer:
    return SentimentIntensityAnalyzer()
