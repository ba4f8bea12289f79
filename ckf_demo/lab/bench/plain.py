"""What people would otherwise run: one prompt per question, by transformers and PEFT alone.

`PlainEngine` answers the calls of `Engine` over the same weights, so that both sides of a
comparison share everything else: fusion, prompts, losses and how answers are read. A prompt is the
history with one question behind it; prompts are padded on the left and run in batches, through
PEFT's own adapter layers and transformers' fused attention, and only the needed positions reach
the output matrix.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ckf_demo.backbone.attention import NAME
from ckf_demo.backbone.engine import Branch, Engine
from ckf_demo.backbone.multilora import SHARED, Route
from ckf_demo.model.system import System


@dataclass(frozen=True)
class PlainPrefix:
    """Nothing is computed before there is a question."""

    ids: list[int]

    @property
    def length(self) -> int:
        return len(self.ids)


class PlainEngine:
    """One prompt per branch.

    Parameters
    ----------
    batch
        Prompts per forward pass.
    """

    def __init__(self, engine: Engine, batch: int):
        self.lora, self.model, self.batch = engine.lora, engine.model, batch
        self.device, self.dtype, self.logits = engine.device, engine.dtype, engine.logits
        self.own: Tensor | None = None
        self._learnt = [p for p in self.lora.adapter_parameters() if p.requires_grad]

    def keep_to_branches(self, _layer, _inputs, low: Tensor) -> Tensor:
        """A task's update acts behind the history only: zero elsewhere; a hook on ``lora_A``."""
        return low if low.shape[1] == 1 else low * self.own.to(low.dtype)

    def thaw(self) -> None:
        """Let all adapters learn that did so at the beginning."""
        for parameter in self._learnt:
            parameter.requires_grad_(True)

    def _prompts(
        self, prefix_ids: list[int], branches: Sequence[Branch], slots: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """Embeddings (B, T, H) and mask (B, T), padded on the left."""
        rows = []
        for branch, own in zip(branches, slots, strict=True):
            ids = torch.tensor(prefix_ids[: branch.at] + branch.ids, device=self.device)
            row = self.model.model.embed_tokens(ids)
            if branch.slots:
                places = torch.tensor(branch.slots, device=self.device) + branch.at
                row = row.index_copy(0, places, own.to(row.dtype))
            rows.append(row)
        width = max(len(row) for row in rows)
        embedded = torch.stack([F.pad(row, (0, 0, width - len(row), 0)) for row in rows])
        places = torch.arange(width, device=self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        mask = places >= width - lengths[:, None]
        behind = torch.tensor([len(b.ids) for b in branches], device=self.device)
        self.own = (places >= width - behind[:, None])[..., None]
        return embedded, mask

    def _activate(self, task: str) -> None:
        self.lora.peft.base_model.set_adapter([SHARED, task])
        # PEFT freezes the adapters that it switches off, also those of the batch before
        self.thaw()

    def forward(
        self,
        prefix_ids: list[int],
        branches: Sequence[Branch],
        slots: Sequence[Tensor | None],
        **ablation: bool,
    ) -> list[Tensor]:
        """As `Engine.forward`; ``ablation`` must all be on."""
        if not all(ablation.values()):
            raise ValueError(f"plain prompts have no ablations, but were given {ablation}")
        out: list[Tensor | None] = [None] * len(branches)
        for task in dict.fromkeys(b.task for b in branches):
            self._activate(task)
            of_task = [i for i, b in enumerate(branches) if b.task == task]
            for start in range(0, len(of_task), self.batch):
                part = of_task[start : start + self.batch]
                embedded, mask = self._prompts(
                    prefix_ids, [branches[i] for i in part], [slots[i] for i in part]
                )
                hidden = self.model.model(
                    inputs_embeds=embedded,
                    attention_mask=mask.long(),
                    position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                    use_cache=False,
                ).last_hidden_state
                for row, i in zip(hidden, part, strict=True):
                    own = len(branches[i].ids)
                    out[i] = row[len(row) - own + branches[i].first_answer :]
        return out

    def prefill(self, prefix_ids: list[int]) -> PlainPrefix:
        return PlainPrefix(prefix_ids)

    @torch.inference_mode()
    def score(
        self, prefix: PlainPrefix, branches: Sequence[Branch], slots: Sequence[Tensor | None]
    ) -> Iterator[list[Tensor]]:
        """As `Engine.score`, all in one part."""
        yield self.forward(prefix.ids, branches, slots)

    @torch.inference_mode()
    def generate(
        self,
        prefix: PlainPrefix,
        branch: Branch,
        slots: Tensor | None,
        *,
        stop_ids: set[int],
        max_tokens: int,
    ) -> list[int]:
        """transformers' own greedy ``generate``: the tokens, without the stop."""
        self._activate(branch.task)
        embedded, mask = self._prompts(prefix.ids, [branch], [slots])
        tokens = self.model.generate(
            inputs_embeds=embedded,
            attention_mask=mask.long(),
            max_new_tokens=max_tokens,
            do_sample=False,
            eos_token_id=sorted(stop_ids),
            pad_token_id=0,
        )[0].tolist()
        return [t for t in tokens if t not in stop_ids]


@contextmanager
def plain_prompts(system: System, batch: int) -> Iterator[None]:
    """The system answers by one prompt per question inside, by the engine again afterwards."""
    ours, lora = system.engine, system.engine.lora
    plain = PlainEngine(ours, batch)
    hooks = [
        layer.register_forward_hook(plain.keep_to_branches)
        for name, layer in lora.peft.named_modules()
        if ".lora_A." in name and not name.endswith(f".{SHARED}")
    ]
    ours.model.set_attn_implementation("sdpa")
    lora.peft.base_model.enable_adapter_layers()
    system.engine = plain
    try:
        with lora.routing(Route(shared=False, tasks=False)):
            yield
    finally:
        system.engine = ours
        lora.peft.base_model.disable_adapter_layers()
        ours.model.set_attn_implementation(NAME)
        for hook in hooks:
            hook.remove()
        plain.thaw()
