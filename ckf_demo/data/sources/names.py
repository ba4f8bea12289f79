"""Names for items that come without a title, from what their reviews say.

A name is the phrase that an item's reviews share and that sets it apart from other items: "pop
filter". Only reviews of the part that collaborative models are fitted on are read, so that no
name was made from a review that is to be predicted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import cast

import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

SHARE, WORDS, LETTERS = 0.2, (1, 2), r"(?u)\b[a-z][a-z]+\b"
LONGER = 1.3
"""How much more a phrase of two words is worth than a single word."""


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
        From id to name: "Pop filter", or "Pop filter (B000...)" where two items would have the
        same, or "Item B000..." where nothing was said of one twice.
    """
    place = {item: index for index, item in enumerate(items)}
    known = [(place[item], text) for item, text in reviews if item in place and text.strip()]
    phrases = _phrases(len(items), known) if known else [""] * len(items)
    times = Counter(phrases)
    return {
        item: f"Item {item}"
        if not phrase
        else phrase.capitalize() + (f" ({item})" if times[phrase] > 1 else "")
        for item, phrase in zip(items, phrases, strict=True)
    }


def _phrases(n_items: int, reviews: list[tuple[int, str]]) -> list[str]:
    """The phrase of each item that most sets it apart, empty when no two of its reviews share one.

    A phrase counts once per review, and must stand in a fifth of the item's reviews.
    """
    counter = CountVectorizer(
        ngram_range=WORDS, stop_words="english", token_pattern=LETTERS, binary=True
    )
    try:
        said = counter.fit_transform([text for _, text in reviews])
    except ValueError:  # only stop words
        return [""] * n_items
    owner = np.array([item for item, _ in reviews])
    belongs = csr_array(
        (np.ones(len(owner), dtype=np.int64), (owner, np.arange(len(owner)))),
        shape=(n_items, len(owner)),
    )
    counts = csr_array(belongs @ said)
    weights = csr_array(TfidfTransformer(sublinear_tf=True).fit_transform(counts))
    words = counter.get_feature_names_out()
    longer = np.array([LONGER if " " in word else 1.0 for word in words])
    least = np.maximum(2, SHARE * np.bincount(owner, minlength=n_items))
    # both hold the same words of each item in the same order
    said_enough = counts.data >= np.repeat(least, np.diff(counts.indptr))
    weights.data *= longer[weights.indices] * said_enough
    best = np.asarray(weights.argmax(axis=1)).ravel()
    return [
        str(words[column]) if cast(float, weights[item, column]) > 0 else ""
        for item, column in enumerate(best)
    ]
