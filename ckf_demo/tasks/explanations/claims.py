"""Finds the claims in an explanation and checks them against the data.

The checker knows English, the catalogue and the person's history, and nothing of how explanations
are composed. It finds the films that a text names, and its claims: genres, decades and years,
ratings and opinions of the person, "liked by the same people", "no genre in common", and what the
person asked for. Each claim is attached to films clause by clause and then looked up. A claim in
doubt counts as false: a capitalised name that is no known film is an unknown film, and a genre of a
film that is neither in the history nor the candidate is a false claim.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ckf_demo.runtime.assets import asset, word_list
from ckf_demo.tasks.explanations.fact_claims import (
    NOTHING_KNOWN,
    Known,
    amounts,
    masked,
    names_of,
)
from ckf_demo.tasks.explanations.facts import (
    GENRES,
    LIKED_FROM,
    LOW_UP_TO,
    CoLikedItems,
    Film,
    Polarity,
    number,
    taste_genres,
)
from ckf_demo.tasks.explanations.reasons import Situation
from ckf_demo.tasks.explanations.sentiment import polarity as polarity_of
from ckf_demo.tasks.explanations.speech import genre_pattern

Kind = Literal[
    "genre", "no genre", "decade", "year", "rating", "opinion", "fans", "different", "taste",
    "story", "theme", "country", "director", "actor", "person", "name",
    "effect", "greatest", "average", "history", "prediction",
]  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """One statement: `value` (a genre, decade, rating, …) said of the films with these titles."""

    kind: Kind
    films: tuple[str, ...]
    value: str
    true: bool


@dataclass(frozen=True)
class ClaimReport:
    """The films and claims of a text, and which of them are wrong."""

    named: list[str]
    """Titles of known films in order of first mention, the candidate's included."""
    unknown_films: list[str]
    """Names that look like films and are none of the catalogue."""
    outside: list[str]
    """Titles of known films that are neither in the history nor the candidate."""
    evidence: list[str]
    """Titles of the films of the history that are named."""
    ties: list[Claim]
    false_ties: list[Claim]
    polarity: Polarity
    """The tone by the external lexicon."""

    @property
    def ok_films(self) -> bool:
        """Whether every film named is in the history or is the candidate."""
        return not self.unknown_films and not self.outside

    @property
    def ok_ties(self) -> bool:
        """Whether every claim is true."""
        return not self.false_ties


def check(
    text: str,
    history: Sequence[tuple[Film, float]],
    candidate: Film,
    rating: float,
    liked_together: CoLikedItems,
    catalogue_titles: Iterable[str],
    taste: str | None = None,
    *,
    known: Known = NOTHING_KNOWN,
    situation: Situation | None = None,
) -> ClaimReport:
    """Find and check everything that ``text``, an explanation in free wording, says.

    ``history`` are the person's films before the moment with their ratings (1–5), and ``rating`` is
    the predicted one, for texts that state it. ``liked_together`` says whether the same people like
    two items, by their ids. ``catalogue_titles`` is every known title; pass the same tuple each
    time, since its index is kept. ``taste`` is the person's taste line. ``known`` is what the
    catalogue's films are about, and ``situation`` what moved the prediction; without them nothing
    of it can be said.
    """
    allowed = {film.title: film for film, _ in history} | {candidate.title: candidate}
    if situation is not None and situation.better is not None:
        allowed[situation.better[0].title] = situation.better[0]
    names: list[tuple[str, str]] = []
    plain, found = masked(text, candidate, known, situation, names)
    page = _Page(plain, _index(tuple(catalogue_titles)), tuple(allowed), _named(known), names)
    data = _Data(history, candidate, rating, liked_together, taste, situation)
    claims = [Claim(*one) for one in found] + list(_claims(page, data))
    named = [title for title in dict.fromkeys(page.titles) if title]
    return ClaimReport(
        named=named,
        unknown_films=page.unknown,
        outside=[title for title in named if title not in allowed],
        evidence=[title for title in named if title in data.given],
        ties=claims,
        false_ties=[claim for claim in claims if not claim.true],
        polarity=polarity_of(plain, (*named, *page.unknown)),
    )


# --- films ---------------------------------------------------------------------------------------

_FIRST = re.compile(r"\w+|\W")
_RATING_VERB = re.compile(r"\b(?:gave|give|rated|rate|scored)\s+$")
_RATING_NEXT = re.compile(r",?\s(?:only |just |with )?an? (?:\w+ )?\d")
_TRAILING_NUMBER = re.compile(r"\s(?:\d+|[IVX]+)\b(?!\s*(?:stars?|out of|/))")


class _TitleIndex:
    """Titles by their first word, longest first. A bracketed second title may be left out."""

    def __init__(self, titles: Iterable[str]) -> None:
        full = {title for title in titles if title and title.lower() != "unknown"} - set(GENRES)
        names = {title: title for title in full}
        for title in full:
            short = re.sub(r"\s*\([^()]*\)$", "", title)
            names.setdefault(short, title)
        self._by_start: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for name in sorted(names, key=len, reverse=True):
            if name:
                self._by_start[_start(name)].append((name, names[name]))

    def at(self, text: str, place: int) -> list[tuple[str, str]]:
        """(Name as written, full title) of the titles that stand at `place`, longest first."""
        return [
            (name, title)
            for name, title in self._by_start.get(_start(text, place), [])
            if text.startswith(name, place) and not text[place + len(name) :][:1].isalnum()
        ]


def _start(text: str, place: int = 0) -> str:
    first = _FIRST.match(text, place)
    return first[0] if first else ""


@lru_cache(maxsize=4)
def _index(titles: tuple[str, ...]) -> _TitleIndex:
    return _TitleIndex(titles)


@lru_cache(maxsize=4)
def _named(known: Known) -> _TitleIndex:
    return _TitleIndex(known.names)


_OPENERS = word_list("openers")
_WORD = r"[A-Z][\w'’&-]*(?:\.\w+)*"
_NAME = re.compile(
    rf"(?<![\w⟦]){_WORD}(?:(?:\s(?:of|the|and|in|a|to|on|for|with|or|de|la|&))*\s{_WORD})*"
)
_QUOTED = re.compile(r"[\"“”«]([^\"“”»]{1,80})[\"“”»]|(?<!\w)['‘]([A-Z][^'‘’]{1,60})['’](?!\w)")
MARK = re.compile(r"⟦(\d+)⟧")


class _Page:
    """The text with every film replaced by a mark ⟦n⟧, where n is its place in `titles`."""

    def __init__(
        self,
        text: str,
        index: _TitleIndex,
        allowed: tuple[str, ...],
        known: _TitleIndex,
        names: list[tuple[str, str]],
    ) -> None:
        self.titles: list[str] = []
        self.unknown: list[str] = []
        self.names = names
        self._allowed, self._indexes = frozenset(allowed), (_TitleIndex(allowed), index)
        pieces, place = [], 0
        while place < len(text):
            within_word = place > 0 and text[place - 1].isalnum()
            name, title = ("", "") if within_word else self._title_at(text, place)
            person = "" if within_word else max((n for n, _ in known.at(text, place)), default="")
            if len(person) > len(name):
                made_in = text[:place].endswith(("made in ", "made in the "))
                pieces.append(f"⟪{len(names)}⟫")
                names.append(("country" if made_in else "person", person))
                name = person
            elif name:
                pieces.append(f"⟦{len(self.titles)}⟧")
                self.titles.append(title)
            else:
                pieces.append(text[place])
            place += len(name) or 1
        self.text = self._strike_unknown("".join(pieces))

    def _title_at(self, text: str, place: int) -> tuple[str, str]:
        """The longest title here; the person's own film where only a rating makes it longer."""
        allowed = self._allowed
        titles = sorted(
            {pair for index in self._indexes for pair in index.at(text, place)},
            key=lambda pair: (-len(pair[0]), pair[1] not in allowed),
        )
        if not titles:
            return "", ""
        name, title = titles[0]
        if title not in allowed and _RATING_VERB.search(text, 0, place):
            rating_follows = _RATING_NEXT.match(text, place + len(name))
            for shorter, other in titles[1:]:
                is_rating = re.fullmatch(r"\s[1-5]", name[len(shorter) :])
                if other in allowed and is_rating and not rating_follows:
                    return shorter, other
        return name, title

    def _strike_unknown(self, text: str) -> str:
        """Record names that look like films and are none of the catalogue; mark them as films."""

        def mark(name: str) -> str:
            self.unknown.append(self._plain(name).strip(" ,.;:!?"))
            self.titles.append("")
            return f"⟦{len(self.titles) - 1}⟧"

        # A number behind a title makes it another film, unless it is a rating that was given to it.
        def numbered(title: re.Match[str]) -> str:
            rated = _RATING_VERB.search(text, 0, title.start())
            is_rating = rated and not _RATING_NEXT.match(text, title.end())
            return title[0] if is_rating else mark(title[0])

        text = re.sub(rf"{MARK.pattern}{_TRAILING_NUMBER.pattern}", numbered, text)

        def quoted(quotation: re.Match[str]) -> str:
            inside = quotation[1] or quotation[2]
            return inside if MARK.fullmatch(inside.strip(" ,.")) else mark(inside)

        text = _QUOTED.sub(quoted, text)
        genre = genre_pattern(GENRES)

        def named(name: re.Match[str]) -> str:
            words = name[0]
            before = text[: name.start()].rstrip()
            if not before or self._ends_sentence(before):
                first, _, rest = words.partition(" ")
                if first.lower().strip(".,'’") in _OPENERS or genre.fullmatch(first):
                    rest = rest.removesuffix(" ")
                    capital = re.search(rf"(?:^|\s)(?!{genre.pattern})[A-Z]", rest)
                    if not capital:
                        return words
                    article = first if first in ("The", "A", "An") else ""
                    kept = "" if article else f"{first} "
                    return kept + mark(f"{article} {rest}".strip())
            loose = genre.sub(" ", words)
            if not re.search(r"(?<!\w)[A-Z]", loose) or words.strip() in ("I", "I'm", "I'd"):
                return words
            return mark(words)

        return _NAME.sub(named, text)

    def _ends_sentence(self, text: str) -> bool:
        """Whether a sentence may end here: "Shall We Dance?" brings its own stop."""
        title = re.search(rf"{MARK.pattern}$", text)
        return (self.titles[int(title[1])] if title else text).endswith((".", "!", "?", ":"))

    def _plain(self, text: str) -> str:
        return MARK.sub(lambda mark: self.titles[int(mark[1])], text)


# --- claims --------------------------------------------------------------------------------------


class _Data:
    """The facts against which claims are checked."""

    def __init__(
        self,
        history: Sequence[tuple[Film, float]],
        candidate: Film,
        rating: float,
        liked_together: CoLikedItems,
        taste: str | None,
        situation: Situation | None,
    ) -> None:
        self.situation = situation
        self.candidate, self.rating = candidate, rating
        self.liked_together = liked_together
        self.given: dict[str, list[tuple[Film, float]]] = defaultdict(list)
        for film, value in history:
            self.given[film.title].append((film, value))
        if situation is not None and situation.rated is not None:
            self.given[candidate.title].append((candidate, situation.rated))
        self.better = None if situation is None or not situation.better else situation.better[0]
        films = [candidate, *(film for film, _ in history)]
        self.genres = tuple(dict.fromkeys((*GENRES, *(g for f in films for g in f.labels))))
        self.wanted, self.avoided = taste_genres(taste, self.genres)
        self.history = list(history)

    def films(self, title: str) -> list[Film]:
        """The films of that title that may be meant; none for a film from elsewhere."""
        if title == self.candidate.title:
            return [self.candidate]
        if self.better is not None and title == self.better.title:
            return [self.better]
        return [film for film, _ in self.given.get(title, [])]

    def all_have(self, titles: Iterable[str], holds) -> bool:
        return all(any(holds(film) for film in self.films(title)) for title in titles)

    def rated(self, title: str, holds) -> bool:
        return any(holds(value) for _, value in self.given.get(title, []))

    def likes_genre(self, genre: str) -> bool:
        values = [value for film, value in self.history if genre in film.labels]
        return genre in self.wanted or bool(values and sum(values) / len(values) >= 3.5)


@dataclass(frozen=True)
class _Clause:
    """A clause of the masked text, the films it names, and the evidence it leans on.

    `leaning` holds the history's films (all but the candidate) of this clause or, where it names
    none, of the nearest clause before it, else after it.
    """

    text: str
    titles: tuple[str, ...]
    leaning: tuple[str, ...]


_STOP = re.compile(r"\.(?!\d)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9⟦⟪\"“'])|\s*[;:]\s*|(?<=⟧[.!?])\s+")
_CLAUSE = re.compile(
    r",?\s+(?=(?:but|yet|while|whereas|although|though|because|since|so(?!-|\s+(?:is|does|do|are)))\b)"
    r"|,\s+(?=and\s+(?!⟦\d+⟧,?\s+an?\s))"
)


def _phrases(name: str) -> re.Pattern[str]:
    """Any of the words or phrases of that name in ``assets/claims.toml``."""
    return re.compile(rf"\b(?:{'|'.join(asset('claims.toml')[name])})\b", re.I)


_SHARED, _LACKING, _UNWANTED = _phrases("shared"), _phrases("lacking"), _phrases("unwanted")
_DIFFERENT, _FANS, _CANDIDATE = _phrases("different"), _phrases("fans"), _phrases("candidate")
_YOU_FELT = re.compile(
    r"\byou (?:really |also |both |clearly |did )*"
    r"(?P<good>loved|liked|enjoyed|adored|rated (?:so )?highly|(?:like|love|enjoy)(?= ⟦))|"
    r"\byou (?:really |also |both |clearly )*"
    r"(?P<bad>disliked|hated|did not (?:like|enjoy|care)|didn't (?:like|enjoy|care))|"
    r"\byour (?P<best>favou?rites?)",
    re.I,
)
_NUMBER_WORDS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_NUMBER = re.compile(
    r"(?<![\w⟦⟪.’'-])(?P<digit>\d+(?:\.\d+)?)(?![\w⟧⟫%’'-]|\.\d)"
    r"|\b(?P<word>one|two|three|four|five)(?=[ -]stars?\b)"
    r"|(?<=\ba )(?P<bare>one|two|three|four|five)\b(?! \w*(?:film|movie))"
    r"|\b(?P<top>full marks|top marks|(?:the |your )?(?:top|highest|best) (?:rating|score|mark))\b",
    re.I,
)
_DECADE = re.compile(r"(?<!\w)['’]?(?P<year>(?:1[89]|20)?\d0)['’]?s\b")
_DECADES = "twenties thirties forties fifties sixties seventies eighties nineties".split()
_DECADE_WORDS = re.compile(rf"\b({'|'.join(_DECADES)})\b", re.I)
_YEAR = re.compile(r"(?<![\w⟦⟪])(?:1[89]|20)\d\d(?![\ws⟧⟫'’])")
_TASTE = re.compile(
    r"\byou(?:'ve| have)? (?:asked|wish\w*|want\w*|prefer\w*|mention\w*)|your wish\b",
    re.I,
)
_YOU_LIKE_GENRE = re.compile(r"\byou (?:really |usually |often )?(?:like|love|enjoy)\b", re.I)


def _label(word: str, genres: Iterable[str]) -> str:
    """The data's label for a genre word as found by `genre_pattern`."""
    return next(genre for genre in genres if genre_pattern((genre,)).fullmatch(word))


def _clauses(page: _Page, data: _Data) -> list[_Clause]:
    texts = [
        clause
        for sentence in _SENTENCE.split(page.text)
        for clause in _CLAUSE.split(sentence)
        if clause.strip()
    ]
    titles = [tuple(page.titles[int(n)] for n in MARK.findall(text)) for text in texts]
    own = [tuple(t for t in group if t != data.candidate.title) for group in titles]
    clauses = []
    for place, text in enumerate(texts):
        order = [place, *range(place - 1, -1, -1), *range(place + 1, len(texts))]
        leaning = next((own[other] for other in order if own[other]), ())
        clauses.append(_Clause(text, titles[place], leaning))
    return clauses


def _claims(page: _Page, data: _Data) -> Iterator[Claim]:
    yield from _amount_claims(page, data)
    for clause in _clauses(page, data):
        for claims in (
            _name_claims,
            _tie_claims,
            _genre_claims,
            _time_claims,
            _rating_claims,
            _opinion_claims,
        ):
            yield from claims(page, clause, data)


def _amount_claims(page: _Page, data: _Data) -> Iterator[Claim]:
    """Claims about effects, averages and predictions; their numbers leave the page."""
    if data.situation is None:
        return
    parts, named = [], ()
    for sentence in re.split(r"(?<=[.!?])(\s+)(?=[A-Z0-9⟦⟪])", page.text):
        here = [page.titles[int(n)] for n in MARK.findall(sentence)]
        rest, claims = amounts(sentence, page.titles, named, MARK, data.situation)
        yield from (Claim(*one) for one in claims)
        parts.append(rest)
        named = tuple(title for title in here if title != data.candidate.title) or named
    page.text = "".join(parts)


def _name_claims(page: _Page, clause: _Clause, data: _Data) -> Iterator[Claim]:
    """Claims about people, themes and countries."""

    def subjects(place: int) -> tuple[str, ...]:
        return _subjects(page, clause, data, place)

    for kind, titles, name, holds in names_of(clause.text, page.names, subjects):
        yield Claim(kind, titles, name, bool(titles) and data.all_have(titles, holds))


def _tie_claims(page: _Page, clause: _Clause, data: _Data) -> Iterator[Claim]:
    candidate, leaning = data.candidate, clause.leaning
    films, mine = (candidate.title, *leaning), set(candidate.labels)
    if _DIFFERENT.search(clause.text):
        true = bool(mine and leaning) and data.all_have(
            leaning, lambda film: film.labels and mine.isdisjoint(film.labels)
        )
        yield Claim("different", films, "no genre in common", true)
    # "fans of Western films" speaks of a genre and of no film
    fans_of_genre = rf"\bfans of (?:\w+ )?{genre_pattern(data.genres).pattern}"
    if _FANS.search(clause.text) and not re.search(fans_of_genre, clause.text, re.I):
        true = bool(leaning) and data.all_have(
            leaning, lambda film: data.liked_together(film.item, candidate.item)
        )
        yield Claim("fans", films, "same people", true)


def _subjects(page: _Page, clause: _Clause, data: _Data, place: int) -> tuple[str, ...]:
    """Titles of the films that a word at `place` of the clause is said of."""
    text, candidate = clause.text, data.candidate.title
    if _SHARED.search(text):
        return (candidate, *clause.leaning)
    mentions = [(m.start(), m.end(), page.titles[int(m[1])]) for m in MARK.finditer(text)]
    mentions += [(m.start(), m.end(), candidate) for m in _CANDIDATE.finditer(text)]
    mentions.sort()
    before = [mention for mention in mentions if mention[1] <= place]
    if before:
        subjects = [before[-1]]
        # "Fargo and Heat are Crime films": all films of an enumeration are meant.
        for earlier in reversed(before[:-1]):
            between = text[earlier[1] : subjects[-1][0]]
            if not re.fullmatch(r"\s*(?:,|and|, and|&|as well as)\s*", between):
                break
            subjects.append(earlier)
        return tuple(title for _, _, title in reversed(subjects))
    return (mentions[0][2],) if mentions else (candidate,)


def _film_of(
    page: _Page, text: str, stated: re.Match[str], behind: str, otherwise: tuple[str, ...]
) -> tuple[str, ...]:
    """Title of the film ``behind`` what is stated, or else of the last one before it."""
    before = list(MARK.finditer(text, 0, stated.start()))
    mark = re.match(behind, text[stated.end() :]) or (before[-1] if before else None)
    return (page.titles[int(mark[1])],) if mark else otherwise


def _genre_claims(page: _Page, clause: _Clause, data: _Data) -> Iterator[Claim]:
    candidate = data.candidate
    for found in genre_pattern(data.genres).finditer(clause.text):
        genre = _label(found[0], data.genres)
        wish = _TASTE.search(clause.text)
        if wish or (_YOU_LIKE_GENRE.search(clause.text, 0, found.start()) and not clause.titles):
            unwanted = bool(_UNWANTED.search(clause.text))
            if wish:
                true = genre in (data.avoided if unwanted else data.wanted)
            else:
                true = data.likes_genre(genre)
            yield Claim("taste", (candidate.title,), genre, true)
            # What was asked for is also said of the film: it has it, or it has not.
            rest = _STOP.split(page.text[page.text.index(clause.text) :])[0]
            lacking = bool(_LACKING.search(re.sub(r"\bnot want\b", "", rest)))
            has = genre in candidate.labels
            kind: Kind = "no genre" if lacking else "genre"
            yield Claim(kind, (candidate.title,), genre, has != lacking)
            continue
        subjects = _subjects(page, clause, data, found.start())
        near = clause.text[max(0, found.start() - 25) : found.start()]
        lacking = bool(_LACKING.search(near))
        true = data.all_have(subjects, lambda film, g=genre, no=lacking: (g in film.labels) != no)
        yield Claim("no genre" if lacking else "genre", subjects, genre, true)


def _time_claims(page: _Page, clause: _Clause, data: _Data) -> Iterator[Claim]:
    years = [(found, int(found["year"])) for found in _DECADE.finditer(clause.text)]
    decades = [(found, year + 1900 if year < 100 else year) for found, year in years]
    for found in _DECADE_WORDS.finditer(clause.text):
        decades.append((found, 1920 + 10 * _DECADES.index(found[0].lower())))
    for found, decade in decades:
        subjects = _subjects(page, clause, data, found.start())
        true = data.all_have(subjects, lambda film, d=decade: film.decade == d)
        yield Claim("decade", subjects, f"{decade}s", true)
    for found in _YEAR.finditer(clause.text):
        subjects = _subjects(page, clause, data, found.start())
        true = data.all_have(subjects, lambda film, y=int(found[0]): film.year == y)
        yield Claim("year", subjects, found[0], true)
    if not decades and re.search(r"\bsame (?:decade|era|period|years)\b", clause.text, re.I):
        mine = data.candidate.decade
        true = mine is not None and data.all_have(clause.leaning, lambda film: film.decade == mine)
        films = (data.candidate.title, *clause.leaning)
        yield Claim("decade", films, "same decade", true and bool(clause.leaning))


def _rating_claims(page: _Page, clause: _Clause, data: _Data) -> Iterator[Claim]:
    text = re.sub(r"\s?(?:out of|/)\s?(?:5|five)\b", "", clause.text)
    for found in _NUMBER.finditer(text):
        word = found["word"] or found["bare"]
        value = float(found["digit"] or _NUMBER_WORDS.get((word or "").lower(), 5))
        if found["digit"] and (_YEAR.fullmatch(found["digit"]) or value >= 1000):
            continue
        if re.search(r"\bpredict|\bestimat|\bforecast", text, re.I):
            true = abs(value - data.rating) < 0.1
            yield Claim("rating", (data.candidate.title,), number(value), true)
            continue
        behind = r"(?:\s?stars?)?\s(?:for|to|on)\s⟦(\d+)⟧"
        titles = _film_of(page, text, found, behind, clause.leaning[-1:])
        true = bool(titles) and data.rated(titles[0], lambda given, v=value: abs(given - v) < 1e-6)
        yield Claim("rating", titles, number(value), true)


def _opinion_claims(page: _Page, clause: _Clause, data: _Data) -> Iterator[Claim]:
    for found in _YOU_FELT.finditer(clause.text):
        behind = r"\s(?:film |movie )?⟦(\d+)⟧"
        titles = _film_of(page, clause.text, found, behind, clause.leaning[:1])
        good = found["bad"] is None
        true = bool(titles) and data.rated(
            titles[0], lambda given, g=good: given >= LIKED_FROM if g else given <= LOW_UP_TO
        )
        yield Claim("opinion", titles, "liked" if good else "disliked", true)
