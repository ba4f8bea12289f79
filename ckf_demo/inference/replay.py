"""A person's first ratings, replayed one by one.

The first K ratings of a known user, or the items that a described person picked, are added one by
one. The same questions are answered after each. A known user's targets are the items rated next,
strictly later than all K, so every k is measured on the same items:

    replay = plan(recommender, item="50", user="405")
    for steps in run(recommender, replay):
        steps[-1].k, steps[-1].film
    errors(replay, steps)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Protocol

import numpy as np

from ckf_demo.data.prepared import LIKED_STARS, Prepared
from ckf_demo.data.splits import TRAIN
from ckf_demo.data.store import InteractionStore
from ckf_demo.metrics import bootstrap
from ckf_demo.runtime.errors import UserError

FIRST, TARGETS = 20, 10
"""Defaults: ratings in the history and later items to predict, at most."""


class Predicts(Protocol):
    """The methods of `Recommender` that a replay uses."""

    store: InteractionStore
    prepared: Prepared
    predict: Callable[..., list[dict]]
    bridge_distance: Callable[..., float | None]


@dataclass(frozen=True)
class Rated:
    """An item that somebody rated: ``rating`` in stars, None if the data contain only likes;
    ``timestamp`` in seconds, None for items that were entered by hand."""

    item: str
    title: str
    rating: float | None
    liked: bool
    timestamp: int | None


@dataclass(frozen=True)
class Replay:
    """All questions of a replay, fixed before the first answer.

    ``person`` are the recommender's keywords; for a known user ``at`` is the moment of the first
    target. ``added`` are the first K ratings, oldest first, and ``targets`` the items rated next,
    each strictly later; the model was fitted to ``from_training`` of them. ``item`` is the one
    whose prediction is followed, ``truth`` the person's rating of it, if there is one, and
    ``until`` the last k strictly before that rating.
    """

    person: dict
    added: tuple[Rated, ...]
    targets: tuple[Rated, ...]
    from_training: int
    item: str
    truth: Rated | None
    until: int


@dataclass(frozen=True)
class Step:
    """The predictions when the first ``k`` ratings are known.

    ``film`` are the rows of `Recommender.predict` for the item, none beyond `Replay.until`;
    ``targets`` those for the targets, None until they are computed; ``distance`` is
    `Recommender.bridge_distance`.
    """

    k: int
    film: tuple[dict, ...]
    distance: float | None
    targets: tuple[dict, ...] | None = None


def plan(
    recommender: Predicts,
    *,
    item: str,
    user: str | None = None,
    history: Sequence[Mapping] | None = None,
    taste: str | None = None,
    profile: Mapping | None = None,
    strength: float | None = None,
    first: int = FIRST,
    targets: int = TARGETS,
) -> Replay:
    """The replay of a known user, or of a person who is described.

    ``first`` is the greatest K; it is lowered until ``targets`` later items are left, or at least
    one. At most ``targets`` later items are predicted; a described person has none.

    Raises
    ------
    UserError
        For an unknown user or item, or a user without any rating.
    """
    data, film = recommender.prepared, recommender.store.item(item)
    if user in (None, ""):
        entries = list(history or ())[:first]
        added = []
        for entry in entries:
            stars, title = float(entry["rating"]), recommender.store.item(entry["item"])["title"]
            added.append(Rated(str(entry["item"]), title, stars, stars >= LIKED_STARS, None))
        words = {"taste": taste, "strength": strength}
        person = {"history": entries or None, "profile": profile, **words}
        until = next((i for i, each in enumerate(added) if each.item == film["item"]), len(added))
        truth = added[until] if until < len(added) else None
        return Replay(person, tuple(added), (), 0, film["item"], truth, until)
    recommender.store.user(user)
    index = data.user_index[str(user)]
    rows = np.flatnonzero(data.user == index)
    if not len(rows):
        raise UserError(f"User {user} has rated nothing; choose somebody else.")
    # histories contain all ratings, or only likes
    history_rows = data.history.rows_of(index)
    moments = data.timestamp[rows]
    k = _history_length(data.timestamp[history_rows], moments, first, targets)
    at = moments[moments > data.timestamp[history_rows[k - 1]]].min() if k else moments[0]
    target_rows = rows[moments >= at][:targets]
    film_rows = rows[data.item[rows] == data.item_index[film["item"]]]
    truth, until = None, k
    if len(film_rows):
        truth = _rated(data, int(film_rows[0]))
        until = int((data.timestamp[history_rows[:k]] < truth.timestamp).sum())
    return Replay(
        person={"user": str(user), "at": int(at)},
        added=tuple(_rated(data, int(row)) for row in history_rows[:k]),
        targets=tuple(_rated(data, int(row)) for row in target_rows),
        from_training=int((data.split[target_rows] == TRAIN).sum()),
        item=film["item"],
        truth=truth,
        until=until,
    )


def _history_length(history: np.ndarray, moments: np.ndarray, first: int, targets: int) -> int:
    """K, from the moments of a history's rows and of all ratings, both oldest first."""
    later = np.array([(moments > moment).sum() for moment in history[:first]])
    for enough in (targets, 1):
        if (later >= enough).any():
            return int(np.flatnonzero(later >= enough)[-1]) + 1
    return 0


def _rated(data: Prepared, row: int) -> Rated:
    item = data.item[row]
    return Rated(
        item=data.item_ids[item],
        title=data.titles[item],
        rating=float(data.rating[row]) if data.feedback == "ratings" else None,
        liked=bool(data.liked[row]),
        timestamp=int(data.timestamp[row]),
    )


def run(
    recommender: Predicts, replay: Replay, stop: Event | None = None
) -> Iterator[tuple[Step, ...]]:
    """Answer all questions, first about the item and then about the targets.

    Yields
    ------
    The steps for k = 0, 1, … as far as they are answered, oldest first. ``stop`` ends it early.
    """
    steps: list[Step] = []
    for k in range(len(replay.added) + 1):
        if stop is not None and stop.is_set():
            return
        film: list[dict] = []
        if k <= replay.until:
            film = recommender.predict([replay.item], **replay.person, first=k)
        distance = recommender.bridge_distance(**replay.person, first=k)
        steps.append(Step(k, tuple(film), distance))
        yield tuple(steps)
    for step in tuple(steps) if replay.targets else ():
        if stop is not None and stop.is_set():
            return
        items = [target.item for target in replay.targets]
        rows = recommender.predict(items, **replay.person, first=step.k)
        steps[step.k] = replace(step, targets=tuple(rows))
        yield tuple(steps)


def errors(replay: Replay, steps: Sequence[Step], seed: int = 0) -> list[dict]:
    """How wrong the predictions of the targets are after each k, as far as they are answered.

    Returns
    -------
    ``[{"k", "method", "metric", "value", "low", "high", "n"}]`` with metric ``"mae"`` (stars) or
    ``"log_loss"`` (nats), its 95 % bootstrap interval over the n targets, and the same draws for
    all.
    """
    n = len(replay.targets)
    places = np.arange(n)
    weights = bootstrap.user_weights(places, n, bootstrap.RESAMPLES, seed) if n else None
    stars = np.array([target.rating or np.nan for target in replay.targets])
    liked = np.array([target.liked for target in replay.targets], dtype=np.int8)
    once = np.ones((1, n), np.float32)
    out = []
    for step in steps:
        methods = dict.fromkeys(row["method"] for row in step.targets or ())
        for method in methods:
            rows = [row for row in step.targets or () if row["method"] == method]
            measured = ("mae", "rating", stars), ("log_loss", "probability", liked)
            for metric, key, truth in measured:
                predicted = np.array([row[key] for row in rows], dtype=float)
                if np.isnan(predicted).any() or np.isnan(truth).any():
                    continue
                measure = getattr(bootstrap, metric)
                low, high = bootstrap.interval(measure(places, truth, predicted, weights))
                value = float(measure(places, truth, predicted, once)[0])
                row = {"k": step.k, "method": method, "metric": metric}
                out.append(row | {"value": value, "low": low, "high": high, "n": n})
    return out
