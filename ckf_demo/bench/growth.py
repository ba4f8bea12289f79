"""How time grows with the history, the candidates and the catalogue, as figures and plots."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from ckf_demo.bench.people import Someone, answers, people
from ckf_demo.bench.rounds import Row
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.paths import replacing
from ckf_demo.system import System

HISTORIES = (5, 10, 20, 50, 100, 200)
CANDIDATES = (10, 30, 100, 300, 1000, 2000)
CATALOGUES = (1, 4, 16, 64)
FEW = 20


def seconds_of(call: Callable[[], object], rounds: int) -> np.ndarray:
    """Seconds per round, float64 (rounds,), after one that is not counted."""
    call()
    out = np.empty(rounds)
    for number in range(rounds):
        began = time.perf_counter()
        call()
        out[number] = time.perf_counter() - began
    return out


def growth(system: System, rounds: int) -> Iterator[Row]:
    """Seconds of ranking against each size; `plots` draws them."""
    keenest = people(system, 1, candidates=max(CANDIDATES), keenest=True)[0]
    for n in _within(HISTORIES, len(keenest.items)):
        person = replace(keenest.cut(n), candidates=keenest.candidates[:FEW])
        yield _row("history", n, lambda p=person: answers(system, p, "ranking"), rounds)
    for n in _within(CANDIDATES, len(keenest.candidates)):
        person = replace(keenest, candidates=keenest.candidates[:n])
        yield _row("candidates", n, lambda p=person: answers(system, p, "ranking"), rounds)
    for times in CATALOGUES:
        knowledge = repeated(system.knowledge, times)
        yield _row("catalogue", knowledge.n_items, lambda k=knowledge: _propose(k, keenest), rounds)


def _within(sizes: Sequence[int], most: int) -> list[int]:
    return [n for n in sizes if n <= most] or [most]


def _row(what: str, size: int, call: Callable[[], object], rounds: int) -> Row:
    return Row.of(f"growth_{what}_{size}_seconds", seconds_of(call, rounds), "s")


def _propose(knowledge: CollaborativeKnowledge, person: Someone) -> np.ndarray:
    scores = knowledge.choice_scores(knowledge.fold_in(person.items, person.ratings))
    return np.argpartition(-scores, FEW)[:FEW]


def repeated(knowledge: CollaborativeKnowledge, times: int) -> CollaborativeKnowledge:
    """The same tables over a catalogue that is so many times as large."""

    def tile(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array] * times)

    rating, watching = knowledge.rating_model, knowledge.watching_model
    return replace(
        knowledge,
        rating_model=replace(rating, items=tile(rating.items), item_bias=tile(rating.item_bias)),
        watching_model=replace(watching, items=tile(watching.items)),
        item_count=tile(knowledge.item_count),
        genre_matrix=tile(knowledge.genre_matrix),
        years=tile(knowledge.years),
    )


def plots(rows: Sequence[Row], path: Path) -> None:
    """One page with a curve for each thing that grows, both axes logarithmic."""
    figure = go.Figure()
    for what in ("history", "candidates", "catalogue"):
        own = [r for r in rows if r.name.startswith(f"growth_{what}_")]
        figure.add_scatter(
            name=what,
            x=[int(r.name.split("_")[2]) for r in own],
            y=[r.value for r in own],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [r.high - r.value for r in own],
                "arrayminus": [r.value - r.low for r in own],
            },
        )
    figure.update_xaxes(type="log", title="films in the history, candidates, or the catalogue")
    figure.update_yaxes(type="log", title="seconds")
    with replacing(path) as temporary:
        figure.write_html(temporary, include_plotlyjs=True)
