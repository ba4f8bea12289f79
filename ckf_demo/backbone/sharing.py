"""One backbone in memory for several checkpoints.

A checkpoint wraps layers of its backbone in adapters and adds hooks. For this each checkpoint has
its own module tree, over weight tensors that all trees share.
"""

import copy
import threading
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from transformers import PreTrainedModel

from ckf_demo.backbone.loading import load_backbone, prepare_backbone


@dataclass(frozen=True)
class Sharing:
    """How the backbone of a clone was loaded, and the model that it was cloned from."""

    quantization: str
    device: str | None
    pristine: PreTrainedModel


_loaded: WeakValueDictionary[tuple, PreTrainedModel] = WeakValueDictionary()
_lock = threading.Lock()


def clone(model: PreTrainedModel) -> PreTrainedModel:
    """A second module tree over the same weights.

    Modules, hooks and configuration are copied; parameters, buffers and the quantisation states of
    bitsandbytes are the very objects of ``model``. Adapters and hooks of one tree do not touch the
    other; a change to a weight's numbers is seen in both.
    """
    kept = [*model.parameters(), *model.buffers()]
    # bitsandbytes refers to the state from the module as well as from its weight
    kept += [m.quant_state for m in model.modules() if getattr(m, "quant_state", None) is not None]
    return copy.deepcopy(model, {id(part): part for part in kept})


def shared_backbone(name: str, quantization: str, device: str | None = None) -> PreTrainedModel:
    """`load_backbone`, but over weights that are in memory once, however often it is called.

    The model that was read stays as it is, for further clones, until the last clone is gone.
    """
    key = (*_identity(name), quantization, device)
    with _lock:
        pristine = _loaded.get(key)
        if pristine is None:
            pristine = _loaded[key] = load_backbone(name, quantization, device)
            _settle(pristine)
    model = clone(pristine)
    object.__setattr__(model, "sharing", Sharing(quantization, device, pristine))
    return model


def sharing_of(model: PreTrainedModel) -> Sharing | None:
    """How a clone that `shared_backbone` handed out was loaded; None for any other model."""
    return getattr(model, "sharing", None)


def _identity(name: str) -> tuple:
    """A backbone's folder with what changes when it is written again; for a hub id its name."""
    path = Path(prepare_backbone(name))
    weights = sorted(path.glob("*.safetensors"))
    return str(path.resolve() if weights else path), *(
        (file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in weights
    )


@torch.inference_mode()
def _settle(model: PreTrainedModel) -> None:
    """Let bitsandbytes repack its weights for this processor, which it does in place in the first
    forward pass: two clones must not both do it at the same time."""
    if getattr(model, "is_loaded_in_4bit", False):
        model.model(input_ids=torch.tensor([[0]], device=model.device), use_cache=False)
