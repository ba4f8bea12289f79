"""LightGCN: embeddings smoothed over the graph of who liked what (He et al. 2020, by lenskit)."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch

from ckf_demo.collaborative.base import Rows, own_threads

SIZE, LAYERS, LEARNING_RATE, BATCH = 64, 2, 0.005, 2048


def new_scorer():
    """A new scorer of lenskit with the settings above."""
    from lenskit.graphs.lightgcn import LightGCNScorer

    return LightGCNScorer(
        embedding_size=SIZE, layer_count=LAYERS, learning_rate=LEARNING_RATE, batch_size=BATCH
    )


def epochs(scorer, data, seed: int) -> Iterator[int]:
    """Train a scorer on a lenskit data set; yields the numbers of epochs that are over."""
    from lenskit.training import TrainingOptions

    with own_threads(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trainer = scorer.create_trainer(data, TrainingOptions(device="cpu", rng=seed))
        # lenskit 2025.8 never clears gradients, so each step would repeat all earlier ones
        trainer.optimizer.register_step_post_hook(lambda optimizer, *_: optimizer.zero_grad())
        for number in itertools.count(1):
            trainer.train_epoch()
            yield number


def tables(likes: Rows, *, passes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed embeddings after some passes over rows that are all liked.

    Items float32 (I, `SIZE`), zeros for those without likes, and people (n, `SIZE`), those with
    likes.
    """
    scorer = new_scorer()
    next(number for number in epochs(scorer, likes.dataset(), seed) if number == passes)
    with torch.no_grad():
        nodes = scorer.model.get_embedding(scorer._edges).numpy()
    table = np.zeros((likes.n_items, SIZE), np.float32)
    liked = scorer.items.ids()
    table[liked] = nodes[: len(liked)]
    return table, nodes[len(liked) :]
