"""BinLLM: collaborative embeddings as binary codes, spelled in the prompt.

    b_u = sign(W_user e_u + c_user),  b_v = sign(W_item e_v + c_item)        32 bits each
    "172.016.254.001"                                            a code in dot-decimal notation

after arXiv 2406.03210: text-like codes that a language model reads with its own word embeddings.
The codes are fitted beforehand on the labels of the rows that are learnt from,

    P(liked) = σ(a b_u · b_v + c),

with the gradient of sign taken as that of tanh; then they are held, and adapters learn to read.
Unlike the paper, whose matrix factorisation is trained through the codes, e_u and e_v are those of
the other methods, people being folded in; and every number has three digits.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ckf_demo.collaborative.pair_features import row_inputs
from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.fusion.base import BackboneShape, Fused, FusionMethod, PairBatch
from ckf_demo.fusion.embeddings import EmbeddingsConfig, WithLevel

BITS, OCTET = 32, 8
EPOCHS, BATCH, RATE = 20, 256, 3e-3
ALPHABET = " 0123456789."
DIGIT, DOT = 1, len(ALPHABET) - 1
"""Where the alphabet has 0, and the dot."""


def spelled(bits: Tensor) -> Tensor:
    """Codes bool (m, 32) as places in `ALPHABET`, int64 (m, 16): a space and four numbers."""
    worth = 2 ** torch.arange(OCTET - 1, -1, -1, device=bits.device)
    numbers = (bits.view(len(bits), -1, OCTET) * worth).sum(-1)
    digits = torch.stack([numbers // 100, numbers // 10 % 10, numbers % 10, numbers], -1) + DIGIT
    # each number is followed by a dot, the last one by nothing
    digits[:, :, -1] = DOT
    letters = digits.flatten(1)[:, :-1]
    return F.pad(letters, (1, 0))


class BinLLM(FusionMethod):
    """Text-like binary encoding, arXiv 2406.03210."""

    name = "binllm"
    label = "BinLLM"
    summary = "collaborative embeddings as binary codes spelled in dot-decimal notation"
    needs = "collaborative tables"
    paper = "2406.03210"
    token_width = BITS // OCTET * 4
    alphabet = ALPHABET
    characters: Tensor

    def __init__(self, config: EmbeddingsConfig, knowledge: Knowledge, shape: BackboneShape):
        super().__init__(config, knowledge, shape)
        self.embeddings = WithLevel(config, knowledge)
        size = self.embeddings.size
        self.encode_user, self.encode_item = nn.Linear(size, BITS), nn.Linear(size, BITS)
        self.requires_grad_(False)

    def codes(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """b_u and b_v, −1 or 1, of e_u and e_v (m, D): float32 (m, 32), with a gradient."""
        codes = []
        for layer, vectors in ((self.encode_user, users), (self.encode_item, items)):
            soft = layer(vectors).tanh()
            hard = torch.where(soft > 0, 1.0, -1.0)
            codes.append(soft + (hard - soft).detach())
        return codes[0], codes[1]

    def fit(self, prepared: Prepared, knowledge: Knowledge, *, seed: int) -> dict[str, float]:
        """Fit the embeddings, then the codes on `Prepared.learning_rows`; losses by name."""
        losses = self.embeddings.source.fit(prepared, seed=seed)
        rows = prepared.learning_rows()
        users, features = map(torch.from_numpy, row_inputs(prepared, knowledge, rows))
        items = torch.from_numpy(prepared.item[rows].astype(np.int64))
        device = self.encode_user.weight.device
        # factors need no history: `users` are folded in already
        history = torch.zeros(0, dtype=torch.int64)
        lengths = torch.zeros(len(rows), dtype=torch.int64)
        choices = torch.zeros(len(rows))
        columns = history, torch.zeros(0), lengths, users, items, features, choices
        batch = PairBatch(*(column.to(device) for column in columns))
        with torch.no_grad():
            e_u, e_v = self.embeddings(batch)
        liked = torch.from_numpy(prepared.liked[rows]).float().to(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            loss = self._fit_codes(e_u, e_v, liked)
        return losses | {"codes": loss}

    def _fit_codes(self, e_u: Tensor, e_v: Tensor, liked: Tensor) -> float:
        layers = nn.ModuleList([self.encode_user, self.encode_item]).requires_grad_(True)
        scale = nn.Parameter(e_u.new_tensor(1.0 / BITS**0.5))
        level = nn.Parameter(liked.mean().logit())
        optimiser = torch.optim.Adam([*layers.parameters(), scale, level], lr=RATE)
        total = 0.0
        for _ in range(EPOCHS):
            total = 0.0
            for rows in torch.randperm(len(liked)).split(BATCH):
                b_u, b_v = self.codes(e_u[rows], e_v[rows])
                logit = scale * (b_u * b_v).sum(1) + level
                loss = F.binary_cross_entropy_with_logits(logit, liked[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                total += loss.item() * len(rows)
        layers.requires_grad_(False)
        for layer in (self.encode_user, self.encode_item):
            # checkpoints hold bf16: the language model reads the codes that are served
            layer.weight.copy_(layer.weight.bfloat16())
        return total / len(liked)

    def forward(self, pairs: PairBatch) -> Fused:
        """The word embeddings of both codes of every pair, (m, 16 · H); there is no prior."""
        codes = self.codes(*self.embeddings(pairs))
        user, item = (self.characters[spelled(code > 0)].flatten(1) for code in codes)
        return Fused(user_tokens=user, item_tokens=item)
