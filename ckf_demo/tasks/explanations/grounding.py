"""Checks a text about an item against the texts and choices that it may rest on.

Words are compared. A statement is what stands between commas or "and". It is supported when each of
its words occurs in what others wrote of the item, in what the user wrote before, or in its title.

- Words that say nothing of an item ("the user would enjoy it for") need no support.
- A negated word needs a text that negates it too, and any other word one that does not.
- A number must occur in a text.
- A statement in the first person is not supported, since the language model has been nowhere.
- "12 people who chose X chose Y too" is counted again.
- "Somebody who gave it 4 of 5 wrote" and "it was said" are compared with what was written.

A statement in doubt is not supported: "delicious" does not support "tasty". The check does not see
who did what to whom, so words that were all written may be joined to something that nobody wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ckf_demo.runtime.assets import word_list
from ckf_demo.tasks.explanations.evidence import UNNAMED, Evidence

SPEECH = word_list("speech")
"""Words that say nothing of an item, besides stop words."""
TELLING = word_list("telling")
"""Words on scikit-learn's list of stop words that do say something of an item."""
NEGATIONS = word_list("negations")
FIRST_PERSON = word_list("first_person")
REACH = 3
"""Words behind a negation that it negates."""
_WORD = re.compile(r"[^\W_](?:[\w'’&]*[^\W_])?")
_STATEMENT = re.compile(r"[,;:]\s+(?:and\s+|but\s+)?|\s+(?:and|but|while|making it|as well as)\s+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'])")
_QUOTED = re.compile(r"((?:Somebody who gave it [\d.]+ of 5 wrote|Of [^“]+ it was said): “[^”]*”)")
_COUNTED = re.compile(r"^(\d+) people who chose (.+) chose (.+) too\.?$")


@dataclass(frozen=True)
class Statement:
    """A part of a sentence; ``rows`` are the interactions whose texts support its words."""

    text: str
    supported: bool
    rows: tuple[int, ...] = ()
    items: tuple[int, ...] = ()
    """Items of the history that it names."""


@dataclass(frozen=True)
class Grounded:
    """A sentence with its statements."""

    text: str
    statements: tuple[Statement, ...]

    @property
    def supported(self) -> bool:
        """Whether all statements are supported."""
        return all(statement.supported for statement in self.statements)


def stem(word: str) -> str:
    """A word in lower case without the commonest endings: "flavor" for "flavors" and "flavored"."""
    word = word.lower().replace("’", "'").removesuffix("'s")
    for ending in ("ingly", "edly", "ing", "ies", "ed", "es", "ly", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    return word.removesuffix("e") if len(word) > 4 else word


def tokens(text: str) -> list[tuple[str, bool]]:
    """Stems of a text's words, and whether each is negated; negations themselves are left out."""
    out, denied = [], 0
    for found in _WORD.finditer(text):
        word = found[0].lower().replace("’", "'")
        if word in NEGATIONS:
            denied = REACH
            continue
        out.append((stem(word), denied > 0))
        denied -= 1
    return out


_PLAIN = (ENGLISH_STOP_WORDS | SPEECH) - TELLING
_QUIET = frozenset(stem(word) for word in _PLAIN)


def content(word: str) -> bool:
    """Whether a word says something of an item."""
    return stem(word) not in _QUIET and word.lower() not in NEGATIONS


class Reader:
    """Checks texts about the item of a title against the evidence.

    ``common`` says how many users chose both the item and one of a given title; None for an item
    that the user did not choose.
    """

    def __init__(self, title: str, evidence: Evidence, common: Callable[[str], int | None]):
        self._title, self._evidence, self._common = title, evidence, common
        self._names = {stem(w) for w in _WORD.findall(title)}
        texts = (*evidence.summaries, *evidence.of_item, *evidence.of_person)
        self._written = [(text.row, set(tokens(text.text))) for text in texts]

    def read(self, text: str) -> list[Grounded]:
        """The sentences of a text, each with its statements."""
        # a quotation may hold several sentences
        parts: list[str] = []
        for place, part in enumerate(_QUOTED.split(text)):
            parts += [part] if place % 2 else _SENTENCE.split(part)
        sentences = [part.strip() for part in parts if part.strip()]
        return [Grounded(sentence, tuple(self._statements(sentence))) for sentence in sentences]

    def _statements(self, sentence: str) -> Iterable[Statement]:
        if (counted := _COUNTED.match(sentence)) is not None:
            yield self._recount(sentence, *counted.groups())
            return
        if _QUOTED.fullmatch(sentence):
            evidence = self._evidence
            alone = (
                (text.row, replace(evidence, of_item=(text,), summaries=()))
                for text in (*evidence.of_item, *evidence.summaries)
            )
            rows = [
                row
                for row, said in alone
                if sentence in (said.closing(self._title), said.otherwise(self._title))
            ]
            yield Statement(sentence, bool(rows), tuple(rows))
            return
        if sentence == Evidence().otherwise(self._title):
            unwritten = not (self._evidence.of_item or self._evidence.summaries)
            yield Statement(sentence, unwritten)
            return
        # a name may hold a comma or "and"
        masked = sentence.replace(self._title, "\0") if self._title else sentence
        for part in _STATEMENT.split(masked):
            if _WORD.search(part) or "\0" in part:
                yield self._statement(part.replace("\0", self._title).strip(" .!?"))

    def _recount(self, sentence: str, number: str, first: str, second: str) -> Statement:
        holds = self._common(first) == int(number) and second == (self._title or UNNAMED)
        items = tuple(tie.item for tie in self._evidence.together if tie.title == first)
        return Statement(sentence, holds, (), items)

    def _statement(self, part: str) -> Statement:
        rows: list[int] = []
        words = {word.lower().replace("’", "'") for word in _WORD.findall(part)}
        supported = not FIRST_PERSON & words
        for word, denied in tokens(part):
            if not denied and (word in _QUIET or word in self._names):
                continue
            bearing = [row for row, written in self._written if (word, denied) in written]
            rows += bearing
            if not bearing and not (denied and word in _QUIET):
                supported = False
        return Statement(part, supported, tuple(dict.fromkeys(rows)))


def vocabulary(title: str, evidence: Evidence) -> str:
    """The words that a text about an item may use, as one text."""
    words = " ".join([title, *evidence.texts, *sorted(_PLAIN)]).split()
    return " ".join(word for word in words if word.lower() not in FIRST_PERSON)
