"""LightGCN: embeddings smoothed over the graph of who liked what."""

import numpy as np
import torch

from ckf_demo.baselines.base import Baseline, Scores, TrainingData
from ckf_demo.collaborative.lightgcn import epochs, new_scorer
from ckf_demo.data.prepared import Prepared
from ckf_demo.metrics.metrics import auc, ndcg_at_10
from ckf_demo.metrics.protocol import EvalInstances, ranked

SEED = 0

MOST_EPOCHS = 200
"""Epochs to train at most."""

EVERY = 5
"""Epochs between two looks at the validation part."""

PATIENCE = 4
"""Looks without a better validation AUC after which training stops."""


class LightGCN(Baseline):
    """s_uv = e_u · e_v with e = mean over l = 0..2 of A^l E, A the normalised graph (He 2020).

    E (users and items, 64) is learned by lenskit from the likes of training with the pairwise loss
    −log σ(s_uv − s_uw), w not liked by u; dislikes are not used. Who has no training likes is
    folded in as e_u = mean of e_v over the liked items of the history; without any of these the
    mean training user stands in, and the mean item for an item without training likes; in a ranking
    everybody is folded in, and such items have no place. The number of epochs is that of the best
    validation AUC, for rankings of the best NDCG@10; the learning rate was chosen by the AUC for
    likes as well.
    """

    name = "LightGCN"
    summary = "Graph convolution (lenskit) over likes, unseen users folded in from their history."
    needs = ("likes", "history")
    tasks = ("ctr", "ranking")
    feedback = ("ratings", "likes")

    def fit(self, material: TrainingData) -> None:
        scorer = new_scorer()
        data, validation = material.likes.dataset(), material.validation
        ranks = material.prepared.feedback == "ratings"
        queries = material.validation_queries() if ranks else []
        best: dict[str, float] = {}
        self.tables: dict[str, _Tables] = {}
        self.chosen: dict[str, int] = {}
        waited = 0
        for epoch in epochs(scorer, data, SEED):
            if epoch % EVERY and epoch < MOST_EPOCHS:
                continue
            tables = _Tables(scorer, material.prepared)
            values = {"ctr": auc(validation.labels, tables.predict(validation))}
            if ranks:
                orders = [ranked(tables.rank(q.items, q.ratings), q.seen, 10) for q in queries]
                found = map(ndcg_at_10, orders, (q.relevant for q in queries))
                values["ranking"] = float(np.mean(list(found)))
            waited += 1
            for task, value in values.items():
                if task not in best or value > best[task]:
                    best[task], waited = value, 0
                    self.tables[task], self.chosen[task] = tables, epoch
            if waited == PATIENCE or epoch == MOST_EPOCHS:
                break

    def score(self, cases: EvalInstances) -> Scores:
        return Scores(ctr=self.tables["ctr"].predict(cases))

    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        return self.tables["ranking"].rank(items, ratings)


class _Tables:
    """Smoothed embeddings: ``users`` (U, d), ``items`` (I, d), which of them are in the graph."""

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
        """Scores of the catalogue for somebody folded in: float64 (I,), NaN for unknown items."""
        liked = self._known_likes(items, ratings)
        user = self.items[liked].mean(axis=0) if len(liked) else self.mean_user
        return np.where(self.knows_item, self.items @ user, np.nan)

    def predict(self, cases: EvalInstances) -> np.ndarray:
        """Scores of targets, float64 (n,)."""
        known = (cases.users >= 0) & self.knows_user[cases.users]
        users = np.where(known[:, None], self.users[cases.users], self.mean_user)
        for positions, items, ratings in cases.by_history():
            liked = self._known_likes(items, ratings)
            unknown = positions[~known[positions]]
            if len(liked) and len(unknown):
                users[unknown] = self.items[liked].mean(axis=0)
        return (users * self.items[cases.items]).sum(axis=1)
