"""The shared-prefix engine: a history once, with branches hanging off it.

A *prefix* is plain text that every branch may share. A *branch* continues the prefix at some
token, sees the prefix up to there and itself, never another branch, and may hold *slots* whose
embeddings come from outside. The engine packs branches into one forward pass and hands back the
hidden states that were asked for. It knows nothing of users, items or tasks' meanings.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, LogitsProcessorList

from ckf_demo.backbone.attention import CHUNK, NAME, Chunk, Packing
from ckf_demo.backbone.decoder import Decoder, Writing, cached, supports
from ckf_demo.backbone.multilora import MultiLora, Route
from ckf_demo.backbone.updates import PairUpdates
from ckf_demo.runtime.cancellation import check


@dataclass(frozen=True)
class Branch:
    """Tokens behind a prefix.

    Attributes
    ----------
    ids
        Token ids; those at slots are ignored.
    at
        How many prefix tokens the branch sees; its positions continue from there.
    task
        Whose update its tokens get.
    slots
        Positions within ``ids`` whose embeddings are given by the caller, in order.
    answers_from
        Hidden states from this position on are returned; −1 is the last token alone.
    """

    ids: list[int]
    at: int
    task: str
    slots: list[int] = field(default_factory=list)
    answers_from: int = -1

    @property
    def first_answer(self) -> int:
        return self.answers_from % len(self.ids)


@dataclass(frozen=True)
class Suffix:
    """Another ending of a prefix, and the branches that hang at it.

    Attributes
    ----------
    ids
        What stands in the place of the prefix's own tokens from ``at`` on; possibly nothing. Like
        the prefix they get no task's update.
    at
        How many of the prefix's tokens stay.
    branches
        Each continues the ending, so its own ``at`` is ``at + len(ids)``.
    """

    ids: list[int]
    at: int
    branches: list[Branch]

    @property
    def size(self) -> int:
        """Tokens to be computed."""
        return len(self.ids) + sum(len(b.ids) for b in self.branches)

    @property
    def parts(self) -> list[Branch]:
        """The ending as a branch of no task, where there is any, and the branches behind it."""
        own = [Branch(self.ids, self.at, "")] if self.ids else []
        return [*own, *self.branches]


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
"""Of tokens that are drawn: below 1, so that what is improbable stays rare."""

SHARE_FROM = 8
"""So many branches make it pay to compute their common beginning in a pass of its own."""


def _next(logits: Tensor, drawn: torch.Generator | None) -> int:
    """The token after logits (1, V) of the model or (V,) of a decoder."""
    if drawn is None:
        return int(logits.argmax())
    shares = (logits.flatten().float().cpu() / TEMPERATURE).softmax(-1)
    return int(torch.multinomial(shares, 1, generator=drawn))


def common_beginning(branches: Sequence[Branch], slots: Sequence[Tensor | None]) -> int:
    """How many leading tokens all branches share, with their embeddings; 0 where they cannot.

    They must belong to one task, hang at one place, and keep a token of their own behind. Slot
    embeddings count as the same when they differ by no more than rounding.
    """
    first = branches[0]
    if any((b.task, b.at) != (first.task, first.at) for b in branches):
        return 0
    most = min(min(len(b.ids) - 1, b.first_answer) for b in branches)
    vectors = cast(Sequence[Tensor], slots)  # looked at only where branches have slots
    filled = 0
    for place in range(most):
        if place in first.slots:
            vector = vectors[0][filled]
            for branch, own in zip(branches, vectors, strict=True):
                if place not in branch.slots:
                    return place
                if not torch.allclose(own[filled], vector, rtol=1e-4, atol=1e-6):
                    return place
            filled += 1
        elif any(place in b.slots or b.ids[place] != first.ids[place] for b in branches):
            return place
    return most


def visibility(branches: Sequence[Branch], prefix_length: int) -> Tensor:
    """Who sees whom: bool (ΣT, prefix_length + ΣT), True where a branch token may look."""
    total = sum(len(b.ids) for b in branches)
    seen = torch.zeros(total, prefix_length + total, dtype=torch.bool)
    start = 0
    for branch in branches:
        n = len(branch.ids)
        rows = slice(start, start + n)
        seen[rows, : branch.at] = True
        own = slice(prefix_length + start, prefix_length + start + n)
        seen[rows, own] = torch.ones(n, n, dtype=torch.bool).tril()
        start += n
    return seen


def ending_visibility(ending: Suffix, prefix_length: int) -> Tensor:
    """Who sees whom within `Suffix.parts`: bool (T, prefix_length + T).

    All see what is kept of the prefix; branches see the ending and themselves.
    """
    seen = visibility([replace(b, at=ending.at) for b in ending.parts], prefix_length)
    n = len(ending.ids)
    seen[n:, prefix_length : prefix_length + n] = True
    return seen


def additive(seen: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """0 where ``seen``, the dtype's minimum elsewhere."""
    mask = torch.zeros(seen.shape, dtype=dtype)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min).to(device)


def pack(
    branches: Sequence[Branch],
    prefix_length: int,
    *,
    with_prefix: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Packing:
    """Lay branches out behind a prefix, in chunks of whole branches; on a GPU in one.

    ``with_prefix`` says whether the prefix is part of the queries (one pass over everything) or
    cached.
    """
    chunks, first, start, end = [], 0, 0, 0
    for index, branch in enumerate(branches):
        end += len(branch.ids)
        last = index + 1 == len(branches)
        full = not last and end + len(branches[index + 1].ids) - start > CHUNK
        if last or (full and device.type == "cpu"):
            mask = visibility(branches[first : index + 1], prefix_length)
            chunks.append(Chunk(start, end, additive(mask, dtype, device)))
            first, start = index + 1, end
    prefix_mask = None
    if with_prefix and prefix_length:
        square = torch.ones(prefix_length, prefix_length, dtype=torch.bool).tril()
        prefix_mask = additive(square, dtype, device)
    return Packing(prefix_length, chunks, prefix_mask)


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

    ``eight_bit`` says whether texts are written with 8-bit weights; None is for yes on a CPU.

    Prefixes may hold tokens that are no words: an id of −1 − i stands for the i-th of the things
    that ``vectors`` embeds, int64 (n,) → (n, H), wherever it is seen.
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

    @property
    def _unused_mask(self) -> Tensor:
        # a four-dimensional mask is passed on untouched, so that none is built in vain
        return torch.zeros(1, 1, 1, 1, dtype=self.dtype, device=self.device)

    def _embed(self, branches: Sequence[Branch], slots: Sequence[Tensor | None]) -> Tensor:
        """(1, ΣT, H), with slot embeddings in their places."""
        embedded = self._embed_ids([i for b in branches for i in b.ids])[0]
        positions, vectors, start = [], [], 0
        for branch, own in zip(branches, slots, strict=True):
            if branch.slots:
                positions += [start + s for s in branch.slots]
                vectors.append(own)
            start += len(branch.ids)
        if positions:
            index = torch.tensor(positions, device=self.device)
            embedded = embedded.index_copy(0, index, torch.cat(vectors).to(embedded.dtype))
        return embedded[None]

    @torch.no_grad()
    def word_embeddings(self, ids: Sequence[int]) -> Tensor:
        """Embeddings of words as prompts have them, float32 (n, H)."""
        return self._embed_ids(ids)[0].float()

    def _embed_ids(self, ids: Sequence[int]) -> Tensor:
        """(1, n, H) for ids of words and, below zero, of what `vectors` embeds."""
        known = torch.tensor(ids, dtype=torch.int64, device=self.device)
        embedded = self.model.model.embed_tokens(known.clamp(min=0))
        places = torch.nonzero(known < 0)[:, 0]
        if len(places):
            assert self.vectors is not None  # only then are there such ids
            own = self.vectors(-1 - known[places]).to(embedded.dtype)
            embedded = embedded.index_copy(0, places, own)
        return embedded[None]

    def _positions(self, branches: Sequence[Branch]) -> Tensor:
        parts = [torch.arange(b.at, b.at + len(b.ids)) for b in branches]
        return torch.cat(parts)[None].to(self.device)

    @staticmethod
    def _answers(hidden: Tensor, branches: Sequence[Branch], start: int) -> list[Tensor]:
        out = []
        for branch in branches:
            out.append(hidden[start + branch.first_answer : start + len(branch.ids)])
            start += len(branch.ids)
        return out

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
        embedded = torch.cat([self._embed_ids(prefix_ids), self._embed(branches, slots)], dim=1)
        n = len(prefix_ids)
        positions = torch.cat(
            [torch.arange(n, device=self.device)[None], self._positions(branches)], dim=1
        )
        packing = pack(branches, n, with_prefix=True, dtype=self.dtype, device=self.device)
        order = {task: i for i, task in enumerate(self.lora.tasks)}
        owner = [-1] * n + [order.get(b.task, -1) for b in branches for _ in b.ids]
        route = Route(
            per_token=torch.tensor([owner], device=self.device), shared=shared, tasks=tasks
        )
        with self.lora.routing(route):
            hidden = self.model.model(
                inputs_embeds=embedded,
                attention_mask=self._unused_mask,
                position_ids=positions,
                use_cache=False,
                packing=packing,
            ).last_hidden_state[0]
        return self._answers(hidden, branches, n)

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
        with self.lora.routing(Route(shared=shared)):
            self.model.model(
                inputs_embeds=self._embed_ids(prefix_ids[start:]),
                attention_mask=self._unused_mask,
                past_key_values=cache,
                use_cache=True,
            )
        return Prefix(cached(cache), len(prefix_ids))

    def separate(
        self,
        prefix_ids: list[int],
        branches: Sequence[Branch],
        updates: Mapping[str, tuple[Tensor, Tensor]],
        *,
        chunk_tokens: int = 1024,
    ) -> list[Tensor]:
        """Branches as prompts of their own, each with weights of its own, so nothing is shared.

        Parameters
        ----------
        updates
            Per weight A (m, inputs, r), one for each branch, and B (r, outputs); see `PairUpdates`.

        Returns
        -------
        Per branch the hidden states from its ``answers_from`` on, (n, H). With gradients where
        the caller wants them.
        """
        whole = [
            replace(b, ids=[*prefix_ids[: b.at], *b.ids], at=0, answers_from=b.at + b.first_answer)
            for b in branches
        ]
        assert self.updates is not None  # set for methods that change weights
        out: list[Tensor] = []
        for places in portions([len(b.ids) for b in whole], chunk_tokens):
            part = whole[places]
            own = {name: (a[places], b) for name, (a, b) in updates.items()}
            packing = pack(part, 0, with_prefix=False, dtype=self.dtype, device=self.device)
            with self.updates.applied(own, [len(b.ids) for b in part]):
                hidden = self.model.model(
                    inputs_embeds=self._embed(part, [None] * len(part)),
                    attention_mask=self._unused_mask,
                    position_ids=self._positions(part),
                    use_cache=False,
                    packing=packing,
                ).last_hidden_state[0]
            out += self._answers(hidden, part, 0)
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
        if len(branches) >= SHARE_FROM:
            length = common_beginning(branches, slots)
            if length:
                prefix, branches, slots = self.prefill_common(
                    prefix, branches, slots, length, shared=shared, tasks=tasks
                )
        for places in portions([len(b.ids) for b in branches], chunk_tokens):
            part, own = branches[places], slots[places]
            longest = max(b.at for b in part)
            packing = pack(part, longest, with_prefix=False, dtype=self.dtype, device=self.device)
            hidden = self.forward_cached(prefix, part, own, packing, shared=shared, tasks=tasks)
            yield self._answers(hidden, part, 0)

    @torch.inference_mode()
    def score_endings(
        self,
        prefix: Prefix,
        endings: Sequence[Suffix],
        slots: Sequence[Sequence[Tensor | None]],
        *,
        chunk_tokens: int = 1024,
    ) -> Iterator[list[list[Tensor]]]:
        """Hidden states of branches behind other endings of a cached prefix, chunk by chunk.

        What an ending keeps of the prefix is not computed again, its own tokens are computed once
        for all its branches, and several endings share a pass.

        Parameters
        ----------
        slots
            For every branch of every ending (number of its slots, H), or None.

        Returns
        -------
        For each ending of a chunk, in order, what `score` returns for its branches.
        """
        for places in portions([e.size for e in endings], chunk_tokens):
            part = endings[places]
            longest = max(e.at for e in part)
            branches, vectors, chunks, start = [], [], [], 0
            for ending, own in zip(part, slots[places], strict=True):
                mask = ending_visibility(ending, longest)
                end = start + ending.size
                chunks.append(Chunk(start, end, additive(mask, self.dtype, self.device)))
                branches += ending.parts
                vectors += [None] * (len(ending.parts) - len(own)) + list(own)
                start = end
            packing = Packing(longest, chunks)
            hidden = self.forward_cached(prefix, branches, vectors, packing)
            answers = iter(self._answers(hidden, branches, 0))
            out = []
            for ending in part:
                found = [next(answers) for _ in ending.parts]
                out.append(found[len(found) - len(ending.branches) :])
            yield out

    def forward_cached(
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
        if len(names) == 1:
            route = Route(task=names.pop(), shared=shared, tasks=tasks)
        else:
            order = {task: i for i, task in enumerate(self.lora.tasks)}
            owner = [order.get(b.task, -1) for b in branches for _ in b.ids]
            route = Route(
                per_token=torch.tensor([owner], device=self.device), shared=shared, tasks=tasks
            )
        with self.lora.routing(route):
            return self.model.model(
                inputs_embeds=self._embed(branches, slots),
                attention_mask=self._unused_mask,
                position_ids=self._positions(branches),
                past_key_values=prefix.cache(packing.prefix),
                use_cache=True,
                packing=packing,
            ).last_hidden_state[0]

    def prefill_common(
        self,
        prefix: Prefix,
        branches: Sequence[Branch],
        slots: Sequence[Tensor | None],
        length: int,
        *,
        shared: bool,
        tasks: bool,
    ) -> tuple[Prefix, list[Branch], list[Tensor | None]]:
        """The first ``length`` tokens of all branches behind the prefix, and what is left of them.

        Unlike the prefix itself they are computed with the task's update, so they serve this task
        alone.
        """
        first = branches[0]
        filled = [s for s in first.slots if s < length]
        beginning = replace(first, ids=first.ids[:length], slots=filled, answers_from=-1)
        own = [cast(Tensor, slots[0])[: len(filled)] if filled else None]
        cache = prefix.cache(first.at)
        with self.lora.routing(Route(task=first.task, shared=shared, tasks=tasks)):
            self.model.model(
                inputs_embeds=self._embed([beginning], own),
                attention_mask=self._unused_mask,
                position_ids=self._positions([beginning]),
                past_key_values=cache,
                use_cache=True,
            )
        longer = Prefix(cached(cache), first.at + length)
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
        return longer, rest, left

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

        They are the most probable ones; with ``drawn``, a generator on the CPU, they are drawn at
        the temperature `TEMPERATURE`. ``allowed`` are the only ones, with the stop ids.
        ``processors`` change the logits with a view to what was written before.

        Where adapters are folded and a `Decoder` knows the architecture, it writes all tokens but
        the first; otherwise the model does.
        """
        cache = prefix.cache(branch.at)
        embedded, positions = self._embed([branch], [slots]), self._positions([branch])
        following = self._following(branch.task, cache, max_tokens)
        logits = self._step(branch.task, cache, embedded, positions)
        others: Tensor | None = None
        if allowed is not None:
            others = torch.ones(logits.shape[-1], dtype=torch.bool, device=logits.device)
            others[list({*allowed, *stop_ids})] = False
        token: int | None = None
        written: list[int] = []
        for _ in range(max_tokens):
            check()
            if stop is not None and stop.is_set():
                return
            if token is not None:
                logits = following(token)
            if processors is not None:
                so_far = torch.tensor([written], dtype=torch.long, device=logits.device)
                logits = processors(so_far, logits.view(1, -1)).view(logits.shape)
            if others is not None:
                logits = logits.masked_fill(others, -torch.inf)
            token = _next(logits, drawn)
            if token in stop_ids:
                return
            written.append(token)
            yield token

    def decoder(self, task: str) -> Decoder | None:
        """The decoder of a task, made at its first use; None where there is none."""
        if not (self.lora.folded and supports(self.model)):
            return None
        if task not in self._decoders:
            self._decoders[task] = Decoder(self.lora, task, eight_bit=self.eight_bit)
        return self._decoders[task]

    def _step(self, task: str, cache: DynamicCache, embedded: Tensor, positions: Tensor) -> Tensor:
        """Logits (1, V) behind tokens that are added to a cache."""
        with self.lora.routing(Route(task=task)):
            hidden = self.model.model(
                inputs_embeds=embedded,
                attention_mask=self._unused_mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state[0, -1:]
        return self.logits(hidden)

    def _following(self, task: str, cache: DynamicCache, room: int) -> Callable[[int], Tensor]:
        """What gives the logits behind one more token, from when the cache holds the branch."""
        decoder = self.decoder(task)
        writing: Writing | None = None

        def by_decoder(token: int) -> Tensor:
            nonlocal writing
            writing = writing or cast(Decoder, decoder).begin(cache, room)
            return writing(token)

        def by_model(token: int) -> Tensor:
            embedded = self.model.model.embed_tokens(torch.tensor([[token]], device=self.device))
            place = torch.tensor([[cache.get_seq_length()]], device=self.device)
            return self._step(task, cache, embedded, place)

        return by_decoder if decoder else by_model

    def logits(self, hidden: Tensor, ids: Sequence[int] | None = None) -> Tensor:
        """Output logits (n, V) in float32, or only the rows of ``ids``: (n, len(ids))."""
        weight = cast(nn.Linear, self.model.get_output_embeddings()).weight
        if ids is None:
            return torch.nn.functional.linear(hidden, weight).float()
        rows = weight[torch.as_tensor(ids, device=weight.device)]
        return torch.nn.functional.linear(hidden.float(), rows.float())
