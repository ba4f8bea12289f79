"""The one file that training reads: interactions, items and users as plain arrays.

Training needs only this file and the backbone, so it runs without a database. The file is a NumPy
archive without pickled objects.
"""

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ckf_demo.data.item_facts import ItemFacts
from ckf_demo.data.sources.base import FILMS, RawData
from ckf_demo.data.splits import (
    TEST,
    TRAIN,
    VALID,
    choosing_half,
    last_of_each,
    time_order,
    time_split,
)
from ckf_demo.runtime.caches import DAMAGE
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import replacing

FORMAT = 1
LIKED, LIKED_STARS = 1.0, 4.0
TEXTS = ("texts", "about_items", "about_users")
ARRAYS = ("user", "item", "rating", "timestamp", "source_row", "split", "fit")


class HistoryIndex:
    """The history of each interaction: what its user had rated, or liked, before it.

    Parameters
    ----------
    user, timestamp : integer arrays (n,)
        In time order. Rows of one user with equal timestamps are not in each other's history.
    liked : bool array (n,), optional
        If given, histories hold only these interactions, including earlier ones of the same moment.

    Attributes
    ----------
    lengths
        The number of interactions in the history of each row, int64 (n,).
    """

    def __init__(
        self,
        user: np.ndarray,
        timestamp: np.ndarray,
        n_users: int,
        liked: np.ndarray | None = None,
    ):
        order = np.argsort(user, kind="stable")
        starts = np.searchsorted(user[order], np.arange(n_users + 1))
        self._rows = [order[starts[u] : starts[u + 1]] for u in range(n_users)]
        self._user = user
        self.lengths = np.empty(len(user), dtype=np.int64)
        for rows in self._rows:
            moments = timestamp[rows]
            if liked is None:
                self.lengths[rows] = np.searchsorted(moments, moments, side="left")
            else:
                self.lengths[rows] = np.cumsum(liked[rows]) - liked[rows]
        if liked is not None:
            self._rows = [rows[liked[rows]] for rows in self._rows]

    def rows_of(self, user: int) -> np.ndarray:
        """All interaction indices that a user's histories may hold, oldest first."""
        return self._rows[user]

    def length(self, row: int) -> int:
        """The number of interactions in the history of ``row``."""
        return int(self.lengths[row])

    def before(self, row: int, k: int | None = None) -> np.ndarray:
        """The history of ``row``, oldest first: all of it, or the last ``k`` interactions."""
        n = self.length(row)
        return self._rows[self._user[row]][0 if k is None else max(0, n - k) : n]


@dataclass(frozen=True)
class Prepared:
    """A data set in time order, with dense user and item indices.

    ``user`` and ``item`` are int32 (n,), ``rating`` float32 (n,), ``timestamp`` int64 (n,) in
    seconds, ``source_row`` int32 (n,), ``split`` int8 (n,) and ``fit`` bool (n,) as in
    `ckf_demo.data.splits`. A year or an age of 0 and an empty string stand for unknown.

    ``feedback`` is ``"ratings"`` or ``"likes"``; with likes, ``rating`` is 1 or 0 and histories
    hold only likes. ``given_split`` says that the source came with its split; then its test part
    may be missing, and training does not depend on whether it is there. Ratings of ``liked_from``
    stars or more are likes.

    ``domain`` says what the items are (`ckf_demo.tasks.domains`). ``texts`` holds the text of an
    interaction, by its index: a review, or an explanation that was written for it. ``about_items``
    and ``about_users`` hold summaries of texts, by index; the target's own text may be among these.

    ``facts`` is what the items are about, where the data say it. No hash covers it: a checkpoint
    still loads when facts are added.
    """

    dataset: str
    user_ids: list[str]
    item_ids: list[str]
    titles: list[str]
    years: np.ndarray
    genres: list[tuple[str, ...]]
    ages: np.ndarray
    genders: list[str]
    occupations: list[str]
    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    timestamp: np.ndarray
    source_row: np.ndarray
    split: np.ndarray
    fit: np.ndarray
    feedback: str = "ratings"
    given_split: bool = False
    liked_from: float = LIKED_STARS
    domain: str = FILMS
    texts: dict[int, str] = field(default_factory=dict)
    about_items: dict[int, str] = field(default_factory=dict)
    about_users: dict[int, str] = field(default_factory=dict)
    facts: ItemFacts | None = None

    @classmethod
    def from_raw(cls, raw: RawData, dataset: str) -> "Prepared":
        """Index users and items, order the interactions and split them in time."""
        users, items = raw.users, raw.items
        rows = raw.interactions
        rows = rows.iloc[time_order(rows["timestamp"].to_numpy(), rows["source_row"].to_numpy())]
        user_ids, item_ids = users["user"].astype(str).tolist(), items["item"].astype(str).tolist()
        user_of = {u: i for i, u in enumerate(user_ids)}
        item_of = {v: i for i, v in enumerate(item_ids)}
        user = rows["user"].map(user_of).to_numpy(dtype=np.int32)
        texts = rows["text"].tolist() if "text" in rows else [""] * len(rows)
        written = np.array([bool(text) for text in texts])
        given = "split" in rows
        if given:
            split = rows["split"].to_numpy(dtype=np.int8)
            fit = split == TRAIN
            if raw.feedback == "likes" and (rows["rating"] == LIKED).all():
                # without dislikes, a factor model knows every row that it was fitted on
                fit &= ~last_of_each(user, split == TRAIN, np.unique(user[written & fit]))
        else:
            split, fit = time_split(len(rows))
        return cls(
            dataset=dataset,
            user_ids=user_ids,
            item_ids=item_ids,
            titles=items["title"].tolist(),
            years=items["year"].fillna(0).to_numpy(dtype=np.int32),
            genres=[tuple(g) for g in items["genres"]],
            ages=users["age"].fillna(0).to_numpy(dtype=np.int32),
            genders=users["gender"].fillna("").tolist(),
            occupations=users["occupation"].fillna("").tolist(),
            user=user,
            item=rows["item"].map(item_of).to_numpy(dtype=np.int32),
            rating=rows["rating"].to_numpy(dtype=np.float32),
            timestamp=rows["timestamp"].to_numpy(dtype=np.int64),
            source_row=rows["source_row"].to_numpy(dtype=np.int32),
            split=split,
            fit=fit,
            feedback=raw.feedback,
            given_split=given,
            domain=raw.domain,
            texts={int(row): texts[row] for row in np.flatnonzero(written)},
            about_items={item_of[i]: text for i, text in raw.about_items.items()},
            about_users={user_of[u]: text for u, text in raw.about_users.items()},
            facts=raw.facts,
        )

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @cached_property
    def history(self) -> HistoryIndex:
        liked = self.liked if self.feedback == "likes" else None
        return HistoryIndex(self.user, self.timestamp, self.n_users, liked)

    @cached_property
    def liked(self) -> np.ndarray:
        """Which interactions are likes: bool (n,)."""
        return self.likes(self.rating)

    @cached_property
    def positive_only(self) -> bool:
        """Whether the data hold no dislikes, so that likes are trained against sampled items."""
        return self.feedback == "likes" and bool(self.liked.all())

    @property
    def has_ratings(self) -> bool:
        """Whether people gave stars."""
        return self.feedback == "ratings"

    @cached_property
    def stars(self) -> np.ndarray:
        """Ratings that people can give, in stars: one to five, in halves if any rating is not
        whole."""
        halves = self.has_ratings and bool((self.rating % 1 != 0).any())
        return np.arange(1, 11) / 2 if halves else np.arange(1.0, 6.0)

    @cached_property
    def has_genres(self) -> bool:
        """Whether any item has a genre."""
        return any(self.genres)

    def profile(self, user: int) -> str:
        """Age, gender and occupation of a user by index, as one line, whichever are known."""
        parts = (int(self.ages[user]), self.genders[user], self.occupations[user])
        return ", ".join(str(part) for part in parts if part)

    @cached_property
    def has_ages(self) -> bool:
        """Whether any user's age is known."""
        return bool(self.ages.any())

    @cached_property
    def has_occupations(self) -> bool:
        """Whether any user's occupation is known."""
        return any(self.occupations)

    @property
    def has_texts(self) -> bool:
        """Whether people wrote about items."""
        return bool(self.texts)

    @cached_property
    def has_times(self) -> bool:
        """Whether timestamps are moments; sources without dates number their rows instead."""
        return not np.array_equal(self.timestamp, np.arange(len(self.timestamp)))

    @cached_property
    def has_titles(self) -> bool:
        """Whether nearly all items, nine of ten, have a title."""
        return 10 * sum(map(bool, self.titles)) >= 9 * len(self.titles)

    @cached_property
    def written(self) -> np.ndarray:
        """Which interactions have a text: bool (n,)."""
        written = np.zeros(len(self.user), dtype=bool)
        written[list(self.texts)] = True
        return written

    def likes(self, ratings: np.ndarray) -> np.ndarray:
        """Which of some ratings (n,) are likes: bool (n,)."""
        return ratings >= (LIKED if self.feedback == "likes" else self.liked_from)

    @cached_property
    def user_index(self) -> dict[str, int]:
        return {u: i for i, u in enumerate(self.user_ids)}

    @cached_property
    def item_index(self) -> dict[str, int]:
        return {v: i for i, v in enumerate(self.item_ids)}

    @property
    def split_time(self) -> int:
        """The first moment of the validation part, in seconds."""
        return int(self.timestamp[np.argmax(self.split > 0)])

    @cached_property
    def hash(self) -> str:
        """SHA-256 over everything that the data set holds, but for the facts about items."""
        digest = hashlib.sha256(json.dumps([FORMAT, self._text()]).encode())
        for name in (*ARRAYS, "years", "ages"):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return digest.hexdigest()

    @cached_property
    def training_hash(self) -> str:
        """The hash of the data that training may see: all but the test part of a given split."""
        return self.without_test().hash if self.given_split else self.hash

    def without_test(self) -> "Prepared":
        """The same without the test part, its users and its items.

        Sources list users and items by first appearance, so the others keep their indices.
        """
        kept = self.split != TEST
        if kept.all():
            return self
        users, items = self.user[kept].max() + 1, self.item[kept].max() + 1
        return self.restricted(kept, np.arange(users), np.arange(items))

    def restricted(
        self, kept: np.ndarray, users: np.ndarray | None = None, items: np.ndarray | None = None
    ) -> "Prepared":
        """Keep some interactions (``kept``, bool (n,)), and number them, users and items from 0.

        ``users`` and ``items`` are indices to keep, int (m,) in increasing order, and must hold
        those of the kept interactions; by default they are only these. ``split`` and ``fit`` are
        carried over, not made anew.
        """
        users = np.unique(self.user[kept]) if users is None else users
        items = np.unique(self.item[kept]) if items is None else items
        arrays = {name: getattr(self, name)[kept] for name in ARRAYS}
        arrays["user"] = np.searchsorted(users, arrays["user"]).astype(np.int32)
        arrays["item"] = np.searchsorted(items, arrays["item"]).astype(np.int32)
        return replace(
            self,
            user_ids=[self.user_ids[u] for u in users],
            item_ids=[self.item_ids[i] for i in items],
            titles=[self.titles[i] for i in items],
            years=self.years[items],
            genres=[self.genres[i] for i in items],
            ages=self.ages[users],
            genders=[self.genders[u] for u in users],
            occupations=[self.occupations[u] for u in users],
            texts=_renumbered(self.texts, np.flatnonzero(kept)),
            about_items=_renumbered(self.about_items, items),
            about_users=_renumbered(self.about_users, users),
            facts=self.facts and self.facts.of(items),
            **arrays,
        )

    def rows(self, *, split: int) -> np.ndarray:
        """Interaction indices of one part, in time order."""
        return np.flatnonzero(self.split == split)

    def learning_rows(self) -> np.ndarray:
        """Interaction indices that the language model learns from, in time order.

        They are the rows of the training part that are not in ``fit``. If ``fit`` is the whole
        training part, both learn from it, and collaborative signals must come out of fold.
        """
        train = self.split == TRAIN
        unseen = train & ~self.fit
        return np.flatnonzero(unseen if unseen.any() else train)

    @cached_property
    def choosing_users(self) -> np.ndarray:
        """With a given split, half of the validation users: bool (U,). Otherwise all users."""
        if not self.given_split:
            return np.ones(self.n_users, dtype=bool)
        users = np.unique(self.user[self.split == VALID])
        choosing = np.zeros(self.n_users, dtype=bool)
        choosing[users] = choosing_half([self.user_ids[u] for u in users])
        return choosing

    def choosing_rows(self) -> np.ndarray:
        """Validation rows to choose on; with a given split, the other half checks the choice."""
        rows = self.rows(split=VALID)
        return rows[self.choosing_users[self.user[rows]]]

    def _text(self) -> dict[str, object]:
        """Everything but the arrays, as the archive's JSON holds it."""
        names = ["dataset", "user_ids", "item_ids", "titles", "genres", "genders", "occupations"]
        # what has its default value is left out, so that the hashes of older data stay as they are
        if self.feedback != "ratings" or self.given_split:
            names += ["feedback", "given_split"]
        if self.liked_from != LIKED_STARS:
            names.append("liked_from")
        if self.domain != FILMS:
            names.append("domain")
        fields: dict[str, object] = {name: getattr(self, name) for name in names}
        for name in TEXTS:
            if getattr(self, name):
                fields[name] = sorted(getattr(self, name).items())
        return fields

    def save(self, path: Path) -> None:
        """Write the archive to ``path``, whole or not at all."""
        fields = {"format": FORMAT, **self._text()}
        if self.facts is not None:
            fields["facts"] = self.facts.to_json()
        text = np.frombuffer(json.dumps(fields).encode(), np.uint8)
        arrays = {name: getattr(self, name) for name in (*ARRAYS, "years", "ages")}
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, text=text, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Prepared":
        """Read an archive that `save` wrote; UserError if it is missing, damaged or too old."""
        if not Path(path).exists():
            if Path(path).with_suffix(".duckdb").exists():
                raise UserError(
                    f"No prepared data at {path}, though its store is there; run `ckf prepare` to "
                    "make both again. Data that is too large for one training file is imported as "
                    "a store alone: prepare a part of it."
                )
            raise UserError(f"No prepared data at {path}; run `ckf prepare` first.")
        try:
            with np.load(path, allow_pickle=False) as archive:
                text = json.loads(archive["text"].tobytes())
                arrays = {name: archive[name] for name in (*ARRAYS, "years", "ages")}
        except DAMAGE as error:
            raise UserError(
                f"{path} is damaged ({error}); run `ckf prepare` to make it again."
            ) from error
        if text.pop("format") != FORMAT:
            raise UserError(f"{path} has another format; run `ckf prepare` to make it again.")
        text["genres"] = [tuple(g) for g in text["genres"]]
        text |= {name: dict(text[name]) for name in TEXTS if name in text}
        if "facts" in text:
            text["facts"] = ItemFacts.from_json(text["facts"])
        return cls(**text, **arrays)


def _renumbered(texts: dict[int, str], kept: np.ndarray) -> dict[int, str]:
    """Those of the texts whose index is in ``kept``, by the place of the index there."""
    place = {int(index): new for new, index in enumerate(kept)}
    return {place[index]: text for index, text in texts.items() if index in place}
