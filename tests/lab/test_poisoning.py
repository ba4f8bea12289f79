"""Fake people: what they rate, that the space is turned back, that shares are what they say."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ortho_group

from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.lab import poisoning, report
from ckf_demo.lab.poisoning import FILLERS, aligned, fakes, measure, poisoned, refit_agrees
from ckf_demo.model.system import System
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path
from support.commands import written
from support.tiny import save_backbone, tiny_config, tiny_data, tiny_knowledge

DATA = tiny_data()


def test_every_fake_loves_the_target_and_rates_each_film_once():
    made_up = fakes(DATA, 7, 5, "bandwagon", seed=0)
    rated = np.bincount(DATA.item[DATA.fit], minlength=DATA.n_items)
    for number in range(5):
        own = made_up.user == number
        items, stars = made_up.item[own], made_up.rating[own]
        assert len(items) == len(np.unique(items)) == FILLERS + 1
        assert stars[items == 7] == 5
        assert (stars == 5).sum() > FILLERS // 3
        assert rated[items].all()
    fewer = fakes(DATA, 7, 2, "bandwagon", seed=0)
    np.testing.assert_array_equal(fewer.item, made_up.item[: len(fewer.item)])
    np.testing.assert_array_equal(fewer.rating, made_up.rating[: len(fewer.rating)])


def test_random_fillers_are_rated_about_the_mean():
    made_up = fakes(DATA, 7, 40, "random", seed=0)
    others = made_up.rating[made_up.item != 7]
    assert others.mean() == pytest.approx(DATA.rating[DATA.fit].mean(), abs=0.2)


def test_fakes_stand_beside_the_real_people():
    made_up = fakes(DATA, 7, 3, "random", seed=0)
    both = poisoned(DATA, made_up)
    n = int(DATA.fit.sum())
    np.testing.assert_array_equal(both.user[:n], DATA.user[DATA.fit])
    assert not np.isin(both.user[n:], DATA.user).any()
    assert both.fit.sum() == n + len(made_up.user)


def test_a_refit_without_fakes_gives_the_same_tables():
    assert refit_agrees(tiny_knowledge(), DATA, 0) < 1e-3
    other = CollaborativeKnowledge.fit(DATA, seed=1)
    assert refit_agrees(other, DATA, 0) > 1e-2


def test_a_turned_space_is_turned_back():
    clean = tiny_knowledge()
    turned = {}
    for name in ("rating_model", "implicit_model"):
        model = getattr(clean, name)
        turn = ortho_group.rvs(model.items.shape[1], random_state=0)
        turned[name] = replace(model, items=(model.items @ turn).astype(np.float32))
    back, far = aligned(replace(clean, **turned), clean, 7)
    assert far["watching_model before"] > 0.5
    assert far["watching_model after"] < 1e-3
    np.testing.assert_allclose(back.rating_model.items, clean.rating_model.items, atol=1e-3)


@pytest.fixture
def checkpoint(tmp_path, empty_cache):
    DATA.save(prepared_path("made-up"))
    save_backbone(tmp_path / "backbone")
    system = System.for_training(tiny_config(tmp_path / "backbone"), DATA)
    for parameter in system.lora.adapter_parameters():
        parameter.data += 0.01
    system.save(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_many_fakes_move_a_film_into_top_tens(checkpoint, monkeypatch):
    monkeypatch.setattr(poisoning, "RATED", (1, 1000))
    monkeypatch.setattr(poisoning, "FILLERS", 6)
    attacked = {"levels": (0, 300), "attacks": ("random",), "reranked": ("random",)}
    path = checkpoint.with_name("poisoning.json")
    found = written(measure, path, checkpoint, people=4, targets=1, **attacked)
    shares = {(r["method"], r["fakes"]): r["value"] for r in found["rows"]}
    assert shares[poisoning.STAGE, 300] > shares[poisoning.STAGE, 0]
    assert shares[poisoning.STAGE, 300] == 1
    assert found["needed"]["random, candidate stage"] in ([300], [0])
    assert 0 <= shares[poisoning.WHOLE, 300] <= 1
    assert found["refit_difference"] < 1e-3
    text = report.markdown(found)
    assert "| candidate stage, random |" in text


def test_unknown_attacks_are_one_message(checkpoint):
    with pytest.raises(UserError, match="No attack 'bribery'; there are bandwagon, random"):
        measure(checkpoint, attacks=("bribery",))
