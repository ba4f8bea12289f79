"""Hit@1 among few candidates (A-LLMRec's protocol), beside the whole catalogue.

    python -m ckf_demo.lab.sampled_ranking --checkpoint checkpoints/ml-100k \\
        --checkpoint checkpoints/ml-100k-allmrec --json ckf_demo/lab/results/sampled-ranking.json

The candidates are one film that a user later liked and 19 that the user never rated, drawn
uniformly from the catalogue. A method that ranks the liked film first has a hit. Warm and cold
items are those with the most and the fewest training interactions; a cold user's history is cut to
three interactions. The same users' rankings of the whole catalogue are the harder protocol.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.baselines import BASELINES
from ckf_demo.baselines.base import TrainingData
from ckf_demo.baselines.candidates import CandidateStage
from ckf_demo.baselines.popularity import Popularity
from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.evaluation.base import VARIANTS, progress_bars, split_part
from ckf_demo.evaluation.cached import CachedModel
from ckf_demo.lab import report
from ckf_demo.lab.commands import Checkpoints, Json, People, Split, one_line_errors
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.protocol import item_tails, ranked
from ckf_demo.metrics.results import Results
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import write_json

ANALYSIS = "sampled"
NEGATIVES = 19
COLD_PER_PERSON = 5
"""Cold items that a user liked are rare, so up to so many of them count."""

CUT = 3
"""Interactions that are left of a cold user's history, the last ones."""

EVERYBODY, WARM_ITEMS, COLD_ITEMS, COLD_USERS = "all", "warm items", "cold items", "cold users"
ALONE, PRIOR = VARIANTS["alone"], VARIANTS["collaborative"]


@dataclass(frozen=True)
class Choice:
    """The relevant film, first among the candidates (1 + `NEGATIVES`,), for a query."""

    query: Query
    candidates: np.ndarray


def choices(
    prepared: Prepared, split: int, seed: int, limit: int | None = None
) -> dict[str, list[Choice]]:
    """The choices of each group.

    ``all`` takes one relevant item of each query at random, ``warm items`` one that is warm and
    ``cold items`` up to `COLD_PER_PERSON` cold ones of those who have any. ``cold users`` are the
    choices of ``all`` with histories cut to `CUT`; shorter ones stay as they are.

    Negatives come from the catalogue minus all that the person ever rated; ``limit`` takes the
    first queries of a seeded order alone.
    """
    rng = np.random.default_rng(seed)
    queries = ranking_queries(prepared, split)
    cut = {q.user: q for q in ranking_queries(prepared, split, CUT)}
    order = rng.permutation(len(queries))[:limit]
    cold, warm = item_tails(prepared)
    by_group: dict[str, list[Choice]] = {
        name: [] for name in (EVERYBODY, WARM_ITEMS, COLD_ITEMS, COLD_USERS)
    }
    for query in (queries[i] for i in sorted(order)):
        rated = prepared.item[prepared.user == query.user]
        others = np.setdiff1d(np.arange(prepared.n_items), rated)
        relevant = rng.permutation(query.relevant)
        wanted = {
            EVERYBODY: relevant[:1],
            WARM_ITEMS: relevant[warm[relevant]][:1],
            COLD_ITEMS: relevant[cold[relevant]][:COLD_PER_PERSON],
        }
        for group, items in wanted.items():
            for item in items:
                negatives = rng.choice(others, size=min(NEGATIVES, len(others)), replace=False)
                candidates = np.r_[item, negatives].astype(np.int64)
                by_group[group].append(Choice(query, candidates))
                if group == EVERYBODY:
                    by_group[COLD_USERS].append(Choice(cut[query.user], candidates))
    return by_group


def hits(scores: Sequence[np.ndarray], k: int = 1) -> np.ndarray:
    """Whether the first candidate is among the ``k`` best, float64 (n,); ties share the hit."""
    return _over_places(scores, np.ones(k))


def gains(scores: Sequence[np.ndarray], k: int) -> np.ndarray:
    """NDCG@k of the first candidate, the only relevant one: float64 (n,).

    1 / log2(1 + place) where its place is at most ``k``; candidates that tie share their places.
    """
    return _over_places(scores, 1 / np.log2(np.arange(2, k + 2)))


def _over_places(scores: Sequence[np.ndarray], worth: np.ndarray) -> np.ndarray:
    """What the first candidate's place is worth, (k,) from the best on, in the mean over ties."""
    above = np.array([(s > s[0]).sum() for s in scores], dtype=np.int64)
    tied = np.array([(s == s[0]).sum() for s in scores], dtype=np.int64)
    sums = np.r_[0.0, np.cumsum(worth)]
    last = np.minimum(above + tied, len(worth))
    return (sums[last] - sums[np.minimum(above, len(worth))]) / np.maximum(tied, 1)


def by_part(name: str, answers: Sequence[dict[str, np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Scores of each choice, from a checkpoint's answers as `candidate_scores` gives them.

    By the checkpoint's name; with a prior also by its language model's and its prior's.
    """
    parts = {"own": name, "alone": ALONE.format(name), "prior": PRIOR.format(name)}
    return {
        label: [a[kind] for a in answers] for kind, label in parts.items() if kind in answers[0]
    }


def measure(
    checkpoints: Sequence[Path],
    split: str = "test",
    json_path: Path | None = None,
    limit: int | None = None,
    *,
    catalogue: bool = True,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """Hit@1 of checkpoints, popularity and the candidate stage, by both protocols.

    Parameters
    ----------
    limit
        For a quick look: so many people.
    catalogue
        Whether the whole catalogue is ranked as well, by checkpoints that know ranking: it takes
        about five times as long.

    Returns
    -------
    ``{"analysis", "dataset", "split", "asked", "rows"}``: rows as those of `Results`, with a task
    ``sampled`` (metric ``hit@1``; groups ``all``, ``warm items``, ``cold items``, ``cold users``)
    or ``ranking`` (the whole catalogue). ``asked`` says which question scored the candidates of
    each checkpoint, ``"ranking"``, or ``"ctr"`` where it was not trained for that.

    Raises
    ------
    UserError
        For an unknown split, checkpoints of several data sets, or one without either question.
    """
    part = split_part(split)
    loaded = [(Path(f), Recommender.load(f, quantization=dense_precision())) for f in checkpoints]
    first = loaded[0][1]
    prepared = first.prepared
    for folder, recommender in loaded:
        if recommender.prepared.hash != prepared.hash:
            raise UserError(f"{folder} is for other data than {loaded[0][0]}; name those of one.")
        if not {"ranking", "ctr"} & set(recommender.tasks):
            raise UserError(f"{folder} answers neither ranking nor CTR; it cannot order films.")
    if prepared.feedback == "likes":
        raise UserError(
            f"The data '{prepared.dataset}' hold only likes, and nothing is ranked there; name "
            "checkpoints for data with ratings."
        )
    asked = choices(prepared, part, seed, limit)
    queries = [c.query for c in asked[EVERYBODY]]
    users = np.array([q.user for q in queries])
    results = Results(bootstrap.user_weights(users, prepared.n_users, resamples, seed))
    document = {
        "analysis": ANALYSIS,
        "dataset": prepared.dataset,
        "split": split,
        "negatives": NEGATIVES,
        "asked": {},
        "rows": results.rows,
    }
    names: list[str] = []

    def add(name: str, group: str, scores: Sequence[np.ndarray]) -> None:
        owners = np.array([c.query.user for c in asked[group]], dtype=int)
        results.add_mean((name, "sampled", "hit@1", group), owners, hits(scores))

    def add_catalogue(name: str, rankings: list[np.ndarray]) -> None:
        results.add_rankings(name, queries, {EVERYBODY: np.ones(len(queries), bool)}, rankings)
        top = [ranking[0] in q.relevant for ranking, q in zip(rankings, queries, strict=True)]
        results.add_mean((name, "ranking", "hit@1", EVERYBODY), users, np.array(top))

    def save() -> None:
        write_json(json_path, document)

    training = TrainingData(prepared, first.system.knowledge)
    for kind in (Popularity, CandidateStage):
        baseline = BASELINES[kind.name]()
        baseline.fit(training)
        for group, cases in asked.items():
            scores = [baseline.rank(c.query.items, c.query.ratings)[c.candidates] for c in cases]
            add(kind.name, group, scores)
        if catalogue:
            whole = [ranked(baseline.rank(q.items, q.ratings), q.seen, CANDIDATES) for q in queries]
            add_catalogue(kind.name, whole)
    with progress_bars() as progress:
        for folder, recommender in loaded:
            task = "ranking" if "ranking" in recommender.tasks else "ctr"
            name = folder.name
            document["asked"][name] = task
            total = sum(map(len, asked.values()))
            total += len(queries) * (catalogue and task == "ranking")
            bar = progress.add_task(name, total=total)
            model = CachedModel(recommender, folder, lambda n, bar=bar: progress.advance(bar, n))
            for group, cases in asked.items():
                if not cases:
                    continue
                answers = model.candidate_scores(
                    [c.query for c in cases], [c.candidates for c in cases], task
                )
                for label, scores in by_part(name, answers).items():
                    add(label, group, scores)
            if catalogue and task == "ranking":
                method = recommender.methods[0]
                add_catalogue(name, model.rankings(queries, method, CANDIDATES))
            parts = [label.format(name) for label in (ALONE, PRIOR)]
            for other in (Popularity.name, CandidateStage.name, *parts, *names):
                results.add_difference(name, other)
            # methods without a prior are compared with the answer before it is pooled
            names += [name, ALONE.format(name)]
            save()
    return document


@one_line_errors
def main(
    checkpoint: Checkpoints,
    split: Split = "test",
    json_path: Json = None,
    limit: People = None,
    catalogue: Annotated[bool, typer.Option(help="Rank the whole catalogue as well.")] = True,
) -> None:
    """Hit@1 among one film that was liked and 19 that were never rated."""
    report.show(measure(checkpoint, split, json_path, limit, catalogue=catalogue))


if __name__ == "__main__":
    typer.run(main)
