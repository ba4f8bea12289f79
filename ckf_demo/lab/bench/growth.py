"""How time and memory grow with history, candidates and catalogue, as figures and plots."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from plotly.subplots import make_subplots

from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.lab.bench.people import BenchPerson, answers, people
from ckf_demo.model.system import System
from ckf_demo.runtime.paths import replacing
from ckf_demo.runtime.timing import PeakMemory, Row

HISTORIES = (5, 10, 20, 50, 100, 200)
CANDIDATES = (10, 30, 100, 300, 1000, 2000)
CATALOGUES = (1, 4, 16, 64)
FEW = 20
ROUNDS = 2
"""The largest sizes take minutes, and a curve of many points needs few rounds."""

COLOURS = {"history": "#0072B2", "candidates": "#D55E00", "catalogue": "#009E73"}


def growth(system: System, rounds: int) -> Iterator[Row]:
    """Seconds and megabytes of ranking against each size; `plots` draws them."""
    keenest = people(system, 1, candidates=max(CANDIDATES), keenest=True)[0]
    answers(system, replace(keenest, candidates=keenest.candidates[:FEW]), "ranking")
    for n in _within(HISTORIES, len(keenest.items)):
        person = replace(keenest.cut(n), candidates=keenest.candidates[:FEW])
        yield from _rows("history", n, lambda p=person: answers(system, p, "ranking"), rounds)
    for n in _within(CANDIDATES, len(keenest.candidates)):
        person = replace(keenest, candidates=keenest.candidates[:n])
        yield from _rows("candidates", n, lambda p=person: answers(system, p, "ranking"), rounds)
    for times in CATALOGUES:
        knowledge = repeated(system.knowledge, times)
        yield from _rows(
            "catalogue", knowledge.n_items, lambda k=knowledge: _propose(k, keenest), rounds
        )


def _within(sizes: Sequence[int], most: int) -> list[int]:
    return [n for n in sizes if n <= most] or [most]


def _rows(what: str, size: int, call: Callable[[], object], rounds: int) -> Iterator[Row]:
    seconds, megabytes = np.empty(rounds), np.empty(rounds)
    for number in range(rounds):
        with PeakMemory() as memory:
            began = time.perf_counter()
            call()
            seconds[number] = time.perf_counter() - began
        megabytes[number] = memory.peak / 1e6
    yield Row.of(f"growth_{what}_{size}_seconds", seconds, "s")
    yield Row.of(f"growth_{what}_{size}_megabytes", megabytes, "MB")


def _propose(knowledge: CollaborativeKnowledge, person: BenchPerson) -> np.ndarray:
    scores = knowledge.candidate_scores(person.items, person.ratings)
    return np.argpartition(-scores, FEW)[:FEW]


def repeated(knowledge: CollaborativeKnowledge, times: int) -> CollaborativeKnowledge:
    """The same tables over a catalogue that is so many times as large."""

    def tile(array: np.ndarray, axis: int = 0) -> np.ndarray:
        return np.concatenate([array] * times, axis=axis)

    rating, watching = knowledge.rating_model, knowledge.implicit_model
    levels = knowledge.levels_of
    if levels is not None:
        arrays = {name: tile(array, axis=-1) for name, array in levels.arrays().items()}
        levels = replace(levels, **arrays | {"by_genre": levels.by_genre})
    return replace(
        knowledge,
        rating_model=replace(rating, items=tile(rating.items), item_bias=tile(rating.item_bias)),
        implicit_model=replace(watching, items=tile(watching.items)),
        # those are tables of the catalogue's size as well, and as quick
        retrievers=None,
        item_count=tile(knowledge.item_count),
        genre_matrix=tile(knowledge.genre_matrix),
        years=tile(knowledge.years),
        levels_of=levels,
    )


def plots(rows: Sequence[Row], path: Path) -> None:
    """One page: seconds and megabytes against each size, all axes logarithmic."""
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, subplot_titles=("time", "memory")
    )
    for place, unit in enumerate(("seconds", "megabytes"), start=1):
        for what, colour in COLOURS.items():
            own = [
                r for r in rows if r.name.startswith(f"growth_{what}_") and r.name.endswith(unit)
            ]
            figure.add_scatter(
                name=what,
                legendgroup=what,
                showlegend=place == 1,
                line_color=colour,
                x=[int(r.name.split("_")[2]) for r in own],
                y=[r.value for r in own],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [r.high - r.value for r in own],
                    "arrayminus": [r.value - r.low for r in own],
                },
                row=place,
                col=1,
            )
        figure.update_yaxes(type="log", title=unit, row=place, col=1)
    figure.update_xaxes(type="log")
    figure.update_xaxes(
        title="films in the history, candidates, or films in the catalogue", row=2, col=1
    )
    with replacing(path) as temporary:
        figure.write_html(temporary, include_plotlyjs=True)
