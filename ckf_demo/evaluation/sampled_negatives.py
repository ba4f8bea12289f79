"""A checkpoint where nobody says no: clicks against what was not chosen, and what is chosen next.

Every choice of a part comes with one item that its user never chose, drawn from what is known in
training (popular ones more often, `ckf_demo.tasks.ranking.sample_negatives`). That is easier than
telling likes from dislikes, and its AUC is comparable with nothing but itself. Rankings are of the
whole catalogue minus the history, whose candidates the factors pick. Where only some people have
texts, they are the ones that are asked about: the language model learnt from such.

Baselines see what CKF's language model is given beside words: how often things are chosen, the
factors' score, the nearest things of the history, and regressions on all of these, fitted on the
very rows that the language model learns from.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import Progress
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ckf_demo.collaborative.pair_features import row_features
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.data.splits import VALID
from ckf_demo.evaluation.cached import CachedModel
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.protocol import ranked
from ckf_demo.metrics.results import Results
from ckf_demo.model.predict import score_rows
from ckf_demo.recommender import COLLABORATIVE, Recommender
from ckf_demo.training.negatives import with_negatives

QUERIES = 150
"""Rankings that the language model is asked for, of so many people drawn at random."""
LEAVES = 15
CKF, ALONE, PRIOR = "ckf", "ckf's language model alone", "ckf's collaborative prior"
POPULARITY, FACTORS, NEAREST = "popularity", "choice factors", "nearest in history"
LINEAR, BOOSTING = "logistic regression", "gradient boosting"
BASELINES = frozenset({POPULARITY, FACTORS, NEAREST, LINEAR, BOOSTING})


def asked_rows(prepared: Prepared, part: int) -> np.ndarray:
    """Interactions of a part by people who have a text in it; by everybody where nobody has."""
    rows = prepared.rows(split=part)
    people = np.unique(prepared.user[rows[prepared.written[rows]]])
    return rows[np.isin(prepared.user[rows], people)] if len(people) else rows


def measure(
    recommender: Recommender,
    checkpoint: Path,
    part: int,
    progress: Progress,
    *,
    singles: Mapping[str, Recommender] | None = None,
    limit: int | None = None,
    candidates: int = 100,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> tuple[Results, pd.DataFrame]:
    """Results and scored rows of CKF and everybody else.

    Parameters
    ----------
    singles
        Checkpoints of the same data by name, whose clicks are measured as well and held against the
        checkpoint's, pooled and by the language model alone.
    limit
        So many choices at most, drawn at random, and a tenth as many rankings.

    Returns
    -------
    Results with groups ``all`` and, on the validation part, ``choose`` and ``accept``; a frame with
    columns user, item, label, method and score.
    """
    data, knowledge = recommender.prepared, recommender.system.knowledge
    rng = np.random.default_rng(seed)
    rows = asked_rows(data, part)
    if limit is not None and limit < len(rows):
        rows = np.sort(rng.choice(rows, limit, replace=False))
    queries = [q for q in ranking_queries(data, part) if q.user in set(data.user[rows].tolist())]
    wanted = QUERIES if limit is None else max(1, limit // 10)
    if wanted < len(queries):
        queries = [queries[i] for i in np.sort(rng.choice(len(queries), wanted, replace=False))]
    asked, items, liked = with_negatives(data, knowledge, rows, rng)
    users = data.user[asked]
    results = Results(bootstrap.user_weights(users, data.n_users, resamples, seed))
    scores = _collaborative(data, recommender, asked, items, rng)
    bar = progress.add_task("clicks", total=len(asked))
    own = score_rows(
        recommender.system,
        asked,
        tasks=("ctr",),
        targets=items,
        progress=lambda n: progress.advance(bar, n),
    )
    prior = score_rows(recommender.system, asked, tasks=("ctr",), targets=items, prior_only=True)
    others = _clicks(singles or {}, asked, items, progress)
    scores = {CKF: own["ctr"], ALONE: own["ctr alone"], PRIOR: prior["ctr"], **others, **scores}
    groups = _groups(data, users, part)
    frames = []
    for name, values in scores.items():
        for group, mask in groups.items():
            results.add_order(name, group, users[mask], liked[mask], values[mask])
        frames.append(
            pd.DataFrame(
                {
                    "user": np.array(data.user_ids, dtype=object)[users],
                    "item": np.array(data.item_ids, dtype=object)[items],
                    "label": liked.astype(np.float32),
                    "method": name,
                    "score": np.asarray(values, np.float32),
                    "task": "ctr",
                }
            )
        )
    if "ranking" in recommender.tasks and queries:
        owners = np.array([q.user for q in queries])
        places = _groups(data, owners, part)
        for name, rankings in _rankings(
            recommender, checkpoint, queries, candidates, progress
        ).items():
            results.add_rankings(name, queries, places, rankings)
    for other in (ALONE, PRIOR, POPULARITY, FACTORS, NEAREST, LINEAR, BOOSTING):
        results.add_difference(CKF, other)
    for name in singles or {}:
        results.add_difference(CKF, name)
        results.add_difference(ALONE, f"{name}{ALONE.removeprefix(CKF)}")
    return results, pd.concat(frames, ignore_index=True)


def _clicks(
    singles: Mapping[str, Recommender], asked: np.ndarray, items: np.ndarray, progress: Progress
) -> dict[str, np.ndarray]:
    """Scores (n,) of clicks by name of the checkpoint, pooled and by its language model alone."""
    found = {}
    for name, other in singles.items():
        bar = progress.add_task(name, total=len(asked))
        scores = score_rows(
            other.system,
            asked,
            tasks=("ctr",),
            targets=items,
            progress=lambda n, bar=bar: progress.advance(bar, n),
        )
        found[name] = scores["ctr"]
        found[f"{name}{ALONE.removeprefix(CKF)}"] = scores["ctr alone"]
    return found


def _groups(data: Prepared, users: np.ndarray, part: int) -> dict[str, np.ndarray]:
    groups = {"all": np.ones(len(users), dtype=bool)}
    if part == VALID:
        groups |= {"choose": data.choosing_users[users], "accept": ~data.choosing_users[users]}
    return {name: mask for name, mask in groups.items() if mask.any()}


def _collaborative(
    data: Prepared,
    recommender: Recommender,
    rows: np.ndarray,
    items: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Scores (n,) of rows with items by what is known without a language model."""
    knowledge = recommender.system.knowledge
    names = list(knowledge.feature_names)
    features = row_features(data, knowledge, rows, items)
    learnt, targets, liked = with_negatives(data, knowledge, data.learning_rows(), rng)
    known = row_features(data, knowledge, learnt, targets)
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(known, liked)
    boosted = HistGradientBoostingClassifier(
        max_leaf_nodes=LEAVES, learning_rate=0.05, early_stopping=True, random_state=0
    ).fit(known, liked)
    return {
        POPULARITY: features[:, names.index("log item count")],
        FACTORS: features[:, names.index("choice factors")],
        NEAREST: features[:, names.index("five nearest in history")],
        LINEAR: linear.predict_proba(features)[:, 1],
        BOOSTING: boosted.predict_proba(features)[:, 1],
    }


def _rankings(
    recommender: Recommender,
    checkpoint: Path,
    queries: list[Query],
    candidates: int,
    progress: Progress,
) -> dict[str, list[np.ndarray]]:
    """What each ranks for every query, best first."""
    knowledge = recommender.system.knowledge
    bar = progress.add_task("rankings", total=2 * len(queries))
    model = CachedModel(recommender, checkpoint, lambda n: progress.advance(bar, n))
    popular, factors = [], []
    for query in queries:
        popular.append(ranked(knowledge.item_count, query.seen, candidates))
        scores = knowledge.candidate_scores(query.items, query.ratings)
        factors.append(ranked(scores, query.seen, candidates))
    own = recommender.methods[0]
    return {
        CKF: model.rankings(queries, own, candidates),
        PRIOR: model.rankings(queries, COLLABORATIVE, candidates),
        POPULARITY: popular,
        FACTORS: factors,
    }
