"""The decoder writes what the model would, with its adapters merged."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import LogitsProcessorList, NoRepeatNGramLogitsProcessor

from ckf_demo.backbone.decoder import Decoder, Dense, Int8, Writing, supports
from ckf_demo.backbone.engine import Branch, Engine
from support.tiny import TASKS, tiny_engine

MODEL, FOLDED = tiny_engine(), tiny_engine()
FOLDED.lora.fold(torch.float32)
VOCABULARY = MODEL.model.config.vocab_size
tokens = st.integers(0, VOCABULARY - 1)
folded_or_not = pytest.mark.parametrize("engine", [FOLDED, MODEL], ids=["folded", "not folded"])


def written(
    engine: Engine, task: str, prefix=(1, 2, 3), ids=(5, 6, 7), stop_ids=(), **options
) -> list[int]:
    """The tokens of a text, twelve at most."""
    prefix, branch = engine.prefill([*prefix]), Branch([*ids], len(prefix), task)
    options = {"stop_ids": set(stop_ids), "max_tokens": 12, **options}
    return list(engine.generate(prefix, branch, None, **options))


@settings(max_examples=40)
@given(
    st.lists(tokens, min_size=1, max_size=30),
    st.lists(tokens, min_size=1, max_size=10),
    st.sampled_from(TASKS),
)
def test_texts_equal_those_of_the_model(prefix, ids, task):
    texts = [written(engine, task, prefix, ids) for engine in (MODEL, FOLDED)]
    assert FOLDED.decoder(task) is not None
    assert MODEL.decoder(task) is None
    assert texts[0] == texts[1]


@settings(max_examples=20)
@given(
    st.lists(tokens, min_size=1, max_size=20),
    st.lists(tokens, min_size=1, max_size=6),
    st.sampled_from(TASKS),
)
def test_logits_equal_those_of_the_model(prefix, text, task):
    decoder = Decoder(FOLDED.lora, task, eight_bit=False)
    caches = [FOLDED.prefill(prefix).cache() for _ in range(2)]
    writing = Writing(decoder, caches[0], len(text))
    for token in text:
        following = Branch([token], caches[1].get_seq_length(), task)
        with torch.inference_mode():
            one = FOLDED._step(following, None, caches[1])
            assert_close(writing(token), one[0], rtol=1e-3, atol=1e-4)


@folded_or_not
def test_tokens_are_drawn_alike_with_a_seed_and_differ_without_it(engine):
    def drawn(seed: int) -> list[int]:
        return written(engine, TASKS[0], drawn=torch.Generator().manual_seed(seed))

    assert len(drawn(0)) == 12
    assert drawn(0) == drawn(0)
    assert len({tuple(drawn(seed)) for seed in range(5)}) > 1


@folded_or_not
def test_a_text_can_be_made_of_some_tokens_alone(engine):
    free = written(engine, TASKS[0])
    allowed = set(range(0, 200, 3)) - set(free)
    limited = written(engine, TASKS[0], allowed=allowed)
    assert len(limited) == 12 and set(limited) <= allowed
    assert written(engine, TASKS[0], allowed=set(range(262))) == free
    # an end is always open
    assert limited[3] not in written(engine, TASKS[0], stop_ids=[limited[3]], allowed=allowed)
    assert written(engine, TASKS[0], stop_ids=[free[0]], allowed={9}) == []


@settings(max_examples=20)
@given(st.sets(tokens, min_size=1, max_size=4), st.sampled_from(TASKS))
def test_a_text_from_few_tokens_says_nothing_twice(allowed, task):
    options = {"stop_ids": [0], "max_tokens": 30, "allowed": allowed}
    options["processors"] = LogitsProcessorList([NoRepeatNGramLogitsProcessor(3)])
    text = written(MODEL, task, **options)
    threes = list(zip(text, text[1:], text[2:], strict=False))
    assert len(threes) == len(set(threes))
    assert set(text) <= allowed
    assert written(FOLDED, task, **options) == text
    if len(allowed - {0}) == 1 and 0 not in allowed:
        # three of the only token, and then nothing but the end is left
        assert len(text) <= 3


def test_a_task_is_merged_into_its_own_decoder_and_other_models_have_none(monkeypatch):
    weights = [FOLDED.decoder(task).layers[0].down.weight for task in TASKS[:2]]
    assert (weights[0] - weights[1]).abs().max() > 1e-2
    # other architectures are left to the model
    assert supports(FOLDED.model)
    monkeypatch.setattr(FOLDED.model.config, "attention_bias", True)
    assert not supports(FOLDED.model)
    assert FOLDED.decoder("rating") is None


@pytest.mark.parametrize("shape", [(64, 32), (96, 160)])
def test_eight_bits_keep_products_within_a_hundredth(shape):
    torch.manual_seed(0)
    weight, x = torch.randn(shape).bfloat16(), torch.randn(1, shape[1]).bfloat16()
    exact = weight.float() @ x[0].float()
    error = (Int8(weight)(x)[0].float() - exact).norm() / exact.norm()
    assert error < 0.02
    assert_close(Dense(weight)(x)[0].float(), exact, rtol=0.02, atol=0.2)
