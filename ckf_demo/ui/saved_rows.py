"""What the page saves, as rows: lists, histories, and selections of items and of people.

`ckf score` reads people and histories again, and the import of ratings reads histories.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from ckf_demo.ui.markup import present
from ckf_demo.ui.pair import Pair, known_of


def ranked_rows(recommender, who: Pair, ranked: Sequence[dict]) -> tuple[str, list[dict]]:
    """A ranked list: a name for its file, and its rows."""
    rows = [
        {
            **{name: row[name] for name in ("rank", "item", "title")},
            "year": _whole(row["year"]),
            **{name: list(row[name]) for name in ("genres", "directors")},
            **{name: row[name] for name in ("score", "collaborative_rank", "later_rating")},
        }
        for row in ranked
    ]
    return f"{recommender.prepared.dataset}-top-{len(rows)}-{_who(who)}", rows


def history_rows(recommender, pair: Pair) -> tuple[str, list[dict]]:
    """What is known of a person, oldest first: a name for its file, and its rows."""
    rows = [
        {
            "item": row["item"],
            "title": row["title"],
            "year": _whole(row["year"]),
            "genres": list(row["genres"]),
            "rating": row["rating"],
            "time": _time(row["timestamp"], has_times=recommender.prepared.has_times),
        }
        for row in known_of(recommender, pair)
    ]
    return f"{recommender.prepared.dataset}-history-{_who(pair)}", rows


def item_rows(recommender, items: Iterable[str]) -> list[dict]:
    """Items of the catalogue with what is known of them."""
    catalogue = recommender.store.items().set_index("item")
    return [
        {
            "item": item,
            "title": catalogue.at[item, "title"],
            "year": _whole(catalogue.at[item, "year"]),
            "genres": list(catalogue.at[item, "genres"]),
            "training_ratings": int(catalogue.at[item, "n_ratings"]),
        }
        for item in items
    ]


def people_rows(recommender, users: Iterable[str]) -> list[dict]:
    """Users with what is known of them, as a file that `ckf score` reads."""
    people = recommender.store.users().set_index("user")
    columns = [name for name in ("age", "gender", "occupation") if name in people]
    return [
        {
            "user": user,
            "ratings_before": int(people.at[user, "n_before"]),
            **{name: _known(people.at[user, name]) for name in columns},
        }
        for user in users
    ]


def _who(pair: Pair) -> str:
    return f"user-{pair.user}" if pair.user else "new-person"


def _whole(value: object) -> int | None:
    return int(value) if present(value) else None  # type: ignore[call-overload]


def _known(value: object) -> object:
    return value.item() if hasattr(value, "item") else value if present(value) else None


def _time(timestamp: object, *, has_times: bool) -> str | None:
    """A moment as ISO text; None for what was entered on the page, and without dates."""
    if not has_times or not present(timestamp):
        return None
    return datetime.fromtimestamp(int(timestamp), UTC).isoformat()  # type: ignore[call-overload]
