"""How answers of the language model and of the collaborative prior become one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from ckf_demo.tasks.base import Targets
from ckf_demo.tasks.ctr import TASK as CTR
from ckf_demo.tasks.negatives import POWER, sample_negatives
from ckf_demo.tasks.ranking import TASK as RANKING
from ckf_demo.tasks.rating import TASK as RATING

LOGITS, PRIOR = torch.randn(6, 5), torch.randn(6, 5)


@given(st.floats(0, 1))
def test_a_pool_lies_between_its_members(weight):
    own, prior = torch.tensor([[2.0, 0.0]]), torch.tensor([-1.0])
    for combine in (CTR.combine, RANKING.combine):
        pooled = combine(own, prior, torch.tensor(weight))
        assert pooled.item() == pytest.approx(-1 + 3 * weight, abs=1e-5)


def test_rating_pools_are_distributions_and_end_at_either_member():
    for weight, member in ((0.0, PRIOR), (1.0, LOGITS)):
        pooled = RATING.combine(LOGITS, PRIOR, torch.tensor(weight))
        assert_close(pooled, member.log_softmax(-1))
    pooled = RATING.combine(LOGITS, PRIOR, torch.tensor(0.4))
    assert_close(pooled.exp().sum(-1), torch.ones(6))
    assert_close(RATING.combine(LOGITS, None, None), LOGITS.log_softmax(-1))


def test_alignment_is_least_where_both_say_the_same():
    same = RATING.alignment(PRIOR.log_softmax(-1), PRIOR, Targets())
    assert same.item() == pytest.approx(0, abs=1e-5)
    assert RATING.alignment(LOGITS.log_softmax(-1), PRIOR, Targets()) > same
    scores, groups = PRIOR.flatten(), Targets(counts=torch.arange(30.0), group=5)
    assert RANKING.alignment(scores, scores, groups).item() == pytest.approx(0, abs=1e-5)
    assert RANKING.alignment(LOGITS.flatten(), scores, groups) > 1e-3
    logit = torch.tensor([0.7])
    for other in (logit + 0.5, logit - 0.5):
        aligned = CTR.alignment(logit, logit, Targets())
        assert aligned < CTR.alignment(other, logit, Targets())


def test_sampling_more_of_the_popular_does_not_bend_scores():
    """The right scores for the whole catalogue are the best ones for groups drawn unevenly."""
    rng, n = np.random.default_rng(0), 40
    counts = np.round(np.exp(rng.uniform(0, 7, n)))
    truth = rng.dirichlet(np.full(n, 3.0))
    chosen = rng.choice(n, 8000, p=truth)
    groups = np.stack(
        [[c, *sample_negatives(counts, np.array([c]), 2, rng)] for c in chosen]
    ).ravel()
    scores, weights = torch.zeros(n, requires_grad=True), torch.from_numpy(counts).float()
    optimiser = torch.optim.LBFGS([scores], max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = RANKING.loss(scores[groups], Targets(counts=weights[groups], group=3))
        value.backward()
        return value

    optimiser.step(loss)
    learnt = scores.detach().numpy()
    assert np.corrcoef(learnt, np.log(truth))[0, 1] > 0.9
    uncorrected = learnt - POWER * np.log(counts + 1)
    assert np.corrcoef(uncorrected, np.log(truth))[0, 1] < 0.7
