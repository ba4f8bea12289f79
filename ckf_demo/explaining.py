"""An explanation in the making: written, held against the data, and once more where it fails."""

from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckf_demo.backbone.engine import Branch, Prefix
from ckf_demo.tasks.claims import ClaimReport, check
from ckf_demo.tasks.explanation import MAX_TOKENS
from ckf_demo.tasks.verified import Sentence, supported_text, verified

if TYPE_CHECKING:
    from ckf_demo.recommender import Recommender, Someone


class Explaining:
    """What is said to a person about a film.

    Parameters
    ----------
    person, target, stars
        Whose history is known, the film's index, and the rating that was predicted.
    prefix, branch, slots
        The question, as `Engine.generate` takes it.

    Attributes
    ----------
    regenerated
        Sentences of the first draft that were written once more.
    """

    def __init__(
        self,
        recommender: "Recommender",
        person: "Someone",
        target: int,
        stars: float,
        prefix: Prefix,
        branch: Branch,
        slots: Tensor | None,
    ):
        self._recommender, self._person, self._stars = recommender, person, stars
        self._asked = prefix, branch, slots
        self._candidate = recommender.film(target)
        self._history = [
            (recommender.film(int(item)), float(given))
            for item, given in zip(person.items, person.ratings, strict=True)
        ]
        self._judged: list[Sentence] = []
        self.regenerated = 0

    def written(self, stop: Event | None) -> Iterator[str]:
        """The text as it grows. Each sentence is held against the data, and from the first one that
        they do not bear out everything is drawn once more; ``stop`` ends it early."""
        _, branch, _ = self._asked
        text = ""
        for text in self._words(branch, stop):
            yield text
        self._judged = self._judge(text)
        wrong = next((i for i, own in enumerate(self._judged) if not own.supported), None)
        if wrong is None or (stop is not None and stop.is_set()):
            return
        self.regenerated = len(self._judged) - wrong
        kept = " ".join(own.text for own in self._judged[:wrong])
        system = self._recommender.system
        known = system.writer.continuation(kept)[:-1] if kept else []
        drawn = torch.Generator().manual_seed(system.config.train.seed)
        for words in self._words(replace(branch, ids=[*branch.ids, *known]), stop, drawn):
            text = f"{kept} {words}".strip()
            yield text
        self._judged = self._judge(text)

    @property
    def text(self) -> str:
        """What the data bear out of it; empty where nothing was written."""
        return supported_text(self._judged) if self._judged else ""

    @property
    def sentences(self) -> list[dict]:
        """``[{"text", "evidence": [{"item", "title", "rating"}]}]``: what is borne out, and the
        films of the history that each sentence names, as they were rated last."""
        return [
            {"text": own.text, "evidence": self._rests_on(own)}
            for own in self._judged
            if own.supported
        ]

    @property
    def dropped(self) -> int:
        """Sentences that were left out in the end."""
        return sum(not own.supported for own in self._judged)

    def _words(
        self, branch: Branch, stop: Event | None, drawn: torch.Generator | None = None
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

    def _judge(self, text: str) -> list[Sentence]:
        recommender = self._recommender
        titles = [self._candidate.title, *(film.title for film, _ in self._history)]
        catalogue = tuple(recommender.prepared.titles)

        def read(words: str) -> ClaimReport:
            return check(
                words,
                self._history,
                self._candidate,
                self._stars,
                recommender.liked_together,
                catalogue,
                self._person.taste,
            )

        return verified(text, titles, read)

    def _rests_on(self, sentence: Sentence) -> list[dict]:
        named = {
            film.title: {"item": film.item, "title": film.title, "rating": given}
            for film, given in self._history
            if film.title in sentence.films
        }
        return list(named.values())
