"""Collaborative knowledge of ratings: what other users' ratings say about a user and an item.

A rating model and a watching model give one embedding per user and item, e_u and e_v, with biases
and counts as extra dimensions, and the pair features that the fusion and the feature baselines get.
All of it is fitted on rows that the language model is not trained on (`ckf_demo.data.splits`).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from ckf_demo.collaborative.base import Knowledge, Labelled, Rows, part, prefix_sums, unit_rows
from ckf_demo.collaborative.biased_mf import BiasedMF
from ckf_demo.collaborative.implicit_mf import ImplicitMF
from ckf_demo.data.prepared import Prepared

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

POPULARITY_WEIGHT, BIAS_WEIGHT = 1.0, 0.3


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

    feature_names: ClassVar[tuple[str, ...]] = FEATURE_NAMES
    level: ClassVar[str] = "item bias"

    @classmethod
    def fit(cls, prepared: Prepared, *, seed: int = 0) -> "CollaborativeKnowledge":
        rows = Rows.of(prepared, prepared.fit)
        return cls(
            rating_model=BiasedMF.fit(
                rows, size=16, regularization=0.2, damping=5.0, epochs=15, seed=seed
            ),
            implicit_model=ImplicitMF.fit(
                rows, size=32, regularization=5.0, weight=2.0, epochs=15, seed=seed
            ),
            item_count=rows.counts().astype(np.float32),
            genre_matrix=genre_matrix(prepared),
            years=prepared.years.astype(np.float32),
        )

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
        return (
            np.concatenate(users, axis=1).astype(np.float32),
            residual,
            np.stack(features, axis=1).astype(np.float32),
        )

    @property
    def candidate_terms(self) -> dict[str, float]:
        return {
            "watching factors": 1.0,
            "log item count": POPULARITY_WEIGHT / np.log1p(self.item_count.max()),
            "item bias": BIAS_WEIGHT,
        }

    def candidate_scores(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """The watching model's score plus popularity and item bias, which order short histories.

        The weights lie in the flat best region of recall at 100 on validation rows.
        """
        popularity = np.log1p(self.item_count) / np.log1p(self.item_count.max())
        scores = self.implicit_model.items @ self.implicit_model.fold_in(items)
        scores = scores + POPULARITY_WEIGHT * popularity + BIAS_WEIGHT * self.item_bias
        return scores.astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        tensors = {f"rating.{k}": v for k, v in self.rating_model.arrays().items()}
        tensors |= {f"watching.{k}": v for k, v in self.implicit_model.arrays().items()}
        return tensors | {"item_count": self.item_count}

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, np.ndarray], prepared: Prepared
    ) -> "CollaborativeKnowledge":
        return cls(
            BiasedMF.from_arrays(part(tensors, "rating.")),
            ImplicitMF.from_arrays(part(tensors, "watching.")),
            tensors["item_count"],
            genre_matrix(prepared),
            prepared.years.astype(np.float32),
        )
