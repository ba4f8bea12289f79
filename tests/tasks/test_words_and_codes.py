"""What is particular to the methods that spell, fill blanks, show examples or learn tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.data.splits import TRAIN
from ckf_demo.fusion import binllm
from ckf_demo.fusion.base import BackboneShape, PairBatch
from ckf_demo.fusion.binllm import ALPHABET, BITS, BinLLM, spelled
from ckf_demo.fusion.personprompt import PersonPrompt
from ckf_demo.fusion.registry import FusionConfig
from ckf_demo.model.predict import score_rows
from ckf_demo.model.system import System
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.cloze import CLOZES
from ckf_demo.tasks.examples import worked_examples
from ckf_demo.tasks.prompts import PromptConfig, PromptWriter
from ckf_demo.training.loop import Run
from support.tiny import (
    method_config,
    tiny_data,
    tiny_knowledge,
    tiny_llama,
    tiny_tokenizer,
)

DATA, KNOWLEDGE = tiny_data(), tiny_knowledge()
SHAPE = BackboneShape.of(tiny_llama())


def writer(**prompt) -> PromptWriter:
    described = (DATA.titles, DATA.years.tolist(), DATA.genres)
    return PromptWriter(tiny_tokenizer(), *described, PromptConfig(**prompt))


# BinLLM


@given(st.lists(st.integers(0, 255), min_size=4, max_size=4))
def test_a_code_is_spelled_as_an_address_of_four_numbers(numbers):
    bits = [bool(n >> place & 1) for n in numbers for place in range(7, -1, -1)]
    letters = spelled(torch.tensor([bits]))[0].tolist()
    text = "".join(ALPHABET[i] for i in letters)
    assert text == " " + ".".join(f"{n:03d}" for n in numbers)
    assert len(letters) == BinLLM.token_width


def test_codes_tell_likes_from_dislikes_where_embeddings_do(monkeypatch):
    monkeypatch.setattr(binllm, "EPOCHS", 60)
    torch.manual_seed(0)
    method = BinLLM(FusionConfig(), KNOWLEDGE, SHAPE)
    generator = torch.Generator().manual_seed(0)
    size = method.embeddings.size
    users = torch.randn(600, size, generator=generator)
    items = torch.randn(600, size, generator=generator)
    liked = (users[:, :3] * items[:, :3]).sum(1) > 0
    loss = method._fit_codes(users, items, liked.float())
    assert loss < 0.6
    b_u, b_v = method.codes(users, items)
    assert set(b_u.unique().tolist()) == {-1.0, 1.0}
    products = (b_u * b_v).sum(1)
    assert products[liked].mean() > products[~liked].mean() + 2
    assert not method.learnt()


def test_prompts_hold_the_codes_own_digits(workplace):
    run = Run.prepare(method_config(workplace, "binllm"), DATA)
    system = run.system
    assert run.prior["codes"] > 0
    lengths, targets = np.array([3]), np.array([5])
    pairs = system.pairs(np.arange(3), np.full(3, 4, np.float32), lengths, targets)
    slots = system.slot(system.fuse(pairs), 0)
    codes = system.fusion.codes(*system.fusion.embeddings(pairs))
    text = "".join("".join(ALPHABET[i] for i in spelled(code > 0)[0]) for code in codes)
    ids = [system.writer.tokens(character)[0] for character in text]
    assert torch.equal(slots, system.engine.word_embeddings(ids))
    branch = system.writer.branch("ctr", 5, 0, with_tokens=True)
    assert len(branch.slots) == len(slots) == 2 * BITS // 2
    assert len(branch.ids) == len(system.writer.branch("ctr", 5, 0, with_tokens=False).ids) + 32


def test_codes_are_fitted_on_the_rows_that_are_learnt_from(workplace):
    later = DATA.split != TRAIN
    rating = np.where(later, 6 - DATA.rating, DATA.rating).astype(np.float32)
    one = Run.prepare(method_config(workplace, "binllm"), DATA)
    other = Run.prepare(method_config(workplace, "binllm"), replace(DATA, rating=rating))
    assert one.prior == other.prior


# PersonPrompt


def person_prompt() -> PersonPrompt:
    torch.manual_seed(0)
    return PersonPrompt(FusionConfig(), KNOWLEDGE, SHAPE).eval()


def test_a_token_is_the_mean_of_what_the_history_says():
    method = person_prompt()
    items = np.array([3, 8, 3])
    pairs = PairBatch.build(
        KNOWLEDGE, items, np.array([5, 1, 4], np.float32), np.array([0, 2]), np.array([1, 1])
    )
    users = method.users(pairs)
    assert not users[0].any()
    read = method.readers.weight[torch.tensor([3, 8])]
    expected = torch.cat([read, pairs.residuals[:2, None] * read], 1).mean(0)
    torch.testing.assert_close(users[1], expected)


def test_items_that_only_the_test_part_has_say_nothing():
    method = person_prompt()
    state = method.state_dict()
    fewer = state | {k: state[k][:-2] for k in ("readers.weight", "items.weight")}
    method.load_state_dict(method.extended(fewer))
    assert not method.items.weight[-2:].any()
    assert method.items.weight[:-2].any()
    with pytest.raises(UserError, match="nothing for others"):
        method.carried_over(state, DATA, DATA, seed=0)


# Clozes


@pytest.mark.parametrize("name", CLOZES)
def test_a_blank_is_filled_by_one_of_two_words(name):
    task = CLOZES[name]
    assert task.name == "ctr"
    assert len(task.answers) == 2
    assert all(answer.startswith(" ") and answer[1:].isalpha() for answer in task.answers)


def test_a_cloze_stands_in_the_place_of_the_question(workplace, monkeypatch):
    # the tokenizer of these tests has two words alone
    words = {"utility": replace(CLOZES["utility"], answers=(" No", " Yes"))}
    monkeypatch.setattr("ckf_demo.tasks.prompts.CLOZES", words)
    usual, other = writer(), writer(cloze="utility")
    assert other.answers["ctr"] == usual.answers["ctr"][::-1]
    assert other.answers["rating"] == usual.answers["rating"]
    pieces = [text for text, _ in other.pieces("ctr", 1, with_tokens=False)]
    assert pieces[-1] == CLOZES["utility"].cue
    run = Run.prepare(method_config(workplace, "prompt4nr", prompt={"cloze": "utility"}), DATA)
    run.run()
    assert np.isfinite(score_rows(run.system, DATA.rows(split=1)[:4])["ctr"]).all()


# Worked examples, and no training at all


def test_examples_are_training_rows_of_other_people_answered_in_turn():
    own = writer(examples=4)
    ids = worked_examples(own, DATA, ("ctr", "explanation"), seed=0)
    text = own.decode(ids)
    answers = [line for line in text.split("\n") if "Would like it" in line]
    assert answers == ["Would like it: Yes", "Would like it: No"] * 2
    assert "Stars" not in text
    assert worked_examples(own, DATA, ("ctr",), seed=0) == ids
    assert worked_examples(own, DATA, ("ctr",), seed=1) != ids
    assert worked_examples(writer(), DATA, ("ctr",), seed=0) == []
    # they hold nothing of later parts
    own = writer(examples=6)
    later = DATA.split != TRAIN
    changed = replace(DATA, rating=np.where(later, 6 - DATA.rating, DATA.rating))
    one, other = (worked_examples(own, d, ("rating", "ctr"), seed=0) for d in (changed, DATA))
    assert one == other


@pytest.mark.parametrize("method", ["llm-only", "icl"])
def test_nothing_is_trained_and_a_checkpoint_answers(workplace, method):
    prompt = {"examples": 2} if method == "icl" else {}
    run = Run.prepare(method_config(workplace, method, prompt=prompt, steps=0), DATA)
    run.run()
    assert run.step == 0
    system = System.load(run.folder, DATA, quantization="bf16")
    assert not any(system.trainable().values())
    rows = DATA.rows(split=1)[:4]
    answers = score_rows(system, rows)
    assert np.isfinite(answers["rating"]).all()
    shown = system.writer.prefix([0], [4.0]).ids
    assert shown[: len(system.writer.examples)] == system.writer.examples
    assert bool(system.writer.examples) == (method == "icl")


def test_examples_change_the_answer(workplace):
    rows = DATA.rows(split=1)[:4]
    answers = []
    for prompt in ({}, {"examples": 4}):
        system = Run.prepare(method_config(workplace, "icl", prompt=prompt, steps=0), DATA).system
        answers.append(score_rows(system, rows)["ctr"])
    assert not np.allclose(answers[0], answers[1])
