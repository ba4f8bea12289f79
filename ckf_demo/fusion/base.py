"""The inputs of a fusion method, and its outputs for the prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ckf_demo.collaborative.base import UNDESCRIBED, Description, Labelled
from ckf_demo.collaborative.registry import Knowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.runtime.section import Section


class MethodConfig(Section):
    """Fields of the ``[fusion]`` section that more than one method reads.

    What one method alone reads stands beside that method. `ckf_demo.fusion.registry.FusionConfig`
    is all of them in one section.
    """

    method: str = "ckf"
    """A registered fusion method; see `ckf methods`."""
    hidden: int = 32
    """Width of the attention over the history, of the meta-networks and of CoRA's blocks."""
    dropout: float = 0.1
    """Share of the bridged embeddings that is dropped in training, 0 to 1."""


@dataclass(frozen=True)
class PairBatch:
    """m (person, item) pairs of one history, each seeing a prefix of it.

    ``history`` int64 (n,) item indices, oldest first; ``residuals`` float32 (n,) how much more each
    was liked than it is by others; ``lengths`` int64 (m,) how much of the history each pair sees;
    ``users`` float32 (m, D) e_u folded in from that; ``targets`` int64 (m,); ``features``
    float32 (m, F); ``choices`` float32 (m,) the candidate stage's scores.
    """

    history: Tensor
    residuals: Tensor
    lengths: Tensor
    users: Tensor
    targets: Tensor
    features: Tensor
    choices: Tensor

    @classmethod
    def build(
        cls,
        knowledge: Knowledge,
        items: np.ndarray,
        ratings: np.ndarray,
        lengths: np.ndarray,
        targets: np.ndarray,
        device: torch.device | str = "cpu",
        *,
        labelled: Labelled | None = None,
        counts: np.ndarray | None = None,
        description: Description = UNDESCRIBED,
    ) -> "PairBatch":
        """Fold a history (n,) in at every length (m,) and pair it with items (m,).

        ``labelled`` is what the training part says of the person besides, of which ``counts`` (m,)
        labels count for each pair. ``description`` is what they say of themselves.
        """
        items, targets = np.asarray(items, np.int64), np.asarray(targets, np.int64)
        lengths = np.asarray(lengths, np.int64)
        ratings = np.asarray(ratings, np.float32)
        users, residuals, features = knowledge.pair_inputs(
            items, ratings, lengths, targets, labelled, counts, description
        )
        choices = knowledge.choices(items, ratings, lengths, targets)
        arrays = items, residuals, lengths, users, targets, features, choices
        return cls(*(torch.from_numpy(a).to(device) for a in arrays))


@dataclass(frozen=True)
class Fused:
    """Embeddings for the prompt and logits beside it.

    ``user_tokens`` and ``item_tokens`` float32 (m, w · H) take the places of w placeholders each in
    the backbone's embedding space (`FusionMethod.token_width`, mostly 1). ``prior`` maps a task to
    what the collaborative signal alone says: rating (m, 5) logits, ctr (m,) and ranking (m,) a
    logit. ``weight`` maps a task to the scalar weight in 0–1 of the language model's own logits in
    the pool of both. ``updates`` maps the path of a backbone weight to its low-rank update
    ΔW = A B: A float32 (m, inputs, r) for each pair, B (r, outputs) for all.
    """

    user_tokens: Tensor
    item_tokens: Tensor
    prior: dict[str, Tensor] = field(default_factory=dict)
    weight: dict[str, Tensor] = field(default_factory=dict)
    updates: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class BackboneShape:
    """The facts about the language model that a method may use.

    ``hidden_size`` is H, ``embedding_rms`` the scale of the token table; ``linears`` maps the path
    of each weight matrix of the layers to its (inputs, outputs), layer by layer.
    """

    hidden_size: int
    embedding_rms: float
    linears: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: PreTrainedModel) -> "BackboneShape":
        """The shape of a causal LM, in any precision."""
        table = cast(nn.Embedding, model.get_input_embeddings()).weight
        rms = float(table.detach().float().square().mean().sqrt())
        linears = {
            name: (module.in_features, module.out_features)
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module is not model.get_output_embeddings()
        }
        return cls(model.config.hidden_size, rms, linears)


class FusionMethod(nn.Module):
    """A way to carry collaborative knowledge into the language model.

    A new method is a subclass in a file of its own and one line in the registry.

    Attributes
    ----------
    name, label, summary, needs, paper
        As listed by ``ckf methods`` and on screen; ``paper`` is an arXiv number, empty for none.
    uses_tokens
        Whether prompts hold collaborative tokens.
    token_width
        How many places of the prompt the user's token takes, and the item's.
    alphabet
        Characters whose word embeddings the method is handed as ``characters``, for one that spells
        what it knows.
    history_tokens
        Whether the history holds a token of each item, the same for everybody, embedded by
        `history_vectors`.
    changes_weights
        Whether the method updates the backbone's weights for each pair (`Fused.updates`). Nothing
        can then be shared between the questions about one person.
    uses_dropout
        Whether ``dropout`` of its configuration acts anywhere in it.
    targets
        Paths of the weights that it updates.
    optional
        Names of weights that checkpoints may lack; zeros then, which change nothing.
    prior
        What the collaborative signal says alone, fitted before training, or None.
    """

    name = ""
    label = ""
    summary = ""
    needs = ""
    paper = ""
    uses_tokens = True
    token_width = 1
    alphabet = ""
    history_tokens = False
    changes_weights = False
    uses_dropout = False
    targets: Sequence[str] = ()
    optional: Sequence[str] = ()

    def __init__(self, config: MethodConfig, knowledge: Knowledge, shape: BackboneShape):
        super().__init__()
        self.config = config
        self.prior: nn.Module | None = None
        if self.alphabet:
            # words of no language until the backbone's are handed over
            size = len(self.alphabet), shape.hidden_size
            self.register_buffer("characters", torch.zeros(size), persistent=False)

    @property
    def fuses(self) -> bool:
        """Whether anything collaborative enters at all."""
        return self.uses_tokens or self.changes_weights

    @property
    def has_personal_bridges(self) -> bool:
        """Whether people have bridges of their own, which can be swapped (`bridges`)."""
        return False

    def fit(self, prepared: Prepared, knowledge: Knowledge, *, seed: int) -> dict[str, float]:
        """Fit parts before the language model is trained; return their losses by name."""
        return {}

    def history_vectors(self, items: Tensor) -> Tensor:
        """Tokens (n, H) of history items, int64 (n,)."""
        raise TypeError(f"{type(self).__name__} has no tokens in the history")

    def weights(self) -> dict[str, Tensor]:
        """The language model's weight in 0–1 in the pool of each task that has one."""
        return {}

    def set_weight(self, task: str, weight: float) -> None:
        """Set the language model's weight in 0–1 in the pool of a task."""
        raise TypeError(f"{type(self).__name__} pools no answers")

    def bridges(self, pairs: PairBatch) -> tuple[Tensor, Tensor]:
        """The bridges W of the user and of the item token, each (m, D, D)."""
        raise TypeError(f"{type(self).__name__} has no personal bridges")

    def bridge_distance(self, pairs: PairBatch) -> Tensor | None:
        """The distance of each pair's personal bridge from a newcomer's: (m,), or None without one.

        ‖W_u − W_0‖_F / ‖W_0‖_F, with W_0 the bridge for an empty history.
        """
        return None

    def extended(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a checkpoint for data to which a test part added items at the end."""
        return tensors

    def carried_over(
        self, tensors: dict[str, Tensor], source: Prepared, target: Prepared, *, seed: int
    ) -> dict[str, Tensor]:
        """Weights of a checkpoint for the items of other data, nothing tuned for these.

        Tables of items that come from the collaborative knowledge are not among the weights; a
        method that keeps some of its own says here what takes their place. The checkpoint was
        trained on ``source`` with ``seed`` and is used on ``target``. UserError when the method has
        nothing for items that it was not trained on.
        """
        return tensors

    def learnt(self) -> list[nn.Parameter]:
        """Parameters that are trained with the language model."""
        held = set() if self.prior is None else set(self.prior.parameters())
        return [p for p in self.parameters() if p.requires_grad and p not in held]

    def forward(self, pairs: PairBatch) -> Fused:
        """Tokens, weight updates and priors for every pair."""
        raise TypeError(f"{type(self).__name__} must say how pairs are fused")
