"""Attention for packed branches: each looks at the prefix and itself, and at nothing else.

A dense mask over all tokens spends most of its work on pairs that are masked out. Here branches are
taken in small chunks against the prefix and their own keys only, as plain matrix products, which on
the CPU are also faster than the fused kernel; see ``ckf_demo.backbone.engine`` for the layout.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from ckf_demo.runtime.cancellation import check

NAME = "branches"
CHUNK = 96
"""Branch tokens of a chunk on a CPU. A GPU multiplies what is masked faster than it starts another
kernel, so there all branches are one chunk."""


@dataclass(frozen=True)
class Packing:
    """The layout of prefix and branches in a forward pass.

    ``prefix`` keys come first. ``masks`` are additive, (q, prefix + q) for each chunk of q branch
    tokens, in order. ``prefix_mask`` (prefix, prefix) is there if the prefix is among the queries
    too, and None if it is cached.
    """

    prefix: int
    masks: list[Tensor]
    prefix_mask: Tensor | None = None


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float) -> Tensor:
    """query (B, H, q, D); key, value (B, G, k, D) with H a multiple of G; mask (q, k)."""
    batch, heads, n, size = query.shape
    groups = key.shape[1]
    folded = (query * scaling).reshape(batch * groups, -1, size)
    scores = torch.bmm(folded, key.flatten(0, 1).transpose(1, 2))
    scores = scores.view(-1, n, key.shape[2]) + mask
    weights = scores.softmax(-1).view(batch * groups, -1, key.shape[2])
    return torch.bmm(weights, value.flatten(0, 1)).view(batch, heads, n, size)


def branch_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    packing: Packing | None = None,
    **kwargs,
) -> tuple[Tensor, None]:
    """transformers' attention interface; ``packing`` comes through the model's keyword arguments.

    Without a packing it is ordinary causal attention over a cache: every query sees all keys up to
    its own. Raises `Stopped` when the answer is not needed any more: every layer runs this, tens of
    times a second.
    """
    check()
    if packing is None:
        n, total = query.shape[2], key.shape[2]
        mask = torch.full((n, total), torch.finfo(query.dtype).min, dtype=query.dtype)
        mask = mask.triu(total - n + 1).to(query.device)
        return _attend(query, key, value, mask, scaling).transpose(1, 2), None
    p, parts, start = packing.prefix, [], 0
    if packing.prefix_mask is not None:
        of_prefix = (x[:, :, :p] for x in (query, key, value))
        parts.append(_attend(*of_prefix, packing.prefix_mask, scaling))
        start = p
    before_key, before_value, behind = key[:, :, :p], value[:, :, :p], p
    for mask in packing.masks:
        end, behind_end = start + len(mask), behind + len(mask)
        parts.append(
            _attend(
                query[:, :, start:end],
                torch.cat([before_key, key[:, :, behind:behind_end]], 2),
                torch.cat([before_value, value[:, :, behind:behind_end]], 2),
                mask,
                scaling,
            )
        )
        start, behind = end, behind_end
    return torch.cat(parts, 2).transpose(1, 2), None


AttentionInterface.register(NAME, branch_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
