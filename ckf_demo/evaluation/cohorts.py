"""How well a method predicts for chosen people after k ratings, and for items with few ratings.

A cohort is chosen by attributes of people, or by an SQL query. A seeded sample of its rows is
scored once for every k, with histories cut to their last k ratings. Results come piece by piece and
each piece is final, so that a reader can stop early:

    few = by_attributes(prepared, ratings=(0, 3))
    many = by_attributes(prepared, ratings=(11, None))
    parts = cohort_parts(prepared, [few, many])
    for measured in measure(recommender, parts, ["ckf", "collaborative"]):
        measured.done, measured.total, measured.rows
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
import pandas as pd

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN, VALID
from ckf_demo.data.store import InteractionStore
from ckf_demo.evaluation.cached import CachedModel, pieces
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.protocol import TRUNCATIONS, EvalInstances, truncation_name
from ckf_demo.metrics.results import Results
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import replacing

ITEM_BANDS: tuple[tuple[str, int, float], ...] = (
    ("0", 0, 0),
    ("1–3", 1, 3),
    ("4–10", 4, 10),
    ("11–50", 11, 50),
    ("51 and more", 51, np.inf),
)
"""Bands of an item's training ratings: name, first and last number."""

PER_PERSON, PER_PART = 2, 30
"""Defaults: rows of one person and of one part at most."""

AT_ONCE = 6
"""Rows that are scored before the model answers others."""

COLUMNS = tuple("cohort group method task metric value low high n people items".split())
MOST_IDS = 100_000
"""Rows that a query of user ids may have."""

Bounds = tuple[float | None, float | None]
"""First and last number, each None where there is no bound."""


@dataclass(frozen=True)
class Cohort:
    """People with a name: ``users`` are indices, int (m,)."""

    name: str
    users: np.ndarray


@dataclass(frozen=True)
class Part:
    """Rows that are measured together; ``available`` is how many there were to choose from."""

    cohort: str
    group: str
    cases: EvalInstances
    available: int


@dataclass(frozen=True)
class Measured:
    """What has been measured so far.

    ``rows`` hold dicts with the keys `COLUMNS`: value and 95 % bootstrap interval over users (None
    where the metric is undefined), and on how many rows, people and items. ``done`` of ``total``
    rows are scored.
    """

    rows: tuple[dict, ...]
    done: int
    total: int


def by_attributes(
    prepared: Prepared,
    *,
    ratings: Bounds = (None, None),
    age: Bounds = (None, None),
    occupation: str = "",
    genre: str = "",
    share: Bounds = (None, None),
) -> Cohort:
    """People who meet all conditions; bounds are inclusive.

    ``ratings`` counts those in the training part. People of unknown ``age`` (years) meet no bound.
    ``share`` (0–1) of all their ratings goes to films of ``genre``. UserError for an unknown
    occupation or genre, bounds the wrong way round, or a share without a genre.
    """
    for name, (low, high) in (("ratings", ratings), ("age", age), ("share", share)):
        if low is not None and high is not None and low > high:
            raise UserError(f"{name} from {low:g} to {high:g} is the wrong way round; swap them.")
    if occupation and occupation not in prepared.occupations:
        known = sorted(set(filter(None, prepared.occupations)))
        raise UserError(f"Unknown occupation '{occupation}'; choose one of {', '.join(known)}.")
    if genre and not any(genre in of_item for of_item in prepared.genres):
        known = sorted({name for of_item in prepared.genres for name in of_item})
        raise UserError(f"Unknown genre '{genre}'; choose one of {', '.join(known)}.")
    if not genre and share != (None, None):
        raise UserError("A share of ratings needs a genre; choose one.")
    n_users = prepared.n_users
    meet = np.ones(n_users, dtype=bool)
    names = []
    if ratings != (None, None):
        train = prepared.user[prepared.split == TRAIN]
        meet &= _within(np.bincount(train, minlength=n_users), ratings)
        names.append(f"{_bounds(ratings)} training ratings")
    if age != (None, None):
        meet &= (prepared.ages > 0) & _within(prepared.ages, age)
        names.append(f"age {_bounds(age)}")
    if occupation:
        meet &= np.array(prepared.occupations) == occupation
        names.append(occupation)
    if genre:
        share = (0.5, None) if share == (None, None) else share
        of_genre = np.array([genre in of_item for of_item in prepared.genres])
        total = np.bincount(prepared.user, minlength=n_users)
        in_genre = np.bincount(prepared.user, of_genre[prepared.item], minlength=n_users)
        meet &= (total > 0) & _within(in_genre / np.maximum(total, 1), share)
        low, high = (None if bound is None else 100 * bound for bound in share)
        names.append(f"{genre} {_bounds((low, high))} %")
    return Cohort(", ".join(names) or "everybody", np.flatnonzero(meet))


def _within(values: np.ndarray, bounds: Bounds) -> np.ndarray:
    low, high = bounds
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    return (values >= low) & (values <= high)


def _bounds(bounds: Bounds) -> str:
    low, high = bounds
    if high is None or high == np.inf:
        return f"{low:g} or more"
    if low is None:
        return f"at most {high:g}"
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"


def by_query(store: InteractionStore, prepared: Prepared, sql: str) -> Cohort:
    """The people whose ids a query selects: one SELECT statement with one column.

    UserError as `InteractionStore.query`, or for more columns, too many rows or unknown ids.
    """
    result = store.query(sql, limit=MOST_IDS)
    if len(result.columns) != 1:
        raise UserError(
            f"the query has {len(result.columns)} columns ({', '.join(result.columns)}); select "
            "user ids alone, for example SELECT id FROM users"
        )
    if result.truncated:
        raise UserError(
            f"the query selects more than {MOST_IDS:,} rows; select each user once, with DISTINCT"
        )
    ids = list(dict.fromkeys(str(row[0]) for row in result.rows))
    unknown = [each for each in ids if each not in prepared.user_index]
    if unknown:
        raise UserError(
            f"the query selects {unknown[0]!r}, which is no user id; select user_id from ratings "
            "or id from users"
        )
    users = np.sort(np.array([prepared.user_index[each] for each in ids], dtype=np.int64))
    return Cohort("own query", users)


def sample_rows(
    prepared: Prepared, rows: np.ndarray, *, per_person: int, total: int, seed: int = 0
) -> np.ndarray:
    """At most ``total`` of some rows and ``per_person`` of each person, in the data's order.

    People are drawn one after another until there are enough rows, so that many people take part.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(rows)
    users = rng.permutation(np.unique(prepared.user[rows]))
    place = np.empty(prepared.n_users, dtype=np.int64)
    place[users] = np.arange(len(users))
    # by person in drawn order; which rows of each is random
    order = shuffled[np.argsort(place[prepared.user[shuffled]], kind="stable")]
    first = np.r_[True, np.diff(prepared.user[order]) != 0]
    starts = np.flatnonzero(first)
    number = np.arange(len(order)) - starts[np.cumsum(first) - 1]
    return np.sort(order[number < per_person][:total])


def cohort_parts(
    prepared: Prepared,
    cohorts: Sequence[Cohort],
    ks: Sequence[int | None] = TRUNCATIONS,
    *,
    per_person: int = PER_PERSON,
    total: int = PER_PART,
) -> list[Part]:
    """The same sampled validation rows of each cohort at every k, k by k.

    UserError when a cohort has no such row.
    """
    sampled = []
    for cohort in cohorts:
        rows = prepared.rows(split=VALID)
        rows = rows[np.isin(prepared.user[rows], cohort.users)]
        if not len(rows):
            raise UserError(
                f"{cohort.name}: {len(cohort.users)} people, and none of them has ratings in the "
                "validation part; widen the conditions."
            )
        drawn = sample_rows(prepared, rows, per_person=per_person, total=total)
        sampled.append((cohort.name, drawn, len(rows)))
    return [
        Part(name, truncation_name(k), EvalInstances(prepared, rows, k), available)
        for k in ks
        for name, rows, available in sampled
    ]


def item_parts(
    prepared: Prepared,
    *,
    per_person: int = PER_PERSON,
    total: int = PER_PART,
) -> list[Part]:
    """Sampled validation rows of items by how many training ratings they have.

    Histories are whole. Bands without rows are left out.
    """
    counts = np.bincount(prepared.item[prepared.split == TRAIN], minlength=prepared.n_items)
    rows = prepared.rows(split=VALID)
    parts = []
    for name, low, high in ITEM_BANDS:
        band = rows[_within(counts[prepared.item[rows]], (low, high))]
        if len(band):
            drawn = sample_rows(prepared, band, per_person=per_person, total=total)
            parts.append(Part("", name, EvalInstances(prepared, drawn), len(band)))
    return parts


def measure(
    recommender: Recommender,
    parts: Sequence[Part],
    methods: Sequence[str],
    *,
    stop: Event | None = None,
    seed: int = 0,
    resamples: int = bootstrap.RESAMPLES,
) -> Iterator[Measured]:
    """Score every part by every method, piece by piece, and yield the state after each piece.

    A part's rows appear when it is complete. Answers are kept in the user's cache, so that a
    stopped measurement goes on from there. ``stop`` ends it before the next piece.
    """
    tasks = tuple(task for task in ("rating", "ctr") if task in recommender.tasks)
    total = sum(len(part.cases) for part in parts) * len(methods)
    model = CachedModel(recommender, Path(recommender.checkpoint))
    rows: tuple[dict, ...] = ()
    done = 0
    yield Measured(rows, done, total)
    weights: dict[bytes, np.ndarray] = {}
    for part in parts:
        cases = part.cases
        for method in methods:
            rating = np.empty(len(cases)) if "rating" in tasks else None
            ctr = np.empty(len(cases)) if "ctr" in tasks else None
            for positions in pieces(cases.users, AT_ONCE):
                if stop is not None and stop.is_set():
                    return
                piece = EvalInstances(cases.prepared, cases.rows[positions], cases.k)
                scores = model.scores(piece, tasks, method)
                for whole, of_piece in zip((rating, ctr), scores, strict=True):
                    if whole is not None:
                        whole[positions] = of_piece
                done += len(positions)
                if done < total:
                    yield Measured(rows, done, total)
            # the same rows at every k, and so the same draws of people
            key = cases.rows.tobytes()
            if key not in weights:
                n_users = cases.prepared.n_users
                weights[key] = bootstrap.user_weights(cases.users, n_users, resamples, seed)
            results = Results(weights[key])
            results.add_scores(method, cases, {part.group: np.ones(len(cases), bool)}, rating, ctr)
            counts = {"people": len(np.unique(cases.users)), "items": len(np.unique(cases.items))}
            for row in results.rows:
                full = {"cohort": part.cohort, **row, **counts}
                rows += ({name: full[name] for name in COLUMNS},)
            yield Measured(rows, done, total)


def frame(rows: Sequence[dict]) -> pd.DataFrame:
    """Measured rows as a table with the columns `COLUMNS`, missing values as NaN."""
    return pd.DataFrame(list(rows), columns=list(COLUMNS)).astype(
        {"value": float, "low": float, "high": float}
    )


def write(rows: Sequence[dict], path: Path) -> None:
    """Write measured rows as CSV or Parquet, by the file's suffix; UserError for another suffix."""
    if path.suffix not in (".csv", ".parquet"):
        raise UserError(f"{path.name} is neither .csv nor .parquet; choose one of them.")
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            frame(rows).to_csv(temporary, index=False)
        else:
            frame(rows).to_parquet(temporary, index=False)
