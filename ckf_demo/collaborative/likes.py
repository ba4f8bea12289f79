"""Collaborative knowledge of likes and dislikes: quality of items and taste of users.

Histories hold only likes. The score of an item v for a user u is

    score(u, v) = q_v + f_u(v) + c · EASE(history of u, v),   f_u(v) = w_u · φ_v

q_v is an item's level: its own mean, shrunk towards what its neighbourhood (a spectral embedding of
who saw what), year and popularity predict. f_u is a Gaussian process over φ, the same attributes,
given the labels of a user in the training part; without such labels f_u = 0. Liked items count as
neighbours (EASE) and by the mean of their embeddings. Quality and taste are one linear Gaussian
model of 0/1 labels, fitted by backfitting.

The features of a training row use labels of other users (six folds of users) and earlier labels of
the same user, never the label of the row itself.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import linalg
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import svds

from ckf_demo.collaborative.base import UNDESCRIBED, Description, Knowledge, Labelled
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN
from ckf_demo.runtime.section import Section

FEATURE_NAMES = (
    "score",
    "quality",
    "taste",
    "neighbours (EASE)",
    "log history length",
    "log item count",
    "log number of labels",
    "year",
    "distance in years",
)

FOLDS = 6
EMBEDDING = 40
BUMPS = np.arange(1930, 2001, 10)
BUMP_WIDTH = 8.0
ITEM_PRECISION, NEIGHBOUR_PRECISION, YEAR_PRECISION, POPULARITY_PRECISION = 8.0, 20.0, 20.0, 20.0
"""Precisions of an item's level and of its predictors, in units of one label's precision."""
LEVEL, NEIGHBOURS, YEARS, POPULARITY, QUALITY = 0.1, 0.05, 0.02, 0.01, 0.02
"""Prior variances of the parts of taste, in units of one label's variance."""
QUALITY_SCALE = 5.0
SWEEPS = 8
BIAS_DAMPING = 5.0
EASE_RIDGE = 500.0
EASE_WEIGHT = 0.9
TASTE_SCALE = 6.0
"""Brings the weights of the taste to about the scale of e_v."""


class LikesConfig(Section):
    """What `LikesKnowledge` takes from the ``[fusion]`` section."""

    out_of_fold: bool = True
    """Whether labels behind the features of training rows leave these rows out."""


@dataclass(frozen=True)
class Likes:
    """Training rows in time order.

    ``user``, ``item`` and ``timestamp`` are int64 (n,), ``label`` float64 (n,) 0 or 1.
    """

    user: np.ndarray
    item: np.ndarray
    label: np.ndarray
    timestamp: np.ndarray
    n_users: int
    n_items: int

    @classmethod
    def of(cls, prepared: Prepared) -> "Likes":
        """The training part of a data set."""
        rows = prepared.rows(split=TRAIN)
        return cls(
            prepared.user[rows].astype(np.int64),
            prepared.item[rows].astype(np.int64),
            prepared.rating[rows].astype(np.float64),
            prepared.timestamp[rows],
            prepared.n_users,
            prepared.n_items,
        )

    def without(self, users: np.ndarray) -> "Likes":
        """The rows of all other users."""
        kept = ~np.isin(self.user, users)
        columns = {k: getattr(self, k)[kept] for k in ("user", "item", "label", "timestamp")}
        return replace(self, **columns)

    @cached_property
    def rows_by_user(self) -> list[np.ndarray]:
        """Row numbers of each user, in time order."""
        order = np.argsort(self.user, kind="stable")
        ends = np.cumsum(np.bincount(self.user, minlength=self.n_users))
        return np.split(order, ends[:-1])


def biases(rows: Likes) -> np.ndarray:
    """Damped item biases, fitted in alternation with user biases: float64 (I,)."""
    deviation = rows.label - rows.label.mean()
    n_user = np.bincount(rows.user, minlength=rows.n_users) + BIAS_DAMPING
    n_item = np.bincount(rows.item, minlength=rows.n_items) + BIAS_DAMPING
    of_user, of_item = np.zeros(rows.n_users), np.zeros(rows.n_items)
    for _ in range(SWEEPS):
        of_item = np.bincount(rows.item, deviation - of_user[rows.user], rows.n_items) / n_item
        of_user = np.bincount(rows.user, deviation - of_item[rows.item], rows.n_users) / n_user
    return of_item


def neighbourhood(rows: Likes) -> np.ndarray:
    """Spectral embedding of who saw what, whether liked or not: float64 (I, `EMBEDDING`).

    It uses no labels. Its mean squared length is one; an item that nobody saw is at zero.
    """
    seen = csr_matrix(
        (np.ones(len(rows.item)), (rows.user, rows.item)), shape=(rows.n_users, rows.n_items)
    )
    n_user, n_item = (np.asarray(seen.sum(axis)).ravel() for axis in (1, 0))
    scaled = diags(1 / np.sqrt(n_user + 5)) @ seen @ diags(1 / np.sqrt(n_item + 5))
    start = np.random.default_rng(0).random(min(scaled.shape))
    size = min(EMBEDDING, min(scaled.shape) - 2)
    _, strength, axes = svds(scaled, k=size + 1, v0=start)
    # the first axis is popularity, which is a feature of its own
    order = np.argsort(-strength)[1:]
    table = (axes[order] * np.sqrt(strength[order])[:, None]).T / np.sqrt(n_item + 5)[:, None]
    table = np.pad(table, ((0, 0), (0, EMBEDDING - size)))
    return table / np.sqrt((table**2).sum(1)[n_item > 0].mean())


def year_bumps(years: np.ndarray) -> np.ndarray:
    """Years as eight overlapping bumps: float64 (I, 8)."""
    return np.exp(-0.5 * ((years[:, None] - BUMPS) / BUMP_WIDTH) ** 2)


@dataclass(frozen=True)
class Tables:
    """Estimates from labels: ``quality`` and ``bias`` of items, float64 (I,).

    Items without labels have the quality that their attributes predict.
    """

    quality: np.ndarray
    bias: np.ndarray


class Neighbours:
    """EASE over liked histories, in its dual form (as many equations as users).

    B = I − P / diag(P) with P = (XᵀX + λI)⁻¹; the score of v after a history h is h · B[:, v].
    """

    def __init__(self, rows: Likes):
        liked = rows.label > 0
        x = csr_matrix(
            (np.ones(int(liked.sum())), (rows.user[liked], rows.item[liked])),
            shape=(rows.n_users, rows.n_items),
        )
        self.x = csr_matrix(x[np.asarray(x.sum(1)).ravel() > 0])
        gram = (self.x @ self.x.T).toarray()
        inverse = np.linalg.inv(gram + EASE_RIDGE * np.eye(len(gram)))
        self.weights = np.asarray(self.x.T @ inverse).T
        self.rest = 1 - np.asarray(self.x.multiply(self.weights).sum(0)).ravel()

    def between(self, history: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """B[j, v] for history items (n,) and targets (m,): float64 (n, m)."""
        return csr_matrix(self.x[:, history]).T @ self.weights[:, targets] / self.rest[targets]


class LikesKnowledge(Knowledge):
    """Knowledge of the training part, ``rows``, over the catalogue (I items).

    ``embedding`` is float (I, `EMBEDDING`), ``years`` float (I,) with 0 where unknown. ``tables``
    are fitted on all training rows; None fits them now.
    """

    feature_names = FEATURE_NAMES
    uses_labels = True
    level = "quality"

    out_of_fold = True
    """Whether features of training rows leave out the labels of these rows.

    False is for an experiment: the features then predict training rows better than later ones."""

    def __init__(
        self, rows: Likes, embedding: np.ndarray, years: np.ndarray, tables: Tables | None = None
    ):
        self.rows, self.embedding = rows, embedding
        self.item_count = np.bincount(rows.item, minlength=rows.n_items).astype(np.float32)
        seen = self.item_count > 0
        dated = years[seen & (years > 0)]
        self.years = np.where(years > 0, years, dated.mean() if len(dated) else 1990.0)
        bumps = year_bumps(self.years)
        self._bumps = bumps - bumps[seen].mean(0)
        self._popularity = np.log1p(self.item_count).astype(np.float64) - 3
        self.tables = tables or self._fit(rows)
        self._cross: dict[int | None, tuple[Tables, Neighbours, np.ndarray]] = {}

    @classmethod
    def fit(cls, prepared: Prepared, *, seed: int = 0) -> "LikesKnowledge":
        """Fit on the training part; nothing is drawn, so ``seed`` changes nothing."""
        rows = Likes.of(prepared)
        return cls(rows, neighbourhood(rows), prepared.years.astype(np.float64))

    @cached_property
    def _predictors(self) -> np.ndarray:
        """Attributes that predict an item's level, each at unit prior variance: (I, 50)."""
        return np.c_[
            self.embedding / np.sqrt(NEIGHBOUR_PRECISION),
            self._bumps / np.sqrt(YEAR_PRECISION),
            self._popularity / np.sqrt(POPULARITY_PRECISION),
            np.minimum(self._popularity, 0) / np.sqrt(POPULARITY_PRECISION),
        ]

    def _attributes(self, bias: np.ndarray) -> np.ndarray:
        """φ with a constant in front, scaled by prior deviations: float64 (I, 51)."""
        return np.c_[
            np.full(len(bias), np.sqrt(LEVEL)),
            self.embedding * np.sqrt(NEIGHBOURS),
            self._bumps * np.sqrt(YEARS),
            self._popularity * np.sqrt(POPULARITY),
            QUALITY_SCALE * bias * np.sqrt(QUALITY),
        ]

    def _fit(self, rows: Likes) -> Tables:
        """Quality and bias from some of the training rows."""
        bias = biases(rows)
        attributes, predictors = self._attributes(bias), self._predictors
        n = np.bincount(rows.item, minlength=rows.n_items)
        weight = n / (1 + n / ITEM_PRECISION)
        gram = (predictors.T * weight) @ predictors
        factor = linalg.cho_factor(gram + np.eye(len(gram)))
        rows_of_users = [of_user for of_user in rows.rows_by_user if len(of_user)]
        smoothers = []
        for of_user in rows_of_users:
            x = attributes[rows.item[of_user]]
            kernel = x @ x.T
            smoothers.append(kernel @ np.linalg.inv(kernel + np.eye(len(of_user))))
        mean = rows.label.mean()
        deviation, taste = rows.label - mean, np.zeros(len(rows.label))
        level = np.zeros(rows.n_items)
        for _ in range(SWEEPS):
            total = np.bincount(rows.item, deviation - taste, rows.n_items)
            weights = linalg.cho_solve(factor, (predictors.T * weight) @ (total / np.maximum(n, 1)))
            expected = predictors @ weights
            level = expected + (total - n * expected) / (n + ITEM_PRECISION)
            for of_user, smoother in zip(rows_of_users, smoothers, strict=True):
                taste[of_user] = smoother @ (deviation[of_user] - level[rows.item[of_user]])
        return Tables(mean + level, bias)

    @cached_property
    def _folds(self) -> np.ndarray:
        """The fold of each user, int (U,)."""
        return np.random.default_rng(0).permutation(self.rows.n_users) % FOLDS

    def _of_fold(self, fold: int | None) -> tuple[Tables, Neighbours, np.ndarray]:
        """Tables, neighbours and φ: of all training rows, or of those outside a fold of users."""
        if fold not in self._cross:
            rows, tables = self.rows, self.tables
            if fold is not None:
                rows = rows.without(np.flatnonzero(self._folds == fold))
                tables = self._fit(rows)
            self._cross[fold] = tables, Neighbours(rows), self._attributes(tables.bias)
        return self._cross[fold]

    def labelled(self, user: int, *, training: bool) -> Labelled:
        rows = self.rows.rows_by_user[user]
        return Labelled(
            self.rows.item[rows],
            self.rows.label[rows],
            int(self._folds[user]) if training and self.out_of_fold else None,
        )

    def label_counts(self, user: int, moments: np.ndarray) -> np.ndarray:
        if not self.out_of_fold:
            return np.full(len(moments), len(self.rows.rows_by_user[user]))
        return np.searchsorted(self.rows.timestamp[self.rows.rows_by_user[user]], moments)

    @property
    def levels(self) -> np.ndarray:
        """How well liked each item is, as a share of likes: float64 (I,)."""
        return self.tables.quality

    @property
    def global_mean(self) -> float:
        """Share of likes among the training rows."""
        return float(self.rows.label.mean())

    @cached_property
    def item_table(self) -> np.ndarray:
        """E_V, float32 (I, D): neighbourhood, year and popularity at unit scale; no labels."""
        bumps = self._bumps / (self._bumps[self.item_count > 0].std() + 1e-8)
        table = np.c_[self.embedding * np.sqrt(EMBEDDING), bumps, self._popularity[:, None] / 1.5]
        return table.astype(np.float32)

    def pair_inputs(
        self,
        items: np.ndarray,
        ratings: np.ndarray,
        lengths: np.ndarray,
        targets: np.ndarray,
        labelled: Labelled | None = None,
        counts: np.ndarray | None = None,
        description: Description = UNDESCRIBED,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `Knowledge.pair_inputs`, of a history of likes; ``ratings`` are ignored.

        e_u is the mean of the liked items' e_j plus the taste that labels show. A residual says how
        much more an item was liked than its quality predicts.
        """
        tables, neighbours, attributes = self._of_fold(labelled.fold if labelled else None)
        counts = np.zeros(len(targets), np.int64) if counts is None else counts
        tastes = self._tastes(labelled, counts, tables, attributes)
        taste = (attributes[targets] * tastes).sum(1)

        earlier = np.arange(len(items))[None, :] < lengths[:, None]
        near = (neighbours.between(items, targets).T * earlier).sum(1)
        quality = tables.quality[targets]
        n = np.maximum(lengths, 1)
        liked = earlier @ self.item_table[items] / n[:, None]
        liked_year = earlier @ self.years[items] / n
        distance = np.where(lengths > 0, np.abs(self.years[targets] - liked_year), 10.0)
        features = np.stack(
            [
                quality + taste + EASE_WEIGHT * near,
                quality,
                taste,
                near,
                np.log1p(lengths),
                np.log1p(self.item_count[targets]),
                np.log1p(counts),
                (self.years[targets] - 1990) / 10,
                distance / 10,
            ],
            axis=1,
        )
        users = liked + TASTE_SCALE * tastes[:, 1 : self.size + 1]
        residuals = 1.0 - tables.quality[items]
        return users.astype(np.float32), residuals.astype(np.float32), features.astype(np.float32)

    @staticmethod
    def _tastes(
        labelled: Labelled | None, counts: np.ndarray, tables: Tables, attributes: np.ndarray
    ) -> np.ndarray:
        """Posterior means w_u after ``counts`` (m,) labels: float64 (m, 51).

        With the Cholesky factor L of K + I in time order, the first c rows of L⁻¹ depend on the
        first c labels only, so one factorisation serves every prefix.
        """
        if labelled is None or not len(labelled.items) or not counts.any():
            return np.zeros((len(counts), attributes.shape[1]))
        most = int(counts.max())
        x = attributes[labelled.items[:most]]
        factor = np.linalg.cholesky(x @ x.T + np.eye(most))
        deviation = labelled.labels[:most] - tables.quality[labelled.items[:most]]
        solved = np.asarray(linalg.solve_triangular(factor, np.c_[x, deviation], lower=True))
        steps = np.cumsum(solved[:, :-1] * solved[:, -1:], axis=0)
        return np.concatenate([np.zeros((1, x.shape[1])), steps])[counts]

    def tensors(self) -> dict[str, np.ndarray]:
        tables = {"embedding": self.embedding, **vars(self.tables)}
        return {name: np.asarray(table, np.float32) for name, table in tables.items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], prepared: Prepared) -> "LikesKnowledge":
        """Items that only the test part has are added as unseen ones."""
        tensors = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
        new = prepared.n_items - len(tensors["quality"])
        embedding = np.pad(tensors["embedding"], ((0, new), (0, 0)))
        rows, years = Likes.of(prepared), prepared.years.astype(np.float64)
        if not new:
            return cls(rows, embedding, years, Tables(tensors["quality"], tensors["bias"]))
        fitted = cls(rows, embedding, years)
        for name, table in vars(fitted.tables).items():
            table[:-new] = tensors[name]
        return fitted
