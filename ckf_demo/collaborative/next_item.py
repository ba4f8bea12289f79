"""Encoders of histories, and sequential models that are trained to predict the next item.

    h_t = f(i_1 … i_t),   loss = −log σ(h_t · E_{t+1}) − log(1 − σ(h_t · E_j)),   j ∉ I_u

f is the encoder that a subclass of `NextItem` defines. Those of `ENCODERS` map embeddings float32
(g, L, d) and lengths int64 (g,), without the padding at the end, to states (g, L, d). Each state
depends on its own place and those before it.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from ckf_demo.collaborative.base import Rows
from ckf_demo.data.prepared import Prepared

LONGEST = 50
"""The largest number of items of a history that are read, the last ones."""

SPREAD = 0.02
"""Standard deviation of the first embeddings."""

BLOCKS, HEADS = 2, 1
"""Of self-attention."""

KERNEL = 3
DILATIONS = (1, 4, 1, 4)
"""Of the first convolution of each block; that of the second is twice as wide. Together the blocks
see 61 places."""

DROPOUT = 0.2
LEARNING_RATE = 2e-3
BATCH = 32
"""Windows of at most `LONGEST` + 1 items in one step."""

PADDING = 0
"""Row of the embedding table for no item."""


def training_sequences(prepared: Prepared) -> list[np.ndarray]:
    """Items of every user, oldest first, from the rows that collaborative models may see.

    All rated items, or all liked items where the data hold likes: int64 (n_u,) for users with any.
    """
    kept = prepared.fit & prepared.liked if prepared.feedback == "likes" else prepared.fit
    return Rows.of(prepared, kept).sequences()


class Attention(nn.Module):
    """Two pre-norm Transformer layers over positions from the end: (g, L, d) → (g, L, d)."""

    def __init__(self, size: int, dropout: float):
        super().__init__()
        self.positions = nn.Embedding(LONGEST + 1, size)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                size, HEADS, size, dropout, batch_first=True, norm_first=True
            )
            for _ in range(BLOCKS)
        )
        self.norm = nn.LayerNorm(size)
        with torch.no_grad():
            self.positions.weight.mul_(SPREAD)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        length = x.shape[1]
        # counted from the end, so that what was liked last has the same position in every history
        positions = (lengths[:, None] - 1 - torch.arange(length)).clamp(min=0)
        x = self.dropout(x + self.positions(positions))
        # padding comes last, so being causal hides it
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        for block in self.blocks:
            x = block(x, src_mask=mask, is_causal=True)
        return self.norm(x)


class Recurrent(nn.Module):
    """One layer of gated recurrent units: embeddings (g, L, d) → states (g, L, d)."""

    def __init__(self, size: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.units = nn.GRU(size, size, batch_first=True)
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.norm(self.units(self.dropout(x))[0])


class ConvolutionBlock(nn.Module):
    """x + two causal convolutions, each normalised and rectified: (g, L, d) → (g, L, d)."""

    def __init__(self, size: int, dilation: int):
        super().__init__()
        self.dilations = dilation, 2 * dilation
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, size, KERNEL, dilation=d) for d in self.dilations
        )
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in self.dilations)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for convolution, norm, dilation in zip(
            self.convolutions, self.norms, self.dilations, strict=True
        ):
            # padded on the left only, so that no place sees later ones
            before = F.pad(y.transpose(1, 2), ((KERNEL - 1) * dilation, 0))
            y = F.relu(norm(convolution(before).transpose(1, 2)))
        return x + y


class Convolutions(nn.Module):
    """Four residual blocks: embeddings (g, L, d) → states (g, L, d)."""

    def __init__(self, size: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(ConvolutionBlock(size, dilation) for dilation in DILATIONS))
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.norm(self.blocks(self.dropout(x)))


ENCODERS: dict[str, Callable[[int, float], nn.Module]] = {
    "SASRec": Attention,
    "GRU4Rec": Recurrent,
    "NextItNet": Convolutions,
}
"""By the name of the model; called with the width d and the dropout."""


class NextItem(nn.Module):
    """States of width d, ``size``, over a start token and the last `LONGEST` items of a history.

    The table has a row for padding and one for each item; items without training sequences have
    zero rows and are left out of histories.
    """

    def __init__(self, n_items: int, size: int):
        super().__init__()
        self.start = nn.Parameter(SPREAD * torch.randn(size))
        self.items = nn.Embedding(n_items + 1, size, padding_idx=PADDING)
        with torch.no_grad():
            self.items.weight.mul_(SPREAD)

    @abstractmethod
    def read(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Map embeddings float32 (g, L + 1, d), the start token's first, to states of that shape.

        Each state depends on its own place and those before it. ``lengths`` int64 (g,) is the
        number of items without the padding at the end.
        """

    @property
    def item_table(self) -> Tensor:
        """E, float32 (I, d)."""
        return self.items.weight[1:]

    @classmethod
    def fit(
        cls, sequences: list[np.ndarray], n_items: int, *, size: int, epochs: int, seed: int
    ) -> tuple[Self, float]:
        """Train on sequences of item indices int64 (n_u,), oldest first.

        Every epoch cuts them into windows at other places. No random number depends on items
        outside the sequences. Returns the frozen model in evaluation mode, and the loss of the last
        epoch per position.
        """
        trained_items, flat = np.unique(np.concatenate(sequences), return_inverse=True)
        lengths = [len(sequence) for sequence in sequences]
        rows = torch.from_numpy(flat + 1).split(lengths)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = cls(len(trained_items), size)
            optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98))
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
            negatives = NegativeSampler(rows, len(trained_items) + 1)
            for _ in range(epochs):
                loss = _train_epoch(net, optimizer, rows, negatives)
                schedule.step()
            model = cls(n_items, size)
        table = torch.zeros(n_items + 1, size)
        table[torch.from_numpy(trained_items) + 1] = net.item_table.detach()
        model.load_state_dict(net.state_dict() | {"items.weight": table})
        return model.eval().requires_grad_(False), loss

    def forward(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """States after each item of windows: float32 (g, L + 1, d), the first before all items.

        ``rows`` int64 (g, L) of the embedding table are oldest first and padded at the end;
        ``lengths`` int64 (g,) are those without padding.
        """
        x = torch.cat([self.start.expand(len(rows), 1, -1), self.items(rows)], 1)
        return self.read(x, lengths)

    @torch.no_grad()
    def states(self, items: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x_u after prefixes of one history, each made of its own last `LONGEST` items.

        ``items`` int64 (n,) are oldest first; ``lengths`` int64 (m,) are those of the prefixes,
        by default 0, 1, … n. Returns float32 (m, d).
        """
        if lengths is None:
            lengths = torch.arange(len(items) + 1, device=items.device)
        rows = items + 1
        trained = self.items.weight[rows].any(1)
        ends, of_prefix = F.pad(trained.cumsum(0), (1, 0))[lengths].unique(return_inverse=True)
        rows = rows[trained]
        counts = ends.clamp(max=LONGEST)
        place = torch.arange(int(counts.max()) if len(counts) else 0, device=items.device)
        places = (ends - counts)[:, None] + place
        inside = place < counts[:, None]
        windows = torch.where(inside, rows[torch.where(inside, places, 0)], PADDING)
        after = self(windows, counts)
        return after[torch.arange(len(after), device=items.device), counts][of_prefix]


class NegativeSampler:
    """Draws items outside sequences, each int64 (n_u,) of numbers in 1 … ``n_numbers`` − 1."""

    def __init__(self, sequences: tuple[Tensor, ...] | list[Tensor], n_numbers: int):
        self.n_numbers = n_numbers
        self.keys = torch.cat([items.unique() + n * n_numbers for n, items in enumerate(sequences)])

    def others(self, sequence: Tensor) -> Tensor:
        """For each sequence number, an item number that is not in this sequence; of the same shape.

        Where a sequence holds nearly all items, a few drawn numbers may be in it.
        """
        drawn = torch.randint(1, self.n_numbers, sequence.shape)
        for _ in range(5):
            keys = sequence * self.n_numbers + drawn
            places = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
            again = self.keys[places] == keys
            drawn[again] = torch.randint(1, self.n_numbers, (int(again.sum()),))
        return drawn


class Block(nn.Module):
    """Causal self-attention with one head, then a feed-forward layer: (g, L, d) → (g, L, d)."""

    def __init__(self, size: int):
        super().__init__()
        self.before_attention, self.before_feed = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attend = nn.Linear(size, 3 * size)
        self.mix = nn.Linear(size, size)
        self.feed = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.attend(self.before_attention(x)).chunk(3, -1)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.mix(mixed)
        return x + self.dropout(self.feed(self.before_feed(x)))


class SASRec(NextItem):
    """SASRec (Kang & McAuley 2018): causal self-attention with positions counted from the end.

    Checkpoints hold its layers under these names, so it does not use an encoder of `ENCODERS`.
    """

    def __init__(self, n_items: int, size: int):
        super().__init__(n_items, size)
        self.positions = nn.Embedding(LONGEST + 1, size)
        self.dropout = nn.Dropout(DROPOUT)
        self.blocks = nn.ModuleList(Block(size) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(size)
        with torch.no_grad():
            self.positions.weight.mul_(SPREAD)

    def read(self, x: Tensor, lengths: Tensor) -> Tensor:
        positions = lengths[:, None] - torch.arange(x.shape[1], device=x.device)
        x = self.dropout(x + self.positions(positions.clamp(min=0)))
        # padding comes last, so being causal hides it
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class _Encoded(NextItem):
    """States of an encoder of `ENCODERS`, by the name of the class."""

    def __init__(self, n_items: int, size: int):
        super().__init__(n_items, size)
        self.encoder = ENCODERS[type(self).__name__](size, DROPOUT)

    def read(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.encoder(x, lengths)


class GRU4Rec(_Encoded):
    """GRU4Rec (Hidasi et al. 2016); the authors use parallel sessions and a ranking loss."""


class NextItNet(_Encoded):
    """NextItNet (Yuan et al. 2019); the authors use a softmax over the catalogue."""


SEQUENTIAL: dict[str, type[NextItem]] = {
    "sasrec": SASRec,
    "gru4rec": GRU4Rec,
    "nextitnet": NextItNet,
}
"""By `FusionConfig.sequential`."""


def _train_epoch(
    net: NextItem,
    optimizer: torch.optim.Optimizer,
    rows: tuple[Tensor, ...],
    sampler: NegativeSampler,
) -> float:
    """One pass over sequences of table rows; the mean loss per position."""
    net.train()
    windows, owners = [], []
    longest = LONGEST + 1  # the last one is a target only
    for user, (sequence, first) in enumerate(
        zip(rows, torch.randint(longest, (len(rows),)).tolist(), strict=True)
    ):
        parts = [sequence[:first], *sequence[first:].split(longest)]
        windows += [part for part in parts if len(part)]
        owners += [user] * (len(windows) - len(owners))
    total = torch.zeros(2)
    for batch in torch.randperm(len(windows)).split(BATCH):
        targets = pad_sequence([windows[i] for i in batch.tolist()], batch_first=True)
        lengths = (targets != PADDING).sum(1)
        hidden = net(targets[:, :-1], lengths - 1)
        users = torch.tensor([owners[i] for i in batch.tolist()])[:, None].expand_as(targets)
        negatives = sampler.others(users)
        kept = targets != PADDING
        liked = (hidden * net.items(targets)).sum(-1)[kept]
        other = (hidden * net.items(negatives)).sum(-1)[kept]
        loss = F.softplus(-liked).mean() + F.softplus(other).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += torch.tensor([loss.item() * len(liked), len(liked)])
    return float(total[0] / total[1])
