"""e_u and e_v: where the methods take collaborative embeddings from."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ckf_demo.collaborative import lightgcn
from ckf_demo.collaborative.base import Rows
from ckf_demo.collaborative.next_item import SEQUENTIAL, training_sequences
from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.fusion.base import MethodConfig, PairBatch
from ckf_demo.runtime.errors import UserError

SIZE, EPOCHS = 64, 20
"""Width of a sequential model's embeddings and states, and passes over its training sequences."""
PASSES = 40
"""Over the graph, for LightGCN's."""


class EmbeddingsConfig(MethodConfig):
    """Which collaborative embeddings a method takes."""

    embeddings: Literal["factors", "sequential", "graph"] = Field(
        "factors", exclude_if=lambda value: value == "factors"
    )
    """CKF, CoRA, CoLLM: where e_u and e_v come from. ``factors``: matrix factorisation.
    ``sequential``: the states and items of a sequential model. ``graph``: LightGCN's graph."""
    sequential: Literal["sasrec", "gru4rec", "nextitnet"] = Field(
        "sasrec", exclude_if=lambda value: value == "sasrec"
    )
    """Which sequential model: A-LLMRec's, and with sequential embeddings the others'."""


class Factors(nn.Module):
    """The vectors of matrix factorisation, with biases and counts where the knowledge has them.

    ``table`` float32 (I, D) holds every e_v.
    """

    table: Tensor

    def __init__(self, knowledge: Knowledge):
        super().__init__()
        self.register_buffer("table", torch.from_numpy(knowledge.item_table), persistent=False)

    @property
    def size(self) -> int:
        """D."""
        return self.table.shape[1]

    def fit(self, prepared: Prepared, *, seed: int) -> dict[str, float]:
        """Nothing: the knowledge is fitted already."""
        return {}

    def users(self, pairs: PairBatch) -> Tensor:
        """e_u of every pair, float32 (m, D)."""
        return pairs.users


class SequentialStates(nn.Module):
    """The states of a sequential model after a history, and its embeddings of items.

    Both are held while the language model learns. ``table`` float32 (I, D) holds every e_v, about
    the mean of known items and at unit scale; items without training rows stand at zero.
    """

    table: Tensor

    def __init__(self, config: EmbeddingsConfig, knowledge: Knowledge):
        super().__init__()
        # what is drawn later must not depend on how many items there are
        with torch.random.fork_rng(devices=[]):
            self.net = SEQUENTIAL[config.sequential]
            self.model = self.net(knowledge.n_items, SIZE).eval().requires_grad_(False)
        self.register_buffer("table", torch.zeros(knowledge.n_items, SIZE))

    @property
    def size(self) -> int:
        """D."""
        return SIZE

    def train(self, mode: bool = True) -> "SequentialStates":
        """Stays in evaluation mode, as it serves."""
        return super().train(False)

    def fit(self, prepared: Prepared, *, seed: int) -> dict[str, float]:
        """Train the model on the rows that collaborative models may see; its loss.

        UserError when the language model would learn from these very rows.
        """
        _needs_rows_of_its_own(prepared, "sequential")
        fitted, loss = self.net.fit(
            training_sequences(prepared), prepared.n_items, size=SIZE, epochs=EPOCHS, seed=seed
        )
        self.model.load_state_dict(fitted.state_dict())
        known = fitted.item_table.any(1)
        table = (fitted.item_table - fitted.item_table[known].mean(0)) * known[:, None]
        with torch.no_grad():
            self.table.copy_(table / table[known].square().mean().sqrt())
            # checkpoints hold bf16: the language model is trained on what will be served
            for tensor in (*self.model.parameters(), self.table):
                if tensor.ndim > 1:
                    tensor.copy_(tensor.bfloat16())
        return {"next_item": loss}

    def users(self, pairs: PairBatch) -> Tensor:
        """e_u of every pair: the state after what it sees of the history, float32 (m, D)."""
        return self.model.states(pairs.history, pairs.lengths)


class SmoothedGraph(nn.Module):
    """LightGCN's embeddings of items; people are the mean of what they liked better than others do.

    ``table`` float32 (I, D) holds every e_v, at unit scale; items that nobody liked in training
    stand at zero. So people who were never seen have a place, whom LightGCN itself has none for.
    """

    table: Tensor

    def __init__(self, knowledge: Knowledge):
        super().__init__()
        self.register_buffer("table", torch.zeros(knowledge.n_items, lightgcn.SIZE))

    @property
    def size(self) -> int:
        """D."""
        return self.table.shape[1]

    def fit(self, prepared: Prepared, *, seed: int) -> dict[str, float]:
        """Smooth over the likes that collaborative models may see.

        UserError when the language model would learn from these very rows.
        """
        _needs_rows_of_its_own(prepared, "graph")
        likes = Rows.of(prepared, prepared.fit & prepared.liked)
        table = torch.from_numpy(lightgcn.tables(likes, passes=PASSES, seed=seed)[0])
        known = table.any(1)
        with torch.no_grad():
            # checkpoints hold bf16: the language model is trained on what will be served
            self.table.copy_((table / table[known].square().mean().sqrt()).bfloat16())
        return {}

    def users(self, pairs: PairBatch) -> Tensor:
        """e_u of every pair, float32 (m, D); zero where nothing was liked."""
        places = torch.arange(len(pairs.history), device=self.table.device)
        earlier = places < pairs.lengths[:, None]
        liked = (earlier & (pairs.residuals > 0)).float()
        return liked @ self.table[pairs.history] / liked.sum(1, keepdim=True).clamp(min=1.0)


def _needs_rows_of_its_own(prepared: Prepared, kind: str) -> None:
    if prepared.fit[prepared.learning_rows()].any():
        raise UserError(
            f"fusion.embeddings = '{kind}' needs training rows that the language model does not "
            f"learn from, and {prepared.dataset} has none; use 'factors', which are made out of "
            "fold."
        )


def collaborative_embeddings(
    config: EmbeddingsConfig, knowledge: Knowledge
) -> Factors | SequentialStates | SmoothedGraph:
    """Those that a configuration names."""
    if config.embeddings == "sequential":
        return SequentialStates(config, knowledge)
    if config.embeddings == "graph":
        return SmoothedGraph(knowledge)
    return Factors(knowledge)


class WithLevel(nn.Module):
    """Collaborative embeddings of both sides with a level, as the siblings take them: (m, D + 1).

    The last column is the level: how well liked the item is, and for the user a constant. Matrix
    factorisation without biases has that in its factors; it is made out of fold wherever the pair's
    features are.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: EmbeddingsConfig, knowledge: Knowledge):
        super().__init__()
        self.source = collaborative_embeddings(config, knowledge)
        self.level = knowledge.feature_names.index(knowledge.level)
        levels = torch.as_tensor(knowledge.levels, dtype=torch.float32)
        self.register_buffer("mean", levels.mean())
        self.register_buffer("scale", levels.std() + 1e-6)

    @property
    def size(self) -> int:
        """D + 1."""
        return self.source.size + 1

    def forward(self, pairs: PairBatch) -> tuple[Tensor, Tensor]:
        """e_u and e_v of every pair, each float32 (m, D + 1)."""
        level = (pairs.features[:, self.level] - self.mean) / self.scale
        items = torch.cat([self.source.table[pairs.targets], level[:, None]], 1)
        users = torch.cat([self.source.users(pairs), torch.ones_like(level)[:, None]], 1)
        return users, items
