"""Training: a packed sequence against one prompt for each of its rows, forward and backward."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ckf_demo.lab.ablation import sequences_for
from ckf_demo.lab.bench.plain import plain_prompts
from ckf_demo.model.system import System
from ckf_demo.runtime.timing import Row, alternate
from ckf_demo.training.losses import sequence_losses, weighted_sum
from ckf_demo.training.sequences import PackedSequence

SEQUENCES = 1
BATCH = 8


def trained_system(folder: Path, system: System) -> System:
    """The system's checkpoint once more, with adapters that learn."""
    other = System.for_training(system.config, system.prepared)
    other.load_weights(folder)
    return other


def gradients(system: System, sequences: list[PackedSequence]) -> Tensor:
    """Of the weighted loss over sequences with respect to everything that learns: float32 (n,)."""
    learnt = [p for kind in system.trainable().values() for p in kind]
    for parameter in learnt:
        parameter.grad = None
    for sequence in sequences:
        losses = sequence_losses(system, sequence, teach=True)
        weighted_sum(losses).backward()
    return torch.cat([p.grad.float().flatten() for p in learnt if p.grad is not None])


def adapter_dtypes(system: System, rounds: int) -> Iterator[Row]:
    """The same packed sequences with adapters kept in bf16 and in float32, as training does.

    Steps of bf16 weights are rounded away when they are small against the weights, so bf16 would
    have to be clearly faster to be worth it.
    """
    sequences = sequences_for(system, SEQUENCES)
    adapters = system.lora.adapter_parameters()
    system.lora.eval()
    system.fusion.eval()

    def hold(dtype: torch.dtype) -> None:
        for parameter in adapters:
            parameter.grad = None
            parameter.data = parameter.data.to(dtype)

    seconds = alternate(
        {name: lambda: gradients(system, sequences) for name in ("float32", "bf16")},
        rounds,
        before={
            "float32": lambda: hold(torch.float32),
            "bf16": lambda: hold(torch.bfloat16),
        },
    )
    hold(torch.float32)
    yield Row.of(
        "train_float32_vs_bf16_adapters", seconds["bf16"] / seconds["float32"], "times as fast"
    )


def one_prompt_each(system: System, rounds: int) -> Iterator[Row]:
    """Rows a second of both ways on the same rows with the same histories."""
    sequences = sequences_for(system, SEQUENCES)
    rows = sum(len(s.questions) for s in sequences)
    system.lora.eval()
    system.fusion.eval()

    def plainly() -> Tensor:
        with plain_prompts(system, BATCH):
            return gradients(system, sequences)

    packed, plain = gradients(system, sequences), plainly()
    cosine = torch.cosine_similarity(packed, plain, dim=0)
    yield Row.of("train_gradient_cosine", np.array([float(cosine)]), "cosine")
    seconds = alternate({"packed": lambda: gradients(system, sequences), "plain": plainly}, rounds)
    yield Row.of("train_rows_per_second", rows / seconds["packed"], "rows/s")
    yield Row.of("train_one_prompt_each_rows_per_second", rows / seconds["plain"], "rows/s")
    yield Row.of("train_vs_one_prompt_each", seconds["plain"] / seconds["packed"], "times as fast")
