"""How answers of the language model and of the collaborative prior become one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from ckf_demo.tasks import ctr, ranking, rating

LOGITS, PRIOR = torch.randn(6, 5), torch.randn(6, 5)


@given(st.floats(0, 1))
def test_a_pool_lies_between_its_members(weight):
    own, prior = torch.tensor([[2.0, 0.0]]), torch.tensor([-1.0])
    for combine in (ctr.combine, ranking.combine):
        pooled = combine(own, prior, torch.tensor(weight))
        assert pooled.item() == pytest.approx(-1 + 3 * weight, abs=1e-5)


def test_rating_pools_are_distributions_and_end_at_either_member():
    for weight, member in ((0.0, PRIOR), (1.0, LOGITS)):
        pooled = rating.combine(LOGITS, PRIOR, torch.tensor(weight))
        assert_close(pooled, member.log_softmax(-1))
    pooled = rating.combine(LOGITS, PRIOR, torch.tensor(0.4))
    assert_close(pooled.exp().sum(-1), torch.ones(6))
    assert_close(rating.combine(LOGITS, None, None), LOGITS.log_softmax(-1))


def test_alignment_is_least_where_both_say_the_same():
    same = rating.alignment(PRIOR.log_softmax(-1), PRIOR)
    assert same.item() == pytest.approx(0, abs=1e-5)
    assert rating.alignment(LOGITS.log_softmax(-1), PRIOR) > same
    scores, counts = PRIOR.flatten(), torch.arange(30.0)
    assert ranking.alignment(scores, scores, counts, 5).item() == pytest.approx(0, abs=1e-5)
    assert ranking.alignment(LOGITS.flatten(), scores, counts, 5) > 1e-3
    logit = torch.tensor([0.7])
    assert ctr.alignment(logit, logit) < ctr.alignment(logit + 0.5, logit)
    assert ctr.alignment(logit, logit) < ctr.alignment(logit - 0.5, logit)


def test_sampling_more_of_the_popular_does_not_bend_scores():
    """The right scores for the whole catalogue are the best ones for groups drawn unevenly."""
    rng, n = np.random.default_rng(0), 40
    counts = np.round(np.exp(rng.uniform(0, 7, n)))
    truth = rng.dirichlet(np.full(n, 3.0))
    chosen = rng.choice(n, 8000, p=truth)
    groups = np.stack(
        [[c, *ranking.sample_negatives(counts, np.array([c]), 2, rng)] for c in chosen]
    ).ravel()
    scores = torch.zeros(n, requires_grad=True)
    optimiser = torch.optim.LBFGS([scores], max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = ranking.loss(scores[groups], torch.from_numpy(counts).float()[groups], 3)
        value.backward()
        return value

    optimiser.step(loss)
    learnt = scores.detach().numpy()
    assert np.corrcoef(learnt, np.log(truth))[0, 1] > 0.9
    uncorrected = learnt - ranking.POWER * np.log(counts + 1)
    assert np.corrcoef(uncorrected, np.log(truth))[0, 1] < 0.7
