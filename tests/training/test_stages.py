"""The stages after the joint one: each changes what is its own, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ckf_demo.collaborative.knowledge import FEATURE_NAMES, LEVEL_NAMES
from ckf_demo.data.ranking_queries import ranking_queries
from ckf_demo.data.splits import VALID
from ckf_demo.fusion.ckf import STEEPNESS
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.predict import score_rows
from ckf_demo.model.system import System
from ckf_demo.runtime.errors import UserError
from ckf_demo.training import ranking_stage
from ckf_demo.training.loop import Run, train
from ckf_demo.training.ranking_stage import WEIGHTS, Choice, ndcg, queries_to_choose_on
from support.synthetic import made_up_likes
from support.tiny import tiny_config, write_config
from support.training import DATA, reload


def test_the_last_stage_trains_the_explanation_adapter_alone(workplace):
    config = tiny_config(
        workplace / "backbone", train={"wording_steps": 4, "wording_size": 2, "steps": 6}
    )
    run = Run.prepare(config, DATA)
    while run.step < 6:
        run.train_step()
    run._check()
    run.finish("calibration")
    before = reload(run.folder)
    run.finish("wording")
    after = reload(run.folder)
    for name, value in before.lora.peft.state_dict().items():
        same = torch.equal(value, after.lora.peft.state_dict()[name])
        assert same != (".explanation." in name), name
    for name, value in before.fusion.state_dict().items():
        assert torch.equal(value, after.fusion.state_dict()[name]), name
    assert after.calibration == before.calibration
    manifest = read_manifest(run.folder)
    assert manifest["training"]["steps"] == 6
    assert manifest["stages"].keys() == {"calibration", "wording"}
    assert manifest["stages"]["wording"]["steps"] == 4


def test_an_unknown_stage_is_one_clear_message(workplace):
    path = write_config(workplace, tiny_config(workplace / "backbone"))
    with pytest.raises(UserError, match="No checkpoint"):
        train(path, stage="calibration")
    train(path)
    with pytest.raises(UserError, match="No stage 'singing'.*there are: prior, calibration"):
        train(path, stage="singing")
    with pytest.raises(UserError, match="leave --resume and --warm-start away"):
        train(path, stage="calibration", resume=True)


def test_ctr_is_calibrated_on_validation_rows(workplace):
    run = Run.prepare(tiny_config(workplace / "backbone"), DATA)
    run.run()
    served = reload(run.folder)
    slope, intercept = served.calibration["ctr"]
    rows = DATA.rows(split=1)
    probability = score_rows(served, rows, tasks=("ctr",))["ctr"]
    assert probability.mean() == pytest.approx((DATA.rating[rows] >= 4).mean(), abs=0.02)
    assert np.isfinite([slope, intercept]).all()


def test_a_ranking_stage_changes_ranking_alone_and_sets_its_weight(workplace):
    path = write_config(workplace, tiny_config(workplace / "backbone", train={"ranking_steps": 4}))
    train(path)
    folder = workplace / "checkpoints" / "tiny"
    stage = read_manifest(folder)["stages"]["pool"]
    assert stage["weight"] in WEIGHTS
    assert 0 <= stage["ndcg@10"] <= 1
    system = reload(folder)
    trust = system.fusion.trust["ranking"].item() * STEEPNESS
    assert torch.tensor(trust).sigmoid().item() == pytest.approx(stage["weight"], abs=2e-3)

    others = {
        name: (folder / "adapters" / name / "adapter_model.safetensors").read_bytes()
        for name in ("shared", "rating", "ctr", "explanation")
    }
    rows = DATA.rows(split=1)[:20]
    before = score_rows(system, rows)
    train(path, stage="ranking")
    after = score_rows(reload(folder), rows)
    for name, content in others.items():
        assert (folder / "adapters" / name / "adapter_model.safetensors").read_bytes() == content
    for task in ("rating", "ctr"):
        np.testing.assert_array_equal(before[task], after[task])


def test_the_weight_of_a_pool_is_the_one_with_the_best_order():
    relevant = np.array([0.0, 1.0, 0.0])
    right, wrong = np.array([0.0, 2.0, 1.0]), np.array([5.0, 0.0, 1.0])
    good = Choice(lm_only=right, prior=wrong, relevant=relevant)
    bad = Choice(lm_only=wrong, prior=right, relevant=relevant)
    assert ndcg([good], 1.0) == ndcg([bad], 0.0) == 1.0
    assert ndcg([good], 0.0) == ndcg([bad], 1.0) == pytest.approx(0.5)


def test_a_weight_is_chosen_by_people_to_choose_on_and_few_enough(monkeypatch):
    likes = made_up_likes()
    queries = queries_to_choose_on(likes, seed=0)
    assert queries
    assert all(likes.choosing_users[query.user] for query in queries)
    everybody = {query.user for query in ranking_queries(likes, VALID)}
    assert {query.user for query in queries} < everybody
    monkeypatch.setattr(ranking_stage, "QUERIES", 3)
    few, again = ([q.user for q in queries_to_choose_on(likes, seed=0)] for _ in range(2))
    assert len(few) == 3 and few == again
    assert set(few) <= {query.user for query in queries}


def test_a_prior_stage_fits_the_prior_alone(workplace):
    path = write_config(workplace, tiny_config(workplace / "backbone"))
    train(path)
    folder = workplace / "checkpoints" / "tiny"
    adapters = {p: p.read_bytes() for p in folder.glob("adapters/*/adapter_model.safetensors")}
    before = load_file(folder / "fusion.safetensors")
    train(path, stage="prior")
    after = load_file(folder / "fusion.safetensors")
    assert adapters and all(p.read_bytes() == content for p, content in adapters.items())
    others = [name for name in before if not name.startswith("prior.")]
    assert others and all(torch.equal(before[name], after[name]) for name in others)
    assert read_manifest(folder)["stages"]["prior"].keys() >= {"ctr", "rating"}


def test_weights_of_fewer_pair_features_answer_as_before(workplace):
    """Features that a checkpoint did not have change nothing until a prior has learnt them."""
    system = System.for_training(tiny_config(workplace / "backbone"), DATA)
    fusion = system.fusion.eval()
    old = len(FEATURE_NAMES)
    tensors = fusion.state_dict()
    for name in ("feature_mean", "feature_scale", "prior.body.0.weight", "project_item.weight"):
        tensors[name] = tensors[name][..., : tensors[name].shape[-1] - len(LEVEL_NAMES)]
    for name in [n for n in tensors if n.startswith("prior.flat.") and n.endswith("weight")]:
        tensors[name] = tensors[name][:, :old]
    tensors.pop("prior.words", None)
    extended = fusion.extended(tensors)
    assert {n: t.shape for n, t in extended.items()} == {
        n: t.shape for n, t in fusion.state_dict().items()
    }
    fusion.load_state_dict(extended)
    pairs = system.pairs(np.array([0, 1]), np.array([5.0, 2.0]), np.array([2]), np.array([3]))
    known = pairs.features.clone()
    known[:, old:] = 7
    other = replace(pairs, features=known)
    for task, answer in fusion(pairs).prior.items():
        if task != "ranking":
            assert torch.equal(answer, fusion(other).prior[task])
