"""The pair that the whole app is about: who, what, at which moment and by which method; its slim
bar, and its form in the address, so that a view can be sent to somebody else."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.markup import date_text, directed_text, escape, film_text, present

# Bounds of history length, in ratings, with the name the screen gives to each group.
GROUPS = {"0": (0, 0), "1–3": (1, 3), "4–10": (4, 10), "more than 10": (11, math.inf)}
# What an address may hold; the sidebar asks for no more.
LONGEST_ID = 64
LONGEST_TASTE = 300
MOST_PICKS = 1000
OLDEST = 120
STARS = frozenset(f"{halves / 2:g}" for halves in range(1, 11))
# Seconds since 1970 at the ends of the years 1 and 9999, beyond which no date can be written.
FIRST_MOMENT, LAST_MOMENT = -62_135_596_800, 253_402_300_799


def group_of(ratings: int) -> str:
    """The history-length group of a person with that many ratings: "0", "1–3", …"""
    return next(name for name, (low, high) in GROUPS.items() if low <= ratings <= high)


@dataclass(frozen=True)
class Pair:
    """Who × what × when, and by which method (None for the checkpoint's own).

    ``user`` and the fields of a new person exclude each other in the app.
    """

    item: str
    user: str | None = None
    history: tuple[tuple[str, float], ...] = ()
    taste: str = ""
    age: int | None = None
    occupation: str = ""
    at: int | None = None
    method: str | None = None
    strength: float | None = None

    @property
    def person(self) -> dict:
        """The keyword arguments that describe the person to the recommender."""
        profile = {"age": self.age, "occupation": self.occupation}
        return {
            "user": self.user,
            "history": [_entry(item, rating) for item, rating in self.history] or None,
            "taste": self.taste or None,
            "profile": {name: value for name, value in profile.items() if value} or None,
            "at": self.at,
            "strength": self.strength,
        }

    @property
    def described(self) -> bool:
        """Whether anything says who the person is."""
        return any((self.user, self.history, self.taste, self.age, self.occupation))

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
            "strength": None if self.strength is None else f"{self.strength:g}",
            "age": self.age,
            "occupation": self.occupation,
            "item": self.item,
            "at": self.at,
            "method": self.method,
        }
        return urlencode({name: value for name, value in fields.items() if value not in (None, "")})


def _entry(item: str, rating: float) -> dict:
    """One entry of a history. Half a star can only have been imported."""
    entry = {"item": item, "rating": rating}
    return entry if rating >= 1 else entry | {"imported": True}


def known_user(
    store, user: str, item: str, at: int | None = None, method: str | None = None
) -> Pair:
    """The pair of a user of the data set, at their default moment unless another is given."""
    at = store.default_at(user) if at is None else at
    return Pair(item=str(item), user=str(user), at=at, method=method)


def from_query(
    store,
    params: Mapping[str, str],
    fallback: Pair,
    methods: Sequence[str] = (),
    things: str = "films",
) -> Pair:
    """Read the pair out of an address; what is missing comes from ``fallback``.

    The address may name one of ``methods``, the checkpoint's own first. Messages call the items
    ``things``.

    Raises
    ------
    UserError
        For unknown ids and names, for numbers that cannot be read or lie out of range, and for more
        text or items than the page itself would send.
    """
    item = _identifier(params.get("item", ""), "item") or fallback.item
    store.item(item)
    method = _one_of(params, "method", methods, f"this checkpoint has {', '.join(methods)}")
    method = None if method in ("", *methods[:1]) else method
    user = _identifier(params.get("user", ""), "user")
    if user:
        store.user(user)
        at = _whole(params, "at", FIRST_MOMENT, LAST_MOMENT)
        return known_user(store, user, item, at, method)
    taste, occupations = params.get("taste", ""), store.occupations()
    history = _rated(store, params.get("rated", ""), things)
    if len(taste) > LONGEST_TASTE:
        raise UserError(
            f"the taste in the address is {len(taste)} characters long; "
            f"shorten it to {LONGEST_TASTE}"
        )
    mend = "remove it, the data have none"
    if occupations:
        mend = f"choose one of {', '.join(occupations)}"
    person = Pair(
        item=item,
        history=history,
        taste=taste.strip(),
        age=_whole(params, "age", 1, OLDEST),
        occupation=_one_of(params, "occupation", occupations, mend),
        method=method,
        strength=_share(params, "strength"),
    )
    if person.described:
        return person
    return replace(fallback.with_item(item), method=method or fallback.method)


def _identifier(text: str, name: str) -> str:
    if len(text) > LONGEST_ID:
        raise UserError(f"{name}={_short(text)} in the address is too long to be an id; mend it")
    return text


def _one_of(params: Mapping[str, str], name: str, names: Sequence[str], mend: str) -> str:
    value = params.get(name, "")
    if value and value not in names:
        raise UserError(f"{name}={_short(value)} in the address is unknown; {mend}")
    return value


def _whole(params: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    text = params.get(name)
    if not text:
        return None
    # Twelve digits hold every moment that is in range; longer ones are not worth converting.
    if not re.fullmatch(r"-?[0-9]{1,12}", text):
        raise UserError(
            f"{name}={_short(text)} in the address is not a whole number; mend or remove it"
        )
    if not low <= int(text) <= high:
        raise UserError(f"{name}={text} in the address is not within {low} to {high}; mend it")
    return int(text)


def _share(params: Mapping[str, str], name: str) -> float | None:
    text = params.get(name)
    if not text:
        return None
    if not re.fullmatch(r"0|1|[01]?\.[0-9]{1,4}", text) or float(text) > 1:
        raise UserError(f"{name}={_short(text)} in the address is not within 0 to 1; mend it")
    return float(text)


def _rated(store, text: str, things: str) -> tuple[tuple[str, float], ...]:
    entries = [entry for entry in text.split(",") if entry]
    if len(entries) > MOST_PICKS:
        raise UserError(
            f"{len(entries)} rated {things} in the address are too many; keep at most {MOST_PICKS}"
        )
    rated: dict[str, float] = {}
    for entry in entries:
        item, _, stars = entry.partition(":")
        if stars not in STARS:
            raise UserError(
                f"rated={_short(entry)} in the address has no rating of 1 to 5, or of half stars "
                "from 0.5; write it as ITEM:RATING"
            )
        store.item(_identifier(item, "rated"))
        rated[item] = float(stars)
    return tuple(rated.items())


def _short(text: str) -> str:
    """``text`` in quotation marks, cut where it is too long for a message."""
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def history_of(store, pair: Pair) -> list[dict]:
    """What is known of the person at the moment, oldest first: item, title, year, genres, rating,
    and timestamp (None for ratings that were entered here)."""
    rows = store.history(pair.user, pair.at).to_dict("records") if pair.user else []
    return rows + [
        {**store.item(item), "rating": rating, "timestamp": None} for item, rating in pair.history
    ]


def known_of(recommender, pair: Pair) -> list[dict]:
    """`history_of` as the answers know it: only likes where the data hold only likes."""
    # what was entered here has stars, and the store holds only likes
    liked_from = recommender.prepared.liked_from if recommender.prepared.positive_only else 0
    return [
        row
        for row in history_of(recommender.store, pair)
        if row["timestamp"] is not None or row["rating"] >= liked_from
    ]


def opinions(recommender) -> str:
    """What a history is made of: "ratings", or "likes" where the data hold only likes."""
    return "likes" if recommender.prepared.positive_only else "ratings"


def later_rating(store, pair: Pair) -> tuple[float, int] | None:
    """The rating the user gave to the film at or after the moment, with its time; or None."""
    if not pair.user:
        return None
    later = store.later(pair.user, pair.at)
    ratings = later.loc[later["item"] == pair.item, ["rating", "timestamp"]].to_numpy()
    return (float(ratings[0, 0]), int(ratings[0, 1])) if len(ratings) else None


def top_genres(history: list[dict], liked_from: float) -> list[str]:
    """The three most frequent genres of liked items."""
    liked = [row for row in history if row["rating"] >= liked_from]
    counts = Counter(genre for row in liked for genre in row["genres"])
    return [genre for genre, _ in counts.most_common(3)]


def likes_of(history: list[dict], liked_from: float) -> str:
    """ "likes Drama, Comedy" by what was liked; empty where nothing was."""
    genres = top_genres(history, liked_from)
    return f"likes {', '.join(genres)}" if genres else ""


def rated_before(history: list[dict], item: str) -> float | None:
    """What the person gave an item before the moment; None if they did not rate it."""
    return next((row["rating"] for row in reversed(history) if row["item"] == item), None)


def counted(number: int, what: str) -> str:
    """ "1 rating", "3 ratings"; ``what`` as in `opinions`."""
    return f"{number} {what.removesuffix('s') if number == 1 else what}"


def number_note(item: Mapping, recommender) -> str:
    """The id of an item where titles are few, since several items may share one; or nothing."""
    titled = recommender.prepared.has_titles or not item["title"]
    return "" if titled else f"No. {item['item']}"


def profile_of(recommender, pair: Pair) -> str:
    """Age and occupation of the pair's person as far as they are known, or nothing."""
    age: object = pair.age
    occupation: object = pair.occupation
    if pair.user:
        user = recommender.store.user(pair.user)
        age, occupation = user.get("age"), user.get("occupation")
    parts = [f"age {int(age)}"] if present(age) and int(age) else []
    return ", ".join(parts + ([str(occupation)] if present(occupation) else []))


def bar(recommender, pair: Pair) -> str:
    """The slim bar: who × what, and the moment with what it means (HTML).

    It carries the pair's query, from which the page makes a link.
    """
    store, what = recommender.store, opinions(recommender)
    history, film = known_of(recommender, pair), store.item(pair.item)
    warmth = "warm" if len(history) > 10 else "cold start"
    name, moment = "New person", "Now. Only what you entered is known."
    if pair.user:
        name = f"User {pair.user}"
        when = "The data have an order and no dates"
        if recommender.prepared.has_times:
            default = " (default)" if pair.at == store.default_at(pair.user) else ""
            when = f"{date_text(pair.at)}{default}"
        moment = f"{when}. Only earlier {what} are known; later ones serve to compare."
    facts = [
        counted(len(history), what),
        warmth if history else f"no {what} yet",
        profile_of(recommender, pair),
        likes_of(history, recommender.prepared.liked_from),
        f"“{pair.taste}”" if pair.taste else "",
        f"words count {pair.strength:.0%}" if pair.taste and pair.strength is not None else "",
    ]
    about = ", ".join(film["genres"]) or number_note(film, recommender)
    about = " · ".join(filter(None, (about, directed_text(film["directors"]))))
    described = escape(film["description"])
    if described:
        described = f'<span class="ckf-facts ckf-described">{described}</span>'
    method = ""
    if pair.method:
        method = f"<strong>Answered by: {escape(recommender.labels[pair.method])}</strong>"
    return (
        f'<div class="ckf-pair" data-query="{escape(pair.query())}">'
        f'<div class="ckf-who"><span class="ckf-over">Who</span><strong>{escape(name)}</strong>'
        f'<span class="ckf-facts">{escape(" · ".join(filter(None, facts)))}</span></div>'
        '<div class="ckf-times" aria-hidden="true">×</div>'
        f'<div class="ckf-what"><span class="ckf-over">'
        f"{recommender.domain.thing.capitalize()}</span>"
        f"<strong>{escape(film_text(film))}</strong>"
        f'<span class="ckf-facts">{escape(about)}</span>{described}</div>'
        f'<div class="ckf-when"><span class="ckf-over">Moment</span>{escape(moment)}{method}'
        '<span class="ckf-share"><button type="button" class="ckf-button" data-copy-link>Copy link'
        '</button> <span class="ckf-said" role="status"></span></span></div>'
        "</div>"
    )
