"""Encoders of histories: self-attention, recurrent units and convolutions.

An encoder maps embeddings float32 (g, L, d) and lengths int64 (g,), without the padding at the end,
to states (g, L, d). Each state depends on its own place and those before it. `ENCODERS` lists them
by name.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LONGEST = 50
"""The largest number of items of a history that are read, the last ones."""

SPREAD = 0.02
"""Standard deviation of the first embeddings."""

BLOCKS, HEADS = 2, 1
"""Of self-attention."""

KERNEL = 3
DILATIONS = (1, 4, 1, 4)
"""Of the first convolution of each block; that of the second is twice as wide. Together the blocks
see 61 places."""


class Attention(nn.Module):
    """Two pre-norm Transformer layers over positions from the end: (g, L, d) → (g, L, d)."""

    def __init__(self, size: int, dropout: float):
        super().__init__()
        self.positions = nn.Embedding(LONGEST + 1, size)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                size, HEADS, size, dropout, batch_first=True, norm_first=True
            )
            for _ in range(BLOCKS)
        )
        self.norm = nn.LayerNorm(size)
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


class Recurrent(nn.Module):
    """One layer of gated recurrent units: embeddings (g, L, d) → states (g, L, d)."""

    def __init__(self, size: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.units = nn.GRU(size, size, batch_first=True)
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.norm(self.units(self.dropout(x))[0])


class ConvolutionBlock(nn.Module):
    """x + two causal convolutions, each normalised and rectified: (g, L, d) → (g, L, d)."""

    def __init__(self, size: int, dilation: int):
        super().__init__()
        self.dilations = dilation, 2 * dilation
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, size, KERNEL, dilation=d) for d in self.dilations
        )
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in self.dilations)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for convolution, norm, dilation in zip(
            self.convolutions, self.norms, self.dilations, strict=True
        ):
            # padded on the left only, so that no place sees later ones
            before = F.pad(y.transpose(1, 2), ((KERNEL - 1) * dilation, 0))
            y = F.relu(norm(convolution(before).transpose(1, 2)))
        return x + y


class Convolutions(nn.Module):
    """Four residual blocks: embeddings (g, L, d) → states (g, L, d)."""

    def __init__(self, size: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(ConvolutionBlock(size, dilation) for dilation in DILATIONS))
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.norm(self.blocks(self.dropout(x)))


ENCODERS: dict[str, Callable[[int, float], nn.Module]] = {
    "SASRec": Attention,
    "GRU4Rec": Recurrent,
    "NextItNet": Convolutions,
}
"""By the name of the model; called with the width d and the dropout."""
