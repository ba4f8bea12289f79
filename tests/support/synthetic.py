"""A small made-up data set with a known structure, for tests of the protocol and of baselines."""

from dataclasses import replace

import numpy as np

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources.base import PLACES
from ckf_demo.data.splits import TRAIN, last_of_each, time_order, time_split


def made_up(n_users: int = 60, n_items: int = 40, n: int = 2400, seed: int = 0) -> Prepared:
    """Users and items have biases and tastes; several ratings share a moment, as in MovieLens."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(n_users * n_items)[:n]
    user, item = pairs // n_items, pairs % n_items
    generous, good = rng.normal(0, 0.6, n_users), rng.normal(0, 0.6, n_items)
    taste, kind = rng.normal(0, 0.7, (n_users, 2)), rng.normal(0, 0.7, (n_items, 2))
    signal = 3.5 + generous[user] + good[item] + (taste[user] * kind[item]).sum(1)
    rating = np.clip(np.round(signal + rng.normal(0, 0.5, n)), 1, 5)
    arrival = np.sort(rng.integers(0, 5000, n_users))
    timestamp = arrival[user] + 10 * rng.integers(0, 200, n)
    order = time_order(timestamp, np.arange(n))
    split, fit = time_split(n)
    return Prepared(
        dataset="made-up",
        user_ids=[str(i + 1) for i in range(n_users)],
        item_ids=[str(i + 1) for i in range(n_items)],
        titles=[f"Film {i + 1}" for i in range(n_items)],
        years=np.full(n_items, 1990, np.int32),
        genres=[("Drama",) if k[0] > 0 else ("Comedy",) for k in kind],
        ages=np.full(n_users, 30, np.int32),
        genders=["F", "M"] * (n_users // 2),
        occupations=["writer"] * n_users,
        user=user[order].astype(np.int32),
        item=item[order].astype(np.int32),
        rating=rating[order].astype(np.float32),
        timestamp=timestamp[order].astype(np.int64),
        source_row=order.astype(np.int32),
        split=split,
        fit=fit,
    )


def made_up_likes(seed: int = 0) -> Prepared:
    """The same as likes and dislikes, with a given split."""
    data = made_up(seed=seed)
    return replace(
        data,
        rating=(data.rating >= 4).astype(np.float32),
        fit=data.split == TRAIN,
        feedback="likes",
        given_split=True,
    )


def unit_vectors(prepared: Prepared) -> np.ndarray:
    """In the place of MiniLM's: float32 (I, 16)."""
    vectors = np.random.default_rng(len(prepared.dataset)).normal(size=(prepared.n_items, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


ASPECTS = ("oysters", "brunch", "patio", "ramen", "darts", "pastries", "karaoke")


def made_up_choices(seed: int = 0) -> Prepared:
    """What was liked of it alone, as places of which every third has no title, some explained."""
    whole = made_up(n_items=90, n=3600, seed=seed)
    data = whole.restricted(whole.rating >= 4)
    split, _ = time_split(len(data.user))
    train = split == TRAIN
    texts = {
        int(row): f"The user would enjoy it for the {ASPECTS[data.item[row] % len(ASPECTS)]}."
        for row in np.flatnonzero(data.source_row % 4 == 0)
    }
    written = np.isin(np.arange(len(split)), list(texts))
    return replace(
        data,
        titles=["" if i % 3 == 2 else f"Cafe {i}" for i in range(data.n_items)],
        years=np.zeros(data.n_items, np.int32),
        genres=[()] * data.n_items,
        rating=np.ones(len(split), np.float32),
        split=split,
        fit=train & ~last_of_each(data.user, train, np.unique(data.user[written & train])),
        feedback="likes",
        given_split=True,
        domain=PLACES,
        texts=texts,
        about_items={0: "People come for the oysters."},
    )
