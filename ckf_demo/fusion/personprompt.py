"""PersonPrompt: tokens of users and items that are learnt with the language model.

    tokens = P_user [mean_j r_j, mean_j d_j r_j],  P_item t_v

with r and t two vectors of each item that begin at random, j over the history, and d_j how much
more j was liked than it is by others. After personalised prompts (PEPLER, arXiv 2202.07371), which
the papers on CoLLM's split call PersonPrompt: no collaborative model is fitted beforehand. There a
user's token is looked up by identity; here it is made of the history, so that new people have one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.fusion.base import BackboneShape, Fused, FusionMethod, MethodConfig, PairBatch
from ckf_demo.runtime.errors import UserError

SIZE = 32
"""Numbers of each of the two vectors of an item."""


class PersonPrompt(FusionMethod):
    """Learnt tokens, arXiv 2202.07371."""

    name = "personprompt"
    label = "PersonPrompt"
    summary = "tokens of users and items learnt with the language model, no collaborative model"
    needs = "nothing but the prompt and who chose what"
    paper = "2202.07371"
    uses_dropout = True

    def __init__(self, config: MethodConfig, knowledge: Knowledge, shape: BackboneShape):
        super().__init__(config, knowledge, shape)
        self.project_user = nn.Linear(2 * SIZE, shape.hidden_size)
        self.project_item = nn.Linear(SIZE, shape.hidden_size)
        for layer in (self.project_user, self.project_item):
            nn.init.normal_(layer.weight, std=shape.embedding_rms / layer.in_features**0.5)
            nn.init.normal_(layer.bias, std=shape.embedding_rms)
        # what is drawn later must not depend on how many items a test part adds
        with torch.random.fork_rng(devices=[]):
            self.readers = nn.Embedding(knowledge.n_items, SIZE)
            self.items = nn.Embedding(knowledge.n_items, SIZE)
        self.dropout = nn.Dropout(config.dropout)

    def users(self, pairs: PairBatch) -> Tensor:
        """What each pair sees of the history, read: float32 (m, 2 · `SIZE`)."""
        read = self.readers(pairs.history)
        both = torch.cat([read, pairs.residuals[:, None] * read], 1)
        sums = F.pad(both.cumsum(0), (0, 0, 1, 0))[pairs.lengths]
        return sums / pairs.lengths.clamp(min=1)[:, None]

    def forward(self, pairs: PairBatch) -> Fused:
        """User and item tokens of every pair; there is no prior."""
        return Fused(
            user_tokens=self.project_user(self.dropout(self.users(pairs))),
            item_tokens=self.project_item(self.dropout(self.items(pairs.targets))),
        )

    def extended(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Items that a test part adds stand at zero: nothing was learnt about them."""
        new = self.items.num_embeddings - len(tensors["items.weight"])
        tables = ("readers.weight", "items.weight")
        return tensors | {name: F.pad(tensors[name], (0, 0, 0, new)) for name in tables}

    def carried_over(
        self, tensors: dict[str, Tensor], source: Prepared, target: Prepared, *, seed: int
    ) -> dict[str, Tensor]:
        raise UserError(
            "PersonPrompt has learnt tokens of its own items alone and nothing for others; name a "
            "checkpoint of another method."
        )
