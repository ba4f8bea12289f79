"""Two-dimensional views of the recommender's embedding spaces, and nearest neighbours in them.

The collaborative and the text space are laid out by UMAP, once per content: a layout is kept in the
user's cache under a hash of the vectors. The language model's token space differs from person to
person, since each has a bridge of their own; it is projected by a PCA that was fitted on the
average person's tokens, so that a film's movement between two people is the bridge's doing alone.
"""

import hashlib
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ckf_demo.paths import cache_dir, replacing

# Part of every cache key: raise it when a layout changes for the same vectors.
VERSION = 1
NEIGHBOURS = 15
SEED = 13
FIXED_SPACES = ("collaborative", "text")
TOKEN_SPACE = "llm"


@dataclass(frozen=True)
class View:
    """A space as one person sees it.

    ``points`` (I, 2) float32 in catalogue order; ``person`` (2,) or None; ``moved`` the median
    distance of the films from their places for the average person, relative to the median distance
    of those places from their centre (None for spaces that are the same for everybody).
    """

    points: NDArray[np.float32]
    person: NDArray[np.float32] | None = None
    moved: float | None = None


def content_key(vectors: NDArray[np.float32], kind: str) -> str:
    """A hash of the vectors, the kind of projection, and this module's version."""
    digest = hashlib.sha256(f"{kind}:{VERSION}:{vectors.shape}".encode())
    digest.update(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
    return digest.hexdigest()[:24]


def umap_layout(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay ``vectors`` (I, D) out in the plane (I, 2) by cosine distance.

    Fewer films than twice the neighbourhood have no neighbourhoods to keep: they get the first two
    principal components.
    """
    if len(vectors) < 2 * NEIGHBOURS + 20:
        mean, axes = principal_axes(vectors)
        return (vectors - mean) @ axes.T
    import umap  # compiles for seconds on import: only when a layout is not cached yet

    # A film without any rating has a zero vector, which has no direction.
    noise = np.random.default_rng(SEED).normal(scale=1e-6, size=vectors.shape)
    reducer = umap.UMAP(
        n_neighbors=NEIGHBOURS, min_dist=0.15, metric="cosine", random_state=SEED, n_jobs=1
    )
    return reducer.fit_transform(vectors + noise).astype(np.float32)


def principal_axes(
    vectors: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean (D,) and the first two principal axes (2, D) of ``vectors`` (I, D)."""
    from sklearn.decomposition import PCA

    fitted = PCA(n_components=2, svd_solver="full").fit(vectors)
    return fitted.mean_.astype(np.float32), fitted.components_.astype(np.float32)


class Spaces:
    """Projections of one recommender's spaces; safe to use from several threads."""

    def __init__(self, recommender, folder: Path | None = None) -> None:
        self.recommender = recommender
        # A checkpoint without collaborative tokens has no token space to show.
        with_tokens = "no-tokens" in recommender.methods
        self.names = ("collaborative", TOKEN_SPACE, "text") if with_tokens else FIXED_SPACES
        self.folder = folder or cache_dir() / "spaces"
        self._lock = threading.Lock()
        self._layouts: dict[str, NDArray[np.float32]] = {}
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._axes: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def prepare(self) -> None:
        """Fit or load every projection, so that no visitor waits for it."""
        for space in FIXED_SPACES:
            self._layout(space)
        if TOKEN_SPACE in self.names:
            self._token_axes()

    def view(self, space: str, person: dict | None = None) -> View:
        """A space in two dimensions; ``person`` holds the recommender's person arguments."""
        if space in FIXED_SPACES:
            return View(self._layout(space))
        mean, axes = self._token_axes()
        home = (self._average_tokens() - mean) @ axes.T
        points = (self.vectors(space, person) - mean) @ axes.T
        spread = float(np.median(np.linalg.norm(home - home.mean(axis=0), axis=1)))
        moved = float(np.median(np.linalg.norm(points - home, axis=1))) / max(spread, 1e-9)
        token = self.recommender.person_vector(space, **(person or {}))
        return View(points, None if token is None else (token - mean) @ axes.T, moved)

    def vectors(self, space: str, person: dict | None = None) -> NDArray[np.float32]:
        """The vectors (I, D) behind a view."""
        if space not in FIXED_SPACES:
            return self.recommender.item_vectors(space, **(person or {}))
        if space not in self._vectors:
            self._vectors[space] = self.recommender.item_vectors(space)
        return self._vectors[space]

    def neighbours(
        self, space: str, item: str, person: dict | None = None, limit: int = 8
    ) -> list[tuple[str, float]]:
        """The films nearest to ``item`` by cosine similarity, nearest first: (item, similarity)."""
        order = self.recommender.item_order
        vectors = self.vectors(space, person)
        norms = np.linalg.norm(vectors, axis=1)
        place = order.index(str(item))
        similarity = vectors @ vectors[place] / np.maximum(norms * norms[place], 1e-12)
        similarity[place] = -np.inf
        best = np.argsort(-similarity, kind="stable")[: min(limit, len(order) - 1)]
        return [(order[i], float(similarity[i])) for i in best]

    def _average_tokens(self) -> NDArray[np.float32]:
        if TOKEN_SPACE not in self._vectors:
            self._vectors[TOKEN_SPACE] = self.recommender.item_vectors(TOKEN_SPACE)
        return self._vectors[TOKEN_SPACE]

    def _layout(self, space: str) -> NDArray[np.float32]:
        with self._lock:
            if space not in self._layouts:
                vectors = self.vectors(space)
                cached = self._cached(
                    content_key(vectors, "umap"), lambda: {"points": umap_layout(vectors)}
                )
                self._layouts[space] = cached["points"]
            return self._layouts[space]

    def _token_axes(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with self._lock:
            if self._axes is None:
                vectors = self._average_tokens()

                def fit() -> dict:
                    return dict(zip(("mean", "axes"), principal_axes(vectors), strict=True))

                cached = self._cached(content_key(vectors, "pca"), fit)
                self._axes = cached["mean"], cached["axes"]
            return self._axes

    def _cached(self, key: str, compute) -> dict[str, NDArray[np.float32]]:
        path = self.folder / f"{key}.npz"
        if zipfile.is_zipfile(path):
            with np.load(path, allow_pickle=False) as stored:
                return dict(stored)
        arrays = compute()
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
        return arrays
