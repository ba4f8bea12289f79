"""Branches behind a shared prefix answer as prompts of their own, in every way of running them."""

from threading import Event
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from ckf_demo.backbone.attention import CHUNK, branch_attention
from ckf_demo.backbone.engine import SHARE_FROM, Branch, additive, common_beginning, visibility
from ckf_demo.backbone.multilora import Route
from ckf_demo.backbone.prefixes import PrefixCache
from support.tiny import TASKS, tiny_engine, usual_attention

ENGINE = tiny_engine()
VOCABULARY, HIDDEN = ENGINE.model.config.vocab_size, ENGINE.model.config.hidden_size
CLOSE = {"rtol": 1e-3, "atol": 3e-4}
quick = settings(max_examples=60, deadline=None)

tokens = st.integers(0, VOCABULARY - 1)


@st.composite
def branches_behind(draw: st.DrawFn, length: int, most: int = 40) -> list[Branch]:
    out = []
    for _ in range(draw(st.integers(1, 6))):
        size = draw(st.integers(1, most))
        slots = sorted(draw(st.sets(st.integers(0, size - 1), max_size=2)))
        seed = draw(st.integers(0, 1000))
        ids = torch.randint(VOCABULARY, (size,), generator=torch.Generator().manual_seed(seed))
        answers_from = draw(st.sampled_from([-1, 0, size // 2]))
        out.append(
            Branch(
                ids.tolist(),
                draw(st.integers(0, length)),
                draw(st.sampled_from(TASKS)),
                slots,
                answers_from,
            )
        )
    return out


@st.composite
def prompts(draw: st.DrawFn, most: int = 40) -> tuple[list[int], list[Branch]]:
    prefix = draw(st.lists(tokens, min_size=1, max_size=30))
    return prefix, draw(branches_behind(len(prefix), most))


def slots_for(branches: list[Branch], seed: int = 5) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(seed)
    vectors = [torch.randn(len(b.slots), HIDDEN, generator=generator) for b in branches]
    return [v if b.slots else None for v, b in zip(vectors, branches, strict=True)]


def alone(prefix: list[int], branch: Branch, slots: Tensor | None) -> Tensor:
    """The branch as one ordinary causal prompt through transformers' attention: (n, H)."""
    embedded = ENGINE.model.model.embed_tokens(torch.tensor(prefix[: branch.at] + branch.ids))
    for place, vector in zip(branch.slots, slots if branch.slots else [], strict=True):
        embedded[branch.at + place] = vector
    owner = [-1] * branch.at + [TASKS.index(branch.task)] * len(branch.ids)
    route = Route(per_token=torch.tensor([owner]))
    with torch.no_grad(), usual_attention(ENGINE), ENGINE.lora.routing(route):
        hidden = ENGINE.model.model(inputs_embeds=embedded[None], use_cache=False)
    return hidden.last_hidden_state[0, branch.at + branch.first_answer :]


def score(prefix: list[int], branches: list[Branch], slots, chunk_tokens: int = 512):
    parts = ENGINE.score(ENGINE.prefill(prefix), branches, slots, chunk_tokens=chunk_tokens)
    return [hidden for part in parts for hidden in part]


@st.composite
def alike(draw: st.DrawFn) -> tuple[list[int], list[Branch], list[Tensor | None]]:
    """Many branches of one task that begin alike, up to some token or slot."""
    prefix = draw(st.lists(tokens, min_size=1, max_size=20))
    beginning = draw(st.lists(tokens, max_size=6))
    at, task = draw(st.integers(0, len(prefix))), draw(st.sampled_from(TASKS))
    places = sorted(draw(st.sets(st.integers(0, 8), max_size=2)))
    same = draw(st.booleans())
    vectors = torch.randn(2, HIDDEN, generator=torch.Generator().manual_seed(3))
    branches, slots = [], []
    for seed in range(SHARE_FROM + draw(st.integers(0, 4))):
        generator = torch.Generator().manual_seed(seed)
        size = int(torch.randint(9, 14, (1,), generator=generator)) - len(beginning)
        ids = beginning + torch.randint(VOCABULARY, (size,), generator=generator).tolist()
        branches.append(Branch(ids, at, task, places, draw(st.sampled_from([-1, 0, 4]))))
        own = vectors if same else torch.randn(2, HIDDEN, generator=generator)
        slots.append(own[: len(places)] if places else None)
    return prefix, branches, slots


@quick
@given(alike(), st.integers(1, 150))
def test_branches_that_begin_alike_answer_as_separate_ones(prompt, chunk_tokens):
    prefix, branches, slots = prompt
    expected = [alone(prefix, *asked) for asked in zip(branches, slots, strict=True)]
    assert_close(score(prefix, branches, slots, chunk_tokens), expected, **CLOSE)


def test_a_common_beginning_ends_where_branches_differ():
    def common(*given: Branch, slots: list[Tensor] | None = None) -> int:
        return common_beginning(given, slots or [None] * len(given))

    one, other = [5, 6, 7, 8], [5, 6, 9, 8]
    assert common(Branch(one, 3, "ctr"), Branch(other, 3, "ctr")) == 2
    assert common(Branch(one, 3, "ctr"), Branch(one, 3, "ctr")) == 3
    assert common(Branch(one, 3, "ctr"), Branch(one, 2, "ctr")) == 0
    assert common(Branch(one, 3, "ctr"), Branch(one, 3, "rating")) == 0
    assert common(Branch(one, 3, "ctr", [], 1), Branch(one, 3, "ctr")) == 1
    same, another = torch.ones(1, HIDDEN), torch.zeros(1, HIDDEN)
    with_slot = Branch(one, 3, "ctr", [1])
    assert common(with_slot, with_slot, slots=[same, same]) == 3
    assert common(with_slot, with_slot, slots=[same, another]) == 1
    assert common(with_slot, Branch(one, 3, "ctr"), slots=[same, None]) == 1


@quick
@given(prompts(), st.integers(1, 150))
def test_branched_prompts_equal_separate_ones(prompt, chunk_tokens):
    prefix, branches = prompt
    slots = slots_for(branches)
    scored = score(prefix, branches, slots, chunk_tokens)
    assert len(scored) == len(branches)
    for hidden, branch, own in zip(scored, branches, slots, strict=True):
        assert hidden.shape == (len(branch.ids) - branch.first_answer, HIDDEN)
        assert_close(hidden, alone(prefix, branch, own), **CLOSE)
    # one training pass equals prefill and score
    with torch.no_grad():
        passed = ENGINE.forward(prefix, branches, slots)
    assert_close(passed, scored, **CLOSE)


def test_many_and_long_branches_span_several_attention_chunks():
    sizes = [CHUNK // 2, CHUNK // 2, 3, CHUNK + 20, 1, CHUNK - 1]
    branches = [Branch([i + 1] * n, 2 + i, "ctr") for i, n in enumerate(sizes)]
    prefix = list(range(10))
    expected = [alone(prefix, branch, None) for branch in branches]
    assert_close(score(prefix, branches, [None] * len(branches)), expected, **CLOSE)


@quick
@given(st.lists(tokens, min_size=2, max_size=40), st.data())
def test_an_extended_prefix_equals_one_prefilled_whole(ids, data):
    cut = data.draw(st.integers(1, len(ids) - 1))
    beginning = ENGINE.prefill(ids[:cut])
    kept = [(k.clone(), v.clone()) for k, v in beginning.layers]
    extended, whole = ENGINE.prefill(ids, beginning), ENGINE.prefill(ids)
    assert extended.length == whole.length == len(ids)
    assert_close(extended.layers, whole.layers, **CLOSE)
    assert_close(beginning.layers, kept, rtol=0, atol=0)


@quick
@given(st.lists(st.lists(tokens, min_size=1, max_size=12), min_size=1, max_size=6), st.data())
def test_kept_prefixes_answer_as_fresh_ones_within_their_limit(asked, data):
    """Whatever was asked before: a history that grew, lost its end, or is another one."""
    one = ENGINE.prefill([1] * 12).size
    cache = PrefixCache(ENGINE, limit=data.draw(st.integers(0, 4)) * one)
    for ids in asked:
        ids = data.draw(st.sampled_from(asked))[: data.draw(st.integers(0, 12))] + ids
        assert_close(cache(ids).layers, ENGINE.prefill(ids).layers, **CLOSE)
        assert cache.size <= cache.limit or len(cache) == 1


def test_a_kept_prefix_is_prefilled_only_behind_what_is_shared(monkeypatch):
    cache, begun = PrefixCache(ENGINE), []
    prefill = ENGINE.prefill

    def record(ids, known, common):
        begun.append(common)
        return prefill(ids, known, common)

    monkeypatch.setattr(ENGINE, "prefill", record)
    first = cache([1, 2, 3, 4])
    assert cache([1, 2, 3, 4]) is first
    cache([1, 2, 3, 4, 5])
    cache([1, 2, 9, 9])
    cache([1, 2])
    cache([7])
    assert begun == [0, 4, 2, 2, 0]
    assert len(cache) == 5


@quick
@given(prompts(most=12), st.data())
def test_a_branch_sees_neither_other_branches_nor_the_prefix_behind_its_beginning(prompt, data):
    prefix, branches = prompt
    chosen = data.draw(st.integers(0, len(branches) - 1))
    at = branches[chosen].at
    changed_prefix = prefix[:at] + [(t + 1) % VOCABULARY for t in prefix[at:]]
    changed = [
        b if i == chosen else Branch([(t + 7) % VOCABULARY for t in b.ids], b.at, b.task, b.slots)
        for i, b in enumerate(branches)
    ]
    slots = slots_for(branches)
    other_slots = [s if i == chosen or s is None else -s for i, s in enumerate(slots)]
    before = score(prefix, branches, slots)[chosen]
    after = score(changed_prefix, changed, other_slots)[chosen]
    assert_close(before, after, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        passed = ENGINE.forward(changed_prefix, changed, other_slots)[chosen]
    assert_close(before, passed, **CLOSE)


def test_what_a_branch_does_see_matters():
    branch = Branch([1, 2, 3], 4, "rating", [1])
    slots = [torch.ones(1, HIDDEN)]
    before = score([5, 6, 7, 8], [branch], slots)[0]
    assert not torch.allclose(before, score([4, 6, 7, 8], [branch], slots)[0], atol=1e-3)
    assert not torch.allclose(before, score([5, 6, 7, 8], [branch], [-slots[0]])[0], atol=1e-3)
    other = Branch([1, 2, 3], 4, "ctr", [1])
    assert not torch.allclose(before, score([5, 6, 7, 8], [other], slots)[0], atol=1e-3)


def test_scoring_leaves_the_prefix_as_it_was():
    prefix = ENGINE.prefill([1, 2, 3])
    branch = Branch([4, 5], 3, "ctr")
    first = next(ENGINE.score(prefix, [branch], [None]))[0]
    list(ENGINE.generate(prefix, branch, None, stop_ids=set(), max_tokens=3))
    assert prefix.layers[0][0].shape[2] == 3
    assert torch.equal(first, next(ENGINE.score(prefix, [branch], [None]))[0])


def usual(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float) -> Tensor:
    """transformers' attention with a mask (queries, keys), for two heads to a key."""
    module = SimpleNamespace(num_key_value_groups=2)
    return sdpa_attention_forward(module, query, key, value, mask[None, None], scaling=scaling)[0]


@quick
@given(branches_behind(9), st.booleans())
def test_our_attention_equals_a_dense_mask(branches, with_prefix):
    n, heads, groups, size = 9, 4, 2, 8
    own = sum(len(b.ids) for b in branches)
    generator = torch.Generator().manual_seed(own)
    queries = n + own if with_prefix else own
    query = torch.randn(1, heads, queries, size, generator=generator)
    key, value = (torch.randn(1, groups, n + own, size, generator=generator) for _ in range(2))
    packing = ENGINE.pack(branches, n, with_prefix=with_prefix)
    ours, _ = branch_attention(None, query, key, value, None, size**-0.5, packing=packing)

    seen = visibility(branches, n)
    if with_prefix:
        square = torch.ones(n, n, dtype=torch.bool).tril()
        seen = torch.cat([torch.cat([square, torch.zeros(n, own, dtype=torch.bool)], 1), seen])
    mask = additive(seen, torch.float32, torch.device("cpu"))
    assert_close(ours, usual(query, key, value, mask, size**-0.5), **CLOSE)


def test_attention_without_packing_is_causal_over_a_cache():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 5, 8, generator=generator)
    key, value = (torch.randn(2, 2, 12, 8, generator=generator) for _ in range(2))
    ours, _ = branch_attention(None, query, key, value, None, 0.3)
    seen = torch.ones(5, 12, dtype=torch.bool).tril(7)
    assert_close(ours, usual(query, key, value, seen, 0.3), **CLOSE)


def greedily(prefix: list[int], branch: Branch, slots: Tensor | None, n: int) -> list[int]:
    """The same by computing the whole prompt again for every token."""
    out: list[int] = []
    for _ in range(n):
        longer = Branch(branch.ids + out, branch.at, branch.task, branch.slots)
        out.append(int(ENGINE.logits(alone(prefix, longer, slots)[-1:]).argmax()))
    return out


@settings(max_examples=20)
@given(prompts(most=10))
def test_generating_equals_recomputing_every_step(prompt):
    prefix, branches = prompt
    branch, own = branches[0], slots_for(branches)[0]
    made = list(ENGINE.generate(ENGINE.prefill(prefix), branch, own, stop_ids=set(), max_tokens=8))
    assert made == greedily(prefix, branch, own, 8)


def test_generation_ends_at_a_stop_id_at_the_limit_and_on_request():
    prefix, branch = ENGINE.prefill([1, 2, 3]), Branch([4, 5], 3, "explanation")

    def run(stop_ids=frozenset(), max_tokens=12, stop=None):
        return ENGINE.generate(
            prefix, branch, None, stop_ids=stop_ids, max_tokens=max_tokens, stop=stop
        )

    whole = list(run())
    assert len(whole) == 12
    assert list(run(max_tokens=4)) == whole[:4]
    last = whole[5]
    assert list(run(stop_ids={last})) == whole[: whole.index(last)]
    stop, made = Event(), []
    for token in run(stop=stop):
        made.append(token)
        if len(made) == 3:
            stop.set()
    assert made == whole[:3]


@pytest.mark.parametrize("ids", [None, [3, 1, 200]])
def test_output_rows_are_those_asked_for(ids):
    hidden = torch.randn(4, HIDDEN)
    weight = ENGINE.model.lm_head.weight
    expected = hidden @ weight.T if ids is None else hidden @ weight[ids].T
    assert_close(ENGINE.logits(hidden, ids), expected)
