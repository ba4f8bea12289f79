"""Checkpoints are saved whole, and one that is damaged or does not fit is refused."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.system import System
from ckf_demo.runtime.errors import UserError
from ckf_demo.training.loop import Run
from ckf_demo.training.losses import sequence_losses_of
from support.synthetic import made_up
from support.tiny import TASKS, save_backbone, tiny_config
from support.training import DATA, draws, reload

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
