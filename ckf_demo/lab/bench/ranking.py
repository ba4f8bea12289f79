"""Ranking: 100 candidates against one prompt for each, and the same person asked again."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from ckf_demo.backbone.engine import common_beginning
from ckf_demo.lab.bench.matrices import linear_shapes, matrix_rate, token_operations
from ckf_demo.lab.bench.people import BenchPerson, answers, people, prompt, questions
from ckf_demo.lab.bench.plain import plain_prompts
from ckf_demo.model.system import System
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.timing import Row, alternate
from ckf_demo.tasks.prompts import window_start

PEOPLE = 2
BATCH = 16
AGAIN = 20
CHUNKS = (64, 128, 256, 512, 1024, 4096)


def one_prompt_each(system: System, rounds: int) -> Iterator[Row]:
    """Ratios of whole rankings, averaged over people of several history lengths."""
    persons = people(system, PEOPLE)

    def plainly() -> None:
        with plain_prompts(system, BATCH):
            for person in persons:
                answers(system, person, "ranking")

    seconds = alternate(
        {
            "engine": lambda: [answers(system, p, "ranking") for p in persons],
            "plain": plainly,
        },
        rounds,
    )
    yield Row.of("rank_100_seconds", seconds["engine"] / PEOPLE, "s")
    yield Row.of("rank_100_one_prompt_each_seconds", seconds["plain"] / PEOPLE, "s")
    yield Row.of(
        "rank_100_vs_one_prompt_each", seconds["plain"] / seconds["engine"], "times as fast"
    )


def agreement(system: System) -> Iterator[Row]:
    """How far apart the probabilities of both ways are, and those of two plain batchings."""
    for_all: dict[str, list[float]] = {"engine": [], "batching": []}
    for person in people(system, PEOPLE):
        ours = torch.sigmoid(answers(system, person, "ranking"))
        plain = []
        for batch in (BATCH, BATCH // 4):
            with plain_prompts(system, batch):
                plain.append(torch.sigmoid(answers(system, person, "ranking")))
        for_all["engine"].append(float((ours - plain[0]).abs().max()))
        for_all["batching"].append(float((plain[1] - plain[0]).abs().max()))
    dtype = str(system.engine.dtype).removeprefix("torch.")
    unit = "largest difference in probability"
    yield Row.of(f"rank_100_difference_to_plain_{dtype}", np.array(for_all["engine"]), unit)
    yield Row.of(
        f"rank_100_difference_of_two_batchings_{dtype}", np.array(for_all["batching"]), unit
    )


def asked_again(recommender: Recommender, rounds: int) -> Iterator[Row]:
    """20 candidates: the first time, once more, after one rating more, and after one less.

    The histories are such that the rating does not move the window of films that are shown; one
    in `PromptConfig.block` does, and costs as much as the first time.
    """
    persons = [_steady(recommender, p) for p in people(recommender.system, PEOPLE)]
    shorter = [person[:-1] for person in persons]

    def ask(histories: list[list[dict]]) -> None:
        for history in histories:
            recommender.rank(history=history, candidates=AGAIN)

    def knowing(histories: list[list[dict]]) -> Callable[[], None]:
        def prepare() -> None:
            recommender.forget()
            ask(histories)

        return prepare

    seconds = alternate(
        {
            "first": lambda: ask(persons),
            "repeat": lambda: ask(persons),
            "grown": lambda: ask(persons),
            "shrunk": lambda: ask(shorter),
        },
        rounds,
        before={
            "first": recommender.forget,
            "repeat": knowing(persons),
            "grown": knowing(shorter),
            "shrunk": knowing(persons),
        },
    )
    yield Row.of("rank_20_first_seconds", seconds["first"] / PEOPLE, "s")
    for name in ("repeat", "grown", "shrunk"):
        yield Row.of(f"rank_20_{name}_vs_first", seconds["first"] / seconds[name], "times as fast")


def _steady(recommender: Recommender, person: BenchPerson) -> list[dict]:
    """A history whose last film does not move the window, as it is given to the recommender."""
    n, config = len(person.items), recommender.system.config.prompt
    while n > 1 and window_start(n, config) != window_start(n - 1, config):
        n -= 1
    return [
        {"item": recommender.item_order[item], "rating": float(stars)}
        for item, stars in zip(person.items[:n], person.ratings[:n], strict=True)
    ]


def chunks(system: System, rounds: int) -> Iterator[Row]:
    """The same candidates in passes of different lengths: what `Engine.score` takes as its own."""
    person = people(system, 1)[0]
    ids = prompt(system, person)
    prefix = system.engine.prefill(ids)
    branches, slots, _ = questions(system, person, "ranking", len(ids))

    def run(size: int) -> None:
        for _ in system.engine.score(prefix, branches, slots, chunk_tokens=size):
            pass

    seconds = alternate({str(n): lambda n=n: run(n) for n in CHUNKS}, rounds)
    for name, found in seconds.items():
        yield Row.of(f"rank_100_in_passes_of_{name}_tokens", found, "s")


def share_of_matrix_rate(system: System, rounds: int) -> Iterator[Row]:
    """Operations that ranking needs in the weights, over its time and the machine's rate.

    The rate is that of bf16 or of float32, whichever this machine multiplies faster. Tokens that
    all candidates begin with are computed once and count once.
    """
    persons = people(system, PEOPLE)
    shapes = linear_shapes(system.engine.model)
    tokens = 0
    for person in persons:
        ids = prompt(system, person)
        branches, slots, _ = questions(system, person, "ranking", len(ids))
        shared = common_beginning(branches, slots)
        tokens += len(ids) + shared + sum(len(b.ids) - shared for b in branches)
    rates: dict[torch.dtype, list[float]] = {torch.bfloat16: [], torch.float32: []}

    def measure() -> None:
        for dtype, found in rates.items():
            found.append(matrix_rate(shapes, 512, dtype, system.engine.device, repeats=2))

    seconds = alternate(
        {"rank": lambda: [answers(system, p, "ranking") for p in persons]},
        rounds,
        before={"rank": measure},
    )["rank"]
    bf16, float32 = (np.array(found[-rounds:]) for found in rates.values())
    yield Row.of("matmul_rate_bf16", bf16 / 1e9, "GFLOP/s")
    yield Row.of("matmul_rate_float32", float32 / 1e9, "GFLOP/s")
    reached = tokens * token_operations(shapes) / seconds
    yield Row.of("rank_prefill_rate", reached / 1e9, "GFLOP/s")
    yield Row.of("rank_prefill_vs_matmul_rate", reached / np.maximum(bf16, float32), "share")
