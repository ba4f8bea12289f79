"""Losses of packed sequences."""

import numpy as np
import pytest
import torch

from ckf_demo.lab.ablation import PARTS
from ckf_demo.training.losses import sequence_losses, sequence_losses_of
from ckf_demo.training.sequences import PackedSequence
from support.training import draws, shared_system


@pytest.fixture
def passes(monkeypatch) -> list[tuple]:
    """What the engine is given: (prefix ids, branches, slots) of every pass."""
    seen, forward = [], shared_system().engine.forward

    def record(prefix_ids, branches, slots, **options):
        seen.append((prefix_ids, branches, slots))
        return forward(prefix_ids, branches, slots, **options)

    monkeypatch.setattr(shared_system().engine, "forward", record)
    return seen


def test_tokens_are_in_collaborative_prompts_only(passes):
    for text_only in (True, False):
        for sequence in draws(6, text_only=text_only):
            sequence_losses(shared_system(), sequence)
    for prefix_ids, _, _ in passes:
        assert shared_system().writer.tokenizer.eos_token_id not in prefix_ids
    for _, branches, slots in passes[:6]:
        assert all(own is None for own in slots)
        assert not any(branch.slots for branch in branches)
    for _, branches, slots in passes[6:]:
        assert all(own.shape == (2, 32) for own in slots)
        assert all(len(branch.slots) == 2 for branch in branches)


def test_text_only_losses_know_nothing_of_the_fusion():
    sequence = draws(1, text_only=True)[0]
    losses = sequence_losses(shared_system(), sequence)
    sum(losses.values()).backward()
    try:
        assert all(p.grad is None for p in shared_system().fusion.parameters())
        assert any(p.grad is not None for p in shared_system().lora.adapter_parameters())
    finally:
        shared_system().lora.zero_grad(set_to_none=True)


def test_a_packed_sequence_is_the_sum_of_its_questions():
    sequence = next(s for s in draws(30) if len(s.questions) > 8)
    with torch.no_grad():
        losses = sequence_losses(shared_system(), sequence)
    assert losses.keys() == {"rating", "ctr", "ranking", "explanation"}
    for task in ("rating", "ctr"):
        own = [q for q in sequence.questions if q.task == task]
        with torch.no_grad():
            single = [
                sequence_losses(
                    shared_system(), PackedSequence(**{**vars(sequence), "questions": [q]})
                )[task].item()
                for q in own
            ]
        assert losses[task].item() == pytest.approx(np.mean(single), rel=1e-4)


def test_teaching_asks_the_language_model_by_itself():
    """With all weight on the prior its own answer gets no gradient unless it is taught."""
    sequence = draws(1)[0]
    with torch.no_grad():
        before = {k: v.clone() for k, v in shared_system().fusion.trust.items()}
        for weight in shared_system().fusion.trust.values():
            weight.fill_(-1e3)
    try:
        for teach in (False, True):
            losses = sequence_losses(shared_system(), sequence, teach=teach)
            sum(losses[t] for t in ("rating", "ctr")).backward()
            grads = [p.grad for p in shared_system().fusion.project_item.parameters()]
            assert any(g is not None and g.abs().sum() > 0 for g in grads) == teach
            shared_system().lora.zero_grad(set_to_none=True)
            shared_system().fusion.zero_grad(set_to_none=True)
    finally:
        with torch.no_grad():
            for k, v in before.items():
                shared_system().fusion.trust[k].copy_(v)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_that_an_ablation_takes_away_matters(part):
    # items with history: without any, the bridges have nothing to be made of
    sequences = [s for s in draws(40, augment=False) if len(s.items) > 3][:3]
    complete = sequence_losses_of(shared_system(), sequences)
    without = sequence_losses_of(shared_system(), sequences, PARTS[part])
    assert without.keys() == complete.keys()
    assert any(
        not np.allclose(without[t], complete[t], equal_nan=True, rtol=0, atol=1e-7)
        for t in complete
    )
