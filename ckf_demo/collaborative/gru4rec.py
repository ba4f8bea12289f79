"""GRU4Rec: a recurrent network over a history (Hidasi et al. 2016).

The authors train on parallel sessions with a ranking loss over the items of a batch.
"""

from torch import Tensor, nn

from ckf_demo.collaborative.next_item import NextItem

DROPOUT = 0.2


class Recurrent(nn.Module):
    """One layer of gated recurrent units: embeddings (g, L, d) → states (g, L, d)."""

    def __init__(self, size: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.units = nn.GRU(size, size, batch_first=True)
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.norm(self.units(self.dropout(x))[0])


class GRU4Rec(NextItem):
    """One layer of gated recurrent units, trained as `NextItem` says."""

    def __init__(self, n_items: int, size: int):
        super().__init__(n_items, size)
        self.encoder = Recurrent(size, DROPOUT)

    def read(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.encoder(x, lengths)
