"""What words do: over whom intervals are, and sentences whose fitting items are in the store."""

import numpy as np

from ckf_demo.data.splits import VALID
from ckf_demo.lab.words import Words, control_sentences
from support.fakes import FakeRecommender


def test_intervals_are_over_all_users_of_the_part_however_few_are_newcomers():
    recommender = FakeRecommender()
    data = recommender.prepared
    words = Words(recommender, VALID, people=2, seed=0)
    users = np.unique(data.user[data.rows(split=VALID)])
    assert len(words.queries) == 2 < len(users)
    drawn = words.results.weights.sum(axis=0) > 0
    assert list(np.flatnonzero(drawn)) == list(users)


def test_every_control_sentence_has_a_condition_that_the_store_understands():
    recommender = FakeRecommender()
    sentences = control_sentences(recommender)
    assert len({each.text for each in sentences}) == len(sentences)
    nonsense = [each for each in sentences if each.kind == "nonsense"]
    assert nonsense and not any(each.fits.any() for each in nonsense)
    (before,) = (each for each in sentences if each.text == "before 1970")
    assert 0 < before.fits.sum() < recommender.prepared.n_items
