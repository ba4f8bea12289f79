"""The candidate stage on its own, without the language model behind it."""

import numpy as np

from ckf_demo.baselines.base import Baseline, TrainingData


class CandidateStage(Baseline):
    """The catalogue in the order of the collaborative choice score, as the re-ranker gets it."""

    name = "candidate stage"
    summary = "The collaborative order of the catalogue that the language model re-ranks."
    needs = ("collaborative knowledge", "history")
    tasks = ("ranking",)

    def fit(self, material: TrainingData) -> None:
        self.knowledge = material.knowledge

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self.knowledge.candidate_scores(items, ratings)
