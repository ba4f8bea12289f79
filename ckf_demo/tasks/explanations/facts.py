"""What may be said about why a film suits somebody, and how it is said.

MovieLens has no reviews, so the texts that the explanation adapter learns from are composed here,
from facts that code has checked. Three steps, each of them usable alone:

1. `gather` chooses at most two films of the history and what ties them to the candidate (`Facts`);
   it is deterministic, so the model can learn which films are chosen.
2. `Facts.line` writes those facts compactly. The line stands in the prompt, in training as in
   serving, so that the model puts verified facts into words and has nothing to remember.
3. `word` puts exactly those facts into one to three sentences, in one of many wordings.

Everything in a text can be derived from the fact line and the candidate's own title, year and
genres. This module knows nothing of prompts, tokens or models.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Polarity = Literal["positive", "mixed", "negative"]
CoLikedItems = Callable[[str, str], bool]

POSITIVE_FROM = 3.75
"""Ratings from here on call for a positive text."""
MIXED_FROM = 2.75
"""Ratings from here up to `POSITIVE_FROM` call for a mixed text, lower ones for a negative text."""
LIKED_FROM = 4.0
"""A film of the history counts as liked from this rating on (the same line as the CTR label)."""
LOW_UP_TO = 2.5
"""A film of the history counts as disliked up to this rating."""
TITLES_UP_TO = 48
"""Two films of the history are named only where all titles have no more characters than this."""

VERDICTS: dict[Polarity, str] = {"positive": "good", "mixed": "mixed", "negative": "poor"}

GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War",
    "Western",
)  # fmt: skip
"""MovieLens' genre labels, for reading a taste line and for naming genres in the checker."""

_NO_GENRE = ("unknown", "(no genres listed)")


@dataclass(frozen=True)
class Film:
    """A film as the prompt shows it: the title without its year, None for an unknown year."""

    item: str
    title: str
    year: int | None
    genres: tuple[str, ...]

    @property
    def decade(self) -> int | None:
        """First year of the decade, 1990 for 1995; None when the year is unknown."""
        return None if not self.year else self.year - self.year % 10

    @property
    def labels(self) -> tuple[str, ...]:
        """The genres that say something: without the data's placeholder for "unknown"."""
        return tuple(g for g in self.genres if g and g.lower() not in _NO_GENRE)


@dataclass(frozen=True)
class Tie:
    """What joins one film of the history to the candidate.

    `genres` are shared, `decade` is the decade of both, `fans` says that the same people like both,
    `different` that the two have no genre in common. None of them set: nothing can be said.
    """

    film: Film
    rating: float
    genres: tuple[str, ...] = ()
    decade: int | None = None
    fans: bool = False
    different: bool = False

    @property
    def kind(self) -> str:
        """Which wordings apply: letters of g(enre), f(ans), d(ecade); x: different; n: nothing."""
        if self.different:
            return "x"
        letters = [("g", bool(self.genres)), ("f", self.fans), ("d", self.decade is not None)]
        return "".join(letter for letter, there in letters if there) or "n"

    @property
    def liked(self) -> bool:
        return self.rating >= LIKED_FROM

    @property
    def note(self) -> str:
        """The tie in the fact line: `Fargo (you 5; Crime, Drama; same fans)`."""
        parts = [f"you {number(self.rating)}"]
        if self.genres:
            parts.append(", ".join(self.genres))
        if self.fans:
            parts.append("same fans")
        if self.decade is not None:
            parts.append(f"{self.decade}s")
        if self.different:
            parts.append("no shared genre")
        return f"{self.film.title} ({'; '.join(parts)})"


@dataclass(frozen=True)
class Wish:
    """What the taste line says of a genre: wanted and there, avoided but there, or missing."""

    kind: Literal["wanted", "avoided", "missing"]
    genre: str

    @property
    def note(self) -> str:
        verb = {"wanted": "asked for", "avoided": "avoids", "missing": "misses"}[self.kind]
        return f"{verb} {self.genre}"


@dataclass(frozen=True)
class Facts:
    """Everything that one explanation may say beside the candidate's own title, year and genres."""

    candidate: Film
    polarity: Polarity
    ties: tuple[Tie, ...] = ()
    wish: Wish | None = None

    @cached_property
    def line(self) -> str:
        """The facts in about 15 to 40 tokens, as they stand in the prompt."""
        notes = [tie.note for tie in self.ties]
        if not notes:
            notes = ["none"]
        if self.wish is not None:
            notes.append(self.wish.note)
        return f"Ties: {' | '.join(notes)}. Verdict: {VERDICTS[self.polarity]}."

    @property
    def evidence(self) -> list[Film]:
        return [tie.film for tie in self.ties]


@dataclass(frozen=True)
class Explanation:
    """A composed text with the films it leans on and the ties it states."""

    text: str
    evidence: list[Film]
    polarity: Polarity
    ties: tuple[Tie, ...]


def polarity_for(rating: float) -> Polarity:
    """The tone that a rating on the scale 1–5 calls for."""
    if rating >= POSITIVE_FROM:
        return "positive"
    return "mixed" if rating >= MIXED_FROM else "negative"


def number(rating: float) -> str:
    """A rating as it is written: "5", "4.5"."""
    return f"{rating:g}"


def compose(
    history: Sequence[tuple[Film, float]],
    candidate: Film,
    rating: float,
    liked_together: CoLikedItems,
    rng: random.Random,
    taste: str | None = None,
) -> Explanation:
    """One explanation of why `candidate` does or does not suit the person, true by the data.

    Args:
        history: the films that the prompt shows with the person's ratings (1–5), oldest first;
            may be empty.
        candidate: the film that is explained.
        rating: the rating (1–5) whose polarity the text takes: the true one in training, else
            the predicted one.
        liked_together: whether the same people like two items, by their ids.
        rng: chooses the wording, never the facts.
        taste: the person's taste line, if there is one.
    """
    return word(gather(history, candidate, rating, liked_together, taste), rng)


def fact_line(
    history: Sequence[tuple[Film, float]],
    candidate: Film,
    rating: float,
    liked_together: CoLikedItems,
    taste: str | None = None,
) -> tuple[str, list[Film]]:
    """The line of facts for the prompt, and the films it names. Arguments as for `compose`."""
    facts = gather(history, candidate, rating, liked_together, taste)
    return facts.line, facts.evidence


# --- choosing the facts --------------------------------------------------------------------------


def gather(
    history: Sequence[tuple[Film, float]],
    candidate: Film,
    rating: float,
    liked_together: CoLikedItems,
    taste: str | None = None,
) -> Facts:
    """The most convincing true facts for the polarity of `rating`. Arguments as for `compose`."""
    polarity = polarity_for(rating)
    wish = _wish(taste, candidate, polarity)
    # A title that equals the candidate's (a remake) could not be told apart in the text.
    shown = [(f, r) for f, r in history if f.title != candidate.title]
    if not shown:
        return Facts(candidate, polarity, (), wish)
    telling = _telling_decade(shown, candidate)
    ties = [
        (_closeness(tie) + 1e-3 * place / len(shown), tie)
        for place, (film, given) in enumerate(shown)
        for tie in [_tie(film, given, candidate, liked_together, telling)]
    ]
    choose = {"positive": _for_positive, "mixed": _for_mixed, "negative": _for_negative}
    chosen = choose[polarity](ties, candidate)
    if wish is not None:
        chosen = chosen[:1]
    return Facts(candidate, polarity, tuple(chosen), wish)


def _telling_decade(shown: Sequence[tuple[Film, float]], candidate: Film) -> bool:
    """A common decade is worth a word only where it is not the decade of most films anyway."""
    same = sum(film.decade == candidate.decade for film, _ in shown)
    return 2 * same <= len(shown)


def _tie(
    film: Film, given: float, candidate: Film, liked_together: CoLikedItems, telling: bool
) -> Tie:
    """The facts about one film that fit into one clause: two genres, and same fans or decade."""
    genres = tuple(g for g in candidate.labels if g in film.labels)[:2]
    fans = liked_together(film.item, candidate.item)
    same_decade = candidate.decade is not None and film.decade == candidate.decade
    decade = candidate.decade if same_decade and not fans and (telling or not genres) else None
    different = bool(
        candidate.labels and film.labels and not (genres or fans or decade is not None)
    )
    return Tie(film, given, genres, decade, fans, different)


def _closeness(tie: Tie) -> float:
    """How much a tie convinces. A long title, which is harder to copy, is a slight handicap."""
    mine = tie.film.labels
    genre = len(tie.genres) / (1 + 0.5 * len(mine)) if tie.genres else 0.0
    extra = 0.6 * tie.fans + 0.2 * (tie.decade is not None) - 0.5 * tie.different
    return genre + extra + 0.1 * abs(tie.rating - 3) - 0.01 * max(0, len(tie.film.title) - 15)


Ranked = list[tuple[float, Tie]]


def _best(ties: Ranked, fits: Callable[[Tie], bool]) -> list[Tie]:
    """The ties that fit, the most convincing first."""
    fitting = [pair for pair in ties if fits(pair[1])]
    return [tie for _, tie in sorted(fitting, key=lambda pair: -pair[0])]


def _tied(tie: Tie) -> bool:
    return tie.kind not in ("x", "n")


def _first_of(ties: Ranked, *wishes: Callable[[Tie], bool]) -> list[Tie]:
    """What the first wish finds, else the next, in the end every tie; most convincing first."""
    for fits in wishes:
        if found := _best(ties, fits):
            return found
    return _best(ties, lambda tie: True)


def _pair(found: list[Tie], candidate: Film) -> list[Tie]:
    """The first tie, and a second one when both are single facts and the titles are short."""
    first = found[0]
    for other in found[1:3]:
        single = first.kind in ("g", "f") and other.kind in ("g", "f")
        if single and _short(first, other, candidate):
            return [first, other]
    return [first]


def _short(first: Tie, second: Tie, candidate: Film) -> bool:
    """Whether a text that names two films beside the candidate stays short; False for namesakes."""
    titles = {first.film.title, second.film.title, candidate.title}
    return len(titles) == 3 and sum(map(len, titles)) <= TITLES_UP_TO


def _single(tie: Tie) -> Tie:
    """The tie cut down to one fact, for texts that name two films."""
    if tie.genres:
        return Tie(tie.film, tie.rating, genres=tie.genres[:1])
    if tie.fans:
        return Tie(tie.film, tie.rating, fans=True)
    return Tie(tie.film, tie.rating, decade=tie.decade, different=tie.different)


def _for_positive(ties: Ranked, candidate: Film) -> list[Tie]:
    found = _first_of(ties, lambda t: t.liked and _tied(t), lambda t: t.liked, _tied)
    return _pair(found, candidate) if found[0].liked and _tied(found[0]) else found[:1]


def _for_negative(ties: Ranked, candidate: Film) -> list[Tie]:
    found = _first_of(
        ties,
        lambda t: t.rating <= LOW_UP_TO and bool(t.genres or t.fans),
        lambda t: not t.liked and bool(t.genres),
        lambda t: t.liked and t.different,
        lambda t: not t.liked and _tied(t),
    )
    low = not found[0].liked and _tied(found[0])
    return _pair(found, candidate) if low else found[:1]


def _for_mixed(ties: Ranked, candidate: Film) -> list[Tie]:
    """One reason for and one against where the history has both, else a film in the middle."""
    speaking_for = _best(ties, lambda t: t.liked and bool(t.genres or t.fans))
    against = _best(ties, lambda t: t.rating <= LOW_UP_TO and bool(t.genres or t.fans))
    against = against or _best(ties, lambda t: t.liked and t.different)
    for pro in speaking_for[:3]:
        for con in against[:3]:
            if _short(pro, con, candidate):
                return [_single(pro), _single(con)]
    return _first_of(ties, lambda t: LOW_UP_TO < t.rating < LIKED_FROM and _tied(t), _tied)[:1]


# --- the taste line ------------------------------------------------------------------------------

_NEGATED = re.compile(
    r"\b(no|not|never|don't|dont|doesn't|hate|hates|dislike|dislikes|avoid|avoids|without|except|"
    r"nothing|neither|nor|can't stand|tired of|less)\b",
    re.I,
)
_OTHER_WORDS = {
    "Animation": "animated|animations?|cartoons?",
    "Children's": "children'?s?|kids'?|family",
    "Comedy": "comed(?:y|ies)",
    "Documentary": "documentar(?:y|ies)",
    "Fantasy": "fantas(?:y|ies)",
    "Film-Noir": "film[- ]noirs?|noirs?",
    "Mystery": "myster(?:y|ies)",
    "Romance": "romances?|romantic",
    "Sci-Fi": "sci-?fi|science[- ]fiction",
}


def taste_genres(
    taste: str | None, labels: Iterable[str] = GENRES
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Genres that a taste line asks for and genres it turns down, each in the order of `labels`.

    A word such as "no" or "avoid" turns down the genres after it, up to the end of its clause or
    to "but".
    """
    wanted, avoided = [], []
    clauses = re.split(r"[.;!?\n]|\bbut\b|\byet\b|\bthough\b", taste or "", flags=re.I)
    for label in labels:
        words = re.compile(rf"\b(?:{_OTHER_WORDS.get(label, re.escape(label) + 's?')})(?!\w)", re.I)
        signs = {
            bool(_NEGATED.search(clause, 0, found.start()))
            for clause in clauses
            for found in words.finditer(clause)
        }
        # A genre both asked for and turned down says nothing that can be relied on.
        if signs == {False}:
            wanted.append(label)
        elif signs == {True}:
            avoided.append(label)
    return tuple(wanted), tuple(avoided)


def _wish(taste: str | None, candidate: Film, polarity: Polarity) -> Wish | None:
    """The part of the taste line that speaks for the polarity, if there is one."""
    if not taste or not candidate.labels or polarity == "mixed":
        return None
    wanted, avoided = taste_genres(taste, dict.fromkeys((*GENRES, *candidate.labels)))
    if polarity == "positive":
        there = [g for g in wanted if g in candidate.labels]
        return Wish("wanted", there[0]) if there else None
    unwelcome = [g for g in avoided if g in candidate.labels]
    if unwelcome:
        return Wish("avoided", unwelcome[0])
    if wanted and not any(g in candidate.labels for g in wanted):
        return Wish("missing", wanted[0])
    return None


# --- wording -------------------------------------------------------------------------------------
#
# Clauses begin in lower case and end without a stop; frames join them into sentences. Slots: {c}
# the candidate (its title first, "it" or "this film" later), {e} a film of the history, {r} its
# rating, {w} the rating as a relative clause, {g} shared genres as nouns ("Crime and Drama"), {G}
# the same before "film" ("Crime Drama"), {aG} with its article, {d} a decade ("1990s"). Mixed texts
# keep to words without sentiment.

_VERDICT: dict[Polarity, tuple[str, ...]] = {
    "positive": (
        "{c} should be a great fit",
        "{c} looks like a great match for you",
        "{c} is a strong pick for you",
        "you will probably enjoy {c}",
        "you should have a good time with {c}",
        "{c} promises a good evening",
        "{c} is well worth your time",
        "{c} looks very promising",
        "you are likely to love {c}",
        "{c} should please you",
        "{c} should suit you very well, a great choice",
        "{c} makes an excellent next film",
        "{c} is easy to recommend",
        "{c} is a good bet",
        "you can look forward to {c} with great pleasure",
        "{c} should be a real treat",
    ),
    "mixed": (
        "{c} could go either way",
        "{c} may land in the middle for you",
        "expect something in between from {c}",
        "{c} is a coin toss",
        "{c} looks about average for you",
        "{c} may work or may not",
        "it is an open question how {c} goes down",
        "{c} sits halfway for you",
        "{c} should come out around the middle",
        "{c} speaks to one half of your taste",
        "do not set the bar too high for {c}",
        "{c} may be only so-so for you",
    ),
    "negative": (
        "{c} will probably disappoint you",
        "{c} seems a poor choice",
        "{c} seems a weak match for you",
        "{c} is a poor match for your taste",
        "{c} is a bad bet",
        "{c} could turn out boring for you",
        "{c} could be a waste of your evening",
        "expect to be disappointed by {c}",
        "{c} would likely be a disappointment",
        "{c} is probably the wrong film for you",
        "you may regret picking {c}",
        "{c} would be a bad choice for you",
        "{c} has a weak case",
        "{c} risks being a dull and poor evening",
        "{c} would probably annoy you",
        "{c} is likely to fail with you",
        "{c} seems disappointing for you",
    ),
}

_RATED = {
    "high": (
        "you gave {e} a {r}",
        "you rated {e} a {r}",
        "{e} got a {r} from you",
        "{e} earned a {r} from you",
        "you scored {e} with a {r}",
        "your rating for {e} was a {r}",
    ),
    "low": (
        "you gave {e} only a {r}",
        "you rated {e} just a {r}",
        "{e} got only a {r} from you",
        "{e} earned just a {r} from you",
        "you scored {e} with a mere {r}",
        "your rating for {e} was just a {r}",
    ),
    "which": (
        "which you gave a {r}",
        "which you rated a {r}",
        "which got a {r} from you",
        "a {r} in your ratings",
        "which earned a {r} from you",
    ),
    "which low": (
        "which you gave only a {r}",
        "which you rated just a {r}",
        "which got only a {r} from you",
        "just a {r} in your ratings",
        "which earned a mere {r} from you",
    ),
}

# What ties the candidate to the film just named.
_TIE = {
    "g": (
        "{c} is another {G} film",
        "{c} is also {aG} film",
        "{c} is {aG} film too",
        "{c} has {g} too",
        "{c} goes for {g} again",
        "both are {G} films",
        "{c} likewise belongs to {g}",
    ),
    "d": (
        "{c} is from the {d} too",
        "both come from the {d}",
        "{c} is another film from the {d}",
        "{c} was also made in the {d}",
        "both are films of the {d}",
    ),
    "gd": (
        "{c} is another {G} film from the {d}",
        "both are {G} films of the {d}",
        "{c} is also {aG} film from the {d}",
        "both are {d} films with {g}",
        "{c} is {aG} film from the {d} too",
    ),
    "x": (
        "{c} has different genres",
        "the two differ in genre",
        "{c} comes from other genres",
        "{c} is far from it in genre",
    ),
}
_TIE_FANS = {
    "warm": (
        "people who like it tend to like {c}",
        "the same people like both",
        "its fans tend to like {c} as well",
        "{c} is liked by the same people",
        "both have the same fans",
    ),
    "plain": (
        "people who rate it highly rate {c} highly too",
        "the same people rate both highly",
        "{c} is rated highly by the same people",
        "both are rated highly by the same people",
    ),
}
_TIE_GENRE_FANS = {
    "warm": (
        "{c} is another {G} film that the same people like",
        "{c} is also {aG} film with the same fans",
        "both are {G} films liked by the same people",
        "both are {G} films with the same fans",
        "{c} is {aG} film too, liked by the same people",
    ),
    "plain": (
        "{c} is another {G} film that the same people rate highly",
        "both are {G} films rated highly by the same people",
        "{c} is also {aG} film, rated highly by the same people",
    ),
}

# The tie and the film's rating ({w} is one of the "which" forms) in one clause.
_LINK = {
    "g": (
        "{c} is {aG} film just as {e}, {w}",
        "{c} has {g} in common with {e}, {w}",
        "in {g}, {c} comes close to {e}, {w}",
        "{c} goes back to the {g} of {e}, {w}",
        "{c} is from the same {G} shelf as {e}, {w}",
        "in {g}, {c} matches {e}, {w}",
    ),
    "d": (
        "{c} comes from the {d}, as does {e}, {w}",
        "{c} was made in the {d}, the same as {e}, {w}",
        "{c} is from the same decade, the {d}, as {e}, {w}",
    ),
    "gd": (
        "{c} is {aG} film from the {d} just as {e}, {w}",
        "{c} has the {d} and {g} in common with {e}, {w}",
        "{c} goes back to the {g} and the {d} of {e}, {w}",
    ),
    "x": (
        "{c} has other genres than {e}, {w}",
        "{c} differs in genre from {e}, {w}",
        "{c} comes from other genres than {e}, {w}",
        "{c} is far in genre from {e}, {w}",
    ),
}
_LINK_FANS = {
    "warm": (
        "fans of {e}, {w}, tend to like {c}",
        "{c} is liked by the same people as {e}, {w}",
        "people who like {e}, {w}, tend to like {c} too",
        "{c} has the same fans as {e}, {w}",
    ),
    "plain": (
        "people who think highly of {e}, {w}, think the same of {c}",
        "{c} is rated highly by the same people as {e}, {w}",
        "the same people think highly of {c} and of {e}, {w}",
    ),
}
_LINK_GENRE_FANS = {
    "warm": (
        "fans of {e}, {w}, tend to like {c}, another {G} film",
        "{c} is {aG} film liked by the same people as {e}, {w}",
        "{c} has {g} and the same fans in common with {e}, {w}",
    ),
    "plain": (
        "{c} is {aG} film rated highly by the same people as {e}, {w}",
        "the same people think highly of {c}, another {G} film, and of {e}, {w}",
    ),
}

# Frames around a rating {rate} followed by a tie {tie}, or around one {link}, and the {verdict}.
_SUPPORT = {
    "rate": (
        "{rate}, and {tie}, so {verdict}.",
        "{rate}; {tie}, so {verdict}.",
        "{rate} and {tie}: {verdict}.",
        "{verdict}: {rate}, and {tie}.",
        "since {rate} and {tie}, {verdict}.",
        "{verdict}; {rate}, and {tie}.",
        "{rate}; {tie}, and so {verdict}.",
    ),
    "link": (
        "{link}, so {verdict}.",
        "{link}: {verdict}.",
        "{verdict}, because {link}.",
        "{verdict}: {link}.",
        "{verdict}; {link}.",
        "{verdict}, since {link}.",
    ),
}
_CONTRAST = {
    "rate": (
        "{rate} and {tie}, yet {verdict}.",
        "although {rate} and {tie}, {verdict}.",
        "{rate}, and {tie}; even so, {verdict}.",
        "{verdict}, even though {rate} and {tie}.",
        "{rate}, {tie}; still, {verdict}.",
    ),
    "link": (
        "{link}, yet {verdict}.",
        "although {link}, {verdict}.",
        "{link}; even so, {verdict}.",
        "{verdict}, even though {link}.",
        "{link}; still, {verdict}.",
    ),
}

# A second film on the same side, as its own sentence; both films at once where they share a tie.
_ALSO = {
    "g": (
        "{e}, {w}, is {aG} film too.",
        "{e}, another {G} film, {got}.",
        "{e} is also {aG} film, {w}.",
        "there is {g} in {e} too, {w}.",
    ),
    "f warm": (
        "fans of {e}, {w}, like it too.",
        "{e}, {w}, has the same fans.",
        "the same people also like {e}, {w}.",
    ),
    "f plain": (
        "{e}, {w}, is rated highly by the same people.",
        "the same people also think highly of {e}, {w}.",
    ),
}
_BOTH = (
    "you gave {e} a {r} and {f} a {q}, and {c} is another {G} film",
    "{e} got a {r} from you and {f} a {q}, both of them {G} films as is {c}",
    "you rated {e} a {r} and {f} a {q}, both {G} films, and {c} is one too",
    "{c} has {g} in common with both {e}, a {r} from you, and {f}, a {q}",
)
_BOTH_LOW = (
    "you gave {e} only a {r} and {f} a {q}, and {c} is another {G} film",
    "{e} got only a {r} from you and {f} a {q}, both of them {G} films as is {c}",
    "you rated {e} just a {r} and {f} a {q}, both {G} films, and {c} is one too",
    "{c} has {g} in common with both {e}, just a {r} from you, and {f}, a {q}",
)
_GOT = {
    "high": ("got a {r} from you", "was a {r} for you"),
    "low": ("got only a {r} from you", "was just a {r} for you"),
}

# For and against in one text.
_FOR_AND_AGAINST = (
    "{first}, but {second}, so {verdict}.",
    "{first}; then again, {second}, so {verdict}.",
    "{verdict}: {first}, while {second}.",
    "{first}, though {second}; {verdict}.",
    "{first}; at the same time {second}: {verdict}.",
    "{verdict}; {first}, but {second}.",
)
_AGAINST = {
    "g": (
        "{e}, another {G} film, {got}",
        "{e}, {aG} film too, {got}",
        "{e} is also {aG} film, {w}",
    ),
    "f": (
        "{e}, rated highly by the same people, {got}",
        "the same people think highly of {e}, {w}",
    ),
    "x": (
        "{e}, with other genres, {got}",
        "{e}, which differs in genre, {got}",
    ),
}
_NEUTRAL = {
    "rate": (
        "{rate}, and {tie}, so {verdict}.",
        "{rate}; {tie}, so {verdict}.",
        "{rate} and {tie}: {verdict}.",
        "{verdict}: {rate}, and {tie}.",
        "{verdict}; {rate}, and {tie}.",
        "{rate}; {tie}, and {verdict}.",
    ),
    "link": (
        "{link}, so {verdict}.",
        "{link}; {verdict}.",
        "{verdict}: {link}.",
        "{verdict}; {link}.",
        "{link}, and {verdict}.",
    ),
}

_WISH = {
    "wanted": (
        "you asked for {t}, and {c} has it",
        "{c} brings the {t} you asked for",
        "{c} answers your wish for {t}",
        "{c} is {at} film, as you asked",
    ),
    "avoided": (
        "you want to avoid {t}, and {c} has it",
        "{c} brings the {t} you want to avoid",
        "{c} is {at} film, which you want to avoid",
    ),
    "missing": (
        "you asked for {t}, and {c} lacks it",
        "{c} lacks the {t} you asked for",
        "{c} is without the {t} you asked for",
    ),
}
_WISH_FRAMES = (
    "{wish}, so {verdict}.",
    "{verdict}: {wish}.",
    "{wish}: {verdict}.",
    "since {wish}, {verdict}.",
)
_BARE = {
    "genre decade": (
        "{c} is {aG} film from the {d}",
        "{c} is a {d} film with {g}",
        "{c} offers {g} from the {d}",
    ),
    "genre": ("{c} is {aG} film", "{c} offers {g}", "{c} belongs to {g}"),
    "decade": ("{c} is a film from the {d}", "{c} comes from the {d}", "{c} was made in the {d}"),
}
_BARE_FRAMES = (
    "{bare}, and {verdict}.",
    "{bare}: {verdict}.",
    "{verdict}: {bare}.",
    "{bare}; {verdict}.",
)


def word(facts: Facts, rng: random.Random) -> Explanation:
    """Puts exactly these facts into words; `rng` chooses among the wordings that fit them."""
    verdict = rng.choice(_VERDICT[facts.polarity])
    if not facts.ties:
        template = _about_candidate(facts, verdict, rng)
    elif len(facts.ties) == 2:
        template = _about_two(facts, verdict, rng)
    else:
        template = _about_one(facts.ties[0], facts.polarity, verdict, rng)
        if facts.wish is not None:
            template = f"{template[:-1]}; {_wish_clause(facts.wish, rng)}."
    return Explanation(_finish(template, facts, rng), facts.evidence, facts.polarity, facts.ties)


def _supports(tie: Tie, polarity: Polarity) -> bool:
    """Whether the tie speaks for the polarity; the opposite is said with "although" or "yet"."""
    if polarity == "positive":
        return tie.liked and not tie.different
    return tie.different if tie.liked else not tie.different


def _about_one(tie: Tie, polarity: Polarity, verdict: str, rng: random.Random) -> str:
    if polarity == "mixed":
        frames = _NEUTRAL
    else:
        frames = _SUPPORT if _supports(tie, polarity) else _CONTRAST
    if tie.kind == "n":
        joined = {True: "{rate}, and {verdict}.", False: "although {rate}, {verdict}."}
        rate = _rate(tie, 0, rng)
        return _join(joined[frames is not _CONTRAST], rate=rate, verdict=verdict)
    warm = polarity == "positive"
    if rng.random() < 0.5:
        rate, says = _rate(tie, 0, rng), _tie_clause(tie, warm, rng)
        return _join(rng.choice(frames["rate"]), rate=rate, tie=says, verdict=verdict)
    return _join(rng.choice(frames["link"]), link=_link(tie, 0, warm, rng), verdict=verdict)


def _about_two(facts: Facts, verdict: str, rng: random.Random) -> str:
    first, second = facts.ties
    if facts.polarity == "mixed":
        frame = rng.choice(_FOR_AND_AGAINST)
        pro = _link(first, 0, False, rng)
        con = _fill(rng.choice(_AGAINST[second.kind]), second, 1, _which(second, rng), rng)
        return _join(frame, first=pro, second=con, verdict=verdict)
    warm = facts.polarity == "positive"
    if first.kind == second.kind == "g" and first.genres == second.genres and rng.random() < 0.6:
        both = _fill(rng.choice(_BOTH if warm else _BOTH_LOW), first, 0, "", rng)
        both = both.replace("{f}", "{e1}").replace("{q}", number(second.rating))
        return _join(rng.choice(_SUPPORT["link"]), link=both, verdict=verdict)
    main = _about_one(first, facts.polarity, verdict, rng)
    also = _ALSO["g"] if second.kind == "g" else _ALSO["f warm" if warm else "f plain"]
    return f"{main} {_fill(rng.choice(also), second, 1, _which(second, rng), rng)}"


def _about_candidate(facts: Facts, verdict: str, rng: random.Random) -> str:
    """Without a history only the candidate's genre and era and the taste line may be mentioned."""
    if facts.wish is not None:
        wish = _wish_clause(facts.wish, rng)
        return _join(rng.choice(_WISH_FRAMES), wish=wish, verdict=verdict)
    candidate = facts.candidate
    known = [("genre", candidate.labels), ("decade", candidate.decade is not None)]
    key = " ".join(name for name, there in known if there)
    if not key:
        return _join("{verdict}.", verdict=verdict)
    bare = _genre_slots(rng.choice(_BARE[key]), candidate.labels[:2], candidate.decade)
    return _join(rng.choice(_BARE_FRAMES), bare=bare, verdict=verdict)


def _rate(tie: Tie, place: int, rng: random.Random) -> str:
    return _fill(rng.choice(_RATED["high" if tie.liked else "low"]), tie, place, "", rng)


def _which(tie: Tie, rng: random.Random) -> str:
    return rng.choice(_RATED["which" if tie.liked else "which low"])


def _tie_clause(tie: Tie, warm: bool, rng: random.Random) -> str:
    forms = {"f": _TIE_FANS, "gf": _TIE_GENRE_FANS}
    choices = forms[tie.kind]["warm" if warm else "plain"] if tie.fans else _TIE[tie.kind]
    return _fill(rng.choice(choices), tie, 0, "", rng)


def _link(tie: Tie, place: int, warm: bool, rng: random.Random) -> str:
    forms = {"f": _LINK_FANS, "gf": _LINK_GENRE_FANS}
    choices = forms[tie.kind]["warm" if warm else "plain"] if tie.fans else _LINK[tie.kind]
    return _fill(rng.choice(choices), tie, place, _which(tie, rng), rng)


def _wish_clause(wish: Wish, rng: random.Random) -> str:
    clause = rng.choice(_WISH[wish.kind])
    return clause.replace("{at}", _with_article(wish.genre)).replace("{t}", wish.genre)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:1] in 'AEIO' else 'a'} {noun}"


def _genre_slots(clause: str, genres: Sequence[str], decade: int | None) -> str:
    adjective = " ".join(genres)
    clause = clause.replace("{aG}", _with_article(adjective)).replace("{G}", adjective)
    return clause.replace("{g}", " and ".join(genres)).replace("{d}", f"{decade}s")


def _fill(clause: str, tie: Tie, place: int, which: str, rng: random.Random) -> str:
    """The clause with everything of the tie but the title, whose slot becomes {e0} or {e1}."""
    got = rng.choice(_GOT["high" if tie.liked else "low"])
    clause = clause.replace("{w}", which).replace("{got}", got)
    clause = clause.replace("{e}", f"{{e{place}}}").replace("{r}", number(tie.rating))
    return _genre_slots(clause, tie.genres, tie.decade)


def _join(frame: str, **clauses: str) -> str:
    for slot, clause in clauses.items():
        frame = frame.replace(f"{{{slot}}}", clause)
    return frame


def _finish(template: str, facts: Facts, rng: random.Random) -> str:
    """Puts in titles and ways to speak of the candidate, and begins sentences in capitals."""
    titles = {f"{{e{place}}}": film.title for place, film in enumerate(facts.evidence)}
    short = len(facts.candidate.title) <= TITLES_UP_TO
    name = facts.candidate.title if short else "this film"
    text, candidate_named, other_since = "", False, False
    for piece in re.split(r"(\{(?:c|e0|e1)\})", template):
        if piece in titles:
            piece, other_since = titles[piece], True
        elif piece == "{c}":
            if candidate_named:
                piece = rng.choice(("this film", "this one")) if other_since else "it"
            else:
                piece = name
            candidate_named, other_since = True, False
            if not text or text.endswith((". ", "! ", "? ")):
                piece = piece if piece == facts.candidate.title else piece.capitalize()
        else:
            piece = re.sub(r"(?<=\. )[a-z]", lambda found: found[0].upper(), piece)
            if not text:
                piece = piece[:1].upper() + piece[1:]
            # No second stop behind a title such as "Shall We Dance?".
            if text.endswith((".", "!", "?")) and piece.startswith("."):
                piece = piece[1:]
        text += piece
    return text
