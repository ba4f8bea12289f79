"""A-LLMRec: a recommender of the next item, the joint space of items and texts, two projections."""

from copy import deepcopy
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ckf_demo.collaborative.next_item import LONGEST, SEQUENTIAL, SASRec, training_sequences
from ckf_demo.collaborative.text_vectors import item_text_vectors, item_texts
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN
from ckf_demo.fusion import allmrec
from ckf_demo.fusion.allmrec import ALLMRec, fit_joint_space
from ckf_demo.fusion.base import BackboneShape, PairBatch
from ckf_demo.fusion.registry import FusionConfig
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.prompts import PromptConfig, PromptWriter
from support.synthetic import made_up_likes
from support.tiny import tiny_data, tiny_knowledge, tiny_tokenizer

DATA, KNOWLEDGE = tiny_data(), tiny_knowledge()
SHAPE = BackboneShape(24, 0.2)
COLD = np.array([3, 7])
TEXTS = torch.nn.functional.normalize(
    torch.randn(DATA.n_items, 32, generator=torch.Generator().manual_seed(0)), dim=1
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """No encoder of texts, and few steps."""
    monkeypatch.setattr(allmrec, "item_text_vectors", lambda prepared: TEXTS.numpy())
    monkeypatch.setattr(allmrec, "EPOCHS", 2)
    monkeypatch.setattr(allmrec, "PREFIXES", 300)
    monkeypatch.setattr(allmrec, "JOINT_BATCH", 64)
    monkeypatch.setattr(allmrec, "JOINT_STEPS", 30)


@cache
def sequences() -> tuple[np.ndarray, ...]:
    """Without the items `COLD`."""
    kept = (s[~np.isin(s, COLD)] for s in training_sequences(DATA))
    return tuple(s for s in kept if len(s))


@cache
def fitted_sasrec() -> SASRec:
    return SASRec.fit(list(sequences()), DATA.n_items, size=16, epochs=3, seed=0)[0]


@cache
def joint(steps: int = 250, **changes: bool):
    return fit_joint_space(
        FusionConfig(**changes), fitted_sasrec(), list(sequences()), TEXTS, seed=0, steps=steps
    )


def make(**changes: bool | str) -> ALLMRec:
    torch.manual_seed(0)
    return ALLMRec(FusionConfig(**changes), KNOWLEDGE, SHAPE).eval()


@cache
def _fitted() -> ALLMRec:
    method = make()
    method.fit(DATA, KNOWLEDGE, seed=0)
    return method


def fitted() -> ALLMRec:
    """The method as it is fitted to the data."""
    return deepcopy(_fitted())


def pairs(items: np.ndarray, lengths: list[int], targets: list[int]) -> PairBatch:
    stars = np.full(len(items), 4, np.float32)
    return PairBatch.build(KNOWLEDGE, items, stars, np.array(lengths), np.array(targets))


def known_history(n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    known = fitted_sasrec().item_table.any(1).nonzero()[:, 0]
    return known[torch.randint(len(known), (n,), generator=generator)]


# SASRec


def test_states_do_not_look_ahead():
    items, model = known_history(20), fitted_sasrec()
    states = model.states(items)
    assert states.shape == (21, 16)
    for n in (0, 1, 12):
        assert_close(model.states(items[:n])[-1], states[n], rtol=1e-4, atol=1e-5)
    assert (states[1:] - states[:-1]).abs().amax(1).min() > 1e-4
    # states of some lengths are those of all
    items, lengths = known_history(60), torch.tensor([60, 0, 7, 7, 55])
    assert_close(model.states(items, lengths), model.states(items)[lengths], rtol=1e-4, atol=1e-5)


def test_a_state_sees_the_last_items_alone():
    items, model = known_history(LONGEST + 30), fitted_sasrec()
    states = model.states(items)
    assert_close(model.states(items[-LONGEST:])[-1], states[-1], rtol=1e-4, atol=1e-5)
    changed = items.clone()
    changed[29] = next(i for i in known_history(99) if i != items[29])
    assert_close(model.states(changed)[-1], states[-1], rtol=1e-4, atol=1e-5)
    assert (model.states(changed)[-2] - states[-2]).abs().max() > 1e-5


def test_items_without_training_rows_are_left_out_of_histories():
    items, model = known_history(5), fitted_sasrec()
    assert not model.item_table[COLD].any()
    longer = torch.cat([items[:3], torch.from_numpy(COLD), items[3:]])
    assert_close(model.states(longer, torch.tensor([3, 5, 7])), model.states(items)[[3, 3, 5]])


def test_sequences_hold_what_the_training_part_does():
    own = training_sequences(DATA)
    assert sum(map(len, own)) == DATA.fit.sum()
    first = int(np.unique(DATA.user[DATA.fit])[0])
    assert own[0].tolist() == DATA.item[DATA.fit & (DATA.user == first)].tolist()
    likes = made_up_likes()
    kept = likes.fit & likes.liked
    assert sum(map(len, training_sequences(likes))) == kept.sum()


def test_the_next_item_is_learnt():
    rng = np.random.default_rng(0)
    circle = [(start + np.arange(12)) % 40 for start in rng.integers(0, 40, 80)]
    model, loss = SASRec.fit(circle, 42, size=16, epochs=60, seed=0)
    assert loss < 1.4 * np.log(2)
    scores = model.states(torch.arange(4))[-1] @ model.item_table.T
    assert scores.argmax() == 4
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_fitting_leaves_the_random_state_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    make().fit(DATA, KNOWLEDGE, seed=0)
    torch.manual_seed(5)
    assert torch.equal(before, torch.get_rng_state())


# Stage 1


def test_matching_brings_an_item_and_its_text_together():
    _, space, losses = joint()
    _, _, early = joint(steps=20)
    assert losses["matching"] < 0.5 * early["matching"]
    same, different = distances(space)
    assert same < 0.5 * different
    # without it they stay apart
    _, space, losses = joint(matching=False)
    assert losses["matching"] > 5 * joint()[2]["matching"]
    same, different = distances(space)
    assert same > 0.8 * different


def distances(space) -> tuple[float, float]:
    """Between item and text embeddings of the same item, and of different ones."""
    table = fitted_sasrec().item_table
    known = table.any(1)
    items = space.encode_item(table[known] / table[known].square().mean().sqrt())
    texts = space.encode_text(TEXTS[known] / TEXTS[known].square().mean().sqrt())
    apart = torch.cdist(items, texts).detach()
    n = len(apart)
    return float(apart.diag().mean()), float((apart.sum() - apart.trace()) / (n * n - n))


@pytest.mark.parametrize("part", ["item_reconstruction", "text_reconstruction"])
def test_what_is_switched_off_is_not_trained_for(part):
    assert joint(**{part: False})[2][part] > 1.2 * joint()[2][part]


def test_items_without_training_rows_stand_where_their_text_is():
    table, space, _ = joint()
    known = fitted_sasrec().item_table.any(1)
    texts = space.encode_text(TEXTS / TEXTS[known].square().mean().sqrt()).detach()
    assert_close(table[COLD], texts[COLD])
    assert not torch.isclose(table[known], texts[known]).all(1).any()


# The method


def test_only_training_rows_are_fitted_on():
    rng = np.random.default_rng(0)
    later, item, rating = ~DATA.fit, DATA.item.copy(), DATA.rating.copy()
    assert (later & (DATA.split == TRAIN)).any()
    item[later], rating[later] = rng.permutation(item[later]), 6 - rating[later]
    one, other = make(), make()
    losses = one.fit(DATA, KNOWLEDGE, seed=0)
    assert other.fit(replace(DATA, item=item, rating=rating), KNOWLEDGE, seed=0) == losses
    assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_only_the_projections_are_learnt_with_the_language_model():
    method = make()
    for _ in range(2):
        projections = {*method.project_user.parameters(), *method.project_item.parameters()}
        assert set(method.learnt()) == projections
        method.fit(DATA, KNOWLEDGE, seed=0)
    assert not method.train().sasrec.training


def test_gradients_reach_the_projections_and_tokens_have_the_scale_of_words():
    method = fitted()
    fused = method(pairs(np.arange(10, 16), [0, 2, 6], [1, 2, 3]))
    for tokens in (fused.user_tokens, fused.item_tokens):
        assert tokens.shape == (3, SHAPE.hidden_size)
        assert 0.3 * SHAPE.embedding_rms < tokens.square().mean().sqrt() < 3 * SHAPE.embedding_rms
    (fused.user_tokens.square().sum() + fused.item_tokens.square().sum()).backward()
    assert all(p.grad.abs().sum() > 0 for p in method.learnt())
    # tokens after a prefix know nothing of the rest
    items, together = np.arange(10, 16), fused.user_tokens
    for row, n in enumerate((0, 2, 6)):
        alone = method(pairs(items[:n], [n], [row])).user_tokens[0]
        assert_close(alone, together[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sequential", ["gru4rec", "nextitnet"])
def test_any_sequential_model_can_stand_in_for_sasrec(sequential):
    method = make(sequential=sequential)
    assert isinstance(method.sasrec, SEQUENTIAL[sequential])
    losses = method.fit(DATA, KNOWLEDGE, seed=0)
    assert losses["next_item"] != make().fit(DATA, KNOWLEDGE, seed=0)["next_item"]
    assert torch.isfinite(method(pairs(np.arange(6), [0, 6], [1, 2])).user_tokens).all()


def test_history_vectors_are_item_tokens():
    method = make()
    fused = method(pairs(np.arange(3), [3, 3], [5, 6]))
    assert torch.equal(method.history_vectors(torch.tensor([5, 6])), fused.item_tokens)


def test_without_a_joint_space_tokens_come_from_the_recommender():
    method = make(joint=False)
    assert list(method.fit(DATA, KNOWLEDGE, seed=0)) == ["next_item"]
    known = method.sasrec.item_table.any(1)
    expected = method.sasrec.item_table - method.sasrec.item_table[known].mean(0)
    assert method.joint.shape == expected.shape
    similarity = torch.cosine_similarity(method.joint[known], expected[known])
    assert similarity.min() > 0.99


def test_a_fitted_state_loads_into_a_fresh_method_and_bf16_holds_it():
    method, fresh = fitted(), make()
    state = method.state_dict()
    fresh.load_state_dict(state)
    batch = pairs(np.arange(6), [6], [1])
    assert torch.equal(fresh(batch).user_tokens, method(batch).user_tokens)
    frozen = [v for k, v in state.items() if not k.startswith("project") and v.ndim > 1]
    assert all(torch.equal(v, v.bfloat16().float()) for v in frozen)


def test_items_that_only_the_test_part_has_are_added():
    method = make()
    state = method.state_dict()
    fewer = state | {
        "joint": state["joint"][:-2],
        "sasrec.items.weight": state["sasrec.items.weight"][:-2],
    }
    method.load_state_dict(method.extended(fewer))
    assert not method.joint[-2:].any()
    assert not method.sasrec.item_table[-2:].any()
    assert method.sasrec.item_table[:-2].any()


# Other items


@pytest.fixture
def apart(monkeypatch) -> tuple[ALLMRec, Prepared, Prepared]:
    """A method, the data that it is fitted to, in which nobody rated the items `COLD`, and other
    data, which has these and one more."""
    source = replace(DATA, fit=DATA.fit & ~np.isin(DATA.item, COLD))
    there = [*COLD, 0]
    target = replace(
        DATA,
        dataset="elsewhere",
        item_ids=[DATA.item_ids[i] for i in there],
        titles=[DATA.titles[i] for i in there],
    )
    texts = {source.dataset: TEXTS.numpy(), target.dataset: TEXTS[there].numpy()}
    monkeypatch.setattr(allmrec, "item_text_vectors", lambda prepared: texts[prepared.dataset])
    method = make()
    method.fit(source, KNOWLEDGE, seed=0)
    return method, source, target


def test_other_items_lie_where_their_texts_do(apart):
    method, source, target = apart
    kept = {k: v.bfloat16() if v.ndim > 1 else v for k, v in method.state_dict().items()}
    carried = method.carried_over(kept, source, target, seed=0)
    assert carried["joint"].shape == (3, allmrec.JOINT_SIZE)
    # items that nobody rated are where their texts are already
    similarity = torch.cosine_similarity(carried["joint"][:2].float(), method.joint[COLD])
    assert similarity.min() > 0.98
    assert not carried["sasrec.items.weight"].any()
    assert {k for k in kept if carried[k] is not kept[k]} == {"joint", "sasrec.items.weight"}


def test_a_persons_history_of_other_items_is_in_their_titles_tokens_alone(apart):
    method, source, target = apart
    carried = method.carried_over(method.state_dict(), source, target, seed=0)
    there = ALLMRec(FusionConfig(), SimpleNamespace(n_items=3), SHAPE).eval()
    there.load_state_dict(carried)
    stranger = method.sasrec.states(torch.zeros(0, dtype=torch.int64))[-1]
    assert_close(there.sasrec.states(torch.tensor([0, 2]))[-1], stranger)
    vectors = there.history_vectors(torch.tensor([0, 2]))
    assert (vectors[0] - vectors[1]).abs().max() > 1e-4


def test_a_checkpoint_whose_encoder_cannot_be_had_again_is_not_carried_over(apart):
    method, source, target = apart
    other = method.state_dict() | {"joint": method.joint.flip(0)}
    with pytest.raises(UserError, match="does not lead to the checkpoint's items"):
        method.carried_over(other, source, target, seed=0)
    with pytest.raises(UserError, match="without the joint space"):
        make(joint=False).carried_over({}, source, target, seed=0)


# Texts


def test_texts_are_those_of_prompts():
    years = DATA.years.copy()
    years[1] = 0
    data = replace(DATA, years=years, genres=[("Crime", "Drama"), (), *DATA.genres[2:]])
    assert item_texts(data)[:2] == ["Film 1, 1990, Crime, Drama", "Film 2"]
    described = (data.titles, data.years.tolist(), data.genres)
    writer = PromptWriter(tiny_tokenizer(), *described, PromptConfig(), "ratings")
    assert item_texts(data) == [writer.item_text(i) for i in range(data.n_items)]


def test_text_vectors_are_read_from_the_cache(empty_cache):
    path = empty_cache / "text" / f"{DATA.hash[:16]}.npy"
    path.parent.mkdir(parents=True)
    np.save(path, TEXTS.numpy())
    assert np.array_equal(item_text_vectors(DATA), TEXTS.numpy())
