"""Text only: the same backbone and prompts without any collaborative signal (as TALLRec)."""

import torch

from ckf_demo.fusion.base import Fused, FusionMethod, PairBatch


class TextOnly(FusionMethod):
    """No tokens, no prior: what the language model makes of the words."""

    name = "text"
    label = "TALLRec"
    summary = "text-only prompts, one LoRA; the control for every fusion"
    paper = "2305.00447"
    needs = "nothing but the prompt"
    uses_tokens = False

    def forward(self, pairs: PairBatch) -> Fused:
        nothing = torch.zeros(len(pairs.targets), 0, device=pairs.targets.device)
        return Fused(user_tokens=nothing, item_tokens=nothing)
