"""Views of the recommender's embedding spaces in two or three dimensions, nearest neighbours in
them, and how far a view can be trusted.

Everything compares directions: vectors are scaled to unit length first, so that principal
components, UMAP, neighbours and trustworthiness all rest on the cosine.

Layouts that are the same for everybody are kept in the user's cache under a hash of the vectors.
The language model's token spaces differ from person to person, since each person has a bridge.
They are drawn in the average person's picture: on its principal axes, or between the points of it
that are nearest. So an item moves between two people because of their bridges alone.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from ckf_demo.model.manifest import unsealed
from ckf_demo.runtime.caches import remembered
from ckf_demo.runtime.paths import cache_dir

T = TypeVar("T")
Vectors = NDArray[np.float32]

# Part of every cache key: raise it when a layout changes for the same vectors.
VERSION = 2
NEIGHBOURS = 15
SEED = 13
TOKENS, UNTRAINED = "llm", "untrained"
PERSONAL = (TOKENS, UNTRAINED)
"""Spaces in which the items lie differently for each person."""

FILMS, PEOPLE = "films", "people"
PCA, UMAP = "pca", "umap"
NEAREST = 10
"""Number of neighbours for trustworthiness and agreement."""

SAMPLE = 1000
"""Maximal number of points for trustworthiness, whose cost is quadratic."""

PERSONAL_CLOUDS, PERSONAL_RESULTS = 8, 256
"""Sizes of the caches for personal data; a cloud of tokens takes a few megabytes."""


@dataclass(frozen=True)
class Projection:
    """How a space is drawn: ``method`` is "pca" or "umap", ``dimensions`` 2 or 3."""

    method: str = PCA
    dimensions: int = 2

    @property
    def name(self) -> str:
        """``pca-2``, as file names in the cache have it."""
        return f"{self.method}-{self.dimensions}"


@dataclass(frozen=True)
class Measured:
    """A share with its 95 % interval where there is one, and the number of points behind it."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class View:
    """A space as one person sees it.

    ``points`` (n, 2 or 3) float32, films in catalogue order or users in the data's; ``person``
    (2 or 3,) or None where a space holds no people; ``closest`` the cosine between the person and
    the point nearest to them in the whole space, None without one; ``variance`` the share of the
    variance that principal components keep, None for UMAP; ``trust`` the points' trustworthiness.
    """

    points: Vectors
    person: Vectors | None
    closest: float | None
    variance: float | None
    trust: Measured


def content_key(vectors: Vectors, kind: str) -> str:
    """A hash of the vectors, the kind of projection, and this module's version."""
    digest = hashlib.sha256(f"{kind}:{VERSION}:{vectors.shape}".encode())
    digest.update(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
    return digest.hexdigest()[:24]


def directions(vectors: Vectors) -> Vectors:
    """``vectors`` (n, D) at unit length; those without a length stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)


def principal_axes(vectors: Vectors, dimensions: int = 2) -> tuple[Vectors, Vectors]:
    """Mean (D,) and the first principal axes (dimensions, D) of ``vectors`` (n, D)."""
    from sklearn.decomposition import PCA

    fitted = PCA(n_components=dimensions, svd_solver="full").fit(vectors)
    return fitted.mean_.astype(np.float32), fitted.components_.astype(np.float32)


def umap_layout(vectors: Vectors, dimensions: int = 2) -> Vectors:
    """Lay unit ``vectors`` (n, D) out by cosine distance: (n, dimensions).

    Fewer points than twice the neighbourhood have no neighbourhoods to keep: they get their
    principal components.
    """
    if len(vectors) < 2 * NEIGHBOURS + 20:
        mean, axes = principal_axes(vectors, dimensions)
        return ((vectors - mean) @ axes.T).astype(np.float32, copy=False)
    import umap  # compiles for seconds on import: only when a layout is not cached yet

    # Between unit vectors the Euclidean distance grows with that of the cosine, and it has a value
    # for a film without a direction too.
    reducer = umap.UMAP(
        n_components=dimensions,
        n_neighbors=NEIGHBOURS,
        min_dist=0.15,
        metric="euclidean",
        random_state=SEED,
        n_jobs=1,
    )
    return reducer.fit_transform(vectors).astype(np.float32)


def nearest(vectors: Vectors, k: int = NEAREST) -> NDArray[np.int64]:
    """The ``k`` nearest others of each of ``vectors`` (n, D) by cosine, nearest first: (n, k)."""
    from sklearn.neighbors import NearestNeighbors

    fitted = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(vectors)
    return np.asarray(fitted.kneighbors(return_distance=False))


def trustworthiness(vectors: Vectors, points: Vectors) -> Measured:
    """How far neighbours in a view ``points`` (n, d) are neighbours among ``vectors`` (n, D) too.

    scikit-learn's figure, 1 at best, for `NEAREST` neighbours by cosine on at most `SAMPLE` points,
    drawn once:

        T(k) = 1 − 2 / (n k (2n − 3k − 1)) Σ_i Σ_{j ∈ N_i^k} max(0, r(i, j) − k)
    """
    from sklearn.manifold import trustworthiness as measure

    n = min(SAMPLE, len(vectors))
    drawn = np.sort(np.random.default_rng(SEED).choice(len(vectors), n, replace=False))
    k = max(1, min(NEAREST, (n - 1) // 2))
    value = measure(vectors[drawn], points[drawn], n_neighbors=k, metric="cosine")
    return Measured(float(value), n)


def overlap(first: NDArray[np.int64], second: NDArray[np.int64]) -> Measured:
    """The mean share of common neighbours in two tables (n, k) of the same points' neighbours."""
    pairs = zip(first, second, strict=True)
    shares = np.array([len(np.intersect1d(a, b)) for a, b in pairs]) / first.shape[1]
    mean, n = float(shares.mean()), len(shares)
    half = 1.96 * float(shares.std(ddof=1)) / n**0.5
    return Measured(mean, n, max(mean - half, 0.0), min(mean + half, 1.0))


def between(others: Vectors, vectors: Vectors, points: Vectors) -> Vectors:
    """Where other unit vectors (m, D) belong in a layout (n, d) of unit vectors (n, D): (m, d).

    Each lies at the mean of its `NEIGHBOURS` nearest ones' points, weighted by how near these are;
    so do new points in UMAP, before it moves them further. A vector of the layout keeps its point.
    """
    distances = np.maximum(1 - others @ vectors.T, 1e-6)
    closest = np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS]
    weights = 1 / np.take_along_axis(distances, closest, axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("mk,mkd->md", weights, points[closest]).astype(np.float32)


class Spaces:
    """Projections of one recommender's spaces; safe to use from several threads.

    A ``person`` holds the recommender's person arguments; None is the average person. ``kind`` says
    what the points are, "films" or "people" (the data's users at their default moments).
    """

    def __init__(self, recommender, folder: Path | None = None) -> None:
        self.recommender = recommender
        # items without a title have no text of their own to be near one another by
        self.names: tuple[str, ...] = tuple(
            name for name in recommender.spaces if name != "text" or recommender.prepared.has_titles
        )
        self.users = [str(user) for user in recommender.store.users()["user"]]
        self.folder = folder or cache_dir() / "spaces"
        self._lock = threading.RLock()
        self._common: dict[tuple, Any] = {}
        self._clouds: LRUCache[tuple, Any] = LRUCache(PERSONAL_CLOUDS)
        self._results: LRUCache[tuple, Any] = LRUCache(PERSONAL_RESULTS)

    def names_of(self, kind: str) -> tuple[str, ...]:
        """The spaces that hold such points: the space of the items' texts holds no people."""
        return tuple(name for name in self.names if kind == FILMS or name != "text")

    def prepare(self) -> None:
        """Fit or load what the first map shows, so that no visitor waits for it."""
        for space in self.names:
            if space != UNTRAINED:
                self._axes(space, FILMS, 2)

    def at_hand(self, space: str, kind: str, projection: Projection) -> bool:
        """Whether a view needs no computation that takes seconds: the common UMAP layout, or the
        vectors of all people."""
        if kind == PEOPLE and not self._people_file(space).exists():
            return False
        if projection.method == PCA or ("layout", space, kind, "", projection) in self._common:
            return True
        return self._file(content_key(self.vectors(space, None, kind), projection.name)).exists()

    def view(
        self,
        space: str,
        person: dict | None = None,
        kind: str = FILMS,
        projection: Projection = Projection(),
        progress: Callable[[int], None] | None = None,
    ) -> View:
        """A space in two or three dimensions; ``progress`` is as for `vectors`."""
        with self._lock:
            vectors = self.vectors(space, person, kind, progress)
            points = self._layout(space, kind, projection, person)

            def measure() -> tuple[Measured, float | None]:
                trust, kept = trustworthiness(vectors, points), None
                if projection.method == PCA:
                    kept = float(points.var(axis=0).sum() / max(vectors.var(axis=0).sum(), 1e-12))
                return trust, kept

            trust, variance = self._kept("trust", space, kind, person, measure, projection)
            place = closest = None
            vector = self._person_vector(space, person)
            if vector is not None:
                closest = float((vectors @ vector).max())
                if projection.method == PCA:
                    mean, axes = self._axes(space, kind, projection.dimensions)
                    place = (axes @ (vector - mean)).astype(np.float32, copy=False)
                else:
                    place = between(vector[None], vectors, points)[0]
            return View(points, place, closest, variance, trust)

    def moved(self, space: str, person: dict) -> float:
        """How far a person's bridge moves the films of a token space.

        The median distance from their places for the average person, relative to these places'
        median distance from their centre.
        """

        def measure() -> float:
            home, theirs = self.vectors(space), self.vectors(space, person)
            spread = float(np.median(np.linalg.norm(home - home.mean(axis=0), axis=1)))
            return float(np.median(np.linalg.norm(theirs - home, axis=1))) / max(spread, 1e-9)

        with self._lock:
            return self._kept("moved", space, FILMS, person, measure)

    def agreement(
        self, first: str, second: str, person: dict | None = None, kind: str = FILMS
    ) -> Measured:
        """The share of a point's `NEAREST` neighbours in one space that are so in another too,
        with a 95 % interval over the points."""

        def neighbours(space: str) -> NDArray[np.int64]:
            vectors = self.vectors(space, person, kind)
            k = min(NEAREST, len(vectors) - 1)
            return self._kept("nearest", space, kind, person, lambda: nearest(vectors, k))

        with self._lock:
            return overlap(neighbours(first), neighbours(second))

    def chance(self, kind: str = FILMS) -> float:
        """The expected agreement of two unrelated spaces."""
        n = len(self.recommender.item_order if kind == FILMS else self.users)
        return min(1.0, NEAREST / (n - 1))

    def vectors(
        self,
        space: str,
        person: dict | None = None,
        kind: str = FILMS,
        progress: Callable[[int], None] | None = None,
    ) -> Vectors:
        """The unit vectors (n, D) behind a view.

        ``progress`` is called with the number of people whose vectors are made, where they are not
        in the cache.
        """
        recommender = self.recommender

        def make() -> Vectors:
            if kind == PEOPLE:
                file = self._people_file(space)
                stored = remembered(
                    file, lambda: {"vectors": recommender.user_vectors(space, progress)}
                )
                return directions(stored["vectors"])
            described = person if self._who(space, kind, person) else None
            return directions(recommender.item_vectors(space, **(described or {})))

        with self._lock:
            return self._kept("vectors", space, kind, person, make)

    def neighbours(
        self, space: str, item: str, person: dict | None = None, limit: int = 8
    ) -> list[tuple[str, float]]:
        """The films nearest to ``item`` by cosine similarity, nearest first: (item, similarity)."""
        vectors = self.vectors(space, person)
        index = self.recommender.item_order.index(str(item))
        return _nearest_first(self.recommender.item_order, vectors @ vectors[index], index, limit)

    def people_like(self, space: str, person: dict, limit: int = 8) -> list[tuple[str, float]]:
        """The users nearest to a person by cosine similarity, without themselves, nearest first:
        (user, similarity)."""
        vector = self._person_vector(space, person)
        assert vector is not None  # a space of people has a vector for every person
        similarity = self.vectors(space, kind=PEOPLE) @ vector
        user = person.get("user")
        index = self.users.index(str(user)) if user else None
        return _nearest_first(self.users, similarity, index, limit)

    # What is computed once

    def _who(self, space: str, kind: str, person: dict | None) -> str:
        """The person as text where a cloud of points is theirs; empty where it is everybody's."""
        personal = kind == FILMS and space in PERSONAL and bool(person)
        return json.dumps(person, sort_keys=True) if personal else ""

    def _kept(
        self,
        what: str,
        space: str,
        kind: str,
        person: dict | None,
        compute: Callable[[], T],
        *details: object,
    ) -> T:
        who = self._who(space, kind, person)
        personal = self._clouds if what == "vectors" else self._results
        store, key = personal if who else self._common, (what, space, kind, who, *details)
        if key not in store:
            store[key] = compute()
        return store[key]

    def _axes(self, space: str, kind: str, dimensions: int) -> tuple[Vectors, Vectors]:
        """Mean and principal axes of what is the same for everybody."""

        def load() -> tuple[Vectors, Vectors]:
            vectors = self.vectors(space, None, kind)

            def fit() -> dict[str, Vectors]:
                mean, axes = principal_axes(vectors, dimensions)
                return {"mean": mean, "axes": axes}

            name = Projection(PCA, dimensions).name
            stored = remembered(self._file(content_key(vectors, name)), fit)
            return stored["mean"], stored["axes"]

        return self._kept("axes", space, kind, None, load, dimensions)

    def _layout(
        self, space: str, kind: str, projection: Projection, person: dict | None
    ) -> Vectors:
        vectors = self.vectors(space, person, kind)
        if projection.method == PCA:
            mean, axes = self._axes(space, kind, projection.dimensions)
            return ((vectors - mean) @ axes.T).astype(np.float32, copy=False)

        def compute() -> Vectors:
            if self._who(space, kind, person):
                home = self._layout(space, kind, projection, None)
                return between(vectors, self.vectors(space), home)
            file = self._file(content_key(vectors, projection.name))
            points = remembered(
                file, lambda: {"points": umap_layout(vectors, projection.dimensions)}
            )
            return points["points"]

        return self._kept("layout", space, kind, person, compute, projection)

    def _person_vector(self, space: str, person: dict | None) -> Vectors | None:
        key = ("person", space, json.dumps(person, sort_keys=True))
        with self._lock:
            if key not in self._results:
                vector = self.recommender.person_vector(space, **(person or {}))
                self._results[key] = None if vector is None else directions(vector[None])[0]
            return self._results[key]

    def _people_file(self, space: str) -> Path:
        # The manifest holds the hashes of the weights and of the data.
        manifest = json.dumps(unsealed(self.recommender.manifest), sort_keys=True)
        digest = hashlib.sha256(f"people:{space}:{VERSION}:{manifest}".encode())
        return self._file(digest.hexdigest()[:24])

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.npz"


def _nearest_first(
    names: list[str], similarity: Vectors, itself: int | None, limit: int
) -> list[tuple[str, float]]:
    if itself is not None:
        similarity[itself] = -np.inf
    best = np.argsort(-similarity, kind="stable")[: min(limit, len(names) - 1)]
    return [(names[i], float(similarity[i])) for i in best]
