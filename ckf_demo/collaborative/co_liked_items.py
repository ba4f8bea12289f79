"""Which items the same users like; explanations say "the same fans" of them."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ckf_demo.data.prepared import LIKED_STARS

MIN_COMMON = 10
MIN_LIFT = 1.25
MIN_COSINE = 0.25
TOP = 50


class CoLikedItems:
    """Pairs of items whose fans overlap well beyond chance.

    A fan of an item rated it 4 or more. Let n_a and n_b be the numbers of fans of two items, n_ab
    that of their common fans, and n that of all users with a like. A pair is kept when n_ab is at
    least 10, the cosine n_ab / sqrt(n_a n_b) at least 0.25, and the lift n n_ab / (n_a n_b) at
    least 1.25: popular items share fans by chance, and lift alone favours rare items. Each item
    keeps its 50 strongest pairs by cosine; the relation is symmetric.

    ``pairs`` int32 (m, 2) holds item indices with the smaller first, sorted, without repetition.
    """

    def __init__(self, pairs: np.ndarray, n_items: int) -> None:
        self.pairs = np.asarray(pairs, dtype=np.int32).reshape(-1, 2)
        self.n_items = int(n_items)
        self._keys = frozenset((self.pairs.astype(np.int64) @ [self.n_items, 1]).tolist())

    @classmethod
    def fit(
        cls, user: np.ndarray, item: np.ndarray, rating: np.ndarray, n_items: int, top: int = TOP
    ) -> CoLikedItems:
        """Count common fans in training rows: ``user``, ``item`` int (n,), ``rating`` in stars."""
        likes = np.asarray(rating) >= LIKED_STARS
        users, rows = np.unique(np.asarray(user)[likes], return_inverse=True)
        columns = np.asarray(item)[likes]
        fans = sparse.csr_matrix(
            (np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(len(users), n_items)
        )
        fans.data[:] = 1  # one like per user and item, however often it was rated
        common = (fans.T @ fans).tocoo()
        count = np.asarray(fans.sum(axis=0)).ravel()
        expected = count[common.row] * count[common.col]
        cosine = common.data / np.sqrt(expected)
        lift = common.data * len(users) / expected
        strong = (common.row != common.col) & (common.data >= MIN_COMMON)
        strong &= (cosine >= MIN_COSINE) & (lift >= MIN_LIFT)
        a, b, cosine = common.row[strong], common.col[strong], cosine[strong]
        order = np.lexsort((b, -cosine, a))
        a, b = a[order], b[order]
        place = np.arange(len(a)) - np.searchsorted(a, a)
        a, b = a[place < top], b[place < top]
        pairs = np.unique(np.column_stack([np.minimum(a, b), np.maximum(a, b)]), axis=0)
        return cls(pairs, n_items)

    def __call__(self, a: int, b: int) -> bool:
        """Whether the same people like items `a` and `b` (indices); never for a == b."""
        low, high = (a, b) if a < b else (b, a)
        return int(low) * self.n_items + int(high) in self._keys
