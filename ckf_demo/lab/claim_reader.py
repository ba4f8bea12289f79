"""Measures the reader of explanations (`ckf_demo.tasks.explanations.claims`) itself.

`python -m ckf_demo.lab.claim_reader` tells how many true texts it passes, and how many planted
falsehoods it catches.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from ckf_demo.collaborative.co_liked_items import CoLikedItems as FittedPairs
from ckf_demo.data.prepared import Prepared
from ckf_demo.runtime.paths import prepared_path
from ckf_demo.tasks.explanations.claims import MARK, check
from ckf_demo.tasks.explanations.facts import GENRES, CoLikedItems, Film
from ckf_demo.tasks.explanations.speech import genre_pattern
from ckf_demo.tasks.explanations.wording import Explanation, compose

# --- planted falsehoods --------------------------------------------------------------------------

Plant = Literal["film", "genre", "decade", "rating", "fans", "invented"]
"""Another film than the one meant, a genre not shared, a wrong decade, a wrong rating, fans that
are not common, and a film that does not exist."""
PLANTS: tuple[Plant, ...] = ("film", "genre", "decade", "rating", "fans", "invented")

_INVENTED = (
    ("The", "A", "My", "Last", "Beyond the", "Return to"),
    ("Silver", "Crimson", "Hollow", "Winter", "Quiet", "Paper", "Broken", "Distant", "Golden"),
    (
        "Harbor",
        "Lantern",
        "Orchard",
        "Station",
        "Meridian",
        "Sparrow",
        "Cathedral",
        "Engine",
        "Reef",
    ),
)
_FALSE_FANS = (
    "Fans of {} tend to like it too.",
    "The same people like {}.",
    "It is liked by the same people as {}.",
    "People who liked {} enjoy it as well.",
)


def plant(
    explanation: Explanation,
    kind: Plant,
    history: Sequence[tuple[Film, float]],
    candidate: Film,
    liked_together: CoLikedItems,
    catalogue: Sequence[Film],
    rng: random.Random,
) -> str | None:
    """The text with one falsehood of that kind; None where the text offers no place for it.

    `catalogue` holds the films to take false titles from; the other arguments are those with which
    the explanation was composed.
    """
    text = explanation.text
    named = [film for film in explanation.evidence if film.title in text]
    if not named:
        return None
    film = rng.choice(named)
    if kind in ("film", "invented"):
        known = {other.title for other, _ in history} | {candidate.title}
        if kind == "film":
            title = rng.choice([other.title for other in catalogue if other.title not in known])
        else:
            title = " ".join(rng.choice(words) for words in _INVENTED)
        return _swap(text, film.title, title, [candidate.title, *(f.title for f in named)])
    if kind == "fans":
        strangers = [f for f in named if not liked_together(f.item, candidate.item)]
        if not strangers:
            return None
        return f"{text} {rng.choice(_FALSE_FANS).format(rng.choice(strangers).title)}"
    titles = sorted({candidate.title, *(f.title for f in named)}, key=len, reverse=True)
    masked = text
    for place, title in enumerate(titles):
        masked = masked.replace(title, f"⟦{place}⟧")
    masked = _plant_word(masked, kind, candidate, rng)
    if masked is None:
        return None
    return MARK.sub(lambda found: titles[int(found[1])], masked)


def another_genre(text: str, candidate: Film, rng: random.Random) -> str | None:
    """The text with another genre in the place of one that it names."""
    return _plant_word(text, "genre", candidate, rng)


def _swap(text: str, old: str, new: str, others: Iterable[str]) -> str:
    """Replaces a title, but not where it is only a part of another title in the text."""
    longer = sorted({t for t in others if old in t and t != old}, key=len, reverse=True)
    pattern = "|".join(re.escape(title) for title in [*longer, old])
    return re.sub(pattern, lambda found: new if found[0] == old else found[0], text)


def _plant_word(masked: str, kind: Plant, candidate: Film, rng: random.Random) -> str | None:
    patterns = {
        "genre": genre_pattern(GENRES).pattern,
        "decade": r"\b(?:18|19|20)\d0s\b",
        "rating": r"(?<![\w⟦.])[1-5](?![\w⟧.]\d?)",
    }
    found = list(re.finditer(patterns[kind], masked, re.I))
    if not found:
        return None
    place = rng.choice(found)
    if kind == "genre":
        new = rng.choice([genre for genre in GENRES if genre not in candidate.labels])
    elif kind == "decade":
        new = f"{int(place[0][:4]) + rng.choice((-30, -20, -10, 10))}s"
    else:
        new = rng.choice([digit for digit in "12345" if digit != place[0]])
    return masked[: place.start()] + new + masked[place.end() :]


# --- measuring the reader ------------------------------------------------------------------------


def measure(prepared: Prepared, rows: int, seed: int = 0) -> dict[str, tuple[int, int]]:
    """Passes over true texts and catches of planted ones, each as (how many, of how many).

    Args:
        prepared: the data; texts are composed for rows behind its collaborative part.
        rows: how many texts to compose; each is planted with every kind that it offers a place for.
        seed: decides rows, lengths of histories and wordings.
    """
    rng = random.Random(seed)
    catalogue = [
        Film(item, title, int(year) or None, tuple(genres))
        for item, title, year, genres in zip(
            prepared.item_ids, prepared.titles, prepared.years, prepared.genres, strict=True
        )
    ]
    titles = tuple(prepared.titles)
    train = prepared.split == 0
    pairs = FittedPairs.fit(
        prepared.user[train], prepared.item[train], prepared.rating[train], len(catalogue)
    )
    index = {item: place for place, item in enumerate(prepared.item_ids)}

    def liked_together(a: str, b: str) -> bool:
        return pairs(index[a], index[b])

    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    later = np.flatnonzero(~prepared.fit)
    for row in rng.choices(later.tolist(), k=rows):
        before = prepared.history.before(row, rng.choice((1, 3, 10, 20, 32)))
        history = [(catalogue[prepared.item[r]], float(prepared.rating[r])) for r in before]
        candidate, given = catalogue[prepared.item[row]], float(prepared.rating[row])
        made = compose(history, candidate, given, liked_together, rng)

        def passes(
            text: str, history: Sequence[tuple[Film, float]], candidate: Film, given: float
        ) -> bool:
            report = check(text, history, candidate, given, liked_together, titles)
            return report.ok_films and report.ok_ties

        report = check(made.text, history, candidate, given, liked_together, titles)
        counts["true texts passed"][0] += report.ok_films and report.ok_ties
        counts["true texts passed"][1] += 1
        counts["tone agrees with the rating"][0] += report.polarity == made.polarity
        counts["tone agrees with the rating"][1] += 1
        for kind in PLANTS:
            text = plant(made, kind, history, candidate, liked_together, catalogue, rng)
            if text is not None:
                caught = not passes(text, history, candidate, given)
                for name in (f"planted {kind} caught", "planted falsehoods caught"):
                    counts[name][0] += caught
                    counts[name][1] += 1
    return {name: (good, n) for name, (good, n) in counts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the reader of explanations itself.")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--rows", type=int, default=2000)
    options = parser.parse_args()
    prepared = Prepared.load(prepared_path(options.dataset))
    for name, (good, n) in measure(prepared, options.rows).items():
        print(f"{name:32} {good:6} of {n:6}  {good / n:7.2%}")


if __name__ == "__main__":
    main()
