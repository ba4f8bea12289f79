"""GRU4Rec: a recurrent network over the liked items (Hidasi et al. 2016).

The authors train on sessions in parallel, by a ranking loss over the items of a batch.
"""

from torch import Tensor, nn

from ckf_demo.collaborative.next_item import NextItem
from ckf_demo.evaluation.baselines.next_items import DROPOUT as NEXT_DROPOUT
from ckf_demo.evaluation.baselines.next_items import NextItems
from ckf_demo.evaluation.baselines.sequential import DROPOUT, HIDDEN, Encoder, Sequential


class _Recurrent(Encoder):
    def __init__(self, size: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.units = nn.GRU(size, size, batch_first=True)
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.norm(self.units(self.dropout(x))[0])


class _NextRecurrent(NextItem):
    def __init__(self, n_items: int, size: int):
        super().__init__(n_items, size)
        self.encoder = _Recurrent(size, NEXT_DROPOUT)

    def read(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.encoder(x, lengths)


class GRU4Rec(Sequential):
    """One layer of gated recurrent units, trained as `Sequential` says."""

    name = "GRU4Rec"
    summary = "Gated recurrent units over the liked items, trained on likes and dislikes."

    def encoder(self) -> Encoder:
        return _Recurrent(HIDDEN, DROPOUT)


class NextGRU4Rec(NextItems):
    """One layer of gated recurrent units, trained as `NextItems` says."""

    name = "GRU4Rec (next item)"
    summary = "Gated recurrent units over the liked items, trained on the next one."
    net = _NextRecurrent
