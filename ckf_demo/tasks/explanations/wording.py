"""Puts checked facts into one to three sentences, in one of many wordings.

Everything in a text can be derived from the fact line and the candidate's own title, year and
genres.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ckf_demo.runtime.assets import asset
from ckf_demo.tasks.explanations.facts import (
    GENRES,
    TITLES_UP_TO,
    CoLikedItems,
    Facts,
    Film,
    Polarity,
    Tie,
    Wish,
    gather,
    number,
    tie_between,
)
from ckf_demo.tasks.explanations.reasons import STRONG, Cause, Situation
from ckf_demo.tasks.explanations.speech import kind_of, shared_genres, with_article


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
    genre = shared_genres([wish.genre])
    return clause.replace("{at}", with_article(kind_of([wish.genre]))).replace("{t}", genre)


def _genre_slots(clause: str, genres: Sequence[str], decade: int | None) -> str:
    kind = kind_of(genres)
    clause = clause.replace("{aG}", with_article(kind)).replace("{G}", kind)
    clause = clause.replace("{Gs}", kind_of(genres, plural=True))
    return clause.replace("{g}", shared_genres(genres)).replace("{d}", f"{decade}s")


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


# Texts of the language model

SAMPLES = 600
"""Wordings that a draft is compared with."""


def lead_facts(situation: Situation) -> Facts | None:
    """The cited causes as facts that a language model may word; None where they need more words.

    It may where a rating is a strong cause and what is known of both films speaks the same way.
    """
    cited, polarity = situation.cited, situation.polarity
    main, other = cited.main, cited.opposite
    if main is None or main.film is None or abs(main.effect) < STRONG:
        return None
    if polarity == "mixed":
        if other is None or other.film is None:
            return None
        pro, con = (main, other) if main.effect > 0 else (other, main)
        ties = (_tie_of(pro, situation).single(), _tie_of(con, situation).single())
        fit = ties[0].liked and ties[0].kind in ("g", "f")
        fit = fit and not ties[1].liked and ties[1].kind in ("g", "f")
    else:
        ties = (_tie_of(main, situation),)
        fit = bool(ties[0].genres or ties[0].fans) and _supports(ties[0], polarity)
    return Facts(situation.candidate, polarity, ties) if fit else None


def _tie_of(cause: Cause, situation: Situation) -> Tie:
    assert cause.film is not None
    return tie_between(cause.film, cause.rating, situation.candidate, situation.liked_together)


def fluent(text: str, facts: Facts) -> bool:
    """Whether a draft names the cited films and has only pairs of words that wordings have."""
    films = {"T": facts.candidate.title} | {f"E{i}": f.title for i, f in enumerate(facts.evidence)}
    words = _masked(text, films)
    if not all(name in words for name in films if name != "T"):
        return False
    wordings = (_masked(word(facts, random.Random(seed)).text, films) for seed in range(SAMPLES))
    known = {pair for each in wordings for pair in _pairs(each)}
    return _pairs(words) <= known


def _masked(text: str, films: Mapping[str, str]) -> list[str]:
    for name, title in sorted(films.items(), key=lambda pair: -len(pair[1])):
        text = text.replace(title, name)
    return re.findall(r"[\w’']+|[^\w\s]", text[:1].lower() + text[1:])


def _pairs(words: Sequence[str]) -> set[tuple[str, str]]:
    return set(pairwise(["", *words, ""]))


_LABELS = "|".join(map(re.escape, GENRES))
_LABELLED = re.compile(
    rf"(?:\b(?P<article>[Aa]n?) )?\b(?P<labels>(?:{_LABELS})(?:(?: and)? (?:{_LABELS}))*)\b"
    r"(?P<films> films?\b)?"
)


def plainly(text: str, titles: Sequence[str]) -> str:
    """A text of the language model with the data's labels as words: "a crime drama".

    Turns of phrase that earlier adapters learnt are mended (``assets/wordings.toml``).
    """

    def said(found: re.Match[str]) -> str:
        labels = re.findall(_LABELS, found["labels"])
        if found["films"] is None:
            return (
                f"{found['article']} {kind_of(labels)}"
                if found["article"]
                else shared_genres(labels)
            )
        if found["films"] == " films":
            return kind_of(labels, plural=True)
        kind = kind_of(labels)
        return with_article(kind) if found["article"] else kind

    for old, new in asset("wordings.toml")["mended"].items():
        text = text.replace(old, new)
    held = sorted((t for t in titles if t), key=len, reverse=True)
    pattern = "|".join(map(re.escape, held))
    parts = re.split(f"({pattern})", text) if held else [text]
    return "".join(p if place % 2 else _LABELLED.sub(said, p) for place, p in enumerate(parts))
