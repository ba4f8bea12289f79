"""Which collaborative knowledge goes with which kind of data."""

from ckf_demo.collaborative.base import Knowledge
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.collaborative.likes import LikesKnowledge
from ckf_demo.collaborative.positive_only import PositiveOnlyKnowledge
from ckf_demo.data.prepared import Prepared


def knowledge_of(prepared: Prepared) -> type[Knowledge]:
    """The kind of collaborative knowledge that goes with a data set."""
    if prepared.positive_only:
        return PositiveOnlyKnowledge
    return LikesKnowledge if prepared.feedback == "likes" else CollaborativeKnowledge
