"""The baselines of a served data set, each fitted at its first use and then kept.

They answer for every user, as the language models do: users are folded in from their ratings,
whether they are in the data or not.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from ckf_demo.baselines import BASELINES
from ckf_demo.baselines.base import Baseline, TrainingData
from ckf_demo.baselines.calibration import calibration_of
from ckf_demo.metrics.protocol import AdHocInstances
from ckf_demo.recommender import Recommender


class FittedBaselines:
    """Baselines over a recommender's data and collaborative knowledge.

    ``kinds`` are those that suit the kind of data, by name; ``seconds`` is the time that fitting
    took, with the search for settings, by name of the fitted ones.
    """

    def __init__(self, recommender: Recommender):
        self.recommender = recommender
        feedback = recommender.prepared.feedback
        self.kinds: dict[str, type[Baseline]] = {
            name: kind for name, kind in BASELINES.items() if feedback in kind.feedback
        }
        self.seconds: dict[str, float] = {}
        self._fitted: dict[str, tuple[Baseline, Callable[[np.ndarray], np.ndarray]]] = {}
        self._lock = threading.Lock()

    def fit(self, name: str) -> None:
        """Fit one of `kinds` if needed. One is fitted at a time; fitted ones answer meanwhile."""
        if name in self._fitted:
            return
        with self._lock:
            if name in self._fitted:
                return
            began = time.perf_counter()
            baseline = self.kinds[name]()
            baseline.fit(self._material)
            self._fitted[name] = baseline, calibration_of(baseline, self._material)
            self.seconds[name] = round(time.perf_counter() - began, 1)

    def opinion(self, name: str, item: str, **person) -> tuple[float | None, float | None]:
        """Stars of an item (id) and the probability of a like; None for a task that it lacks."""
        self.fit(name)
        baseline, calibrate = self._fitted[name]
        if not {"rating", "ctr"} & set(baseline.tasks):
            return None, None
        scores = baseline.score(self._instances([item], person))
        rates = self.recommender.prepared.feedback == "ratings" and scores.rating is not None
        likes = None if scores.ctr is None else float(calibrate(scores.ctr)[0])
        return float(scores.rating[0]) if rates else None, likes

    def scores(self, name: str, by: str, items: Sequence[str], **person) -> list[float]:
        """Scores of items (ids), in their order, by the task ``"ranking"`` or ``"ctr"``.

        Items that the baseline cannot score have the lowest score.
        """
        self.fit(name)
        (baseline, _), instances = self._fitted[name], self._instances(items, person)
        if by == "ranking":
            scores = baseline.rank(*instances.history)[instances.items]
        else:
            scores = baseline.score(instances).ctr
            assert scores is not None  # CTR is among its tasks
        scored = scores[~np.isnan(scores)]
        return np.nan_to_num(scores, nan=scored.min(initial=0.0) - 1.0).tolist()

    def _instances(self, items: Sequence[str], person: dict) -> AdHocInstances:
        recommender = self.recommender
        targets = np.array([recommender.place(item) for item in items], np.int64)
        described = recommender.person(**person)
        history = described.items, described.ratings
        return AdHocInstances(recommender.prepared, *history, targets, described.profile)

    @cached_property
    def _material(self) -> TrainingData:
        return TrainingData(self.recommender.prepared, self.recommender.system.knowledge)
