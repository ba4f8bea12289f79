"""Collaborative knowledge where nobody says no: who chose what, and how often things are chosen.

Factors of all choices (Hu, Koren and Volinsky 2008) are fitted on rows that the language model does
not learn from, since such a model knows every row it was fitted on. People are folded in from their
histories, so that somebody new is like everybody else.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from safetensors.numpy import load_file, save_file

from ckf_demo.collaborative.base import FoldedInUser, Labelled, PartialKnowledge, Rows
from ckf_demo.collaborative.implicit_mf import ImplicitMF
from ckf_demo.data.prepared import Prepared
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import replacing

FEATURE_NAMES = (
    "choice factors",
    "log item count",
    "log history length",
    "nearest in history",
    "five nearest in history",
)

SIZE, REGULARIZATION, WEIGHT, EPOCHS = 64, 20.0, 20.0, 15
"""The best of seven settings by recall at 100 for 1,500 validation users of Yelp."""
POPULARITY_WEIGHT = 0.05
"""Carries the candidate stage where a history is short; more of it costs recall elsewhere."""
NEAR = 5


@dataclass(frozen=True)
class ChoicesKnowledge(PartialKnowledge):
    """A fitted model and item counts over the catalogue (I items)."""

    model: ImplicitMF
    item_count: np.ndarray

    feature_names: ClassVar[tuple[str, ...]] = FEATURE_NAMES
    level: ClassVar[str] = "log item count"
    """The pair feature that says how well liked an item is: how often it is chosen."""

    @classmethod
    def fit(cls, prepared: Prepared, *, seed: int = 0) -> "ChoicesKnowledge":
        """Fit on the rows set aside for collaborative models (``prepared.fit``)."""
        fit = prepared.fit
        rows = Rows(prepared.user[fit], prepared.item[fit], prepared.rating[fit], prepared.n_items)
        model = ImplicitMF.fit(
            rows,
            size=SIZE,
            regularization=REGULARIZATION,
            weight=WEIGHT,
            epochs=EPOCHS,
            seed=seed,
        )
        count = np.bincount(rows.item, minlength=prepared.n_items).astype(np.float32)
        # what is saved is what is used, so that training and serving see the same numbers
        model = ImplicitMF(_half(model.items), model.weight, model.regularization)
        return cls(model, count)

    @property
    def n_items(self) -> int:
        return len(self.item_count)

    @property
    def size(self) -> int:
        """D, the dimension of e_u and e_v."""
        return self.model.items.shape[1] + 1

    @cached_property
    def levels(self) -> np.ndarray:
        """Log of how often each item was chosen, at unit scale about zero: float32 (I,)."""
        logs = np.log1p(self.item_count)
        return ((logs - logs.mean()) / (logs.std() + 1e-8)).astype(np.float32)

    @property
    def global_mean(self) -> float:
        """Share of likes among the rows: all of them."""
        return 1.0

    @cached_property
    def item_table(self) -> np.ndarray:
        """E_V, float32 (I, D): factors and log count, both at unit scale."""
        factors = self.model.items / (self.model.items.std() + 1e-8)
        return np.concatenate([factors, self.levels[:, None]], axis=1).astype(np.float32)

    @cached_property
    def _direction(self) -> np.ndarray:
        table = self.model.items
        return table / (np.linalg.norm(table, axis=1, keepdims=True) + 1e-9)

    def near(self, items: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Cosines of items (n,) and targets (m,) in choice space: float32 (m, n)."""
        return self._direction[targets] @ self._direction[items].T

    def pair_inputs(
        self,
        items: np.ndarray,
        ratings: np.ndarray,
        lengths: np.ndarray,
        targets: np.ndarray,
        labelled: Labelled | None = None,
        counts: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is known of pairs after prefixes of one history of choices.

        ``labelled`` and ``counts`` are not looked at: a history says all of a person.

        Returns
        -------
        users : float32 (m, D)
            e_u, folded in.
        residuals : float32 (n,)
            How much rarer each choice is than usual, on the scale of `levels`.
        features : float32 (m, F)
            See ``FEATURE_NAMES``.
        """
        unique, which = np.unique(lengths, return_inverse=True)
        vectors = self.model.fold_in_prefixes(items, ratings, unique)[0]
        users = np.concatenate([vectors, (np.log1p(unique)[:, None] - 3) / 2], axis=1)[which]
        near = self.near(items, targets)
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
        return (
            users.astype(np.float32),
            -self.levels[items],
            features.astype(np.float32),
        )

    def fold_in(self, items: np.ndarray, ratings: np.ndarray) -> FoldedInUser:
        """A person from their whole history (n,), oldest first; n may be 0."""
        items, ratings = np.asarray(items, np.int64), np.asarray(ratings, np.float32)
        lengths = np.array([len(items)])
        factors = self.model.fold_in_prefixes(items, ratings, lengths)[0][0]
        nothing = np.zeros(0, np.float32)
        return FoldedInUser(factors, nothing, factors, 0.0, items, ratings)

    @property
    def candidate_weights(self) -> np.ndarray:
        """float32 (F,): pair features times these are `candidate_scores`."""
        weights = dict.fromkeys(FEATURE_NAMES, 0.0) | {
            "choice factors": 1.0,
            "log item count": POPULARITY_WEIGHT / np.log1p(self.item_count.max()),
        }
        return np.array(list(weights.values()), np.float32)

    def candidate_scores(self, person: FoldedInUser) -> np.ndarray:
        """Candidate-stage score of every item: float32 (I,); popularity carries it when the history
        is short."""
        popularity = np.log1p(self.item_count) / np.log1p(self.item_count.max())
        scores = self.model.items @ person.watching_factors + POPULARITY_WEIGHT * popularity
        return scores.astype(np.float32)

    def save(self, path: Path) -> None:
        """One safetensors file with what was fitted, factors in half precision."""
        tensors = {f"choices.{k}": v for k, v in self.model.arrays().items()}
        tensors["choices.items"] = self.model.items.astype(np.float16)
        tensors["item_count"] = self.item_count
        tensors = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
        with replacing(path) as temporary:
            save_file(tensors, temporary)

    @classmethod
    def load(cls, path: Path, prepared: Prepared) -> "ChoicesKnowledge":
        """Read what `save` wrote; items that only the test part has are added as unseen ones.

        Raises
        ------
        UserError
            When the file is missing.
        """
        if not Path(path).exists():
            raise UserError(f"No collaborative tables at {path}; the checkpoint is incomplete.")
        tensors = load_file(path)
        new = prepared.n_items - len(tensors["item_count"])
        arrays = {k.removeprefix("choices."): v for k, v in tensors.items() if k != "item_count"}
        arrays["items"] = np.pad(arrays["items"].astype(np.float32), ((0, new), (0, 0)))
        return cls(ImplicitMF.from_arrays(arrays), np.pad(tensors["item_count"], (0, new)))


def _half(table: np.ndarray) -> np.ndarray:
    return table.astype(np.float16).astype(np.float32)
