"""Where time goes: one question of each task, split into its parts, and the page's share on top.

Parts are read off Python's own profiler over the public methods of `Recommender`, with a person who
was not asked about before. What the page adds is the time of the same question through its HTTP
endpoint minus that of the method.
"""

import cProfile
import inspect
import pstats
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from gradio_client import Client

from ckf_demo.backbone.decoder import Writing
from ckf_demo.backbone.engine import Engine
from ckf_demo.data.store import InteractionStore
from ckf_demo.inference.predictor import Predictor
from ckf_demo.lab.bench.matrices import linear_shapes, matrix_rate, token_operations
from ckf_demo.model.system import System
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.timing import Row
from ckf_demo.tasks.prompts import PromptWriter

PARTS: dict[str, tuple[tuple[type, str], ...]] = {
    "prefill": ((Engine, "prefill"),),
    "branches": ((Engine, "score"), (Engine, "_step")),
    "head": ((System, "read"),),
    "writing": ((Writing, "__call__"),),
    "sampling": ((Engine, "generate"),),
    "fusion": ((System, "pairs"), (System, "fuse")),
    "candidates": ((Predictor, "candidates"),),
    "prompt": ((PromptWriter, "prefix"), (PromptWriter, "branch")),
    "duckdb": tuple(
        (InteractionStore, name)
        for name, member in vars(InteractionStore).items()
        if inspect.isfunction(member) and name != "__init__"
    ),
}
"""Functions of each part. Time in one part that was called from another counts for the inner one,
so that the parts add up; what is in none is ``python``."""

SIZE_STEP = 32
"""The machine's rate is measured for passes of this many tokens and its multiples."""

Place = tuple[str, int, str]


def _place(owner: type, name: str) -> Place:
    """A function as the profiler names it."""
    member = inspect.getattr_static(owner, name)
    code = inspect.unwrap(member).__code__
    return code.co_filename, code.co_firstlineno, code.co_name


def shares(stats: pstats.Stats) -> dict[str, float]:
    """Share of the profiled time in each of `PARTS` and in ``python``; they add up to one."""
    part_of = {_place(*f): part for part, functions in PARTS.items() for f in functions}
    table = stats.stats
    spent = dict.fromkeys(PARTS, 0.0)
    for function, (_, _, _, cumulative, callers) in table.items():
        part = part_of.get(function)
        if part is None:
            continue
        within = sum(callers[c][3] for c in callers if part_of.get(c) == part)
        spent[part] += cumulative - within
    # a text's own functions run inside the generator that yields its tokens
    spent["sampling"] -= spent["writing"] + _below(table, _place(Engine, "_step"))
    total = stats.total_tt
    return {part: x / total for part, x in spent.items()} | {
        "python": 1 - sum(spent.values()) / total
    }


def _below(table: dict, function: Place) -> float:
    return table[function][3] if function in table else 0.0


class Questions:
    """The four tasks for known users, one after the other, each for another user."""

    def __init__(self, recommender: Recommender):
        self.recommender = recommender
        users = recommender.store.users()
        known = users[users["n_before"].between(20, 80)]["user"]
        self._users = iter(known.tolist())

    def ask(self, task: str) -> tuple[Callable[[], object], dict[str, object]]:
        """A question about the next user as a call, and the arguments of its endpoint."""
        user = next(self._users)
        person = {"user": user, "item": self._item}
        method = {"rating": "rate", "ctr": "click", "ranking": "rank", "explanation": "explain"}
        given = {"user": user, "k": 10} if task == "ranking" else person
        function = getattr(self.recommender, method[task])

        def call() -> object:
            out = function(**given)
            return list(out) if inspect.isgenerator(out) else out

        return call, {**given, "api_name": f"/{method[task]}"}

    @cached_property
    def _item(self) -> str:
        counts = self.recommender.system.knowledge.item_count
        return self.recommender.item_order[int(np.argmax(counts))]


@contextmanager
def counted_passes(system: System) -> Iterator[list[int]]:
    """Tokens of every forward pass inside, by the model or by the decoder, in order."""
    passes: list[int] = []

    def note(_module, _inputs, options: dict) -> None:
        given = options.get("inputs_embeds")
        passes.append((options["input_ids"] if given is None else given).shape[1])

    hook = system.engine.model.model.register_forward_pre_hook(note, with_kwargs=True)
    plain = Writing.__call__

    def writing(self: Writing, token: int) -> torch.Tensor:
        passes.append(1)
        return plain(self, token)

    Writing.__call__ = writing
    try:
        yield passes
    finally:
        hook.remove()
        Writing.__call__ = plain


def profile(recommender: Recommender, rounds: int) -> Iterator[Row]:
    """Per task: seconds, shares of the parts, seconds that the page adds, and the distance to the
    time that the multiplications alone would take at the machine's rate for their shapes."""
    from ckf_demo.ui.app import build, launch_options

    system, questions = recommender.system, Questions(recommender)
    shapes = linear_shapes(system.engine.model)
    operations = token_operations(shapes)
    demo = build(recommender)
    demo.launch(
        server_name="127.0.0.1",
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        **launch_options(),
    )
    try:
        client = Client(demo.local_url, verbose=False)
        for task in recommender.tasks:
            questions.ask(task)[0]()
            client.predict(**questions.ask(task)[1])
            direct, page, limit = np.empty(rounds), np.empty(rounds), np.empty(rounds)
            parts: dict[str, list[float]] = {}
            rates: dict[int, float] = {}
            for number in range(rounds):
                direct[number] = _seconds(questions.ask(task)[0])
                arguments = questions.ask(task)[1]
                page[number] = _seconds(lambda a=arguments: client.predict(**a))
                call, _ = questions.ask(task)
                with counted_passes(system) as passes:
                    call()
                sizes = [-(-n // SIZE_STEP) * SIZE_STEP if n > SIZE_STEP else n for n in passes]
                for size in {*sizes} - {*rates}:
                    rates[size] = matrix_rate(
                        shapes, size, system.engine.dtype, system.engine.device
                    )
                limit[number] = sum(
                    n * operations / rates[size] for n, size in zip(passes, sizes, strict=True)
                )
                call, _ = questions.ask(task)
                profiler = cProfile.Profile()
                profiler.runcall(call)
                for part, share in shares(pstats.Stats(profiler)).items():
                    parts.setdefault(part, []).append(share)
            yield Row.of(f"profile_{task}_seconds", direct, "s")
            for part, found in parts.items():
                yield Row.of(f"profile_{task}_{part}", np.array(found), "share")
            yield Row.of(f"profile_{task}_gradio_seconds", page - direct, "s")
            yield Row.of(f"profile_{task}_vs_matmul_rate", limit / direct, "share")
    finally:
        demo.close()


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
