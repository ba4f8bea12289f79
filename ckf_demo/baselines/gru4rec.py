"""GRU4Rec: a recurrent network over the liked items (Hidasi et al. 2016)."""

from torch import nn

from ckf_demo.baselines.next_items import NextItems
from ckf_demo.baselines.sequential import DROPOUT, HIDDEN, Sequential
from ckf_demo.collaborative import gru4rec


class GRU4Rec(Sequential):
    """One layer of gated recurrent units, trained as `Sequential` says."""

    name = "GRU4Rec"
    summary = "Gated recurrent units over the liked items, trained on likes and dislikes."

    def encoder(self) -> nn.Module:
        return gru4rec.Recurrent(HIDDEN, DROPOUT)


class NextGRU4Rec(NextItems):
    """One layer of gated recurrent units, trained as `NextItems` says."""

    name = "GRU4Rec (next item)"
    summary = "Gated recurrent units over the liked items, trained on the next one."
    net = gru4rec.GRU4Rec
