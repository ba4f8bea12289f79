"""Who may know what: histories, queries, groups, samples."""

import numpy as np
import pytest

from ckf_demo.data.ranking_queries import ranking_queries
from ckf_demo.metrics.protocol import BANDS, EvalInstances, ranked, sample_by_user, user_groups
from support.synthetic import made_up

DATA = made_up()
TEST_ROWS = DATA.rows(split=2)


@pytest.mark.parametrize("k", [0, 1, 3, 10, None])
def test_history_is_strictly_earlier_and_complete_up_to_k(k):
    cases, seen = EvalInstances(DATA, TEST_ROWS, k), []
    for positions, items, ratings in cases.by_history():
        for position in positions:
            row = cases.rows[position]
            earlier = np.flatnonzero(
                (DATA.user == DATA.user[row]) & (DATA.timestamp < DATA.timestamp[row])
            )
            expected = earlier if k is None else earlier[max(0, len(earlier) - k) :]
            assert items.tolist() == DATA.item[expected].tolist()
            assert ratings.tolist() == DATA.rating[expected].tolist()
            assert DATA.item[row] not in items
            assert cases.history_lengths[position] == len(expected)
        seen += positions.tolist()
    assert sorted(seen) == list(range(len(cases)))


def test_rows_of_a_moment_share_their_history_and_all_rows_share_none():
    assert len(list(EvalInstances(DATA, TEST_ROWS, 0).by_history())) == 1
    cases = EvalInstances(DATA, TEST_ROWS)
    distinct = {(u, t) for u, t in zip(cases.users, DATA.timestamp[TEST_ROWS], strict=True)}
    assert len(list(cases.by_history())) <= len(distinct)


def test_queries_separate_what_was_seen_from_what_is_to_be_found():
    queries = ranking_queries(DATA, 2)
    assert queries
    for query in queries:
        own = DATA.history.rows_of(query.user)
        assert not set(query.seen) & set(query.relevant)
        assert query.items.tolist() == query.seen.tolist()
        assert (DATA.timestamp[own[: len(query.seen)]] < query.at).all()
        later = own[np.isin(DATA.item[own], query.relevant)]
        assert (DATA.timestamp[later] >= query.at).all()
        assert (DATA.rating[later] >= 4).all()
        assert (DATA.split[later] == 2).all()


def test_query_of_a_newcomer_stands_at_the_tenth_interaction():
    first_split = [DATA.split[DATA.history.rows_of(u)[0]] for u in range(DATA.n_users)]
    newcomers = [q for q in ranking_queries(DATA, 2) if first_split[q.user] == 2]
    for query in newcomers:
        own = DATA.history.rows_of(query.user)
        assert query.at == DATA.timestamp[own[min(9, len(own) - 1)]]
    # cut queries have the same candidates and answers
    for whole, cut in zip(ranking_queries(DATA, 2), ranking_queries(DATA, 2, k=3), strict=True):
        assert cut.items.tolist() == whole.items[-3:].tolist()
        assert cut.seen.tolist() == whole.seen.tolist()
        assert cut.relevant.tolist() == whole.relevant.tolist()


def test_groups():
    cases = EvalInstances(DATA, TEST_ROWS)
    groups = user_groups(DATA, cases.users, cases.history_lengths)
    assert groups["all"].all()
    assert (groups["warm"] ^ groups["cold"]).all()
    trained = set(DATA.user[DATA.split == 0])
    assert all((u in trained) == w for u, w in zip(cases.users, groups["warm"], strict=True))
    assert (sum(groups[name].astype(int) for name, *_ in BANDS) == 1).all()


def test_sample_keeps_every_user_and_the_order():
    sample = sample_by_user(DATA, TEST_ROWS, 60, seed=1)
    assert set(DATA.user[sample]) == set(DATA.user[TEST_ROWS])
    assert (np.diff(sample) > 0).all()
    assert sample.tolist() == sample_by_user(DATA, TEST_ROWS, 60, seed=1).tolist()
    assert sample_by_user(DATA, TEST_ROWS, None, seed=1) is TEST_ROWS


def test_ranked_leaves_out_the_seen_and_puts_unknown_last():
    scores = np.array([0.1, np.nan, 0.9, 0.9, 0.5])
    assert ranked(scores, [4], 4).tolist() == [2, 3, 0, 1]
