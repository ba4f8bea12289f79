"""Full fine-tuning of all weights of a backbone, the baseline of Multi-LoRA.

Rounding to bf16 loses small steps. So the optimiser works on float32 masters, whose values are
copied to the backbone, which computes in its own dtype.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from ckf_demo.runtime.errors import UserError

WEIGHTS = "backbone.safetensors"


class FullWeights:
    """The weights of a backbone, not in 4 bits, with their masters.

    The masters receive the gradients and are clipped and stepped; call `take_over` after each
    step.
    """

    def __init__(self, model: PreTrainedModel):
        self._weights = dict(model.named_parameters())
        self.masters: list[nn.Parameter] = []
        for weight in self._weights.values():
            if not weight.is_floating_point():
                raise UserError(
                    "Weights in 4 bits cannot be trained; load the backbone in bf16 or float32 "
                    "for lora.full."
                )
            master = nn.Parameter(weight.detach().float().clone())
            self.masters.append(master)
            weight.requires_grad_(True)
            weight.register_post_accumulate_grad_hook(self._passing_to(master))

    @staticmethod
    def _passing_to(master: nn.Parameter):
        def give(weight: nn.Parameter) -> None:
            assert weight.grad is not None  # PyTorch calls this once it has been accumulated
            gradient = weight.grad.float()
            master.grad = gradient if master.grad is None else master.grad + gradient
            weight.grad = None

        return give

    @torch.no_grad()
    def take_over(self) -> None:
        """Copy the values of the masters to the backbone."""
        for weight, master in zip(self._weights.values(), self.masters, strict=True):
            weight.copy_(master)

    def hold(self) -> None:
        """End the training: freeze the weights and drop the masters."""
        for weight in self._weights.values():
            weight.requires_grad_(False)
        self.masters = []

    def save(self, folder: Path) -> None:
        """Write all weights in bf16; tied ones once."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        tensors = {k: w.detach().to(torch.bfloat16).cpu() for k, w in self._weights.items()}
        save_file(tensors, Path(folder) / WEIGHTS)

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Read what `save` wrote; UserError when it is missing or does not fit."""
        path = Path(folder) / WEIGHTS
        if not path.exists():
            raise UserError(f"The checkpoint has no backbone at {path}.")
        tensors = load_file(path)
        shapes = [{k: t.shape for k, t in group.items()} for group in (self._weights, tensors)]
        if shapes[0] != shapes[1]:
            raise UserError(f"The weights at {path} do not fit this backbone.")
        for name, weight in self._weights.items():
            weight.copy_(tensors[name])
        for weight, master in zip(self._weights.values(), self.masters, strict=True):
            master.copy_(weight)
