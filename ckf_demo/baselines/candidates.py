"""The candidate stage alone, without the re-ranking by the language model."""

import numpy as np

from ckf_demo.baselines.base import Baseline, TrainingData


class CandidateStage(Baseline):
    """The catalogue in the order of the candidate scores, as the re-ranker receives it."""

    name = "candidate stage"
    summary = "The collaborative order of the catalogue that the language model re-ranks."
    needs = ("collaborative knowledge", "history")
    tasks = ("ranking",)

    def fit(self, data: TrainingData) -> None:
        self.knowledge = data.knowledge

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self.knowledge.candidate_scores(items, ratings)
