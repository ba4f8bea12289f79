"""A recommender without weights: the interface of ``ckf_demo.recommender.Recommender`` over a tiny
made-up catalogue, so that screens and endpoints can be tested in milliseconds."""

import atexit
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from ckf_demo.baselines import EASE, ItemMean, Popularity
from ckf_demo.data.analyses import Analysis
from ckf_demo.data.free_sql import QueryResult, Table
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import RawData
from ckf_demo.data.store import InteractionStore, write_store
from ckf_demo.inference.contrasts import Contrasts
from ckf_demo.runtime.errors import UserError
from ckf_demo.serving.method_comparison import MethodComparison, TrainedMethod
from ckf_demo.tasks.domains import DOMAINS, Domain

GENRES = ["Action", "Comedy", "Drama", "Film-Noir", "Sci-Fi"]
SPLIT_TIME = 890_000_000
DAY = 86_400
# One title carries what markup and templates would trip over.
NASTY_TITLE = "<b>Bold</b> & ${1+1} {{value}}"
FIRST_WORDS = "Quiet Loud Distant Golden Broken Silent Hidden Crimson".split()
SECOND_WORDS = "Harbour Orchard Machine Winter Mirror".split()


class FakeStore:
    """Forty films and sixteen users whose ratings follow from a fixed seed."""

    dataset = "made-up"
    split_time = SPLIT_TIME

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        titles = [f"{first} {second}" for first in FIRST_WORDS for second in SECOND_WORDS]
        titles[3] = NASTY_TITLE
        self._items = pd.DataFrame(
            {
                "item": [str(i + 1) for i in range(40)],
                "title": titles,
                "year": pd.array([1930 + 2 * i if i != 5 else None for i in range(40)], "Int64"),
                "genres": [
                    [GENRES[i % 5]] + ([GENRES[(i + 1) % 5]] if i % 3 == 0 else [])
                    for i in range(40)
                ],
            }
        )
        rows = []
        lengths = [0, 2, 3, 6, 9, 12, 20, 25, 1, 5, 8, 15, 0, 4, 11, 30]
        for number, before in enumerate(lengths, start=1):
            films = rng.permutation(40)[: before + 5]
            for place, film in enumerate(films):
                offset = place - before if place >= before else place - before - 1
                rows.append(
                    (
                        str(number),
                        str(film + 1),
                        float(rng.integers(1, 6)),
                        SPLIT_TIME + offset * DAY,
                    )
                )
        self._ratings = pd.DataFrame(rows, columns=["user", "item", "rating", "timestamp"])
        self._users = pd.DataFrame(
            {
                "user": [str(i + 1) for i in range(16)],
                "age": pd.array([20 + 3 * i if i != 4 else None for i in range(16)], "Int64"),
                "gender": ["F", "M"] * 8,
                "occupation": [["writer", "student", None, "engineer"][i % 4] for i in range(16)],
                "n_before": lengths,
                "n_total": [n + 5 for n in lengths],
                "at": [SPLIT_TIME] * 16,
            }
        )
        train = self._ratings[self._ratings.timestamp < SPLIT_TIME].groupby("item").rating
        self._items["n_ratings"] = self._items["item"].map(train.size()).fillna(0).astype(int)
        self._items["mean_rating"] = self._items["item"].map(train.mean())

    def items(self) -> pd.DataFrame:
        return self._items.copy()

    def users(self) -> pd.DataFrame:
        return self._users.copy()

    def _rows_of(self, user: str) -> pd.DataFrame:
        self.user(user)
        rows = self._ratings[self._ratings.user == str(user)]
        return rows.merge(self._items, on="item").sort_values("timestamp", kind="stable")[
            ["item", "title", "year", "genres", "rating", "timestamp"]
        ]

    def history(self, user: str, at: int, limit: int | None = None) -> pd.DataFrame:
        rows = self._rows_of(user)
        rows = rows[rows.timestamp < at]
        return rows if limit is None else rows.tail(limit)

    def later(self, user: str, at: int) -> pd.DataFrame:
        rows = self._rows_of(user)
        return rows[rows.timestamp >= at]

    def search_items(
        self,
        query: str,
        limit: int = 20,
        genre: str | None = None,
        year_from: int | None = None,
        year_to: int | None = None,
    ) -> pd.DataFrame:
        rows = self._items[
            self._items.title.str.contains(query or "", case=False, regex=False)
        ].sort_values("n_ratings", ascending=False, kind="stable")
        return self._filtered(rows, genre, year_from, year_to).head(limit)

    @staticmethod
    def _filtered(rows, genre, year_from, year_to):
        if genre:
            rows = rows[[genre in genres for genres in rows.genres]]
        if year_from is not None:
            rows = rows[(rows.year >= year_from).fillna(False)]
        if year_to is not None:
            rows = rows[(rows.year <= year_to).fillna(False)]
        return rows

    def genres(self) -> list[str]:
        return list(GENRES)

    def occupations(self) -> list[str]:
        return ["engineer", "student", "writer"]

    def statistics(self) -> dict:
        return {"users": 16, "items": 40, "interactions": len(self._ratings)}

    @cached_property
    def prepared(self) -> Prepared:
        """The same data as arrays, split in time."""
        unknown = {pd.NA: None}
        raw = RawData.from_rows(
            users=self._users[["user", "age", "gender", "occupation"]]
            .astype(object)
            .replace(unknown)
            .itertuples(index=False, name=None),
            items=self._items[["item", "title", "year", "genres"]]
            .astype(object)
            .replace({"year": unknown})
            .itertuples(index=False, name=None),
            interactions=self._ratings.itertuples(index=False, name=None),
        )
        return Prepared.from_raw(raw, self.dataset)

    @cached_property
    def _desk(self) -> InteractionStore:
        """The same data in a true store, for free queries."""
        # Held here: the folder goes with the store.
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "made-up.duckdb"
        write_store(self.prepared, path)
        store = InteractionStore(path)
        atexit.register(store.close)
        return store

    def query(self, sql: str, *, limit: int = 1000, seconds: float = 5.0) -> QueryResult:
        return self._desk.query(sql, limit=limit, seconds=seconds)

    def schema(self) -> list[Table]:
        return self._desk.schema()

    def analyses(self) -> list[Analysis]:
        return self._desk.analyses()

    def default_at(self, user: str) -> int:
        self.user(user)
        return SPLIT_TIME

    def user(self, user: str) -> dict:
        found = self._users[self._users.user == str(user)]
        if found.empty:
            raise UserError(f"user {user!r} is not in {self.dataset}; choose one of 1 to 16")
        return found.iloc[0].to_dict()

    def item(self, item: str) -> dict:
        found = self._items[self._items.item == str(item)]
        if found.empty:
            raise UserError(f"item {item!r} is not in {self.dataset}; search for a film first")
        return found.iloc[0].to_dict()


@cache
def _made_up_checkpoint() -> Path:
    """A folder with something in it, so that answers can be kept under its hash."""
    folder = tempfile.TemporaryDirectory(prefix="ckf-made-up-")
    atexit.register(folder.cleanup)
    made = Path(folder.name) / "made-up"
    made.mkdir()
    (made / "weights").write_bytes(b"none")
    return made


class FakeRecommender:
    """Answers follow from the mean of the person's ratings and the item's number.

    ``word_seconds`` slows explanations down, for tests of the stop button; ``calls`` counts what
    was asked of it.
    """

    tasks = ("rating", "ctr", "ranking", "explanation")
    methods = ("ckf", "no-tokens", "collaborative")
    labels: ClassVar[dict[str, str]] = {
        "ckf": "CKF",
        "no-tokens": "Without collaborative tokens",
        "collaborative": "Collaborative model alone",
    }

    def __init__(self, word_seconds: float = 0.0, checkpoint: Path | None = None) -> None:
        self.store = FakeStore()
        self.word_seconds = word_seconds
        self.calls: list[str] = []
        self.item_order = list(self.store.items()["item"])
        self.manifest = {
            "dataset": "made-up",
            "backbone": {"name": "tiny", "sha256": "0" * 64},
            "seed": 1,
        }
        self.checkpoint = checkpoint or _made_up_checkpoint()
        self.counterfactuals = FakeCounterfactuals(self)
        self.contrasts = Contrasts(self)

    def default_at(self, user: str) -> int:
        return self.store.default_at(str(user))

    def search_items(self, query: str, limit: int = 10) -> list[dict]:
        rows = self.store.search_items(query, limit)
        return [
            {
                "item": row.item,
                "title": row.title,
                "year": None if pd.isna(row.year) else int(row.year),
                "genres": list(row.genres),
            }
            for row in rows.itertuples()
        ]

    def history(self, user: str, at: int | None = None) -> list[dict]:
        rows = self.store.history(str(user), self.default_at(user) if at is None else at)
        return [
            {
                "item": row.item,
                "title": row.title,
                "rating": float(row.rating),
                "timestamp": int(row.timestamp),
            }
            for row in rows.itertuples()
        ]

    def _known(self, user, history, taste, profile, at) -> list[tuple[str, float]]:
        if not (user or history or taste or profile):
            raise UserError("nobody was described; give a user, a history, a taste or a profile")
        rated = []
        if user:
            rated += [(row["item"], row["rating"]) for row in self.history(user, at)]
        for row in history or []:
            self.store.item(row["item"])
            if not 1 <= float(row["rating"]) <= 5:
                raise UserError(f"rating {row['rating']} is outside 1 to 5; give a rating of 1–5")
            rated.append((str(row["item"]), float(row["rating"])))
        return rated

    def _at(self, user, at):
        return at if at is not None or not user else self.default_at(user)

    def _level(self, rated, item, method="ckf") -> float:
        self.store.item(item)
        if method not in (None, *self.methods):
            raise UserError(f"method {method!r} is unknown; choose one of {self.methods}")
        person = np.mean([rating for _, rating in rated]) if rated else 3.5
        shift = {"no-tokens": -0.4, "collaborative": 0.3}.get(method, 0.0)
        return float(np.clip(0.6 * person + 1.4 + (int(item) % 7 - 3) * 0.25 + shift, 1.1, 4.9))

    @staticmethod
    def _distribution(level: float) -> dict[str, float]:
        weights = np.exp(-((np.arange(1, 6) - level) ** 2))
        return {str(k): float(p) for k, p in zip(range(1, 6), weights / weights.sum(), strict=True)}

    def rate(
        self, user=None, history=None, taste=None, profile=None, item=None, at=None, method=None
    ) -> dict:
        self.calls.append("rate")
        level = self._level(self._known(user, history, taste, profile, at), item, method)
        distribution = self._distribution(level)
        return {
            "rating": sum(int(k) * p for k, p in distribution.items()),
            "distribution": distribution,
            "at": self._at(user, at),
            "seconds": 0.01,
        }

    def click(
        self, user=None, history=None, taste=None, profile=None, item=None, at=None, method=None
    ) -> dict:
        self.calls.append("click")
        level = self._level(self._known(user, history, taste, profile, at), item, method)
        return {"probability": (level - 1) / 4, "at": self._at(user, at), "seconds": 0.01}

    def rank(
        self,
        user=None,
        history=None,
        taste=None,
        profile=None,
        k=10,
        at=None,
        method=None,
        genre=None,
        year_from=None,
        year_to=None,
        candidates=100,
    ) -> list[dict]:
        self.calls.append("rank")
        rated = self._known(user, history, taste, profile, at)
        seen = {item for item, _ in rated}
        later = {}
        if user:
            rows = self.store.later(str(user), self._at(user, at))
            later = dict(zip(rows["item"], rows["rating"], strict=True))
        items = self.store._filtered(self.store.items(), genre, year_from, year_to)
        rows = [row for row in items.itertuples() if row.item not in seen]
        rows.sort(key=lambda row: (-self._level(rated, row.item, method), row.item))
        return [
            {
                "rank": place,
                "item": row.item,
                "title": row.title,
                "year": None if pd.isna(row.year) else int(row.year),
                "genres": list(row.genres),
                "score": (self._level(rated, row.item, method) - 1) / 4,
                "collaborative_rank": (place * 7) % 40 + 1,
                "later_rating": later.get(row.item),
            }
            for place, row in enumerate(rows[:k], start=1)
        ]

    def candidates(
        self, user=None, history=None, taste=None, profile=None, at=None, size=100
    ) -> list[str]:
        rows = self.rank(user, history, taste, profile, k=size, at=at)
        return [row["item"] for row in sorted(rows, key=lambda row: row["collaborative_rank"])]

    def score_candidates(
        self,
        candidates,
        user=None,
        history=None,
        taste=None,
        profile=None,
        at=None,
        by="ranking",
    ) -> list[float]:
        self.calls.append(f"order by {by}")
        rated = self._known(user, history, taste, profile, at)
        return [self._level(rated, item) for item in candidates]

    def explain(
        self,
        user=None,
        history=None,
        taste=None,
        profile=None,
        item=None,
        at=None,
        method=None,
        stop: threading.Event | None = None,
        bridges_of=None,
    ) -> Iterator[dict]:
        self.calls.append("explain")
        if bridges_of:
            self.store.user(bridges_of)
        if method == "collaborative":
            raise UserError("the collaborative model alone writes no explanations; choose ckf")
        rated = self._known(user, history, taste, profile, at)
        level = self._level(rated, item, method)
        polarity = "positive" if level >= 3.5 else "negative" if level < 2.5 else "mixed"
        evidence = []
        if rated:
            film = self.store.item(max(rated, key=lambda row: row[1])[0])
            evidence = [{"item": film["item"], "title": film["title"]}]
        because = "nothing is known yet"
        if evidence:
            because = f"they rated {evidence[0]['title']} highly"
        words = f"{self.store.item(item)['title']} may suit them, since {because}.".split(" ")
        text = ""
        for word in words:
            if stop is not None and stop.is_set():
                break
            time.sleep(self.word_seconds)
            text = f"{text} {word}".strip()
            yield {"text": text}
        yield {
            "text": text,
            "evidence": [film for film in evidence if film["title"] in text],
            "polarity": polarity,
            "rating": level,
            "seconds": 0.02,
            "first_words_seconds": 0.01,
            "sentences": [
                {
                    "text": text,
                    "evidence": [
                        {**film, "rating": max(stars for _, stars in rated)}
                        for film in evidence
                        if film["title"] in text
                    ],
                }
            ],
            "regenerated": 1,
            "dropped": 1,
            "draft": text,
        }

    def compare(
        self, user=None, history=None, taste=None, profile=None, item=None, at=None
    ) -> list[dict]:
        self.calls.append("compare")
        rated = self._known(user, history, taste, profile, at)
        rows = []
        for method, label in self.labels.items():
            level = self._level(rated, item, method)
            distribution = self._distribution(level)
            rows.append(
                {
                    "method": method,
                    "label": label,
                    "rating": sum(int(k) * p for k, p in distribution.items()),
                    "distribution": None if method == "collaborative" else distribution,
                    "probability": (level - 1) / 4,
                }
            )
        return [*rows, self.everybody(item)]

    def predict(
        self,
        items,
        user=None,
        history=None,
        taste=None,
        profile=None,
        at=None,
        first=None,
        methods=None,
    ) -> list[dict]:
        self.calls.append("predict")
        somebody = user or history or taste or profile
        rated = self._known(user, history, taste, profile, at) if somebody else []
        rows = []
        for item in items:
            for method in methods or self.methods:
                level = self._level(rated[:first], item, method)
                rows.append(
                    {
                        "item": item,
                        "method": method,
                        "rating": level,
                        "probability": (level - 1) / 4,
                    }
                )
        return rows

    def bridge_distance(
        self, user=None, history=None, taste=None, profile=None, at=None, first=None
    ) -> float | None:
        somebody = user or history or taste or profile
        rated = self._known(user, history, taste, profile, at) if somebody else []
        return 0.1 * len(rated[:first])

    @property
    def prepared(self) -> Prepared:
        return self.store.prepared

    @property
    def domain(self) -> Domain:
        return DOMAINS[self.prepared.domain]

    def score_rows(
        self, rows, k=None, tasks=("rating", "ctr"), method=None, progress=None
    ) -> dict[str, np.ndarray]:
        """As `predict` has it, with histories cut to their last ``k``; ``word_seconds`` per row."""
        self.calls.append("score_rows")
        data = self.prepared
        levels = []
        for row in rows:
            time.sleep(self.word_seconds)
            before = data.history.before(int(row), k)
            rated = [("", float(stars)) for stars in data.rating[before]]
            levels.append(self._level(rated, data.item_ids[data.item[row]], method))
        levels = np.array(levels)
        distribution = np.exp(-((np.arange(1, 6) - levels[:, None]) ** 2))
        return {
            "rating": distribution / distribution.sum(1, keepdims=True),
            "ctr": (levels - 1) / 4,
        }

    def everybody(self, item) -> dict:
        return {
            "method": "average",
            "label": "Everybody's average",
            "rating": 3.53,
            "distribution": None,
            "probability": 0.55,
        }

    def prompt(
        self,
        user=None,
        history=None,
        taste=None,
        profile=None,
        item=None,
        task="rating",
        at=None,
        method=None,
    ) -> list[dict]:
        if method == "collaborative":
            raise UserError("the collaborative model alone answers without a prompt")
        rated = self._known(user, history, taste, profile, at)
        films = "; ".join(f"{self.store.item(i)['title']}: {r:.0f}" for i, r in rated)
        return [
            {"text": f"Somebody rated films. History: {films or 'none'}. Person: ", "kind": "text"},
            {"text": "<user>", "kind": "user_token"},
            {"text": f"\nFilm: {self.store.item(item)['title']} ", "kind": "text"},
            {"text": "<item>", "kind": "item_token"},
            {"text": f"\nTheir {task}:", "kind": "text"},
            {"text": " 4", "kind": "answer"},
        ]

    @property
    def spaces(self) -> tuple[str, ...]:
        tokens = ("llm", "untrained") if "no-tokens" in self.methods else ()
        return ("collaborative", *tokens, "text")

    def item_vectors(
        self, space: str, user=None, history=None, taste=None, profile=None, at=None
    ) -> np.ndarray:
        self.calls.append(f"item_vectors {space}")
        seed = {"collaborative": 1, "llm": 2, "text": 3, "untrained": 4}[space]
        rng = np.random.default_rng(seed)
        vectors = rng.normal(size=(len(self.item_order), 8)).astype(np.float32)
        if space in ("llm", "untrained") and (user or history or taste or profile):
            rated = self._known(user, history, taste, profile, at)
            vectors[:, 0] += np.float32(0.1 * len(rated))
        return vectors

    def person_vector(
        self, space: str, user=None, history=None, taste=None, profile=None, at=None
    ) -> np.ndarray | None:
        if space == "text":
            return None
        number = int(user or 0)
        return np.random.default_rng(number).normal(size=8).astype(np.float32)

    def user_vectors(self, space: str, progress=None) -> np.ndarray | None:
        self.calls.append(f"user_vectors {space}")
        users = self.store.users()["user"]
        return np.stack([self.person_vector(space, user=user) for user in users])


class FakeCounterfactuals:
    """Films removed one by one from the mean of the person's ratings; parts move it by a shift.

    ``step_seconds`` slows every step down, for tests of the stop button.
    """

    PARTS: ClassVar = {"average bridges": 0.2, "no tokens": -0.4, "no prior": -0.6}
    quantities = ("rating", "probability")
    missing: ClassVar[list[str]] = ["task adapters"]
    has_bridges = True

    def __init__(self, recommender: "FakeRecommender", step_seconds: float = 0.0) -> None:
        self.recommender, self.step_seconds = recommender, step_seconds

    def bridges_of(self, other: str, at=None) -> None:
        self.recommender.store.user(other)

    @staticmethod
    def _figures(level: float) -> dict:
        return {"rating": level, "probability": (level - 1) / 4, "score": None}

    def leave_one_out(
        self, user=None, history=None, taste=None, profile=None, item=None, at=None, stop=None
    ) -> Iterator[dict]:
        fake = self.recommender
        fake.calls.append("without")
        rated = fake._known(user, history, taste, profile, at)
        shown, rows = rated[-12:], []
        base = self._figures(fake._level(rated, item))

        def piece() -> dict:
            return {
                **base,
                "without": list(rows),
                "shown": len(shown),
                "known": len(rated),
                "window_moves": len(rated) == 15,
                "at": fake._at(user, at),
                "seconds": 0.01,
            }

        yield piece()
        for film, stars in reversed(shown):
            if stop is not None and stop.is_set():
                return
            time.sleep(self.step_seconds)
            left = self._figures(fake._level([row for row in rated if row[0] != film], item))
            rows.append(
                {
                    "item": film,
                    "title": fake.store.item(film)["title"],
                    "stars": stars,
                    **left,
                    "effect": base["rating"] - left["rating"],
                }
            )
            yield piece()

    def with_stars(
        self, changed, user=None, history=None, taste=None, profile=None, item=None, at=None
    ) -> list[dict]:
        fake = self.recommender
        fake.calls.append("with stars")
        rated = fake._known(user, history, taste, profile, at)
        if changed not in dict(rated[-12:]):
            raise UserError(f"{changed} is not among the films that the prompt shows")
        rows = []
        for stars in (None, 1, 2, 3, 4, 5):
            other = [(i, s if i != changed else stars) for i, s in rated]
            level = fake._level([row for row in other if row[1] is not None], item)
            rows.append({"stars": stars, **self._figures(level)})
        return rows

    def swap_components(
        self,
        user=None,
        history=None,
        taste=None,
        profile=None,
        item=None,
        at=None,
        other=None,
        stop=None,
    ) -> Iterator[dict]:
        fake = self.recommender
        fake.calls.append("switched")
        level = fake._level(fake._known(user, history, taste, profile, at), item)
        shifts = self.PARTS
        if other is not None:
            fake.store.user(other)
            shifts = {f"bridges of user {other}": 0.1, **shifts}
        yield {"part": "own", "label": "As it is", **self._figures(level)}
        for part, shift in shifts.items():
            if stop is not None and stop.is_set():
                return
            time.sleep(self.step_seconds)
            yield {"part": part, "label": part.capitalize(), **self._figures(level + shift)}

    def percentile(
        self, user=None, history=None, taste=None, profile=None, item=None, at=None, stop=None
    ) -> Iterator[list[dict]]:
        fake = self.recommender
        fake.calls.append("standing")
        level = fake._level(fake._known(user, history, taste, profile, at), item)
        row = {"quantity": "rating", "value": level, "low": 0.5, "high": 0.5, "n": 30}
        rows = [row | {"by": "prior", "percentile": 0.5, "sampled": False}]
        yield rows
        own = row | {"by": "own", "percentile": 0.6, "low": 0.4, "high": 0.77, "sampled": True}
        yield [*rows, own | {"n": 20}]

    def trace_later_likes(self, user, at=None, k=10) -> dict:
        fake = self.recommender
        fake.calls.append("later liked")
        if not user:
            raise UserError("What was liked later is known of users of the data set alone.")
        rows = fake.rank(user, k=40, at=at)
        films = [
            {
                "item": row["item"],
                "title": row["title"],
                "rating": row["later_rating"],
                "collaborative_rank": row["collaborative_rank"],
                "rank": row["rank"] if row["rank"] <= 20 else None,
                "outcome": "no candidate" if row["rank"] > 20 else "kept",
            }
            for row in rows
            if (row["later_rating"] or 0) >= 4
        ]
        outcomes = dict.fromkeys(("kept", "moved in", "moved out", "not moved in"), 0)
        outcomes["kept"] = sum(film["rank"] is not None for film in films)
        return {
            "films": films,
            "k": k,
            "candidates": 20,
            "catalogue": len(rows),
            "outcomes": outcomes | {"no candidate": len(films) - outcomes["kept"]},
            "in_top_by_collaborative": outcomes["kept"],
            "at": fake._at(user, at),
        }


class FakeTextRecommender(FakeRecommender):
    """A sibling that was trained for two tasks and sees films in another order."""

    tasks = ("rating", "ctr")
    methods = ("text",)
    labels: ClassVar[dict[str, str]] = {"text": "TALLRec"}

    def _level(self, rated, item, method=None) -> float:
        return float(
            np.clip(super()._level(rated, item, method) + (int(item) % 3 - 1) * 0.5, 1.1, 4.9)
        )


class FakeFitted:
    """Baselines that are fitted at once and have one opinion each."""

    kinds: ClassVar = {kind.name: kind for kind in (ItemMean, EASE, Popularity)}

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: list[str] = []

    def fit(self, name: str) -> None:
        if name not in self.seconds:
            self.calls.append(name)
            self.seconds[name] = 0.5

    def opinion(self, name: str, item: str, **person) -> tuple[float | None, float | None]:
        tasks = self.kinds[name].tasks
        return 3.21 if "rating" in tasks else None, 0.43 if "ctr" in tasks else None

    def scores(self, name: str, by: str, items: list[str], **person) -> list[float]:
        return [float(item) for item in items]


class FakeMethodComparison(MethodComparison):
    """The fake recommender with a sibling beside it, and baselines."""

    def __init__(self, recommender) -> None:
        super().__init__(recommender)
        self.fitted = FakeFitted()

    def _find(self) -> None:
        self._loaded["text"] = FakeTextRecommender()
        self._methods["text"] = TrainedMethod(
            name="text",
            label="TALLRec",
            paper="2305.00447",
            summary="words alone",
            tasks=FakeTextRecommender.tasks,
            checkpoint="made-up-text",
            parameters=None,
            minutes=11.9,
        )
