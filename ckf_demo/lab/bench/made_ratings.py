"""Made-up ratings in the shape of MovieLens-25M, written in pieces as it is distributed.

As there: 162,541 users, 62,423 films and 25 million ratings; each user has at least 20, their
numbers follow a log-normal (median about 70, mean about 154, cut at 32,202); films are drawn by a
power of their rank; ratings are half stars; a user rates for some weeks, between 1995 and 2019.
Rows are ordered by user and film, as in the original file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

ROWS, USERS, FILMS = 25_000_095, 162_541, 62_423
FEWEST, MOST = 20, 32_202
MEDIAN_ABOVE, SPREAD = 51.0, 1.39
"""Of the log-normal that is added to `FEWEST`."""
POWER, SHIFT = 1.55, 60.0
"""A film of rank r is drawn in proportion to (r + SHIFT) ** -POWER."""
STARS = np.arange(0.5, 5.01, 0.5)
SHARES = (0.016, 0.031, 0.016, 0.066, 0.050, 0.196, 0.127, 0.266, 0.088, 0.144)
FIRST, LAST, STAY = 789_652_009, 1_574_327_703, 40 * 86_400.0
"""Seconds since 1970, and how long a user rates on average."""
GENRES = ("Action", "Comedy", "Crime", "Documentary", "Drama", "Horror", "Romance", "Thriller")
BLOCK = 2_000


def write_ratings(folder: Path, rows: int = ROWS, seed: int = 0) -> int:
    """Write both files for about ``rows`` ratings, the rest in proportion; returns how many.

    No more than `BLOCK` users are in memory at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    share = rows / ROWS
    n_users, n_films = max(1, round(USERS * share)), max(2 * FEWEST, round(FILMS * share**0.5))
    _films(n_films, rng).to_csv(folder / "movies.csv", index=False)
    likely = (np.arange(n_films) + SHIFT) ** -POWER
    edges = np.cumsum(likely / likely.sum())
    film_of = rng.permutation(n_films) + 1
    sizes = FEWEST + rng.lognormal(np.log(MEDIAN_ABOVE), SPREAD, n_users)
    sizes = np.minimum(sizes * (rows / sizes.sum()), min(MOST, n_films // 2)).astype(int)
    missing = max(0, rows - sizes.sum())
    sizes += np.bincount(rng.integers(n_users, size=missing), minlength=n_users)
    joined = rng.uniform(FIRST, LAST - STAY, n_users)
    written = 0
    with (folder / "ratings.csv").open("w") as file:
        file.write("userId,movieId,rating,timestamp\n")
        for start in range(0, n_users, BLOCK):
            own = sizes[start : start + BLOCK]
            user = np.repeat(np.arange(start, start + len(own)), own + own // 2 + FEWEST)
            film = film_of[np.searchsorted(edges, rng.random(len(user))).clip(max=n_films - 1)]
            table = pd.DataFrame({"userId": user + 1, "movieId": film})
            table = table.drop_duplicates()
            # more were drawn than are kept, since some films are drawn twice
            place = table.groupby("userId").cumcount().to_numpy()
            table = table[place < sizes[table["userId"].to_numpy() - 1]]
            table = pd.concat([table, *_more(table, sizes, n_films, rng)])
            table = table.sort_values(["userId", "movieId"])
            users = table["userId"].to_numpy() - 1
            table["rating"] = rng.choice(STARS, len(table), p=np.array(SHARES) / sum(SHARES))
            moments = joined[users] + rng.exponential(STAY, len(table))
            table["timestamp"] = moments.clip(max=LAST).astype(np.int64)
            table.to_csv(file, header=False, index=False)
            written += len(table)
    return written


def _more(
    table: pd.DataFrame, sizes: np.ndarray, n_films: int, rng: np.random.Generator
) -> Iterator[pd.DataFrame]:
    """Any other films for those users for whom too many were drawn twice: the most active."""
    drawn = table.groupby("userId").size()
    lacking = sizes[drawn.index - 1] - drawn
    for user, films in table[table["userId"].isin(lacking.index[lacking > 0])].groupby("userId"):
        others = np.setdiff1d(np.arange(1, n_films + 1), films["movieId"], assume_unique=True)
        chosen = rng.choice(others, min(lacking[user], len(others)), replace=False)
        yield pd.DataFrame({"userId": user, "movieId": chosen})


def _films(n: int, rng: np.random.Generator) -> pd.DataFrame:
    years = rng.integers(1930, 2020, n)
    genres = [
        "|".join(sorted(rng.choice(GENRES, rng.integers(1, 4), replace=False))) for _ in range(n)
    ]
    return pd.DataFrame(
        {
            "movieId": np.arange(1, n + 1),
            "title": [f"Film {i}, The ({year})" for i, year in enumerate(years, start=1)],
            "genres": genres,
        }
    )
