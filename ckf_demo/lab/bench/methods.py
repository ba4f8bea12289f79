"""Time of each fusion method: training as its manifest says, answers in alternating rounds.

All checkpoints of one data set and backbone are held at once, over the same weights. Each is asked
the same questions, trained for them or not, since only the time counts.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query
from ckf_demo.data.splits import VALID
from ckf_demo.model.manifest import read_manifest, trained_checkpoints
from ckf_demo.model.predict import score_candidates, score_rows
from ckf_demo.model.system import System
from ckf_demo.runtime.timing import Row, alternate

ROWS, PER_PERSON = 100, 10
PEOPLE = 2


def siblings(checkpoint: Path) -> list[Path]:
    """The checkpoint and those beside it for the same data and backbone, itself first."""
    checkpoint = Path(checkpoint)
    own = read_manifest(checkpoint)
    beside = [checkpoint.parent / t["checkpoint"] for t in trained_checkpoints(checkpoint.parent)]
    same = [
        folder
        for folder in beside
        if folder.name != checkpoint.name
        and all(read_manifest(folder)[key] == own[key] for key in ("dataset", "backbone"))
    ]
    return [checkpoint, *same]


def hundred_rows(prepared: Prepared) -> np.ndarray:
    """`ROWS` validation rows at most, up to `PER_PERSON` of each of some people, at random."""
    rows, rng = prepared.rows(split=VALID), np.random.default_rng(0)
    users = prepared.user[rows]
    chosen = []
    for user in rng.permutation(np.unique(users)):
        own = rows[users == user]
        chosen.append(np.sort(rng.permutation(own)[:PER_PERSON]))
    return np.concatenate(chosen)[:ROWS]


def some_people(prepared: Prepared) -> list[tuple[Query, np.ndarray]]:
    """`PEOPLE` at their last validation row, spread over history lengths, and films for each.

    The films, `CANDIDATES` at most, are drawn from those that are not in the history.
    """
    rng, found = np.random.default_rng(0), []
    rows = prepared.rows(split=VALID)[::-1]
    _, last = np.unique(prepared.user[rows], return_index=True)
    known = rows[last][np.argsort(prepared.history.lengths[rows[last]], kind="stable")]
    spread = np.linspace(0, len(known) - 1, PEOPLE + 2).astype(int)[1:-1]
    for row in known[spread]:
        history = prepared.history.before(int(row))
        items = prepared.item[history].astype(np.int64)
        others = np.setdiff1d(np.arange(prepared.n_items), items)
        nothing = np.array([], np.int64)
        query = Query(
            int(prepared.user[row]),
            int(prepared.timestamp[row]),
            items,
            prepared.rating[history],
            items,
            nothing,
        )
        size = min(CANDIDATES, len(others))
        found.append((query, rng.choice(others, size=size, replace=False)))
    return found


def load_all(checkpoint: Path, prepared: Prepared, quantization: str) -> dict[str, System]:
    """All `siblings` by name."""
    return {
        folder.name: System.load(folder, prepared, quantization=quantization)
        for folder in siblings(checkpoint)
    }


def training_minutes(folder: Path) -> Iterator[Row]:
    """Of a checkpoint, on the machine that trained it; nothing where its manifest does not say."""
    minutes = read_manifest(folder).get("training", {}).get("minutes")
    if minutes is not None:
        name = f"methods_{Path(folder).name}_training_minutes"
        yield Row.of(name, np.array([float(minutes)]), "min")


def answering(systems: Mapping[str, System], rounds: int) -> Iterator[Row]:
    """Seconds for 100 rows and for a ranking of 100 films, and each over the first system's."""
    first = next(iter(systems))
    prepared = systems[first].prepared
    rows = hundred_rows(prepared)
    people = some_people(prepared)

    def rank(system: System) -> None:
        for query, films in people:
            profile = system.prepared.profile(query.user)
            score_candidates(system, query.items, query.ratings, films, "ranking", profile=profile)

    asked = {
        f"rows_{ROWS}": (
            lambda system: score_rows(system, rows, tasks=("ctr",)),
            ROWS / len(rows),
        ),
        f"ranking_{CANDIDATES}": (rank, 1 / len(people)),
    }
    for what, (ask, scale) in asked.items():
        seconds = alternate(
            {name: lambda s=system, ask=ask: ask(s) for name, system in systems.items()}, rounds
        )
        for name, found in seconds.items():
            yield Row.of(f"methods_{name}_{what}_seconds", found * scale, "s")
            if name != first:
                ratio = found / seconds[first]
                yield Row.of(f"methods_{name}_{what}_vs_{first}", ratio, "times as long")
