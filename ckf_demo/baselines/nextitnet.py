"""NextItNet: dilated causal convolutions over the liked items (Yuan et al. 2019)."""

from torch import nn

from ckf_demo.baselines.next_items import NextItems
from ckf_demo.baselines.sequential import DROPOUT, HIDDEN, Sequential
from ckf_demo.collaborative import nextitnet


class NextItNet(Sequential):
    """Four residual blocks of two dilated causal convolutions, trained as `Sequential` says."""

    name = "NextItNet"
    summary = "Dilated convolutions over the liked items, trained on likes and dislikes."

    def encoder(self) -> nn.Module:
        return nextitnet.Convolutions(HIDDEN, DROPOUT)


class NextNextItNet(NextItems):
    """Four residual blocks of two dilated causal convolutions, trained as `NextItems` says."""

    name = "NextItNet (next item)"
    summary = "Dilated convolutions over the liked items, trained on the next one."
    net = nextitnet.NextItNet
