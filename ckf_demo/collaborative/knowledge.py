"""Collaborative knowledge: what other people's interactions say about a person and an item.

Joins a rating model and a watching model into one embedding per user and item, e_u and e_v, with
biases and counts as extra dimensions, and derives the pair features that the fusion and every
feature baseline are given. All of it is fitted on rows that the language model is not trained on
(`ckf_demo.data.splits`), and people are always folded in from a history.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from safetensors.numpy import load_file, save_file

from ckf_demo.collaborative.base import FoldedInUser, Labelled, PartialKnowledge, Rows
from ckf_demo.collaborative.biased_mf import BiasedMF
from ckf_demo.collaborative.implicit_mf import ImplicitMF
from ckf_demo.data.prepared import Prepared
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import replacing

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
class CollaborativeKnowledge(PartialKnowledge):
    """Fitted models, item counts and item attributes as arrays over the catalogue (I items)."""

    rating_model: BiasedMF
    implicit_model: ImplicitMF
    item_count: np.ndarray
    genre_matrix: np.ndarray
    years: np.ndarray

    feature_names: ClassVar[tuple[str, ...]] = FEATURE_NAMES
    level: ClassVar[str] = "item bias"
    """The pair feature that says how well liked an item is."""

    @classmethod
    def fit(cls, prepared: Prepared, *, seed: int = 0) -> "CollaborativeKnowledge":
        """Fit on the rows set aside for collaborative models (``prepared.fit``)."""
        fit = prepared.fit
        rows = Rows(prepared.user[fit], prepared.item[fit], prepared.rating[fit], prepared.n_items)
        return cls(
            rating_model=BiasedMF.fit(
                rows, size=16, regularization=0.2, damping=5.0, epochs=15, seed=seed
            ),
            implicit_model=ImplicitMF.fit(
                rows, size=32, regularization=5.0, weight=2.0, epochs=15, seed=seed
            ),
            item_count=np.bincount(rows.item, minlength=prepared.n_items).astype(np.float32),
            genre_matrix=genre_matrix(prepared),
            years=prepared.years.astype(np.float32),
        )

    @property
    def n_items(self) -> int:
        return len(self.item_count)

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
        return np.concatenate(
            [
                self._unit(self.rating_model.items),
                self._unit(self.implicit_model.items),
                self.item_bias[:, None] / 0.5,
                np.log1p(self.item_count)[:, None] / 2.0 - 1.5,
            ],
            axis=1,
        ).astype(np.float32)

    @property
    def size(self) -> int:
        """D, the dimension of e_u and e_v."""
        return self.rating_model.items.shape[1] + self.implicit_model.items.shape[1] + 2

    @staticmethod
    def _unit(table: np.ndarray) -> np.ndarray:
        return table / (table.std() + 1e-8)

    @cached_property
    def _direction(self) -> np.ndarray:
        """Item directions in watching space, so that inner products are cosines."""
        table = self.implicit_model.items
        return table / (np.linalg.norm(table, axis=1, keepdims=True) + 1e-9)

    @cached_property
    def _genre_direction(self) -> np.ndarray:
        norms = np.sqrt(self.genre_matrix.sum(1, keepdims=True))
        return self.genre_matrix / np.maximum(norms, 1.0)

    def embed_prefixes(
        self, items: np.ndarray, ratings: np.ndarray, lengths: np.ndarray
    ) -> np.ndarray:
        """e_u after each of several prefixes of one history: float32 (m, D)."""
        factors, bias = self.rating_model.fold_in_prefixes(items, ratings, lengths)
        watching, _ = self.implicit_model.fold_in_prefixes(items, ratings, lengths)
        return self._embedding(factors, watching, bias, lengths)

    @staticmethod
    def _embedding(factors, watching, bias, lengths) -> np.ndarray:
        return np.concatenate(
            [
                factors / 0.5,
                watching / 0.5,
                bias[:, None] / 0.5,
                np.log1p(lengths)[:, None] / 2.0 - 1.5,
            ],
            axis=1,
        ).astype(np.float32)

    def fold_in(self, items: np.ndarray, ratings: np.ndarray) -> FoldedInUser:
        """A person from their whole history (n,), oldest first; n may be 0."""
        items, ratings = np.asarray(items, np.int64), np.asarray(ratings, np.float32)
        lengths = np.array([len(items)])
        factors, bias = self.rating_model.fold_in_prefixes(items, ratings, lengths)
        watching, _ = self.implicit_model.fold_in_prefixes(items, ratings, lengths)
        embedding = self._embedding(factors, watching, bias, lengths)[0]
        return FoldedInUser(embedding, factors[0], watching[0], float(bias[0]), items, ratings)

    def pair_features(self, person: FoldedInUser, items: np.ndarray) -> np.ndarray:
        """Features of a person and each of several items: float32 (m, F), see FEATURE_NAMES."""
        items = np.asarray(items, np.int64)
        lengths = np.full(len(items), person.count)
        return self.features(person.items, person.ratings, lengths, items)

    def features(
        self, items: np.ndarray, ratings: np.ndarray, lengths: np.ndarray, targets: np.ndarray
    ) -> np.ndarray:
        """Pair features after prefixes of one history.

        Parameters
        ----------
        items, ratings : (n,)
            A history, oldest first.
        lengths, targets : int (m,)
            For each pair: how much of the history counts, and the item.

        Returns
        -------
        float32 (m, F), see ``FEATURE_NAMES``.
        """
        model = self.rating_model
        unique, which = np.unique(lengths, return_inverse=True)
        factors, bias = model.fold_in_prefixes(items, ratings, unique)
        watching, _ = self.implicit_model.fold_in_prefixes(items, ratings, unique)
        factors, bias, watching = factors[which], bias[which], watching[which]

        residual = (ratings - model.global_mean - model.item_bias[items]).astype(np.float32)
        earlier = np.arange(len(items))[None, :] < lengths[:, None]
        near = np.maximum(self._direction[targets] @ self._direction[items].T, 0) ** 3 * earlier
        alike = (self._genre_direction[targets] @ self._genre_direction[items].T) * earlier
        own = near @ residual - bias * near.sum(1)
        genre = alike @ residual - bias * alike.sum(1)

        n = np.maximum(lengths, 1)
        sums = np.concatenate([[0.0], np.cumsum(residual)])[lengths]
        squares = np.concatenate([[0.0], np.cumsum(residual**2)])[lengths]
        # three imagined ratings with the usual spread keep short histories sensible
        spread = np.sqrt((np.maximum(squares - sums**2 / n, 0) + 3 * 0.81) / (lengths + 3))
        years = np.where(self.years[targets] > 0, self.years[targets], 1990)
        columns = [
            model.global_mean + bias + model.item_bias[targets],
            bias,
            model.item_bias[targets],
            (factors * model.items[targets]).sum(1),
            (watching * self.implicit_model.items[targets]).sum(1),
            np.log1p(lengths),
            np.log1p(self.item_count[targets]),
            own / (near.sum(1) + 1),
            genre / (alike.sum(1) + 2),
            (years - 1990) / 10,
            spread,
            np.log1p(near.sum(1)),
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def pair_inputs(
        self,
        items: np.ndarray,
        ratings: np.ndarray,
        lengths: np.ndarray,
        targets: np.ndarray,
        labelled: Labelled | None = None,
        counts: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is known of pairs after prefixes of one history of ratings.

        ``labelled`` and ``counts`` are not looked at: a history says all of a person.

        Returns
        -------
        users : float32 (m, D)
            e_u, folded in.
        residuals : float32 (n,)
            Ratings of the history minus the item's own level, in stars.
        features : float32 (m, F)
            See `features`.
        """
        unique, which = np.unique(lengths, return_inverse=True)
        users = self.embed_prefixes(items, ratings, unique)[which]
        residuals = (ratings - self.global_mean - self.item_bias[items]).astype(np.float32)
        return users, residuals, self.features(items, ratings, lengths, targets)

    def predict_rating(self, person: FoldedInUser, items: np.ndarray) -> np.ndarray:
        """The biased matrix factorisation alone, in stars clipped to 1–5: float32 (m,)."""
        items = np.asarray(items, np.int64)
        scores = self.global_mean + person.bias + self.item_bias[items]
        scores = scores + self.rating_model.items[items] @ person.rating_factors
        return np.clip(scores, 1.0, 5.0).astype(np.float32)

    @property
    def candidate_weights(self) -> np.ndarray:
        """float32 (F,): pair features times these are `candidate_scores`."""
        weights = dict.fromkeys(FEATURE_NAMES, 0.0) | {
            "watching factors": 1.0,
            "log item count": POPULARITY_WEIGHT / np.log1p(self.item_count.max()),
            "item bias": BIAS_WEIGHT,
        }
        return np.array(list(weights.values()), np.float32)

    def candidate_scores(self, person: FoldedInUser) -> np.ndarray:
        """Candidate-stage score of every item: float32 (I,).

        The watching model's score plus popularity and item bias, which carry it when the history
        is short. The weights lie in the flat best region of recall at 100 on validation rows.
        """
        popularity = np.log1p(self.item_count) / np.log1p(self.item_count.max())
        scores = self.implicit_model.items @ person.watching_factors
        scores = scores + POPULARITY_WEIGHT * popularity + BIAS_WEIGHT * self.item_bias
        return scores.astype(np.float32)

    def save(self, path: Path) -> None:
        """One safetensors file with what was fitted; item attributes stay with the data."""
        tensors = {f"rating.{k}": v for k, v in self.rating_model.arrays().items()}
        tensors |= {f"watching.{k}": v for k, v in self.implicit_model.arrays().items()}
        tensors |= {
            "item_count": self.item_count,
        }
        tensors = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
        with replacing(path) as temporary:
            save_file(tensors, temporary)

    @classmethod
    def load(cls, path: Path, prepared: Prepared) -> "CollaborativeKnowledge":
        """Read what `save` wrote, for the data that it was fitted on.

        Raises
        ------
        UserError
            When the file is missing.
        """
        if not Path(path).exists():
            raise UserError(f"No collaborative tables at {path}; the checkpoint is incomplete.")
        tensors = load_file(path)

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

        return cls(
            BiasedMF.from_arrays(part("rating.")),
            ImplicitMF.from_arrays(part("watching.")),
            tensors["item_count"],
            genre_matrix(prepared),
            prepared.years.astype(np.float32),
        )
