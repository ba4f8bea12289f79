"""Collaborative knowledge of ratings: what other users' ratings say about a user and an item.

A rating model and a watching model give one embedding per user and item, e_u and e_v, with biases
and counts as extra dimensions, and the pair features that the fusion and the feature baselines get.
What the language model learns from is left out of the tables that it learns with
(`ckf_demo.data.splits`); those that serve are refitted on all training rows, in the same basis.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import orthogonal_procrustes

from ckf_demo.collaborative.base import (
    UNDESCRIBED,
    WORDS,
    Description,
    Knowledge,
    Labelled,
    Rows,
    part,
    prefix_sums,
    unit_rows,
)
from ckf_demo.collaborative.biased_mf import BiasedMF
from ckf_demo.collaborative.implicit_mf import ImplicitMF
from ckf_demo.collaborative.levels import Kinds, Levels
from ckf_demo.collaborative.likeness import Likeness
from ckf_demo.collaborative.retrievers import Retrievers
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN

FEATURE_NAMES = (
    "bias prediction",
    "user bias",
    "item bias",
    "rating factors",
    "watching factors",
    "log history length",
    "log item count",
    "neighbours' residual",
    "genre residual",
    "year",
    "rating spread",
    "neighbourhood size",
)

LEVEL_NAMES = (
    "text's level",
    "level of the text alone",
    "recent likes",
    "rating spread of the item",
    "group by genre",
    "group by item",
    "residual of like words",
    "residual of the same people",
    "last ratings",
    *WORDS,
)
"""Pair features of tables that have `Levels`."""

POPULARITY_WEIGHT, BIAS_WEIGHT = 1.0, 0.3
WATCHING_WEIGHT, RETRIEVER_WEIGHT = 3.0, 0.6
"""Of the watching model's score and of each other retriever's, beside the logarithm of late
likes."""
LAST = 5
"""Ratings that say how the person rates just now."""


def genre_matrix(prepared: Prepared) -> np.ndarray:
    """Which item has which genre: float32 (I, number of genres), in alphabetical order."""
    names = sorted({g for genres in prepared.genres for g in genres})
    matrix = np.zeros((prepared.n_items, len(names)), np.float32)
    for i, genres in enumerate(prepared.genres):
        matrix[i, [names.index(g) for g in genres]] = 1.0
    return matrix


@dataclass(frozen=True)
class CollaborativeKnowledge(Knowledge):
    """Fitted models, item counts and item attributes as arrays over the catalogue (I items)."""

    rating_model: BiasedMF
    implicit_model: ImplicitMF
    item_count: np.ndarray
    genre_matrix: np.ndarray
    years: np.ndarray
    likeness: Likeness
    kinds: Kinds
    levels_of: Levels | None
    """None in checkpoints that were trained without them."""
    retrievers: Retrievers | None = None
    """Retrievers beside the watching model; None where only pair features are wanted."""

    level: ClassVar[str] = "item bias"

    @classmethod
    def fit(
        cls,
        prepared: Prepared,
        *,
        rows: np.ndarray | None = None,
        seed: int = 0,
        retrieves: bool = True,
    ) -> "CollaborativeKnowledge":
        """Fit on some interactions, by index in the order of time; by default `Prepared.fit`.

        Without ``retrieves`` the candidate stage has the watching model alone, which takes less
        time.
        """
        places = np.flatnonzero(prepared.fit) if rows is None else rows
        data, genres = Rows.of(prepared, places), genre_matrix(prepared)
        likeness = Likeness.of(prepared)
        rating_model = BiasedMF.fit(
            data, size=16, regularization=0.2, damping=5.0, epochs=15, seed=seed
        )
        mean, bias = rating_model.global_mean, rating_model.item_bias
        return cls(
            rating_model=rating_model,
            implicit_model=ImplicitMF.fit(
                data, size=32, regularization=5.0, weight=2.0, epochs=15, seed=seed
            ),
            item_count=data.counts().astype(np.float32),
            genre_matrix=genres,
            years=prepared.years.astype(np.float32),
            likeness=likeness,
            kinds=Kinds(prepared),
            levels_of=Levels.fit(prepared, places, likeness, mean, bias, genres),
            retrievers=Retrievers.fit(prepared, places, seed) if retrieves else None,
        )

    def for_serving(
        self, prepared: Prepared, *, seed: int = 0, retrieves: bool = True
    ) -> "CollaborativeKnowledge":
        """See `Knowledge.for_serving`."""
        return self._of(prepared, prepared.rows(split=TRAIN), seed, retrieves)

    def for_learning(
        self, prepared: Prepared, *, seed: int = 0, retrieves: bool = True
    ) -> "CollaborativeKnowledge":
        """See `Knowledge.for_learning`."""
        return self._of(prepared, np.flatnonzero(prepared.fit), seed, retrieves)

    def _of(
        self, prepared: Prepared, rows: np.ndarray, seed: int, retrieves: bool
    ) -> "CollaborativeKnowledge":
        """Tables of some rows in this basis, with all parts: these, where they are such."""
        complete = self.levels_of is not None and (self.retrievers is not None or not retrieves)
        if complete and self.item_count.sum() == len(rows):
            return self
        fitted = type(self).fit(prepared, rows=rows, seed=seed, retrieves=retrieves)
        return fitted.in_basis_of(self)

    def in_basis_of(self, other: "CollaborativeKnowledge") -> "CollaborativeKnowledge":
        """The same tables with their factors turned to lie as those of ``other`` do.

        The rotation is the best for the items that both have ratings of (orthogonal Procrustes), so
        inner products and answers of the tables stay as they are.
        """
        both = (self.item_count > 0) & (other.item_count > 0)

        def turned(model: Any, towards: Any) -> Any:
            rotation, _ = orthogonal_procrustes(model.items[both], towards.items[both])
            return replace(model, items=(model.items @ rotation).astype(np.float32))

        return replace(
            self,
            rating_model=turned(self.rating_model, other.rating_model),
            implicit_model=turned(self.implicit_model, other.implicit_model),
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        return FEATURE_NAMES if self.levels_of is None else FEATURE_NAMES + LEVEL_NAMES

    @property
    def global_mean(self) -> float:
        """Mean rating in stars."""
        return self.rating_model.global_mean

    @property
    def item_bias(self) -> np.ndarray:
        """float32 (I,), in stars."""
        return self.rating_model.item_bias

    @property
    def levels(self) -> np.ndarray:
        """How well liked each item is, in stars about the mean: float32 (I,)."""
        return self.item_bias

    @cached_property
    def item_table(self) -> np.ndarray:
        """E_V, float32 (I, D): rating factors, watching factors, bias, log count; unit scale."""
        factors = [
            model.items / (model.items.std() + 1e-8)
            for model in (self.rating_model, self.implicit_model)
        ]
        count = np.log1p(self.item_count)[:, None] / 2.0 - 1.5
        table = np.concatenate([*factors, self.item_bias[:, None] / 0.5, count], axis=1)
        return table.astype(np.float32)

    @cached_property
    def _direction(self) -> np.ndarray:
        """Item directions in watching space."""
        return unit_rows(self.implicit_model.items)

    @cached_property
    def _genre_direction(self) -> np.ndarray:
        norms = np.sqrt(self.genre_matrix.sum(1, keepdims=True))
        return self.genre_matrix / np.maximum(norms, 1.0)

    def pair_inputs(
        self,
        items: np.ndarray,
        ratings: np.ndarray,
        lengths: np.ndarray,
        targets: np.ndarray,
        labelled: Labelled | None = None,
        counts: np.ndarray | None = None,
        description: Description = UNDESCRIBED,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `Knowledge.pair_inputs`; residuals are in stars."""
        model = self.rating_model
        unique, which = np.unique(lengths, return_inverse=True)
        factors, bias = model.fold_in_prefixes(items, ratings, unique)
        watching = self.implicit_model.fold_in_prefixes(items, unique)
        factors, bias, watching = factors[which], bias[which], watching[which]
        log_length = np.log1p(lengths)
        users = [
            factors / 0.5,
            watching / 0.5,
            bias[:, None] / 0.5,
            log_length[:, None] / 2.0 - 1.5,
        ]

        residual = (ratings - model.global_mean - model.item_bias[items]).astype(np.float32)
        earlier = np.arange(len(items))[None, :] < lengths[:, None]
        near = np.maximum(self._direction[targets] @ self._direction[items].T, 0) ** 3 * earlier
        alike = (self._genre_direction[targets] @ self._genre_direction[items].T) * earlier
        neighbours = near @ residual - bias * near.sum(1)
        genre = alike @ residual - bias * alike.sum(1)

        n = np.maximum(lengths, 1)
        sums, squares = prefix_sums(residual)[lengths], prefix_sums(residual**2)[lengths]
        # three assumed ratings with the usual spread keep the estimate of short histories stable
        spread = np.sqrt((np.maximum(squares - sums**2 / n, 0) + 3 * 0.81) / (lengths + 3))
        years = np.where(self.years[targets] > 0, self.years[targets], 1990)
        features = [
            model.global_mean + bias + model.item_bias[targets],
            bias,
            model.item_bias[targets],
            (factors * model.items[targets]).sum(1),
            (watching * self.implicit_model.items[targets]).sum(1),
            log_length,
            np.log1p(self.item_count[targets]),
            neighbours / (near.sum(1) + 1),
            genre / (alike.sum(1) + 2),
            (years - 1990) / 10,
            spread,
            np.log1p(near.sum(1)),
        ]
        if self.levels_of is not None:
            features += self._level_features(
                self.levels_of, items, ratings, lengths, bias, targets, description
            )
        return (
            np.concatenate(users, axis=1).astype(np.float32),
            residual,
            np.stack(features, axis=1).astype(np.float32),
        )

    def _level_features(
        self,
        levels: Levels,
        items: np.ndarray,
        ratings: np.ndarray,
        lengths: np.ndarray,
        bias: np.ndarray,
        targets: np.ndarray,
        description: Description,
    ) -> list[np.ndarray]:
        """The features of `LEVEL_NAMES`, each (m,); ``bias`` (m,) is the person's."""
        earlier = np.arange(len(items)) < lengths[:, None]
        residual = (ratings - self.global_mean - levels.level[items]).astype(np.float32)
        kinds = self.kinds.columns(description.profile)
        genres = self.genre_matrix[targets]
        genres = genres / np.maximum(genres.sum(1, keepdims=True), 1)
        features = [
            levels.level[targets],
            levels.predicted[targets],
            levels.recent_likes[targets],
            levels.spread[targets],
            genres @ levels.by_genre[kinds].sum(0),
            levels.by_item[kinds].sum(0)[targets],
        ]
        for kind in ("words", "people"):
            near = self.likeness.between(kind, targets, items) * earlier
            weight = near.sum(1)
            features.append((near @ residual - bias * weight) / (weight + 0.5))
        last = earlier & (np.arange(len(items)) >= lengths[:, None] - LAST)
        features.append((last @ residual) / (last.sum(1) + 3) - bias)
        words = description.words
        none = np.zeros((len(targets), len(WORDS)), np.float32)
        features += [*(none if words is None else words[targets]).T]
        return features

    def candidate_scores(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """The scores of unlike retrievers, and what is liked of late, which orders short histories.

        The weights lie in the flat best region of recall at 100 and NDCG@10 on validation rows.
        Tables without `Levels` have popularity and item bias in the place of late likes.
        """
        scores = self.implicit_model.items @ self.implicit_model.fold_in(items)
        if self.levels_of is not None:
            scores = WATCHING_WEIGHT * scores + self.levels_of.recent_likes
            if self.retrievers is not None:
                scores = scores + RETRIEVER_WEIGHT * self.retrievers.scores(items, ratings)
        else:
            popularity = np.log1p(self.item_count) / np.log1p(self.item_count.max())
            scores = scores + POPULARITY_WEIGHT * popularity + BIAS_WEIGHT * self.item_bias
        return scores.astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        tensors = {f"rating.{k}": v for k, v in self.rating_model.arrays().items()}
        tensors |= {f"watching.{k}": v for k, v in self.implicit_model.arrays().items()}
        if self.levels_of is not None:
            tensors |= {f"levels.{k}": v for k, v in self.levels_of.arrays().items()}
        if self.retrievers is not None:
            tensors |= {f"retrievers.{k}": v for k, v in self.retrievers.arrays().items()}
        return tensors | {"item_count": self.item_count}

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, np.ndarray], prepared: Prepared
    ) -> "CollaborativeKnowledge":
        levels, retrievers = part(tensors, "levels."), part(tensors, "retrievers.")
        return cls(
            BiasedMF.from_arrays(part(tensors, "rating.")),
            ImplicitMF.from_arrays(part(tensors, "watching.")),
            tensors["item_count"],
            genre_matrix(prepared),
            prepared.years.astype(np.float32),
            Likeness.of(prepared),
            Kinds(prepared),
            Levels(**levels) if levels else None,
            Retrievers.from_arrays(retrievers, prepared) if retrievers else None,
        )
