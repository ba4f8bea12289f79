"""How the weights are held is measured once a machine, and remembered."""

from types import SimpleNamespace

import pytest
import torch

from ckf_demo.backbone import precision
from ckf_demo.backbone.precision import CHOICES, Precision, choose, weight_bytes
from support.tiny import save_backbone


@pytest.fixture
def backbone(tmp_path, empty_cache) -> str:
    # bitsandbytes packs 4-bit weights in whole blocks of 64 where the processor multiplies bf16.
    return str(save_backbone(tmp_path / "backbone", hidden_size=128))


def test_the_faster_way_is_chosen_and_both_are_stated(backbone):
    found = precision.measure(backbone, "cpu")
    assert found.seconds.keys() == found.megabytes.keys() == set(CHOICES)
    assert found.seconds[found.chosen] == min(found.seconds.values())
    assert found.megabytes["nf4"] < found.megabytes["nf4-bf16"]
    assert all(name in str(found) for name in CHOICES)


def test_a_machine_is_measured_once(backbone, empty_cache, monkeypatch):
    first = choose(backbone, "cpu")
    monkeypatch.setattr(precision, "measure", lambda *given: pytest.fail("measured again"))
    assert choose(backbone, "cpu") == first
    (remembered,) = (empty_cache / "precision").glob("*.json")
    assert Precision.model_validate_json(remembered.read_text()) == first


def test_weights_are_counted_with_their_scales():
    layer = torch.nn.Linear(8, 4, bias=False)
    assert weight_bytes(layer) == 8 * 4 * 4
    second = SimpleNamespace(absmax=torch.zeros(1))
    layer.weight.quant_state = SimpleNamespace(absmax=torch.zeros(2), state2=second)
    assert weight_bytes(layer) == 8 * 4 * 4 + 12
