"""Checkpoints are saved whole, and one that is damaged or does not fit is refused."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ckf_demo.collaborative.knowledge import FEATURE_NAMES, CollaborativeKnowledge
from ckf_demo.data.splits import TRAIN, VALID
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.predict import score_rows
from ckf_demo.model.system import System
from ckf_demo.runtime.errors import UserError
from ckf_demo.training.loop import Run
from ckf_demo.training.losses import sequence_losses_of
from support.synthetic import made_up
from support.tiny import (
    TASKS,
    save_backbone,
    save_checkpoint,
    tiny_config,
    tiny_knowledge,
    tiny_system,
)
from support.training import DATA, draws, reload

FIT = CollaborativeKnowledge.__dict__["fit"]
FILES = [
    *(f"adapters/{name}/adapter_model.safetensors" for name in ("shared", *TASKS)),
    "fusion.safetensors",
    "collaborative.safetensors",
]


def test_a_checkpoint_is_read_back_as_it_was_saved(checkpoint):
    system = reload(checkpoint)
    assert system.calibration == {"ctr": (0.8, 0.1)}
    again = checkpoint.with_name("again")
    system.save(again)
    names = {str(p.relative_to(checkpoint)) for p in checkpoint.rglob("*.safetensors")}
    assert names == set(FILES)
    for name in FILES:
        assert (again / name).read_bytes() == (checkpoint / name).read_bytes(), name
    sequences = draws(3, augment=False)
    for task, losses in sequence_losses_of(system, sequences).items():
        other = sequence_losses_of(reload(again), sequences)[task]
        np.testing.assert_array_equal(losses, other)


def test_what_is_served_is_what_was_trained(workplace):
    config = tiny_config(workplace / "backbone")
    run = Run.prepare(config, DATA)
    run.run()
    served = reload(run.folder)
    one, other = ([*system.engine.model.parameters()] for system in (served, run.system))
    torch.testing.assert_close(one, other)


@pytest.fixture
def own_tables(workplace, monkeypatch) -> Path:
    """A workplace in which tables are fitted to the rows that they are to be of."""
    monkeypatch.setattr(CollaborativeKnowledge, "fit", FIT)
    return workplace


def test_a_checkpoint_holds_the_tables_for_serving_and_training_used_others(own_tables):
    config = tiny_config(own_tables / "backbone", train={"ranking_steps": 2})
    run = Run.prepare(config, DATA)
    learnt = run.system.knowledge
    assert learnt.item_count.sum() == DATA.fit.sum()
    assert run.packer.knowledge is learnt
    while run.step < 6:
        run.train_step()
    run._check()
    assert run.system.knowledge is learnt
    served = reload(run.folder)
    assert served.knowledge.item_count.sum() == (DATA.split == TRAIN).sum()
    np.testing.assert_array_equal(served.knowledge.item_table, run.system.serving.item_table)
    # the stages that set weights and calibration work with what is served
    run.finish("ranking")
    assert run.system.knowledge is learnt
    for stage in ("pool", "calibration"):
        run.finish(stage)
        assert run.system.knowledge is run.system.serving
        np.testing.assert_array_equal(
            run.system.fusion.embeddings.table, run.system.serving.item_table
        )
    served, rows = reload(run.folder), DATA.rows(split=VALID)[:20]
    run.system.lora.eval()
    for task, scores in score_rows(served, rows).items():
        np.testing.assert_allclose(scores, score_rows(run.system, rows)[task], atol=2e-2)


def test_a_later_run_learns_with_tables_that_have_not_seen_the_answers(own_tables):
    config = tiny_config(own_tables / "backbone")
    run = Run.prepare(config, DATA)
    while run.step < 4:
        run.train_step()
    run._check()
    later = Run.prepare(config, DATA, warm_start=run.folder)
    np.testing.assert_array_equal(
        later.system.serving.item_table, reload(run.folder).knowledge.item_table
    )
    assert later.system.knowledge.item_count.sum() == DATA.fit.sum()
    # in the basis of the tables that are served, so that its weights mean the same
    one, other = (s.item_table for s in (later.system.knowledge, later.system.serving))
    again = CollaborativeKnowledge.fit(DATA).item_table
    assert np.linalg.norm(one - other) <= np.linalg.norm(again - other)


def test_a_checkpoint_with_older_tables_answers_as_it_did(stirred, tmp_path):
    knowledge = replace(tiny_knowledge(), levels_of=None)
    system = tiny_system(tiny_config(stirred / "backbone"), knowledge=knowledge)
    save_checkpoint(system, stirred / "backbone", tmp_path / "older")
    loaded = reload(tmp_path / "older")
    assert loaded.knowledge.feature_names == FEATURE_NAMES
    assert loaded.fusion.feature_mean.shape == (12,)
    np.testing.assert_array_equal(
        loaded.knowledge.candidate_scores(np.array([1, 2]), np.array([5.0, 4.0])),
        knowledge.candidate_scores(np.array([1, 2]), np.array([5.0, 4.0])),
    )
    rows = DATA.rows(split=VALID)[:10]
    pairs = [
        s.fuse(s.pairs(DATA.item[rows], DATA.rating[rows], np.array([4, 10]), np.array([0, 1])))
        for s in (system, loaded)
    ]
    for task, prior in pairs[0].prior.items():
        torch.testing.assert_close(pairs[1].prior[task], prior, atol=2e-2, rtol=2e-2)


def test_saving_over_a_checkpoint_leaves_one_that_loads(checkpoint):
    system = reload(checkpoint)
    for parameter in system.lora.adapter_parameters():
        parameter.data *= 2
    system.save(checkpoint)
    doubled = reload(checkpoint)
    one, other = ([p.bfloat16() for p in s.lora.adapter_parameters()] for s in (system, doubled))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_later_run_starts_from_committed_weights(workplace, stirred):
    run = Run.prepare(tiny_config(workplace / "backbone"), DATA, warm_start=stirred / "checkpoint")
    served = reload(stirred / "checkpoint")
    one, other = ([*system.lora.adapter_parameters()] for system in (run.system, served))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    for name, value in served.fusion.state_dict().items():
        assert torch.equal(value, run.system.fusion.state_dict()[name]), name
    np.testing.assert_array_equal(run.system.knowledge.item_table, served.knowledge.item_table)
    assert run.prior == read_manifest(stirred / "checkpoint")["training"]["prior"]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found_and_a_missing_file_named(checkpoint, name):
    data = bytearray((checkpoint / name).read_bytes())
    data[len(data) * 2 // 3] ^= 1
    (checkpoint / name).write_bytes(data)
    with pytest.raises(UserError, match=f"damaged: {name}"):
        reload(checkpoint)
    for missing in (name, "manifest.json"):
        (checkpoint / missing).unlink()
        with pytest.raises(UserError, match=missing):
            reload(checkpoint)
    with pytest.raises(UserError, match="No checkpoint at"):
        reload(checkpoint / "none")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-20], "manifest.json is damaged"),
        (lambda text: json.dumps({**json.loads(text), "format": 99}), "format 99"),
        (lambda text: re.sub(r'"alpha": \d+', '"alpha": 99', text), "configuration"),
    ],
)
def test_a_damaged_manifest_or_a_changed_configuration_is_named(checkpoint, change, said):
    path = checkpoint / "manifest.json"
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    with pytest.raises(UserError, match=said):
        reload(checkpoint)


def test_other_data_are_refused(checkpoint):
    with pytest.raises(UserError, match="other data"):
        reload(checkpoint, made_up(n_users=50, n_items=60, n=1500, seed=1))


def test_another_backbone_is_refused(checkpoint, stirred):
    """The folder of the same name holds other weights."""
    kept = stirred / "kept"
    (stirred / "backbone").rename(kept)
    try:
        save_backbone(stirred / "backbone", seed=5)
        with pytest.raises(UserError, match="another backbone"):
            reload(checkpoint)
    finally:
        shutil.rmtree(stirred / "backbone")
        kept.rename(stirred / "backbone")


def test_an_unknown_quantization_is_refused(checkpoint):
    with pytest.raises(UserError, match="choose one of nf4"):
        System.load(checkpoint, DATA, quantization="int3")
