"""SASRec, trained to tell the next liked item."""

from ckf_demo.baselines.next_items import NextItems
from ckf_demo.collaborative.sasrec import SASRec


class NextSASRec(NextItems):
    """Two causal blocks of self-attention over positions from the end (Kang & McAuley 2018)."""

    name = "SASRec (next item)"
    summary = "Self-attention over the liked items of the history, trained on the next one."
    net = SASRec
