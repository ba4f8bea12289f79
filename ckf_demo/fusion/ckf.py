"""CKF: a personal bridge from collaborative space into the language model's token space.

    p_u = Σ_j softmax_j(a(e_j)) e_j                        attention over the history
    W_u^user = I + M_user(p_u),  W_u^item = I + M_item(p_u)   two meta-networks
    ê_u = W_u^user e_u,  ê_v = W_u^item e_v                personal bridges
    tokens = P_user ê_u,  P_item ê_v                       projections to the backbone's H

after arXiv 2410.20642. Three things are added. Attention sees each history item's rating residual
beside its embedding, since a history holds dislikes too. The item token carries the pair features
(biases, counts, neighbours), without which a fusion is behind a sum of two means. And a small head
on the same features gives each task a prior: the language model learns to answer by itself, from
labels and from the prior's answer, and the two are then pooled with a learned weight.
"""

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ckf_demo.collaborative.base import WORDS
from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.fusion.base import BackboneShape, Fused, FusionMethod, MethodConfig, PairBatch
from ckf_demo.fusion.embeddings import EmbeddingsConfig, collaborative_embeddings
from ckf_demo.runtime.section import Section

PRIOR_SIZES = {"rating": 5, "ctr": 1}
POOLED = (*PRIOR_SIZES, "ranking")
STEEPNESS = 10.0
"""Turns a parameter into the logit of a pooling weight, so that it can move at the others' rate."""
LEAST = 1e-3
"""The smallest pooling weight that a parameter stands for; it counts as 0."""
COUNT = "log item count"
"""The pair feature by which the prior's stars are shrunk."""


class BridgeConfig(MethodConfig):
    """Which bridges carry collaborative embeddings."""

    bridges: Literal["personal", "static", "user", "item", "none"] = "personal"
    """``personal``: made for each user by meta-networks. ``static``: one learned map for all, as in
    CoLLM. ``user`` or ``item``: only that token has a personal one; the other has the identity.
    ``none``: the identity for both."""


class PriorConfig(Section):
    """The parts of the collaborative prior."""

    prior: Literal["deep", "score"] = "deep"
    """``deep``: a small network on all pair features. ``score``: the first of them, a score, on a
    fitted scale."""


class CKFConfig(PriorConfig, EmbeddingsConfig, BridgeConfig):
    """Configuration of `CKF`."""


class MetaNetwork(nn.Module):
    """p_u (m, D) → a bridge I + ΔW (m, D, D); ΔW starts near zero."""

    def __init__(self, size: int, hidden: int):
        super().__init__()
        self.size = size
        self.body = nn.Sequential(nn.Linear(size, hidden), nn.Tanh())
        self.head = nn.Linear(hidden, size * size)
        nn.init.normal_(self.head.weight, std=0.1 / size**0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, preference: Tensor) -> Tensor:
        change = self.head(self.body(preference)).view(-1, self.size, self.size)
        return torch.eye(self.size, device=preference.device) + change


class StaticBridge(nn.Module):
    """The same bridge I + ΔW (m, D, D) for everybody, as CoLLM's map is; ΔW starts at zero."""

    def __init__(self, size: int):
        super().__init__()
        self.change = nn.Parameter(torch.zeros(size, size))

    def forward(self, preference: Tensor) -> Tensor:
        bridge = torch.eye(len(self.change), device=preference.device) + self.change
        return bridge.expand(len(preference), -1, -1)


class NoBridge(nn.Module):
    """The identity (m, D, D)."""

    def forward(self, preference: Tensor) -> Tensor:
        size = preference.shape[1]
        return torch.eye(size, device=preference.device).expand(len(preference), -1, -1)


class CollaborativePrior(nn.Module):
    """Pair features (m, F) → what they alone say about each task.

    Ratings and CTR: two hidden layers beside a linear path, so that what is linear stays linear.
    Features beyond three standard deviations are cut: new people must not be extrapolated. Stars
    are then shrunk towards their base rates b: b + s (x - b) with s = exp(shrink · (1, count)), the
    count of an item's ratings being feature ``count_at``.
    Ranking: the score of the candidate stage (m,) times a fitted scale, with a fitted weight for
    what words say, where the last features are `WORDS`.

    Where the knowledge has a score of its own as its first feature (``kind`` is ``"score"``), the
    logit for CTR is that score on a fitted scale, and nothing else is learnt.
    """

    shrink: Tensor
    base_rates: Tensor

    def __init__(
        self,
        size: int,
        kind: str = "deep",
        *,
        reads_words: bool = False,
        count_at: int | None = None,
    ):
        super().__init__()
        self.kind, self.count_at = kind, count_at
        if count_at is not None:
            self.register_buffer("shrink", torch.zeros(2))
            self.register_buffer("base_rates", torch.zeros(PRIOR_SIZES["rating"]))
        width = 64
        self.body = nn.Sequential(
            nn.Linear(size, width),
            nn.SiLU(),
            nn.Dropout(0.2),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Dropout(0.2),
        )
        self.deep = nn.ModuleDict({t: nn.Linear(width, n) for t, n in PRIOR_SIZES.items()})
        self.flat = nn.ModuleDict({t: nn.Linear(size, n) for t, n in PRIOR_SIZES.items()})
        self.choice_scale = nn.Parameter(torch.tensor(1.0))
        self.words = nn.Parameter(torch.zeros(len(WORDS))) if reads_words else None

    def forward(self, features: Tensor, choice: Tensor) -> dict[str, Tensor]:
        if self.kind == "score":
            linear = cast(nn.Linear, self.flat["ctr"])
            first = features[:, :1] * linear.weight[:, :1] + linear.bias
            return {"ctr": first[:, 0]}
        hidden = self.body(features)
        out = {t: self.deep[t](hidden) + self.flat[t](features) for t in PRIOR_SIZES}
        out = {t: x if PRIOR_SIZES[t] > 1 else x[:, 0] for t, x in out.items()}
        if self.count_at is not None:
            out["rating"] = self.shrunk(out["rating"], features[:, self.count_at], self.shrink)
        if self.words is not None:
            choice = choice + features[:, -len(self.words) :] @ self.words
        return out | {"ranking": self.choice_scale * choice}

    def shrunk(self, logits: Tensor, counts: Tensor, shrink: Tensor) -> Tensor:
        """Stars' logits (m, 5) moved towards the base rates; ``counts`` (m,) at unit scale."""
        scale = (shrink[0] + shrink[1] * counts).exp()[:, None]
        return self.base_rates + scale * (logits - self.base_rates)


def _bridge(config: BridgeConfig, side: str, size: int) -> nn.Module:
    """The bridge of a side, as a configuration wants it."""
    if config.bridges == "static":
        return StaticBridge(size)
    if config.bridges in ("personal", side):
        return MetaNetwork(size, config.hidden)
    return NoBridge()


class CKF(FusionMethod):
    """Collaborative Knowledge Fusion, arXiv 2410.20642."""

    name = "ckf"
    label = "CKF"
    paper = "2410.20642"
    summary = "personal bridges by meta-networks, collaborative tokens, Multi-LoRA (2410.20642)"
    needs = "collaborative tables"
    uses_dropout = True
    optional = ("prior.shrink", "prior.base_rates")

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, config: CKFConfig, knowledge: Knowledge, shape: BackboneShape):
        super().__init__(config, knowledge, shape)
        hidden_size, embedding_rms = shape.hidden_size, shape.embedding_rms
        self.embeddings = collaborative_embeddings(config, knowledge)
        self.feature_names = knowledge.feature_names
        size, n_features = self.embeddings.size, len(knowledge.feature_names)
        self.register_buffer("feature_mean", torch.zeros(n_features))
        self.register_buffer("feature_scale", torch.ones(n_features))
        self.attention = nn.Sequential(
            nn.Linear(size + 1, config.hidden), nn.Tanh(), nn.Linear(config.hidden, 1)
        )
        self.meta_user = _bridge(config, "user", size)
        self.meta_item = _bridge(config, "item", size)
        self.project_user = nn.Linear(size, hidden_size)
        self.project_item = nn.Linear(size + n_features, hidden_size)
        for layer in (self.project_user, self.project_item):
            nn.init.normal_(layer.weight, std=embedding_rms / layer.in_features**0.5)
            nn.init.normal_(layer.bias, std=embedding_rms)
        self.prior = self.new_prior()
        self.trust = nn.ParameterDict({t: nn.Parameter(torch.tensor(0.0)) for t in POOLED})
        self.dropout = nn.Dropout(config.dropout)

    def fit(self, prepared: Prepared, knowledge: Knowledge, *, seed: int) -> dict[str, float]:
        """Fit the embeddings; see `SequentialStates`."""
        return self.embeddings.fit(prepared, seed=seed)

    @property
    def own_prior(self) -> CollaborativePrior:
        """`prior`, which this method always has."""
        return cast(CollaborativePrior, self.prior)

    def new_prior(self) -> CollaborativePrior:
        """A prior that is not fitted yet."""
        names = self.feature_names
        return CollaborativePrior(
            len(names),
            self.config.prior,
            reads_words=names[-len(WORDS) :] == WORDS,
            count_at=names.index(COUNT) if COUNT in names else None,
        )

    def set_weight(self, task: str, weight: float) -> None:
        """Set a pooling weight; 1 is taken as one in a thousand from it."""
        within = torch.tensor(weight).clamp(LEAST, 1 - LEAST)
        with torch.no_grad():
            self.trust[task].copy_(within.logit() / STEEPNESS)

    def weights(self) -> dict[str, Tensor]:
        """The language model's weight in the pool of each task, 0 to 1."""
        weights = {task: (STEEPNESS * x).sigmoid() for task, x in self.trust.items()}
        return {task: w * (w > 1.01 * LEAST) for task, w in weights.items()}

    def standardise(self, features: Tensor) -> None:
        """Take mean and scale of the pair features from training rows (n, F).

        Features that have theirs keep it. What words say stays as it is: it is at unit scale where
        there are any, and mostly none are.
        """
        given = (self.feature_mean != 0) | (self.feature_scale != 1)
        kept = given | torch.tensor([name in WORDS for name in self.feature_names])
        self.feature_mean.copy_(torch.where(kept, self.feature_mean, features.mean(0)))
        self.feature_scale.copy_(torch.where(kept, self.feature_scale, features.std(0) + 1e-6))

    def extended(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a checkpoint of fewer pair features; the others have no effect yet."""
        new = len(self.feature_mean) - len(tensors["feature_mean"])
        if not new:
            return tensors
        padded = {
            name: functional.pad(tensor, (0, new))
            for name, tensor in tensors.items()
            if name in ("project_item.weight", "prior.body.0.weight", "feature_mean")
            or (name.startswith("prior.flat.") and name.endswith(".weight"))
        }
        padded["feature_scale"] = functional.pad(tensors["feature_scale"], (0, new), value=1.0)
        if (words := self.own_prior.words) is not None:
            padded["prior.words"] = torch.zeros_like(words)
        return tensors | padded

    def standard(self, features: Tensor) -> Tensor:
        """Pair features (m, F) at unit scale, cut at three standard deviations."""
        return ((features - self.feature_mean) / self.feature_scale).clamp(-3, 3)

    def preference(self, pairs: PairBatch) -> Tensor:
        """p_u (m, D); zero for an empty history."""
        if not len(pairs.history):
            return pairs.features.new_zeros(len(pairs.targets), self.embeddings.size)
        items = self.embeddings.table[pairs.history]
        scores = self.attention(torch.cat([items, pairs.residuals[:, None]], 1))[:, 0]
        earlier = torch.arange(len(items), device=items.device) < pairs.lengths[:, None]
        weights = scores.masked_fill(~earlier, -1e4).softmax(-1) * earlier
        return weights @ items

    @property
    def has_personal_bridges(self) -> bool:
        return any(isinstance(b, MetaNetwork) for b in (self.meta_user, self.meta_item))

    def bridges(self, pairs: PairBatch) -> tuple[Tensor, Tensor]:
        """W_u^user and W_u^item, each (m, D, D)."""
        preference = self.preference(pairs)
        return self.meta_user(preference), self.meta_item(preference)

    def bridge_distance(self, pairs: PairBatch) -> Tensor | None:
        """See the base class; it covers those of the two bridges that are personal."""
        preference = self.preference(pairs)
        metas = [m for m in (self.meta_user, self.meta_item) if isinstance(m, MetaNetwork)]
        if not metas:
            return None
        own = torch.cat([meta(preference) for meta in metas], 1)
        newcomer = torch.cat([meta(torch.zeros_like(preference[:1])) for meta in metas], 1)
        return (own - newcomer).norm(dim=(1, 2)) / newcomer.norm(dim=(1, 2))

    def forward(
        self,
        pairs: PairBatch,
        *,
        user_bridge: bool = True,
        item_bridge: bool = True,
        bridges: tuple[Tensor, Tensor] | None = None,
    ) -> Fused:
        """Tokens and priors.

        ``bridges`` are somebody else's W^user and W^item, each (1, D, D) or (m, D, D), in the place
        of the person's own; a bridge that is switched off is the identity (ablations).
        """
        features = self.standard(pairs.features)
        to_user, to_item = self.bridges(pairs) if bridges is None else bridges
        user, item = self.embeddings.users(pairs), self.embeddings.table[pairs.targets]
        if user_bridge:
            user = (to_user @ user[:, :, None])[:, :, 0]
        if item_bridge:
            item = (to_item @ item[:, :, None])[:, :, 0]
        user, item = self.dropout(user), self.dropout(item)
        return Fused(
            user_tokens=self.project_user(user),
            item_tokens=self.project_item(torch.cat([item, features], 1)),
            prior=self.own_prior(features, pairs.choices),
            weight=self.weights(),
        )
