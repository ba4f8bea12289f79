"""The sidebar: who. A known user found by filters, a new person made of films with stars and words,
or one of three ready examples."""

import json
from dataclasses import dataclass, replace

import gradio as gr
import pandas as pd

from ckf_demo.data.sources.base import BOOKS, FILMS, PLACES, PRODUCTS
from ckf_demo.ui.events import CLOSE_DRAWER, CLOSE_UNLESS_PROBLEM, PRIVATE, QUIET
from ckf_demo.ui.markup import (
    Column,
    Row,
    escape,
    film_text,
    notice,
    panel,
    present,
    star_picker,
    table,
)
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import (
    GROUPS,
    LIKED,
    LONGEST_TASTE,
    OLDEST,
    Pair,
    counted,
    has_ages,
    has_genres,
    has_occupations,
    known_user,
    opinions,
)

ANY = "any"
AGES = {
    "under 25": (1, 24),
    "25–34": (25, 34),
    "35–49": (35, 49),
    "50 and over": (50, 200),
}
# Rows of the user table that a page carries; filters narrow it down further.
SHOWN_USERS = 1000
EXAMPLE_STARS = (5.0, 4.0, 2.0)
# What somebody might like, by what the items are.
TASTES = {
    FILMS: "slow crime films of the forties",
    PLACES: "quiet places with a garden",
    PRODUCTS: "sturdy products for small rooms",
    BOOKS: "slow crime books of the forties",
}


@dataclass(frozen=True)
class Example:
    """A pair that is worth a look, with the label of its button."""

    label: str
    pair: Pair


def examples(recommender) -> list[Example]:
    """Three pairs chosen from the data: a cold user, a warm one, and a new person.

    The known users have later ratings, so that the truth can be shown; of those rated films the one
    with the most ratings is taken, since most people will know it. The new person has rated the
    most-rated films of three different genres, where there are genres.
    """
    store, what = recommender.store, opinions(recommender)
    users = store.users()
    users = users[users["n_total"] > users["n_before"]]
    chosen = []
    for label, target, low, high in (
        ("Cold start", 3, 1, 3),
        ("Warm", 60, 11, float("inf")),
    ):
        group = users[users["n_before"].between(low, high)]
        if group.empty:
            continue
        distance = (group["n_before"] - target).abs()
        user = group.loc[distance.sort_values(kind="stable").index[0]]
        item = _best_known_later(store, str(user["user"]), int(user["at"]))
        chosen.append(
            Example(
                f"{label}: user {user['user']}, {counted(int(user['n_before']), what)}",
                known_user(store, user["user"], item),
            )
        )
    chosen.append(_new_person(recommender))
    return chosen


def _best_known_later(store, user: str, at: int) -> str:
    later = store.later(user, at).drop_duplicates("item")
    ratings = store.items().set_index("item")["n_ratings"]
    order = later["item"].map(ratings).fillna(0).sort_values(ascending=False, kind="stable")
    return str(later.loc[order.index[0], "item"])


def _new_person(recommender) -> Example:
    items = recommender.store.items().sort_values("n_ratings", ascending=False, kind="stable")
    # a number says nothing to a visitor
    items = items[items["title"] != ""]
    by_genre = has_genres(recommender)
    given = EXAMPLE_STARS
    if recommender.prepared.positive_only:
        given = tuple(max(stars, LIKED) for stars in given)
    rated: list[str] = []
    used: set[str] = set()
    rest: list[str] = []
    for item, genres in zip(items["item"], items["genres"], strict=True):
        another = genres and used.isdisjoint(genres) if by_genre else True
        if len(rated) < len(given) and another:
            rated.append(item)
            used.update(genres)
        else:
            rest.append(item)
    history = tuple(zip(rated, given, strict=False))
    return Example(f"New person with {len(history)} ratings", Pair(item=rest[0], history=history))


class Sidebar:
    """Builds the sidebar's components in the current Blocks context."""

    def __init__(self, recommender, ready: list[Example]) -> None:
        self.recommender = recommender
        self.store = recommender.store
        self._users = self.store.users()
        self._ages, self._occupations = has_ages(recommender), has_occupations(recommender)
        profiles = self._ages or self._occupations
        occupations = [ANY, *self.store.occupations()]
        things, what = recommender.domain.things, opinions(recommender)
        gr.HTML("<h2>Who</h2>", apply_default_css=False)
        gr.HTML('<p class="ckf-over">Ready examples</p>', apply_default_css=False)
        self.examples = [
            gr.Button(example.label, size="sm", elem_id=f"example-{number}")
            for number, example in enumerate(ready, start=1)
        ]
        with gr.Tabs(elem_id="who-tabs") as self.tabs:
            with gr.Tab("Known user", id="known"):
                known = next(example.pair.user for example in ready if example.pair.user)
                self.search = gr.Textbox(
                    label="User id", placeholder=f"for example {known}", elem_id="user-search"
                )
                self.group = gr.Radio(
                    [ANY, *GROUPS],
                    value=ANY,
                    label=f"{what.capitalize()} before the moment",
                    elem_id="user-group",
                )
                with gr.Row(visible=profiles):
                    self.age = gr.Dropdown(
                        [ANY, *AGES],
                        value=ANY,
                        label="Age",
                        min_width=110,
                        visible=self._ages,
                    )
                    self.occupation = gr.Dropdown(
                        occupations,
                        value=ANY,
                        label="Occupation",
                        min_width=110,
                        visible=self._occupations,
                    )
                self.users = panel(self.user_table("", ANY, ANY, ANY), elem_id="users")
            with gr.Tab("New person", id="new"):
                self.taste = gr.Textbox(
                    label="What do you like, in a sentence?",
                    placeholder=TASTES[recommender.prepared.domain],
                    max_length=LONGEST_TASTE,
                    elem_id="taste",
                )
                self.find = gr.Textbox(
                    label=f"Find {things} and give them stars",
                    placeholder="part of a title",
                    elem_id="find-films",
                )
                self.found = panel(self.found_films("", ()), elem_id="found-films")
                self.rated = panel(self.rated_films(()), elem_id="rated-films")
                # Nothing was learnt of what nobody's profile holds.
                with gr.Row(visible=profiles):
                    self.new_age = gr.Number(
                        label="Age (optional)",
                        precision=0,
                        minimum=1,
                        maximum=OLDEST,
                        min_width=110,
                        visible=self._ages,
                    )
                    self.new_occupation = gr.Dropdown(
                        ["", *self.store.occupations()],
                        value="",
                        label="Occupation (optional)",
                        min_width=110,
                        visible=self._occupations,
                    )
                self.use = gr.Button("Predict for this person", variant="primary", elem_id="use")
                self.problem = panel("", elem_id="new-person-problem")
        # The films that the new person has rated so far: ((item, stars), …), oldest first.
        self.draft = gr.State(())
        self._ready = ready

    def wire(self, page: Page) -> None:
        """Let every part of the sidebar choose the person."""
        self._wire_known_users(page)
        self._wire_new_person(page.pair)

    def _wire_known_users(self, page: Page) -> None:
        def take(chosen: Pair):
            # a described person stands in the form too, so that their picks can be changed
            form = (gr.skip(),) * len(self.described) if chosen.user else self.form(chosen)
            return chosen, *form

        for button, example in zip(self.examples, self._ready, strict=True):
            # written into the address at once, so that a reload before the answer keeps the choice
            query = json.dumps(example.pair.query())
            button.click(None, js=f"() => window.ckf.choose({query})", **PRIVATE)
            button.click(
                lambda current, example=example: take(replace(example.pair, method=current.method)),
                page.pair,
                [page.pair, *self.described],
                **QUIET,
            ).then(None, **CLOSE_DRAWER)
        gr.on(
            [self.search.input, self.group.change, self.age.change, self.occupation.change],
            self.user_table,
            [self.search, self.group, self.age, self.occupation],
            self.users,
            trigger_mode="always_last",
            **QUIET,
        )

        def choose_user(current: Pair, event: gr.EventData) -> Pair:
            return known_user(self.store, event.pick, current.item, method=current.method)

        page.chooses("user", self.users, choose_user).then(None, **CLOSE_DRAWER)

    def _wire_new_person(self, pair: gr.State) -> None:
        self.find.change(
            self.found_films,
            [self.find, self.draft],
            self.found,
            trigger_mode="always_last",
            **QUIET,
        )

        def give_stars(draft: tuple, event: gr.EventData) -> tuple:
            if event.rating is None and event.remove is None:
                return draft
            return self.rerate(draft, event.pick, event.rating)

        for source in (self.found, self.rated):
            source.select(give_stars, self.draft, self.draft, **QUIET)
        self.draft.change(
            lambda text, draft: (self.found_films(text, draft), self.rated_films(draft)),
            [self.find, self.draft],
            [self.found, self.rated],
            **QUIET,
        )

        def follow(current: Pair, draft: tuple, taste: str, age: float | None, occupation: str):
            """Changed picks change the person at once, when the page is about a described one."""
            if current.user or tuple(draft) == current.history:
                return gr.skip()
            person = self.person(current, draft, taste, age, occupation)
            return person if any(person.person.values()) else gr.skip()

        self.draft.change(
            follow, [pair, *self.described], pair, trigger_mode="always_last", **QUIET
        )

        def use(current: Pair, draft: tuple, taste: str, age: float | None, occupation: str):
            person = self.person(current, draft, taste, age, occupation)
            if not any(person.person.values()):
                return gr.skip(), notice(self.ask, "problem")
            return person, ""

        self.use.click(use, [pair, *self.described], [pair, self.problem], **QUIET).then(
            None, self.problem, **CLOSE_UNLESS_PROBLEM
        )

    @property
    def described(self) -> list:
        """The components of the form, as `form` fills them."""
        return [self.draft, self.taste, self.new_age, self.new_occupation]

    def user_table(self, search: str, group: str, age: str, occupation: str) -> str:
        """The users that pass the filters, as a table (HTML)."""
        users = self._users
        if search.strip():
            users = users[users["user"].str.contains(search.strip(), regex=False)]
        if group != ANY:
            low, high = GROUPS[group]
            users = users[users["n_before"].between(low, high)]
        if age != ANY:
            low, high = AGES[age]
            users = users[users["age"].between(low, high).fillna(False).astype(bool)]
        if occupation != ANY:
            users = users[(users["occupation"] == occupation).fillna(False).astype(bool)]
        rows = [
            Row(pick=user.user, cells=self._cells(user))
            for user in users.head(SHOWN_USERS).itertuples()
        ]
        more = f"; the first {SHOWN_USERS} are listed" if len(users) > SHOWN_USERS else ""
        return table(
            [
                Column("User", numeric=True, pick=True),
                Column(opinions(self.recommender).capitalize(), numeric=True),
                *([Column("Age", numeric=True)] if self._ages else []),
                *([Column("Occupation")] if self._occupations else []),
            ],
            rows,
            caption=f"{len(users)} users{more}",
            empty="No user passes these filters; widen one of them.",
            height=330,
        )

    def _cells(self, user) -> list:
        """A row of the user table, without what is known of nobody."""
        cells = [int(user.user) if str(user.user).isdigit() else user.user, int(user.n_before)]
        if self._ages:
            cells.append(int(user.age) if present(user.age) and int(user.age) else None)
        if self._occupations:
            cells.append(user.occupation if present(user.occupation) else None)
        return cells

    def found_films(self, query: str | None, draft: tuple) -> str:
        """Films whose title holds the query, each with five stars to give (HTML)."""
        # A field of a tab that was never open has no text yet.
        query = (query or "").strip()
        things = self.recommender.domain.things
        if not query:
            return notice(f"Type part of a title to find {things}.")
        films = self.recommender.search_items(query, limit=8)
        if not films:
            return notice(f"No title holds “{query}”; try a shorter part of it.")
        return _star_list(films, dict(draft), f"{things.capitalize()} found")

    def rated_films(self, draft: tuple) -> str:
        """What the new person has rated so far, each with a button that removes it (HTML)."""
        if not draft:
            return notice(
                f"No {self.recommender.domain.things} rated yet. Two or three already change the "
                "answers."
            )
        films = [self.store.item(item) for item, _ in draft]
        return _star_list(films, dict(draft), f"Rated so far: {len(draft)}", removable=True)

    @staticmethod
    def rerate(draft: tuple, item: str, rating: str | None) -> tuple:
        """The draft after giving ``item`` a rating, or after removing it (``None``)."""
        kept = tuple((known, stars) for known, stars in draft if known != item)
        if rating is None:
            return kept
        if any(known == item for known, _ in draft):
            return tuple((known, float(rating) if known == item else s) for known, s in draft)
        return (*kept, (item, float(rating)))

    @property
    def ask(self) -> str:
        """What to do when nobody is described yet."""
        rate = f"Nobody is described yet: rate a {self.recommender.domain.thing}"
        if self._ages:
            return f"{rate}, write a sentence, or give an age."
        return f"{rate} or write a sentence."

    def form(self, pair: Pair) -> tuple:
        """The form of a new person as a pair describes them: films, taste, age, occupation."""
        known = pair.occupation in self.store.occupations()
        return pair.history, pair.taste, pair.age, pair.occupation if known else ""

    @staticmethod
    def person(pair: Pair, draft: tuple, taste: str, age: float | None, occupation: str) -> Pair:
        """The pair of the new person with the film that is already chosen."""
        return replace(
            Pair(item=pair.item, method=pair.method),
            history=tuple(draft),
            taste=(taste or "").strip(),
            age=int(age) if age is not None and not pd.isna(age) else None,
            occupation=occupation or "",
        )


def _star_list(films: list[dict], given: dict, caption: str, *, removable: bool = False) -> str:
    rows = []
    for film in films:
        item, name = str(film["item"]), film_text(film)
        remove = (
            f'<button type="button" class="ckf-remove" data-pick="{escape(item)}" '
            f'data-remove="1" aria-label="{escape(f"Remove {name}")}">Remove</button>'
            if removable
            else ""
        )
        rows.append(
            f"<li><span>{escape(name)}</span><span class='ckf-rate'>"
            f"{star_picker(item, name, given.get(item))}{remove}</span></li>"
        )
    return f'<p class="ckf-over">{escape(caption)}</p><ul class="ckf-films">{"".join(rows)}</ul>'
