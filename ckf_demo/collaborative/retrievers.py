"""Retrievers that are unlike the watching model, for the candidate stage.

The watching model sees which items the same people choose. A graph convolution also reaches people
over several steps, and a next-item network reads the order of what was liked last.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ckf_demo.collaborative import lightgcn
from ckf_demo.collaborative.base import Rows, part
from ckf_demo.collaborative.next_item import SASRec
from ckf_demo.data.prepared import Prepared

PASSES, EPOCHS = 10, 10
"""Of the graph convolution and of the network over the likes; chosen on validation."""
UNKNOWN = -3.0
"""The score of an item without likes, in standard deviations."""


@dataclass(frozen=True)
class Retrievers:
    """A graph convolution's table float32 (I, d) and a next-item network over I items.

    Items without likes have zero rows in both. ``newcomer`` float32 (d,) stands for a person
    without likes in the graph: the mean of all people. Ratings of ``liked_from`` on are likes.
    """

    graph: np.ndarray
    newcomer: np.ndarray
    network: SASRec
    liked_from: float

    @classmethod
    def fit(cls, prepared: Prepared, rows: np.ndarray, seed: int) -> "Retrievers | None":
        """Fit on the likes among some interactions, by index in the order of time.

        None where nobody likes two items or more, from which nothing is learnt.
        """
        likes = Rows.of(prepared, rows[prepared.liked[rows]])
        sequences = likes.sequences()
        if not any(len(sequence) > 1 for sequence in sequences):
            return None
        items, people = lightgcn.tables(likes, passes=PASSES, seed=seed)
        network, _ = SASRec.fit(
            sequences, prepared.n_items, size=lightgcn.SIZE, epochs=EPOCHS, seed=seed
        )
        # in the precision of checkpoints, so that what is measured is what is served
        graph, newcomer = (
            table.astype(np.float16).astype(np.float32) for table in (items, people.mean(axis=0))
        )
        return cls(graph, newcomer, network.half().float(), prepared.liked_from)

    def scores(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Sum of both scores of every item after a history (n,), oldest first: float32 (I,).

        Each is in standard deviations of the catalogue.
        """
        liked = items[ratings >= self.liked_from]
        in_graph = liked[self.graph[liked].any(axis=1)]
        person = self.graph[in_graph].mean(axis=0) if len(in_graph) else self.newcomer
        history = torch.from_numpy(liked.astype(np.int64))
        state = self.network.states(history, torch.tensor([len(history)]))[0].numpy()
        return _standardised(self.graph, person) + _standardised(
            self.network.item_table.numpy(), state
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """What was fitted, by name, in half precision."""
        network = {f"network.{k}": v.numpy() for k, v in self.network.state_dict().items()}
        arrays = network | {"graph": self.graph, "newcomer": self.newcomer}
        return {name: array.astype(np.float16) for name, array in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], prepared: Prepared) -> "Retrievers":
        """Retrievers made of `arrays` and of the data that they were fitted on."""
        arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
        layers = {k: torch.from_numpy(v) for k, v in part(arrays, "network.").items()}
        network = SASRec(len(layers["items.weight"]) - 1, len(layers["start"]))
        network.load_state_dict(layers)
        network.eval().requires_grad_(False)
        return cls(arrays["graph"], arrays["newcomer"], network, prepared.liked_from)


def _standardised(table: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Inner products with a table (I, d) in standard deviations of the items that it knows."""
    known = table.any(axis=1)
    scores = table @ person
    mean, spread = scores[known].mean(), scores[known].std() + 1e-6
    return np.where(known, (scores - mean) / spread, UNKNOWN).astype(np.float32)
