"""What is known before any taste: likeness of items, levels of items and kinds of people."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.collaborative.base import Rows
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge, genre_matrix
from ckf_demo.collaborative.levels import AGES, SPREAD, Kinds, Levels
from ckf_demo.collaborative.likeness import KINDS, Likeness
from ckf_demo.data.item_facts import ItemFacts
from ckf_demo.data.prepared import Prepared
from support.films import FILMS, films
from support.tiny import tiny_data

FILM_DATA, DATA = films(), tiny_data()
EVERY = np.arange(FILM_DATA.n_items)
LIKENESS = Likeness.of(FILM_DATA)
PLACE = {title: place for place, (title, *_) in enumerate(FILMS)}

# as many people of each kind, of every age
ages = np.array([15, 20, 30, 40, 50, 60, 0] * 10)[: DATA.n_users].astype(np.int32)
PEOPLE = replace(
    DATA, ages=ages, occupations=["writer", "other", ""] * (DATA.n_users // 3) + ["writer"] * 2
)


def alike(kind: str, one: str, other: str) -> float:
    pair = np.array([PLACE[one]]), np.array([PLACE[other]])
    return float(LIKENESS.between(kind, *pair)[0, 0])


def fitted(data: Prepared, rows: np.ndarray, mean: float = 3.0) -> Levels:
    """Levels about a mean in stars, without biases of items."""
    none = np.zeros(data.n_items, np.float32)
    return Levels.fit(data, rows, Likeness.of(data), mean, none, genre_matrix(data))


# Likeness


@pytest.mark.parametrize("kind", KINDS)
def test_likeness_is_mutual_bounded_and_nothing_for_an_item_and_itself(kind):
    table = LIKENESS.between(kind, EVERY, EVERY)
    assert table.dtype == np.float32
    assert not table.diagonal().any()
    assert table.any()
    np.testing.assert_allclose(table, table.T, atol=1e-6)
    assert table.min() >= 0
    assert table.max() <= (2 if kind == "people" else 1 + 1e-6)
    some, others = EVERY[[3, 3, 7]], EVERY[5:]
    np.testing.assert_array_equal(LIKENESS.between(kind, some, others), table[some][:, others])


def test_people_in_common_are_counted_by_what_they_do():
    assert alike("people", "High Noon", "Rear Window") == 1
    # a director and an actor
    assert alike("people", "To Catch a Thief", "North by Northwest") == 2
    # the director of the one acts in no other
    assert alike("people", "Unforgiven", "High Noon") == 0


def test_tags_and_words_in_common_count():
    westerns, others = ("High Noon", "Unforgiven"), ("High Noon", "Jaws")
    assert alike("tags", *westerns) > alike("tags", *others) == 0
    assert alike("words", *westerns) > alike("words", *others)


def test_data_without_facts_have_words_alone():
    plain = Likeness.of(replace(FILM_DATA, facts=None))
    assert plain.between("words", EVERY, EVERY).any()
    for kind in ("people", "tags"):
        table = plain.between(kind, EVERY, EVERY[:5])
        assert table.shape == (FILM_DATA.n_items, 5)
        assert not table.any()


def test_where_nothing_is_written_nothing_is_alike():
    n = DATA.n_items
    silent = replace(DATA, titles=[""] * n, genres=[()] * n, years=np.zeros(n, np.int32))
    for data in (silent, replace(silent, facts=ItemFacts.empty(n))):
        for kind in KINDS:
            assert not Likeness.of(data).between(kind, np.arange(n), np.arange(n)).any()
        knowledge = CollaborativeKnowledge.fit(data)
        features = knowledge.pair_inputs(
            np.array([1, 2]), np.array([5.0, 1.0]), np.full(3, 2), np.arange(3)
        )[2]
        assert features.shape == (3, len(knowledge.feature_names))
        assert np.isfinite(features).all()


# Levels of items


def test_a_rare_items_level_lies_near_its_texts_and_a_popular_ones_near_its_mean():
    loved = replace(DATA, rating=np.where(DATA.item == 0, 5, DATA.rating).astype(np.float32))
    own = np.flatnonzero(loved.item == 0)
    others = np.flatnonzero(loved.item != 0)
    assert len(own) > 15
    mean = float(loved.rating.mean())

    def distances(rows: np.ndarray) -> tuple[float, float]:
        levels = fitted(loved, np.sort(rows), mean)
        level = levels.level[0]
        return abs(level - levels.predicted[0]), abs(level - (5 - mean))

    to_text, to_mean = distances(np.concatenate([others, own[:1]]))
    assert to_text < to_mean / 2
    to_text, to_mean = distances(np.concatenate([others, own]))
    assert to_mean < to_text / 2


def test_an_item_without_ratings_is_at_the_level_of_its_text():
    levels = fitted(DATA, np.flatnonzero(DATA.item != 0))
    assert levels.level[0] == pytest.approx(levels.predicted[0])
    assert levels.spread[0] == pytest.approx(SPREAD)
    assert levels.recent_likes[0] == 0
    assert not levels.by_item[:, 0].any()


def test_without_any_ratings_all_levels_are_the_mean():
    levels = fitted(DATA, np.array([], int))
    for name in ("predicted", "level", "recent_likes", "by_genre", "by_item"):
        assert not getattr(levels, name).any(), name
    assert np.allclose(levels.spread, SPREAD)


def test_texts_predict_what_they_have_in_common():
    """Comedies are loved, dramas are not; one of each has no ratings."""
    comedy = np.array(["Comedy" in genres for genres in DATA.genres])
    rating = np.where(comedy[DATA.item], 5, 1).astype(np.float32)
    funny, sad = np.flatnonzero(comedy)[0], np.flatnonzero(~comedy)[0]
    rows = np.flatnonzero(~np.isin(DATA.item, [funny, sad]))
    levels = fitted(replace(DATA, rating=rating), rows)
    assert levels.level[funny] > 0.5 > -0.5 > levels.level[sad]


def test_late_likes_count_more_than_early_ones_and_dislikes_nothing():
    rating = np.ones_like(DATA.rating)
    early, late = 0, len(rating) - 1
    assert DATA.item[early] != DATA.item[late]
    rating[[early, late]] = 5
    levels = fitted(replace(DATA, rating=rating), np.arange(len(rating)))
    recent = levels.recent_likes
    assert recent[DATA.item[late]] == pytest.approx(np.log(2))
    assert 0 < recent[DATA.item[early]] < 0.1
    assert (recent > 0).sum() == 2


def test_what_a_kind_of_person_likes_is_told_by_genre_and_by_item():
    women = np.array([gender == "F" for gender in PEOPLE.genders])
    rating = np.where(women[PEOPLE.user] == (PEOPLE.item == 0), 5, 1).astype(np.float32)
    levels = fitted(replace(PEOPLE, rating=rating), np.arange(len(rating)))
    kinds = Kinds(PEOPLE)
    (woman,), (man,) = kinds.columns("F"), kinds.columns("M")
    assert levels.by_item[woman, 0] > 0 > levels.by_item[man, 0]
    assert (levels.by_genre[man] > 0).all() and (levels.by_genre[woman] < 0).all()
    assert levels.by_item.shape == (kinds.size, PEOPLE.n_items)
    # far fewer ratings than are added for a kind and an item
    counts = Rows.of(PEOPLE, np.arange(len(rating))).counts()
    assert np.abs(levels.by_item).max() < 2 * counts.max() / (counts.max() + 20)


# Kinds of people

parts = st.one_of(
    st.text(max_size=8),
    st.integers(-5, 200).map(str),
    st.sampled_from(["F", "M", "writer", "other", "²", "٣٣", "9" * 5000, "+7", ""]),
)


@given(st.one_of(st.text(), st.lists(parts, max_size=5).map(", ".join)))
def test_any_line_names_kinds_that_there_are_each_once(line):
    kinds = Kinds(PEOPLE)
    columns = kinds.columns(line)
    assert len(set(columns)) == len(columns)
    assert all(0 <= column < kinds.size for column in columns)


@pytest.mark.parametrize(
    ("line", "number"),
    [("24, M, writer", 3), ("M, writer", 2), ("24", 1), ("", 0), ("astronaut", 0), ("M, M", 1)],
)
def test_a_line_names_the_kinds_that_it_holds(line, number):
    assert len(Kinds(PEOPLE).columns(line)) == number


def test_ages_fall_into_groups():
    kinds = Kinds(PEOPLE)
    groups = [kinds.columns(str(age))[0] for age in (1, *AGES, 120)]
    assert groups == [0, 1, 2, 3, 4, 5, 5]


def test_users_are_of_the_kinds_that_their_profile_names():
    kinds = Kinds(PEOPLE)
    table = kinds.of_users(PEOPLE)
    assert table.shape == (PEOPLE.n_users, kinds.size)
    for user, row in enumerate(table):
        assert sorted(kinds.columns(PEOPLE.profile(user))) == np.flatnonzero(row).tolist()


def test_a_gender_may_have_the_name_of_an_occupation():
    both = replace(PEOPLE, genders=["other", "F"] * (PEOPLE.n_users // 2))
    kinds = Kinds(both)
    assert kinds.of_users(both).shape == (both.n_users, kinds.size)
    assert len(kinds.columns("30, other, other")) == 2
