"""Prompts: opening and profile, then the history, then a branch for each question.

The order is fixed, since everything before the branch is shared by all questions about a person:

    Films one viewer rated, oldest first, 1 (worst) to 5 (best).
    Viewer: 24, M, technician
    Taste: likes Film-Noir, Thriller
    4 Toy Story                            ← the prefix ends after some history line
    Viewer <user token> and Fargo, 1996, Crime, Drama <item token>
    Stars: 4                               ← a branch, in its task's words

A ranking asks the same of a hundred films, so its question comes first and each film is named by
title alone; year and genres reach the language model through the item token's pair features:

    Viewer <user token> watches next: Fargo <item token>?
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import numpy as np
from pydantic import AfterValidator, Field
from transformers import PreTrainedTokenizerBase

from ckf_demo.backbone.engine import Branch
from ckf_demo.data.sources.base import FILMS
from ckf_demo.runtime.array_types import Indices, Numbers
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.section import Section
from ckf_demo.tasks.cloze import CLOZES
from ckf_demo.tasks.domains import DOMAINS
from ckf_demo.tasks.registry import TASKS, task_with_lead

USER, ITEM = "user_token", "item_token"

WORDS = {"add_special_tokens": False, "split_special_tokens": True}
"""Options of the tokenizer: a title or taste that spells a special token is split like any text."""


class PromptConfig(Section):
    """The ``[prompt]`` section: what a prompt shows and how it asks."""

    window: int = 24
    """Items of the history that are shown, at most."""
    block: int = 12
    """Items by which the window moves, so that prefixes stay shared while a history grows."""
    question_first: tuple[Annotated[str, AfterValidator(task_with_lead)], ...] = ("ranking",)
    """Tasks whose question stands before the item, which is then named by its title alone."""
    cloze: Literal["", "relevance", "emotion", "action", "utility"] = Field(
        "", exclude_if=lambda value: not value
    )
    """Prompt4NR: the blank that is filled in for CTR (`ckf_demo.tasks.cloze`); empty for none."""
    examples: int = Field(0, ge=0, exclude_if=lambda value: value == 0)
    """Worked examples from the training part before each prompt (`ckf_demo.tasks.examples`)."""
    tags: int = Field(0, ge=0, exclude_if=lambda value: value == 0)
    """Tags of an item that are shown beside its title with its director; 0 for no facts."""
    titles: Literal["own", "shuffled", "none"] = "own"
    """``own``: titles as they are. ``shuffled``: those of other items, as a control of what the
    backbone had memorised. ``none``: every item is "a film"."""


@dataclass
class PrefixText:
    """Tokens of a prefix; ``ends[i]`` is its length with the first i history lines."""

    ids: list[int]
    ends: list[int]


def single_token(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """The id of a text that is one token; UserError when it is several."""
    ids = tokenizer(text, **WORDS).input_ids
    if len(ids) != 1:
        raise UserError(
            f"The backbone's tokenizer splits {text!r}, an answer or a character of a code, into "
            f"{len(ids)} tokens; choose a backbone that has it as one."
        )
    return ids[0]


def window_start(length: int, config: PromptConfig) -> int:
    """Where the shown part of a history of ``length`` begins: it moves in whole blocks."""
    surplus = max(0, length - config.window)
    return -(-surplus // config.block) * config.block


def profile_text(profile: Mapping[str, object] | None) -> str:
    """``24, M, technician`` from age, gender and occupation, whichever are known."""
    parts = [(profile or {}).get(key) for key in ("age", "gender", "occupation")]
    return ", ".join(str(p) for p in parts if p)


class PromptWriter:
    """Writes prompts as token ids; the lines of a catalogue are tokenised once and kept.

    ``titles``, ``years`` and ``genres`` are by item index; a year of 0 is unknown, and items
    without a title are left out of a shown history. ``facts`` are words about every item, shown
    with its genres; none by default. ``feedback`` says what a history holds:
    ``"ratings"`` or ``"likes"``. The user's token takes ``token_width`` places, and so does the
    item's. With ``history_tokens`` each history title is followed by a token of its item, −1 − item
    among the ids.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        titles: Sequence[str],
        years: Sequence[int],
        genres: Sequence[Sequence[str]],
        config: PromptConfig,
        feedback: str = "ratings",
        *,
        history_tokens: bool = False,
        token_width: int = 1,
        domain: str = FILMS,
        facts: Sequence[str] = (),
    ):
        self.tokenizer, self.feedback, self.domain = tokenizer, feedback, DOMAINS[domain]
        self.history_tokens, self.token_width = history_tokens, token_width
        self.titles, self.years, self.genres = titles, years, genres
        self.facts = facts or [""] * len(titles)
        self.config = config
        self.tasks = {name: self.domain.asked(task) for name, task in TASKS.items()}
        if config.cloze:
            cloze = CLOZES[config.cloze]
            self.tasks[cloze.name] = cloze
        self.examples: list[int] = []
        self._kept: dict[str, list[int]] = {}
        self.answers = {
            name: [single_token(tokenizer, answer) for answer in task.answers]
            for name, task in self.tasks.items()
        }

    def tokens(self, text: str) -> list[int]:
        if text not in self._kept:
            self._kept[text] = self.tokenizer(text, **WORDS).input_ids
        return self._kept[text]

    @property
    def stop_ids(self) -> set[int]:
        """Tokens that end an explanation."""
        return {self.tokenizer.eos_token_id, *self.tokens("\n")}

    def decode(self, ids: list[int]) -> str:
        """The text of token ids."""
        return cast(str, self.tokenizer.decode(ids))

    def prefix(
        self,
        items: Indices,
        ratings: Numbers,
        profile: str = "",
        taste: str = "",
        *,
        with_tokens: bool = True,
    ) -> PrefixText:
        """Worked examples, opening, profile, taste and the given history lines, oldest first.

        ``with_tokens`` matters for methods whose history holds a token of each item.
        """
        ids = [*self.examples, *self.tokens(self.domain.openings[self.feedback])]
        if profile:
            ids += self.tokenizer(f"{self.domain.person}: {profile}\n", **WORDS).input_ids
        if taste:
            ids += self.tokenizer(f"Taste: {taste}\n", **WORDS).input_ids
        ends = [len(ids)]
        for item, rating in zip(items, ratings, strict=True):
            if title := self.titles[item]:
                stars = f"{float(rating):g} " if self.feedback == "ratings" else ""
                if self.history_tokens and with_tokens:
                    ids += [*self.tokens(f"{stars}{title}"), -1 - int(item), *self.tokens("\n")]
                else:
                    ids += self.tokens(f"{stars}{title}\n")
            ends.append(len(ids))
        return PrefixText(ids, ends)

    def item_text(self, item: int, *, hide_title: bool = False) -> str:
        """``Fargo, 1996, Crime, Drama``, and its facts where prompts show any."""
        title = "" if hide_title else self.titles[item]
        parts = [title or f"a {self.domain.thing}"]
        parts += [str(self.years[item])] if self.years[item] else []
        parts += self.genres[item]
        return ", ".join([*parts, self.facts[item]] if self.facts[item] else parts)

    def pieces(
        self,
        task: str,
        item: int,
        *,
        with_tokens: bool,
        facts: str = "",
        hide_title: bool = False,
    ) -> list[tuple[str, str]]:
        """The branch as (text, kind) with kind ``text``, ``user_token`` or ``item_token``."""
        user = [("<user>", USER)] if with_tokens else []
        end = [("<item>", ITEM)] if with_tokens else []
        notes = f"\n{facts}" if facts else ""
        if task in self.config.question_first:
            film = self.titles[item]
            if hide_title or not film:
                film = self.item_text(item, hide_title=True)
            words = [(self.tasks[task].lead, "text"), (f" {film}", "text")]
            cue = "?"
        else:
            words = [(f" and {self.item_text(item, hide_title=hide_title)}", "text")]
            cue = self.tasks[task].cue
        return [(self.domain.person, "text"), *user, *words, *end, (notes, "text"), (cue, "text")]

    def branch(
        self,
        task: str,
        item: int,
        at: int,
        *,
        with_tokens: bool,
        facts: str = "",
        hide_title: bool = False,
        continuation: str = "",
    ) -> Branch:
        """A question about one item behind the first ``at`` prefix tokens.

        ``continuation`` is a text to be learnt: then hidden states from the cue on are returned,
        one per token of the continuation and its end.
        """
        ids: list[int] = []
        slots: list[int] = []
        for text, kind in self.pieces(
            task, item, with_tokens=with_tokens, facts=facts, hide_title=hide_title
        ):
            if kind == "text":
                ids += self.tokens(text) if text else []
            else:
                slots += range(len(ids), len(ids) + self.token_width)
                ids += [self.tokenizer.eos_token_id] * self.token_width
        answers_from = -1
        if continuation:
            answers_from = len(ids) - 1
            ids += self.continuation(continuation)[:-1]
        return Branch(ids, at, task, slots, answers_from)

    def continuation(self, text: str) -> list[int]:
        """Token ids of an explanation, with its end."""
        ids = self.tokenizer(f" {text}", **WORDS).input_ids
        return [*ids, self.tokenizer.eos_token_id]


def taste_from(genres: Sequence[Sequence[str]], ratings: Numbers, size: int = 3) -> str:
    """``likes Film-Noir, Thriller``: the genres that a user rates above their own mean.

    Genres are ordered by the sum of ratings above that mean, each with at least two items. Empty
    when there is none.
    """
    if not len(ratings):
        return ""
    mean = float(np.mean(ratings))
    totals: dict[str, list[float]] = defaultdict(list)
    for labels, rating in zip(genres, ratings, strict=True):
        for genre in labels:
            totals[genre].append(float(rating) - mean + 0.1)
    best = sorted(((sum(v), g) for g, v in totals.items() if len(v) >= 2), reverse=True)
    liked = [g for total, g in best[:size] if total > 0]
    return f"likes {', '.join(liked)}" if liked else ""
