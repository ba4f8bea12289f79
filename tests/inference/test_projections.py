"""Views of embedding spaces: what is kept, what moves with the person, and the figures on trust."""

from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ckf_demo.inference import projections as spaces_module
from ckf_demo.inference.projections import (
    NEAREST,
    PEOPLE,
    Projection,
    Spaces,
    between,
    directions,
    nearest,
    overlap,
    principal_axes,
    trustworthiness,
    umap_layout,
)
from support.fakes import FakeRecommender, FakeTextRecommender

FLAT = Projection("umap", 2)
SOLID = Projection("umap", 3)
PERSON = {"user": "16", "at": 890_000_000}
EVERY = [Projection(method, d) for method in ("pca", "umap") for d in (2, 3)]


@pytest.fixture(scope="module")
def fake() -> FakeRecommender:
    return FakeRecommender()


@pytest.fixture
def spaces(fake, tmp_path) -> Spaces:
    return Spaces(fake, tmp_path)


def clusters(n: int = 90, size: int = 12) -> np.ndarray:
    """Unit vectors about three directions that are far from one another."""
    rng = np.random.default_rng(5)
    centres = np.repeat(np.eye(3, size, dtype=np.float32), n // 3, axis=0)
    return directions(centres + rng.normal(scale=0.1, size=(n, size)))


def test_layouts_are_kept_by_content(fake, tmp_path, monkeypatch):
    first = Spaces(fake, tmp_path).view("text", projection=FLAT).points

    fail = Mock(side_effect=AssertionError("the cached layout was not used"))
    monkeypatch.setattr(spaces_module, "umap_layout", fail)
    assert np.array_equal(Spaces(fake, tmp_path).view("text", projection=FLAT).points, first)
    with pytest.raises(AssertionError):
        Spaces(fake, tmp_path).view("text", projection=SOLID)
    monkeypatch.setattr(spaces_module, "VERSION", spaces_module.VERSION + 1)
    with pytest.raises(AssertionError):
        Spaces(fake, tmp_path).view("text", projection=FLAT)


def test_a_half_written_layout_is_made_anew(fake, tmp_path):
    points = Spaces(fake, tmp_path).view("text", projection=FLAT).points
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    assert np.allclose(Spaces(fake, tmp_path).view("text", projection=FLAT).points, points)


@pytest.mark.parametrize("projection", EVERY, ids=str)
@pytest.mark.parametrize("kind", ["films", "people"])
def test_every_view_has_a_place_for_every_point(spaces, kind, projection):
    for space in spaces.names_of(kind):
        view = spaces.view(space, PERSON, kind, projection)
        n = 40 if kind == "films" else 16
        assert view.points.shape == (n, projection.dimensions)
        assert view.points.dtype == np.float32 and np.isfinite(view.points).all()
        assert (view.person is None) == (space == "text")
        if view.person is not None:
            assert view.person.shape == (projection.dimensions,)
            assert -1 <= view.closest <= 1 + 1e-6
        assert (view.variance is None) == (projection.method == "umap")
        assert view.trust.n == n and 0 <= view.trust.value <= 1


def test_a_view_that_was_shown_is_at_hand_and_asks_no_model(spaces):
    for projection in (FLAT, SOLID):
        for space in spaces.names:
            assert not spaces.at_hand(space, "films", projection)
            first = spaces.view(space, PERSON, projection=projection)
            spaces.recommender.calls.clear()
            assert spaces.at_hand(space, "films", projection)
            again = spaces.view(space, PERSON, projection=projection)
            assert np.array_equal(again.points, first.points)
            assert spaces.recommender.calls == []


def test_people_are_computed_once_for_a_checkpoint(fake, tmp_path):
    first = Spaces(fake, tmp_path)
    assert not first.at_hand("llm", PEOPLE, Projection())
    points = first.view("llm", PERSON, PEOPLE).points
    fake.calls.clear()
    again = Spaces(fake, tmp_path)
    assert again.at_hand("llm", PEOPLE, Projection())
    assert np.array_equal(again.view("llm", PERSON, PEOPLE).points, points)
    assert "user_vectors llm" not in fake.calls
    other = FakeRecommender()
    other.manifest["seed"] = 2
    assert not Spaces(other, tmp_path).at_hand("llm", PEOPLE, Projection())


def test_what_is_remembered_of_people_is_bounded(spaces):
    for user in range(1, 17):
        spaces.view("llm", {"user": str(user)}, projection=FLAT)
    assert len(spaces._clouds) <= spaces_module.PERSONAL_CLOUDS
    assert len(spaces._results) <= spaces_module.PERSONAL_RESULTS


def test_threads_get_the_same_view(fake, tmp_path):
    spaces = Spaces(fake, tmp_path)
    with ThreadPoolExecutor(4) as pool:
        seen = [pool.submit(spaces.view, "llm", PERSON, projection=FLAT) for _ in range(4)]
    points = [view.result().points for view in seen]
    assert all(np.array_equal(each, points[0]) for each in points)


def test_token_spaces_move_with_the_person_alone(spaces):
    for space in ("llm", "untrained"):
        assert spaces.moved(space, {}) == 0
        assert spaces.moved(space, PERSON) > 0
        home, theirs = spaces.view(space).points, spaces.view(space, PERSON).points
        assert not np.allclose(home, theirs)
    for space in ("collaborative", "text"):
        assert np.array_equal(spaces.view(space).points, spaces.view(space, PERSON).points)


def test_a_checkpoint_without_tokens_has_no_token_space(tmp_path):
    spaces = Spaces(FakeTextRecommender(), tmp_path)
    assert spaces.names == ("collaborative", "text")
    spaces.prepare()
    assert spaces.names_of(PEOPLE) == ("collaborative",)


def test_a_user_lies_on_their_own_point(spaces):
    user = {"user": "5"}
    for projection in EVERY:
        view = spaces.view("collaborative", user, PEOPLE, projection)
        assert np.allclose(view.person, view.points[4], atol=1e-3)
        assert view.closest == pytest.approx(1)


def test_people_alike_exclude_the_person_and_come_nearest_first(spaces):
    found = spaces.people_like("llm", {"user": "5"}, limit=6)
    assert len(found) == 6 and "5" not in dict(found)
    similarities = [similarity for _, similarity in found]
    assert similarities == sorted(similarities, reverse=True)
    assert len(spaces.people_like("llm", {"user": None, "taste": "westerns"}, limit=99)) == 15


def test_neighbours_exclude_the_film_and_come_nearest_first(spaces):
    found = spaces.neighbours("collaborative", "7", limit=5)
    assert len(found) == 5
    assert "7" not in dict(found)
    vectors = directions(spaces.recommender.item_vectors("collaborative"))
    cosines = vectors @ vectors[6]
    assert [near for _, near in found] == pytest.approx(sorted(cosines, reverse=True)[1:6])


def test_spaces_agree_with_themselves_and_the_table_says_how_far_with_others(spaces):
    own = spaces.agreement("text", "text")
    assert (own.value, own.low, own.high, own.n) == (1, 1, 1, 40)
    other = spaces.agreement("text", "collaborative")
    assert other == spaces.agreement("collaborative", "text")
    assert 0 <= other.low <= other.value <= other.high <= 1
    assert other.value < 0.6
    assert spaces.chance() == pytest.approx(10 / 39)
    assert spaces.agreement("llm", "untrained", PERSON, PEOPLE).n == 16


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(2, 30), st.integers(1, 6)),
        elements=st.floats(-100, 100, width=32),
    )
)
def test_directions_have_unit_length_or_none(vectors):
    lengths = np.linalg.norm(directions(vectors), axis=1)
    whole = np.linalg.norm(vectors, axis=1) > 1e-6
    assert np.allclose(lengths[whole], 1, atol=1e-4)
    assert (lengths <= 1 + 1e-4).all()


def test_nearest_are_those_of_the_largest_cosine():
    vectors = clusters()
    cosines = vectors @ vectors.T - 2 * np.eye(len(vectors))
    expected = np.sort(np.argsort(-cosines, axis=1)[:, :NEAREST], axis=1)
    assert np.array_equal(np.sort(nearest(vectors), axis=1), expected)


def test_overlap_counts_common_neighbours_in_any_order():
    first, second = np.array([[1, 2], [0, 2], [0, 1]]), np.array([[2, 1], [2, 3], [4, 5]])
    found = overlap(first, second)
    assert found.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.n == 3 and found.low <= found.value <= found.high


def test_trustworthiness_tells_a_true_picture_from_a_shuffled_one(monkeypatch):
    vectors = clusters()
    mean, axes = principal_axes(vectors, 3)
    points = (vectors - mean) @ axes.T
    shuffled = np.random.default_rng(1).permutation(points)
    true, false = trustworthiness(vectors, points), trustworthiness(vectors, shuffled)
    assert trustworthiness(vectors, vectors).value == pytest.approx(1)
    assert true.value > 0.8 > 0.65 > false.value
    assert true.n == 90
    monkeypatch.setattr(spaces_module, "SAMPLE", 50)
    assert trustworthiness(vectors, vectors[:, :2]).n == 50


@pytest.mark.parametrize("dimensions", [2, 3])
# the compiler of umap-learn takes most of a minute
@pytest.mark.long
@pytest.mark.no_cover
def test_umap_keeps_groups_together_and_is_the_same_again(dimensions):
    vectors = clusters()
    points = umap_layout(vectors, dimensions)
    assert points.shape == (90, dimensions)
    assert np.array_equal(points, umap_layout(vectors, dimensions))
    group = np.repeat([0, 1, 2], 30)
    assert (group[nearest_points(points)] == group[:, None]).mean() > 0.95


def nearest_points(points: np.ndarray) -> np.ndarray:
    """The five nearest others of each of ``points`` (n, d) by Euclidean distance: (n, 5)."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    return np.argsort(distances + 1e9 * np.eye(len(points)), axis=1)[:, :5]


def test_others_lie_between_their_nearest_points_and_the_same_on_their_own():
    vectors = clusters()
    mean, axes = principal_axes(vectors)
    points = (vectors - mean) @ axes.T
    assert np.allclose(between(vectors, vectors, points), points, atol=1e-3)
    middle = directions(vectors[:30].mean(0, keepdims=True))
    inside = between(middle, vectors, points)[0]
    low, high = points[:30].min(0), points[:30].max(0)
    assert ((low <= inside) & (inside <= high)).all()
