"""What every baseline is given and must answer.

A baseline is a class with its formula in the docstring. It is fitted once, with hyperparameters
chosen on the validation part, and answers about targets with the histories of the protocol.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ckf_demo.collaborative.base import Description, Rows
from ckf_demo.collaborative.crossfitting import crossfitted
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.collaborative.pair_features import row_features
from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.collaborative.text_vectors import item_text_vectors
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.data.splits import TRAIN, VALID
from ckf_demo.metrics.metrics import ndcg_at_10, rmse
from ckf_demo.metrics.protocol import AdHocInstances, EvalInstances, ranked

LOWEST, HIGHEST = 1.0, 5.0
"""Ratings lie between these, in stars."""


@dataclass
class TrainingData:
    """What baselines may learn from; it holds nothing of the test part.

    ``knowledge`` is the collaborative knowledge that the language model gets as well, as it is
    served: of ratings, fitted on all training rows. Models on top of it learn from `examples`.
    """

    prepared: Prepared
    knowledge: Knowledge
    _features: dict[tuple[bytes, int | None], np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def train(self) -> Rows:
        """All training interactions (80 % of all rows)."""
        return Rows.of(self.prepared, self.prepared.rows(split=TRAIN))

    @property
    def likes(self) -> Rows:
        """The training interactions that are likes."""
        rows = self.prepared.rows(split=TRAIN)
        return Rows.of(self.prepared, rows[self.prepared.liked[rows]])

    @property
    def learning(self) -> EvalInstances:
        """The rows that the language model is trained on, with their histories."""
        return EvalInstances(self.prepared, self.prepared.learning_rows())

    @property
    def validation(self) -> EvalInstances:
        """The validation part with histories; with a given split, the half to choose on."""
        return EvalInstances(self.prepared, self.prepared.choosing_rows())

    @cached_property
    def texts(self) -> np.ndarray:
        """Sentence embeddings of the catalogue, float32 (I, 384) of unit length."""
        return item_text_vectors(self.prepared)

    @cached_property
    def _validation_queries(self) -> list[Query]:
        return ranking_queries(self.prepared, VALID)

    def validation_ndcg(self, rank: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
        """Mean NDCG@10 of ``rank(history items, ratings)`` over the validation queries."""
        values = [
            ndcg_at_10(ranked(rank(query.items, query.ratings), query.seen, 10), query.relevant)
            for query in self._validation_queries
        ]
        return float(np.mean(values))

    def numbered_items(self) -> tuple[np.ndarray, np.ndarray]:
        """Items with training rows int (n,), and the number of every item int64 (I,).

        These items are numbered from 1, all others are 0, so they change no random number.
        """
        trained_items = np.unique(self.train.item)
        item_numbers = np.zeros(self.prepared.n_items, np.int64)
        item_numbers[trained_items] = np.arange(1, len(trained_items) + 1)
        return trained_items, item_numbers

    def features(self, instances: EvalInstances) -> np.ndarray:
        """Pair features of targets, users folded in from their histories: float32 (n, F)."""
        if isinstance(instances, AdHocInstances):
            return self._by_history(instances)
        key = (instances.rows.tobytes(), instances.k)
        if key not in self._features:
            self._features[key] = (
                row_features(self.prepared, self.knowledge, instances.rows)
                if instances.k is None
                else self._by_history(instances)
            )
        return self._features[key]

    @cached_property
    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows int (n,) and pair features float32 (n, F) that models on top of features learn from.

        These are the same as for the language model's prior, without words.
        """
        if isinstance(self.knowledge, CollaborativeKnowledge):
            rows, features = crossfitted(self.prepared, None, 0)
            # tables of older checkpoints have only the first of the features
            return rows, features[:, : len(self.knowledge.feature_names)]
        rows = self.prepared.learning_rows()
        return rows, row_features(self.prepared, self.knowledge, rows)

    def _by_history(self, instances: EvalInstances) -> np.ndarray:
        """Features for cut or given histories, and the profiles of users of the data."""
        table = np.empty((len(instances), len(self.knowledge.feature_names)), dtype=np.float32)
        for positions, items, ratings in instances.by_history():
            for user in np.unique(instances.users[positions]):
                of_user = positions[instances.users[positions] == user]
                _, _, table[of_user] = self.knowledge.pair_inputs(
                    items,
                    ratings,
                    np.full(len(of_user), len(items)),
                    instances.items[of_user],
                    description=Description(instances.profile(int(user))),
                )
        return table


@dataclass(frozen=True)
class Scores:
    """Answers for n targets.

    ``rating`` float (n,) is in stars, or None. ``ctr`` float (n,) is higher for items that are more
    likely to be liked, or None; it is a probability if ``Baseline.gives_probabilities``.
    """

    rating: np.ndarray | None = None
    ctr: np.ndarray | None = None


class Baseline(ABC):
    """A method to compare with. Subclasses are registered in ``BASELINES``."""

    name: ClassVar[str]
    summary: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    tasks: ClassVar[tuple[str, ...]]
    feedback: ClassVar[tuple[str, ...]] = ("ratings",)
    """The kinds of data (``Prepared.feedback``) that the baseline suits."""

    gives_probabilities: ClassVar[bool] = False
    """Whether ``ctr`` is a probability, which needs no calibration on validation."""

    @abstractmethod
    def fit(self, data: TrainingData) -> None:
        """Learn from the training part; choose hyperparameters on the validation part."""

    def score(self, instances: EvalInstances) -> Scores:
        """Answer for each target, given its history."""
        raise TypeError(f"{self.name} answers {', '.join(self.tasks)} only")

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Score the catalogue for a history (item indices and ratings): float (I,)."""
        raise TypeError(f"{self.name} answers {', '.join(self.tasks)} only")


def score_by_history(
    instances: EvalInstances, predict: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """``predict(history items, ratings, target items)`` of each history: float64 (n,)."""
    scores = np.empty(len(instances))
    for positions, items, ratings in instances.by_history():
        scores[positions] = predict(items, ratings, instances.items[positions])
    return scores


def clipped(ratings: np.ndarray) -> np.ndarray:
    """Ratings clipped to the scale."""
    return np.clip(ratings, LOWEST, HIGHEST)


class RatingBaseline(Baseline):
    """A baseline that predicts ratings from a history; CTR uses the unclipped ratings."""

    needs = ("ratings", "history")
    tasks = ("rating", "ctr", "ranking")

    @abstractmethod
    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Unclipped ratings of target items for a history, float64 (n,) in stars."""

    def score(self, instances: EvalInstances) -> Scores:
        rating = score_by_history(instances, self.predict)
        return Scores(rating=clipped(rating), ctr=rating)

    def validation_rmse(self, validation: EvalInstances) -> float:
        """RMSE on validation rows, in stars."""
        return rmse(validation.ratings, self.score(validation).rating)


class FeatureBaseline(Baseline):
    """Scikit-learn models of the folded-in collaborative features, one for ratings, one for CTR.

    Trained on the rows that the language model's prior is trained on, with the same histories.
    """

    needs = ("collaborative knowledge", "history")
    tasks = ("rating", "ctr")
    feedback = ("ratings", "likes")
    gives_probabilities = True
    data: TrainingData
    regressor: Any
    classifier: Any

    def score(self, instances: EvalInstances) -> Scores:
        x = self.data.features(instances)
        return Scores(
            rating=clipped(np.asarray(self.regressor.predict(x), dtype=np.float64)),
            ctr=self.classifier.predict_proba(x)[:, 1],
        )
