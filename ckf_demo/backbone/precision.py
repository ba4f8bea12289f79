"""Chooses NF4, or the same numbers in bf16 or float32: the fastest on this machine.

All give the same answers but differ in memory and speed. Without bf16 instructions of the
processor, NF4 and bf16 take several times as long as float32. The choice is measured once and kept
in the user's cache.
"""

import hashlib
import json
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ValidationError
from transformers import PreTrainedModel

from ckf_demo.backbone.loading import best_device, load_backbone
from ckf_demo.runtime.machine import describe
from ckf_demo.runtime.paths import cache_dir, clear_leftovers, replacing
from ckf_demo.runtime.timing import alternate

AUTO = "auto"
Choice = Literal["nf4", "nf4-bf16", "nf4-fp32"]
CHOICES: tuple[Choice, ...] = ("nf4", "nf4-bf16", "nf4-fp32")
TOKENS = 128
ROUNDS = 3


class Precision(BaseModel):
    """The choice, with seconds for a prompt of `TOKENS` tokens and megabytes of weights."""

    chosen: Choice
    seconds: dict[str, float]
    megabytes: dict[str, float]

    def __str__(self) -> str:
        parts = [f"{k} {v:.2f} s, {self.megabytes[k]:.0f} MB" for k, v in self.seconds.items()]
        return f"{self.chosen} ({TOKENS} tokens and weights: {'; '.join(parts)})"


def choose(backbone: str, device: str | None = None) -> Precision:
    """The choice for this machine and backbone, from the cache or measured."""
    path = _place(backbone, device)
    clear_leftovers(path.parent)
    if path.exists():
        try:
            return Precision.model_validate_json(path.read_bytes())
        except ValidationError:
            # damaged, or written by another version: measured again
            pass
    precision = measure(backbone, device)
    with replacing(path) as temporary:
        temporary.write_text(precision.model_dump_json(indent=1) + "\n")
    return precision


def _place(backbone: str, device: str | None) -> Path:
    machine = describe(torch.device(best_device(device)))
    key = hashlib.sha256(json.dumps([backbone, machine], sort_keys=True).encode()).hexdigest()
    return cache_dir() / "precision" / f"{key[:16]}.json"


@torch.inference_mode()
def measure(backbone: str, device: str | None = None) -> Precision:
    """Time all of `CHOICES` in alternating rounds."""
    models: dict[str, PreTrainedModel] = {
        name: load_backbone(backbone, name, device) for name in CHOICES
    }
    # Measured before the first prompt, in which bitsandbytes may repack the weights.
    megabytes = {name: weight_bytes(model) / 1e6 for name, model in models.items()}
    vocabulary = models[CHOICES[0]].config.vocab_size
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (1, TOKENS), generator=generator)

    def prompt(model: PreTrainedModel) -> None:
        model.model(input_ids=ids.to(model.device), use_cache=False)
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)

    rounds = alternate({name: lambda m=model: prompt(m) for name, model in models.items()}, ROUNDS)
    seconds = {name: float(np.median(times)) for name, times in rounds.items()}
    fastest = min(CHOICES, key=seconds.__getitem__)
    return Precision(chosen=fastest, seconds=seconds, megabytes=megabytes)


def weight_bytes(model: PreTrainedModel) -> int:
    """Bytes of all weights and their quantisation states."""
    total = sum(p.nbytes for p in model.parameters())
    for module in model.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        while state is not None:
            total += state.absmax.nbytes
            state = getattr(state, "state2", None)
    return total
