"""What every fusion method owes the prompt, and what is particular to CKF."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ckf_demo.collaborative.base import WORDS
from ckf_demo.fusion.base import BackboneShape, FusionMethod, PairBatch
from ckf_demo.fusion.ckf import CKF
from ckf_demo.fusion.embeddings import SequentialStates, SmoothedGraph
from ckf_demo.fusion.registry import METHODS, FusionConfig, get_method
from ckf_demo.runtime.errors import UserError
from support.tiny import stir_zeros, tiny_data, tiny_knowledge, tiny_llama

DATA, KNOWLEDGE = tiny_data(), tiny_knowledge()
SHAPE = BackboneShape.of(tiny_llama())
HIDDEN, SCALE = SHAPE.hidden_size, SHAPE.embedding_rms
ITEMS, STARS = np.arange(10, 16), np.array([5, 1, 4, 3, 2, 5], np.float32)
LENGTHS, TARGETS = np.array([0, 2, 6, 6]), np.array([1, 2, 3, 4])


SEQUENTIAL = ["ckf/sasrec", "ckf/gru4rec", "cora/gru4rec", "collm/nextitnet"]
"""Methods over the states of a sequential model."""
GRAPH = ["ckf/graph", "cora/graph", "collm/graph"]
"""Methods over LightGCN's embeddings."""


def make(name: str, seed: int = 0) -> FusionMethod:
    """A method; with a slash, over the graph or the sequential model that is named behind it."""
    name, _, over = name.partition("/")
    own = {"embeddings": "sequential", "sequential": over} if over else {}
    own = {"embeddings": "graph"} if over == "graph" else own
    torch.manual_seed(seed)
    method = get_method(name)(FusionConfig(hidden=8, **own), KNOWLEDGE, SHAPE)
    if over == "graph":
        assert method.fit(DATA, KNOWLEDGE, seed=seed) == {}
    elif over:
        assert method.fit(DATA, KNOWLEDGE, seed=seed)["next_item"] > 0
    with torch.no_grad():
        if method.alphabet:
            method.characters.copy_(torch.randn_like(method.characters) * SCALE)
    stir_zeros(method)
    return method.eval()


def pairs(items=ITEMS, stars=STARS, lengths=LENGTHS, targets=TARGETS) -> PairBatch:
    return PairBatch.build(KNOWLEDGE, items, stars, lengths, targets)


def everything(fused) -> list[torch.Tensor]:
    updates = [a @ b for a, b in fused.updates.values()]
    return [fused.user_tokens, fused.item_tokens, *fused.prior.values(), *updates]


every_method = pytest.mark.parametrize("name", [*METHODS, *SEQUENTIAL, *GRAPH])


@every_method
def test_shapes_finite_numbers_and_the_same_again_when_serving(name):
    method = make(name)
    fused = method(pairs())
    if method.uses_tokens:
        width = method.token_width * HIDDEN
        assert fused.user_tokens.shape == fused.item_tokens.shape == (4, width)
    for task, prior in fused.prior.items():
        assert prior.shape == ((4, 5) if task == "rating" else (4,))
        assert fused.weight[task].numel() == 1
    for path, (a, b) in fused.updates.items():
        assert (*a.shape[:2], b.shape[1]) == (4, *SHAPE.linears[path])
        assert a.shape[2] == b.shape[0]
    assert bool(fused.updates) == method.changes_weights
    assert all(torch.isfinite(x).all() for x in everything(fused))
    assert all(x.dtype == torch.float32 for x in everything(fused))
    assert all(map(torch.equal, everything(fused), everything(method(pairs()))))


@every_method
def test_pairs_are_independent_and_blind_to_what_comes_later(name):
    """The first of them is of somebody without any history."""
    method = make(name)
    together = everything(method(pairs()))
    for i, n in enumerate(LENGTHS):
        alone = method(pairs(ITEMS[:n], STARS[:n], np.array([n]), TARGETS[i : i + 1]))
        for one, other in zip(everything(alone), together, strict=True):
            assert_close(one[0], other[i], rtol=1e-4, atol=1e-5)


@every_method
def test_weights_survive_saving(name):
    method, other = make(name, seed=0), make(name, seed=1)
    other.load_state_dict(method.state_dict())
    if method.alphabet:
        # words of the backbone, not of the method
        other.characters = method.characters
    assert_close(everything(method(pairs())), everything(other(pairs())), rtol=0, atol=0)


@every_method
def test_gradients_reach_all_weights(name):
    method = make(name)
    if not method.learnt():
        # words alone, or codes that are fitted beforehand
        assert not method.fuses or method.alphabet
        return
    batch = pairs()
    # so that words say something
    fused = method(replace(batch, features=batch.features + 0.1))
    loss = sum(x.square().sum() for x in everything(fused))
    sum((loss, *fused.weight.values())).backward()
    for parameter_name, parameter in method.named_parameters():
        if not parameter.requires_grad or parameter_name == "attention.2.bias":
            # a softmax does not see what is added to all of its scores
            continue
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def test_methods_describe_themselves_and_an_unknown_one_names_them():
    for name, method in METHODS.items():
        assert method.name == name
        assert method.label and method.summary and method.needs
    with pytest.raises(UserError, match="choose one of ckf"):
        get_method("gnn")


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_a_sequential_model_is_held_and_kept_in_bf16(name):
    method = make(name).train()
    states = [m for m in method.modules() if isinstance(m, SequentialStates)]
    assert len(states) == 1
    learnt = set(method.learnt())
    assert not states[0].model.training
    for tensor in states[0].state_dict().values():
        assert tensor.ndim < 2 or torch.equal(tensor, tensor.bfloat16().float())
    assert not learnt & set(states[0].parameters())


def test_the_order_of_a_history_matters_to_a_sequential_model_alone():
    backwards = pairs(ITEMS[::-1].copy(), STARS[::-1].copy(), np.full(4, 6))
    onwards = pairs(lengths=np.full(4, 6))
    for name, matters in (("ckf", False), ("ckf/gru4rec", True)):
        users = make(name).embeddings.users
        apart = (users(backwards) - users(onwards)).abs().max()
        assert (apart > 1e-2) == matters


@pytest.mark.parametrize("name", ["ckf/sasrec", "ckf/graph"])
def test_what_is_fitted_is_not_fitted_on_rows_that_are_learnt_from(name):
    method = make(name)
    with pytest.raises(UserError, match="made-up has none; use 'factors'"):
        method.fit(replace(DATA, fit=DATA.split == 0), KNOWLEDGE, seed=0)


@pytest.mark.parametrize("name", GRAPH)
def test_a_graph_places_people_among_what_they_liked(name):
    method = make(name)
    (graph,) = [m for m in method.modules() if isinstance(m, SmoothedGraph)]
    batch = pairs()
    users = graph.users(batch)
    assert not users[0].any()
    for user, length in zip(users, LENGTHS, strict=True):
        liked = [i for i in range(length) if batch.residuals[i] > 0]
        if liked:
            expected = graph.table[batch.history[liked]].mean(0)
            torch.testing.assert_close(user, expected)
    fans = DATA.fit & (DATA.rating >= 4)
    assert graph.table.any(1).sum() == len(np.unique(DATA.item[fans]))
    assert torch.equal(graph.table, graph.table.bfloat16().float())


def test_a_batch_holds_what_was_asked_for():
    batch = pairs()
    assert batch.users.shape == (4, KNOWLEDGE.size)
    assert batch.features.shape == (4, len(KNOWLEDGE.feature_names))
    assert batch.residuals.dtype == torch.float32
    expected = STARS - KNOWLEDGE.global_mean - KNOWLEDGE.item_bias[ITEMS]
    assert_close(batch.residuals, torch.from_numpy(expected).float())


@pytest.fixture
def ckf() -> CKF:
    return make("ckf")


def test_bridges_begin_near_the_identity(ckf):
    for bridge in ckf.bridges(pairs()):
        assert bridge.shape == (4, KNOWLEDGE.size, KNOWLEDGE.size)
        change = bridge - torch.eye(KNOWLEDGE.size)
        assert torch.linalg.matrix_norm(change, 2).max() < 0.3
    plain = ckf(pairs(), user_bridge=False, item_bridge=False)
    bridged = ckf(pairs())
    assert (bridged.user_tokens - plain.user_tokens).norm() < 0.3 * plain.user_tokens.norm()


def test_tokens_have_the_scale_of_word_embeddings(ckf):
    ckf.standardise(pairs(targets=np.arange(4)).features)
    fused = ckf(pairs())
    for tokens in (fused.user_tokens, fused.item_tokens):
        assert 0.3 * SCALE < tokens.square().mean().sqrt() < 5 * SCALE


def test_the_preference_is_an_average_of_the_visible_history(ckf):
    batch = pairs()
    preference = ckf.preference(batch)
    table = torch.from_numpy(KNOWLEDGE.item_table)[ITEMS]
    assert not preference[0].any()
    assert torch.equal(preference[2], preference[3])
    for row, n in ((1, 2), (2, 6)):
        low, high = table[:n].min(0).values, table[:n].max(0).values
        assert ((preference[row] >= low - 1e-5) & (preference[row] <= high + 1e-5)).all()


def test_a_bridge_is_personal_and_serves_its_own_token(ckf):
    to_user, to_item = ckf.bridges(pairs())
    assert not torch.equal(to_user[1], to_user[2])
    assert not torch.equal(to_item[1], to_item[2])
    assert not torch.equal(to_user[2], to_item[2])
    whole = ckf(pairs())
    no_user, no_item = ckf(pairs(), user_bridge=False), ckf(pairs(), item_bridge=False)
    assert torch.equal(no_user.item_tokens, whole.item_tokens)
    assert not torch.equal(no_user.user_tokens, whole.user_tokens)
    assert torch.equal(no_item.user_tokens, whole.user_tokens)
    assert not torch.equal(no_item.item_tokens, whole.item_tokens)


def test_features_are_brought_to_unit_scale_and_cut(ckf):
    n = len(KNOWLEDGE.feature_names)
    features = torch.randn(500, n) * 7 + 3
    words = torch.tensor([name in WORDS for name in KNOWLEDGE.feature_names])
    features[:, words] = torch.randn(500, len(WORDS))
    ckf.standardise(features)
    standard = ckf.standard(features)
    assert_close(standard.mean(0), torch.zeros(n), atol=0.1, rtol=0)
    assert_close(standard.std(0), torch.ones(n), atol=0.1, rtol=0)
    assert ckf.standard(torch.full((1, n), 1e6)).max() == 3
