"""NCF: a product and a network over embeddings of user and item (He et al. 2017)."""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.label_training import step
from ckf_demo.baselines.searched import Model, Searched
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN
from ckf_demo.metrics.protocol import EvalInstances

SIZE = 32
"""Width of both kinds of embeddings."""

LONGEST = 50
"""The largest number of liked items that are read, the last ones."""

NEGATIVES = 4
"""Items drawn uniformly for each like, where likes are trained against sampled items."""

DROPOUT = 0.2
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
BATCH = 1024
EPOCHS = (2, 5, 10)
"""Numbers of epochs to try; chosen on validation."""

SEED = 0
LABELS, CHOICES = "labels", "choices"
UNKNOWN = 0
"""Row of the tables, all zeros, for padding and for items without training rows."""


class NCF(Searched):
    """s_uv = w · [p_u ⊙ q_v, MLP(p'_u, q'_v)] + b_v, the two parts of NeuMF trained together.

    The authors' users are rows of a table. Most users here have no such row, so p_u is the mean of
    embeddings (from a table of their own) of the last 50 liked items of the row's history, plus a
    learned vector that all users share. Trained by binary cross-entropy, either on the labels of
    training rows or on likes against uniformly drawn items, which may include seen ones. Objective
    and number of epochs are chosen on validation.
    """

    name = "NCF"
    summary = "A product and a network over embeddings, users made of their liked items."
    needs = ("likes", "history")

    def models(self, data: TrainingData) -> Iterator[tuple[tuple[str, int], "_Model"]]:
        trained_items, item_numbers = data.numbered_items()
        learning = EvalInstances(data.prepared, data.prepared.rows(split=TRAIN))
        liked, targets = _read(learning, item_numbers)
        labels = torch.from_numpy(learning.labels).float()
        for objective in (LABELS, CHOICES):
            models = []
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(SEED)
                net = _Net(len(trained_items) + 1)
                optimizer = torch.optim.AdamW(
                    net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
                )
                for epoch in range(1, max(EPOCHS) + 1):
                    examples = liked, targets, labels
                    if objective != LABELS:
                        examples = _choices(*examples, len(trained_items))
                    net.train()
                    for batch in torch.randperm(len(examples[1])).split(BATCH):
                        liked_before, candidates, truth = (x[batch] for x in examples)
                        logits = net(liked_before, candidates)
                        step(optimizer, F.binary_cross_entropy_with_logits(logits, truth))
                    if epoch in EPOCHS:
                        models.append(((objective, epoch), deepcopy(net)))
            for setting, net in models:
                yield setting, _Model(data.prepared, net, item_numbers)


class _Model(Model):
    def __init__(self, prepared: Prepared, net: "_Net", item_numbers: np.ndarray):
        self.prepared, self.net, self.item_numbers = prepared, net.eval(), item_numbers

    @torch.no_grad()
    def score(self, instances: EvalInstances) -> np.ndarray:
        parts = zip(*(x.split(BATCH) for x in _read(instances, self.item_numbers)), strict=True)
        return torch.cat([self.net(*part) for part in parts]).double().numpy()

    @torch.no_grad()
    def rank(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        liked = torch.from_numpy(_last(items[self.prepared.likes(ratings)], self.item_numbers))
        targets = torch.from_numpy(self.item_numbers)
        scores = self.net(liked.expand(len(targets), -1), targets).double().numpy()
        return np.where(self.item_numbers == UNKNOWN, np.nan, scores)


class _Net(nn.Module):
    def __init__(self, n_rows: int):
        super().__init__()
        # side by side: the product's embeddings, then the network's
        self.liked, self.items = (
            nn.Embedding(n_rows, 2 * SIZE, padding_idx=UNKNOWN) for _ in range(2)
        )
        self.everybody = nn.Parameter(torch.zeros(2 * SIZE))
        self.bias = nn.Embedding(n_rows, 1, padding_idx=UNKNOWN)
        self.network = nn.Sequential(
            *(nn.Dropout(DROPOUT), nn.Linear(2 * SIZE, SIZE), nn.ReLU()),
            *(nn.Linear(SIZE, SIZE // 2), nn.ReLU()),
        )
        self.out = nn.Linear(SIZE + SIZE // 2, 1)
        with torch.no_grad():
            nn.init.zeros_(self.bias.weight)
            for table in (self.liked, self.items):
                table.weight.mul_(0.1)

    def forward(self, liked: Tensor, targets: Tensor) -> Tensor:
        """Logits (n,) for rows of liked items (n, L) and of targets (n,)."""
        counts = (liked != UNKNOWN).sum(1, keepdim=True).clamp(min=1)
        users = self.liked(liked).sum(1) / counts + self.everybody
        (p, p_network), (q, q_network) = users.chunk(2, -1), self.items(targets).chunk(2, -1)
        mixed = self.network(torch.cat([p_network, q_network], -1))
        logits = self.out(torch.cat([p * q, mixed], -1)) + self.bias(targets)
        return logits[:, 0]


def _last(liked: np.ndarray, item_numbers: np.ndarray) -> np.ndarray:
    """The last liked items as rows of the tables, int64 (`LONGEST`,), padded at the end."""
    rows = np.full(LONGEST, UNKNOWN, dtype=np.int64)
    trained = item_numbers[liked]
    trained = trained[trained != UNKNOWN][-LONGEST:]
    rows[: len(trained)] = trained
    return rows


def _read(instances: EvalInstances, item_numbers: np.ndarray) -> tuple[Tensor, Tensor]:
    """Liked items of every target's history, int64 (n, L), and the targets (n,), as rows."""
    liked = np.empty((len(instances), LONGEST), dtype=np.int64)
    for positions, items, ratings in instances.by_history():
        liked[positions] = _last(items[instances.prepared.likes(ratings)], item_numbers)
    return torch.from_numpy(liked), torch.from_numpy(item_numbers[instances.items])


def _choices(
    liked: Tensor, targets: Tensor, labels: Tensor, n_known: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Likes, each followed by newly drawn items."""
    liked, targets = liked[labels == 1], targets[labels == 1]
    drawn = torch.randint(1, n_known + 1, (len(targets), NEGATIVES))
    targets = torch.cat([targets[:, None], drawn], 1)
    labels = F.pad(torch.ones(len(targets), 1), (0, NEGATIVES))
    return liked.repeat_interleave(1 + NEGATIVES, 0), targets.flatten(), labels.flatten()
