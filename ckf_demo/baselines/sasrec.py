"""SASRec: self-attention over the liked items, trained to tell likes from dislikes."""

import torch
from torch import Tensor, nn

from ckf_demo.baselines.sequential import (
    DROPOUT,
    HIDDEN,
    LONGEST,
    SPREAD,
    Sequential,
)

BLOCKS, HEADS = 2, 1


class SASRec(Sequential):
    """Two causal blocks of self-attention over positions from the end (Kang & McAuley 2018).

    What is read, what is trained and how is said of `Sequential`.
    """

    name = "SASRec"
    summary = "Self-attention over the liked items of the history, trained on likes and dislikes."

    def encoder(self) -> nn.Module:
        return _Attention()


class _Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.positions = nn.Embedding(LONGEST + 1, HIDDEN)
        self.dropout = nn.Dropout(DROPOUT)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                HIDDEN, HEADS, HIDDEN, DROPOUT, batch_first=True, norm_first=True
            )
            for _ in range(BLOCKS)
        )
        self.norm = nn.LayerNorm(HIDDEN)
        with torch.no_grad():
            self.positions.weight.mul_(SPREAD)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        length = x.shape[1]
        # counted from the end, so that what was liked last has the same position in every history
        positions = (lengths[:, None] - 1 - torch.arange(length)).clamp(min=0)
        x = self.dropout(x + self.positions(positions))
        # padding comes last, so being causal hides it
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        for block in self.blocks:
            x = block(x, src_mask=mask, is_causal=True)
        return self.norm(x)
