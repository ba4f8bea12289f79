"""Data-parallel training: the sequences of one optimiser step divided over processes.

    accelerate launch --multi_gpu --num_processes 2 -m ckf_demo train \\
        --config assets/configs/ml-100k.toml

(with ``ACCELERATE_USE_CPU=true`` before it on a machine without a GPU).

Each process computes its share of an optimiser step's sequences, drawn as one process would draw
them, and the gradients are added up. The result is that of one process, up to the order of
additions.

DistributedDataParallel does not fit: it averages gradients in hooks around the model's ``forward``,
which the engine does not call as a whole, and it expects every process to use the same parameters,
but a text-only sequence leaves out the fusion. So ``Accelerator.reduce`` adds all gradients once,
at the end of an optimiser step.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object
from torch import Tensor, nn

from ckf_demo.runtime.errors import UserError

T = TypeVar("T")

PATIENCE = timedelta(hours=12)
"""Time for which the others wait while the main process fits tables and prior."""


class Processes:
    """The processes of a run, as ``accelerate launch`` started them; one without it.

    ``count`` is their number, ``index`` that of this one. 0 is the main one; only it writes files.
    """

    def __init__(self) -> None:
        self._accelerator = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)])
        self.count: int = self._accelerator.num_processes
        self.index: int = self._accelerator.process_index

    @property
    def main(self) -> bool:
        return self.index == 0

    @property
    def device(self) -> str | None:
        """The device of this process, or None for the best one available."""
        device = self._accelerator.device
        # a CPU may come with a number, which means nothing
        named = device.type if device.type == "cpu" else str(device)
        return None if self.count == 1 else named

    def check(self, sequences: int) -> None:
        """UserError with fewer ``sequences`` in an optimiser step than processes."""
        if sequences < self.count:
            raise UserError(
                f"{self.count} processes cannot share the {sequences} sequences of an optimiser "
                f"step; start at most {sequences}, or set train.accumulate to a multiple of "
                f"{self.count}."
            )

    def owns(self, number: int) -> bool:
        """Whether the sequence with this number, in its step or list, is this process's."""
        return number % self.count == self.index

    def from_main(self, make: Callable[[], T]) -> T:
        """The picklable result of ``make``, which only the main process calls."""
        if self.count == 1:
            return make()
        return broadcast_object_list([make() if self.main else None])[0]

    def gathered(self, own: Sequence[T]) -> list[list[T]]:
        """The list of every process, in their order."""
        return [list(own)] if self.count == 1 else gather_object([list(own)])

    def align(self, *modules: nn.Module) -> None:
        """Give every process the main one's parameters and buffers."""
        if self.count == 1:
            return
        for module in modules:
            tensors = module.state_dict()
            state = self.from_main(lambda tensors=tensors: {k: v.cpu() for k, v in tensors.items()})
            with torch.no_grad():
                for name, tensor in tensors.items():
                    tensor.copy_(state[name])

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in place.

        A parameter without a gradient in any process keeps none, so the optimiser leaves it alone.
        """
        if self.count == 1:
            return
        present = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32)
        parts = [
            torch.zeros(p.numel(), device=p.device) if p.grad is None else p.grad.flatten().float()
            for p in parameters
        ]
        flat: Tensor = torch.cat([*parts, present.to(parameters[0].device)])
        total = self._accelerator.reduce(flat, reduction="sum")
        *sums, present = total.split([*(p.numel() for p in parameters), len(parameters)])
        for parameter, gradient, holders in zip(parameters, sums, present.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter).to(parameter.dtype) if holders else None

    def part(self) -> None:
        """Leave the group of processes: nothing is shared any more."""
        if self.count > 1:
            self._accelerator.state.destroy_process_group()
            self.count = 1
