"""Self-attention over liked items that tells likes from dislikes; the basis of MoRec and CTRL.

    s_uv = h · e_v + b_v,   h the last hidden state over a start token and the liked items

A method defines e and b (`Net`). In training the likes of a user are cut into windows, at other
places in every epoch. One pass over a window answers for all targets whose histories end in it:
each sees between `LONGEST` − `STEP` and `LONGEST` liked items if it has as many. To answer, each
history is read by itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ckf_demo.collaborative.next_item import BLOCKS, LONGEST, SPREAD, Block
from ckf_demo.metrics.protocol import AdHocInstances, EvalInstances

HIDDEN = 64
STEP = 25
"""Number of history ends that one window serves in training."""

BATCH = 16
"""Windows, with all their targets, in one step."""

UNKNOWN = 0
"""Number of an item that is neither read nor scored, and of padding."""


@dataclass(frozen=True)
class Targets:
    """Targets and the liked items before them; all int64, items by numbers from 1.

    ``likes`` (m,) holds the liked items of one person after another, oldest first. Those of a
    target's person, ``owners`` (n,), begin at ``first`` (n,); its history are those from ``begins``
    (n,) to ``ends`` (n,) among them, and no target's history ends after ``lengths`` (n,).
    ``items`` (n,) are the targets themselves.
    """

    likes: Tensor
    owners: Tensor
    first: Tensor
    begins: Tensor
    ends: Tensor
    lengths: Tensor
    items: Tensor

    @classmethod
    def read(cls, instances: EvalInstances, item_numbers: np.ndarray) -> "Targets":
        """The targets of instances; items whose number is `UNKNOWN` are left out of histories."""
        if isinstance(instances, AdHocInstances):
            return cls._of_one(instances, item_numbers)
        prepared, n = instances.prepared, len(instances)
        whole, seen = prepared.history.lengths[instances.rows], instances.history_lengths
        owners, first, begins, ends, lengths = np.empty((5, n), dtype=np.int64)
        likes, total = [], 0
        users, owners[:] = np.unique(instances.users, return_inverse=True)
        for number, user in enumerate(users.tolist()):
            rows, mine = prepared.history.rows_of(user), np.flatnonzero(owners == number)
            read = prepared.liked[rows] & (item_numbers[prepared.item[rows]] != UNKNOWN)
            before = np.r_[0, np.cumsum(read)]
            begins[mine] = before[whole[mine] - seen[mine]]
            ends[mine] = before[whole[mine]]
            first[mine], lengths[mine] = total, ends[mine].max()
            likes.append(item_numbers[prepared.item[rows[read]]])
            total += len(likes[-1])
        arrays = np.concatenate(likes), owners, first, begins, ends, lengths
        return cls(*map(torch.from_numpy, arrays), torch.from_numpy(item_numbers[instances.items]))

    @classmethod
    def _of_one(cls, instances: AdHocInstances, item_numbers: np.ndarray) -> "Targets":
        """Targets of one user, all of them after the whole history."""
        items, ratings = instances.history
        likes = item_numbers[items[instances.prepared.likes(ratings)]]
        likes = likes[likes != UNKNOWN]
        nothing, whole = np.zeros(len(instances), np.int64), np.full(len(instances), len(likes))
        # there is always something to look up
        likes = np.append(likes, UNKNOWN)
        arrays = likes, nothing, nothing, nothing, whole, whole, item_numbers[instances.items]
        return cls(*map(torch.from_numpy, arrays))

    def windows(self, stops: Tensor) -> "Windows":
        """Windows that stop at ``stops`` (n,), at or after the ends of the targets' histories."""
        starts = torch.maximum(stops - LONGEST, self.begins)
        keys = torch.stack([self.first + starts, self.first + stops])
        (begin, end), of_target = keys.unique(dim=1, return_inverse=True)
        places = begin[:, None] + torch.arange(LONGEST)
        inside = places < end[:, None]
        numbers = torch.where(inside, self.likes[torch.where(inside, places, 0)], UNKNOWN)
        return Windows(numbers, end - begin, of_target, self.ends - starts, self.items)

    def shuffled(self) -> "Windows":
        """Windows for training, cut at random places."""
        offsets = torch.randint(STEP, (int(self.owners.max()) + 1,))[self.owners]
        stops = (self.ends + offsets) // STEP * STEP + STEP - 1 - offsets
        return self.windows(torch.minimum(stops, self.lengths))

    def __len__(self) -> int:
        return len(self.items)

    def batches(self) -> Iterable[tuple["Windows", Tensor]]:
        windows = self.shuffled()
        return windows.split(torch.randperm(len(windows.lengths)), BATCH)

    def separate(self) -> "Windows":
        """Windows for answering, which hold each history by itself."""
        return self.windows(self.ends)

    def parts(self) -> Iterable[tuple["Windows", Tensor]]:
        windows = self.separate()
        return windows.split(torch.argsort(windows.lengths, stable=True), 256)


@dataclass(frozen=True)
class Windows:
    """Stretches of liked items, and which targets are asked about after which of them.

    ``numbers`` (g, L) of items, oldest first and padded at the end; ``lengths`` (g,);
    ``of_target`` (n,) the window of each target and ``places`` (n,) how many of its items are its
    history; ``items`` (n,) the targets. All int64.
    """

    numbers: Tensor
    lengths: Tensor
    of_target: Tensor
    places: Tensor
    items: Tensor

    def split(self, order: Tensor, size: int) -> Iterable[tuple["Windows", Tensor]]:
        """Parts of ``size`` windows in an order, with the positions of their targets."""
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        place = place[self.of_target]
        by_part = torch.argsort(place // size, stable=True)
        parts = order.split(size)
        counts = torch.bincount(place // size, minlength=len(parts)).tolist()
        for windows, targets in zip(parts, by_part.split(counts), strict=True):
            lengths = self.lengths[windows]
            part = Windows(
                self.numbers[windows, : int(lengths.max())],
                lengths,
                place[targets] % size,
                self.places[targets],
                self.items[targets],
            )
            yield part, targets


class Net(nn.Module, ABC):
    """Causal self-attention over vectors of liked items; ``dropout`` is that of its inputs."""

    def __init__(self, dropout: float):
        super().__init__()
        self.start = nn.Parameter(SPREAD * torch.randn(HIDDEN))
        self.positions = nn.Embedding(LONGEST + 1, HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(HIDDEN) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(HIDDEN)
        with torch.no_grad():
            self.positions.weight.mul_(SPREAD)

    @abstractmethod
    def vectors(self, items: Tensor) -> Tensor:
        """e of items by their numbers: (…,) → (…, d)."""

    @abstractmethod
    def biases(self, items: Tensor) -> Tensor:
        """b of items by their numbers: (…,) → (…,)."""

    def states(self, windows: Windows) -> Tensor:
        """h of each target (n, d)."""
        start = self.start.expand(len(windows.numbers), 1, HIDDEN)
        x = torch.cat([start, self.vectors(windows.numbers)], 1)
        x = self.dropout(x + self.positions.weight[: x.shape[1]])
        # padding comes last, so being causal hides it
        for block in self.blocks:
            x = block(x)
        return self.norm(x[windows.of_target, windows.places])

    def forward(self, windows: Windows) -> Tensor:
        """Logits (n,) of being liked."""
        vectors = self.vectors(windows.items)
        return (self.states(windows) * vectors).sum(-1) + self.biases(windows.items)
