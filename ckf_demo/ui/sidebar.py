"""The sidebar: who. A known user found by filters, a new person made of films with stars and words,
or one of three ready examples."""

import json
from dataclasses import dataclass, replace
from operator import attrgetter

import gradio as gr
import numpy as np
import pandas as pd

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources.base import FILMS
from ckf_demo.data.splits import TRAIN
from ckf_demo.inference.people import LEARNT, STRENGTH
from ckf_demo.runtime.assets import asset
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import table_of
from ckf_demo.ui.events import CHOICE, CLOSE_DRAWER, CLOSE_UNLESS_PROBLEM, PRIVATE, QUIET
from ckf_demo.ui.items import name_note
from ckf_demo.ui.markup import (
    Column,
    escape,
    film_text,
    name_cell,
    notice,
    panel,
    present,
    star_picker,
    warn,
)
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import (
    GROUPS,
    LONGEST_TASTE,
    MOST_PICKS,
    OLDEST,
    Pair,
    counted,
    known_user,
    opinions,
)

ANY = "any"
AGES = {"under 25": (1, 24), "25–34": (25, 34), "35–49": (35, 49), "50 and over": (50, 200)}
# Rows of the user table that a page carries; filters narrow it down further.
SHOWN_USERS = 1000
# Picks of a new person that are listed.
SHOWN_PICKS = 60
EXAMPLE_STARS = (5.0, 4.0, 2.0)
LIKE = 5.0
"""Stars of what a new person likes, where the data hold only likes."""


@dataclass(frozen=True)
class Example:
    """A pair that is worth a look, with the label of its button."""

    label: str
    pair: Pair


def examples(recommender) -> list[Example]:
    """Three pairs chosen from the data: a cold user, a warm one, and a new person.

    The known users have later ratings, so that the truth can be shown. The item is the later one
    with the most ratings, since most people will know it. Where not every item has a title, users
    and items are preferred of which one can be told by name, and about which the user wrote. The
    new person has rated the most-rated items of three different genres, where there are genres.
    """
    store, what = recommender.store, opinions(recommender)
    users = store.users()
    users = users[users["n_total"] > users["n_before"]]
    written = {} if recommender.prepared.has_titles else _written_later(recommender.prepared, users)
    chosen = []
    for label, target, low, high in (("Cold start", 3, 1, 3), ("Warm", 60, 11, np.inf)):
        group = users[users["n_before"].between(low, high)]
        if group.empty:
            continue
        wrote = group["user"].isin(list(written))
        group = group[wrote] if wrote.any() else group
        distance = (group["n_before"] - target).abs()
        row = group.loc[distance.sort_values(kind="stable").index[0]]
        user = str(row["user"])
        item = written.get(user) or _best_known_later(store, user, int(row["at"]))
        about = f"{label}: user {user}, {counted(int(row['n_before']), what)}"
        chosen.append(Example(about, known_user(store, user, item)))
    return [*chosen, _new_person(recommender)]


def _written_later(prepared: Prepared, users: pd.DataFrame) -> dict[str, str]:
    """Of each user the first item with a title that they wrote about outside the training part, at
    their default moment or later."""
    moments = dict(zip(users["user"], users["at"], strict=True))
    items: dict[str, str] = {}
    for row in np.flatnonzero(prepared.written & (prepared.split != TRAIN)):
        user, item = prepared.user_ids[prepared.user[row]], prepared.item[row]
        if prepared.titles[item] and prepared.timestamp[row] >= moments.get(user, np.inf):
            items.setdefault(user, prepared.item_ids[item])
    return items


def _best_known_later(store, user: str, at: int) -> str:
    later = store.later(user, at).drop_duplicates("item")
    titled = later["title"] != ""
    later = later[titled] if titled.any() else later
    ratings = store.items().set_index("item")["n_ratings"]
    order = later["item"].map(ratings).fillna(0).sort_values(ascending=False, kind="stable")
    return str(later.loc[order.index[0], "item"])


def _new_person(recommender) -> Example:
    items = recommender.store.items().sort_values("n_ratings", ascending=False, kind="stable")
    # a number says nothing to a visitor
    items = items[items["title"] != ""]
    by_genre = recommender.prepared.has_genres
    stars = EXAMPLE_STARS
    if recommender.prepared.positive_only:
        stars = (LIKE,) * len(EXAMPLE_STARS)
    rated: list[str] = []
    used: set[str] = set()
    for item, genres in zip(items["item"], items["genres"], strict=True):
        another = genres and used.isdisjoint(genres) if by_genre else True
        if len(rated) < len(stars) and another:
            rated.append(item)
            used.update(genres)
    item = next(item for item in items["item"] if item not in rated)
    history = tuple(zip(rated, stars, strict=False))
    described = counted(len(history), opinions(recommender))
    return Example(f"New person with {described}", Pair(item=item, history=history))


class Sidebar:
    """Builds the sidebar's components in the current Blocks context."""

    def __init__(self, recommender, ready: list[Example]) -> None:
        self.recommender, self._ready = recommender, ready
        self.store, self._users = recommender.store, recommender.store.users()
        self._opinions, self._things = opinions(recommender), recommender.domain.things
        prepared = recommender.prepared
        self._ages, self._occupations = prepared.has_ages, prepared.has_occupations
        self._rates = not prepared.positive_only
        self._films = prepared.domain == FILMS
        # The model learnt nothing from fields that no profile holds.
        self._age_field = {"min_width": 110, "visible": self._ages}
        self._occupation_field = {"min_width": 110, "visible": self._occupations}
        gr.HTML("<h2>Who</h2>", apply_default_css=False)
        gr.HTML('<p class="ckf-over">Ready examples</p>', apply_default_css=False)
        self.examples = [
            gr.Button(example.label, size="sm", elem_id=f"example-{number}")
            for number, example in enumerate(ready, start=1)
        ]
        with gr.Tabs(elem_id="who-tabs") as self.tabs:
            with gr.Tab("Known user", id="known"):
                self._known_user()
            with gr.Tab("New person", id="new"):
                self._described_person()
        # The films that the new person has rated so far: ((item, stars), …), oldest first.
        self.draft = gr.State(())

    def _known_user(self) -> None:
        known = next(example.pair.user for example in self._ready if example.pair.user)
        self.search = gr.Textbox(
            label="User id", placeholder=f"for example {known}", elem_id="user-search"
        )
        self.group = gr.Radio(
            [ANY, *GROUPS],
            value=ANY,
            label=f"{self._opinions.capitalize()} before the moment",
            elem_id="user-group",
        )
        with gr.Row(visible=self._ages or self._occupations):
            self.age = gr.Dropdown([ANY, *AGES], value=ANY, label="Age", **self._age_field)
            occupations = [ANY, *self.store.occupations()]
            self.occupation = gr.Dropdown(
                occupations, value=ANY, label="Occupation", **self._occupation_field
            )
        self.wrong = panel("", elem_id="user-problem")
        self.users = panel(self.user_table("", ANY, ANY, ANY), elem_id="users")

    def _described_person(self) -> None:
        stars = "and give them stars" if self._rates else "that they like"
        self.taste = gr.Textbox(
            label="What do you like, in a sentence?",
            placeholder=asset("page.toml")["tastes"][self.recommender.prepared.domain],
            max_length=LONGEST_TASTE,
            elem_id="taste",
        )
        self.reading = panel("", elem_id="reading")
        self.strength = gr.Slider(
            0,
            100,
            value=100 * STRENGTH,
            step=1,
            label="How much these words count, in percent",
            info=f"{LEARNT:.0%} is what training found right; above, wishes become constraints.",
            elem_id="strength",
        )
        self.bring = gr.Button(
            "Bring your ratings (Letterboxd, IMDb, CSV)" if self._films else "Bring your ratings",
            size="sm",
            visible=any(self.recommender.prepared.titles),
            elem_id="own-ratings-open",
        )
        self.find = gr.Textbox(
            label=f"Find {self._things} {stars}",
            placeholder="part of a title, a name or a theme",
            elem_id="find-films",
        )
        self.found = panel(self.found_films("", ()), elem_id="found-films")
        self.rated = panel(self.rated_films(()), elem_id="rated-films")
        with gr.Row(visible=self._ages or self._occupations):
            self.new_age = gr.Number(label="Age (optional)", precision=0, **self._age_field)
            occupations = ["", *self.store.occupations()]
            self.new_occupation = gr.Dropdown(
                occupations, value="", label="Occupation (optional)", **self._occupation_field
            )
        self.use = gr.Button("Predict for this person", variant="primary", elem_id="use")
        self.problem = panel("", elem_id="new-person-problem")

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
                **CHOICE,
            ).then(None, **CLOSE_DRAWER)
        filters = [self.search, self.group, self.age, self.occupation]
        gr.on(
            [self.search.input, *(control.change for control in filters[1:])],
            self.user_table,
            filters,
            self.users,
            trigger_mode="always_last",
            **QUIET,
        )

        def choose(current: Pair, user: str) -> Pair:
            return known_user(self.store, user, current.item, method=current.method)

        def choose_user(current: Pair, event: gr.EventData) -> Pair:
            return choose(current, event.pick)

        page.chooses("user", self.users, choose_user).then(None, **CLOSE_DRAWER)

        def choose_typed(current: Pair, user: str):
            try:
                return choose(current, user.strip()), ""
            except UserError as error:
                return gr.skip(), warn(error)

        self.search.submit(
            choose_typed, [page.pair, self.search], [page.pair, self.wrong], **CHOICE
        ).then(None, self.wrong, **CLOSE_UNLESS_PROBLEM)

    def _wire_new_person(self, pair: gr.State) -> None:
        last = {"trigger_mode": "always_last", **QUIET}
        self.find.change(self.found_films, [self.find, self.draft], self.found, **last)

        def pick(draft: tuple, event: gr.EventData):
            if event.rating is None and event.remove is None:
                return draft, ""
            try:
                return self.rerate(draft, event.pick, event.rating), ""
            except UserError as error:
                return gr.skip(), warn(error)

        for source in (self.found, self.rated):
            source.select(pick, self.draft, [self.draft, self.problem], **CHOICE)
        self.draft.change(
            lambda text, draft: (self.found_films(text, draft), self.rated_films(draft)),
            [self.find, self.draft],
            [self.found, self.rated],
            **QUIET,
        )

        def follow(current: Pair, draft: tuple, *others):
            """Changed picks change the person at once, when the page is about a described one."""
            if current.user or tuple(draft) == current.history:
                return gr.skip()
            try:
                person = self.person(current, draft, *others)
            except UserError:
                return gr.skip()
            return person if person.described else gr.skip()

        self.draft.change(follow, [pair, *self.described], pair, **last)

        def weigh(current: Pair, strength: float):
            """A moved slider changes the answers at once, where words are asked about."""
            if not current.taste or self.share(strength) == current.strength:
                return gr.skip()
            return replace(current, strength=self.share(strength))

        self.strength.change(weigh, [pair, self.strength], pair, **last)
        self.taste.change(self.reading_markup, self.taste, self.reading, **last)

        def use(current: Pair, *form):
            try:
                person = self.person(current, *form)
            except UserError as error:
                return gr.skip(), notice(str(error), "problem")
            if not person.described:
                return gr.skip(), notice(self.ask, "problem")
            return person, ""

        gr.on(
            [self.use.click, self.taste.submit],
            use,
            [pair, *self.described],
            [pair, self.problem],
            **last,
        ).then(None, self.problem, **CLOSE_UNLESS_PROBLEM)

    @property
    def described(self) -> list:
        """The components of the form, as `form` fills them."""
        return [self.draft, self.taste, self.new_age, self.new_occupation, self.strength]

    def user_table(self, search: str, group: str, age: str, occupation: str) -> str:
        """The users that pass the filters, as a table (HTML)."""
        users = self._users
        if search.strip():
            users = users[users["user"].str.contains(search.strip(), regex=False)]
        for column, bounds in (("n_before", GROUPS.get(group)), ("age", AGES.get(age))):
            if bounds:
                users = users[users[column].between(*bounds).fillna(False).astype(bool)]
        if occupation != ANY:
            users = users[(users["occupation"] == occupation).fillna(False).astype(bool)]
        more = f"; the first {SHOWN_USERS} are listed" if len(users) > SHOWN_USERS else ""
        return table_of(
            users.head(SHOWN_USERS).itertuples(),
            [
                (
                    Column("User", numeric=True, pick=True),
                    lambda user: int(user.user) if str(user.user).isdigit() else user.user,
                ),
                (self._opinions.capitalize(), lambda user: int(user.n_before)),
                (
                    Column("Age", numeric=True, shown=self._ages),
                    lambda user: int(user.age) or None if present(user.age) else None,
                ),
                (
                    Column("Occupation", shown=self._occupations),
                    lambda user: user.occupation if present(user.occupation) else None,
                ),
            ],
            pick=attrgetter("user"),
            caption=f"{len(users)} users{more}",
            empty="No user passes these filters; widen one of them.",
            height=330,
        )

    def found_films(self, query: str | None, draft: tuple) -> str:
        """Items whose title holds the query, to be given stars or added (HTML)."""
        # A field of a tab that was never open has no text yet.
        query = (query or "").strip()
        if not query:
            return notice(f"Type part of a title to find {self._things}.")
        films = self.recommender.search_items(query, limit=8)
        if not films:
            return notice(f"No title holds “{query}”; try a shorter part of it.")
        return self._picks(films, draft, f"{self._things.capitalize()} found")

    def rated_films(self, draft: tuple) -> str:
        """The items that the new person has picked so far, each with a button that removes it
        (HTML)."""
        if not draft:
            done = "rated" if self._rates else "added"
            return notice(f"No {self._things} {done} yet. Two or three already change the answers.")
        # imports are long, and the newest are what one looks at
        films = [self.store.item(item) for item, _ in draft[-SHOWN_PICKS:]]
        caption = f"{'Rated' if self._rates else 'Liked'} so far: {len(draft):,}"
        picks = self._picks(films, draft, caption, removable=True)
        if len(draft) <= SHOWN_PICKS:
            return picks
        return picks + notice(
            f"These are the last {SHOWN_PICKS}; the others count as well. Find one by its title to "
            "change it."
        )

    def _picks(
        self, films: list[dict], draft: tuple, caption: str, *, removable: bool = False
    ) -> str:
        """Items with stars to give, or with a button that adds each or removes it (HTML)."""
        picked, rows = dict(draft), []
        for film in films:
            item, name = str(film["item"]), film_text(film)
            stars = star_picker(item, name, picked.get(item)) if self._rates else ""
            button = ""
            if removable or not self._rates:
                button = _add_or_remove(item, name, remove=item in picked)
            shown = name_cell(film, name_note(self.recommender, film)).markup
            rows.append(
                f'<li><span>{shown}</span><span class="ckf-rate">{stars}{button}</span></li>'
            )
        return (
            f'<p class="ckf-over">{escape(caption)}</p><ul class="ckf-films">{"".join(rows)}</ul>'
        )

    @staticmethod
    def rerate(draft: tuple, item: str, rating: str | None) -> tuple:
        """The draft after giving ``item`` a rating, or after removing it (``None``).

        Raises
        ------
        UserError
            When the draft is full.
        """
        picked = dict(draft)
        if rating is None:
            picked.pop(item, None)
        elif item not in picked and len(picked) >= MOST_PICKS:
            raise UserError(f"More than {MOST_PICKS} are too many; remove one first.")
        else:
            picked[item] = float(rating)
        return tuple(picked.items())

    @property
    def ask(self) -> str:
        """What to do when nobody is described yet."""
        pick = "rate" if self._rates else "add"
        rate = f"Nobody is described yet: {pick} a {self.recommender.domain.thing}"
        return (
            f"{rate}, write a sentence, or give an age."
            if self._ages
            else f"{rate} or write a sentence."
        )

    def form(self, pair: Pair) -> tuple:
        """The form of a new person as a pair describes them, as `described`."""
        known = pair.occupation in self.store.occupations()
        strength = STRENGTH if pair.strength is None else pair.strength
        occupation = pair.occupation if known else ""
        return pair.history, pair.taste, pair.age, occupation, round(100 * strength)

    @staticmethod
    def share(percent: float | None) -> float | None:
        """The slider's value as a pair holds it; None where it is the usual one."""
        share = STRENGTH if percent is None else percent / 100
        return None if share == STRENGTH else share

    @staticmethod
    def person(
        pair: Pair,
        draft: tuple,
        taste: str,
        age: float | None,
        occupation: str,
        strength: float | None = None,
    ) -> Pair:
        """The pair of the new person with the film that is already chosen.

        Raises `UserError` for an age that nobody has; a field that is not drawn yet sends 0.
        """
        years = 0 if age is None or pd.isna(age) else int(age)
        if not 0 <= years <= OLDEST:
            raise UserError(f"An age of {years} is outside 1 to {OLDEST} years; mend or remove it.")
        return replace(
            Pair(item=pair.item, method=pair.method),
            history=tuple(draft),
            taste=(taste or "").strip(),
            age=years or None,
            occupation=occupation or "",
            strength=Sidebar.share(strength),
        )

    def reading_markup(self, taste: str) -> str:
        """How the sentence is understood (HTML)."""
        if not (taste or "").strip():
            return ""
        try:
            reading = self.recommender.read_taste(taste)
        except UserError as error:
            return notice(str(error), "problem")
        chips = "".join(
            f'<li class="{"ckf-wanted" if wish["wanted"] else "ckf-unwanted"}">'
            f"{'' if wish['wanted'] else 'not '}{escape(wish['name'])}"
            f'<span class="ckf-facts">{wish["items"]:,}</span></li>'
            for wish in reading["understood"]
        )
        if reading["meaning"]:
            chips += f"<li>by meaning: {escape(reading['meaning'])}</li>"
        shown = f'<ul class="ckf-reading" aria-label="Understood as">{chips}</ul>' if chips else ""
        return shown + "".join(map(notice, reading["messages"]))


def _add_or_remove(item: str, name: str, *, remove: bool) -> str:
    """A button that adds an item to the picks as a like, or removes it (HTML)."""
    word, data = ("Remove", 'data-remove="1"') if remove else ("Add", f'data-rating="{LIKE:g}"')
    return (
        f'<button type="button" class="ckf-remove" data-pick="{escape(item)}" {data} '
        f'aria-label="{escape(f"{word} {name}")}">{word}</button>'
    )
