"""Which collaborative knowledge goes with which kind of data, and sequential models by name."""

from ckf_demo.collaborative.gru4rec import GRU4Rec
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.collaborative.likes import LikesKnowledge
from ckf_demo.collaborative.next_item import NextItem
from ckf_demo.collaborative.nextitnet import NextItNet
from ckf_demo.collaborative.sasrec import SASRec

Knowledge = CollaborativeKnowledge | LikesKnowledge
KNOWLEDGE: dict[str, type[Knowledge]] = {
    "ratings": CollaborativeKnowledge,
    "likes": LikesKnowledge,
}
"""By `Prepared.feedback`."""

SEQUENTIAL: dict[str, type[NextItem]] = {
    "sasrec": SASRec,
    "gru4rec": GRU4Rec,
    "nextitnet": NextItNet,
}
"""By `FusionConfig.sequential`."""
