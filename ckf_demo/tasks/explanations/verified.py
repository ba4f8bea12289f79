"""Checks an explanation sentence by sentence: what each says, and whether the data support it."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ckf_demo.tasks.explanations.claims import Claim, ClaimReport

_STOP = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"“'‘])")
_WITHIN = str.maketrans(".!?", "___")


@dataclass(frozen=True)
class Sentence:
    """One sentence of an explanation."""

    text: str
    claims: tuple[Claim, ...]
    """The claims that no sentence before it makes."""
    films: tuple[str, ...]
    """Titles of the films of the history that it names."""
    supported: bool
    """Whether every film that it names is in the history, and every claim is true."""


def sentences(text: str, titles: Iterable[str]) -> list[str]:
    """The sentences of a text, in order; a stop within one of the titles ends none."""
    masked = text
    for title in sorted((t for t in titles if t), key=len, reverse=True):
        masked = masked.replace(title, title[:-1].translate(_WITHIN) + title[-1])
    parts, start = [], 0
    for found in _STOP.finditer(masked):
        parts.append(text[start : found.start()])
        start = found.end()
    return [part for part in (*parts, text[start:]) if part.strip()]


def mentions(text: str, titles: Iterable[str]) -> set[str]:
    """The titles that a text names; one within another title, as in Batman Returns, is not."""
    longest = sorted({t for t in titles if t}, key=len, reverse=True)
    if not longest:
        return set()
    pattern = "|".join(map(re.escape, longest))
    return set(re.findall(rf"(?<!\w)(?:{pattern})(?!\w)", text))


def verified(
    text: str, titles: Sequence[str], check: Callable[[str], ClaimReport]
) -> list[Sentence]:
    """Every sentence, checked together with the supported ones before it.

    ``titles`` are those of the films that the text may speak of, and ``check`` reads a text against
    the data (`ckf_demo.tasks.explanations.claims.check`).
    """
    kept, judged = "", []
    claims: tuple[Claim, ...] = ()
    for sentence in sentences(text, titles):
        together = f"{kept} {sentence}".strip()
        report = check(together)
        supported = report.ok_films and report.ok_ties
        new = tuple(claim for claim in report.ties if claim not in claims)
        mentioned = mentions(sentence, [*titles, *report.named])
        named = tuple(title for title in report.evidence if title in mentioned)
        judged.append(Sentence(sentence.strip(), new, named, supported))
        if supported:
            kept, claims = together, claims + new
    return judged
