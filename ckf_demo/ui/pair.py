"""The pair that the whole app is about: who, what, and at which moment; its slim bar, and its form
in the address, so that a view can be sent to somebody else."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from ckf_demo.errors import UserError
from ckf_demo.ui.markup import date_text, escape, film_text, present

# Bounds of history length, in ratings, with the name the screen gives to each group.
GROUPS = {
    "0": (0, 0),
    "1–3": (1, 3),
    "4–10": (4, 10),
    "more than 10": (11, math.inf),
}
LIKED = 4.0


def group_of(ratings: int) -> str:
    """The history-length group of a person with that many ratings: "0", "1–3", …"""
    return next(name for name, (low, high) in GROUPS.items() if low <= ratings <= high)


@dataclass(frozen=True)
class Pair:
    """Who × what × when. ``user`` and the fields of a new person exclude each other in the app."""

    item: str
    user: str | None = None
    history: tuple[tuple[str, float], ...] = ()
    taste: str = ""
    age: int | None = None
    occupation: str = ""
    at: int | None = None

    @property
    def person(self) -> dict:
        """The keyword arguments that describe the person to the recommender."""
        profile = {"age": self.age, "occupation": self.occupation}
        return {
            "user": self.user,
            "history": [{"item": item, "rating": rating} for item, rating in self.history] or None,
            "taste": self.taste or None,
            "profile": {name: value for name, value in profile.items() if value} or None,
            "at": self.at,
        }

    @property
    def who(self) -> "Pair":
        """The same person without a film: what a ranking or a map depends on."""
        return replace(self, item="")

    def with_item(self, item: str) -> "Pair":
        """The same person with another film."""
        return replace(self, item=str(item))

    def query(self) -> str:
        """The pair as the query part of the address."""
        fields = {
            "user": self.user,
            "rated": ",".join(f"{item}:{rating:g}" for item, rating in self.history),
            "taste": self.taste,
            "age": self.age,
            "occupation": self.occupation,
            "item": self.item,
            "at": self.at,
        }
        return urlencode({name: value for name, value in fields.items() if value})


def known_user(store, user: str, item: str, at: int | None = None) -> Pair:
    """The pair of a user of the data set, at their default moment unless another is given."""
    return Pair(item=str(item), user=str(user), at=store.default_at(user) if at is None else at)


def from_query(store, params: Mapping[str, str], fallback: Pair) -> Pair:
    """Read the pair out of an address; what is missing comes from ``fallback``.

    Raises ``UserError`` for unknown ids and for numbers that cannot be read.
    """
    item = params.get("item") or fallback.item
    store.item(item)
    if params.get("user"):
        store.user(params["user"])
        return known_user(store, params["user"], item, _whole(params, "at"))
    person = Pair(
        item=item,
        history=_rated(store, params.get("rated", "")),
        taste=params.get("taste", ""),
        age=_whole(params, "age"),
        occupation=params.get("occupation", ""),
    )
    return person if any(person.person.values()) else fallback.with_item(item)


def _whole(params: Mapping[str, str], name: str) -> int | None:
    text = params.get(name)
    if not text:
        return None
    if not text.isdigit():
        raise UserError(f"{name}={text!r} in the address is not a whole number; mend or remove it")
    return int(text)


def _rated(store, text: str) -> tuple[tuple[str, float], ...]:
    rated = []
    for entry in filter(None, text.split(",")):
        item, _, stars = entry.partition(":")
        if stars not in ("1", "2", "3", "4", "5"):
            raise UserError(
                f"rated={entry!r} in the address has no rating of 1 to 5; write it as ITEM:RATING"
            )
        store.item(item)
        rated.append((item, float(stars)))
    return tuple(rated)


def history_of(store, pair: Pair) -> list[dict]:
    """What is known of the person at the moment, oldest first: item, title, year, genres, rating,
    and timestamp (None for ratings that were entered here)."""
    rows = store.history(pair.user, pair.at).to_dict("records") if pair.user else []
    return rows + [
        {**store.item(item), "rating": rating, "timestamp": None} for item, rating in pair.history
    ]


def later_rating(store, pair: Pair) -> tuple[float, int] | None:
    """The rating the user gave to the film at or after the moment, with its time; or None."""
    if not pair.user:
        return None
    later = store.later(pair.user, pair.at)
    found = later[later["item"] == pair.item]
    if found.empty:
        return None
    return float(found["rating"].iloc[0]), int(found["timestamp"].iloc[0])


def top_genres(history: list[dict], limit: int = 3) -> list[str]:
    """The genres met most often among liked films, or among all where none was liked."""
    liked = [row for row in history if row["rating"] >= LIKED] or history
    counts = Counter(genre for row in liked for genre in row["genres"])
    return [genre for genre, _ in counts.most_common(limit)]


def warmth(ratings: int) -> str:
    """How much is known of the person, in words."""
    if ratings == 0:
        return "no ratings yet"
    return "warm" if ratings > 10 else "cold start"


def profile_text(age: object, occupation: object) -> str:
    """Age and occupation as far as they are known, or nothing."""
    parts = [f"age {int(age)}"] if present(age) and int(age) else []
    return ", ".join(parts + ([str(occupation)] if present(occupation) else []))


def bar(store, pair: Pair) -> str:
    """The slim bar: who × what, and the moment with what it means (HTML)."""
    history = history_of(store, pair)
    film = store.item(pair.item)
    if pair.user:
        user = store.user(pair.user)
        name = f"User {pair.user}"
        profile = profile_text(user.get("age"), user.get("occupation"))
        moment = (
            f"{date_text(pair.at)}. Only earlier ratings are known; later ones serve to compare."
        )
    else:
        name = "New person"
        profile = profile_text(pair.age, pair.occupation)
        moment = "Now. Only what you entered is known."
    number = len(history)
    count = f"{number} rating" if number == 1 else f"{number} ratings"
    facts = [count, warmth(number), profile, ", ".join(top_genres(history))]
    if pair.taste:
        facts.append(f"“{pair.taste}”")
    genres = ", ".join(film["genres"])
    return (
        '<div class="ckf-pair">'
        f'<div class="ckf-who"><span class="ckf-over">Who</span><strong>{escape(name)}</strong>'
        f'<span class="ckf-facts">{escape(" · ".join(filter(None, facts)))}</span></div>'
        '<div class="ckf-times" aria-hidden="true">×</div>'
        f'<div class="ckf-what"><span class="ckf-over">Film</span>'
        f"<strong>{escape(film_text(film))}</strong>"
        f'<span class="ckf-facts">{escape(genres)}</span></div>'
        f'<div class="ckf-when"><span class="ckf-over">Moment</span>{escape(moment)}</div>'
        "</div>"
    )
