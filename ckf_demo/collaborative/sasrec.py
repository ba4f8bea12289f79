"""SASRec: self-attention over a history, trained to predict the next item (Kang & McAuley 2018).

The baseline of the same name in `ckf_demo.baselines` is trained on likes and dislikes instead.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ckf_demo.collaborative.next_item import LONGEST, SPREAD, NextItem

BLOCKS = 2
DROPOUT = 0.2


class Block(nn.Module):
    """Causal self-attention with one head, then a feed-forward layer: (g, L, d) → (g, L, d)."""

    def __init__(self, size: int):
        super().__init__()
        self.before_attention, self.before_feed = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attend = nn.Linear(size, 3 * size)
        self.mix = nn.Linear(size, size)
        self.feed = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.attend(self.before_attention(x)).chunk(3, -1)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.mix(mixed)
        return x + self.dropout(self.feed(self.before_feed(x)))


class SASRec(NextItem):
    """Causal self-attention with positions counted from the end."""

    def __init__(self, n_items: int, size: int):
        super().__init__(n_items, size)
        self.positions = nn.Embedding(LONGEST + 1, size)
        self.dropout = nn.Dropout(DROPOUT)
        self.blocks = nn.ModuleList(Block(size) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(size)
        with torch.no_grad():
            self.positions.weight.mul_(SPREAD)

    def read(self, x: Tensor, lengths: Tensor) -> Tensor:
        positions = lengths[:, None] - torch.arange(x.shape[1], device=x.device)
        x = self.dropout(x + self.positions(positions.clamp(min=0)))
        # padding comes last, so being causal hides it
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
