"""What the benchmark compares gives the same answers, and its clock is fair."""

import json
from importlib.metadata import version

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ckf_demo.backbone.engine import Branch
from ckf_demo.backbone.loading import dense_precision
from ckf_demo.lab.ablation import sequences_for
from ckf_demo.lab.bench import llamacpp, report
from ckf_demo.lab.bench.matrices import linear_shapes, matrix_rate, token_operations
from ckf_demo.lab.bench.people import answers, people
from ckf_demo.lab.bench.plain import plain_prompts
from ckf_demo.lab.bench.run import MEASUREMENTS, bench
from ckf_demo.lab.bench.training import gradients
from ckf_demo.model.system import System
from ckf_demo.runtime import machine
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.machine import describe
from ckf_demo.runtime.timing import PeakMemory, Row, alternate
from support.tiny import TASKS, stir, tiny_data, tiny_system

CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture
def system() -> System:
    system = tiny_system()
    stir(system.lora)
    return system


@pytest.mark.parametrize("batch", [1, 3, 50])
@pytest.mark.parametrize("task", ["rating", "ctr", "ranking"])
def test_one_prompt_each_answers_as_the_engine(system, task, batch):
    for person in people(system, 2, candidates=7):
        ours = answers(system, person, task)
        with plain_prompts(system, batch):
            plain = answers(system, person, task)
        assert_close(plain, ours, **CLOSE)
        assert_close(answers(system, person, task), ours)


def test_one_prompt_each_has_the_gradients_of_a_packed_sequence(system):
    sequences = sequences_for(system, 2)
    packed = gradients(system, sequences)
    with plain_prompts(system, 4):
        plain = gradients(system, sequences)
    assert packed.norm() > 0
    assert torch.cosine_similarity(packed, plain, dim=0) > 0.9999
    assert_close(plain.norm(), packed.norm(), rtol=1e-3, atol=0.0)
    assert all(p.requires_grad for p in system.lora.adapter_parameters())


def test_plain_generation_writes_what_the_engine_does(system):
    branch = Branch([5, 9, 30], 4, "explanation")
    options = {"stop_ids": {system.engine.model.config.vocab_size - 1}, "max_tokens": 6}
    ids = [1, 2, 3, 4]
    ours = list(system.engine.generate(system.engine.prefill(ids), branch, None, **options))
    with plain_prompts(system, 1):
        plain = system.engine.generate(system.engine.prefill(ids), branch, None, **options)
    assert plain == ours


def test_plain_prompts_refuse_what_they_cannot_do(system):
    with plain_prompts(system, 1), pytest.raises(ValueError, match="no ablations"):
        system.engine.forward([1], [Branch([2], 1, TASKS[0])], [None], shared=False)


def test_rounds_alternate_and_leave_the_first_one_out():
    calls = []
    seconds = alternate(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        3,
        before={"b": lambda: calls.append("before b")},
    )
    assert [len(seconds[name]) for name in ("a", "b")] == [3, 3]
    assert calls.count("a") == calls.count("b") == 4
    assert all(calls[i - 1] == "before b" for i, c in enumerate(calls) if c == "b")
    turns = [c for c in calls if c != "before b"]
    assert {tuple(turns[i : i + 2]) for i in range(0, 8, 2)} == {("a", "b"), ("b", "a")}
    row = Row.of("x", np.array([3.0, 1.0, 2.0]), "s")
    assert (row.value, row.low, row.high) == (2.0, 1.0, 3.0)


def test_operations_are_those_of_the_backbone_alone(system):
    config = system.engine.model.config
    hidden, inner = config.hidden_size, config.intermediate_size
    key = hidden * config.num_key_value_heads // config.num_attention_heads
    layer = 2 * hidden * hidden + 2 * hidden * key + 3 * hidden * inner
    shapes = linear_shapes(system.engine.model)
    assert token_operations(shapes) == 2 * layer * config.num_hidden_layers
    assert matrix_rate(shapes, 8, torch.float32, torch.device("cpu"), repeats=1) > 0


def test_people_are_spread_over_history_lengths(system):
    lengths = [len(p.items) for p in people(system, 3)]
    assert lengths == sorted(lengths)
    data = tiny_data()
    for person in people(system, 3, candidates=5):
        assert len(person.candidates) == 5
        assert not set(person.candidates) & set(person.items)
        last = data.split[data.history.rows_of(person.user)]
        assert len(person.items) == (last == 0).sum()


def test_the_machine_is_described():
    described = describe(torch.device("cpu"))
    assert described["cores"] >= 1
    assert described["memory_gib"] > 0
    assert described["versions"]["torch"] == version("torch")


def test_memory_that_was_held_in_between_is_seen():
    with PeakMemory() as memory:
        torch.ones(40_000_000, dtype=torch.uint8).sum()
    assert memory.peak > 30e6


def test_bf16_instructions_are_read_off_the_processor(monkeypatch):
    monkeypatch.setattr(machine, "_cpuinfo", lambda: {"flags": "fpu avx2 avx512_bf16 amx_bf16"})
    assert machine.bf16_instructions() == ["amx_bf16", "avx512_bf16"]
    assert dense_precision("cpu") == "nf4-bf16"
    monkeypatch.setattr(machine, "_cpuinfo", lambda: {"flags": "fpu avx2"})
    assert machine.bf16_instructions() == []
    assert dense_precision("cpu") == "nf4-fp32"
    assert dense_precision("cuda") == "nf4-bf16"


def test_the_benchmark_measures_all_and_writes_the_agreed_form(workplace, checkpoint, monkeypatch):
    path, plot = workplace / "speed.json", workplace / "growth.html"
    quick = {"quantization": "nf4-bf16", "rounds": 1}
    # a store, weights of whole 4-bit blocks and llama.cpp are not at hand here
    missing = ("again", "profile", "precision", "llama-cpp", "why")
    only = [name for name in MEASUREMENTS if name not in missing]
    bench(checkpoint, only=only, json_path=path, plot_path=plot, **quick)
    assert "catalogue" in plot.read_text()
    result = json.loads(path.read_text())
    text = report.markdown(result)
    assert "| rank_100_vs_one_prompt_each |" in text
    assert "| candidates |" in text
    assert result["machine"]["quantization"] == "nf4-bf16"
    rows = {row["name"]: row for row in result["rows"]}
    names = (
        *("rank_100_vs_one_prompt_each", "train_vs_one_prompt_each", "decode_vs_generate"),
        *("rank_prefill_vs_matmul_rate", "decode_merged_int8_vs_adapters_beside"),
        *("train_float32_vs_bf16_adapters", "rank_100_in_passes_of_512_tokens"),
    )
    assert set(names) < rows.keys()
    for row in rows.values():
        assert row["low"] <= row["value"] <= row["high"]
    assert rows["rank_100_difference_to_plain_float32"]["high"] < 1e-4
    assert rows["train_gradient_cosine"]["value"] > 0.9
    assert any(name.startswith("growth_history_") for name in rows)
    with pytest.raises(UserError, match="No measurement 'speed'"):
        bench(checkpoint, only=["speed"], **quick)
    with pytest.raises(UserError, match="add --only growth"):
        bench(checkpoint, only=["rate"], plot_path=plot, **quick)
    monkeypatch.setattr(llamacpp, "available", lambda: False)
    with pytest.raises(UserError, match="pip install -r requirements-bench.txt"):
        bench(checkpoint, only=["llama-cpp"], **quick)
