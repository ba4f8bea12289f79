"""e_u and e_v as the siblings take them: the vectors of matrix factorisation and nothing else."""

import torch
from torch import Tensor, nn

from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.fusion.base import PairBatch


class Embeddings(nn.Module):
    """Collaborative embeddings of both sides, float32 (m, D + 1).

    The last column is the level: how well liked the item is, and for the user a constant. Matrix
    factorisation without biases has that in its factors; it is made out of fold wherever the pair's
    features are.
    """

    def __init__(self, knowledge: Knowledge):
        super().__init__()
        self.register_buffer("item_table", torch.from_numpy(knowledge.item_table), persistent=False)
        self.level = knowledge.feature_names.index(knowledge.level)
        levels = torch.as_tensor(knowledge.levels, dtype=torch.float32)
        self.register_buffer("mean", levels.mean())
        self.register_buffer("scale", levels.std() + 1e-6)

    @property
    def size(self) -> int:
        """D + 1."""
        return self.item_table.shape[1] + 1

    def forward(self, pairs: PairBatch) -> tuple[Tensor, Tensor]:
        """e_u and e_v of every pair, each (m, D + 1)."""
        level = (pairs.features[:, self.level] - self.mean) / self.scale
        items = torch.cat([self.item_table[pairs.targets], level[:, None]], 1)
        return torch.cat([pairs.users, torch.ones_like(level)[:, None]], 1), items
