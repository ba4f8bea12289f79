"""What every method must stand: it trains, is saved, served and asked; a new one is one class."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from ckf_demo.backbone.engine import Branch, Engine
from ckf_demo.backbone.loading import dense_precision
from ckf_demo.backbone.multilora import LoraConfig, MultiLora
from ckf_demo.backbone.updates import PairUpdates
from ckf_demo.cli import app
from ckf_demo.data.store import InteractionStore, write_store
from ckf_demo.fusion import registry
from ckf_demo.fusion.base import BackboneShape, Fused, FusionMethod
from ckf_demo.fusion.cora import adapted
from ckf_demo.fusion.registry import METHODS
from ckf_demo.inference.predictor import NO_TOKENS, Predictor
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.predict import score_rows
from ckf_demo.model.system import System
from ckf_demo.recommender import Recommender
from ckf_demo.training.loop import Run
from ckf_demo.training.losses import sequence_losses, sequence_losses_of
from ckf_demo.training.sequences import Packer, validation_sequences
from support.tiny import (
    method_config,
    stir,
    stir_zeros,
    tiny_config,
    tiny_data,
    tiny_knowledge,
    tiny_llama,
    tiny_tokenizer,
)
from support.training import make_workplace

DATA, KNOWLEDGE = tiny_data(), tiny_knowledge()
WORDS_ALONE = ("text", "prompt4nr", "icl", "llm-only")
UNTRAINED = ("icl", "llm-only")
# others of words alone go through the same code as `text`
ALIKE = ("prompt4nr", "icl", "llm-only")
ALL = [pytest.param(name, marks=[pytest.mark.long] * (name in ALIKE)) for name in METHODS]
every_method = pytest.mark.parametrize("name", ALL)
every_recommender = pytest.mark.parametrize("recommender", ALL, indirect=True)


class Plain(FusionMethod):
    """The whole of a new method: a linear map of e_u and e_v."""

    name = "plain"
    label = "Plain"
    summary = "one linear map"
    needs = "collaborative tables"

    def __init__(self, config, knowledge, shape: BackboneShape):
        super().__init__(config, knowledge, shape)
        self.register_buffer("table", torch.from_numpy(knowledge.item_table), persistent=False)
        self.map = nn.Linear(knowledge.size, shape.hidden_size)

    def forward(self, pairs) -> Fused:
        return Fused(self.map(pairs.users), self.map(self.table[pairs.targets]))


TOLD = {"history": [{"item": "3", "rating": 5}]}
"""Somebody who is in no data set."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("methods")
    texts = np.random.default_rng(0).normal(size=(DATA.n_items, 6)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        make_workplace(place, patch)
        patch.setattr("ckf_demo.fusion.allmrec.item_text_vectors", lambda prepared: texts)
        patch.setattr("ckf_demo.fusion.allmrec.EPOCHS", 1)
        patch.setattr("ckf_demo.fusion.allmrec.JOINT_STEPS", 20)
        write_store(DATA, place / "made-up.duckdb")
        yield place


def trained(workplace: Path, name: str, **train) -> Run:
    run = Run.prepare(method_config(workplace, name, **train), DATA)
    run.run()
    assert all(sequence.text_only != run.system.fusion.fuses for sequence in run.validation)
    return run


@contextmanager
def served(run: Run, place: Path) -> Iterator[Recommender]:
    """A trained run as a recommender."""
    system = System.load(run.folder, DATA, quantization=dense_precision())
    with InteractionStore(place / "made-up.duckdb") as store:
        yield Recommender(Predictor(system, store, read_manifest(run.folder)), run.folder)


@pytest.fixture(scope="module")
def recommender(workplace, request) -> Iterator[Recommender]:
    """The recommender over a trained checkpoint of the method."""
    with served(trained(workplace, request.param), workplace) as made:
        yield made


@every_recommender
def test_it_trains_is_saved_and_answers_alike_when_loaded(recommender):
    rows = DATA.rows(split=1)[:8]
    answers = score_rows(recommender.system, rows)
    assert answers["rating"].shape == (8, 5)
    assert all(np.isfinite(x).all() for x in answers.values())
    for task, other in score_rows(recommender.system, rows).items():
        np.testing.assert_array_equal(answers[task], other)
    # what is asked one at a time is what is scored together
    row = int(rows[3])
    user, item = DATA.user_ids[DATA.user[row]], DATA.item_ids[DATA.item[row]]
    one = recommender.click(user=user, item=item, at=int(DATA.timestamp[row]))
    assert one["probability"] == pytest.approx(float(answers["ctr"][3]), abs=1e-4)


@every_recommender
def test_it_answers_for_people_it_never_saw_and_for_films_alone(recommender):
    for person in (TOLD, {"profile": {"age": 30}}):
        answer = recommender.rate(**person, item="7")
        assert 1 <= answer["rating"] <= 5
    rows = recommender.compare(**TOLD, item="7")
    assert [row["method"] for row in rows] == [*recommender.methods, "average"]
    method = recommender.system.fusion
    assert rows[0]["label"] == method.label
    pieces = recommender.prompt(**TOLD, item="7")
    assert "Film 3" in pieces[0]["text"]
    tokens = [piece for piece in pieces if piece["kind"] == "item_token"]
    assert len(tokens) == method.uses_tokens + method.history_tokens


@every_recommender
def test_a_signal_matters_to_the_answer(recommender):
    person = {"user": DATA.user_ids[3], "item": "7"}
    own = recommender.click(**person)["probability"]
    others = [recommender.click(**person, method=m)["probability"] for m in recommender.methods[1:]]
    assert (NO_TOKENS in recommender.methods) == (recommender.methods[0] not in WORDS_ALONE)
    assert own not in others


@every_method
def test_losses_reach_all_that_is_trained(workplace, name):
    system = Run.prepare(method_config(workplace, name), DATA).system
    stir(system.lora)
    stir_zeros(system.fusion)
    sequences = draw(system)
    if name in UNTRAINED:
        assert not any(system.trainable().values())
        return
    sum(sum(sequence_losses(system, s, teach=True).values()) for s in sequences).backward()
    for kind, parameters in system.trainable().items():
        assert bool(parameters) == (kind in kinds_of(name)), kind
        reached = [p for p in parameters if p.grad is not None]
        assert all(torch.isfinite(p.grad).all() for p in reached)
        # weights in the pool of tasks that are not trained stay out
        assert sum(bool(p.grad.any()) for p in reached) >= 0.8 * len(parameters)


def kinds_of(name: str) -> set[str]:
    kinds = {"adapters"} if name not in (*UNTRAINED, "cora", "allmrec") else set()
    return kinds | ({"fusion"} if name not in (*WORDS_ALONE, "binllm") else set())


def draw(system: System):
    config = system.config
    packer = Packer(DATA, config.train, config.prompt, system.knowledge, lambda a, b: False)
    return [
        s
        for s in validation_sequences(packer, 12, text_only=not system.fusion.fuses)
        if len(s.items) > 3
    ][:3]


def test_a_new_method_is_one_class(workplace, monkeypatch):
    monkeypatch.setitem(registry.METHODS, "plain", Plain)
    listed = CliRunner().invoke(app, ["methods", "--json"])
    assert '"plain"' in listed.output
    with served(trained(workplace, "plain"), workplace) as recommender:
        assert recommender.methods[0] == "plain"
        assert 0 < recommender.click(user=DATA.user_ids[3], item="7")["probability"] < 1


def test_two_steps_train_adapters_first_and_the_map_afterwards(workplace):
    config = method_config(workplace, "collm", text_first=0.5, steps=8, accumulate=1)
    run = Run.prepare(config, DATA)
    adapters = [p.detach().clone() for p in run.system.lora.adapter_parameters()]
    fusion = [p.detach().clone() for p in run.system.fusion.learnt()]
    shown = [run.train_step()["text_only"] for _ in range(4)]
    assert shown == [1, 1, 1, 1]
    assert all(map(torch.equal, fusion, run.system.fusion.learnt()))
    middle = [p.detach().clone() for p in run.system.lora.adapter_parameters()]
    assert not all(map(torch.equal, adapters, middle))
    # the rate of each step begins at zero
    shown = [run.train_step()["text_only"] for _ in range(4)]
    assert shown == [0, 0, 0, 0]
    assert all(map(torch.equal, middle, run.system.lora.adapter_parameters()))
    assert not all(map(torch.equal, fusion, run.system.fusion.learnt()))


def test_the_second_step_alone_holds_adapters_of_another_checkpoint(workplace):
    words = trained(workplace, "text")
    run = trained(workplace, "collm", adapters_from=str(words.folder), accumulate=1)
    held = System.load(words.folder, DATA, quantization=dense_precision()).lora
    one, other = ([*lora.adapter_parameters()] for lora in (held, run.system.lora))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    learnt = sum(p.numel() for p in run.system.fusion.learnt())
    assert read_manifest(run.folder)["training"]["parameters"] == learnt


# Weights of pairs


def frozen_engine() -> Engine:
    config = LoraConfig(shared_targets=(), task_targets=())
    return Engine(MultiLora(tiny_llama(), ("ctr",), config).eval(), eight_bit=False)


def test_updates_of_pairs_are_changes_of_weights():
    engine, model = frozen_engine(), tiny_llama()
    shape = BackboneShape.of(model)
    names = [n for n in shape.linears if n.endswith(("q_proj", "v_proj"))]
    engine.updates = PairUpdates(engine.model, names)
    torch.manual_seed(1)
    updates = {
        n: (0.3 * torch.randn(3, shape.linears[n][0], 2), torch.randn(2, shape.linears[n][1]))
        for n in names
    }
    prefix = tiny_tokenizer()("Films one viewer liked\n", add_special_tokens=False).input_ids
    branches = [Branch([10 + i, 20, 30], len(prefix) - i, "ctr") for i in range(3)]
    found = engine.separate(prefix, branches, updates, chunk_tokens=40)
    for i, branch in enumerate(branches):
        changed = tiny_llama()
        for n in names:
            a, b = updates[n]
            changed.get_submodule(n).weight.data += (a[i] @ b).T
        ids = torch.tensor([prefix[: branch.at] + branch.ids])
        expected = changed.model(ids).last_hidden_state[0, -1:]
        torch.testing.assert_close(found[i], expected, rtol=1e-4, atol=1e-4)


def test_without_updates_separate_prompts_are_branches():
    engine = frozen_engine()
    engine.updates = PairUpdates(engine.model, [])
    prefix = list(range(5, 40))
    branches = [Branch([10 + i, 20, 30], 30, "ctr") for i in range(3)]
    shared = engine.forward(prefix, branches, [None] * 3)
    separate = [*engine.separate(prefix, branches, {})]
    torch.testing.assert_close(separate, [*shared], rtol=1e-4, atol=1e-5)


def test_which_weights_are_adapted_is_a_choice():
    shape = BackboneShape.of(tiny_llama())
    config = tiny_config(fusion={"update_targets": ["q_proj", "k_proj"], "update_every": 2}).fusion
    names = [name.split(".", 2)[2] for name in adapted(shape, config)]
    assert names == ["0.self_attn.q_proj", "0.self_attn.k_proj"]


def test_tokens_of_the_history_are_seen_by_what_follows():
    engine = frozen_engine()
    vectors = torch.randn(9, engine.model.config.hidden_size)
    engine.vectors = lambda items: vectors[items]
    ids = [5, 6, -1 - 3, 7]
    branch = Branch([11, 12], len(ids), "ctr")
    with torch.no_grad():
        together = engine.forward(ids, [branch], [None])[0]
        cached = next(iter(engine.score(engine.prefill(ids), [branch], [None])))[0]
        torch.testing.assert_close(together, cached, rtol=1e-4, atol=1e-5)
        other = engine.forward([5, 6, -1 - 4, 7], [branch], [None])[0]
    assert not torch.allclose(together, other)


def test_losses_of_validation_do_not_depend_on_what_they_are_packed_with(workplace):
    run = Run.prepare(method_config(workplace, "cora"), DATA)
    sequences = draw(run.system)
    once = sequence_losses_of(run.system, sequences)
    again = sequence_losses_of(run.system, sequences[::-1])
    for task, losses in once.items():
        np.testing.assert_allclose(losses, again[task][::-1], rtol=1e-4)
