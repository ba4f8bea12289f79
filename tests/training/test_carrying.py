"""What is carried over from a checkpoint to other data, and how axes of factors find each other."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import ortho_group

from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.fusion.ckf import STEEPNESS
from ckf_demo.model.manifest import adapters_folder, read_manifest
from ckf_demo.model.system import System
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path
from ckf_demo.training import carrying
from ckf_demo.training.carrying import Alignment, aligned, begin, carried_config, carried_system
from ckf_demo.training.loop import Run
from support.synthetic import made_up
from support.tiny import tiny_config
from support.training import DATA

OTHER = replace(made_up(n_users=40, n_items=50, n=1200, seed=3), dataset="mine")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a trained checkpoint ``checkpoints/tiny`` on the made-up data, and OTHER."""
    from support.tiny import save_backbone

    folder = tmp_path_factory.mktemp("carrying")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        for data in (DATA, OTHER):
            data.save(prepared_path(data.dataset))
        save_backbone(folder / "backbone")
        run = Run.prepare(tiny_config(folder / "backbone"), DATA)
        while run.step < 4:
            run.train_step()
        run._check()
        yield folder / "checkpoints" / "tiny"


def rotated(knowledge: CollaborativeKnowledge) -> CollaborativeKnowledge:
    """The same tables with other axes."""

    def turn(model):
        rotation = ortho_group.rvs(model.items.shape[1], random_state=0)
        return replace(model, items=(model.items @ rotation).astype(np.float32))

    return replace(
        knowledge,
        rating_model=turn(knowledge.rating_model),
        implicit_model=turn(knowledge.implicit_model),
    )


def distance(one: CollaborativeKnowledge, other: CollaborativeKnowledge) -> float:
    gap = np.linalg.norm(one.item_table - other.item_table)
    return float(gap / np.linalg.norm(other.item_table))


@pytest.mark.parametrize("alignment", [Alignment.items, Alignment.axes, Alignment.texts])
def test_rotated_tables_find_the_axes_of_the_checkpoint_again(place, monkeypatch, alignment):
    theirs = CollaborativeKnowledge.fit(DATA).for_serving(DATA)
    # texts that say all about the factors, in an order of their own
    table = np.concatenate([theirs.rating_model.items, theirs.implicit_model.items], axis=1)
    of = dict(zip(DATA.titles, table, strict=True))
    monkeypatch.setattr(carrying, "RIDGE", 1e-6)
    monkeypatch.setattr(carrying, "encoded_texts", lambda texts: np.stack([of[t] for t in texts]))
    turned = rotated(theirs)
    assert distance(turned, theirs) > 0.5
    back, how = aligned(turned, DATA, place, alignment)
    assert how == alignment
    assert distance(back, theirs) < 0.05
    # answers of the tables are the same
    items = back.implicit_model.items
    assert np.allclose(
        items @ items.T, turned.implicit_model.items @ turned.implicit_model.items.T, atol=1e-4
    )


def test_the_alignment_is_what_the_data_allow(place, monkeypatch):
    knowledge = CollaborativeKnowledge.fit(OTHER)
    # Film 1 to Film 50 are in both
    monkeypatch.setattr(carrying, "SHARED_ITEMS", 50)
    assert aligned(knowledge, OTHER, place)[1] == Alignment.items
    monkeypatch.setattr(carrying, "encoded_texts", lambda texts: np.eye(len(texts), 60))
    monkeypatch.setattr(carrying, "SHARED_ITEMS", 51)
    assert aligned(knowledge, OTHER, place)[1] == Alignment.texts
    untitled = replace(OTHER, titles=[""] * OTHER.n_items)
    assert aligned(knowledge, untitled, place)[1] == Alignment.axes
    prepared_path(DATA.dataset).rename(prepared_path("elsewhere"))
    try:
        assert aligned(knowledge, OTHER, place)[1] == Alignment.axes
    finally:
        prepared_path("elsewhere").rename(prepared_path(DATA.dataset))


def carried(place: Path, data: Prepared = OTHER) -> tuple[System, Path]:
    """The system that was carried over, and its checkpoint beside the one that it is from."""
    folder = place.parent / "mine"
    shutil.rmtree(folder, ignore_errors=True)
    config = carried_config(place, "mine")
    system, alignment = carried_system(config, data, place, Alignment.items)
    begin(system, folder, place, alignment)
    return system, folder


def test_adapters_and_fusion_are_carried_and_the_rest_is_fitted(place):
    system, folder = carried(place)
    source = System.for_training(tiny_config(place.parent.parent / "backbone"), DATA, place)
    ours, theirs = system.lora.peft.state_dict(), source.lora.peft.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items() if "lora_" in name)
    fusion, other = system.fusion.state_dict(), source.fusion.state_dict()
    assert torch.equal(fusion["project_item.weight"], other["project_item.weight"])
    assert not torch.equal(fusion["prior.body.0.weight"], other["prior.body.0.weight"])
    assert not fusion["feature_mean"].any()
    run = Run.of_checkpoint(folder, OTHER, system)
    run.finish("prior")
    run.finish("calibration")
    manifest = read_manifest(folder)
    assert manifest["stages"].keys() == {"prior", "calibration"}
    assert manifest["training"]["carried_from"] == "tiny"
    assert manifest["config"]["data"]["dataset"] == "mine"
    served = System.load(folder, OTHER, quantization="bf16")
    assert served.fusion.feature_mean.any() and served.calibration["ctr"]


def test_carried_adapters_are_not_copied_and_lose_their_weight_when_they_change(place):
    system, folder = carried(place)
    system.fusion.set_weight("rating", 0.5)
    system.save(folder, extra={"training": {}, "stages": {}})
    manifest = read_manifest(folder)
    assert not (folder / "adapters").exists()
    assert adapters_folder(folder, manifest) == place / "adapters"

    def weight() -> float:
        return System.load(folder, OTHER, quantization="bf16").fusion.trust["rating"].item()

    assert weight() == 0
    (path,) = (place / "adapters" / "ctr").glob("*.safetensors")
    content = path.read_bytes()
    tensors = {name: tensor * 2 for name, tensor in load_file(path).items()}
    try:
        save_file(tensors, path)
        assert weight() * STEEPNESS < -6
        path.unlink()
        with pytest.raises(UserError, match="uses the adapters of 'tiny'.*is missing"):
            System.load(folder, OTHER, quantization="bf16")
    finally:
        path.write_bytes(content)


def test_once_they_are_trained_they_are_saved(place):
    _, folder = carried(place)
    run = Run.of_checkpoint(folder, OTHER)
    run._check()
    assert not (folder / "adapters").exists()
    run.train_step()
    run.best = np.inf
    run._check()
    assert (folder / "adapters" / "ctr").is_dir()
    assert "borrowed" not in read_manifest(folder)
