"""What a fusion method is given and what it hands to the prompt."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ckf_demo.collaborative.base import Labelled
from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.config import FusionConfig


@dataclass(frozen=True)
class PairBatch:
    """m (person, item) pairs of one history, each seeing a prefix of it.

    ``history`` int64 (n,) item indices, oldest first; ``residuals`` float32 (n,) how much more each
    was liked than it is by others; ``lengths`` int64 (m,) how much of the history each pair sees;
    ``users`` float32 (m, D) e_u folded in from that; ``targets`` int64 (m,); ``features``
    float32 (m, F).
    """

    history: Tensor
    residuals: Tensor
    lengths: Tensor
    users: Tensor
    targets: Tensor
    features: Tensor

    @classmethod
    def build(
        cls,
        knowledge: Knowledge,
        items: np.ndarray,
        ratings: np.ndarray,
        lengths: np.ndarray,
        targets: np.ndarray,
        device: torch.device | str = "cpu",
        *,
        labelled: Labelled | None = None,
        counts: np.ndarray | None = None,
    ) -> "PairBatch":
        """Fold a history (n,) in at every length (m,) and pair it with items (m,).

        ``labelled`` is what the training part says of the person besides, of which ``counts`` (m,)
        labels count for each pair.
        """
        items, targets = np.asarray(items, np.int64), np.asarray(targets, np.int64)
        lengths = np.asarray(lengths, np.int64)
        ratings = np.asarray(ratings, np.float32)
        users, residuals, features = knowledge.pair_inputs(
            items, ratings, lengths, targets, labelled, counts
        )
        arrays = items, residuals, lengths, users, targets, features
        return cls(*(torch.from_numpy(a).to(device) for a in arrays))


@dataclass(frozen=True)
class Fused:
    """Embeddings for the prompt and logits beside it.

    ``user_tokens`` and ``item_tokens`` float32 (m, H) take the places of placeholders in the
    backbone's embedding space. ``prior`` maps a task to what the collaborative signal alone says:
    rating (m, 5) logits, ctr (m,) and ranking (m,) a logit. ``weight`` maps a task to the scalar
    weight in 0–1 of the language model's own logits in the pool of both.
    """

    user_tokens: Tensor
    item_tokens: Tensor
    prior: dict[str, Tensor] = field(default_factory=dict)
    weight: dict[str, Tensor] = field(default_factory=dict)


class FusionMethod(nn.Module):
    """A way to carry collaborative knowledge into the language model.

    Attributes
    ----------
    name, summary, needs
        As listed by ``ckf methods``.
    uses_tokens
        Whether prompts hold collaborative tokens at all.
    """

    name = ""
    summary = ""
    needs = ""
    uses_tokens = True

    def __init__(
        self,
        config: FusionConfig,
        knowledge: Knowledge,
        hidden_size: int,
        embedding_rms: float,
    ):
        """``hidden_size`` is the backbone's H, ``embedding_rms`` the scale of its token table."""
        super().__init__()
        self.config = config

    def forward(self, pairs: PairBatch) -> Fused:
        """Tokens and priors for every pair."""
        raise TypeError(f"{type(self).__name__} must say how pairs are fused")
