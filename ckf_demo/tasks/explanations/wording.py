"""Puts checked facts into one to three sentences, in one of many wordings.

Everything in a text can be derived from the fact line and the candidate's own title, year and
genres.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ckf_demo.runtime.assets import asset
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


def _draw(rng: random.Random, kind: str, case: str | None = None) -> str:
    """One wording of a kind, or of a case of it; ``assets/wordings.toml`` explains their slots."""
    choices = asset("wordings.toml")[kind]
    return rng.choice(choices if case is None else choices[case])


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
    """One explanation, true by the data: `word` of what `gather` finds."""
    return word(gather(history, candidate, rating, liked_together, taste), rng)


def word(facts: Facts, rng: random.Random) -> Explanation:
    """Puts exactly these facts into words; `rng` chooses among the wordings that fit them."""
    verdict = _draw(rng, "verdict", facts.polarity)
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
        frames = "neutral"
    else:
        frames = "support" if _supports(tie, polarity) else "contrast"
    if tie.kind == "n":
        joined = {True: "{rate}, and {verdict}.", False: "although {rate}, {verdict}."}
        rate = _rate(tie, rng)
        return _join(joined[frames != "contrast"], rate=rate, verdict=verdict)
    warm = polarity == "positive"
    if rng.random() < 0.5:
        rate = _rate(tie, rng)
        says = _fill(_shared("tie", tie, warm, rng), tie, 0, "", rng)
        return _join(_draw(rng, frames, "rate"), rate=rate, tie=says, verdict=verdict)
    return _join(_draw(rng, frames, "link"), link=_link(tie, warm, rng), verdict=verdict)


def _about_two(facts: Facts, verdict: str, rng: random.Random) -> str:
    first, second = facts.ties
    if facts.polarity == "mixed":
        frame = _draw(rng, "for_and_against")
        pro = _link(first, False, rng)
        con = _fill(_draw(rng, "against", second.kind), second, 1, _which(second, rng), rng)
        return _join(frame, first=pro, second=con, verdict=verdict)
    warm = facts.polarity == "positive"
    if first.kind == second.kind == "g" and first.genres == second.genres and rng.random() < 0.6:
        both = _fill(_draw(rng, "both" if warm else "both_low"), first, 0, "", rng)
        both = both.replace("{f}", "{e1}").replace("{q}", number(second.rating))
        return _join(_draw(rng, "support", "link"), link=both, verdict=verdict)
    main = _about_one(first, facts.polarity, verdict, rng)
    case = "g" if second.kind == "g" else "f warm" if warm else "f plain"
    return f"{main} {_fill(_draw(rng, 'also', case), second, 1, _which(second, rng), rng)}"


def _about_candidate(facts: Facts, verdict: str, rng: random.Random) -> str:
    """Without a history only the candidate's genre and era and the taste line may be mentioned."""
    if facts.wish is not None:
        wish = _wish_clause(facts.wish, rng)
        return _join(_draw(rng, "wish_frames"), wish=wish, verdict=verdict)
    candidate = facts.candidate
    known = [("genre", candidate.labels), ("decade", candidate.decade is not None)]
    key = " ".join(name for name, there in known if there)
    if not key:
        return _join("{verdict}.", verdict=verdict)
    bare = _genre_slots(_draw(rng, "bare", key), candidate.labels[:2], candidate.decade)
    return _join(_draw(rng, "bare_frames"), bare=bare, verdict=verdict)


def _rate(tie: Tie, rng: random.Random) -> str:
    return _fill(_draw(rng, "rated", "high" if tie.liked else "low"), tie, 0, "", rng)


def _which(tie: Tie, rng: random.Random) -> str:
    return _draw(rng, "rated", "which" if tie.liked else "which low")


def _shared(form: str, tie: Tie, warm: bool, rng: random.Random) -> str:
    """What film and candidate share, in the form "tie" or "link"."""
    if not tie.fans:
        return _draw(rng, form, tie.kind)
    kinds = {"f": f"{form}_fans", "gf": f"{form}_genre_fans"}
    return _draw(rng, kinds[tie.kind], "warm" if warm else "plain")


def _link(tie: Tie, warm: bool, rng: random.Random) -> str:
    return _fill(_shared("link", tie, warm, rng), tie, 0, _which(tie, rng), rng)


def _wish_clause(wish: Wish, rng: random.Random) -> str:
    clause = _draw(rng, "wish", wish.kind)
    return clause.replace("{at}", _with_article(wish.genre)).replace("{t}", wish.genre)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:1] in 'AEIO' else 'a'} {noun}"


def _genre_slots(clause: str, genres: Sequence[str], decade: int | None) -> str:
    adjective = " ".join(genres)
    clause = clause.replace("{aG}", _with_article(adjective)).replace("{G}", adjective)
    return clause.replace("{g}", " and ".join(genres)).replace("{d}", f"{decade}s")


def _fill(clause: str, tie: Tie, place: int, which: str, rng: random.Random) -> str:
    """The clause with everything of the tie but the title, whose slot becomes {e0} or {e1}."""
    got = _draw(rng, "got", "high" if tie.liked else "low")
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
