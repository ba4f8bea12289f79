"""The page of a checkpoint whose data hold likes alone: whether somebody would choose a thing, why,
and what next. Nobody says no there and nobody rates, so there are neither stars nor genres, and
most things have no title. ``build`` makes it around a recommender; ``app.launch`` serves it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import gradio as gr

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.app import LOGO
from ckf_demo.ui.charts import PLOTLY_HEAD, PLOTLY_SCRIPT
from ckf_demo.ui.choices_api import add_choice_endpoints
from ckf_demo.ui.choices_markup import (
    before_markup,
    chances,
    choices_bar,
    draft_markup,
    found_table,
    next_table,
    said_markup,
    words_card,
)
from ckf_demo.ui.choices_people import ChoicesSidebar, People, as_choices, new_person
from ckf_demo.ui.contrast import ContrastPanel
from ckf_demo.ui.data import RESULT_SCRIPT
from ckf_demo.ui.events import CLOSE_UNLESS_PROBLEM as CLOSE
from ckf_demo.ui.events import GATED, PRIVATE, QUIET
from ckf_demo.ui.fair_queue import Gate
from ckf_demo.ui.markup import notice, panel, warn
from ckf_demo.ui.page import Page
from ckf_demo.ui.pages import Place, data_links
from ckf_demo.ui.pair import Pair, from_query
from ckf_demo.ui.service import Service
from ckf_demo.ui.stops import Stops

ADDRESS = ("user", "rated", "item", "at")
NOBODY = "Nobody is described yet: choose a user, or add what a new person likes."
FOUND = 12
START = """() => {
  window.ckf.closeDrawer();
  document.body.dataset.ckf = "ready";
}"""


@dataclass(frozen=True)
class Ranked:
    """A ranked list with what it was asked for, which alone tells two of them apart."""

    who: Pair
    k: int
    rows: tuple[dict, ...] = field(compare=False)


@dataclass(frozen=True)
class Told:
    """The latest explanation, and the pair that it is about."""

    pair: Pair
    step: dict


class Answers:
    """Asks a recommender about pairs, and puts what it says into HTML."""

    def __init__(self, recommender) -> None:
        self.recommender = recommender
        self.thing = recommender.domain.thing
        self.stops = Stops()

    def chances(self, pair: Pair) -> str:
        """Whether they would like it, by every method."""
        labels = self.recommender.labels
        rows = self.recommender.compare(**_person(pair), item=pair.item)
        found = {row["method"]: row["probability"] for row in rows}
        return chances([(labels[m], found[m]) for m in self.recommender.methods], self.thing)

    def ranked(self, pair: Pair, k: float, previous: Ranked | None = None) -> Ranked:
        """What next; the previous list where it answers the same."""
        if previous is not None and (previous.who, previous.k) == (pair.who, int(k)):
            return previous
        rows = self.recommender.rank(**_person(pair), k=int(k))
        return Ranked(pair.who, int(k), tuple(rows))

    def next_things(self, pair: Pair, ranked: Ranked) -> str:
        """The ranked list as a table."""
        return next_table(ranked.rows, pair.item, self.thing)

    def words(self, pair: Pair, told: Told | None) -> tuple[str, str]:
        """The explanation and its first draft, where the latest one is about the pair."""
        step = told.step if told is not None and told.pair == pair else None
        return words_card(step, pair.item, self.thing), draft_markup(step)

    def found(self, text: str) -> str:
        """Items by title, to choose one from."""
        items = self.recommender.store.search_items(text.strip(), limit=FOUND)
        return found_table(items.to_dict("records"), text, self.thing)


class ChoicesPage:
    """Builds the components beside the sidebar in the current Blocks context, and fills them."""

    def __init__(self, answers: Answers, landing: Pair, k: int = 10) -> None:
        self.answers, thing = answers, answers.thing
        store = answers.recommender.store
        ranked = answers.ranked(landing, k)
        words, draft = answers.words(landing, None)
        gr.set_static_paths([PLOTLY_SCRIPT])
        self.bar = panel(choices_bar(store, landing, thing), elem_id="pair")
        with gr.Accordion(f"Choose another {thing}", open=False, elem_id="choose-film"):
            self.find = gr.Textbox(
                label=f"Find a {thing}", placeholder="part of a title", elem_id="find-film"
            )
            self.found = panel(answers.found(""), elem_id="films-found")
        with gr.Row(equal_height=False, elem_classes="ckf-columns"):
            with gr.Column(min_width=300):
                self.chances = panel(
                    answers.chances(landing),
                    js_on_load=RESULT_SCRIPT,
                    head=PLOTLY_HEAD,
                    elem_id="chances",
                )
            with gr.Column(min_width=300):
                self.words = panel(words, elem_id="explanation")
                with gr.Row(elem_classes="ckf-buttons"):
                    self.explain = gr.Button(
                        "Explain", size="sm", variant="primary", elem_id="explain"
                    )
                    self.stop = gr.Button("Stop", size="sm", interactive=False, elem_id="stop")
                with gr.Accordion("First draft, not held against anything", open=False):
                    self.draft = panel(draft, elem_id="draft")
        self.contrast = ContrastPanel(
            answers.recommender,
            answers.stops,
            words=lambda step, item: said_markup(step, item, thing),
            person=_person,
        )
        with gr.Row(equal_height=False, elem_classes="ckf-columns"):
            with gr.Column(min_width=300):
                self.next = panel(answers.next_things(landing, ranked), elem_id="topk")
                self.k = gr.Slider(1, 50, value=k, step=1, label=f"How many {thing}s", elem_id="k")
            with gr.Column(min_width=300):
                self.before = panel(before_markup(store, landing, thing), elem_id="history")
        self.ranked = gr.State(ranked)
        self.told = gr.State(None)

    def show(self, pair: Pair, ranked: Ranked, told: Told | None, request: gr.Request) -> dict:
        """What needs no model: who, what, what is known; whatever is being written ends."""
        self.answers.stops.stop(request.session_hash, unless=pair)
        store, thing = self.answers.recommender.store, self.answers.thing
        words, draft = self.answers.words(pair, told)
        return {
            self.bar: choices_bar(store, pair, thing),
            self.before: before_markup(store, pair, thing),
            self.next: self.answers.next_things(pair, ranked),
            self.words: words,
            self.draft: draft,
        }

    def answer(self, pair: Pair, ranked: Ranked, k: float) -> Iterator[dict]:
        """Whether they would like it, then what next."""
        try:
            yield {self.chances: self.answers.chances(pair)}
        except UserError as error:
            yield {self.chances: warn(error)}
        yield self.rank(pair, ranked, k)

    def rank(self, pair: Pair, ranked: Ranked, k: float) -> dict:
        """What next."""
        try:
            ranked = self.answers.ranked(pair, k, ranked)
        except UserError as error:
            return {self.next: notice(str(error), "problem")}
        return {self.next: self.answers.next_things(pair, ranked), self.ranked: ranked}

    def write(self, pair: Pair, request: gr.Request) -> Iterator[dict]:
        """The explanation of a pair, as it grows."""
        stop = self.answers.stops.begin(request.session_hash, pair)
        step: dict = {}
        try:
            steps = self.answers.recommender.explain(**_person(pair), item=pair.item, stop=stop)
            for step in steps:
                yield {
                    self.words: words_card(step, pair.item, self.answers.thing),
                    self.stop: gr.update(interactive=True),
                }
        except UserError as error:
            step = {"problem": str(error)}
        yield {self.told: Told(pair, step)}

    def settle(self, pair: Pair, told: Told | None) -> dict:
        """What is shown once nothing is written: another pair may be in question by now."""
        words, draft = self.answers.words(pair, told)
        return {self.words: words, self.draft: draft, self.stop: gr.update(interactive=False)}


def build(
    recommender,
    *,
    places: Sequence[Place] = (),
    own: Place | None = None,
    beside: Service | None = None,
) -> gr.Blocks:
    """The page around a loaded recommender whose data hold likes alone; arguments as for
    `ckf_demo.ui.app.build`.

    What visitors land on is answered here, once.
    """
    people, answers = People(recommender), Answers(recommender)
    landing, service = people.start(), Service(recommender, beside)
    with gr.Blocks(title="CKF demo", analytics_enabled=False, fill_width=True) as demo:
        # Before all other events: the first of a name gets it without a number behind it.
        add_choice_endpoints(recommender, service)
        shared = Page(demo, recommender, service, landing)
        pair, opened, query = shared.pair, shared.opened, shared.query
        with gr.Sidebar(label="Who", width=350):
            if links := data_links(places, own):
                gr.HTML(links, apply_default_css=False, elem_id="data-sets")
            sidebar = ChoicesSidebar(recommender, people, answers.thing)
        with gr.Row(elem_classes="ckf-head"):
            gr.HTML(_title(answers.thing), apply_default_css=False)
        page = ChoicesPage(answers, landing)

        def behind(function: Callable, name: str, gate: Gate | None = service.model) -> Callable:
            return shared.gated(function, gate, name)

        _choose_person(sidebar, people, pair)
        _choose_item(page, pair)
        _answer(page, pair, query, behind)
        page.contrast.wire(shared)
        _open(recommender, sidebar, pair, opened, demo)

        def forget(request: gr.Request) -> None:
            answers.stops.forget(request.session_hash)

        demo.unload(forget)
    demo.service = service
    # closed, or calls could pass the queues by
    return demo.queue(default_concurrency_limit=8, max_size=service.threads, api_open=False)


def _person(pair: Pair) -> dict:
    """The person as the recommender takes them."""
    if not pair.user and not pair.history:
        raise UserError(NOBODY)
    return pair.person


def _title(thing: str) -> str:
    return (
        f'<div class="ckf-title">{LOGO}<div><h1>Collaborative knowledge fusion</h1><p>A small '
        f"language model says whether one person would like one {thing}, and why, from what people "
        "chose and wrote; also when almost nothing is known of them.</p></div></div>"
    )


def _choose_person(sidebar: ChoicesSidebar, people: People, pair: gr.State) -> None:
    """Wire everything in the sidebar that chooses a person."""

    def choose(current: Pair, user: str):
        try:
            return people.known(user, current.item), ""
        except UserError as error:
            return gr.skip(), warn(error)

    def choose_row(current: Pair, event: gr.EventData):
        return choose(current, str(event.pick))

    chosen = [pair, sidebar.wrong]
    sidebar.search.change(
        lambda text: people.listing(text, sidebar.thing),
        sidebar.search,
        sidebar.users,
        trigger_mode="always_last",
        **QUIET,
    )
    sidebar.search.submit(choose, [pair, sidebar.search], chosen, **QUIET).then(
        None, sidebar.wrong, **CLOSE
    )
    sidebar.users.select(choose_row, pair, chosen, **QUIET).then(None, sidebar.wrong, **CLOSE)
    _describe(sidebar, pair)


def _describe(sidebar: ChoicesSidebar, pair: gr.State) -> None:
    """Wire the form of a new person."""
    draft, problem = sidebar.draft, sidebar.problem
    sidebar.find.change(
        sidebar.found_items,
        [sidebar.find, draft],
        sidebar.found,
        trigger_mode="always_last",
        **QUIET,
    )

    def pick(known: tuple[str, ...], event: gr.EventData):
        try:
            return sidebar.changed(known, str(event.pick), event.remove), ""
        except UserError as error:
            return gr.skip(), warn(error)

    for source in (sidebar.found, sidebar.liked):
        source.select(pick, draft, [draft, problem], **QUIET)
    draft.change(
        lambda text, known: (sidebar.found_items(text, known), sidebar.liked_items(known)),
        [sidebar.find, draft],
        [sidebar.found, sidebar.liked],
        **QUIET,
    )
    # Changed picks change the person at once, when the page is about a new one.
    draft.change(
        lambda current, known: gr.skip() if current.user else new_person(current, known),
        [pair, draft],
        pair,
        trigger_mode="always_last",
        **QUIET,
    )

    def use(current: Pair, known: tuple[str, ...]):
        if not known:
            return gr.skip(), notice(f"Add a {sidebar.thing} that they like first.", "problem")
        return new_person(current, known), ""

    sidebar.use.click(use, [pair, draft], [pair, problem], **QUIET).then(None, problem, **CLOSE)


def _choose_item(page: ChoicesPage, pair: gr.State) -> None:
    """Wire the lists from which what is asked about can be chosen."""
    page.find.change(page.answers.found, page.find, page.found, trigger_mode="always_last", **QUIET)

    def choose(current: Pair, event: gr.EventData):
        try:
            item = page.answers.recommender.store.item(str(event.pick))
        except UserError as error:
            warn(error)
            return gr.skip()
        return current.with_item(item["item"])

    for source in (page.found, page.next):
        source.select(choose, pair, pair, **QUIET)


def _answer(page: ChoicesPage, pair: gr.State, query: gr.Textbox, behind: Callable) -> None:
    """Wire what is asked about the pair."""
    pair.change(
        behind(page.show, "page: pair", None),
        [pair, page.ranked, page.told],
        [page.bar, page.before, page.next, page.words, page.draft],
        **QUIET,
    ).then(lambda current: current.query(), pair, query, **QUIET).then(
        None, query, js="(query) => window.ckf.address(query)", **PRIVATE
    )
    pair.change(
        behind(page.answer, "page: answer"),
        [pair, page.ranked, page.k],
        [page.chances, page.next, page.ranked],
        show_progress_on=[page.chances, page.next],
        trigger_mode="always_last",
        **PRIVATE,
        **GATED,
    )
    page.k.release(
        behind(page.rank, "page: rank"),
        [pair, page.ranked, page.k],
        [page.next, page.ranked],
        show_progress_on=page.next,
        trigger_mode="always_last",
        **PRIVATE,
        **GATED,
    )
    page.explain.click(
        behind(page.write, "page: explain"),
        pair,
        [page.words, page.stop, page.told],
        show_progress_on=page.words,
        trigger_mode="once",
        **PRIVATE,
        **GATED,
    ).then(page.settle, [pair, page.told], [page.words, page.draft, page.stop], **QUIET)

    def stop(request: gr.Request) -> None:
        page.answers.stops.stop(request.session_hash)

    page.stop.click(stop, **QUIET)


def _open(recommender, sidebar: ChoicesSidebar, pair: gr.State, opened: gr.State, demo) -> None:
    """Wire the opening of the page, which its address may send to somebody."""

    def read_address(current: Pair, request: gr.Request) -> dict:
        given = dict(request.query_params)
        params = {name: given[name] for name in ADDRESS if name in given}
        try:
            chosen = as_choices(
                from_query(recommender.store, params, current, things=recommender.domain.things)
            )
        except UserError as error:
            warn(error)
            return {opened: True}
        if chosen == current:
            return {opened: True}
        who = gr.Tabs(selected="known" if chosen.user else "new")
        draft = tuple(item for item, _ in chosen.history)
        return {opened: True, pair: chosen, sidebar.tabs: who, sidebar.draft: draft}

    demo.load(read_address, pair, [pair, opened, sidebar.tabs, sidebar.draft], **QUIET)
    demo.load(None, js=START, **PRIVATE)
