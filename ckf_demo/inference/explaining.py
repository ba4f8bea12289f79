"""Explanations: written, checked against the data by sentence, and rewritten if unsupported."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from threading import Event

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from ckf_demo.backbone.engine import Branch, Prefix
from ckf_demo.inference.causes import situation_of
from ckf_demo.inference.people import Person
from ckf_demo.inference.predictor import COLLABORATIVE_METHOD, Predictor
from ckf_demo.model.predict import branch_of, fuse
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks import rating
from ckf_demo.tasks.explanation import MAX_TOKENS
from ckf_demo.tasks.explanations.claims import ClaimReport, check
from ckf_demo.tasks.explanations.evidence import Evidence, TextEvidence
from ckf_demo.tasks.explanations.facts import Facts, Film, polarity_for
from ckf_demo.tasks.explanations.grounding import Reader, vocabulary
from ckf_demo.tasks.explanations.reasons import Composer, Situation
from ckf_demo.tasks.explanations.verified import Sentence, mentions, verified
from ckf_demo.tasks.explanations.wording import fluent, lead_facts, plainly
from ckf_demo.tasks.prompts import ITEM

AGAIN = LogitsProcessorList(
    [RepetitionPenaltyLogitsProcessor(1.1), NoRepeatNGramLogitsProcessor(3)]
)
"""A text from a small vocabulary soon repeats itself, so used words become less probable and no
three tokens may occur twice."""
ENDS = (".", "!", "?", "”")


@dataclass(frozen=True)
class Judged:
    """A sentence, whether the data support it, and what it rests on.

    ``evidence`` are ``{"item", "title", "rating"}`` of items of the history that it names, as they
    were rated last, and ``{"item", "title", "text"}`` of what somebody wrote.
    """

    text: str
    supported: bool
    evidence: list[dict] = field(default_factory=list)


@dataclass(frozen=True)
class Background:
    """The evidence about a person and an item before an explanation is written."""

    line: str
    """The evidence as the prompt states it."""
    named: list[dict]
    """Items of the history that the explanation may name: ``[{"item", "title"}]``."""
    judge: Callable[[str], list[Judged]]
    """Reads a text sentence by sentence."""
    closing: str = ""
    """A sentence that the data support and that ends the text."""
    words: Collection[int] | None = None
    """Tokens that a second draft may use. None allows all; without any there is no second draft."""
    otherwise: str = ""
    """What is said where nothing of a draft remains."""


@dataclass(frozen=True)
class Reasons(Background):
    """The causes of a prediction, and what may be said of them and of the films."""

    situation: Situation = field(kw_only=True)
    composer: Composer = field(kw_only=True)
    lead: Facts | None = field(kw_only=True)
    """The cited causes as the language model words them; None where they are composed."""


def background_of(
    predictor: Predictor,
    person: Person,
    target: int,
    stars: float | None,
    *,
    summaries: bool = False,
    again: int = 0,
    rated: float | None = None,
) -> Background:
    """Gather evidence: texts that people wrote, or else the causes of the prediction.

    ``stars`` is the predicted rating, which sets the tone; None only where people wrote about
    items. ``summaries`` and ``again`` are as for `Recommender.explain`, and ``rated`` is what the
    person gave the item before.
    """
    if predictor.text_evidence is None:
        assert stars is not None  # an explanation from facts needs a rating
        return _from_causes(predictor, person, target, stars, again, rated)
    return _from_texts(predictor, predictor.text_evidence, person, target, stars, summaries)


def _from_causes(
    predictor: Predictor,
    person: Person,
    target: int,
    stars: float,
    again: int,
    rated: float | None,
) -> Reasons:
    """What moved the prediction; `tasks.explanations.claims` reads the text."""
    candidate, together = predictor.film(target), predictor.liked_together
    history = [
        (predictor.film(int(item)), float(given))
        for item, given in zip(person.items, person.ratings, strict=True)
    ]
    situation = situation_of(predictor, person, target, stars, rated=rated)
    catalogue = tuple(predictor.prepared.titles)
    # a stop within any of these ends no sentence
    held = [candidate.title, candidate.description, *(film.title for film, _ in history)]
    held += [name for film in (candidate, *_films(situation)) for name in film.people]
    held += [situation.better[0].title] if situation.better else []

    def read(words: str) -> ClaimReport:
        return check(
            words,
            history,
            candidate,
            stars,
            together,
            catalogue,
            person.taste,
            known=predictor.known_facts,
            situation=situation,
        )

    # a film that was rated twice counts as it was rated last
    last_rated = {film.title: (film, given) for film, given in history}

    def rests_on(sentence: Sentence) -> list[dict]:
        return [
            {"item": film.item, "title": film.title, "rating": given}
            for film, given in last_rated.values()
            if film.title in sentence.films
        ]

    def judge(text: str) -> list[Judged]:
        return [Judged(s.text, s.supported, rests_on(s)) for s in verified(text, held, read)]

    lead = lead_facts(situation)
    return Reasons(
        "" if lead is None else lead.line,
        [{"item": film.item, "title": film.title} for film in _films(situation)],
        judge,
        situation=situation,
        composer=Composer(situation, again),
        lead=lead,
    )


def _films(situation: Situation) -> list[Film]:
    """The films of the history that an explanation cites."""
    return [cause.film for cause in situation.cited.ratings if cause.film is not None]


def _from_texts(
    predictor: Predictor,
    texts: TextEvidence,
    person: Person,
    target: int,
    stars: float | None,
    summaries: bool,
) -> Background:
    """What people wrote; `tasks.explanations.grounding` reads the text."""
    data = predictor.prepared
    user = None if person.user is None else data.user_index[person.user]
    evidence = texts.gather(
        person.items, target, stars=stars, user=user, before=person.at, summaries=summaries
    )
    ratings = dict(zip(person.items.tolist(), person.ratings.tolist(), strict=True))
    # if two items have one title, the text means the first
    common = {item.title: item.people for item in reversed(evidence.together)}
    reader = Reader(data.titles[target], evidence, common.get)
    written = {text.row: text for text in (*evidence.of_item, *evidence.of_person)}

    def rests_on(rows: Collection[int], items: Collection[int]) -> list[dict]:
        named: list[dict] = []
        for item in items:
            given = ratings[item] if data.feedback == "ratings" else None
            named.append({"item": data.item_ids[item], "title": data.titles[item], "rating": given})
        for text in (written[row] for row in rows if row in written):
            item = text.item
            named.append(
                {"item": data.item_ids[item], "title": data.titles[item], "text": text.text}
            )
        return named

    def judge(text: str) -> list[Judged]:
        judged = []
        for sentence in reader.read(text):
            rows = dict.fromkeys(row for claim in sentence.statements for row in claim.rows)
            items = dict.fromkeys(item for claim in sentence.statements for item in claim.items)
            judged.append(Judged(sentence.text, sentence.supported, rests_on(rows, items)))
        return judged

    return Background(
        evidence.line,
        [{"item": data.item_ids[tie.item], "title": tie.title} for tie in evidence.together],
        judge,
        evidence.closing(data.titles[target]),
        _known_words(predictor, target, evidence),
        evidence.otherwise(data.titles[target]),
    )


def _known_words(predictor: Predictor, target: int, evidence: Evidence) -> set[int]:
    """Tokens that a text about an item may use: all spellings of the known words.

    Empty if nobody wrote anything, since a name alone is no sentence.
    """
    if not evidence.texts:
        return set()
    writer = predictor.system.writer
    words = vocabulary(predictor.prepared.titles[target], evidence).split()
    spelled = {*words, *(word.capitalize() for word in words), ",", ".", "'s"}
    return {
        token for word in spelled for form in (word, f" {word}") for token in writer.tokens(form)
    }


class Explanation:
    """An explanation while it is written.

    ``prompt`` is the question, as `Engine.generate` takes it: prefix, branch and slots. ``stars``
    is the predicted rating, None where the checkpoint was not trained for ratings. ``draft`` is the
    first draft, and ``regenerated`` the number of its sentences that were rewritten.
    """

    def __init__(
        self,
        predictor: Predictor,
        prompt: tuple[Prefix, Branch, Tensor | None],
        background: Background,
        stars: float | None,
        again: int = 0,
    ):
        self._predictor, self._prompt = predictor, prompt
        self.background, self._stars, self._again = background, stars, again
        self._judged: list[Judged] = []
        self.draft = ""
        self.regenerated = 0
        self._lead = ""

    def written(self, stop: Event | None) -> Iterator[str]:
        """Yield the text as it grows.

        Each sentence is checked against the data. The text is rewritten from the first unsupported
        sentence on. ``stop`` ends it early.
        """
        if isinstance(self.background, Reasons):
            yield from self._reasoned(self.background, stop)
            return
        _, branch, _ = self._prompt
        allowed, closing = self.background.words, self.background.closing
        text = ""
        for text in self._words(branch, stop):
            yield text
        self.draft = text
        self._judged = self._read(text, stop)
        wrong = next((i for i, judged in enumerate(self._judged) if not judged.supported), None)
        stopped = stop is not None and stop.is_set()
        if wrong is not None and not stopped and (allowed is None or allowed):
            self.regenerated = len(self._judged) - wrong
            kept = " ".join(sentence.text for sentence in self._judged[:wrong])
            system = self._predictor.system
            kept_ids = system.writer.continuation(kept)[:-1] if kept else []
            drawn = None
            if allowed is None:
                drawn = torch.Generator().manual_seed(system.config.train.seed)
            again = replace(branch, ids=[*branch.ids, *kept_ids])
            for words in self._words(again, stop, drawn, allowed):
                text = f"{kept} {words}".strip()
                yield text
            self._judged = self._read(text, stop)
        if closing and text:
            self._judged += self.background.judge(closing)
            yield f"{text} {closing}"
        if text and not self.text and self.background.otherwise:
            self._judged += self.background.judge(self.background.otherwise)
            yield self.text

    def _reasoned(self, reasons: Reasons, stop: Event | None) -> Iterator[str]:
        """Yield the text as it grows: the lead in the model's words if they hold, and the rest.

        The lead has two drafts, the second one drawn, of which the data must support one; it must
        be fluent besides. Otherwise it is composed.
        """
        composer, text = reasons.composer, " ".join(reasons.composer.opening)
        lead = ""
        if reasons.lead is not None:
            for words in self._worded(reasons.lead, stop):
                yield f"{text} {words}".strip()
            lead = self._lead
        begin = [lead, *composer.weights()] if lead else composer.lead()
        for sentence in (*begin, *composer.rest()):
            if stop is not None and stop.is_set():
                break
            text = f"{text} {sentence}".strip()
            yield text
        self._judged = reasons.judge(text)

    def _worded(self, facts: Facts, stop: Event | None) -> Iterator[str]:
        """Yield drafts of a lead as they grow, and keep what holds and is fluent as `_lead`."""
        films = [film.title for film in (facts.candidate, *facts.evidence)]
        for attempt in range(2):
            # other words are wanted each time again
            seed = 2 * self._again + attempt
            drawn = torch.Generator().manual_seed(seed) if seed else None
            words = ""
            for words in self._words(self._prompt[1], stop, drawn):
                yield words
            self.draft = self.draft or words
            said = plainly(words, films)
            judged = self._read(said, stop)
            if judged and all(sentence.supported for sentence in judged):
                # drawn words are no more fluent, so such a draft is not written again
                self._lead = said if fluent(said, facts) else ""
                return
            self.regenerated += len(judged)

    @property
    def worded(self) -> bool:
        """Whether the language model's words stand in a text of causes."""
        return bool(self._lead)

    @property
    def text(self) -> str:
        """The supported sentences; empty if nothing was written."""
        return " ".join(sentence.text for sentence in self._judged if sentence.supported)

    @property
    def result(self) -> dict:
        """The last step of `Recommender.explain`, without times."""
        text, named = self.text, self.background.named
        mentioned = mentions(text, [item["title"] for item in named])
        return {
            "text": text,
            "evidence": [item for item in named if item["title"] in mentioned],
            "causes": self._causes,
            "polarity": "positive" if self._stars is None else polarity_for(self._stars),
            "rating": self._stars,
            "draft": self.draft,
            "sentences": [
                {"text": sentence.text, "evidence": sentence.evidence}
                for sentence in self._judged
                if sentence.supported
            ],
            "regenerated": self.regenerated,
            "dropped": sum(not sentence.supported for sentence in self._judged),
        }

    @property
    def _causes(self) -> list[dict]:
        """What moved the prediction, the greatest effect first; empty where people wrote texts."""
        if not isinstance(self.background, Reasons):
            return []
        situation = self.background.situation
        cited = situation.cited
        return [
            {
                "kind": cause.kind,
                "item": cause.film.item if cause.film else None,
                "title": cause.film.title if cause.film else None,
                "stars": cause.rating if cause.film else None,
                "effect": cause.effect,
                "cited": cause in (cited.main, cited.second, cited.opposite),
            }
            for cause in sorted(situation.causes, key=lambda cause: -abs(cause.effect))
        ]

    def _read(self, text: str, stop: Event | None) -> list[Judged]:
        """The sentences of a text.

        A sentence that the token limit cut off counts as unsupported, since its end is unknown.
        One that a visitor stopped is checked as it is.
        """
        judged = self.background.judge(text)
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
        """The text after a branch, longer by one token each time."""
        prefix, _, slots = self._prompt
        system = self._predictor.system
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

        def following() -> int | None:
            # one token at a time: a generator may be resumed in another thread, and others wait
            with self._predictor.lock:
                return next(generated, None)

        tokens: list[int] = []
        for token in iter(following, None):
            tokens.append(token)
            yield system.writer.decode(tokens).strip()


MIDDLING = 3.0
"""Stars that are neither praised nor advised against."""


def predicted_stars(predictor: Predictor, person: Person, target: int, method: str) -> float | None:
    """The rating that sets the tone; None if the checkpoint was not trained for ratings.

    What the person does not ask for is not praised, whatever its rating.
    """
    if "rating" not in predictor.tasks and predictor.text_evidence is not None:
        return None
    stars = float(rating.expectation(predictor.ask(person, [("rating", target, method)])[0]))
    return min(stars, MIDDLING) if predictor.is_unwanted(person, target) else stars


@torch.inference_mode()
def begin(
    predictor: Predictor,
    person: Person,
    target: int,
    method: str,
    *,
    summaries: bool = False,
    bridges: tuple[Tensor, Tensor] | None = None,
    again: int = 0,
) -> Explanation:
    """Prepare an explanation; arguments as for `explain`."""
    system = predictor.system
    rated, person = person.rating_of(target), person.without(target)
    stars = predicted_stars(predictor, person, target, method)
    background = background_of(
        predictor, person, target, stars, summaries=summaries, again=again, rated=rated
    )
    tokens = system.fusion.uses_tokens and method == predictor.methods[0]
    context = predictor.context(person)
    question = context.question("explanation", target, facts=background.line)
    text = context.prefix(system.writer, with_tokens=tokens)
    prefix = predictor.prefixes(text.ids)
    branch = branch_of(system, question, text, context, tokens)
    slots = None
    if tokens:
        slots = system.slot(fuse(system, context, [question], bridges=bridges), 0)
    return Explanation(predictor, (prefix, branch, slots), background, stars, again)


def explain(
    predictor: Predictor,
    person: Person,
    target: int,
    method: str,
    *,
    stop: Event | None = None,
    summaries: bool = False,
    bridges: tuple[Tensor, Tensor] | None = None,
    again: int = 0,
) -> Iterator[dict]:
    """Yield an explanation as it is written; see `Recommender.explain`."""
    began = time.perf_counter()
    if method == COLLABORATIVE_METHOD:
        raise UserError("The collaborative signal alone writes no explanations; choose ckf.")
    with predictor.lock:
        explanation = begin(
            predictor, person, target, method, summaries=summaries, bridges=bridges, again=again
        )
    first = None
    for text in explanation.written(stop):
        first = first or since(began)
        yield {"text": text}
    yield {
        **explanation.result,
        "at": person.at,
        "seconds": since(began),
        "first_words_seconds": first,
    }


def prompt_pieces(
    predictor: Predictor, person: Person, target: int, task: str, method: str
) -> list[dict]:
    """The prompt of a question; see `Recommender.prompt`."""
    if method == COLLABORATIVE_METHOD:
        raise UserError("The collaborative signal alone answers without a prompt.")
    writer, fusion = predictor.system.writer, predictor.system.fusion
    tokens = fusion.uses_tokens and method == predictor.methods[0]
    text = predictor.context(person).prefix(writer, with_tokens=tokens)
    facts = ""
    if task == "explanation":
        stars = predicted_stars(predictor, person, target, method)
        facts = background_of(predictor, person, target, stars).line
    pieces: list[tuple[str, str]] = []
    for is_word, run in groupby(text.ids, key=lambda i: i >= 0):
        ids = list(run)
        # other ids are tokens of history items, each a piece of its own
        pieces += [(writer.decode(ids), "text")] if is_word else [("<item>", ITEM)] * len(ids)
    pieces += writer.pieces(task, target, with_tokens=tokens, facts=facts)
    joined = [{"text": "", "kind": "text"}]
    for piece, kind in [*pieces, ("", "answer")]:
        if kind == "text" and joined[-1]["kind"] == "text":
            joined[-1]["text"] += piece
        else:
            joined.append({"text": piece, "kind": kind})
    return joined


def since(began: float) -> float:
    """Seconds since a moment of `time.perf_counter`."""
    return round(time.perf_counter() - began, 3)
