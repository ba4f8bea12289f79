"""Collaborative knowledge of positive-only data: which items each user chose, and how often.

Factors of all choices (Hu, Koren and Volinsky 2008) are fitted on rows that the language model does
not learn from, since such a model knows every row that it was fitted on.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ckf_demo.collaborative.base import (
    UNDESCRIBED,
    Description,
    Knowledge,
    Labelled,
    Rows,
    part,
    unit_rows,
)
from ckf_demo.collaborative.implicit_mf import ImplicitMF
from ckf_demo.data.prepared import Prepared

FEATURE_NAMES = (
    "choice factors",
    "log item count",
    "log history length",
    "nearest in history",
    "five nearest in history",
)

SETTING: dict[str, Any] = {"size": 64, "regularization": 20.0, "weight": 20.0, "epochs": 15}
"""The best of seven settings by recall at 100 for 1,500 validation users of Yelp."""
POPULARITY_WEIGHT = 0.05
"""Popularity orders the candidates of short histories; a larger weight costs recall elsewhere."""
NEAR = 5


@dataclass(frozen=True)
class PositiveOnlyKnowledge(Knowledge):
    """A fitted model and item counts over the catalogue (I items)."""

    model: ImplicitMF
    item_count: np.ndarray

    feature_names: ClassVar[tuple[str, ...]] = FEATURE_NAMES
    level: ClassVar[str] = "log item count"

    @classmethod
    def fit(cls, prepared: Prepared, *, seed: int = 0) -> "PositiveOnlyKnowledge":
        rows = Rows.of(prepared, prepared.fit)
        model = ImplicitMF.fit(rows, **SETTING, seed=seed)
        # files hold half precision, so training and serving both use numbers of that precision
        half = model.items.astype(np.float16).astype(np.float32)
        model = ImplicitMF(half, model.weight, model.regularization)
        return cls(model, rows.counts().astype(np.float32))

    @cached_property
    def levels(self) -> np.ndarray:
        """Log of how often each item was chosen, standardised: float32 (I,)."""
        logs = np.log1p(self.item_count)
        return ((logs - logs.mean()) / (logs.std() + 1e-8)).astype(np.float32)

    @property
    def global_mean(self) -> float:
        """Share of likes among the rows, which is 1."""
        return 1.0

    @cached_property
    def item_table(self) -> np.ndarray:
        """E_V, float32 (I, D): factors and log count, both at unit scale."""
        factors = self.model.items / (self.model.items.std() + 1e-8)
        return np.concatenate([factors, self.levels[:, None]], axis=1).astype(np.float32)

    @cached_property
    def _direction(self) -> np.ndarray:
        return unit_rows(self.model.items)

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
        """As `Knowledge.pair_inputs`; a residual says how much rarer than usual a choice is."""
        unique, which = np.unique(lengths, return_inverse=True)
        vectors = self.model.fold_in_prefixes(items, unique)
        users = np.concatenate([vectors, (np.log1p(unique)[:, None] - 3) / 2], axis=1)[which]
        near = self._direction[targets] @ self._direction[items].T
        near[np.arange(len(items))[None, :] >= lengths[:, None]] = 0.0
        best = -np.sort(-near, axis=1)[:, :NEAR]
        best = np.pad(best, ((0, 0), (0, NEAR - best.shape[1])))
        features = np.stack(
            [
                (vectors[which] * self.model.items[targets]).sum(1),
                np.log1p(self.item_count[targets]),
                np.log1p(lengths),
                best[:, 0],
                best.mean(1),
            ],
            axis=1,
        )
        return users.astype(np.float32), -self.levels[items], features.astype(np.float32)

    def candidate_scores(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Choice factors plus popularity, which orders the items where the history is short."""
        popularity = np.log1p(self.item_count) / np.log1p(self.item_count.max())
        scores = self.model.items @ self.model.fold_in(items) + POPULARITY_WEIGHT * popularity
        return scores.astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """Factors are in half precision."""
        arrays = self.model.arrays() | {"items": self.model.items.astype(np.float16)}
        tensors = {f"choices.{name}": array for name, array in arrays.items()}
        return tensors | {"item_count": self.item_count}

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, np.ndarray], prepared: Prepared
    ) -> "PositiveOnlyKnowledge":
        """Items that only the test part has are added as unseen ones."""
        new = prepared.n_items - len(tensors["item_count"])
        arrays = part(tensors, "choices.")
        arrays["items"] = np.pad(arrays["items"].astype(np.float32), ((0, new), (0, 0)))
        return cls(ImplicitMF.from_arrays(arrays), np.pad(tensors["item_count"], (0, new)))
