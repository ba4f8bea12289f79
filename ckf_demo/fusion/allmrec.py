"""A-LLMRec: item embeddings aligned with text first, then projected into a frozen language model.

Stage 1, over items i that a sequential model (SASRec) was trained on, with its frozen embeddings
E_i and states x_u and with sentence embeddings Q_i of the items' texts:

    e_i = f_I^enc(E_i),  q_i = f_T^enc(Q_i)                the joint space
    L_matching   = MSE(e_i, q_i)
    L_item       = MSE(E_i, f_I^dec(e_i))
    L_text       = MSE(Q_i, f_T^dec(q_i))
    L_rec        = −log σ(x_u · f_I^dec(e_i)) − log(1 − σ(x_u · f_I^dec(e_j)))
                   i the next item, j not in I_u
    L            = L_matching + α L_item + β L_text + L_rec

Stage 2, with the language model:

    tokens = F_U(x_u),  F_I(e_v),  and F_I(e_j) for every j of the history that is shown

after arXiv 2404.11343. Items that nobody rated have q_v in the place of e_v. Here Q comes from a
frozen MiniLM, where the paper trains its sentence encoder along.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ckf_demo.collaborative.next_item import (
    SEQUENTIAL,
    NegativeSampler,
    NextItem,
    training_sequences,
)
from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.collaborative.text_vectors import item_text_vectors
from ckf_demo.data.prepared import Prepared
from ckf_demo.fusion.base import BackboneShape, Fused, FusionMethod, PairBatch
from ckf_demo.fusion.embeddings import EPOCHS, SIZE, EmbeddingsConfig
from ckf_demo.runtime.errors import UserError

JOINT_SIZE = 128
WIDTH = 256
"""Hidden units of F_U and F_I."""

ALPHA, BETA = 0.5, 0.2
"""Weights of the item's and the text's reconstruction loss, as in the paper."""

PREFIXES = 20_000
"""Training prefixes of stage 1 at most, drawn once."""

JOINT_STEPS, JOINT_BATCH = 1500, 256
LEARNING_RATE = 1e-3

SAME = 0.9
"""Least cosine between an item of a checkpoint and the same item after stage 1 was run again."""


class ALLMRecConfig(EmbeddingsConfig):
    """Configuration of `ALLMRec`."""

    matching: bool = True
    """Whether item and text embeddings are matched in stage 1: L_matching."""
    item_reconstruction: bool = True
    """Whether L_item counts in stage 1."""
    text_reconstruction: bool = True
    """Whether L_text counts in stage 1."""
    joint: bool = True
    """Whether tokens come from the joint space; otherwise from the sequential model's own."""


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class JointSpace(nn.Module):
    """The autoencoders of stage 1, for E and Q of the given widths at about unit scale."""

    def __init__(self, item_size: int, text_size: int):
        super().__init__()
        self.encode_item = _mlp(item_size, JOINT_SIZE, JOINT_SIZE)
        self.decode_item = _mlp(JOINT_SIZE, JOINT_SIZE, item_size)
        self.encode_text = _mlp(text_size, JOINT_SIZE, JOINT_SIZE)
        self.decode_text = _mlp(JOINT_SIZE, JOINT_SIZE, text_size)

    def losses(self, items: Tensor, texts: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Losses of E (n, d) and Q (n, t) by name, and the decoded items (n, d)."""
        item, text = self.encode_item(items), self.encode_text(texts)
        decoded = self.decode_item(item)
        return {
            "matching": F.mse_loss(item, text),
            "item_reconstruction": F.mse_loss(decoded, items),
            "text_reconstruction": F.mse_loss(self.decode_text(text), texts),
        }, decoded

    @torch.no_grad()
    def table(self, items: Tensor, texts: Tensor, known: Tensor) -> Tensor:
        """e_i where ``known`` bool (I,), else q_i: float32 (I, `JOINT_SIZE`)."""
        return torch.where(known[:, None], self.encode_item(items), self.encode_text(texts))


def fit_joint_space(
    config: ALLMRecConfig,
    sequential: NextItem,
    sequences: list[np.ndarray],
    texts: Tensor,
    *,
    seed: int,
    steps: int,
) -> tuple[Tensor, JointSpace, dict[str, float]]:
    """Stage 1, from training sequences of items, oldest first, and Q, ``texts`` float32 (I, t).

    Returns the joint space's embedding of every item, float32 (I, `JOINT_SIZE`), the space in
    evaluation mode, and the mean of every loss over the last tenth of the steps, whether it was
    trained for or not.
    """
    known = sequential.item_table.any(1)
    own = known.nonzero()[:, 0]
    # at unit scale, so that the losses' weights do not depend on where the embeddings come from
    rms = float(sequential.item_table[own].square().mean().sqrt())
    items, texts = sequential.item_table / rms, texts / texts[own].square().mean().sqrt()
    weights = {
        "matching": float(config.matching),
        "item_reconstruction": ALPHA * config.item_reconstruction,
        "text_reconstruction": BETA * config.text_reconstruction,
        "recommendation": 1.0,
    }
    number = torch.zeros(len(known), dtype=torch.int64)
    number[own] = torch.arange(1, len(own) + 1)
    numbered = [number[torch.from_numpy(s)] for s in sequences]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        taken = NegativeSampler(numbered, len(own) + 1)
        states, positives, users = _prefixes(sequential, sequences)
        space = JointSpace(items.shape[1], texts.shape[1])
        optimizer = torch.optim.Adam(space.parameters(), lr=LEARNING_RATE)
        sums, counted = dict.fromkeys(weights, 0.0), max(1, steps // 10)
        for step in range(steps):
            rows = torch.randint(len(positives), (JOINT_BATCH,))
            negatives = own[taken.others(users[rows]) - 1]
            pair = torch.cat([positives[rows], negatives])
            losses, decoded = space.losses(items[pair], texts[pair])
            liked, other = (rms * decoded * states[rows].repeat(2, 1)).sum(1).chunk(2)
            losses["recommendation"] = F.softplus(-liked).mean() + F.softplus(other).mean()
            loss = sum((weights[name] * losses[name] for name in weights), torch.zeros(()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step >= steps - counted:
                sums = {name: sums[name] + float(losses[name].detach()) for name in sums}
    table = space.eval().table(items, texts, known)
    return table, space, {name: total / counted for name, total in sums.items()}


def _prefixes(sequential: NextItem, sequences: list[np.ndarray]) -> tuple[Tensor, Tensor, Tensor]:
    """Random training prefixes: x_u (n, d), the item that follows and whose they are (n,)."""
    lengths = torch.tensor([len(s) for s in sequences])
    users = torch.arange(len(sequences)).repeat_interleave(lengths)
    places = torch.cat([torch.arange(n) for n in lengths.tolist()])
    drawn = torch.randperm(len(places))[:PREFIXES].sort().values
    users, places = users[drawn], places[drawn]
    states, positives = [], []
    owners, counts = users.unique_consecutive(return_counts=True)
    for user, own in zip(owners.tolist(), places.split(counts.tolist()), strict=True):
        items = torch.from_numpy(sequences[user])
        states.append(sequential.states(items, own))
        positives.append(items[own])
    return torch.cat(states), torch.cat(positives), users


class Projection(nn.Sequential):
    """F_U or F_I: two layers into the backbone's token space, at the scale of its tokens."""

    def __init__(self, inputs: int, shape: BackboneShape):
        last = nn.Linear(WIDTH, shape.hidden_size)
        nn.init.normal_(last.weight, std=shape.embedding_rms / WIDTH**0.5)
        nn.init.normal_(last.bias, std=shape.embedding_rms)
        super().__init__(nn.Linear(inputs, WIDTH), nn.LayerNorm(WIDTH), nn.GELU(), last)


class ALLMRec(FusionMethod):
    """A-LLMRec, arXiv 2404.11343.

    Attributes
    ----------
    history_tokens
        Prompts hold a token for every film of the history too; see `history_vectors`.
    """

    name = "allmrec"
    label = "A-LLMRec"
    paper = "2404.11343"
    summary = "items aligned with their text, projected into a frozen language model (2404.11343)"
    needs = "training sequences, item texts"
    history_tokens = True

    def __init__(self, config: ALLMRecConfig, knowledge: Knowledge, shape: BackboneShape):
        super().__init__(config, knowledge, shape)
        size = JOINT_SIZE if config.joint else SIZE
        self.project_user = Projection(SIZE, shape)
        self.project_item = Projection(size, shape)
        # what is drawn later must not depend on how many items a test part adds
        with torch.random.fork_rng(devices=[]):
            self.net = SEQUENTIAL[config.sequential]
            # under this name in checkpoints, whichever model it is
            self.sasrec = self.net(knowledge.n_items, SIZE).requires_grad_(False)
            self.register_buffer("joint", torch.randn(knowledge.n_items, size))

    def train(self, mode: bool = True) -> "ALLMRec":
        """Training mode for what is learnt; the sequential model stays as it serves."""
        super().train(mode)
        self.sasrec.eval()
        return self

    def fit(self, prepared: Prepared, knowledge: Knowledge, *, seed: int) -> dict[str, float]:
        """Fit the sequential model and the joint space on the training part; their losses."""
        sequences = training_sequences(prepared)
        sequential, loss = self.net.fit(
            sequences, prepared.n_items, size=SIZE, epochs=EPOCHS, seed=seed
        )
        losses, known = {"next_item": loss}, sequential.item_table.any(1)
        if self.config.joint:
            texts = torch.from_numpy(item_text_vectors(prepared))
            table, _, more = fit_joint_space(
                self.config, sequential, sequences, texts, seed=seed, steps=JOINT_STEPS
            )
            table, losses = table - table[known].mean(0), losses | more
        else:
            table = sequential.item_table
            table = (table - table[known].mean(0)) * known[:, None]
        self.sasrec.load_state_dict(sequential.state_dict())
        with torch.no_grad():
            self.joint.copy_(table / table.square().mean().sqrt())
            # checkpoints hold bf16: stage 2 is trained on what will be served
            for tensor in (*self.sasrec.parameters(), self.joint):
                if tensor.ndim > 1:
                    tensor.copy_(tensor.bfloat16())
        return losses

    def extended(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a checkpoint, for data with more or fewer items at the end.

        A given split's test part adds such items. The sequential model leaves them out of
        histories, and in the joint space they stand at the mean.
        """
        new = len(self.joint) - len(tensors["joint"])
        tables = ("joint", "sasrec.items.weight")
        return tensors | {name: F.pad(tensors[name], (0, 0, 0, new)) for name in tables}

    def carried_over(
        self, tensors: dict[str, Tensor], source: Prepared, target: Prepared, *, seed: int
    ) -> dict[str, Tensor]:
        """q_v in the place of e_v for every item, as in the paper's cross-domain experiment.

        A checkpoint keeps the joint space's items alone, so its encoder of texts is had by stage 1
        once more, on the checkpoint's sequential model; it must lead to the items that the
        checkpoint has. That model knows none of the items, and x_u is that of somebody without a
        history.
        """
        if not self.config.joint:
            raise UserError(
                "This A-LLMRec was trained without the joint space, so it has nothing for items "
                "of other data; name a checkpoint with fusion.joint = true."
            )
        kept = tensors["joint"].float()
        sequential = self.net(len(kept), SIZE).eval().requires_grad_(False)
        sequential.load_state_dict(
            {k.removeprefix("sasrec."): v for k, v in tensors.items() if k.startswith("sasrec.")}
        )
        known = sequential.item_table.any(1)
        table, space, _ = fit_joint_space(
            self.config,
            sequential,
            training_sequences(source),
            torch.from_numpy(item_text_vectors(source)),
            seed=seed,
            steps=JOINT_STEPS,
        )
        mean = table[known].mean(0)
        scale = (table - mean).square().mean().sqrt()
        agreement = float(F.cosine_similarity((table - mean) / scale, kept).min())
        if agreement < SAME:
            raise UserError(
                f"Stage 1 of A-LLMRec does not lead to the checkpoint's items again (a cosine of "
                f"{agreement:.2f}), so its encoder of texts is lost; train the checkpoint again."
            )
        texts = torch.from_numpy(item_text_vectors(target))
        with torch.no_grad():
            # texts have unit length everywhere, so they are scaled as stage 1 scales its own
            joint = space.encode_text(texts / texts.square().mean().sqrt())
        joint = ((joint - mean) / scale).bfloat16()
        return tensors | {
            "joint": joint,
            "sasrec.items.weight": torch.zeros(len(joint) + 1, SIZE, dtype=torch.bfloat16),
        }

    def history_vectors(self, items: Tensor) -> Tensor:
        """F_I of items int64 (n,), for the films of the history: float32 (n, H)."""
        return self.project_item(self.joint[items])

    def forward(self, pairs: PairBatch) -> Fused:
        """User and item tokens of every pair; there is no prior."""
        return Fused(
            user_tokens=self.project_user(self.sasrec.states(pairs.history, pairs.lengths)),
            item_tokens=self.history_vectors(pairs.targets),
        )
