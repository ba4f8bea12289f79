"""Whom the page of choices asks about: a known user, or a new person made of what they like."""

from collections import Counter
from dataclasses import replace

import gradio as gr
import numpy as np

from ckf_demo.data.splits import TRAIN
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.choices_markup import pick_list
from ckf_demo.ui.markup import Column, Row, notice, panel, present, table
from ckf_demo.ui.pair import MOST_PICKS, Pair, counted, known_user

LIKE = 5.0
# Rows of the list of users; the field above it finds the others.
SHOWN = 1000
# So many users are looked at for one to begin with, who has chosen so many things with a title and
# is asked about one of which so many others wrote.
LOOKED_AT, TITLED, WRITTEN = 100, 3, 2
FOUND = 8


class People:
    """The users of a data set, and what each is asked about at first."""

    def __init__(self, recommender) -> None:
        self.store = recommender.store
        users = self.store.users().sort_values("n_before", kind="stable")
        self._users = users
        moments = dict(zip(users["user"], users["at"], strict=True))
        self._explained = _explained(recommender.prepared, moments)
        self._written = _written(recommender.prepared)
        self._fallback = recommender.item_order[0]

    def start(self) -> Pair:
        """Somebody who wrote about something later that others wrote about before, and of whom a
        few things are known by name; anybody where nobody is such."""
        listed = [user for user in self._users["user"] if user in self._explained]
        telling = [user for user in listed if self._written[self._explained[user]] >= WRITTEN]
        for user in telling[:LOOKED_AT]:
            known = self.store.history(user, self.store.default_at(user))
            if known["title"].map(present).sum() >= TITLED:
                return self.known(user)
        return self.known([*telling, *listed, *self._users["user"]][0])

    def known(self, user: str, item: str = "") -> Pair:
        """A user with what they wrote about later, if anything, otherwise with ``item``.

        Raises
        ------
        UserError
            When there is no such user.
        """
        user = user.strip()
        if not user:
            raise UserError("No user was given: type an id, or choose one from the list.")
        if not self._users["user"].eq(user).any():
            raise UserError(
                f"No user has the id “{user[:40]}”; choose one from the list, or describe a new "
                "person."
            )
        return known_user(self.store, user, self._explained.get(user) or item or self._fallback)

    def listing(self, search: str, thing: str) -> str:
        """Users whose id holds ``search``; without one, those who wrote about something later."""
        search = search.strip()
        users, chosen = self._users, f"users who wrote about a {thing} later"
        if search:
            chosen = f"users with {search[:40]} in their id"
            users = users[users["user"].str.contains(search, regex=False)]
        else:
            users = users[users["user"].isin(self._explained)]
        rows = [
            Row(pick=user, cells=[int(user) if user.isdecimal() else user, int(known)])
            for user, known in users[["user", "n_before"]].head(SHOWN).itertuples(index=False)
        ]
        more = f"; the first {SHOWN:,} are listed" if len(users) > SHOWN else ""
        return table(
            [
                Column("User", numeric=True, pick=True),
                Column(f"{thing.capitalize()}s known", numeric=True),
            ],
            rows,
            caption=f"{len(users):,} {chosen}{more}",
            empty=f"No user’s id holds “{search[:40]}”; try a shorter part of it.",
            height=330,
        )


def _explained(prepared, moments: dict[str, int]) -> dict[str, str]:
    """Of each user the first item with a title that they wrote about outside the training part, at
    their default moment or later."""
    found: dict[str, str] = {}
    for row in np.flatnonzero(prepared.written & (prepared.split != TRAIN)):
        user, item = prepared.user_ids[prepared.user[row]], prepared.item[row]
        if prepared.titles[item] and prepared.timestamp[row] >= moments[user]:
            found.setdefault(user, prepared.item_ids[item])
    return found


def _written(prepared) -> Counter[str]:
    """How many texts of the training part are about each item."""
    rows = np.flatnonzero(prepared.written & (prepared.split == TRAIN))
    return Counter(prepared.item_ids[item] for item in prepared.item[rows])


def new_person(pair: Pair, draft: tuple[str, ...]) -> Pair:
    """Somebody who likes what is in the draft, with the same item."""
    return Pair(item=pair.item, history=tuple((item, LIKE) for item in draft))


def as_choices(pair: Pair) -> Pair:
    """The pair with what it holds of a person's choices alone, each a like."""
    if pair.user:
        return replace(pair, history=(), taste="", age=None, occupation="", method=None)
    return new_person(pair, tuple(item for item, _ in pair.history))


class ChoicesSidebar:
    """Builds the sidebar's components in the current Blocks context."""

    def __init__(self, recommender, people: People, thing: str) -> None:
        self.recommender, self.people, self.thing = recommender, people, thing
        gr.HTML("<h2>Who</h2>", apply_default_css=False)
        with gr.Tabs(elem_id="who-tabs") as self.tabs:
            with gr.Tab("Known user", id="known"):
                self.search = gr.Textbox(
                    label="User id",
                    placeholder="type an id and press Enter",
                    elem_id="user-search",
                )
                self.wrong = panel("", elem_id="user-problem")
                self.users = panel(people.listing("", thing), elem_id="users")
            with gr.Tab("New person", id="new"):
                self.find = gr.Textbox(
                    label=f"Find {thing}s that they like",
                    placeholder="part of a title",
                    elem_id="find-films",
                )
                self.found = panel(self.found_items("", ()), elem_id="found-films")
                self.liked = panel(self.liked_items(()), elem_id="rated-films")
                self.use = gr.Button("Ask about this person", variant="primary", elem_id="use")
                self.problem = panel("", elem_id="new-person-problem")
        # Ids of what the new person likes so far, oldest first.
        self.draft = gr.State(())

    def found_items(self, text: str | None, draft: tuple[str, ...]) -> str:
        """Items whose title holds ``text``, each to be added or removed (HTML)."""
        # A field of a tab that was never open has no text yet.
        text = (text or "").strip()
        if not text:
            return notice(f"Type part of a title to find {self.thing}s.")
        items = self.recommender.search_items(text, limit=FOUND)
        if not items:
            return notice(f"No title holds “{text}”; try a shorter part of it.")
        return pick_list(items, draft, f"{self.thing.capitalize()}s found")

    def liked_items(self, draft: tuple[str, ...]) -> str:
        """What the new person likes so far, each with a button that removes it (HTML)."""
        if not draft:
            return notice(f"No {self.thing} is added yet. Two or three already change the answers.")
        items = [self.people.store.item(item) for item in draft]
        return pick_list(items, draft, f"They like {counted(len(draft), self.thing + 's')}")

    def changed(self, draft: tuple[str, ...], item: str, remove: object) -> tuple[str, ...]:
        """The draft with an item added at its end, or without it.

        Raises
        ------
        UserError
            When the item is unknown, or the draft is full.
        """
        self.people.store.item(item)
        kept = tuple(known for known in draft if known != item)
        if remove is not None:
            return kept
        if len(kept) >= MOST_PICKS:
            raise UserError(f"More than {MOST_PICKS} are too many; remove one first.")
        return (*kept, item)
