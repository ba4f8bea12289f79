"""An explanation in the making: written, held against the data, and once more where it fails."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from ckf_demo.backbone.engine import Branch, Prefix
from ckf_demo.tasks.explanation import MAX_TOKENS
from ckf_demo.tasks.explanations.claims import ClaimReport, check
from ckf_demo.tasks.explanations.evidence import Evidence
from ckf_demo.tasks.explanations.grounding import Reader, vocabulary
from ckf_demo.tasks.explanations.verified import NOTHING, Sentence, verified

if TYPE_CHECKING:
    from ckf_demo.recommender import Person, Recommender


@dataclass(frozen=True)
class Judged:
    """A sentence, whether the data bear it out, and what it rests on.

    ``evidence`` are ``{"item", "title", "rating"}`` of things of the history that it names, as they
    were rated last, and ``{"item", "title", "text"}`` of what somebody wrote.
    """

    text: str
    supported: bool
    evidence: list[dict] = field(default_factory=list)


AGAIN = LogitsProcessorList(
    [RepetitionPenaltyLogitsProcessor(1.1), NoRepeatNGramLogitsProcessor(3)]
)
"""From few words a text soon says the same again: what stands there becomes less probable, and no
three tokens stand there twice."""
ENDS = (".", "!", "?", "”")

Judge = Callable[[str], list[Judged]]


class Explaining:
    """What is said to a person about an item.

    Parameters
    ----------
    prefix, branch, slots
        The question, as `Engine.generate` takes it.
    judge
        Reads a text sentence by sentence.
    closing
        A sentence that the data bear out and that ends the text.
    words
        Tokens that a second draft is made of; None for any, which are then drawn, and none at all
        for no second draft.

    Attributes
    ----------
    draft
        What was written at first.
    regenerated
        Sentences of the first draft that were written once more.
    """

    def __init__(
        self,
        recommender: "Recommender",
        prefix: Prefix,
        branch: Branch,
        slots: Tensor | None,
        judge: Judge,
        *,
        closing: str = "",
        words: Collection[int] | None = None,
    ):
        self._recommender = recommender
        self._asked = prefix, branch, slots
        self._judge, self._closing, self._allowed = judge, closing, words
        self._judged: list[Judged] = []
        self.draft = ""
        self.regenerated = 0

    def written(self, stop: Event | None) -> Iterator[str]:
        """The text as it grows. Each sentence is held against the data, and from the first one that
        they do not bear out everything is written once more; ``stop`` ends it early."""
        _, branch, _ = self._asked
        text = ""
        for text in self._words(branch, stop):
            yield text
        self.draft = text
        self._judged = self._read(text, stop)
        wrong = next((i for i, own in enumerate(self._judged) if not own.supported), None)
        stopped = stop is not None and stop.is_set()
        if wrong is not None and not stopped and (self._allowed is None or self._allowed):
            self.regenerated = len(self._judged) - wrong
            kept = " ".join(own.text for own in self._judged[:wrong])
            system = self._recommender.system
            known = system.writer.continuation(kept)[:-1] if kept else []
            drawn = None
            if self._allowed is None:
                drawn = torch.Generator().manual_seed(system.config.train.seed)
            again = replace(branch, ids=[*branch.ids, *known])
            for words in self._words(again, stop, drawn, self._allowed):
                text = f"{kept} {words}".strip()
                yield text
            self._judged = self._read(text, stop)
        if self._closing and text:
            self._judged += self._judge(self._closing)
            yield f"{text} {self._closing}"

    @property
    def text(self) -> str:
        """What the data bear out of it; empty where nothing was written."""
        kept = " ".join(own.text for own in self._judged if own.supported)
        return kept or (NOTHING if self._judged else "")

    @property
    def sentences(self) -> list[dict]:
        """``[{"text", "evidence"}]``: what is borne out, with what each rests on; see `Judged`."""
        return [
            {"text": own.text, "evidence": own.evidence} for own in self._judged if own.supported
        ]

    @property
    def dropped(self) -> int:
        """Sentences that were left out in the end."""
        return sum(not own.supported for own in self._judged)

    def _read(self, text: str, stop: Event | None) -> list[Judged]:
        """The sentences of a text. One that the limit cut off is not borne out, since nobody knows
        what it would have said; one that a visitor stopped is read as it stands."""
        judged = self._judge(text)
        stopped = stop is not None and stop.is_set()
        if judged and not text.endswith(ENDS) and not stopped:
            judged[-1] = replace(judged[-1], supported=False)
        return judged

    def _words(
        self,
        branch: Branch,
        stop: Event | None,
        drawn: torch.Generator | None = None,
        allowed: Collection[int] | None = None,
    ) -> Iterator[str]:
        """The words behind a branch, longer by a token each time."""
        prefix, _, slots = self._asked
        system, lock = self._recommender.system, self._recommender._lock
        generated = system.engine.generate(
            prefix,
            branch,
            slots,
            stop_ids=system.writer.stop_ids,
            max_tokens=MAX_TOKENS,
            stop=stop,
            drawn=drawn,
            allowed=allowed,
            processors=AGAIN if allowed else None,
        )
        tokens: list[int] = []
        while True:
            # one token at a time: a generator may be resumed in another thread, and others wait
            with lock:
                token = next(generated, None)
            if token is None:
                return
            tokens.append(token)
            yield system.writer.decode(tokens).strip()


def by_facts(recommender: "Recommender", person: "Person", target: int, stars: float) -> Judge:
    """Sentences about a film, read by `ckf_demo.tasks.explanations.claims`."""
    candidate = recommender.film(target)
    history = [
        (recommender.film(int(item)), float(given))
        for item, given in zip(person.items, person.ratings, strict=True)
    ]
    titles = [candidate.title, *(film.title for film, _ in history)]
    catalogue = tuple(recommender.prepared.titles)

    def read(words: str) -> ClaimReport:
        together, taste = recommender.liked_together, person.taste
        return check(words, history, candidate, stars, together, catalogue, taste)

    def rests_on(sentence: Sentence) -> list[dict]:
        named = {
            film.title: {"item": film.item, "title": film.title, "rating": given}
            for film, given in history
            if film.title in sentence.films
        }
        return list(named.values())

    return lambda text: [
        Judged(own.text, own.supported, rests_on(own)) for own in verified(text, titles, read)
    ]


def by_texts(
    recommender: "Recommender", person: "Person", target: int, evidence: Evidence
) -> Judge:
    """Reads sentences about an item that people wrote about (`tasks.explanations.grounding`)."""
    data = recommender.prepared
    ratings = dict(zip(person.items.tolist(), person.ratings.tolist(), strict=True))
    # of two things with one title the first is the one that is spoken of
    known = {own.title: own.people for own in reversed(evidence.together)}
    reader = Reader(data.titles[target], evidence, known.get)
    texts = {own.row: own for own in (*evidence.of_item, *evidence.of_person)}

    def rests_on(rows: Sequence[int], items: Sequence[int]) -> list[dict]:
        named = [
            {
                "item": data.item_ids[item],
                "title": data.titles[item],
                "rating": ratings[item] if data.feedback == "ratings" else None,
            }
            for item in items
        ]
        said = [
            {
                "item": data.item_ids[texts[row].item],
                "title": data.titles[texts[row].item],
                "text": texts[row].text,
            }
            for row in rows
            if row in texts
        ]
        return named + said

    def judge(text: str) -> list[Judged]:
        judged = []
        for sentence in reader.read(text):
            rows = dict.fromkeys(row for own in sentence.statements for row in own.rows)
            items = dict.fromkeys(item for own in sentence.statements for item in own.items)
            judged.append(
                Judged(sentence.text, sentence.supported, rests_on(list(rows), list(items)))
            )
        return judged

    return judge


def words_of(recommender: "Recommender", target: int, evidence: Evidence) -> set[int]:
    """Tokens of which a text about an item may be made: all the spellings of the known words; none
    where nobody wrote anything, since a name alone makes no sentence."""
    if not evidence.texts:
        return set()
    writer = recommender.system.writer
    known = vocabulary(recommender.prepared.titles[target], evidence)
    words = known.split()
    spelled = {*words, *(word.capitalize() for word in words), ",", ".", "'s"}
    return {
        token for word in spelled for form in (word, f" {word}") for token in writer.tokens(form)
    }
