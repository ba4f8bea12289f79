"""CoRA: collaborative knowledge as low-rank updates of weights, made for each pair.

    q_1 … q_k                              learnable queries
    Q = N blocks of self-attention, cross-attention on [e_u, e_v] and feed-forward
    q_c = mean of Q                        the pair's collaborative query
    ΔW = R(q_c W_FC) W_proj                for each adapted weight, R a reshape to (inputs, r)

after arXiv 2408.10645, section 3. The prompt holds words alone and the backbone is frozen: its
query, key, value and output weights are W + ΔW for this pair only. Since the weights differ from
pair to pair, no prefix can be shared: that is the method's price.

W_FC and W_proj have the shape of each weight, which for keys and values differs from the others'
under grouped-query attention. Every ``update_every``-th layer is adapted, which keeps the generator
small. W_proj begins at zero, so that the backbone begins as it is.
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.fusion.base import BackboneShape, Fused, FusionMethod, PairBatch
from ckf_demo.fusion.embeddings import EmbeddingsConfig, WithLevel
from ckf_demo.runtime.errors import UserError

HEADS = 4


class CoRAConfig(EmbeddingsConfig):
    """Configuration of `CoRA`."""

    blocks: int = 2
    """Blocks of self-attention, cross-attention and feed-forward over the queries."""
    queries: int = 4
    """Learnable queries."""
    update_rank: int = 2
    """Rank r of the weight update."""
    update_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Weights that get an update (Table 4 of the paper)."""
    update_every: int = 3
    """Every how many layers have one."""


class CoRA(FusionMethod):
    """Collaborative LoRA, arXiv 2408.10645."""

    name = "cora"
    label = "CoRA"
    summary = (
        "weight updates made for each pair from collaborative embeddings; prompts of words alone"
    )
    needs = "collaborative tables"
    paper = "2408.10645"
    uses_tokens = False
    changes_weights = True
    uses_dropout = True

    def __init__(self, config: CoRAConfig, knowledge: Knowledge, shape: BackboneShape):
        super().__init__(config, knowledge, shape)
        self.embeddings = WithLevel(config, knowledge)
        width = config.hidden
        self.queries = nn.Parameter(torch.randn(config.queries, width) / width**0.5)
        # at one scale with the queries: otherwise q_c hardly differs from pair to pair
        self.read = nn.Sequential(nn.Linear(self.embeddings.size, width), nn.LayerNorm(width))
        self.side = nn.Parameter(torch.randn(2, width) / width**0.5)
        block = nn.TransformerDecoderLayer(
            width, HEADS, 4 * width, config.dropout, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerDecoder(block, config.blocks, norm=nn.LayerNorm(width))
        self.targets = adapted(shape, config)
        rank = config.update_rank
        into = [shape.linears[name][0] for name in self.targets]
        out_of = [shape.linears[name][1] for name in self.targets]
        self.generate = nn.ModuleList(nn.Linear(width, n * rank) for n in into)
        self.project = nn.ParameterList(nn.Parameter(torch.zeros(rank, n)) for n in out_of)

    def fit(self, prepared: Prepared, knowledge: Knowledge, *, seed: int) -> dict[str, float]:
        """Fit the embeddings; see `SequentialStates`."""
        return self.embeddings.source.fit(prepared, seed=seed)

    def query(self, pairs: PairBatch) -> Tensor:
        """q_c (m, width) of every pair."""
        users, items = self.embeddings(pairs)
        sides = self.read(torch.stack([users, items], 1)) + self.side
        queries = self.queries.expand(len(sides), -1, -1)
        return self.blocks(queries, sides).mean(1)

    def forward(self, pairs: PairBatch) -> Fused:
        query, rank = self.query(pairs), self.config.update_rank
        generate = cast(Iterable[nn.Linear], self.generate)
        updates = {
            name: (layer(query).view(len(query), -1, rank) / layer.out_features**0.5, out_of)
            for name, layer, out_of in zip(self.targets, generate, self.project, strict=True)
        }
        nothing = torch.zeros(len(query), 0, device=query.device)
        return Fused(user_tokens=nothing, item_tokens=nothing, updates=updates)


def adapted(shape: BackboneShape, config: CoRAConfig) -> list[str]:
    """Paths of the weights that get an update, in every `update_every`-th layer.

    UserError when the backbone has no such weights.
    """
    paths = []
    for name in shape.linears:
        layer = next((int(part) for part in name.split(".") if part.isdigit()), None)
        named = name.rsplit(".", 1)[-1] in config.update_targets
        if named and layer is not None and layer % config.update_every == 0:
            paths.append(name)
    if not paths:
        known = sorted({name.rsplit(".", 1)[-1] for name in shape.linears})
        raise UserError(
            f"fusion.update_targets = {', '.join(config.update_targets)} names no weight of the "
            f"backbone; it has {', '.join(known)}."
        )
    return paths
