"""CTRL: a recommender that is aligned with the texts of its rows, then learns their labels."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.label_training import SEED, LabelTrained, Setting, step
from ckf_demo.baselines.sequences import HIDDEN, SPREAD, UNKNOWN, Net, Targets, Windows
from ckf_demo.metrics.protocol import EvalInstances

SUBSPACES, WIDTH = 4, 32
"""Parts of a row's representation, and the width of each."""

TEMPERATURE = 0.1
ALIGNING_RATE, ALIGNING_EPOCHS = 1e-3, 5
DROPOUT = 0.5

SETTINGS = tuple(
    Setting(learning_rate, weight_decay=0.01, dropout=DROPOUT) for learning_rate in (3e-4, 1e-3)
)
"""Of the second stage; the best validation AUC is taken."""


class CTRL(LabelTrained):
    """s_uv = h · e_v + b_v, e_v an item's own row, aligned with text first (Li et al. 2023).

    Stage 1 contrasts the rows of a batch, by c = [h; e_v] and t = [mean of t_j; t_v] over the liked
    items j that h reads, each mapped to four unit vectors c_m and t_m:

        sim_ab = Σ_m max_m' c_am · t_bm' / τ,   L = ½ (CE(sim, I) + CE(simᵀ, I))

    Stage 2 trains h, e and b alone by binary cross-entropy on the labels of the same rows, as in
    `sequences`. t_v are frozen sentence embeddings of title, year and genres (MiniLM, 384); the
    authors write each row as one text and train its encoder too. Items without training rows get a
    logit of 0 and are left out of histories. Learning rate and number of epochs of stage 2 have the
    best AUC on the rows to choose on; temperature and epochs of stage 1 were chosen by the same
    AUC, by hand.
    """

    name = "CTRL"
    summary = "Self-attention over liked items, aligned with their texts before it is trained."
    needs = ("likes and dislikes", "item text", "history")

    def fit(self, data: TrainingData) -> None:
        trained_items, self.item_numbers = data.numbered_items()
        texts = F.pad(torch.from_numpy(data.texts[trained_items]), (0, 0, 1, 0))
        aligned = _train_alignment(self.read(data.learning), texts)
        self.train(data, SETTINGS, lambda setting: deepcopy(aligned))

    def read(self, instances: EvalInstances) -> Targets:
        return Targets.read(instances, self.item_numbers)


class _Net(Net):
    def __init__(self, n_rows: int):
        super().__init__(DROPOUT)
        self.items = nn.Embedding(n_rows, HIDDEN, padding_idx=UNKNOWN)
        self.bias = nn.Embedding(n_rows, 1, padding_idx=UNKNOWN)
        with torch.no_grad():
            self.items.weight.mul_(SPREAD)
            nn.init.zeros_(self.bias.weight)

    def vectors(self, items: Tensor) -> Tensor:
        return self.items(items)

    def biases(self, items: Tensor) -> Tensor:
        return self.bias(items)[..., 0]


class _Alignment(nn.Module):
    """A net and the two maps whose answers stage 1 brings together."""

    def __init__(self, net: _Net, texts: Tensor):
        super().__init__()
        self.net = net
        self.register_buffer("texts", texts)
        self.of_items = nn.Linear(2 * HIDDEN, SUBSPACES * WIDTH)
        self.of_texts = nn.Linear(2 * texts.shape[1], SUBSPACES * WIDTH)

    def forward(self, windows: Windows) -> Tensor:
        """The loss of a batch, of in-batch cross-entropy both ways."""
        item = torch.cat([self.net.states(windows), self.net.vectors(windows.items)], -1)
        text = torch.cat([text_means(self.texts, windows), self.texts[windows.items]], -1)
        return contrastive_loss(_parts(self.of_items(item)), _parts(self.of_texts(text)))


def text_means(texts: Tensor, windows: Windows) -> Tensor:
    """Mean text of each target's history within its window (n, D); zeros where it is empty."""
    sums = F.pad(texts[windows.numbers].cumsum(1), (0, 0, 1, 0))
    return sums[windows.of_target, windows.places] / windows.places.clamp(min=1)[:, None]


def contrastive_loss(items: Tensor, texts: Tensor) -> Tensor:
    """L of parts of unit length, (n, M, d) each; a scalar."""
    similar = torch.einsum("amd,bkd->abmk", items, texts).amax(-1).sum(-1) / TEMPERATURE
    diagonal = torch.arange(len(similar))
    return (F.cross_entropy(similar, diagonal) + F.cross_entropy(similar.T, diagonal)) / 2


def _parts(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.unflatten(-1, (SUBSPACES, WIDTH)), dim=-1)


def _train_alignment(targets: Targets, texts: Tensor) -> _Net:
    """The net after stage 1; its biases are as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = _Alignment(_Net(len(texts)), texts)
        optimizer = torch.optim.AdamW(model.parameters(), ALIGNING_RATE)
        model.train()
        for _ in range(ALIGNING_EPOCHS):
            for part, _ in targets.batches():
                step(optimizer, model(part))
    return model.net
