"""Baselines whose settings are searched; for each task the best model on validation is kept."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ckf_demo.baselines.base import Baseline, Scores, TrainingData
from ckf_demo.metrics.metrics import auc
from ckf_demo.metrics.protocol import EvalInstances


class Model(ABC):
    """A model that was fitted under one setting."""

    @abstractmethod
    def score(self, cases: EvalInstances) -> np.ndarray:
        """Scores of targets, higher for items that are more likely to be liked: float (n,)."""

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Scores of the catalogue for a history: float (I,), NaN for items that have none."""
        raise TypeError(f"{type(self).__name__} does not rank")


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
    def models(self, material: TrainingData) -> Iterator[tuple[Any, Model]]:
        """Every setting with the model that was fitted under it on the training part."""

    def fit(self, material: TrainingData) -> None:
        validation = material.validation
        ranks = material.prepared.feedback == "ratings"
        best: dict[str, float] = {}
        waited = 0
        self.kept: dict[str, Model] = {}
        self.chosen: dict[str, Any] = {}
        for setting, model in self.models(material):
            values = {"ctr": auc(validation.labels, model.score(validation))}
            if ranks:
                values["ranking"] = material.validation_ndcg(model.rank)
            waited += 1
            for task, value in values.items():
                if task not in best or value > best[task]:
                    best[task], waited = value, 0
                    self.kept[task], self.chosen[task] = model, setting
            if waited == self.patience:
                break

    def score(self, cases: EvalInstances) -> Scores:
        return Scores(ctr=self.kept["ctr"].score(cases))

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self.kept["ranking"].rank(items, ratings)
