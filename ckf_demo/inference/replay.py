"""A person's first ratings, replayed one by one.

The first K ratings of a known user, or the items that a described person picked, are added one by
one. The same questions are answered after each. A known user's targets are the items rated next,
strictly later than all K, so every k is measured on the same items:

    replay = plan(recommender, item="50", user="405")
    for steps in run(recommender, replay):
        steps[-1].k, steps[-1].film
    errors(replay, steps)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, Protocol, Unpack

import numpy as np

from ckf_demo.data.prepared import LIKED_STARS, Prepared
from ckf_demo.data.splits import TRAIN
from ckf_demo.data.store import InteractionStore
from ckf_demo.inference.people import Described
from ckf_demo.metrics import bootstrap
from ckf_demo.runtime.errors import UserError

FIRST, TARGETS = 20, 10
"""Defaults: ratings in the history and later items to predict, at most."""


class Predicts(Protocol):
    """The methods of `Recommender` that a replay uses."""

    store: InteractionStore
    prepared: Prepared

    def predict(
        self, items: Sequence[str], *, first: int | None = None, **person: Unpack[Described]
    ) -> list[dict]: ...

    def bridge_distance(
        self, *, first: int | None = None, **person: Unpack[Described]
    ) -> float | None: ...


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

    Attributes
    ----------
    person
        Keyword arguments that describe the person to the recommender. For a known user ``at`` is
        the moment of the first target: only earlier ratings are known then.
    added
        The first K ratings, oldest first.
    targets
        The items that the person rated next, each strictly later than all of ``added``.
    from_training
        How many of the targets are in the training part, so that the model was fitted to them.
    item, truth
        The item whose prediction is followed, and the person's rating of it, if there is one.
    until
        The last k strictly before the person rated that item; later histories may hold it.
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
    first: int = FIRST,
    targets: int = TARGETS,
) -> Replay:
    """The replay of a known user, or of a person who is described.

    Parameters
    ----------
    first
        K, the number of ratings in the history at most. It is lowered until ``targets`` later items
        are left, or at least one.
    targets
        How many later items are predicted at most; a described person has none.

    Raises
    ------
    UserError
        For an unknown user or item, or a user without any rating.
    """
    data, film = recommender.prepared, recommender.store.item(item)
    if user in (None, ""):
        entries = list(history or ())[:first]
        added = tuple(
            Rated(
                item=str(entry["item"]),
                title=recommender.store.item(entry["item"])["title"],
                rating=float(entry["rating"]),
                liked=float(entry["rating"]) >= LIKED_STARS,
                timestamp=None,
            )
            for entry in entries
        )
        person = {"history": entries or None, "taste": taste, "profile": profile}
        place = next((i for i, each in enumerate(added) if each.item == film["item"]), len(added))
        truth = added[place] if place < len(added) else None
        return Replay(person, added, (), 0, film["item"], truth, place)
    recommender.store.user(user)
    rows = np.flatnonzero(data.user == data.user_index[str(user)])
    if not len(rows):
        raise UserError(f"User {user} has rated nothing; choose somebody else.")
    # histories contain all ratings, or only likes
    history_rows = data.history.rows_of(data.user_index[str(user)])
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
        person: dict[str, Any] = {**replay.person, "first": k}
        film = recommender.predict([replay.item], **person) if k <= replay.until else []
        steps.append(Step(k, tuple(film), recommender.bridge_distance(**person)))
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
            for metric, key, truth in (
                ("mae", "rating", stars),
                ("log_loss", "probability", liked),
            ):
                predicted = np.array([row[key] for row in rows], dtype=float)
                if np.isnan(predicted).any() or np.isnan(truth).any():
                    continue
                measure = getattr(bootstrap, metric)
                low, high = bootstrap.interval(measure(places, truth, predicted, weights))
                out.append(
                    {
                        "k": step.k,
                        "method": method,
                        "metric": metric,
                        "value": float(measure(places, truth, predicted, once)[0]),
                        "low": low,
                        "high": high,
                        "n": n,
                    }
                )
    return out
