"""Baselines whose settings are searched; for each task the best model on validation is kept."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ckf_demo.baselines.base import Baseline, Scores, TrainingData, score_by_history
from ckf_demo.metrics.metrics import auc
from ckf_demo.metrics.protocol import EvalInstances


class Model(ABC):
    """A model that was fitted under one setting."""

    @abstractmethod
    def score(self, instances: EvalInstances) -> np.ndarray:
        """Scores of targets, higher for items that are more likely to be liked: float (n,)."""

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Scores of the catalogue for a history: float (I,), NaN for items that have none."""
        raise TypeError(f"{type(self).__name__} does not rank")


class HistoryModel(Model):
    """A model that scores items by one history at a time."""

    def __init__(self, n_items: int):
        self.catalogue = np.arange(n_items)

    @abstractmethod
    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Scores of target items (n,) for a history: float (n,)."""

    def score(self, instances: EvalInstances) -> np.ndarray:
        return score_by_history(instances, self.predict)

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self.predict(items, ratings, self.catalogue)


class Searched(Baseline):
    """A baseline that fits several models and keeps the best one for each of its tasks.

    For CTR it keeps the model of the best validation AUC, for ranking the one of the best
    validation NDCG@10. ``kept`` holds the models by task, ``chosen`` their settings.
    """

    tasks = ("ctr", "ranking")
    feedback = ("ratings", "likes")
    patience: ClassVar[int | None] = None
    """Models without a better value for any task after which the search ends; None for never."""

    @abstractmethod
    def models(self, data: TrainingData) -> Iterator[tuple[Any, Model]]:
        """Every setting with the model that was fitted under it on the training part."""

    def fit(self, data: TrainingData) -> None:
        validation = data.validation
        best: dict[str, float] = {}
        waited = 0
        self.kept: dict[str, Model] = {}
        self.chosen: dict[str, Any] = {}
        for setting, model in self.models(data):
            values = {"ctr": auc(validation.labels, model.score(validation))}
            if data.prepared.feedback == "ratings":
                values["ranking"] = data.validation_ndcg(model.rank)
            waited += 1
            for task, value in values.items():
                if task not in best or value > best[task]:
                    best[task], waited = value, 0
                    self.kept[task], self.chosen[task] = model, setting
            if waited == self.patience:
                break

    def score(self, instances: EvalInstances) -> Scores:
        return Scores(ctr=self.kept["ctr"].score(instances))

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self.kept["ranking"].rank(items, ratings)
