"""CoLLM: one learned map carries collaborative embeddings into the token space, for everybody.

    e_u, e_v                              embeddings of a collaborative model
    tokens = g(e_u), g(e_v)               one MLP for both, arXiv 2310.19488, equations 4 and 5

trained in two steps: first the adapters from text alone, then the map with the adapters held
(`TrainConfig.text_first`). The answer is the language model's own: nothing is pooled.

Unlike in the authors' code users are folded in from their histories, so that new ones have an e_u
too, and the collaborative model is held in the second step.
"""

from torch import nn

from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.fusion.base import BackboneShape, Fused, FusionMethod, PairBatch
from ckf_demo.fusion.embeddings import EmbeddingsConfig, WithLevel

WIDER = 10
"""How many times as wide as the embedding the hidden layer is, as in the authors' code."""


def projection(size: int, shape: BackboneShape) -> nn.Sequential:
    """An MLP (size → 10 · size → H) whose outputs begin at the scale of word embeddings."""
    first, last = nn.Linear(size, WIDER * size), nn.Linear(WIDER * size, shape.hidden_size)
    nn.init.normal_(last.weight, std=shape.embedding_rms / last.in_features**0.5)
    nn.init.normal_(last.bias, std=shape.embedding_rms)
    return nn.Sequential(first, nn.ReLU(), last)


class CoLLM(FusionMethod):
    """Collaborative embeddings as tokens by one static map, arXiv 2310.19488."""

    name = "collm"
    label = "CoLLM"
    summary = "one static map of collaborative embeddings to tokens, trained in two steps"
    needs = "collaborative tables"
    paper = "2310.19488"

    def __init__(self, config: EmbeddingsConfig, knowledge: Knowledge, shape: BackboneShape):
        super().__init__(config, knowledge, shape)
        self.embeddings = WithLevel(config, knowledge)
        self.map = projection(self.embeddings.size, shape)

    def fit(self, prepared: Prepared, knowledge: Knowledge, *, seed: int) -> dict[str, float]:
        """Fit the embeddings; see `SequentialStates`."""
        return self.embeddings.source.fit(prepared, seed=seed)

    def forward(self, pairs: PairBatch) -> Fused:
        users, items = self.embeddings(pairs)
        return Fused(user_tokens=self.map(users), item_tokens=self.map(items))
