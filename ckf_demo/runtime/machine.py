"""The machine at hand."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

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
