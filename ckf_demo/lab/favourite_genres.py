"""How often the language model names a person's favourite genre (A-LLMRec's example, measured).

    python -m ckf_demo.lab.favourite_genres --checkpoint checkpoints/ml-100k-allmrec \\
        --checkpoint checkpoints/ml-100k --json ckf_demo/lab/results/favourite-genres.json

The right answer is the most frequent genre among the films that a user liked before the query; ties
are all right. The baselines are chance and the genre that is liked most over all users. ``against
an empty history`` divides each genre's probability by that for a user without ratings, which
removes the model's preference for genres.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.data.prepared import LIKED, LIKED_STARS, Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.data.splits import TRAIN
from ckf_demo.evaluation.base import progress_bars, split_part
from ckf_demo.lab import report
from ckf_demo.lab.commands import Checkpoints, Json, People, Split, dataset_of, one_line_errors
from ckf_demo.lab.favourites import favourite_genre
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.results import Results
from ckf_demo.model.system import System
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, write_json

ANALYSIS = "favourite_genres"
LIKES = 5
"""The fewest liked films in a history."""

CHANCE, POPULAR = "chance", "most popular genre"
EVERYBODY, OTHERS = "all", "others"
UNLIKE = "against an empty history"


@dataclass(frozen=True)
class Person:
    """A query with the genres that are right for it."""

    query: Query
    right: frozenset[str]


def favourites(prepared: Prepared, query: Query) -> frozenset[str]:
    """The most frequent genres among the liked films of a history."""
    liked = query.items[are_likes(prepared, query.ratings)]
    counts = Counter(genre for item in liked for genre in prepared.genres[item])
    most = max(counts.values(), default=0)
    return frozenset(genre for genre, n in counts.items() if n == most)


def are_likes(prepared: Prepared, ratings: np.ndarray) -> np.ndarray:
    """Which ratings of a history are likes, bool (n,)."""
    return ratings >= (LIKED if prepared.feedback == "likes" else LIKED_STARS)


def people(prepared: Prepared, split: int, limit: int | None, seed: int) -> list[Person]:
    """Users of a part with at least `LIKES` liked films in their history that have genres."""
    eligible = []
    for query in ranking_queries(prepared, split):
        right = favourites(prepared, query)
        if are_likes(prepared, query.ratings).sum() >= LIKES and right:
            eligible.append(Person(query, right))
    order = np.random.default_rng(seed).permutation(len(eligible))[:limit]
    return [eligible[i] for i in sorted(order)]


def most_popular(prepared: Prepared) -> str:
    """The genre of most likes in the training part."""
    rows = np.flatnonzero((prepared.split == TRAIN) & prepared.liked)
    counts = Counter(genre for item in prepared.item[rows] for genre in prepared.genres[item])
    return max(counts, key=lambda genre: (counts[genre], genre))


def settings(system: System) -> dict[str, dict[str, Any]]:
    """What the prompt holds in each setting, as options of `favourite_genre`, by name."""
    shown: dict[str, dict[str, Any]] = {"titles": {"tokens": False}}
    if system.fusion.uses_tokens:
        shown |= {"tokens": {"titles": False}, "tokens and titles": {}}
    if system.config.lora.shared_targets:
        shown |= {
            f"{name}, shared adapter": options | {"adapters": True}
            for name, options in shown.items()
        }
    return shown


def measure(
    checkpoints: Sequence[Path],
    split: str = "valid",
    json_path: Path | None = None,
    limit: int | None = None,
    *,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """Share of people whose favourite genre is named, for each checkpoint and prompt.

    Parameters
    ----------
    limit
        For a quick look: so many people.

    Returns
    -------
    ``{"analysis", "dataset", "split", "popular", "genres", "rows"}``: rows as those of `Results`
    with the task ``genre`` and the metric ``accuracy``; group ``all``, and ``others``, those whose
    favourite is not the most ``popular`` one. ``genres`` counts those to choose among.

    Raises
    ------
    UserError
        For an unknown split, checkpoints of several data sets, or data without genres.
    """
    part = split_part(split)
    folders = [Path(folder) for folder in checkpoints]
    prepared = Prepared.load(prepared_path(dataset_of(folders)))
    sampled = people(prepared, part, limit, seed)
    if not sampled:
        raise UserError(f"'{prepared.dataset}' has nobody with {LIKES} liked films with genres.")
    popular = most_popular(prepared)
    users = np.array([p.query.user for p in sampled])
    other = np.array([popular not in p.right for p in sampled])
    groups = {EVERYBODY: np.ones(len(sampled), bool), OTHERS: other}
    results = Results(bootstrap.user_weights(users, prepared.n_users, resamples, seed))
    n_genres = len({genre for genres in prepared.genres for genre in genres})

    def add(name: str, hits: Sequence[float]) -> None:
        right = np.asarray(hits, dtype=np.float64)
        for group, mask in groups.items():
            results.add_mean((name, "genre", "accuracy", group), users[mask], right[mask])

    add(CHANCE, [len(p.right) / n_genres for p in sampled])
    add(POPULAR, [popular in p.right for p in sampled])
    document = {
        "analysis": ANALYSIS,
        "dataset": prepared.dataset,
        "split": split,
        "popular": popular,
        "genres": n_genres,
        "rows": results.rows,
    }
    with progress_bars() as progress:
        for folder in folders:
            system = System.load(folder, prepared, quantization=dense_precision())
            for setting, options in settings(system).items():
                name = f"{folder.name}: {setting}"
                bar = progress.add_task(name, total=len(sampled))
                plain, unlike = [], []
                nobody = favourite_genre(system, [], [], **options)
                for person in sampled:
                    query = person.query
                    answer = favourite_genre(
                        system,
                        query.items,
                        query.ratings,
                        profile=system.prepared.profile(query.user),
                        **options,
                    )
                    beside = answer.beside(nobody)
                    plain.append(answer.genre in person.right)
                    unlike.append(max(beside, key=beside.__getitem__) in person.right)
                    progress.advance(bar)
                add(name, plain)
                add(f"{name}, {UNLIKE}", unlike)
                for measured in (name, f"{name}, {UNLIKE}"):
                    results.add_difference(measured, POPULAR)
            write_json(json_path, document)
    return document


@one_line_errors
def main(
    checkpoint: Checkpoints,
    split: Split = "valid",
    json_path: Json = None,
    limit: People = None,
) -> None:
    """Share of people whose favourite genre the language model names."""
    report.show(measure(checkpoint, split, json_path, limit))


if __name__ == "__main__":
    typer.run(main)
