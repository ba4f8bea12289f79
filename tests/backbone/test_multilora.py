"""Routed updates are plain LoRA: PEFT alone computes, saves and loads the same."""

import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from ckf_demo.backbone.engine import Branch, Engine
from ckf_demo.backbone.multilora import SHARED, LoraConfig, MultiLora
from ckf_demo.runtime.errors import UserError
from support.tiny import TASKS, stir, tiny_engine, tiny_llama

CONFIG = LoraConfig(rank=4, alpha=8)
PREFIX = [7, 3, 250, 12, 99, 31]
BRANCHES = [Branch([5 + i, 60, 61 + i], len(PREFIX) - i % 3, t) for i, t in enumerate(TASKS * 2)]
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture
def engine() -> Engine:
    return tiny_engine(CONFIG)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "adapters"
    tiny_engine(CONFIG).lora.save(folder)
    return folder


def hidden_states(engine: Engine, branches: list[Branch] = BRANCHES, **options) -> torch.Tensor:
    prefix = engine.prefill(PREFIX)
    parts = engine.score(prefix, branches, [None] * len(branches), **options)
    return torch.cat([hidden for part in parts for hidden in part])


def plain_peft(folder: Path) -> PeftModel:
    """The backbone with all saved adapters, without any of our code."""
    model = PeftModel.from_pretrained(tiny_llama(), str(folder / SHARED), adapter_name=SHARED)
    for task in TASKS:
        model.load_adapter(str(folder / task), adapter_name=task)
    return model.eval()


@torch.no_grad()
def by_peft(model: PeftModel, branch: Branch, tasks: bool = True) -> torch.Tensor:
    """Prefix with the shared adapter alone, then the branch with shared and task adapter."""
    model.base_model.set_adapter([SHARED])
    backbone = model.base_model.model.model
    cache = backbone(torch.tensor([PREFIX[: branch.at]]), use_cache=True).past_key_values
    model.base_model.set_adapter([SHARED, branch.task] if tasks else [SHARED])
    out = backbone(torch.tensor([branch.ids]), past_key_values=cache, use_cache=True)
    return out.last_hidden_state[0, -1]


@pytest.mark.parametrize("tasks", [True, False])
def test_saved_adapters_give_the_same_answers_in_plain_peft(engine, saved, tasks):
    model = plain_peft(saved)
    plain = [by_peft(model, branch, tasks) for branch in BRANCHES]
    assert_close([*hidden_states(engine, tasks=tasks)], plain, **CLOSE)


@pytest.mark.parametrize("shared_targets", [CONFIG.shared_targets, ("q_proj", "v_proj")])
def test_routing_per_token_equals_routing_one_task(shared_targets):
    """Also where a weight has both updates."""
    engine = tiny_engine(LoraConfig(rank=4, alpha=8, shared_targets=shared_targets))
    mixed = hidden_states(engine)
    assert not torch.allclose(mixed, hidden_states(engine, tasks=False), atol=1e-3)
    for task in TASKS:
        own = [i for i, b in enumerate(BRANCHES) if b.task == task]
        assert_close(mixed[own], hidden_states(engine, [BRANCHES[i] for i in own]), **CLOSE)


def test_tasks_differ_and_no_update_is_the_bare_backbone(engine):
    branches = [Branch([5, 6], len(PREFIX), task) for task in TASKS]
    by_task = hidden_states(engine, branches)
    assert torch.cdist(by_task, by_task).fill_diagonal_(1).min() > 1e-2
    fresh = Engine(MultiLora(tiny_llama(), TASKS, CONFIG).eval())
    bare = hidden_states(fresh, branches)
    assert_close(bare, bare[:1].expand_as(bare), **CLOSE)
    backbone = tiny_llama().model(torch.tensor([[*PREFIX, 5, 6]])).last_hidden_state[0, -1]
    assert_close(bare[0], backbone, **CLOSE)


def test_folding_for_serving_changes_nothing(engine):
    before = hidden_states(engine)
    engine.lora.fold(torch.float32)
    assert torch.equal(before, hidden_states(engine))


def test_one_update_on_all_weights_and_no_task_adapters():
    config = LoraConfig(
        rank=4, alpha=8, shared_targets=("q_proj", "k_proj", "v_proj"), task_targets=()
    )
    engine = tiny_engine(config)
    assert engine.lora.tasks == ()
    hidden = hidden_states(engine, [Branch([5, 6], len(PREFIX), task) for task in TASKS])
    assert_close(hidden, hidden[:1].expand_as(hidden), **CLOSE)


def test_gradients_reach_the_adapters_of_all_tasks_in_use(engine):
    used = [b for b in BRANCHES if b.task in ("rating", "ctr")]
    hidden = engine.forward(PREFIX, used, [None] * len(used))
    torch.cat(hidden).square().sum().backward()
    for name, parameter in engine.lora.peft.named_parameters():
        if "lora_" not in name:
            assert parameter.grad is None
        elif any(f".{task}." in name for task in (SHARED, "rating", "ctr")):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None or parameter.grad.abs().sum() == 0, name


def test_all_adapters_are_trainable_float32_even_on_a_bf16_backbone():
    lora = MultiLora(tiny_llama(dtype=torch.bfloat16), TASKS, CONFIG)
    parameters = lora.adapter_parameters()
    # two layers; shared on three weights and four tasks on two, each a pair
    assert CONFIG.shared_targets == ("k_proj", "v_proj", "o_proj")
    assert CONFIG.task_targets == ("q_proj", "down_proj")
    assert len(parameters) == 2 * 2 * (3 + 4 * 2)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in parameters)
    assert sum(p.requires_grad for p in lora.parameters()) == len(parameters)


def test_weights_survive_saving_and_loading(saved):
    lora = MultiLora(tiny_llama(), TASKS, CONFIG)
    stir(lora, seed=9)
    lora.load(saved)
    expected = tiny_engine(CONFIG).lora.adapter_parameters()
    assert_close([*lora.adapter_parameters()], [*expected], rtol=0, atol=0)


def test_a_checkpoint_of_more_tasks_serves_fewer(saved):
    engine = Engine(MultiLora(tiny_llama(), ("ctr",), CONFIG).eval())
    engine.lora.load(saved)
    own = [i for i, b in enumerate(BRANCHES) if b.task == "ctr"]
    expected = hidden_states(tiny_engine(CONFIG))[own]
    assert_close(hidden_states(engine, [BRANCHES[i] for i in own]), expected, **CLOSE)


@pytest.fixture
def damaged(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "adapters"))


def rewrite(folder: Path, change) -> None:
    path = folder / "ctr" / "adapter_model.safetensors"
    save_file({k: v.contiguous() for k, v in change(load_file(path)).items()}, path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {k: torch.zeros_like(v) for k, v in t.items()}, "empty"),
        (lambda t: {k: v * ("lora_A" in k) for k, v in t.items()}, "empty"),
        (lambda t: dict(list(t.items())[1:]), "does not fit"),
        (lambda t: {**t, "more": torch.ones(1)}, "does not fit"),
        (lambda t: {k: v[:2] for k, v in t.items()}, "shape"),
    ],
)
def test_empty_and_ill_fitting_adapters_are_refused(damaged, change, words):
    rewrite(damaged, change)
    with pytest.raises(UserError, match=words) as caught:
        MultiLora(tiny_llama(), TASKS, CONFIG).load(damaged)
    assert "'ctr'" in str(caught.value)


def test_a_missing_adapter_and_one_of_another_rank_are_refused(damaged):
    with pytest.raises(UserError, match="shape"):
        MultiLora(tiny_llama(), TASKS, LoraConfig(rank=8)).load(damaged)
    (damaged / "ranking" / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match="no adapter 'ranking'"):
        MultiLora(tiny_llama(), TASKS, CONFIG).load(damaged)


def test_weights_that_the_backbone_lacks_are_named():
    with pytest.raises(UserError, match="no weights named query"):
        MultiLora(tiny_llama(), TASKS, LoraConfig(task_targets=("query",)))


def test_routing_is_restored_after_an_error(engine):
    before = hidden_states(engine)
    with pytest.raises(IndexError):
        list(engine.score(engine.prefill(PREFIX), [Branch([10_000], 2, "ctr")], [None]))
    assert torch.equal(before, hidden_states(engine))
