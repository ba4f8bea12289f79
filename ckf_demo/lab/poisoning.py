"""Poisoning of the collaborative signal: how many fake users move one film into real top tens.

    python -m ckf_demo.lab.poisoning --checkpoint checkpoints/ml-100k \\
        --json ckf_demo/lab/results/poisoning.json

Each fake user gives the target five stars and rates `FILLERS` other films. Their rows join those
that the collaborative models are fitted on, and the models are fitted again with the checkpoint's
seed. Language model, adapters and fusion stay as they were trained. Real users are folded in from
their histories. Their top ten is taken from the candidate stage and from the re-ranked candidates.

*bandwagon*: a third of the fillers are among the `POPULAR` most rated films, with five stars; the
others are random films with stars drawn around the overall mean. *random*: all fillers are random.

A refit may rotate the space that the fusion reads. Orthogonal Procrustes over all films but the
target rotates it back to the clean one, which changes no score of the collaborative models. The
distances of the factors before and after are reported, and so is whether a refit without fakes
gives the checkpoint's tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from scipy.linalg import orthogonal_procrustes

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.data.splits import TEST, TRAIN
from ckf_demo.lab import report
from ckf_demo.lab.commands import Json, one_line_errors
from ckf_demo.metrics import bootstrap
from ckf_demo.model.manifest import checked_manifest
from ckf_demo.model.system import COLLABORATIVE_FILE, System
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, write_json
from ckf_demo.training.ranking_stage import CUTOFF, candidates, scored

ANALYSIS = "poisoning"
FILLERS = 30
POPULAR = 100
LEVELS = (0, 5, 10, 25, 50, 100, 200, 400)
ATTACKS = ("bandwagon", "random")
RATED = (5, 30)
"""Targets have so many ratings among the fitted rows: known, but few know them."""
STAGE, WHOLE = "candidate stage", "CKF"


@dataclass(frozen=True)
class Fakes:
    """Ratings of made-up people, who are numbered from 0: int (n,), int (n,), float32 (n,)."""

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray


def fakes(prepared: Prepared, target: int, count: int, attack: str, seed: int) -> Fakes:
    """Ratings of ``count`` fake people; those of fewer are the first of those of more."""
    fit = prepared.fit
    stars, rated = prepared.rating[fit], np.bincount(prepared.item[fit], minlength=prepared.n_items)
    others = np.setdiff1d(np.flatnonzero(rated), [target])
    popular = others[np.argsort(-rated[others], kind="stable")[:POPULAR]]
    keen = FILLERS // 3 if attack == "bandwagon" else 0
    user, item, rating = [], [], []
    for number in range(count):
        rng = np.random.default_rng([seed, target, number])
        loved = rng.choice(popular, keen, replace=False)
        rest = rng.choice(np.setdiff1d(others, loved), FILLERS - keen, replace=False)
        drawn = np.clip(np.rint(rng.normal(stars.mean(), stars.std(), len(rest))), 1, 5)
        item += [target, *loved, *rest]
        rating += [5.0] * (1 + keen) + drawn.tolist()
        user += [number] * (1 + FILLERS)
    return Fakes(np.array(user, int), np.array(item, int), np.array(rating, np.float32))


def poisoned(prepared: Prepared, made_up: Fakes) -> Prepared:
    """The rows that collaborative models are fitted on, and those of fake people behind them.

    Good for fitting alone: the fakes have no profiles and no times.
    """
    fit = prepared.fit
    names = [f"fake {number}" for number in range(made_up.user.max(initial=-1) + 1)]
    return replace(
        prepared,
        user_ids=[*prepared.user_ids, *names],
        ages=np.append(prepared.ages, np.zeros(len(names), np.int32)),
        genders=[*prepared.genders, *[""] * len(names)],
        occupations=[*prepared.occupations, *[""] * len(names)],
        user=np.concatenate([prepared.user[fit], made_up.user + prepared.n_users]),
        item=np.concatenate([prepared.item[fit], made_up.item]),
        rating=np.concatenate([prepared.rating[fit], made_up.rating]),
        fit=np.ones(int(fit.sum()) + len(made_up.user), dtype=bool),
    )


MODELS = {"rating_model": "rating_model", "implicit_model": "watching_model"}
"""Both factor models, and what the stored results call them."""


def aligned(
    fitted: CollaborativeKnowledge, clean: CollaborativeKnowledge, target: int
) -> tuple[CollaborativeKnowledge, dict[str, float]]:
    """Fitted models turned to the clean space; distances of both factor tables to the clean ones,
    relative to these, before and after."""
    kept = np.arange(clean.n_items) != target
    models, distances = {}, {}
    for name, stored in MODELS.items():
        model, clean_items = getattr(fitted, name), getattr(clean, name).items
        turn, _ = orthogonal_procrustes(model.items[kept], clean_items[kept])
        models[name] = replace(model, items=(model.items @ turn).astype(np.float32))
        size = np.linalg.norm(clean_items[kept])
        for when, items in (("before", model.items), ("after", models[name].items)):
            distances[f"{stored} {when}"] = float(
                np.linalg.norm(items[kept] - clean_items[kept]) / size
            )
    # tables of older checkpoints have no levels
    levels = None if clean.levels_of is None else fitted.levels_of
    return replace(fitted, **models, levels_of=levels), distances


def seen_by(clean: CollaborativeKnowledge, prepared: Prepared) -> Prepared:
    """The data with the rows of a checkpoint's tables in ``fit``.

    These are the training part; the tables of older checkpoints have seen ``Prepared.fit`` alone.
    """
    if clean.item_count.sum() == prepared.fit.sum():
        return prepared
    return replace(prepared, fit=prepared.split == TRAIN)


def refit_agrees(clean: CollaborativeKnowledge, prepared: Prepared, seed: int) -> float:
    """Greatest relative difference of a refit without fakes to the checkpoint's factors."""
    again = CollaborativeKnowledge.fit(prepared, seed=seed).in_basis_of(clean)
    return max(
        float(
            np.abs(getattr(again, name).items - getattr(clean, name).items).max()
            / np.abs(getattr(clean, name).items).max()
        )
        for name in MODELS
    )


def chosen_targets(prepared: Prepared, count: int, seed: int) -> list[int]:
    """Films with few ratings (`RATED`), at random."""
    rated = np.bincount(prepared.item[prepared.fit], minlength=prepared.n_items)
    few = np.flatnonzero((rated >= RATED[0]) & (rated <= RATED[1]))
    return np.random.default_rng(seed).permutation(few)[:count].tolist()


def chosen_people(prepared: Prepared, targets: Sequence[int], count: int, seed: int) -> list[Query]:
    """Test queries of people who have seen none of the targets, at random."""
    queries = [q for q in ranking_queries(prepared, TEST) if not np.isin(targets, q.seen).any()]
    order = np.random.default_rng(seed).permutation(len(queries))[:count]
    return [queries[i] for i in np.sort(order)]


def reached(
    system: System | None,
    knowledge: CollaborativeKnowledge,
    query: Query,
    target: int,
) -> tuple[bool, bool]:
    """Whether the target is in a person's top ten: of the candidate stage, of the whole.

    Without a system the second is not asked.
    """
    scores = knowledge.candidate_scores(query.items, query.ratings)
    scores[query.seen] = -np.inf
    stage = target in np.argsort(-scores, kind="stable")[:CUTOFF]
    if system is None:
        return stage, False
    ranked = candidates(system, query)
    if target not in ranked:
        return stage, False
    pooled = scored(system, query, ranked)[2]
    return stage, target in ranked[np.argsort(-pooled, kind="stable")[:CUTOFF]]


def measure(
    checkpoint: Path,
    *,
    people: int = 40,
    targets: int = 5,
    levels: Sequence[int] = LEVELS,
    attacks: Sequence[str] = ATTACKS,
    reranked: Sequence[str] = ATTACKS[:1],
    seed: int = 0,
    json_path: Path | None = None,
    console: Console | None = None,
) -> dict:
    """Share of people with the target in their top ten, for every attack and number of fakes.

    Parameters
    ----------
    reranked
        Attacks under which the language model is asked as well.

    Returns
    -------
    ``{"analysis", "dataset", "checkpoint", "refit_difference", "distances", "fillers", "targets",
    "needed", "rows"}``. Rows ``{"attack", "fakes", "method", "value", "low", "high", "n"}`` hold
    the mean over people of the share of targets in their top ten, with a 95 % bootstrap interval
    over people. ``needed`` says per target how many fakes, of those tried, put it into the top ten
    of half of the people; None where none did.

    Raises
    ------
    UserError
        For a checkpoint of likes, or with none of the people or targets left.
    """
    from ckf_demo.model.manifest import read_manifest

    console = console or Console(stderr=True)
    prepared = Prepared.load(prepared_path(read_manifest(checkpoint)["dataset"]))
    manifest = checked_manifest(checkpoint, prepared)
    if prepared.feedback != "ratings":
        raise UserError("Fake people give stars, so data of ratings are needed, such as ml-100k.")
    for name in (*attacks, *reranked):
        if name not in ATTACKS:
            raise UserError(f"No attack '{name}'; there are {', '.join(ATTACKS)}.")
    clean = CollaborativeKnowledge.load(checkpoint / COLLABORATIVE_FILE, prepared)
    trained_on, prepared = prepared, seen_by(clean, prepared)
    items = chosen_targets(prepared, targets, seed)
    queries = chosen_people(prepared, items, people, seed)
    if not items or not queries:
        raise UserError("No targets or people are left; ask for fewer --targets or other data.")
    difference = refit_agrees(clean, prepared, manifest["seed"])
    hits: dict[tuple[str, int, str], np.ndarray] = {}
    distances: dict[str, dict[str, float]] = {}
    work = [(a, n, t) for a in attacks for n in levels for t in range(len(items))]
    for attack, count, place in track(work, "Poisoning", console=console):
        made_up = fakes(prepared, items[place], count, attack, seed)
        fitted = CollaborativeKnowledge.fit(poisoned(prepared, made_up), seed=manifest["seed"])
        knowledge, far = aligned(fitted, clean, items[place])
        distances[f"{attack} {count}"] = far
        system = None
        if attack in reranked:
            system = System.load(
                checkpoint,
                trained_on,
                source=trained_on,
                knowledge=knowledge,
                quantization=dense_precision(),
            )
        in_top_ten = np.array([reached(system, knowledge, q, items[place]) for q in queries])
        for column, method in enumerate((STAGE, WHOLE) if system else (STAGE,)):
            by_target = hits.setdefault(
                (attack, count, method), np.zeros((len(queries), len(items)))
            )
            by_target[:, place] = in_top_ten[:, column]
    numbers = np.arange(len(queries))
    weights = bootstrap.user_weights(numbers, len(queries), bootstrap.RESAMPLES, seed)
    rows = []
    for (attack, count, method), by_target in hits.items():
        shares = by_target.mean(1)
        low, high = bootstrap.interval(bootstrap.mean(numbers, shares, weights))
        row = {"attack": attack, "fakes": count, "method": method, "value": float(shares.mean())}
        rows.append(row | {"low": low, "high": high, "n": len(queries)})
    needed = {
        f"{attack}, {method}": [
            next(
                (n for n in levels if hits[attack, n, method][:, place].mean() >= 0.5),
                None,
            )
            for place in range(len(items))
        ]
        for attack, _, method in dict.fromkeys((a, 0, m) for a, _, m in hits)
    }
    rated = np.bincount(prepared.item[prepared.fit], minlength=prepared.n_items)
    result = {
        "analysis": ANALYSIS,
        "dataset": prepared.dataset,
        "checkpoint": manifest["name"],
        "refit_difference": difference,
        "distances": distances,
        "fillers": FILLERS,
        "real_people": len(np.unique(prepared.user[prepared.fit])),
        "targets": [
            {"item": prepared.item_ids[i], "title": prepared.titles[i], "ratings": int(rated[i])}
            for i in items
        ],
        "needed": needed,
        "rows": rows,
    }
    write_json(json_path, result)
    return result


@one_line_errors
def main(
    checkpoint: Annotated[Path, typer.Option(metavar="DIR")] = Path("checkpoints/ml-100k"),
    people: Annotated[int, typer.Option(min=1)] = 40,
    targets: Annotated[int, typer.Option(min=1)] = 5,
    level: Annotated[list[int] | None, typer.Option(min=0, help="Fake people; repeatable.")] = None,
    attack: Annotated[list[str] | None, typer.Option(help="Repeatable; all unless named.")] = None,
    reranked: Annotated[
        list[str] | None, typer.Option(help="Attacks under which CKF is asked too; repeatable.")
    ] = None,
    seed: int = 0,
    json_path: Json = None,
) -> None:
    """How many fake people move one film into the top ten of real people."""
    results = measure(
        checkpoint,
        people=people,
        targets=targets,
        levels=level or LEVELS,
        attacks=attack or ATTACKS,
        reranked=reranked or ATTACKS[:1],
        seed=seed,
        json_path=json_path,
    )
    report.show(results)


if __name__ == "__main__":
    typer.run(main)
