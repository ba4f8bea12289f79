"""What moved a prediction, which of it an explanation cites, and the sentences that say so.

An effect is the prediction minus the prediction without something: a rating of the history, the
person's words, their profile, or all ratings together. The effect of an item's general level is the
prediction for somebody of whom nothing is known, minus the mean rating. `Composer` puts causes and
facts into sentences; all of them can be checked by `ckf_demo.tasks.explanations.claims`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from ckf_demo.runtime.assets import asset
from ckf_demo.tasks.explanations.facts import (
    LIKED_FROM,
    TITLES_UP_TO,
    CoLikedItems,
    Film,
    Polarity,
    number,
    polarity_for,
)
from ckf_demo.tasks.explanations.speech import (
    kind_of,
    listed,
    themes,
    with_article,
)

FAINT = 0.02
"""Stars below which an effect is not worth a word."""
STRONG = 0.08
"""Stars from which a single rating can be the main reason."""
GENERAL = 0.2
"""Stars from which the item's general level is worth a sentence."""
MIDDLE = 3.25
"""A middling prediction leans up from here on, else down."""
FEW = 5
"""Ratings below which an average says little."""

CauseKind = Literal["rating", "history", "words", "profile", "level"]


@dataclass(frozen=True)
class Cause:
    """Something that moved a prediction by ``effect`` stars; a rating has its film."""

    kind: CauseKind
    effect: float
    film: Film | None = None
    rating: float = 0.0


@dataclass(frozen=True)
class Wished:
    """A wish of the person's words, whether it was for or against it, and whether it holds."""

    name: str
    wanted: bool
    holds: bool


@dataclass(frozen=True)
class Situation:
    """Everything that an explanation may say.

    ``rating`` is the prediction in stars, and ``known`` the length of the whole history, of which
    ``causes`` have the shown part. ``average`` is the mean rating of the candidate and how many
    ratings it is made of. ``rated`` is what the person gave the candidate before. ``counts`` says
    how many items have a theme. ``better`` is a film of the kind that would suit better, with its
    prediction.
    """

    candidate: Film
    rating: float
    causes: tuple[Cause, ...] = ()
    known: int = 0
    average: tuple[float, int] | None = None
    rated: float | None = None
    wishes: tuple[Wished, ...] = ()
    better: tuple[Film, float] | None = None
    liked_together: CoLikedItems = lambda a, b: False
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def polarity(self) -> Polarity:
        return polarity_for(self.rating)

    @property
    def sign(self) -> int:
        """The direction of the verdict: 1 or -1; a middling one leans."""
        return 1 if self.rating >= MIDDLE else -1

    @cached_property
    def ratings(self) -> list[Cause]:
        """The shown ratings, the greatest effect in the verdict's direction first."""
        # a film with the candidate's title (a remake) could not be told apart in the text
        named = [
            cause
            for cause in self.causes
            if cause.film is not None and cause.film.title not in ("", self.candidate.title)
        ]
        return sorted(named, key=lambda cause: -self.sign * cause.effect)

    def effect(self, kind: CauseKind) -> float:
        """The effect of something that is no rating; 0 if it is not there."""
        return next((c.effect for c in self.causes if c.kind == kind), 0.0)

    @cached_property
    def cited(self) -> Cited:
        """What the explanation cites."""
        towards = [c for c in self.ratings if self.sign * c.effect >= FAINT]
        against = [c for c in reversed(self.ratings) if -self.sign * c.effect >= FAINT]
        first = towards[0] if towards else None
        words = self.sign * self.effect("words")
        if words >= max(FAINT, abs(first.effect) if first else 0.0):
            said = next(c for c in self.causes if c.kind == "words")
            return Cited(said, first)
        if first is None:
            general = [c for c in self.causes if c.film is None and self.sign * c.effect >= FAINT]
            return Cited(max(general, key=lambda c: abs(c.effect), default=None))
        least = max(FAINT, 0.5 * abs(first.effect))
        if self.polarity == "mixed" and against and abs(against[0].effect) >= least:
            return Cited(first, opposite=against[0])
        second = towards[1] if len(towards) > 1 and abs(towards[1].effect) >= least else None
        return Cited(first, second)


@dataclass(frozen=True)
class Cited:
    """The causes that a text cites: in the verdict's direction, and on the other side."""

    main: Cause | None = None
    second: Cause | None = None
    opposite: Cause | None = None

    @property
    def ratings(self) -> list[Cause]:
        """The cited ratings of the history."""
        causes = (self.main, self.second, self.opposite)
        return [cause for cause in causes if cause is not None and cause.film is not None]


@dataclass(frozen=True)
class Shared:
    """A fact that two films share: its kind, and how it is named."""

    kind: str
    name: str


def shared_by(
    first: Film, second: Film, liked_together: CoLikedItems, counts: Mapping[str, int]
) -> list[Shared]:
    """What two films have in common, the most particular first."""
    found = [Shared("director", name) for name in first.directors if name in second.directors]
    found += [Shared("actor", name) for name in first.actors if name in second.actors]
    tags = [tag for tag in first.tags if tag in second.tags and tag in themes()]
    tags.sort(key=lambda tag: counts.get(tag, 0))
    found += [Shared(*themes()[tag]) for tag in tags if themes()[tag][0] != "tone"]
    if liked_together(first.item, second.item):
        found.append(Shared("fans", ""))
    found += [Shared(*themes()[tag]) for tag in tags if themes()[tag][0] == "tone"]
    foreign = [c for c in first.countries[:1] if c in second.countries[:1] and c not in _COMMON]
    found += [Shared("country", named_country(name)) for name in foreign]
    if (genres := [label for label in first.labels if label in second.labels]) and not (
        len(genres) == 1 and genres[0] in ("Drama", "Comedy") and found
    ):
        found.append(Shared("genre", kind_of(genres, plural=True)))
    early = first.decade is not None and first.decade <= LAST_EARLY
    if not found and early and first.decade == second.decade:
        found.append(Shared("decade", f"{first.decade}s"))
    return found


def named_country(name: str) -> str:
    """A country within a sentence: "the Netherlands"."""
    return f"the {name}" if name.split()[-1] in _WITH_ARTICLE else name


_WITH_ARTICLE = ("Kingdom", "Netherlands", "Republic", "Union", "States")
_COMMON = ("United States",)
LAST_EARLY = 1970
"""The last decade that is worth a word: most films of the data are later."""


class Composer:
    """Writes the sentences of one explanation; another number ``again`` gives other words."""

    def __init__(self, situation: Situation, again: int = 0):
        self.situation, self._again = situation, again
        self._rng = random.Random(f"{situation.candidate.item} {situation.rating:.1f}")
        self._wordings = asset("reasons.toml")

    @property
    def opening(self) -> list[str]:
        """What is said before anything else: that the person has rated it."""
        if self.situation.rated is None:
            return []
        return [self._say(("rated", "before"), ar=_stars(self.situation.rated))]

    def lead(self) -> list[str]:
        """The verdict with what moved it, and what joins the cited film and this one."""
        situation, cited = self.situation, self.situation.cited
        main = cited.main
        if main is None or main.film is None:
            sentences = [self._general(main)]
            if cited.second is not None:
                sentences.append(self._second(cited.second, "up" if situation.sign > 0 else "down"))
            return sentences
        side = "up" if situation.sign > 0 else "down"
        liked = main.rating >= LIKED_FROM
        case = f"{side} {'liked' if liked else 'other'}"
        if abs(main.effect) < STRONG:
            case = f"{side} weak"
        sentences = [
            self._say(("cause", case), e=main.film.title, **self._amounts(main), open=self._open())
        ]
        supports = liked == (situation.sign > 0)
        sentences += self._joined(main, supports)
        return sentences + self._others(cited, supports)

    def weights(self) -> list[str]:
        """The effects of the films that a lead names, which says their ratings itself."""
        situation, cited = self.situation, self.situation.cited
        assert cited.main is not None and cited.main.film is not None
        if cited.opposite is not None:
            titles = {"e": cited.main.film.title, "f": _title(cited.opposite)}
            amounts = self._amounts(cited.main) | self._amounts(cited.opposite, "yYq", "aq")
            return [self._say(("weight", "both"), **titles, **amounts)]
        side = "up" if situation.sign > 0 else "down"
        sentences = [self._say(("weight", side), **self._amounts(cited.main))]
        particular = [s for s in self._shared(cited.main) if s.kind not in _IN_LEADS]
        if particular:
            sentences.append(self._clauses(particular))
        return sentences + self._others(cited, True)

    def rest(self) -> list[str]:
        """What the film is, what people in general think of it, and what would suit better."""
        situation = self.situation
        sentences = [self._film(), *self._average()]
        if situation.better is not None:
            film, predicted = situation.better
            common = [label for label in film.labels if label in situation.candidate.labels]
            kind = kind_of(common)
            slots = {"k": with_article(kind), "K": kind, "b": film.title, "p": f"{predicted:.1f}"}
            sentences.append(self._say(("better", "same"), **slots))
        return [sentence for sentence in sentences if sentence]

    # Parts

    def _general(self, cause: Cause | None) -> str:
        """The verdict where no single rating is the main cause."""
        situation = self.situation
        many = situation.known >= FEW
        known = self._draw(("general", "known much" if many else "known"))
        slots = {"open": self._open(), "known": known, "n": str(situation.known)}
        if cause is None:
            return self._say(("general", "nothing"), **slots)
        slots |= self._amounts(cause)
        case: str = cause.kind
        if case == "words":
            wish = self._wish()
            case = "words" if wish else "words only"
            slots["wish"] = wish
        elif case == "history" and situation.known == 1:
            case = "history one"
        elif case == "level":
            case = "level up" if cause.effect > 0 else "level down"
        return self._say(("general", case), **slots)

    def _wish(self) -> str:
        """The wish that speaks for the verdict, as a clause; empty without one."""
        for wish in self.situation.wishes:
            fits = wish.wanted == wish.holds
            if fits == (self.situation.sign > 0) and (wish.wanted or wish.holds):
                case = "fits" if fits else "misses" if wish.wanted else "avoided"
                return self._draw(("wish", case)).replace("{n}", wish.name)
        return ""

    def _others(self, cited: Cited, supports: bool) -> list[str]:
        """The second film on the same side, and the one on the other side."""
        sentences = []
        side = "up" if self.situation.sign > 0 else "down"
        if cited.second is not None:
            sentences.append(self._second(cited.second, side))
        if cited.opposite is not None:
            case = "for" if cited.opposite.effect > 0 else "against"
            sentences.append(self._second(cited.opposite, case))
        return sentences

    def _second(self, cause: Cause, case: str) -> str:
        return self._say(("second", case), f=_title(cause), **self._amounts(cause, "yYq", "aq"))

    def _shared(self, cause: Cause) -> list[Shared]:
        assert cause.film is not None
        situation = self.situation
        together, counts = situation.liked_together, situation.counts
        return shared_by(situation.candidate, cause.film, together, counts)

    def _joined(self, cause: Cause, supports: bool) -> list[str]:
        """What joins the cited film and this one, or what sets them apart."""
        film, candidate = cause.film, self.situation.candidate
        assert film is not None
        shared = self._shared(cause)
        if supports and shared:
            return [self._clauses(shared)]
        mine, other = described(candidate), described(film)
        if not supports and not {*candidate.labels} & {*film.labels}:
            return [self._say(("apart", "differ"), e=film.title, le=other, lc=mine)]
        return [self._say(("apart", "nothing"))] if not shared else []

    def _clauses(self, shared: Sequence[Shared]) -> str:
        """What both films are or have, in one sentence."""
        return both(shared, lambda name, **slots: self._say(("shared", name), **slots), self._draw)

    def _film(self) -> str:
        film = self.situation.candidate
        slots = {
            "k": with_article(kind_of(film.labels)),
            "K": kind_of(film.labels),
            "y": str(film.year or ""),
            "d": listed(film.directors[:2]),
            "cast": _cast(film),
            "s": film.description,
        }
        people = {(True, True): "all", (True, False): "director", (False, True): "actors"}
        case = people.get((bool(slots["d"]), bool(slots["cast"])), "story")
        if not film.description:
            case = "plain" if case == "all" else "bare"
        if case == "bare" and not film.labels:
            return ""
        return self._say(("film", case), **slots)

    def _average(self) -> list[str]:
        situation = self.situation
        if situation.average is None:
            return []
        mean, n = situation.average
        level, main = situation.effect("level"), situation.cited.main
        if n < FEW:
            return [self._say(("average", "few"), n=str(n))] if n else []
        other = situation.cited.opposite
        strong = main is not None and abs(main.effect) >= STRONG
        weak = not strong or (other is not None and abs(other.effect) > abs(main.effect))
        # the general level is said where it speaks for the verdict, or where little else does
        if situation.sign * level < (FAINT if weak else GENERAL):
            return []
        case = "up" if level > 0 else "down"
        if main is not None and main.kind == "level":
            case = "level"
        elif abs(level) < GENERAL:
            case += " a little"
        return [self._say(("average", case), m=f"{mean:.1f}", n=str(n))]

    def _open(self) -> str:
        polarity = self.situation.polarity
        case = polarity
        if polarity == "mixed":
            case = "up" if self.situation.sign > 0 else "down"
        return self._draw(("open", case))

    def _amounts(self, cause: Cause, names: str = "xXr", article: str = "ar") -> dict[str, str]:
        signed, plain, bare = names
        return {
            signed: signed_number(cause.effect),
            plain: f"{abs(cause.effect):.2f}",
            bare: number(cause.rating),
            article: _stars(cause.rating),
        }

    # Words

    def _draw(self, case: tuple[str, str], missing: Sequence[str] = ()) -> str:
        """One wording of a case without the ``missing`` slots; the next one each time again."""
        group, name = case
        fitting = [w for w in self._wordings[group][name] if not any(m in w for m in missing)]
        return fitting[(self._rng.randrange(len(fitting)) + self._again) % len(fitting)]

    def _say(self, case: tuple[str, str], **slots: str) -> str:
        missing = [f"{{{name}}}" for name, value in slots.items() if not value]
        if len(self.situation.ratings) < 2:
            missing.append("{others}")
        recent = self.situation.known > len(self.situation.ratings)
        slots["others"] = "your other recent ratings" if recent else "your other ratings"
        slots["mine"] = "your recent ratings" if recent else "your ratings"
        return spoken_sentence(self._draw(case, missing), self.situation.candidate, slots)


def _first(case: tuple[str, str]) -> str:
    return asset("reasons.toml")[case[0]][case[1]][0]


def _first_said(name: str, **slots: str) -> str:
    return spoken_sentence(_first(("shared", name)), Film("", "", None, ()), slots)


def both(
    shared: Sequence[Shared],
    say: Callable[..., str] = _first_said,
    draw: Callable[[tuple[str, str]], str] = _first,
) -> str:
    """What two films share, in one sentence; at most two kinds of facts and what fans say.

    ``say`` fills a wording of a case, and ``draw`` chooses one; by default the first.
    """
    fans = [draw(("shared", "fans")) for one in shared if one.kind == "fans"][:1]
    groups: dict[str, list[str]] = {}
    for one in shared:
        if one.kind != "fans" and (len(groups) < 2 or one.kind in groups):
            groups.setdefault(one.kind, []).append(one.name)
    if list(groups) == ["genre"] and not fans:
        return say("genre alone", n=groups["genre"][0])
    said = [
        draw(("shared", kind)).replace("{n}", listed(names[:2])) for kind, names in groups.items()
    ]
    if not said:
        return say("only", a=fans[0])
    if fans:
        return say("one fans", a=said[0], t=fans[0])
    if len(said) == 1:
        return say("one", a=said[0])
    return say("two", a=said[0], t=said[1])


_IN_LEADS = ("genre", "fans", "decade")
"""What a lead by the language model says itself."""


def described(film: Film) -> str:
    """A film in three words: "a crime drama from the 1990s"."""
    kind = with_article(kind_of(film.labels))
    return kind if film.decade is None else f"{kind} from the {film.decade}s"


def signed_number(effect: float) -> str:
    """An effect with its sign: "+0.28", "−0.07"."""
    return f"{effect:+.2f}".replace("-", "−")


def spoken_sentence(template: str, candidate: Film, slots: Mapping[str, str]) -> str:
    """A wording with its slots filled, and capitals where sentences begin.

    The candidate is named once in a wording and is "it" from then on.
    """
    name = candidate.title if 0 < len(candidate.title) <= TITLES_UP_TO else "this film"
    for slot in ("open", "wish", "known", "a", "k"):
        if slot in slots:
            template = template.replace(f"{{{slot}}}", slots[slot])
    template = re.sub(r"(^|[.!?] )(\w)", lambda found: found[1] + found[2].upper(), template)

    def filled(found: re.Match[str]) -> str:
        word = value(found)
        # no second stop behind a title such as "Shall We Dance?"
        return word + ("" if word.endswith((".", "!", "?")) else found[2])

    def value(found: re.Match[str]) -> str:
        slot = found[1]
        if slot != "c":
            return slots[slot]
        begins = found.start() == 0 or template[: found.start()].endswith(
            (". ", "! ", "? ", "{s} ")
        )
        again = "{c}" in template[: found.start()]
        word = "it" if again else name
        return word[0].upper() + word[1:] if begins and word in ("it", "this film") else word

    return re.sub(r"\{(\w+)\}(\.?)", filled, template)


def _cast(film: Film) -> str:
    """One or two actors; one whose name ends in a stop is not the last."""
    names = sorted(film.actors[:2], key=lambda name: not name.endswith("."))
    return listed([] if names[-1:] and names[-1].endswith(".") else names)


def _title(cause: Cause) -> str:
    assert cause.film is not None
    return cause.film.title


def _stars(rating: float) -> str:
    """A rating with its article: "a 5", "only a 2"."""
    return f"{'only ' if rating < 3 else ''}{'an' if rating == 8 else 'a'} {number(rating)}"
