"""How fast the machine at hand multiplies matrices of a model's shapes."""

import time
from collections.abc import Iterable

import torch
from transformers import PreTrainedModel


def linear_shapes(model: PreTrainedModel) -> list[tuple[int, int]]:
    """(in, out) of every weight that each token passes through; no adapters, no output matrix."""
    head = model.get_output_embeddings()
    return [
        (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and ".lora_" not in name
    ]


def token_operations(shapes: Iterable[tuple[int, int]]) -> int:
    """Floating-point operations that one token costs in these weights."""
    return sum(2 * rows * columns for rows, columns in shapes)


def matrix_rate(
    shapes: Iterable[tuple[int, int]],
    tokens: int,
    dtype: torch.dtype,
    device: torch.device,
    *,
    repeats: int = 3,
) -> float:
    """Operations a second of plain matrix products at given shapes, one after the other.

    Every product reads a weight of its own, as a model does.
    """
    shapes = list(shapes)
    inputs = {n: torch.randn(tokens, n, device=device).to(dtype) for n, _ in shapes}
    weights = [torch.randn(m, n, device=device).to(dtype) for n, m in shapes]
    best = 0.0
    for _ in range(repeats):
        began = time.perf_counter()
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, tokens * token_operations(shapes) / (time.perf_counter() - began))
    return best
