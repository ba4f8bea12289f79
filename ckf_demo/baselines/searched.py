"""Baselines whose settings are searched: for each task the best on validation is kept."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from ckf_demo.baselines.base import Baseline, Scores, TrainingData
from ckf_demo.metrics.metrics import auc, ndcg_at_10
from ckf_demo.metrics.protocol import EvalInstances, ranked


class Model(Protocol):
    """What is fitted under one setting."""

    def score(self, cases: EvalInstances) -> np.ndarray:
        """Higher for more likely to be liked: float (n,)."""
        ...

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Scores of the catalogue for a history: float (I,), NaN for what cannot be scored."""
        ...


class Searched(Baseline):
    """Tells clicks and ranks with one kind of model, of which `models` fits a few.

    The model for CTR is that of the best validation AUC, the one for ranking that of the best
    validation NDCG@10; ``chosen`` says the setting of each.
    """

    tasks = ("ctr", "ranking")
    feedback = ("ratings", "likes")

    @abstractmethod
    def models(self, material: TrainingData) -> Iterator[tuple[Any, Model]]:
        """Every setting with the model that was fitted under it to the training part."""

    def fit(self, material: TrainingData) -> None:
        validation = material.validation
        ranks = material.prepared.feedback == "ratings"
        queries = material.validation_queries() if ranks else []
        best: dict[str, float] = {}
        self.kept: dict[str, Model] = {}
        self.chosen: dict[str, Any] = {}
        for setting, model in self.models(material):
            values = {"ctr": auc(validation.labels, model.score(validation))}
            if ranks:
                found = [
                    ndcg_at_10(ranked(model.rank(q.items, q.ratings), q.seen, 10), q.relevant)
                    for q in queries
                ]
                values["ranking"] = float(np.mean(found))
            for task, value in values.items():
                if task not in best or value > best[task]:
                    best[task], self.kept[task], self.chosen[task] = value, model, setting

    def score(self, cases: EvalInstances) -> Scores:
        return Scores(ctr=self.kept["ctr"].score(cases))

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self.kept["ranking"].rank(items, ratings)
