"""A stage for CTR: slope and intercept of its logit, fitted on validation rows."""

import numpy as np
from rich.progress import Progress
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from ckf_demo.model.predict import score_rows
from ckf_demo.model.system import System
from ckf_demo.tasks import ctr, rating
from ckf_demo.tasks.negatives import with_negatives
from ckf_demo.training.ranking_stage import WEIGHTS
from ckf_demo.training.stage import Stage, console

TASK, RATING = ctr.TASK.name, rating.TASK.name


class CalibrationStage(Stage):
    """Fits the calibration, and the weight in the pool where the configuration wants that.

    With ``pool_on_validation`` the language model's own logit and the prior's are fitted side by
    side, which gives their weights in the pool as well; for ratings the weight is the one with the
    least squared error.
    """

    name = "calibration"
    serves = True

    @classmethod
    def needed(cls, system: System) -> bool:
        return TASK in system.config.train.tasks

    def run(self, progress: Progress) -> None:
        """Fit on at most `TrainConfig.calibration_rows` rows, for the best weights."""
        console.print("Calibrating …")
        system, config = self.system, self.system.config.train
        system.load_weights(self.folder)
        system.calibration = {}
        system.lora.eval()
        system.fusion.eval()
        rows = system.prepared.choosing_rows()
        size = min(config.calibration_rows, len(rows))
        rng = np.random.default_rng(0)
        chosen = np.sort(rng.choice(rows, size, replace=False))
        chosen, items, liked = with_negatives(system.prepared, system.knowledge, chosen, rng)
        rates = config.pool_on_validation and RATING in config.tasks
        # ratings are asked of the rows themselves, which CTR on data of ratings is too
        together = (
            (TASK, RATING) if rates and np.array_equal(items, _items(system, chosen)) else (TASK,)
        )
        bar = progress.add_task(self.name, total=len(chosen))
        scores = score_rows(
            system,
            chosen,
            tasks=together,
            targets=items,
            progress=lambda n: progress.advance(bar, n),
        )
        record: dict[str, float] = {"rows": size}
        if config.pool_on_validation:
            prior = score_rows(system, chosen, tasks=(TASK,), targets=items, prior_only=True)[TASK]
            both = np.stack([_logit(scores[f"{TASK} alone"]), _logit(prior)], axis=1)
            fitted = LogisticRegression(C=1e6).fit(both, liked)
            lm_slope, prior_slope = fitted.coef_[0].clip(min=0.0)
            slope = float(lm_slope + prior_slope)
            weight = float(lm_slope / (lm_slope + prior_slope))
            console.print(f"weight of the language model: {weight:.3f}")
            system.fusion.set_weight(TASK, weight)
            record["weight"] = round(weight, 4)
        else:
            fitted = LogisticRegression(C=1e6).fit(_logit(scores[TASK])[:, None], liked)
            slope = float(fitted.coef_[0, 0])
        system.calibration = {TASK: (slope, float(fitted.intercept_[0]))}
        if rates:
            if RATING not in scores:
                scores |= score_rows(system, chosen, tasks=(RATING,))
            record["rating_weight"] = self._rating_weight(chosen, scores[f"{RATING} alone"])
        self.save(record)

    def _rating_weight(self, rows: np.ndarray, alone: np.ndarray) -> float:
        """Set and return the weight of ratings with the least squared error on some rows (n,).

        ``alone`` (n, 5) are the language model's probabilities.
        """
        task, system, alone = RATING, self.system, np.log(alone)
        prior = score_rows(system, rows, tasks=(task,), prior_only=True)[task]
        stars, steps = system.prepared.rating[rows], np.arange(1, 6)
        errors = {}
        for weight in WEIGHTS:
            pooled = softmax(weight * alone + (1 - weight) * np.log(prior), axis=1) @ steps
            errors[weight] = float(np.mean((pooled - stars) ** 2))
        best = min(errors, key=errors.__getitem__)
        console.print(f"weight of the language model for ratings: {best:g}")
        system.fusion.set_weight(task, best)
        return best


def _items(system: System, rows: np.ndarray) -> np.ndarray:
    return system.prepared.item[rows]


def _logit(probability: np.ndarray) -> np.ndarray:
    return np.log(probability / (1 - probability))
