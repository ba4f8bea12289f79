"""Weight updates that differ from pair to pair, for methods that carry knowledge into weights.

Pair i brings a matrix A_i for some weights, and its tokens see W₀x + Bᵀ(A_iᵀx) there. The
backbone's own tensors are never touched.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


class PairUpdates:
    """Hooks on a backbone's weights that add the updates of the pairs at hand.

    ``names`` are the paths of the weights that may be updated, as in `BackboneShape.linears`.
    """

    def __init__(self, model: PreTrainedModel, names: Sequence[str]):
        self._updates: Mapping[str, tuple[Tensor, Tensor]] = {}
        self._sizes: list[int] = []
        for name in names:
            model.get_submodule(name).register_forward_hook(self._hook(name))

    @contextmanager
    def applied(
        self, updates: Mapping[str, tuple[Tensor, Tensor]], sizes: Sequence[int]
    ) -> Iterator[None]:
        """Forward passes inside are of pairs with ``sizes`` tokens each, one behind another.

        ``updates`` maps a path to A (m, inputs, r) and B (r, outputs); not reentrant.
        """
        self._updates, self._sizes = updates, list(sizes)
        try:
            yield
        finally:
            self._updates, self._sizes = {}, []

    def _hook(self, name: str):
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if name not in self._updates:
                return output
            into, out_of = self._updates[name]
            x = inputs[0]
            parts = x[0].split(self._sizes)
            low = torch.cat([p @ a.to(x.dtype) for p, a in zip(parts, into, strict=True)])
            return output + (low @ out_of.to(x.dtype))[None]

        return add
