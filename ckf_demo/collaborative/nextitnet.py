"""NextItNet: dilated causal convolutions over a history (Yuan et al. 2019).

The authors train with a softmax over the catalogue.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ckf_demo.collaborative.next_item import NextItem

DROPOUT = 0.2
KERNEL = 3
DILATIONS = (1, 4, 1, 4)
"""Of the first convolution of each block; that of the second is twice as wide. Together the blocks
see 61 places."""


class _Block(nn.Module):
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
        self.blocks = nn.Sequential(*(_Block(size, dilation) for dilation in DILATIONS))
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.norm(self.blocks(self.dropout(x)))


class NextItNet(NextItem):
    """Four residual blocks of two dilated causal convolutions, trained as `NextItem` says."""

    def __init__(self, n_items: int, size: int):
        super().__init__(n_items, size)
        self.encoder = Convolutions(size, DROPOUT)

    def read(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.encoder(x, lengths)
