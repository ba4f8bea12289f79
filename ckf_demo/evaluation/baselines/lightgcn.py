"""LightGCN: embeddings smoothed over the graph of who liked what."""

import numpy as np
import torch

from ckf_demo.collaborative.base import own_threads
from ckf_demo.data.prepared import LIKED
from ckf_demo.evaluation.baselines.base import Baseline, Material, Scores
from ckf_demo.evaluation.metrics import auc
from ckf_demo.evaluation.protocol import Cases

SIZE, LAYERS = 64, 2
LEARNING_RATE = 0.005
BATCH = 2048
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
    mean training user stands in, and the mean item for an item without training likes. The number
    of epochs is that of the best validation AUC; the learning rate was chosen by it as well.
    """

    name = "LightGCN"
    summary = "Graph convolution (lenskit) over likes, unseen users folded in from their history."
    needs = ("likes", "history")
    tasks = ("ctr",)
    feedback = ("likes",)

    def fit(self, material: Material) -> None:
        from lenskit.graphs.lightgcn import LightGCNScorer
        from lenskit.training import TrainingOptions

        scorer = LightGCNScorer(
            embedding_size=SIZE,
            layer_count=LAYERS,
            learning_rate=LEARNING_RATE,
            batch_size=BATCH,
        )
        data, validation = material.train.dataset(LIKED), material.validation
        best, waited = -1.0, 0
        with own_threads(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            trainer = scorer.create_trainer(data, TrainingOptions(device="cpu", rng=SEED))
            # lenskit 2025.8 never clears gradients, so each step would take all steps before again
            trainer.optimizer.register_step_post_hook(lambda optimizer, *_: optimizer.zero_grad())
            for epoch in range(1, MOST_EPOCHS + 1):
                trainer.train_epoch()
                if epoch % EVERY and epoch < MOST_EPOCHS:
                    continue
                tables = _Tables(scorer, material.prepared.n_users, material.prepared.n_items)
                value = auc(validation.labels, tables.predict(validation))
                waited += 1
                if value > best:
                    best, waited, self.tables, self.chosen = value, 0, tables, epoch
                if waited == PATIENCE:
                    break

    def score(self, cases: Cases) -> Scores:
        return Scores(ctr=self.tables.predict(cases))


class _Tables:
    """Smoothed embeddings: ``users`` (U, d), ``items`` (I, d), which of them are in the graph."""

    def __init__(self, scorer, n_users: int, n_items: int):
        with torch.no_grad():
            nodes = scorer.model.get_embedding(scorer._edges).numpy().astype(np.float64)
        known_items, known_users = scorer.items.ids(), scorer.users.ids()
        item_nodes, user_nodes = nodes[: len(known_items)], nodes[len(known_items) :]
        self.items = np.tile(item_nodes.mean(axis=0), (n_items, 1))
        self.items[known_items] = item_nodes
        self.users = np.tile(user_nodes.mean(axis=0), (n_users, 1))
        self.users[known_users] = user_nodes
        self.knows_item = np.isin(np.arange(n_items), known_items)
        self.knows_user = np.isin(np.arange(n_users), known_users)

    def predict(self, cases: Cases) -> np.ndarray:
        """Scores of targets, float64 (n,)."""
        users = self.users[cases.users]
        for positions, items, _ in cases.by_history():
            liked = items[self.knows_item[items]]
            unknown = positions[~self.knows_user[cases.users[positions]]]
            if len(liked) and len(unknown):
                users[unknown] = self.items[liked].mean(axis=0)
        return (users * self.items[cases.items]).sum(axis=1)
