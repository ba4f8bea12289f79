"""A stage for CTR: slope and intercept of its logit, fitted on validation rows."""

import numpy as np
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression

from ckf_demo.model.predict import score_rows
from ckf_demo.model.system import System
from ckf_demo.tasks import ctr
from ckf_demo.tasks.negatives import with_negatives
from ckf_demo.training.stage import Stage, console

TASK = ctr.TASK.name


class CalibrationStage(Stage):
    """Fits the calibration, and the weight in the pool where the configuration wants that.

    With ``pool_on_validation`` the language model's own logit and the prior's are fitted side by
    side, which gives their weights in the pool as well.
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
        scores = score_rows(system, chosen, tasks=(TASK,), targets=items)
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
        self.save(record)


def _logit(probability: np.ndarray) -> np.ndarray:
    return np.log(probability / (1 - probability))
