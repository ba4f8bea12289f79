"""The machine at hand: what it is, and how fast it multiplies matrices."""

import os
import platform
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import PreTrainedModel

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes")
GIB = 2**30


def describe(device: torch.device) -> dict[str, object]:
    """Processor, memory and library versions, as the JSON of a benchmark holds them."""
    name = platform.processor() or platform.machine()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _cpuinfo().get("model name", name),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(pages / GIB, 1),
        "bf16_instructions": bf16_instructions(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": {package: version(package) for package in PACKAGES},
    }


def bf16_instructions() -> list[str]:
    """What this processor multiplies bf16 with, by Linux's names; empty when it has nothing."""
    fields = _cpuinfo()
    flags = fields.get("flags", fields.get("Features", "")).split()
    return sorted({"avx512_bf16", "amx_bf16", "bf16"}.intersection(flags))


def _cpuinfo() -> dict[str, str]:
    """Fields of the last processor in /proc/cpuinfo; empty elsewhere than on Linux."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return {}
    pairs = (line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


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
