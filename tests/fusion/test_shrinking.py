"""The prior's stars are shrunk towards the base rates, and an answer may be the prior's alone."""

import numpy as np
import torch

from ckf_demo.fusion.ckf import COUNT, LEAST, CollaborativePrior
from ckf_demo.model.predict import score_rows
from ckf_demo.model.system import System
from ckf_demo.tasks import ctr, rating
from support.tiny import tiny_system


def prior(shrink: tuple[float, float]) -> CollaborativePrior:
    made = CollaborativePrior(4, count_at=1)
    made.base_rates.copy_(torch.tensor([0.1, 0.1, 0.2, 0.4, 0.2]).log())
    made.shrink.copy_(torch.tensor(shrink))
    return made.eval()


def test_stars_come_nearer_to_the_base_rates_and_more_so_for_rare_items():
    logits = torch.randn(3, 5)
    base = prior((0.0, 0.0)).base_rates
    nothing = prior((0.0, 0.0)).shrunk(logits, torch.zeros(3), torch.zeros(2))
    torch.testing.assert_close(nothing, logits)
    made = prior((-0.5, 0.3))
    rare, often = (
        made.shrunk(logits, torch.full((3,), count), made.shrink) - base for count in (-2.0, 1.0)
    )
    assert (rare.abs() < often.abs()).all() and (often.abs() < (logits - base).abs()).all()
    torch.testing.assert_close(rare * (logits - base).sign(), rare.abs())


def test_a_weight_of_zero_leaves_the_prior_alone():
    system: System = tiny_system()
    fusion = system.fusion
    assert COUNT in fusion.feature_names
    rows = system.prepared.learning_rows()[:6]
    fusion.set_weight(ctr.TASK.name, 0.0)
    fusion.set_weight(rating.TASK.name, 0.0)
    assert system.asks_prior_alone("ctr") and not system.asks_prior_alone("ranking")
    assert fusion.weights()["ctr"] == 0 and fusion.weights()["ranking"] > LEAST
    asked, alone = (score_rows(system, rows, alone=wanted) for wanted in (True, False))
    prior_only = score_rows(system, rows, prior_only=True)
    assert set(alone) == {"rating", "ctr"} and set(asked) > set(alone)
    for task in alone:
        np.testing.assert_allclose(alone[task], asked[task], rtol=1e-5)
        np.testing.assert_allclose(alone[task], prior_only[task], rtol=1e-5)
    system.calibration = {"ctr": (2.0, 0.5)}
    calibrated = score_rows(system, rows, alone=False)["ctr"]
    expected = torch.from_numpy(prior_only["ctr"]).logit() * 2 + 0.5
    np.testing.assert_allclose(calibrated, expected.sigmoid().numpy(), rtol=1e-4)
