"""What is known of an item, and of an item for people of a kind, before any taste.

All of it is fitted on ratings r_uv less the item's and the user's level, and shrunk towards zero or
towards what an item's text predicts, so that a rare item or kind of person adds little.
"""

import re
from dataclasses import dataclass

import numpy as np
from scipy.sparse import hstack
from sklearn.linear_model import Ridge

from ckf_demo.collaborative.base import Rows
from ckf_demo.collaborative.likeness import Likeness
from ckf_demo.data.prepared import Prepared

DAMPING = 5.0
"""Ratings at the predicted level that are added to each item's."""
RIDGE = 2.0
WEIGHTS = {"words": 1.0, "people": 0.5, "tags": 1.0}
"""Of what is written of an item, in the ridge regression that predicts its level."""
GENRE_DAMPING, ITEM_DAMPING = 50.0, 20.0
"""Ratings without any difference that are added for a kind of person, by genre and by item."""
SPREAD_DAMPING, SPREAD = 10.0, 0.95
"""Ratings with the usual spread, in stars, that are added to each item's."""
RECENT = 0.25
"""After this share of the rows a like counts half."""
AGES = (18, 25, 35, 45, 55)
"""Years at which groups of age begin."""
AGE = re.compile("[0-9]{1,3}")


class Kinds:
    """Groups of people by age, gender and occupation: a column for each group."""

    def __init__(self, prepared: Prepared):
        self.genders = sorted({*prepared.genders} - {""})
        self.occupations = sorted({*prepared.occupations} - {""})
        # a name may be a gender and an occupation, such as "other"
        names = dict.fromkeys([*self.genders, *self.occupations])
        self._column = {name: len(AGES) + 1 + place for place, name in enumerate(names)}
        self.size = len(AGES) + 1 + len(self._column)

    def columns(self, profile: str) -> list[int]:
        """The groups of a profile line as prompts show it, ``24, M, technician``; each once."""
        first, *_ = parts = profile.split(", ")
        # other digits, such as "²", are words that a visitor wrote
        ages = [int(np.digitize(int(first), AGES))] if AGE.fullmatch(first) else []
        return ages + [self._column[part] for part in dict.fromkeys(parts) if part in self._column]

    def of_users(self, prepared: Prepared) -> np.ndarray:
        """The groups of every user: float32 (U, size) of 0 and 1."""
        table = np.zeros((len(prepared.ages), self.size), np.float32)
        for user in range(len(table)):
            table[user, self.columns(prepared.profile(user))] = 1
        return table


@dataclass(frozen=True)
class Levels:
    """Fitted levels of I items, in stars unless said otherwise.

    ``predicted`` float32 (I,) is what an item's text says of its level, ``level`` (I,) its own
    shrunk towards that, ``spread`` (I,) of its ratings, ``recent_likes`` (I,) the logarithm of the
    likes, of which late ones count more. ``by_genre`` (K, G) and ``by_item`` (K, I) are how much
    more people of K groups like a genre and an item.
    """

    predicted: np.ndarray
    level: np.ndarray
    spread: np.ndarray
    recent_likes: np.ndarray
    by_genre: np.ndarray
    by_item: np.ndarray

    @classmethod
    def fit(
        cls,
        prepared: Prepared,
        rows: np.ndarray,
        likeness: Likeness,
        mean: float,
        item_bias: np.ndarray,
        genres: np.ndarray,
    ) -> "Levels":
        """Fit on some interactions, by index, in the order of time.

        ``mean`` and ``item_bias`` (I,) are those of biased matrix factorisation, in stars.
        """
        data, n_items = Rows.of(prepared, rows), prepared.n_items
        counts = data.counts()
        residual = data.rating - mean - item_bias[data.item]
        sums = np.bincount(data.user, residual, minlength=prepared.n_users)
        user_bias = sums / (np.bincount(data.user, minlength=prepared.n_users) + DAMPING)
        about_user = data.rating - mean - user_bias[data.user]
        totals = np.bincount(data.item, about_user, minlength=n_items)
        predicted = _predicted(prepared, likeness, totals, counts, genres)
        level = (totals + DAMPING * predicted) / (counts + DAMPING)
        squares = np.bincount(data.item, (about_user - level[data.item]) ** 2, minlength=n_items)
        spread = (squares + SPREAD_DAMPING * SPREAD**2) / (counts + SPREAD_DAMPING)
        age = np.arange(len(rows))[::-1]
        late = 0.5 ** (age / (RECENT * len(rows))) * prepared.liked[rows]
        kinds = Kinds(prepared).of_users(prepared)[data.user]
        of_genre = genres[data.item]
        by_genre = kinds.T @ (residual[:, None] * of_genre)
        by_genre = by_genre / (kinds.T @ of_genre + GENRE_DAMPING)
        by_item = [
            np.bincount(data.item, residual * kind, minlength=n_items)
            / (np.bincount(data.item, kind, minlength=n_items) + ITEM_DAMPING)
            for kind in kinds.T
        ]
        arrays = (
            predicted,
            level,
            np.sqrt(spread),
            np.log1p(np.bincount(data.item, late, minlength=n_items)),
            by_genre,
            np.array(by_item),
        )
        return cls(*(array.astype(np.float32) for array in arrays))

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return vars(self)


def _predicted(
    prepared: Prepared,
    likeness: Likeness,
    totals: np.ndarray,
    counts: np.ndarray,
    genres: np.ndarray,
) -> np.ndarray:
    """The level that an item's text, facts, genres and year predict: float (I,)."""
    rated = np.flatnonzero(counts)
    if not len(rated):
        return np.zeros(len(counts))
    years = np.where(prepared.years > 0, (prepared.years - 1990) / 20, 0)
    texts = [WEIGHTS[kind] * rows for kind, rows in likeness.rows.items()]
    inputs = hstack([*texts, genres / 2, years[:, None]]).tocsr()
    weights = counts[rated] / (counts[rated] + DAMPING)
    model = Ridge(alpha=RIDGE)
    model.fit(inputs[rated], totals[rated] / counts[rated], sample_weight=weights)
    return model.predict(inputs)
