"""The decoder writes what the model would, with its adapters merged."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import LogitsProcessorList, NoRepeatNGramLogitsProcessor

from ckf_demo.backbone.decoder import Decoder, Dense, Int8, Writing, supports
from ckf_demo.backbone.engine import Branch
from support.tiny import TASKS, tiny_engine

MODEL, FOLDED = tiny_engine(), tiny_engine()
FOLDED.lora.fold(torch.float32)
VOCABULARY = MODEL.model.config.vocab_size
tokens = st.integers(0, VOCABULARY - 1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(tokens, min_size=1, max_size=30),
    st.lists(tokens, min_size=1, max_size=10),
    st.sampled_from(TASKS),
)
def test_texts_equal_those_of_the_model(prefix, ids, task):
    branch = Branch(ids, len(prefix), task)
    texts = [
        list(engine.generate(engine.prefill(prefix), branch, None, stop_ids=set(), max_tokens=12))
        for engine in (MODEL, FOLDED)
    ]
    assert FOLDED.decoder(task) is not None
    assert MODEL.decoder(task) is None
    assert texts[0] == texts[1]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(tokens, min_size=1, max_size=20),
    st.lists(tokens, min_size=1, max_size=6),
    st.sampled_from(TASKS),
)
def test_logits_equal_those_of_the_model(prefix, written, task):
    decoder = Decoder(FOLDED.lora, task, eight_bit=False)
    caches = [FOLDED.prefill(prefix).cache() for _ in range(2)]
    writing = Writing(decoder, caches[0], len(written))
    for token in written:
        following = Branch([token], caches[1].get_seq_length(), task)
        with torch.inference_mode():
            one = FOLDED._step(following, None, caches[1])
            assert_close(writing(token), one[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("folded", [True, False])
def test_tokens_are_drawn_alike_with_a_seed_and_differ_without_it(folded):
    engine = FOLDED if folded else MODEL
    branch = Branch([5, 6, 7], 3, TASKS[0])

    def drawn(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        prefix = engine.prefill([1, 2, 3])
        return list(
            engine.generate(prefix, branch, None, stop_ids=set(), max_tokens=12, drawn=generator)
        )

    assert len(drawn(0)) == 12
    assert drawn(0) == drawn(0)
    assert len({tuple(drawn(seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("folded", [True, False])
def test_a_text_can_be_made_of_some_tokens_alone(folded):
    engine = FOLDED if folded else MODEL
    branch = Branch([5, 6, 7], 3, TASKS[0])

    def written(allowed: set[int] | None, stop_ids: set[int]) -> list[int]:
        prefix, ends = engine.prefill([1, 2, 3]), {"stop_ids": stop_ids, "max_tokens": 12}
        return list(engine.generate(prefix, branch, None, **ends, allowed=allowed))

    free = written(None, set())
    allowed = set(range(0, 200, 3)) - set(free)
    limited = written(allowed, set())
    assert len(limited) == 12 and set(limited) <= allowed
    assert written(set(range(262)), set()) == free
    # an end is always open
    assert not set(written(allowed, {limited[3]})) & {limited[3]}
    assert written({9}, {free[0]}) == []


@settings(max_examples=20, deadline=None)
@given(st.sets(tokens, min_size=1, max_size=4), st.sampled_from(TASKS))
def test_a_text_from_few_tokens_says_nothing_twice(allowed, task):
    nothing_twice = LogitsProcessorList([NoRepeatNGramLogitsProcessor(3)])

    def written(engine, processors=None) -> list[int]:
        prefix, branch = engine.prefill([1, 2, 3]), Branch([5, 6, 7], 3, task)
        ends = {"stop_ids": {0}, "max_tokens": 30}
        made = engine.generate(prefix, branch, None, **ends, allowed=allowed, processors=processors)
        return list(made)

    text = written(MODEL, nothing_twice)
    threes = list(zip(text, text[1:], text[2:], strict=False))
    assert len(threes) == len(set(threes))
    assert set(text) <= allowed
    assert written(FOLDED, nothing_twice) == text
    if len(allowed - {0}) == 1 and 0 not in allowed:
        # three of the only token, and then nothing but the end is left
        assert len(text) <= 3


def test_a_task_is_merged_into_its_own_decoder_only():
    weights = [FOLDED.decoder(task).layers[0].down.weight for task in TASKS[:2]]
    assert (weights[0] - weights[1]).abs().max() > 1e-2


@pytest.mark.parametrize("shape", [(64, 32), (96, 160)])
def test_eight_bits_keep_products_within_a_hundredth(shape):
    torch.manual_seed(0)
    weight, x = torch.randn(shape).bfloat16(), torch.randn(1, shape[1]).bfloat16()
    exact = weight.float() @ x[0].float()
    error = (Int8(weight)(x)[0].float() - exact).norm() / exact.norm()
    assert error < 0.02
    assert_close(Dense(weight)(x)[0].float(), exact, rtol=0.02, atol=0.2)


def test_other_architectures_are_left_to_the_model(monkeypatch):
    assert supports(FOLDED.model)
    monkeypatch.setattr(FOLDED.model.config, "attention_bias", True)
    assert not supports(FOLDED.model)
    assert FOLDED.decoder("rating") is None
