"""What is measured as kept knowledge is the plain loss of a changed backbone, and nothing else."""

import numpy as np
import torch
from torch.nn import functional as F

from ckf_demo.lab import forgetting as kept
from ckf_demo.lab.forgetting import MEAN_UPDATE, SHARED, SINGLE_UPDATES, Way
from ckf_demo.lab.general_questions import QUESTIONS
from support.tiny import FROZEN, tiny_config, tiny_llama, tiny_system

TEXTS = ["A quiet harbour at noon.", "Nobody came, and it rained all day long.", "So be it."]


def system_of(method: str, **lora):
    changes = {"lora": {"rank": 4, "alpha": 8, **lora}} if lora else {}
    return tiny_system(tiny_config(fusion={"method": method, "hidden": 8}, **changes))


def reference(model, tokenizer, text: str) -> torch.Tensor:
    ids = torch.tensor([tokenizer(text, add_special_tokens=False).input_ids])
    logits = model(ids).logits[0, :-1]
    return F.cross_entropy(logits, ids[0, 1:], reduction="none")


def losses(system, way: Way) -> list[torch.Tensor]:
    texts = [system.writer.tokenizer(t, add_special_tokens=False).input_ids for t in TEXTS]
    return list(kept.token_losses(system, texts, way))


def test_with_nothing_it_is_the_loss_of_the_backbone(monkeypatch):
    monkeypatch.setattr(kept, "TOKENS_AT_ONCE", 40)
    system, plain = system_of("ckf"), tiny_llama()
    expected = [reference(plain, system.writer.tokenizer, text) for text in TEXTS]
    torch.testing.assert_close(losses(system, Way("")), expected, rtol=1e-3, atol=1e-3)


def test_a_shared_adapter_acts_as_if_it_were_merged():
    system = system_of("text", shared_targets=["q_proj", "down_proj"], task_targets=[])
    merged = tiny_llama()
    for name, module in system.lora.peft.base_model.model.named_modules():
        if hasattr(module, "lora_A"):
            a, b = module.lora_A["shared"].weight, module.lora_B["shared"].weight
            merged.get_submodule(name).weight.data += system.lora.scale * (b @ a).detach()
    (way,) = kept.ways_of(system)
    assert way.name == SHARED
    expected = [reference(merged, system.writer.tokenizer, text) for text in TEXTS]
    torch.testing.assert_close(losses(system, way), expected, rtol=1e-3, atol=1e-3)


def test_ways_follow_from_what_a_method_trains():
    assert [way.name for way in kept.ways_of(system_of("ckf"))] == [
        SHARED,
        *(f"{SHARED} and {task}'s" for task in ("rating", "ctr", "ranking", "explanation")),
    ]
    assert [way.name for way in kept.ways_of(system_of("allmrec", **FROZEN))] == [kept.NOTHING]
    names = [way.name for way in kept.ways_of(system_of("cora", **FROZEN))]
    assert names == [MEAN_UPDATE, SINGLE_UPDATES]


def test_task_adapters_act_where_their_task_is_asked():
    system = system_of("ckf")
    found = {way.name: torch.cat(losses(system, way)) for way in kept.ways_of(system)}
    assert len({round(float(loss.sum()), 4) for loss in found.values()}) == len(found)


def test_updates_of_pairs_change_weights_and_their_mean_is_one_update():
    system = system_of("cora", **FROZEN)
    for parameter in system.fusion.project:
        parameter.data += 0.3 * torch.randn_like(parameter)
    mean, single = kept.ways_of(system)
    for i, text in enumerate(TEXTS):
        changed = tiny_llama()
        with torch.no_grad():
            for name, (a, b) in single.updates.items():
                changed.get_submodule(name).weight += (a[i] @ b).T
            expected = reference(changed, system.writer.tokenizer, text)
        torch.testing.assert_close(losses(system, single)[i], expected, rtol=1e-3, atol=1e-3)
    for name, (a, _) in mean.updates.items():
        torch.testing.assert_close(a, single.updates[name][0].mean(0, keepdim=True))


def test_choices_are_as_probable_as_their_tokens():
    system, plain = system_of("allmrec", **FROZEN), tiny_llama()
    questions = QUESTIONS[:2]
    found = kept.answer_probabilities(system, questions, Way(""))
    tokenizer = system.writer.tokenizer
    for question, own in zip(questions, found, strict=True):
        asked = len(tokenizer(question.text, add_special_tokens=False).input_ids)
        expected = [
            -reference(plain, tokenizer, f"{question.text} {choice}")[asked - 1 :].sum()
            for choice in question.choices
        ]
        expected = torch.stack(expected).softmax(0).detach().numpy()
        np.testing.assert_allclose(own, expected, rtol=1e-2, atol=1e-4)


def test_questions_have_four_different_choices_and_are_asked_once():
    assert len(QUESTIONS) == len({q.text for q in QUESTIONS}) == 60
    for question in QUESTIONS:
        assert len(question.choices) == len(set(question.choices)) == 4
        assert all(choice == choice.strip() != "" for choice in question.choices)


def test_passages_are_running_text():
    passages = kept.plain_passages()
    assert len(passages) == len(set(passages)) > 50
    assert passages == kept.plain_passages()
    for text in passages:
        assert kept.WORDS[0] <= len(text.split()) <= kept.WORDS[1]
        assert "::=" not in text and ">>>" not in text
