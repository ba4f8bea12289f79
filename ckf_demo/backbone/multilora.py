"""Multi-LoRA: one shared low-rank update on every token and one per task on branch tokens.

Each adapted weight answers W₀x + s·B_share A_share x + s·B_t A_t x. The parameters live in PEFT
adapters, so that PEFT alone saves and loads them; the update itself is computed here, because in
one packed sequence every token has a task of its own, which PEFT's global switch cannot express.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import LoraModel, PeftModel, get_peft_model
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from ckf_demo.backbone.full import FullWeights
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.section import Section

SHARED = "shared"


class LoraConfig(Section):
    """The ``[lora]`` section. Multi-LoRA: W₀ + B_share A_share + B_t A_t."""

    rank: int = 8
    """Rank r of every update."""
    alpha: int = 16
    """Updates are scaled by alpha / rank."""
    dropout: float = 0.05
    """Share of an update's inputs that is dropped in training, 0 to 1."""
    shared_targets: tuple[str, ...] = ("k_proj", "v_proj", "o_proj")
    """Weights with the shared update, active on every token."""
    task_targets: tuple[str, ...] = ("q_proj", "down_proj")
    """Weights with one update per task, active on branch tokens only; empty for none."""
    full: bool = Field(False, exclude_if=lambda value: value is False)
    """Full fine-tuning: all weights of the backbone are trained, without any adapter. A checkpoint
    then holds them all."""


@dataclass(frozen=True)
class Route:
    """Which task's update each token gets.

    ``task`` is the one task of all tokens, or None; ``per_token`` int64 (B, T) holds indices into
    ``MultiLora.tasks`` with −1 for the prefix and overrides it. ``shared`` and ``tasks`` switch
    the two kinds of update off for ablations.
    """

    task: str | None = None
    per_token: Tensor | None = None
    shared: bool = True
    tasks: bool = True


class MultiLora(nn.Module):
    """A causal LM of the Llama family, wrapped in one shared and several task adapters.

    ``tasks`` are in the order of ``Route.per_token``. Without any targets in ``config`` the
    backbone stays as it is, and there are no adapters. With ``full`` its own weights are trained
    instead; see `FullWeights`.
    """

    def __init__(self, model: PreTrainedModel, tasks: tuple[str, ...], config: LoraConfig):
        super().__init__()
        self.tasks = tasks if config.task_targets and not config.full else ()
        self.config, self.scale = config, config.alpha / config.rank
        self._folded: dict[nn.Module, dict[str, tuple[Tensor, Tensor]]] = {}
        self._layers: list[Any] = []  # PEFT's, of a class for each kind of weight
        self._route = Route()
        self._names: tuple[str, ...] = ()
        self.full: FullWeights | None = None
        if config.full:
            self._bare, self.full = model, FullWeights(model)
            return
        names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
        missing = set(config.shared_targets + config.task_targets) - names
        if missing:
            raise UserError(
                f"The backbone has no weights named {', '.join(sorted(missing))}; set "
                "lora.shared_targets and lora.task_targets to names that it has."
            )
        self._names = ((SHARED,) if config.shared_targets else ()) + self.tasks
        if not self._names:
            self._bare = model
            return
        targets = {SHARED: config.shared_targets} | dict.fromkeys(self.tasks, config.task_targets)
        first, *others = self._names
        settings = {
            name: PeftLoraConfig(
                r=config.rank,
                lora_alpha=config.alpha,
                lora_dropout=config.dropout,
                target_modules=list(targets[name]),
                task_type="CAUSAL_LM",
            )
            for name in self._names
        }
        self.peft: PeftModel = get_peft_model(model, settings[first], first)
        for name in others:
            self.peft.add_adapter(name, settings[name])
        # PEFT's own forward is switched off; the hooks add the routed updates instead.
        cast(LoraModel, self.peft.base_model).disable_adapter_layers()
        self._layers = [m for m in self.peft.modules() if hasattr(m, "lora_A")]
        for layer in self._layers:
            layer.register_forward_hook(self._update)
        for parameter in self.adapter_parameters():
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)

    @property
    def model(self) -> PreTrainedModel:
        """The backbone with its adapters in place."""
        if not self._names:
            return self._bare
        return cast(PreTrainedModel, cast(LoraModel, self.peft.base_model).model)

    @contextmanager
    def routing(self, route: Route) -> Iterator[None]:
        """Route tokens for the forward passes inside; not reentrant, callers hold a lock."""
        previous, self._route = self._route, route
        try:
            yield
        finally:
            self._route = previous

    def fold(self, dtype: torch.dtype) -> None:
        """Keep all updates as scaled constants of one dtype: serving needs no master weights."""
        if self.full is not None:
            self.full.hold()
        for layer in self._layers:
            self._folded[layer] = {
                name: (
                    layer.lora_A[name].weight.detach().to(dtype),
                    (self.scale * layer.lora_B[name].weight.detach()).to(dtype),
                )
                for name in layer.lora_A
            }

    @property
    def folded(self) -> bool:
        """Whether the updates are constants by now."""
        return bool(self._folded)

    def _pair(self, layer: Any, name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        if layer in self._folded:
            return self._folded[layer][name]
        a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
        return a.to(dtype), (self.scale * b).to(dtype)

    def _drop(self, low: Tensor) -> Tensor:
        # on the low-rank activations: their few columns cost nothing, the full width would
        return F.dropout(low, self.config.dropout, self.training)

    def _low_rank(self, layer: Any, name: str, x: Tensor) -> Tensor:
        a, b = self._pair(layer, name, x.dtype)
        return F.linear(self._drop(F.linear(x, a)), b)

    def _update(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        route, x = self._route, inputs[0]
        if route.shared and SHARED in layer.lora_A:
            output = output + self._low_rank(layer, SHARED, x)
        if not route.tasks:
            return output
        names = [t for t in self.tasks if t in layer.lora_A]
        if route.per_token is not None and names:
            pairs = [self._pair(layer, name, x.dtype) for name in names]
            low = F.linear(x, torch.cat([a for a, _ in pairs]))
            owner = torch.arange(len(names), device=x.device).repeat_interleave(self.config.rank)
            low = low * (route.per_token[..., None] == owner)
            output = output + F.linear(self._drop(low), torch.cat([b for _, b in pairs], dim=1))
        elif route.task in names:
            output = output + self._low_rank(layer, cast(str, route.task), x)
        return output

    def adapter_parameters(self) -> list[nn.Parameter]:
        """All adapter weights, shared and per task, or all of the backbone; float32."""
        if self.full is not None:
            return self.full.masters
        return [
            part.weight
            for layer in self._layers
            for part in (*layer.lora_A.values(), *layer.lora_B.values())
        ]

    def save(self, folder: Path) -> None:
        """Write every adapter, of which there must be one, in PEFT's own format, in bf16."""
        if self.full is not None:
            self.full.save(folder)
            return
        state = {k: v.to(torch.bfloat16) for k, v in self.peft.state_dict().items() if "lora_" in k}
        for name in self._names:
            self.peft.save_pretrained(str(folder), selected_adapters=[name], state_dict=state)
        for readme in Path(folder).rglob("README.md"):
            readme.unlink()

    def load(self, folder: Path) -> None:
        """Read adapters that `save` wrote; UserError if one is missing, wrong or all zero."""
        if self.full is not None:
            self.full.load(folder)
            return
        for name in self._names:
            path = Path(folder) / name / "adapter_model.safetensors"
            if not path.exists():
                raise UserError(f"The checkpoint has no adapter '{name}' at {path}.")
            tensors = load_file(path)
            parameters = self._tensors(name)
            if parameters.keys() != tensors.keys():
                raise UserError(f"The adapter '{name}' at {path} does not fit this backbone.")
            for key, parameter in parameters.items():
                if parameter.shape != tensors[key].shape:
                    raise UserError(
                        f"The adapter '{name}' at {path} has {key} of shape "
                        f"{tuple(tensors[key].shape)}, not {tuple(parameter.shape)}."
                    )
                parameter.data.copy_(tensors[key])
            if sum(p.norm().item() for k, p in parameters.items() if "lora_B" in k) == 0:
                raise UserError(f"The adapter '{name}' at {path} is empty (all zero).")

    def _tensors(self, name: str) -> dict[str, nn.Parameter]:
        """Parameters of one adapter under the keys that PEFT gives them on disk."""
        return {
            key.replace(f".{name}.weight", ".weight"): parameter
            for key, parameter in self.peft.named_parameters()
            if f".{name}.weight" in key and "lora_" in key
        }
