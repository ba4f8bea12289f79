"""The protocol for positive-only data: clicks against sampled items, and what is chosen next.

Every choice of a part comes with one item that its user never chose, drawn from the items known in
training (`ckf_demo.tasks.negatives.sample_negatives`). That is easier than to separate likes from
dislikes, and its AUC is comparable with nothing else. Where only some users have texts, only they
are asked about: the language model learnt from such users. The baselines get what CKF's language
model gets beside words: popularity, the factors' score, the nearest items of the history, and
regressions on all of these, fitted on the rows that the language model learns from.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.progress import Progress
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.collaborative.pair_features import row_features
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.data.splits import VALID
from ckf_demo.evaluation.base import (
    VARIANTS,
    Measured,
    Predictions,
    Settings,
    kind_of,
    relative_name,
    split_part,
)
from ckf_demo.evaluation.cached import CachedModel
from ckf_demo.inference.predictor import COLLABORATIVE_METHOD
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.protocol import ranked
from ckf_demo.metrics.results import Results
from ckf_demo.model.predict import score_rows
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.negatives import with_negatives
from ckf_demo.tasks.registry import TASKS

QUERIES = 150
"""Rankings that the language model is asked for, of so many people drawn at random."""
LEAVES = 15
CKF, ALONE, PRIOR = "ckf", "ckf's language model alone", "ckf's collaborative prior"
POPULARITY, FACTORS, NEAREST = "popularity", "choice factors", "nearest in history"
LINEAR, BOOSTING = "logistic regression", "gradient boosting"
BASELINES = frozenset({POPULARITY, FACTORS, NEAREST, LINEAR, BOOSTING})


def asked_rows(prepared: Prepared, part: int) -> np.ndarray:
    """Interactions of a part by users who have a text in it; all of them without any text."""
    rows = prepared.rows(split=part)
    people = np.unique(prepared.user[rows[prepared.written[rows]]])
    return rows[np.isin(prepared.user[rows], people)] if len(people) else rows


def measure(
    recommender: Recommender, folder: Path, settings: Settings, progress: Progress
) -> Measured:
    """Measure a checkpoint, the single-task checkpoints and all baselines.

    ``settings.limit`` is the most choices, drawn at random; without it all are asked about, and
    `QUERIES` rankings. Other checkpoints are compared with this one, pooled and by their language
    models alone. Groups are ``all`` and, on the validation part, ``choose`` and ``accept``.
    UserError for another checkpoint that does not answer clicks, or of other data.
    """
    data, knowledge = recommender.prepared, recommender.system.knowledge
    singles = _loaded(recommender, settings.single_task)
    split, limit = split_part(settings.split), settings.limit
    rng = np.random.default_rng(settings.seed)
    rows = asked_rows(data, split)
    if limit is not None and limit < len(rows):
        rows = np.sort(rng.choice(rows, limit, replace=False))
    queries = [q for q in ranking_queries(data, split) if q.user in set(data.user[rows].tolist())]
    wanted = QUERIES if limit is None else max(1, limit // 10)
    if wanted < len(queries):
        queries = [queries[i] for i in np.sort(rng.choice(len(queries), wanted, replace=False))]
    rows, items, liked = with_negatives(data, knowledge, rows, rng)
    users = data.user[rows]
    weights = bootstrap.user_weights(users, data.n_users, settings.resamples, settings.seed)
    results, predictions = Results(weights), Predictions(data, users, items)
    baselines = _collaborative(data, recommender, rows, items, rng)
    results.kinds.update(dict.fromkeys((ALONE, PRIOR), "answer"))
    results.kinds.update(dict.fromkeys(BASELINES, "baseline"))
    scores = _clicks(CKF, recommender, rows, items, progress)
    prior = score_rows(recommender.system, rows, tasks=("ctr",), targets=items, prior_only=True)
    scores[PRIOR] = prior["ctr"]
    for name, single in singles.items():
        scores |= _clicks(name, single, rows, items, progress)
        results.kinds |= {name: kind_of(name), _lm_only(name): "answer"}
    groups = _groups(data, users, split)
    for name, values in (scores | baselines).items():
        for group, mask in groups.items():
            results.add_order(name, group, users[mask], liked[mask], values[mask])
        predictions.add(name, "ctr", liked, values)
    if "ranking" in recommender.tasks and queries:
        by_user = _groups(data, np.array([q.user for q in queries]), split)
        for name, rankings in _rankings(recommender, folder, queries, progress).items():
            results.add_rankings(name, queries, by_user, rankings)
    for other in (ALONE, PRIOR, POPULARITY, FACTORS, NEAREST, LINEAR, BOOSTING, *singles):
        results.add_difference(CKF, other)
        if other in singles:
            results.add_difference(ALONE, _lm_only(other))
    return Measured(results, predictions, tuple(TASKS), [])


def _loaded(recommender: Recommender, folders: Iterable[Path | str]) -> dict[str, Recommender]:
    """Other checkpoints of the same data by what their names add."""
    singles = {}
    for folder in folders:
        single = Recommender.load(Path(folder), quantization=dense_precision())
        dataset = recommender.prepared.dataset
        if single.prepared.dataset != dataset or "ctr" not in single.tasks:
            raise UserError(
                f"{folder} answers no clicks of {dataset}; name a checkpoint that does, or measure "
                "its texts with ckf_demo.lab.reference_explanations."
            )
        singles[relative_name(recommender, single)] = single
    return singles


def _lm_only(name: str) -> str:
    return VARIANTS["alone"].format(name)


def _clicks(
    name: str, recommender: Recommender, rows: np.ndarray, items: np.ndarray, progress: Progress
) -> dict[str, np.ndarray]:
    """Scores (n,) of clicks by a checkpoint, pooled and by its language model alone."""
    bar = progress.add_task(f"{name}: clicks", total=len(rows))

    def advance(n: int) -> None:
        progress.advance(bar, n)

    scores = score_rows(recommender.system, rows, tasks=("ctr",), targets=items, progress=advance)
    return {name: scores["ctr"], _lm_only(name): scores["ctr alone"]}


def _groups(data: Prepared, users: np.ndarray, split: int) -> dict[str, np.ndarray]:
    groups = {"all": np.ones(len(users), dtype=bool)}
    if split == VALID:
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
    recommender: Recommender, folder: Path, queries: list[Query], progress: Progress
) -> dict[str, list[np.ndarray]]:
    """The top `CANDIDATES` items of each query, best first, by method.

    Only CKF and its prior re-rank the candidate stage's items.
    """
    knowledge = recommender.system.knowledge
    bar = progress.add_task("rankings", total=2 * len(queries))
    model = CachedModel(recommender, folder, lambda n: progress.advance(bar, n))
    # unlike the scores of clicks, these add a little popularity to the factors
    stage_scores = [knowledge.candidate_scores(query.items, query.ratings) for query in queries]
    return {
        CKF: model.rankings(queries, recommender.methods[0], CANDIDATES),
        PRIOR: model.rankings(queries, COLLABORATIVE_METHOD, CANDIDATES),
        POPULARITY: [ranked(knowledge.item_count, q.seen, CANDIDATES) for q in queries],
        FACTORS: [
            ranked(scores, q.seen, CANDIDATES)
            for scores, q in zip(stage_scores, queries, strict=True)
        ],
    }
