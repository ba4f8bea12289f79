"""CTR: would they like it (four stars or more)? Yes or no, read as a probability."""

from torch import Tensor
from torch.nn import functional as F

from ckf_demo.tasks.base import Task, pool

TASK = Task("ctr", "Like", "\nWould like it:", (" Yes", " No"), lead=" would like:")
LIKED = 4.0


def combine(logits: Tensor, prior: Tensor | None, weight: Tensor | None) -> Tensor:
    """The logit (m,) of yes, from the language model's (m, 2) and the prior's (m,)."""
    return pool(logits[:, 0] - logits[:, 1], prior, weight)


def loss(logit: Tensor, liked: Tensor) -> Tensor:
    """Binary cross-entropy of logits (m,) against what was liked, bool (m,); mean over m."""
    return F.binary_cross_entropy_with_logits(logit, liked.float())


def within_user(logit: Tensor, liked: Tensor) -> Tensor:
    """Pairwise logistic loss of one person's liked items above the others (BPR), mean over pairs.

    Logits (m,) and what was liked, bool (m,); zero for a person with one kind alone.
    """
    above, below = logit[liked], logit[~liked]
    pairs = above[:, None] - below[None, :]
    return F.softplus(-pairs).mean() if pairs.numel() else logit.sum() * 0.0


def alignment(logit: Tensor, prior: Tensor) -> Tensor:
    """Cross-entropy of the language model's own answer (m,) to the prior's, mean over m."""
    return F.binary_cross_entropy_with_logits(logit, prior.sigmoid())
