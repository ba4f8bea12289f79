"""Claims about causes and facts in an explanation: effects, averages, people, themes and stories.

`Known` holds what such claims are checked against. `masked` finds what is said in fixed words (a
story, themes, wishes) and takes it out of the text, so that its words are not read as something
else; `claims_of` reads amounts and people from a clause.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ckf_demo.tasks.explanations.facts import Film
from ckf_demo.tasks.explanations.reasons import Situation
from ckf_demo.tasks.explanations.speech import themes

NAME = re.compile(r"⟪(\d+)⟫")
Found = tuple[str, tuple[str, ...], str, bool]
"""Kind, titles, value and truth of a claim."""


@dataclass(frozen=True, eq=False)
class Known:
    """What the films of a catalogue are about, as texts may say it."""

    people: frozenset[str]
    countries: frozenset[str]
    stories: Mapping[str, str]
    """Titles by description."""

    @classmethod
    def of(cls, films: Iterable[Film]) -> Known:
        """What is known of a catalogue."""
        films = list(films)
        return cls(
            frozenset(n for film in films for n in (*film.directors, *film.actors)),
            frozenset(n for film in films for n in film.countries),
            {film.description: film.title for film in films if film.description},
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names that may stand in a text: people and countries."""
        return (*self.people, *self.countries)


NOTHING_KNOWN = Known(frozenset(), frozenset(), {})

_CUES = {
    "subject": r"deal(?:s|t|ing)? with|tells? of|about",
    "setting": r"set in|takes? place in",
    "source": r"based on",
    "tone": r"(?:are|is)(?: both)?",
}
_CERTAIN = re.compile(r"\b(?:deal(?:s|t|ing)? with|tells? of|set in|takes? place in|based on)\s")


def masked(text: str, candidate: Film, known: Known, situation: Situation | None, names: list):
    """A text without stories, themes and wishes, and what it says of these.

    Themes and wishes become marks ⟪n⟫ of ``names``, which grows by ``(kind, name)``.
    """
    claims: list[Found] = []
    for story, title in known.stories.items():
        if story in text:
            own = story == candidate.description
            claims.append(("story", (candidate.title if own else title,), story, own))
            text = text.replace(story, "")
    if candidate.description and _resembles(text, candidate.description):
        claims.append(("story", (candidate.title,), text, False))
    text = _without_wishes(text, candidate, situation, claims)

    def mark(kind: str, name: str) -> str:
        names.append((kind, name))
        return f"⟪{len(names) - 1}⟫"

    for kind, cue in _CUES.items():
        by_words = {words: name for name, (of, words) in themes().items() if of == kind}
        choice = "|".join(map(re.escape, sorted(by_words, key=len, reverse=True)))
        pattern = re.compile(rf"\b({cue})((?:(?:\s|, | and )(?:{choice})(?=[\s,.;]|$))+)")

        def replaced(found: re.Match[str], choice=choice, kind=kind, by_words=by_words) -> str:
            marked = re.sub(choice, lambda word: mark(kind, by_words[word[0]]), found[2])
            return found[1] + marked

        text = pattern.sub(replaced, text)
    for cue in _CERTAIN.finditer(text):
        if not text.startswith("⟪", cue.end()):
            claims.append(("theme", (candidate.title,), text[cue.end() : cue.end() + 30], False))
    return text, claims


def _without_wishes(
    text: str, candidate: Film, situation: Situation | None, claims: list[Found]
) -> str:
    """The text without the wishes that it names, of which it says whether they are fulfilled."""
    for wish in situation.wishes if situation else ():
        name = re.escape(wish.name)
        for wanted, cue in ((True, "asked for|wish for"), (False, "did not want|has")):
            pattern = rf"\b(?:{cue}) {name}\b(?P<rest>[^.;:]*)"
            for found in list(re.finditer(pattern, text)):
                before = text[: found.start()].rsplit(".", 1)[-1]
                said = before + found["rest"]
                if wanted:
                    true = wish.wanted and wish.holds != bool(re.search(r"\bnot fit\b", said))
                else:
                    true = not wish.wanted and wish.holds
                claims.append(("taste", (candidate.title,), wish.name, true))
            text = re.sub(pattern, r"wanted\g<rest>", text)
    return text


def _resembles(text: str, story: str) -> bool:
    """Whether a sentence of a text has most words of a story."""
    words = set(re.findall(r"\w{4,}", story.lower()))
    return any(
        len(words & set(re.findall(r"\w{4,}", sentence.lower()))) > 0.5 * len(words)
        for sentence in re.split(r"(?<=[.!?])\s+", text)
    )


_SIGNED = re.compile(r"(?P<sign>[+−-])(?P<amount>\d\.\d\d)\b")
_MOVED = re.compile(
    r"\b(?P<up>adds|lifts)?(?P<down>takes off|takes)?(?: another)? (?P<amount>\d\.\d\d)\b"
)
_AVERAGE = re.compile(r"(?P<mean>\d\.\d) of 5 on average from (?P<n>\d+) ratings")
_FEW = re.compile(r"\((?P<n>\d+) ratings\)")
_ALL = re.compile(r"\byour (?P<n>\d+) ratings\b")
_PREDICTED = re.compile(r"\bpredicted (?P<stars>\d(?:\.\d+)?)(?: of 5)?")
_GREATEST = re.compile(
    r"\b(?:most|mostly|main reason|more than any|as much for it|as heavily against it)\b"
)
_GENERAL = re.compile(r"\b(?:people in general|average film)\b")
_WORDS = re.compile(r"\b(?:what you wrote|wanted|you asked|your wish|did not want)\b", re.I)
_PROFILE = re.compile(r"\b(?:your profile|you said of yourself)\b")
_TOGETHER = re.compile(r"\b(?:together|as a whole)\b", re.I)


def amounts(
    text: str, titles: Sequence[str], leaning: Sequence[str], mark: re.Pattern, situation: Situation
) -> tuple[str, list[Found]]:
    """The claims about amounts in a sentence, and the sentence without them.

    ``titles`` are those of the marks in the sentence, and ``leaning`` the films of the history that
    were named last before it.
    """
    candidate, claims = situation.candidate.title, []
    effects = {cause.film.title: cause.effect for cause in situation.causes if cause.film}

    def film_before(place: int) -> str | None:
        before = [titles[int(m[1])] for m in mark.finditer(text, 0, place)]
        before = [title for title in before if title != candidate]
        return before[-1] if before else (leaning[-1] if leaning else None)

    def average(found: re.Match[str]) -> str:
        mean, n = situation.average or (0.0, 0)
        true = abs(float(found["mean"]) - mean) < 0.051 and int(found["n"]) == n
        claims.append(("average", (candidate,), found[0], true))
        return ""

    def few(found: re.Match[str]) -> str:
        n = situation.average[1] if situation.average else 0
        claims.append(("average", (candidate,), found[0], int(found["n"]) == n))
        return ""

    def everything(found: re.Match[str]) -> str:
        claims.append(("history", (), found["n"], int(found["n"]) == situation.known))
        return "your ratings"

    def predicted(found: re.Match[str]) -> str:
        stars, film = float(found["stars"]), film_before(found.start())
        if film is not None and situation.better and film == situation.better[0].title:
            true = abs(stars - situation.better[1]) < 0.051
        else:
            true = abs(stars - situation.rating) < 0.1
        claims.append(("prediction", (film or candidate,), found["stars"], true))
        return ""

    def effect(found: re.Match[str]) -> str:
        given = float(found["amount"])
        if "sign" in found.groupdict():
            given = given if found["sign"] == "+" else -given
        elif found["down"]:
            given = -given
        elif not found["up"]:
            return found[0]
        general = (
            ("history", _TOGETHER),
            ("level", _GENERAL),
            ("profile", _PROFILE),
            ("words", _WORDS),
        )
        kind = next((k for k, cue in general if cue.search(text, 0, found.start() + 60)), None)
        film = film_before(found.start())
        named = bool(mark.search(text, 0, found.start())) and film_before(found.start()) in effects
        if kind is not None and not (named and kind != "words"):
            true = abs(situation.effect(kind) - given) < 0.0051
            claims.append(("effect", (candidate,), found[0], true))
        else:
            true = film in effects and abs(effects[film] - given) < 0.0051
            claims.append(("effect", (film,) if film else (), found[0], bool(true)))
            if true and _GREATEST.search(text):
                most = (max if given > 0 else min)(effects.values())
                shown = abs(effects[film] - most) < 0.0051
                claims.append(("greatest", (film,), found[0], shown))
        return ""

    text = _AVERAGE.sub(average, text)
    text = _FEW.sub(few, text)
    text = _ALL.sub(everything, text)
    text = _PREDICTED.sub(predicted, text)
    return _MOVED.sub(effect, _SIGNED.sub(effect, text)), claims


_DIRECTS = re.compile(r"(?:(?:,| and) ⟪\d+⟫)*\s+directed\b")
_ROLE = re.compile(
    r"\b(?P<director>by)\b|\b(?P<actor>with|features?|see|have|has|stars?|appears?|plays?)\b"
)


def names_of(
    text: str, names: Sequence[tuple[str, str]], subjects: Callable[[int], tuple[str, ...]]
) -> Iterator[tuple[str, tuple[str, ...], str, Callable[[Film], bool]]]:
    """What a clause says by the names in it: kind, titles, name, and what must hold of each film.

    ``subjects`` gives the titles of which something at a place of the clause is said.
    """
    for found in NAME.finditer(text):
        kind, name = names[int(found[1])]
        of = subjects(found.start())
        if kind in _CUES:
            yield "theme", of, name, lambda film, name=name: name in film.tags
        elif kind == "country" and re.search(r"made in (?:the )?$", text[: found.start()]):
            yield "country", of, name, lambda film, name=name: name in film.countries
        elif kind == "person":
            cue = [*_ROLE.finditer(text, 0, found.start())]
            role = cue[-1].lastgroup if cue else None
            if _DIRECTS.match(text, found.end()):
                role = "director"
            yield (
                role or "person",
                of,
                name,
                lambda film, name=name, role=role: (
                    (role != "actor" and name in film.directors)
                    or (role != "director" and name in film.actors)
                ),
            )
        else:
            yield "name", of, name, lambda film: False
