"""Which collaborative knowledge goes with which kind of data, and sequential models by name."""

from ckf_demo.collaborative.gru4rec import GRU4Rec
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.collaborative.likes import LikesKnowledge
from ckf_demo.collaborative.next_item import NextItem
from ckf_demo.collaborative.nextitnet import NextItNet
from ckf_demo.collaborative.positive_only import ChoicesKnowledge
from ckf_demo.collaborative.sasrec import SASRec
from ckf_demo.data.prepared import Prepared

Knowledge = CollaborativeKnowledge | LikesKnowledge | ChoicesKnowledge
KNOWLEDGE: dict[str, type[Knowledge]] = {
    "ratings": CollaborativeKnowledge,
    "likes": LikesKnowledge,
    "choices": ChoicesKnowledge,
}
"""By what the data hold: `Prepared.feedback`, or choices where nobody says no."""


def knowledge_of(prepared: Prepared) -> type[Knowledge]:
    """The collaborative knowledge that goes with a data set."""
    return KNOWLEDGE["choices" if prepared.positive_only else prepared.feedback]


SEQUENTIAL: dict[str, type[NextItem]] = {
    "sasrec": SASRec,
    "gru4rec": GRU4Rec,
    "nextitnet": NextItNet,
}
"""By `FusionConfig.sequential`."""
