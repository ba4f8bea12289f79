"""How the weights are held is measured once a machine, and remembered."""

import json

import pytest
import torch

from ckf_demo.backbone import precision
from ckf_demo.backbone.precision import CHOICES, Precision, choose, weight_bytes
from support.tiny import save_backbone


@pytest.fixture
def backbone(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # bitsandbytes packs 4-bit weights in whole blocks of 64 where the processor multiplies bf16.
    return str(save_backbone(tmp_path / "backbone", hidden_size=128))


def remembered(tmp_path):
    (path,) = (tmp_path / "cache" / "ckf-demo" / "precision").glob("*.json")
    return path


def test_the_faster_way_is_chosen_and_both_are_stated(backbone):
    found = precision.measure(backbone, "cpu")
    assert found.seconds.keys() == found.megabytes.keys() == set(CHOICES)
    assert found.seconds[found.chosen] == min(found.seconds.values())
    assert found.megabytes["nf4"] < found.megabytes["nf4-bf16"]
    assert all(name in str(found) for name in CHOICES)


def test_a_machine_is_measured_once(backbone, tmp_path, monkeypatch):
    first = choose(backbone, "cpu")
    monkeypatch.setattr(precision, "measure", lambda *given: pytest.fail("measured again"))
    assert choose(backbone, "cpu") == first
    assert Precision.model_validate_json(remembered(tmp_path).read_text()) == first


def test_an_unreadable_memory_is_measured_anew(backbone, tmp_path):
    choose(backbone, "cpu")
    remembered(tmp_path).write_text("{}")
    assert choose(backbone, "cpu").chosen in CHOICES
    assert json.loads(remembered(tmp_path).read_text())["chosen"] in CHOICES


def test_weights_are_counted_with_their_scales():
    layer = torch.nn.Linear(8, 4, bias=False)
    assert weight_bytes(layer) == 8 * 4 * 4
    layer.weight.quant_state = type(
        "State", (), {"absmax": torch.zeros(2), "state2": type("S", (), {"absmax": torch.zeros(1)})}
    )
    assert weight_bytes(layer) == 8 * 4 * 4 + 12
