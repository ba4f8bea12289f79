"""MoRec: self-attention over the liked items, read as their texts and not as their identities."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.label_training import LabelTrained, Setting
from ckf_demo.baselines.sequences import HIDDEN, Net, Targets
from ckf_demo.metrics.protocol import EvalInstances

SETTINGS = tuple(
    Setting(learning_rate, weight_decay=0.01, dropout=0.5) for learning_rate in (3e-4, 1e-3, 3e-3)
)
"""The best validation AUC is taken."""


class MoRec(LabelTrained):
    """s_uv = h · e_v + b_v with e_v = W t_v + w (Yuan et al. 2023), h as in `sequences`.

    t is the sentence embedding of an item's title, year and genres (MiniLM, 384); b_v is linear in
    it as well. So items without training rows are read and scored like all others. The authors
    train their text encoder too, to predict the next item. Here the encoder is frozen, and the
    network learns the labels of training rows by binary cross-entropy. Learning rate and number of
    epochs have the best AUC on the rows to choose on.
    """

    name = "MoRec"
    summary = "Self-attention over the texts of liked items (MiniLM and a learned linear map)."
    needs = ("likes and dislikes", "item text", "history")

    def fit(self, data: TrainingData) -> None:
        self.item_numbers = np.arange(1, data.prepared.n_items + 1)
        texts = torch.from_numpy(data.texts)
        self.train(data, SETTINGS, lambda setting: _Net(texts, setting.dropout))

    def read(self, instances: EvalInstances) -> Targets:
        return Targets.read(instances, self.item_numbers)


class _Net(Net):
    """Over ``texts`` float32 (I, D)."""

    def __init__(self, texts: Tensor, dropout: float):
        super().__init__(dropout)
        # first the row of padding
        self.register_buffer("texts", F.pad(texts, (0, 0, 1, 0)))
        self.map = nn.Linear(texts.shape[1], HIDDEN)
        self.bias = nn.Linear(texts.shape[1], 1)

    def vectors(self, items: Tensor) -> Tensor:
        return self.map(self.texts[items])

    def biases(self, items: Tensor) -> Tensor:
        return self.bias(self.texts[items])[..., 0]
