"""A taste that names a film counts like a rating of it, as much as the person wants."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from ckf_demo.inference.explaining import predicted_stars
from ckf_demo.inference.people import LEARNT, STRENGTH, People
from ckf_demo.inference.predictor import Predictor
from ckf_demo.recommender import Recommender
from ckf_demo.retrieval.wishes import NAMED_LIKED
from support.films import films
from support.tiny import tiny_recommender

DATA = films()
ID = dict(zip(DATA.titles, DATA.item_ids, strict=True))
JAWS, ASKED = ID["Jaws"], [ID["Jurassic Park"], ID["High Noon"]]
GIVEN = [{"item": ID["Annie Hall"], "rating": 2}, {"item": ID["Silence"], "rating": 4}]


@pytest.fixture(scope="module")
def recommender(tmp_path_factory) -> Iterator[Recommender]:
    with tiny_recommender(tmp_path_factory.mktemp("films"), DATA) as made:
        yield made


@pytest.fixture
def predictor(recommender) -> Predictor:
    return recommender.predictor


def history(*rated: tuple[str, float]) -> list[dict]:
    return [{"item": ID[title], "rating": stars} for title, stars in rated]


def answers(recommender: Recommender, **person) -> list[tuple]:
    """Rating and probability of two films by every method, and a ranking."""
    rows = recommender.predict(ASKED, **person)
    ranked = recommender.rank(**person, k=6, candidates=8)
    return [(row["rating"], row["probability"]) for row in rows] + [
        (row["item"], row["score"]) for row in ranked
    ]


def assert_same(one: list[tuple], other: list[tuple]) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert mine == tuple(
            x if isinstance(x, str) else pytest.approx(x, abs=1e-4) for x in theirs
        )


@pytest.mark.parametrize(
    ("taste", "rated"),
    [
        ("films like Jaws", [("Jaws", NAMED_LIKED)]),
        ("nothing like Jaws", [("Jaws", 2)]),
        ("like Jaws and like Unforgiven", [("Jaws", NAMED_LIKED), ("Unforgiven", NAMED_LIKED)]),
        ("like Jaws but not like Unforgiven", [("Jaws", NAMED_LIKED), ("Unforgiven", 2)]),
    ],
)
@pytest.mark.parametrize("given", [[], GIVEN], ids=["alone", "with a history"])
def test_a_taste_that_names_a_film_counts_like_a_rating_of_it(recommender, taste, rated, given):
    said = answers(recommender, taste=taste, history=given)
    told = answers(recommender, taste=taste, history=[*history(*rated), *given])
    assert_same(said, told)
    without = answers(recommender, history=given) if given else answers(recommender, taste="blue")
    assert said[:2] != without[:2]


def test_a_rating_that_was_given_outweighs_what_the_taste_says(predictor):
    person = predictor.people.read_person(taste="like Jaws", history=history(("Jaws", 1)))
    assert person.items.tolist() == [DATA.item_index[JAWS]]
    assert person.ratings.tolist() == [1.0]
    assert person.named == 0


def test_a_film_that_is_named_twice_counts_once(predictor):
    person = predictor.people.read_person(taste="like Jaws, like Jaws, like Unforgiven")
    assert [DATA.titles[item] for item in person.items] == ["Jaws", "Unforgiven"]
    assert person.named == 2


def test_known_users_keep_their_own_ratings(recommender, predictor):
    user = DATA.user_ids[0]
    at = int(DATA.timestamp[DATA.history.rows_of(0)[6]])
    known = predictor.people.read_person(user=user, at=at)
    said = predictor.people.read_person(user=user, at=at, taste="like Jaws and like Annie Hall")
    own = [DATA.titles[item] for item in known.items]
    assert "Jaws" in own and "Annie Hall" not in own
    assert [DATA.titles[item] for item in said.items] == ["Annie Hall", *own]
    np.testing.assert_array_equal(said.ratings[1:], known.ratings)


def test_a_strength_of_zero_leaves_everything_as_without_the_taste(recommender):
    for taste in ("films like Jaws", "westerns, no romance"):
        without = answers(recommender, history=GIVEN)
        assert_same(answers(recommender, history=GIVEN, taste=taste, strength=0), without)
        assert answers(recommender, history=GIVEN, taste=taste) != without


def test_words_reach_the_model_as_strong_as_they_are_meant(predictor):
    def words(**more) -> np.ndarray | None:
        person = predictor.people.read_person(taste="westerns, no romance", **more)
        return predictor.context(person).words

    match = predictor.tastes.match("westerns, no romance")
    assert match is not None
    np.testing.assert_allclose(words(), match.features)
    np.testing.assert_allclose(words(strength=LEARNT / 2), match.features / 2)
    np.testing.assert_allclose(words(strength=STRENGTH), match.features)
    assert words(strength=0) is None
    nobody = predictor.people.read_person(history=GIVEN)
    assert predictor.context(nobody).words is None


@pytest.mark.parametrize("taste", ["films like Jaws", "nothing like Jaws", "horror like Jaws"])
def test_named_films_are_not_proposed(recommender, predictor, taste):
    person = predictor.people.read_person(taste=taste)
    everything = DATA.n_items
    proposed = predictor.candidates(person, everything)
    assert DATA.item_index[JAWS] not in proposed
    assert len(proposed) == everything - 1
    rows = recommender.rank(taste=taste, k=everything, candidates=everything)
    assert JAWS not in {row["item"] for row in rows}
    # it can still be asked about
    assert 1 < recommender.rate(taste=taste, item=JAWS)["rating"] < 5


def test_the_first_ratings_are_counted_without_what_the_taste_names(predictor):
    person = predictor.people.read_person(taste="films like Jaws", history=GIVEN)
    assert person.named == 1
    for n in range(4):
        first = person.first(n)
        assert first.items.tolist() == person.items[: 1 + n].tolist()
        assert first.ratings.tolist() == person.ratings[: 1 + n].tolist()
    # as if only so many had been given
    told = predictor.people.read_person(taste="films like Jaws", history=GIVEN[:1])
    assert person.first(1).items.tolist() == told.items.tolist()


def test_likes_hold_no_film_that_is_not_wanted(recommender):
    likes = replace(DATA, feedback="likes", rating=np.ones_like(DATA.rating))
    opinions = recommender.predictor.opinions
    people = People(likes, recommender.store, opinions)
    assert people.read_person(taste="nothing like Jaws").items.tolist() == []
    liked = people.read_person(taste="like Jaws but not like Annie Hall")
    assert [DATA.titles[item] for item in liked.items] == ["Jaws"]


def test_without_a_film_the_taste_stays(recommender):
    """The film that the taste names can be taken out like a rating."""
    *_, last = recommender.counterfactuals.leave_one_out(
        item=ASKED[0], taste="films like Jaws", history=GIVEN
    )
    assert {row["title"] for row in last["without"]} == {"Jaws", "Annie Hall", "Silence"}


def test_what_is_not_asked_for_is_not_praised(recommender):
    """The words of an explanation follow the wishes, where these are constraints."""
    data = recommender.prepared
    genre = next(genres[0] for genres in data.genres if genres)
    without = next(i for i, genres in enumerate(data.genres) if genre not in genres)
    person = recommender.person(taste=f"no {genre.lower()}")
    assert not recommender.predictor.is_unwanted(person, without)
    unwanted = next(i for i, genres in enumerate(data.genres) if genre in genres)
    assert recommender.predictor.is_unwanted(person, unwanted)
    assert not recommender.predictor.is_unwanted(replace(person, strength=0.1), unwanted)
    stars = predicted_stars(recommender.predictor, person, unwanted, recommender.methods[0])
    assert stars is not None and stars <= 3
