"""The shared-prefix engine: the prompt's prefix is computed once, with branches behind it.

A *prefix* is plain text that every branch may share. A *branch* continues the prefix at some
token, sees the prefix up to there and itself, never another branch, and may have *slots* whose
embeddings come from outside. The engine packs branches into one forward pass and returns the
hidden states of their answers. It knows nothing of users, items or what the tasks mean.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, LogitsProcessorList

from ckf_demo.backbone.attention import CHUNK, NAME, Packing
from ckf_demo.backbone.decoder import Decoder, Writing, cached, supports
from ckf_demo.backbone.multilora import MultiLora, Route
from ckf_demo.backbone.updates import PairUpdates
from ckf_demo.runtime.cancellation import check


@dataclass(frozen=True)
class Branch:
    """Tokens behind a prefix."""

    ids: list[int]
    """Token ids; those at slots are ignored."""
    at: int
    """How many prefix tokens the branch sees; its positions continue from there."""
    task: str
    """The task whose update its tokens get."""
    slots: list[int] = field(default_factory=list)
    """Positions within ``ids`` whose embeddings are given by the caller, in order."""
    answers_from: int = -1
    """Hidden states from this position on are returned; −1 is the last token alone."""

    @property
    def first_answer(self) -> int:
        return self.answers_from % len(self.ids)


@dataclass(frozen=True)
class Suffix:
    """Another end of a prefix, with the branches behind it."""

    ids: list[int]
    """Tokens in place of the prefix's own from ``at`` on; may be empty. Like the prefix they get no
    task's update."""
    at: int
    """How many of the prefix's tokens stay."""
    branches: list[Branch]
    """Each continues the suffix, so its own ``at`` is ``at + len(ids)``."""

    @property
    def size(self) -> int:
        """Tokens to be computed."""
        return len(self.ids) + sum(len(b.ids) for b in self.branches)

    @property
    def parts(self) -> list[Branch]:
        """The suffix as a branch of no task, unless it is empty, and the branches behind it."""
        return [*([Branch(self.ids, self.at, "")] if self.ids else []), *self.branches]


@dataclass(frozen=True)
class Prefix:
    """Keys and values of a prefix: per layer (1, heads, n, head size)."""

    layers: list[tuple[Tensor, Tensor]]
    length: int

    @property
    def size(self) -> int:
        """Bytes held."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)

    def beginning(self, length: int) -> "Prefix":
        """Its first ``length`` tokens, copied: a view would keep the whole in memory."""
        layers = [(k[:, :, :length].clone(), v[:, :, :length].clone()) for k, v in self.layers]
        return Prefix(layers, length)

    def cache(self, at: int | None = None) -> DynamicCache:
        """A cache of the first ``at`` tokens that a forward pass may extend."""
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.layers):
            cache.update(keys[:, :, :at], values[:, :, :at], index)
        return cache


TEMPERATURE = 0.7
"""Of tokens that are sampled: below 1, so that improbable ones stay rare."""

SHARE_FROM = 8
"""From this many branches on, their common beginning is computed in a pass of its own."""


def common_beginning(branches: Sequence[Branch], slots: Sequence[Tensor | None]) -> int:
    """How many leading tokens all branches share, with their embeddings; 0 if they cannot share.

    They must be of one task and continue the prefix at one place, and each must keep a token of
    its own. Slot embeddings count as the same if they differ by no more than rounding.
    """
    first = branches[0]
    if any((b.task, b.at) != (first.task, first.at) for b in branches):
        return 0
    most = min(min(len(b.ids) - 1, b.first_answer) for b in branches)
    filled = 0
    for place in range(most):
        if place not in first.slots:
            if any(place in b.slots or b.ids[place] != first.ids[place] for b in branches):
                return place
            continue
        if any(place not in b.slots for b in branches):
            return place
        vectors = torch.stack([cast(Tensor, own)[filled] for own in slots])
        if not torch.allclose(vectors, vectors[0], rtol=1e-4, atol=1e-6):
            return place
        filled += 1
    return most


def visibility(branches: Sequence[Branch], prefix_length: int, common: int = 0) -> Tensor:
    """Which tokens see which: bool (ΣT, prefix_length + ΣT), True where a branch token may look.

    All branches also see the first ``common`` branch tokens.
    """
    sizes = [len(b.ids) for b in branches]
    at = torch.tensor([b.at for b in branches]).repeat_interleave(torch.tensor(sizes))
    own = torch.block_diag(*(torch.ones(n, n, dtype=torch.bool).tril() for n in sizes))
    own[common:, :common] = True
    return torch.cat([torch.arange(prefix_length) < at[:, None], own], dim=1)


def additive(seen: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """0 where ``seen``, the dtype's minimum elsewhere."""
    mask = torch.zeros(seen.shape, dtype=dtype)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min).to(device)


def portions(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Runs of neighbours whose ``sizes`` add up to ``most`` at most; one alone may be larger."""
    start, total = 0, 0
    for place, size in enumerate(sizes):
        if place > start and total + size > most:
            yield slice(start, place)
            start, total = place, 0
        total += size
    if len(sizes):
        yield slice(start, len(sizes))


class Engine:
    """Forward passes of a backbone with Multi-LoRA over prefixes and branches.

    ``eight_bit`` says whether texts are written with 8-bit weights; None means yes on a CPU.

    Prefixes may hold tokens that are no words: the id −1 − i stands for the i-th of the things
    that ``vectors`` embeds, int64 (n,) → (n, H), where it is set.
    """

    vectors: Callable[[Tensor], Tensor] | None = None
    updates: PairUpdates | None = None

    def __init__(self, lora: MultiLora, *, eight_bit: bool | None = None):
        self.lora = lora
        self.model = lora.model
        self.model.set_attn_implementation(NAME)
        self.eight_bit = self.device.type == "cpu" if eight_bit is None else eight_bit
        self._decoders: dict[str, Decoder] = {}

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.model.embed_tokens.weight.dtype

    def _embed(self, branches: Sequence[Branch], slots: Sequence[Tensor | None]) -> Tensor:
        """(ΣT, H), with slot embeddings in their places."""
        embedded = self._embed_ids([i for b in branches for i in b.ids])
        positions, vectors, start = [], [], 0
        for branch, own in zip(branches, slots, strict=True):
            if branch.slots:
                positions += [start + s for s in branch.slots]
                vectors.append(own)
            start += len(branch.ids)
        if positions:
            index = torch.tensor(positions, device=self.device)
            embedded = embedded.index_copy(0, index, torch.cat(vectors).to(embedded.dtype))
        return embedded

    @torch.no_grad()
    def word_embeddings(self, ids: Sequence[int]) -> Tensor:
        """Embeddings of words as prompts have them, float32 (n, H)."""
        return self._embed_ids(ids).float()

    def _embed_ids(self, ids: Sequence[int]) -> Tensor:
        """(n, H) for ids of words and, below zero, of what `vectors` embeds."""
        tokens = torch.tensor(ids, dtype=torch.int64, device=self.device)
        embedded = self.model.model.embed_tokens(tokens.clamp(min=0))
        places = torch.nonzero(tokens < 0)[:, 0]
        if len(places):
            assert self.vectors is not None  # only then are there such ids
            vectors = self.vectors(-1 - tokens[places]).to(embedded.dtype)
            embedded = embedded.index_copy(0, places, vectors)
        return embedded

    def pack(
        self, branches: Sequence[Branch], prefix_length: int, *, with_prefix: bool = False
    ) -> Packing:
        """Lay branches out behind a prefix, in chunks of whole branches; in one chunk on a GPU.

        ``with_prefix`` says whether the prefix is part of the queries or cached.
        """
        sizes = [len(b.ids) for b in branches]
        masks = [
            additive(visibility(branches[places], prefix_length), self.dtype, self.device)
            for places in portions(sizes, CHUNK if self.device.type == "cpu" else sum(sizes))
        ]
        prefix_mask = None
        if with_prefix and prefix_length:
            square = torch.ones(prefix_length, prefix_length, dtype=torch.bool).tril()
            prefix_mask = additive(square, self.dtype, self.device)
        return Packing(prefix_length, masks, prefix_mask)

    def _run(
        self,
        branches: Sequence[Branch],
        slots: Sequence[Tensor | None],
        route: Route,
        cache: DynamicCache | None = None,
        packing: Packing | None = None,
    ) -> Tensor:
        """Hidden states (ΣT, H) of one pass over branches, which are added to a cache."""
        positions = torch.cat([torch.arange(b.at, b.at + len(b.ids)) for b in branches])
        with self.lora.routing(route):
            return self.model.model(
                inputs_embeds=self._embed(branches, slots)[None],
                # a four-dimensional mask is passed on untouched, so that none is built in vain
                attention_mask=torch.zeros(1, 1, 1, 1, dtype=self.dtype, device=self.device),
                position_ids=positions[None].to(self.device),
                past_key_values=cache,
                use_cache=cache is not None,
                packing=packing,
            ).last_hidden_state[0]

    def _task_of_tokens(self, branches: Sequence[Branch]) -> Tensor:
        """`Route.per_token` of branches, int64 (1, ΣT)."""
        order = {task: i for i, task in enumerate(self.lora.tasks)}
        owner = [order.get(b.task, -1) for b in branches for _ in b.ids]
        return torch.tensor([owner], device=self.device)

    @staticmethod
    def _answers(hidden: Tensor, branches: Sequence[Branch]) -> list[Tensor]:
        parts = hidden.split([len(b.ids) for b in branches])
        return [part[b.first_answer :] for part, b in zip(parts, branches, strict=True)]

    def forward(
        self,
        prefix_ids: list[int],
        branches: Sequence[Branch],
        slots: Sequence[Tensor | None],
        *,
        shared: bool = True,
        tasks: bool = True,
    ) -> list[Tensor]:
        """One pass over a prefix and its branches, for training.

        Parameters
        ----------
        slots
            Per branch (number of its slots, H), or None.

        Returns
        -------
        Per branch the hidden states from its ``answers_from`` on, (n, H).
        """
        n = len(prefix_ids)
        everything = [Branch(prefix_ids, 0, ""), *branches]
        route = Route(per_token=self._task_of_tokens(everything), shared=shared, tasks=tasks)
        packing = self.pack(branches, n, with_prefix=True)
        hidden = self._run(everything, [None, *slots], route, packing=packing)
        return self._answers(hidden[n:], branches)

    @torch.inference_mode()
    def prefill(
        self,
        prefix_ids: list[int],
        known: Prefix | None = None,
        common: int | None = None,
        *,
        shared: bool = True,
    ) -> Prefix:
        """Keys and values of a prefix.

        ``known`` is another prefix whose first ``common`` tokens are the same; all of them when
        it is None. ``shared`` switches the shared adapter off for ablations.
        """
        start = 0 if known is None else known.length if common is None else common
        if known is not None and start == len(prefix_ids):
            return known.beginning(start)
        cache = known.cache(start) if known else DynamicCache()
        self._run([Branch(prefix_ids[start:], start, "")], [None], Route(shared=shared), cache)
        return Prefix(cached(cache), len(prefix_ids))

    def separate(
        self,
        prefix_ids: list[int],
        branches: Sequence[Branch],
        updates: Mapping[str, tuple[Tensor, Tensor]],
        *,
        chunk_tokens: int = 1024,
    ) -> list[Tensor]:
        """Branches as separate prompts, each with its own weights, so that nothing is shared.

        Parameters
        ----------
        updates
            Per weight A (m, inputs, r), one for each branch, and B (r, outputs); see `PairUpdates`.

        Returns
        -------
        Per branch the hidden states from its ``answers_from`` on, (n, H), with gradients where
        the caller enables them.
        """
        whole = [
            replace(b, ids=[*prefix_ids[: b.at], *b.ids], at=0, answers_from=b.at + b.first_answer)
            for b in branches
        ]
        assert self.updates is not None  # set for methods that change weights
        out: list[Tensor] = []
        for places in portions([len(b.ids) for b in whole], chunk_tokens):
            part = whole[places]
            of_part = {name: (a[places], b) for name, (a, b) in updates.items()}
            with self.updates.applied(of_part, [len(b.ids) for b in part]):
                hidden = self._run(part, [None] * len(part), Route(), packing=self.pack(part, 0))
            out += self._answers(hidden, part)
        return out

    @torch.inference_mode()
    def score(
        self,
        prefix: Prefix,
        branches: Sequence[Branch],
        slots: Sequence[Tensor | None],
        *,
        chunk_tokens: int = 1024,
        shared: bool = True,
        tasks: bool = True,
    ) -> Iterator[list[Tensor]]:
        """Hidden states of branches behind a cached prefix, chunk by chunk, in order.

        Chunks hold whole branches of up to ``chunk_tokens`` tokens, without padding. What many
        branches begin with, such as the person's token, is computed once.
        """
        adapters = {"shared": shared, "tasks": tasks}
        if len(branches) >= SHARE_FROM and (length := common_beginning(branches, slots)):
            prefix, branches, slots = self._prefill_common(
                prefix, branches, slots, length, adapters
            )
        for places in portions([len(b.ids) for b in branches], chunk_tokens):
            part = branches[places]
            packing = self.pack(part, max(b.at for b in part))
            hidden = self._run_cached(prefix, part, slots[places], packing, **adapters)
            yield self._answers(hidden, part)

    @torch.inference_mode()
    def score_suffixes(
        self,
        prefix: Prefix,
        suffixes: Sequence[Suffix],
        slots: Sequence[Sequence[Tensor | None]],
        *,
        chunk_tokens: int = 1024,
    ) -> Iterator[list[list[Tensor]]]:
        """Hidden states of branches behind other ends of a cached prefix, chunk by chunk.

        What a suffix keeps of the prefix is not computed again, its own tokens are computed once
        for all its branches, and several suffixes share a pass.

        Parameters
        ----------
        slots
            For every branch of every suffix (number of its slots, H), or None.

        Returns
        -------
        For each suffix of a chunk, in order, what `score` returns for its branches.
        """
        for places in portions([suffix.size for suffix in suffixes], chunk_tokens):
            part = suffixes[places]
            longest = max(suffix.at for suffix in part)
            branches, vectors, masks = [], [], []
            for suffix, own in zip(part, slots[places], strict=True):
                behind_prefix = [replace(b, at=suffix.at) for b in suffix.parts]
                seen = visibility(behind_prefix, longest, common=len(suffix.ids))
                masks.append(additive(seen, self.dtype, self.device))
                branches += suffix.parts
                vectors += [*([None] if suffix.ids else []), *own]
            hidden = self._run_cached(prefix, branches, vectors, Packing(longest, masks))
            answers = iter(self._answers(hidden, branches))
            out = []
            for suffix in part:
                states = [next(answers) for _ in suffix.parts]
                out.append(states[1:] if suffix.ids else states)
            yield out

    def _run_cached(
        self,
        prefix: Prefix,
        branches: Sequence[Branch],
        slots: Sequence[Tensor | None],
        packing: Packing,
        *,
        shared: bool = True,
        tasks: bool = True,
    ) -> Tensor:
        """Hidden states (ΣT, H) of packed branches behind a cached prefix, in one pass."""
        names = {b.task for b in branches}
        per_token = None if len(names) == 1 else self._task_of_tokens(branches)
        route = Route(names.pop(), per_token, shared=shared, tasks=tasks)
        return self._run(branches, slots, route, prefix.cache(packing.prefix), packing)

    def _prefill_common(
        self,
        prefix: Prefix,
        branches: Sequence[Branch],
        slots: Sequence[Tensor | None],
        length: int,
        adapters: Mapping[str, bool],
    ) -> tuple[Prefix, list[Branch], list[Tensor | None]]:
        """The first ``length`` tokens of all branches behind the prefix, and the rest of each.

        Unlike the prefix itself they are computed with the task's update, so they serve this task
        alone.
        """
        first = branches[0]
        filled = [s for s in first.slots if s < length]
        beginning = replace(first, ids=first.ids[:length], slots=filled, answers_from=-1)
        vectors = cast(Tensor, slots[0])[: len(filled)] if filled else None
        cache = prefix.cache(first.at)
        self._run([beginning], [vectors], Route(first.task, **adapters), cache)
        rest = [
            Branch(
                b.ids[length:],
                b.at + length,
                b.task,
                [s - length for s in b.slots if s >= length],
                b.first_answer - length,
            )
            for b in branches
        ]
        left = [x if x is None else x[len(filled) :] for x in slots]
        return Prefix(cached(cache), first.at + length), rest, left

    @torch.inference_mode()
    def generate(
        self,
        prefix: Prefix,
        branch: Branch,
        slots: Tensor | None,
        *,
        stop_ids: set[int],
        max_tokens: int,
        stop: Event | None = None,
        drawn: torch.Generator | None = None,
        allowed: Collection[int] | None = None,
        processors: LogitsProcessorList | None = None,
    ) -> Iterator[int]:
        """Tokens after a branch, one at a time, until a stop id, the limit or ``stop``.

        They are the most probable ones; with ``drawn``, a generator on the CPU, they are sampled
        at the temperature `TEMPERATURE`. ``allowed`` are the only ones, with the stop ids.
        ``processors`` change the logits with a view to what was written before.

        Where adapters are folded and a `Decoder` knows the architecture, it writes all tokens but
        the first; otherwise the model does.
        """
        cache = prefix.cache(branch.at)
        decoder, writing = self.decoder(branch.task), None
        logits = self._step(branch, slots, cache)
        others: Tensor | None = None
        if allowed is not None:
            others = torch.ones(logits.shape[-1], dtype=torch.bool, device=logits.device)
            others[list({*allowed, *stop_ids})] = False
        written: list[int] = []
        for _ in range(max_tokens):
            check()
            if stop is not None and stop.is_set():
                return
            if written and decoder is not None:
                writing = writing or Writing(decoder, cache, max_tokens)
                logits = writing(written[-1])
            elif written:
                following = Branch(written[-1:], cache.get_seq_length(), branch.task)
                logits = self._step(following, None, cache)
            if processors is not None:
                so_far = torch.tensor([written], dtype=torch.long, device=logits.device)
                logits = processors(so_far, logits.view(1, -1)).view(logits.shape)
            if others is not None:
                logits = logits.masked_fill(others, -torch.inf)
            if drawn is None:
                token = int(logits.argmax())
            else:
                shares = (logits.flatten().float().cpu() / TEMPERATURE).softmax(-1)
                token = int(torch.multinomial(shares, 1, generator=drawn))
            if token in stop_ids:
                return
            written.append(token)
            yield token

    def forget_decoders(self) -> None:
        """Make decoders anew when they are next needed, since adapters have changed."""
        self._decoders.clear()

    def decoder(self, task: str) -> Decoder | None:
        """The decoder of a task, made at its first use; None where there is none."""
        if not (self.lora.folded and supports(self.model)):
            return None
        if task not in self._decoders:
            self._decoders[task] = Decoder(self.lora, task, eight_bit=self.eight_bit)
        return self._decoders[task]

    def _step(self, branch: Branch, slots: Tensor | None, cache: DynamicCache) -> Tensor:
        """Logits (1, V) behind a branch that is added to a cache."""
        hidden = self._run([branch], [slots], Route(task=branch.task), cache)
        return self.logits(hidden[-1:])

    def logits(self, hidden: Tensor, ids: Sequence[int] | None = None) -> Tensor:
        """Output logits (n, V) in float32, or only the rows of ``ids``: (n, len(ids))."""
        weight = cast(nn.Linear, self.model.get_output_embeddings()).weight
        if ids is None:
            return torch.nn.functional.linear(hidden, weight).float()
        rows = weight[torch.as_tensor(ids, device=weight.device)]
        return torch.nn.functional.linear(hidden.float(), rows.float())
