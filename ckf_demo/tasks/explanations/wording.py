"""Puts checked facts into one to three sentences, in one of many wordings.

Everything in a text can be derived from the fact line and the candidate's own title, year and
genres.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ckf_demo.tasks.explanations import templates
from ckf_demo.tasks.explanations.facts import (
    TITLES_UP_TO,
    CoLikedItems,
    Facts,
    Film,
    Polarity,
    Tie,
    Wish,
    gather,
    number,
)


@dataclass(frozen=True)
class Explanation:
    """A composed text with the films it leans on and the ties it states."""

    text: str
    evidence: list[Film]
    polarity: Polarity
    ties: tuple[Tie, ...]


def compose(
    history: Sequence[tuple[Film, float]],
    candidate: Film,
    rating: float,
    liked_together: CoLikedItems,
    rng: random.Random,
    taste: str | None = None,
) -> Explanation:
    """One explanation of why a candidate does or does not suit a person, true by the data.

    Parameters are those of `gather`; ``rng`` chooses the wording, never the facts.
    """
    return word(gather(history, candidate, rating, liked_together, taste), rng)


def word(facts: Facts, rng: random.Random) -> Explanation:
    """Puts exactly these facts into words; `rng` chooses among the wordings that fit them."""
    verdict = rng.choice(templates.VERDICT[facts.polarity])
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
        frames = templates.NEUTRAL
    else:
        frames = templates.SUPPORT if _supports(tie, polarity) else templates.CONTRAST
    if tie.kind == "n":
        joined = {True: "{rate}, and {verdict}.", False: "although {rate}, {verdict}."}
        rate = _rate(tie, 0, rng)
        return _join(joined[frames is not templates.CONTRAST], rate=rate, verdict=verdict)
    warm = polarity == "positive"
    if rng.random() < 0.5:
        rate, says = _rate(tie, 0, rng), _tie_clause(tie, warm, rng)
        return _join(rng.choice(frames["rate"]), rate=rate, tie=says, verdict=verdict)
    return _join(rng.choice(frames["link"]), link=_link(tie, 0, warm, rng), verdict=verdict)


def _about_two(facts: Facts, verdict: str, rng: random.Random) -> str:
    first, second = facts.ties
    if facts.polarity == "mixed":
        frame = rng.choice(templates.FOR_AND_AGAINST)
        pro = _link(first, 0, False, rng)
        con = _fill(rng.choice(templates.AGAINST[second.kind]), second, 1, _which(second, rng), rng)
        return _join(frame, first=pro, second=con, verdict=verdict)
    warm = facts.polarity == "positive"
    if first.kind == second.kind == "g" and first.genres == second.genres and rng.random() < 0.6:
        both = _fill(rng.choice(templates.BOTH if warm else templates.BOTH_LOW), first, 0, "", rng)
        both = both.replace("{f}", "{e1}").replace("{q}", number(second.rating))
        return _join(rng.choice(templates.SUPPORT["link"]), link=both, verdict=verdict)
    main = _about_one(first, facts.polarity, verdict, rng)
    also = (
        templates.ALSO["g"]
        if second.kind == "g"
        else templates.ALSO["f warm" if warm else "f plain"]
    )
    return f"{main} {_fill(rng.choice(also), second, 1, _which(second, rng), rng)}"


def _about_candidate(facts: Facts, verdict: str, rng: random.Random) -> str:
    """Without a history only the candidate's genre and era and the taste line may be mentioned."""
    if facts.wish is not None:
        wish = _wish_clause(facts.wish, rng)
        return _join(rng.choice(templates.WISH_FRAMES), wish=wish, verdict=verdict)
    candidate = facts.candidate
    known = [("genre", candidate.labels), ("decade", candidate.decade is not None)]
    key = " ".join(name for name, there in known if there)
    if not key:
        return _join("{verdict}.", verdict=verdict)
    bare = _genre_slots(rng.choice(templates.BARE[key]), candidate.labels[:2], candidate.decade)
    return _join(rng.choice(templates.BARE_FRAMES), bare=bare, verdict=verdict)


def _rate(tie: Tie, place: int, rng: random.Random) -> str:
    return _fill(rng.choice(templates.RATED["high" if tie.liked else "low"]), tie, place, "", rng)


def _which(tie: Tie, rng: random.Random) -> str:
    return rng.choice(templates.RATED["which" if tie.liked else "which low"])


def _tie_clause(tie: Tie, warm: bool, rng: random.Random) -> str:
    forms = {"f": templates.TIE_FANS, "gf": templates.TIE_GENRE_FANS}
    choices = forms[tie.kind]["warm" if warm else "plain"] if tie.fans else templates.TIE[tie.kind]
    return _fill(rng.choice(choices), tie, 0, "", rng)


def _link(tie: Tie, place: int, warm: bool, rng: random.Random) -> str:
    forms = {"f": templates.LINK_FANS, "gf": templates.LINK_GENRE_FANS}
    choices = forms[tie.kind]["warm" if warm else "plain"] if tie.fans else templates.LINK[tie.kind]
    return _fill(rng.choice(choices), tie, place, _which(tie, rng), rng)


def _wish_clause(wish: Wish, rng: random.Random) -> str:
    clause = rng.choice(templates.WISH[wish.kind])
    return clause.replace("{at}", _with_article(wish.genre)).replace("{t}", wish.genre)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:1] in 'AEIO' else 'a'} {noun}"


def _genre_slots(clause: str, genres: Sequence[str], decade: int | None) -> str:
    adjective = " ".join(genres)
    clause = clause.replace("{aG}", _with_article(adjective)).replace("{G}", adjective)
    return clause.replace("{g}", " and ".join(genres)).replace("{d}", f"{decade}s")


def _fill(clause: str, tie: Tie, place: int, which: str, rng: random.Random) -> str:
    """The clause with everything of the tie but the title, whose slot becomes {e0} or {e1}."""
    got = rng.choice(templates.GOT["high" if tie.liked else "low"])
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
