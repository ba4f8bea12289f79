"""Which collaborative knowledge goes with which kind of data."""

from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.collaborative.likes import LikesKnowledge

Knowledge = CollaborativeKnowledge | LikesKnowledge
KNOWLEDGE: dict[str, type[Knowledge]] = {
    "ratings": CollaborativeKnowledge,
    "likes": LikesKnowledge,
}
"""By `Prepared.feedback`."""
