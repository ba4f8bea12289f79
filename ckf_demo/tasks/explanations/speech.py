"""How genres, themes and lists are spoken of in explanations."""

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Literal

from ckf_demo.runtime.assets import asset

ThemeKind = Literal["subject", "setting", "tone", "source"]

_SOURCES = ("based on a novel", "based on a play", "true story")
_NOUNS = {
    "Documentary": "documentary",
    "Western": "western",
    "Film-Noir": "film noir",
    "Thriller": "thriller",
    "Comedy": "comedy",
    "Drama": "drama",
    "Mystery": "mystery",
    "Musical": "musical",
    "Romance": "romance",
}
"""Genres that are nouns for a film, the one that names a film of several genres first."""
_ADJECTIVES = {
    "Animation": "animated",
    "Children's": "children's",
    "Romance": "romantic",
    "Sci-Fi": "science fiction",
    "Horror": "horror",
    "War": "war",
    "Crime": "crime",
    "Fantasy": "fantasy",
    "Adventure": "adventure",
    "Action": "action",
    "Musical": "musical",
    "Mystery": "mystery",
    "Comedy": "comedy",
}
"""How genres stand before a noun, the most telling first."""
SUBJECTS = {**_ADJECTIVES, **_NOUNS, "Animation": "animation", "Children's": "children's film"}
"""Genres as something that a film can have in common with another."""
_OTHER_WORDS = {
    "Animation": "animated",
    "Children's": "children's",
    "Film-Noir": "films? noir",
    "Romance": "romantic",
    "Sci-Fi": "science fiction",
}
"""Patterns of other words by which texts name genres."""
_UNKNOWN = ("unknown", "(no genres listed)", "")


def kind_of(labels: Sequence[str], *, plural: bool = False) -> str:
    """What kind of film some genres make: "crime drama", "romantic comedy", "action film".

    At most two of the genres are named.
    """
    labels = [label for label in labels if label.lower() not in _UNKNOWN]
    noun = next((genre for genre in _NOUNS if genre in labels), None)
    before = [genre for genre in _ADJECTIVES if genre in labels and genre != noun]
    before += [g for g in labels if g not in before and g not in _NOUNS and g != noun]
    words = [_ADJECTIVES.get(genre, genre.lower()) for genre in before[: 1 if noun else 2]]
    words.append("film" if noun is None else _NOUNS[noun])
    phrase = " ".join(words)
    return plural_of(phrase) if plural else phrase


def plural_of(phrase: str) -> str:
    """Films of a kind: "crime dramas", "films noir"."""
    if phrase.endswith("film noir"):
        return phrase.removesuffix("film noir") + "films noir"
    if phrase.endswith("y"):
        return phrase[:-1] + "ies"
    return phrase + "s"


def with_article(noun: str) -> str:
    """A noun after "a" or "an"."""
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


@cache
def themes() -> dict[str, tuple[ThemeKind, str]]:
    """Themes that can be spoken of: their kind, and how they are said."""
    spoken = asset("reasons.toml")["spoken"]
    found: dict[str, tuple[ThemeKind, str]] = {}
    for kind in ("subject", "setting", "tone"):
        for name in asset("film_themes.toml")[kind]:
            otherwise = _place(name) if kind == "setting" else name
            words = spoken.get(name, otherwise)
            if words:
                found[name] = ("source" if name in _SOURCES else kind), words
    return found


def _place(name: str) -> str:
    """A place with capitals."""
    return " ".join(word.capitalize() for word in name.split())


def shared_genres(labels: Iterable[str]) -> str:
    """Genres that films have in common, in words: "crime and drama"."""
    return listed([SUBJECTS.get(label, label.lower()) for label in labels])


@lru_cache(maxsize=256)
def genre_pattern(genres: tuple[str, ...]) -> re.Pattern[str]:
    """Genre words in capitals as in the data or not, in singular or plural."""
    plurals = {genre: re.escape(genre) for genre in genres}
    plurals |= {
        genre: f"{re.escape(genre[:-1])}(?:y|ies)" for genre in genres if genre.endswith("y")
    }
    plurals |= {
        genre: f"{plurals[genre]}|{spoken}"
        for genre, spoken in _OTHER_WORDS.items()
        if genre in plurals
    }
    words = sorted(plurals.values(), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})s?(?!\w)", re.I)
