"""LightGCN: embeddings smoothed over the graph of who liked what."""

from collections.abc import Iterator

import numpy as np
import torch

from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.searched import Model, Searched
from ckf_demo.collaborative.lightgcn import epochs, new_scorer
from ckf_demo.data.prepared import Prepared
from ckf_demo.metrics.protocol import EvalInstances

SEED = 0
MOST_EPOCHS = 200
"""The largest number of epochs."""

EVERY = 5
"""Epochs between two measurements on the validation part."""

PATIENCE = 4
"""Measurements without a better validation value after which training stops."""


class LightGCN(Searched):
    """s_uv = e_u · e_v with e = mean over l = 0..2 of A^l E, A the normalised graph (He 2020).

    E (users and items, 64) is learned by lenskit from the likes of training with the pairwise loss
    −log σ(s_uv − s_uw), w not liked by u; dislikes are not used. A user without training likes is
    folded in as e_u = mean of e_v over the liked items of the history; without liked items, e_u is
    that of the mean training user. An item without training likes has the mean e_v. In a ranking
    every user is folded in, and items without training likes are left out. The number of epochs has
    the best validation AUC, for rankings the best NDCG@10; the learning rate was chosen by the AUC
    for likes.
    """

    name = "LightGCN"
    summary = "Graph convolution (lenskit) over likes, unseen users folded in from their history."
    needs = ("likes", "history")
    patience = PATIENCE

    def models(self, data: TrainingData) -> Iterator[tuple[int, "_Tables"]]:
        scorer = new_scorer()
        for epoch in epochs(scorer, data.likes.dataset(), SEED):
            if epoch % EVERY == 0 or epoch == MOST_EPOCHS:
                yield epoch, _Tables(scorer, data.prepared)
            if epoch == MOST_EPOCHS:
                return


class _Tables(Model):
    """Smoothed embeddings ``users`` (U, d) and ``items`` (I, d), and which are in the graph."""

    def __init__(self, scorer, prepared: Prepared):
        self.prepared, n_users, n_items = prepared, prepared.n_users, prepared.n_items
        with torch.no_grad():
            nodes = scorer.model.get_embedding(scorer._edges).numpy().astype(np.float64)
        known_items, known_users = scorer.items.ids(), scorer.users.ids()
        item_nodes, user_nodes = nodes[: len(known_items)], nodes[len(known_items) :]
        self.items = np.tile(item_nodes.mean(axis=0), (n_items, 1))
        self.items[known_items] = item_nodes
        self.mean_user = user_nodes.mean(axis=0)
        self.users = np.tile(self.mean_user, (n_users, 1))
        self.users[known_users] = user_nodes
        self.knows_item = np.isin(np.arange(n_items), known_items)
        self.knows_user = np.isin(np.arange(n_users), known_users)

    def _known_likes(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return items[self.knows_item[items] & self.prepared.likes(ratings)]

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Scores of the catalogue for a folded-in user: float64 (I,), NaN for unknown items."""
        liked = self._known_likes(items, ratings)
        user = self.items[liked].mean(axis=0) if len(liked) else self.mean_user
        return np.where(self.knows_item, self.items @ user, np.nan)

    def score(self, instances: EvalInstances) -> np.ndarray:
        """Scores of targets, float64 (n,)."""
        known = (instances.users >= 0) & self.knows_user[instances.users]
        users = np.where(known[:, None], self.users[instances.users], self.mean_user)
        for positions, items, ratings in instances.by_history():
            liked = self._known_likes(items, ratings)
            unknown = positions[~known[positions]]
            if len(liked) and len(unknown):
                users[unknown] = self.items[liked].mean(axis=0)
        return (users * self.items[instances.items]).sum(axis=1)
