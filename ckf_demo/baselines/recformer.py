"""RECFORMER: items as key-value text, histories as sentences of items, one encoder for both."""

import re
import zlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.label_training import step
from ckf_demo.baselines.searched import HistoryModel, Searched
from ckf_demo.data.prepared import Prepared
from ckf_demo.metrics.protocol import EvalInstances

WIDTH, HEADS, BLOCKS, DROPOUT = 64, 2, 2, 0.1
BUCKETS = 8192
"""Rows of the table of words. Words are looked up by checksum, so no word is unknown."""

ITEMS, WORDS = 10, 12
"""The largest numbers of liked items of a history, the last ones, and of words of each item."""

WORD = re.compile(r"\w+")
SPECIAL, KEY, VALUE = 1, 2, 3
PADDING, CLS = 0, 1
TEMPERATURE = 0.05
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.01
BATCH = 64
TARGETS = 15_000
"""Number of training likes that are drawn for each epoch."""

APART = 1
"""Epochs of the first stage."""

EPOCHS = (1, 2, 3)
"""Epochs of the second stage; chosen on validation."""

SEED = 0


@dataclass(frozen=True)
class Texts:
    """Every item as words: ``words`` and ``kinds`` int64 (I, `WORDS`), `PADDING` at the end."""

    words: Tensor
    kinds: Tensor

    @classmethod
    def of(cls, prepared: Prepared) -> "Texts":
        """``title Fargo year 1996 genres Crime Drama``, with keys and values marked as such."""
        words = torch.zeros(prepared.n_items, WORDS, dtype=torch.int64)
        kinds = torch.zeros_like(words)
        for item, title in enumerate(prepared.titles):
            year = str(prepared.years[item]) if prepared.years[item] else ""
            fields = {"title": title, "year": year, "genres": " ".join(prepared.genres[item])}
            spelled = []
            for key, value in fields.items():
                if value:
                    spelled += [(key, KEY), *((w, VALUE) for w in WORD.findall(value.lower()))]
            for place, (word, kind) in enumerate(spelled[:WORDS]):
                words[item, place], kinds[item, place] = bucket(word), kind
        return cls(words, kinds)

    def sentences(self, histories: list[np.ndarray]) -> tuple[Tensor, Tensor, Tensor]:
        """Words, kinds and item places of histories of item indices (oldest first): int64 (n, L).

        Each begins with [CLS], then the newest item comes first.
        """
        longest = max((len(history) for history in histories), default=0)
        items = torch.full((len(histories), min(longest, ITEMS)), -1, dtype=torch.int64)
        for row, history in zip(items, histories, strict=True):
            newest = history[::-1][:ITEMS].copy()
            row[: len(newest)] = torch.from_numpy(newest)
        there = (items >= 0)[:, :, None]
        words = torch.where(there, self.words[items], PADDING).flatten(1)
        kinds = torch.where(there, self.kinds[items], PADDING).flatten(1)
        places = torch.arange(1, items.shape[1] + 1).repeat_interleave(WORDS).expand_as(words)
        # padding within items moves to the end, so that words are contiguous
        order = torch.argsort((words == PADDING).int(), dim=1, stable=True)
        words, kinds, places = (x.gather(1, order) for x in (words, kinds, places))
        length = int((words != PADDING).sum(1).max()) if len(words) else 0
        return (
            F.pad(words[:, :length], (1, 0), value=CLS),
            F.pad(kinds[:, :length], (1, 0), value=SPECIAL),
            F.pad(places[:, :length], (1, 0)),
        )


def bucket(word: str) -> int:
    """Row of a word in the table, after those of padding and [CLS]."""
    return 2 + zlib.crc32(word.encode()) % (BUCKETS - 2)


class Encoder(nn.Module):
    """Words with kinds and places → the state at [CLS], of unit length: (n, L) → (n, `WIDTH`)."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(BUCKETS, WIDTH, padding_idx=PADDING)
        self.kinds = nn.Embedding(VALUE + 1, WIDTH)
        self.items = nn.Embedding(ITEMS + 1, WIDTH)
        self.positions = nn.Embedding(1 + ITEMS * WORDS, WIDTH)
        self.norm, self.dropout = nn.LayerNorm(WIDTH), nn.Dropout(DROPOUT)
        block = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, DROPOUT, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, BLOCKS, enable_nested_tensor=False)
        self.scale, self.level = nn.Parameter(torch.tensor(1.0)), nn.Linear(WIDTH, 1)

    def forward(self, words: Tensor, kinds: Tensor, places: Tensor) -> Tensor:
        positions = torch.arange(words.shape[1], device=words.device)
        x = self.words(words) + self.kinds(kinds) + self.items(places) + self.positions(positions)
        hidden = self.blocks(self.dropout(self.norm(x)), src_key_padding_mask=words == PADDING)
        return F.normalize(hidden[:, 0], dim=-1)

    def logits(self, similar: Tensor, vectors: Tensor) -> Tensor:
        """a s_uv + b · f(v) + c of similarities (n,) and items' vectors (n, `WIDTH`)."""
        return self.scale * similar / TEMPERATURE + self.level(vectors)[:, 0]

    @torch.no_grad()
    def catalogue(self, texts: Texts) -> Tensor:
        """Every item as a history of itself alone, float32 (I, `WIDTH`)."""
        self.eval()
        alone = np.arange(len(texts.words))[:, None]
        parts = np.split(alone, range(512, len(alone), 512))
        return torch.cat([self(*texts.sentences(list(part))) for part in parts])


class Recformer(Searched):
    """s_uv = cos(f(history), f(v)) / τ (Li et al. 2023), f one encoder of key-value text.

    An item is ``title … year … genres …``, a history the sentence of its last ten liked items, the
    newest first. Words, their kinds (key, value), their places and their items' places are
    embedded. The first stage trains each like against the others of its batch. The second stage,
    whose number of epochs is searched, trains it against the whole catalogue, whose vectors are
    computed before every epoch. The CTR score is the same number. Where the data hold dislikes, the
    second stage trains on the labels of the rows instead, by a s_uv + b · f(v) + c. The authors
    start from a pretrained Longformer; here two small blocks and a hashed table of words are
    trained from scratch.
    """

    name = "RECFORMER"
    summary = "Items as key-value text, a history as their sentence, one small encoder for both."
    needs = ("likes", "item text", "history")

    def models(self, data: TrainingData) -> Iterator[tuple[int, "_Reader"]]:
        texts = Texts.of(data.prepared)
        histories, targets = _likes(data)
        liked_items = torch.from_numpy(np.unique(targets))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            encoder = Encoder()
            optimizer = torch.optim.AdamW(
                encoder.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY
            )
            for _ in range(APART):
                for loss in _like_losses(encoder, texts, histories, targets):
                    step(optimizer, loss)
            for epochs in range(1, max(EPOCHS) + 1):
                if data.prepared.feedback == "likes":
                    losses = _label_losses(encoder, texts, data.learning)
                else:
                    catalogue = liked_items, encoder.catalogue(texts)[liked_items]
                    losses = _like_losses(encoder, texts, histories, targets, catalogue)
                for loss in losses:
                    step(optimizer, loss)
                if epochs in EPOCHS:
                    yield epochs, _Reader(data.prepared, encoder, texts)


def _likes(data: TrainingData) -> tuple[list[np.ndarray], np.ndarray]:
    """Training likes that have a history of likes: the histories int64 (k,) and the items (n,)."""
    histories, targets = [], []
    for liked in data.likes.sequences():
        histories += [liked[max(0, n - ITEMS) : n] for n in range(1, len(liked))]
        targets.append(liked[1:])
    return histories, np.concatenate(targets)


def _like_losses(
    encoder: Encoder,
    texts: Texts,
    histories: list[np.ndarray],
    targets: np.ndarray,
    catalogue: tuple[Tensor, Tensor] | None = None,
) -> Iterator[Tensor]:
    """The losses of the batches of one pass over `TARGETS` of the likes.

    Each is trained against its batch, or against the given vectors (k, d) of some items (k,).
    """
    encoder.train()
    for batch in torch.randperm(len(targets))[:TARGETS].split(BATCH):
        states = encoder(*texts.sentences([histories[i] for i in batch.tolist()]))
        wanted = torch.from_numpy(targets)[batch]
        if catalogue is None:
            unique, right = torch.unique(wanted, return_inverse=True)
            vectors = encoder(*texts.sentences(list(unique.numpy()[:, None])))
        else:
            items, vectors = catalogue
            right = torch.searchsorted(items, wanted)
        yield F.cross_entropy(states @ vectors.T / TEMPERATURE, right)


def _label_losses(encoder: Encoder, texts: Texts, rows: EvalInstances) -> Iterator[Tensor]:
    """Binary cross-entropies of the batches of one pass over at most `TARGETS` rows."""
    encoder.train()
    prepared = rows.prepared
    liked = torch.from_numpy(rows.labels.astype(np.float32))
    for batch in torch.randperm(len(rows))[:TARGETS].split(BATCH):
        before = [prepared.item[prepared.history.before(int(r), ITEMS)] for r in rows.rows[batch]]
        states = encoder(*texts.sentences([history.astype(np.int64) for history in before]))
        unique, of_row = np.unique(rows.items[batch], return_inverse=True)
        vectors = encoder(*texts.sentences(list(unique.astype(np.int64)[:, None])))[of_row]
        logits = encoder.logits((states * vectors).sum(1), vectors)
        yield F.binary_cross_entropy_with_logits(logits, liked[batch])


class _Reader(HistoryModel):
    """Vectors of the catalogue (I, `WIDTH`), and the encoder as it is now."""

    def __init__(self, prepared: Prepared, encoder: Encoder, texts: Texts):
        super().__init__(prepared.n_items)
        self.prepared, self.texts = prepared, texts
        self.encoder = deepcopy(encoder).eval().requires_grad_(False)
        table = self.encoder.catalogue(texts)
        self.table = table.numpy().astype(np.float64)
        labelled = prepared.feedback == "likes"
        self.scale = float(self.encoder.scale) if labelled else 1.0
        self.level = self.encoder.level(table)[:, 0].double().numpy() * labelled

    def predict(self, items: np.ndarray, ratings: np.ndarray, targets: np.ndarray) -> np.ndarray:
        liked = items[self.prepared.likes(ratings)].astype(np.int64)
        words = self.texts.sentences([liked])
        state = self.encoder(*words)[0].numpy().astype(np.float64) / TEMPERATURE
        return self.scale * self.table[targets] @ state + self.level[targets]
