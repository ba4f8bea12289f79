"""The page: a sidebar for who, a slim bar for the pair, one tab for each way of looking at it, and
the named endpoints. ``build`` makes it around a recommender; ``launch_options`` belong to it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import gradio as gr
from gradio.context import LocalContext
from starlette.middleware import Middleware

from ckf_demo.inference.projections import Spaces
from ckf_demo.runtime.errors import UserError
from ckf_demo.serving.method_comparison import MethodComparison
from ckf_demo.ui.api import DATA_QUEUE, MAP_QUEUE, add_endpoints
from ckf_demo.ui.cold_start import ColdStartTab, Latest
from ckf_demo.ui.compare import CompareTab, Comparison
from ckf_demo.ui.contrast import ContrastPanel
from ckf_demo.ui.data import DataTab
from ckf_demo.ui.fair_queue import Gate
from ckf_demo.ui.map import MapTab
from ckf_demo.ui.markup import Column, Row, film_text, notice, panel, table, warn
from ckf_demo.ui.model_card import ModelCardTab
from ckf_demo.ui.moment import MomentControls
from ckf_demo.ui.pages import Late, Place, data_links
from ckf_demo.ui.pair import Pair, bar, from_query, has_genres, known_user
from ckf_demo.ui.predict import PredictTab, Stops, finished_answer, history_markup
from ckf_demo.ui.python import PythonTab
from ckf_demo.ui.results import ResultsTab
from ckf_demo.ui.routes import OpenRoutes
from ckf_demo.ui.service import GATED, Service
from ckf_demo.ui.sidebar import Sidebar, examples
from ckf_demo.ui.theme import theme
from ckf_demo.ui.tools import adapt_tools
from ckf_demo.ui.topk import Ranking, TopKTab
from ckf_demo.ui.tour import tour_markup
from ckf_demo.ui.why import SECTIONS, Found, WhyTab

ASSETS = Path(__file__).resolve().parents[2] / "assets"
TABS = ("predict", "topk", "why", "compare", "cold", "map", "results", "data", "card", "python")
# A person and a film, and the bridge between them.
LOGO = (
    '<svg class="ckf-logo" viewBox="0 0 48 32" width="48" height="32" aria-hidden="true">'
    '<path d="M9 21 C15 3 33 3 39 21"/><path d="M4 21 H44"/>'
    '<path class="ckf-cables" d="M16.5 11.5 V21 M24 7.6 V21 M31.5 11.5 V21"/>'
    '<circle cx="9" cy="21" r="5"/><rect x="34" y="16" width="10" height="10" rx="1.5"/></svg>'
)
Builder = Callable[[], gr.Blocks]
PRIVATE = {"api_visibility": "private"}
OPENING = 3.0
"""Seconds within which a page is opened at the latest."""
QUIET = {**PRIVATE, "show_progress": "hidden"}
# On a phone the drawer closes, unless something in it says what is wrong.
CLOSE = {"js": "(problem) => { if (!problem) window.ckf.closeDrawer(); }", **PRIVATE}


def launch_options() -> dict:
    """What ``launch`` needs beside host and port: theme, styles, scripts, and what is shut."""
    return {
        "theme": theme(),
        "css_paths": [ASSETS / "style.css"],
        "head": f"<script>{(ASSETS / 'app.js').read_text(encoding='utf-8')}</script>",
        "footer_links": ["api", "settings"],
        # Nothing is uploaded here, and what visitors asked is nobody's to keep.
        "max_file_size": "1kb",
        "run_history": False,
        "enable_monitoring": False,
    }


def launch(demo: gr.Blocks, others: Sequence[tuple[Place, Builder]] = (), **where) -> None:
    """Serve a built app, its named endpoints as MCP tools and ``/healthz``, without blocking.

    ``others`` are pages of other data sets and what builds each when it is first asked for.
    ``where`` are host and port as ``gradio.Blocks.launch`` takes them.
    """
    late = [Late(place, make, launch_options()) for place, make in others]
    demo.service.pages = {own.place.path: lambda own=own: own.state for own in late}
    below = [own.place.path for own in late]
    demo.launch(
        **where,
        **launch_options(),
        mcp_server=True,
        ssr_mode=False,
        quiet=True,
        prevent_thread_lock=True,
        max_threads=demo.service.threads,
        app_kwargs={
            "routes": [demo.service.route, *(route for own in late for route in own.routes)],
            "middleware": [Middleware(OpenRoutes, below=below)],
        },
    )
    adapt_tools(demo)


def build(
    recommender,
    method_comparison: MethodComparison | None = None,
    *,
    places: Sequence[Place] = (),
    own: Place | None = None,
    beside: Service | None = None,
) -> gr.Blocks:
    """The app around a loaded recommender.

    Parameters
    ----------
    shelf
        The methods to compare: those of the checkpoints beside the recommender's own when it is
        None.
    places, own
        Where all data sets are served, and which of them this is.
    beside
        The service of a page in the same process, whose gates hold for this one too.

    The page that visitors land on is answered here, once: the cold example with all its figures and
    words. What the first map shows is fitted, or read from the cache.
    """
    ready = examples(recommender)
    landing = finished_answer(recommender, ready[0].pair)
    method_comparison = method_comparison or MethodComparison(recommender)
    spaces = Spaces(recommender)
    spaces.prepare()
    stops = Stops()
    store, thing = recommender.store, recommender.domain.thing
    service = Service(recommender, beside)
    with gr.Blocks(title="CKF demo", analytics_enabled=False, fill_width=True) as demo:
        # Before all other events: the first of a name gets it without a number behind it.
        add_endpoints(recommender, method_comparison, service)
        pair = gr.State(landing.pair)
        active = gr.State(TABS[0])
        # Set when the page is opened, and lost with all that the server holds of a session.
        opened = gr.State(False)
        query = gr.Textbox(visible=False)
        with gr.Sidebar(label="Who", width=350):
            if links := data_links(places, own):
                gr.HTML(links, apply_default_css=False, elem_id="data-sets")
            sidebar = Sidebar(recommender, ready)
        with gr.Row(elem_classes="ckf-head"):
            gr.HTML(
                f'<div class="ckf-title">{LOGO}<div><h1>Collaborative knowledge fusion</h1>'
                f"<p>A small language model predicts what one person thinks of one {thing}, also "
                "when almost nothing is known of them.</p></div></div>",
                apply_default_css=False,
            )
            show_round = gr.Button(
                "Show me round", size="sm", scale=0, min_width=120, elem_id="tour-again"
            )
            try_it = gr.Button(
                "Try it yourself",
                size="sm",
                variant="primary",
                scale=0,
                min_width=120,
                elem_id="try",
            )
        panel(tour_markup(recommender), elem_id="tour")
        pair_bar = panel(bar(recommender, landing.pair), elem_id="pair")
        with gr.Row(equal_height=False, elem_classes="ckf-folds"):
            with (
                gr.Column(min_width=300),
                gr.Accordion(f"Choose another {thing}", open=False, elem_id="choose-film"),
            ):
                find = gr.Textbox(
                    label=f"Find a {thing}", placeholder="part of a title", elem_id="find-film"
                )
                found = panel(film_list(recommender, ""), elem_id="films-found")
            with (
                gr.Column(min_width=300),
                gr.Accordion("Choose moment and method", open=False, elem_id="choose-moment"),
            ):
                moment = MomentControls(recommender, landing.pair)
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab("Predict", id="predict") as predict_tab:
                predict = PredictTab(recommender, stops, landing)
                contrast = ContrastPanel(
                    recommender, stops, lambda text: film_list(recommender, text)
                )
            with gr.Tab("Top-K", id="topk") as topk_tab:
                topk = TopKTab(recommender, landing)
                predict.panels.append(topk.panel)
            with gr.Tab("Why", id="why") as why_tab:
                why = WhyTab(recommender)
            with gr.Tab("Compare", id="compare") as compare_tab:
                compare = CompareTab(recommender, method_comparison)
            with gr.Tab("Cold start", id="cold") as cold_tab:
                cold = ColdStartTab(recommender)
            with gr.Tab("Map", id="map") as map_tab:
                maps = MapTab(recommender, spaces)
            with gr.Tab("Results", id="results") as results_tab:
                results = ResultsTab(recommender)
            with gr.Tab("Data", id="data") as data_tab:
                data = DataTab(recommender)
            with gr.Tab("Model card", id="card") as card_tab:
                ModelCardTab(recommender)
            with gr.Tab("Python", id="python") as python_tab:
                python = PythonTab(recommender, landing.pair)

        _choose_person(sidebar, ready, pair, recommender)
        moment.wire(pair)
        try_it.click(
            lambda: gr.update(selected="new"),
            outputs=sidebar.tabs,
            js="() => window.ckf.openDrawer()",
            **QUIET,
        )
        show_round.click(None, js="() => window.ckf.tour(0)", **PRIVATE)
        find.change(
            lambda text: film_list(recommender, text),
            find,
            found,
            trigger_mode="always_last",
            **QUIET,
        )
        for source in (
            found,
            predict.history,
            topk.table,
            why.later,
            compare.shown,
            cold.shown,
            cold.after,
            maps.neighbours,
            maps.highlights,
        ):
            source.select(choose_film, pair, pair, **QUIET)
        maps.maps.select(maps.choose, pair, pair, **QUIET)
        maps.people.select(maps.choose_person, pair, pair, **QUIET)

        results.errors.select(results.choose, pair, pair, **QUIET)

        shown_tabs = (
            predict_tab,
            topk_tab,
            why_tab,
            compare_tab,
            cold_tab,
            map_tab,
            results_tab,
            data_tab,
            card_tab,
            python_tab,
        )
        for tab, name in zip(shown_tabs, TABS, strict=True):
            tab.select(
                lambda name=name: name,
                outputs=active,
                js=f"() => window.ckf.tab('{name}')",
                **QUIET,
            )

        def behind(gate: Gate | None, function: Callable, name: str, *tabs: str) -> Callable:
            """The function behind a gate; with tabs, only while one of them is open, which its
            first argument says."""
            open_ = (lambda tab, *_: tab in tabs) if tabs else None
            return service.answering(
                function,
                gate,
                name=name,
                when=open_,
                first=lambda: expect_session(demo, opened, thing),
            )

        def show_pair(current: Pair, ranking: Ranking | None, request: gr.Request):
            for running in (stops, cold.stops):
                running.stop(request.session_hash, unless=current)
            why.leave(request, unless=current)
            return (
                bar(recommender, current),
                history_markup(recommender, current),
                topk.reselect(current, ranking),
                why.method_markup(current),
                current.query(),
            )

        pair.change(
            behind(None, show_pair, "page: pair"),
            [pair, topk.ranking],
            [pair_bar, predict.history, topk.table, why.method, query],
            **QUIET,
        ).then(None, query, js="(query) => window.ckf.address(query)", **PRIVATE)

        def rank(tab: str, current: Pair, ranking: Ranking | None, *controls):
            wanted = tab in ("topk", "map")
            return topk.rank(current, ranking, *controls) if wanted else {topk.ranking: gr.skip()}

        gr.on(
            [
                active.change,
                pair.change,
                topk.k.release,
                topk.genre.change,
                topk.year_from.submit,
                topk.year_from.blur,
                topk.year_to.submit,
                topk.year_to.blur,
            ],
            behind(service.model, rank, "page: rank", "topk", "map"),
            [active, pair, topk.ranking, *topk.controls],
            [topk.table, topk.ranking],
            show_progress_on=topk.table,
            trigger_mode="always_last",
            **PRIVATE,
            **GATED,
        )

        def what_if(section: str):
            def answer(
                tab: str,
                current: Pair,
                latest: Found | None,
                by: str | None,
                other: str,
                k: float,
                request: gr.Request,
            ):
                if tab == "why":
                    yield from why.answer(section, current, latest, by, other, k, request)
                else:
                    yield {why.latest: gr.skip()}

            return {
                "fn": behind(service.model, answer, f"page: why {section}", "why"),
                "inputs": [active, pair, why.latest, *why.controls],
                "outputs": why.outputs,
                # a round that begins while another is on its way must not lose its sections
                "trigger_mode": "always_last",
                **PRIVATE,
                **GATED,
            }

        show_why = {
            "fn": why.show,
            "inputs": [why.latest, why.by],
            "outputs": [*why.panels, why.latest],
            "trigger_mode": "always_last",
            **QUIET,
        }

        def enter_why(tab: str, request: gr.Request) -> None:
            if tab == "why":
                why.enter(request)
            else:
                why.leave(request)

        first, *others = SECTIONS
        rounds = [
            gr.on(
                [active.change, why.again.click],
                enter_why,
                active,
                trigger_mode="always_last",
                **QUIET,
            ).then(**what_if(first)),
            gr.on([pair.change, *why.changes], **what_if(first)),
        ]
        for section in others:
            rounds = [each.then(**what_if(section)) for each in rounds]
        for each in rounds:
            each.then(**show_why)
        why.by.change(**show_why)
        why.films.select(
            behind(service.model, why.choose, "page: why stars"),
            pair,
            why.stars,
            show_progress_on=why.stars,
            trigger_mode="always_last",
            **PRIVATE,
            **GATED,
        )

        def compare_methods(tab: str, current: Pair, latest: Comparison | None, *controls):
            if tab == "compare":
                yield from compare.compare(current, latest, *controls)
            else:
                yield {compare.latest: gr.skip()}

        gr.on(
            [active.change, pair.change, *compare.changes],
            behind(service.model, compare_methods, "page: compare", "compare"),
            [active, pair, compare.latest, *compare.controls],
            compare.outputs,
            show_progress_on=compare.shown,
            trigger_mode="always_last",
            **PRIVATE,
            **GATED,
        )

        compare.baselines.change(
            service.answering(
                compare.fit,
                service.long,
                name="page: fit baselines",
                when=compare.needs_fitting,
                first=lambda: expect_session(demo, opened, thing),
            ),
            compare.baselines,
            [compare.fitting, compare.ready],
            trigger_mode="always_last",
            **QUIET,
            **GATED,
        )

        _wire_cold_start(cold, active, pair, behind, service.long)

        def draw(
            tab: str,
            current: Pair,
            ranking: Ranking | None,
            kind: str,
            method: str,
            dimensions: int,
            beside: str,
            progress=gr.Progress(),  # noqa: B008 (Gradio finds it by its default)
        ):
            if tab == "map":
                view = kind, method, dimensions, beside
                yield from maps.draw(current, ranking, *view, progress=progress)
            else:
                yield {maps.message: gr.skip()}

        drawing = gr.on(
            [
                active.change,
                pair.change,
                topk.ranking.change,
                *(control.change for control in maps.controls),
            ],
            draw,
            [active, pair, topk.ranking, *maps.controls],
            maps.outputs,
            show_progress_on=[maps.message, maps.neighbours],
            trigger_mode="always_last",
            **PRIVATE,
            **MAP_QUEUE,
        )
        maps.stop.click(maps.stopped, outputs=maps.outputs, cancels=drawing, **QUIET)
        gr.on(
            [control.input for control in results.controls],
            results.show,
            [pair, *results.controls],
            results.outputs,
            trigger_mode="always_last",
            # A dropdown reports a choice twice, the second time with the metric of before, which
            # the first may have taken off the list; `show` takes the nearest.
            preprocess=False,
            **QUIET,
        )
        pair.change(results.reselect, [pair, results.shown], results.errors, **QUIET)
        # `select` comes of clicks alone; `input` also of the keyboard, and whenever the list loses
        # the focus without a choice. The list may have grown since the page was built.
        typed = [data.sql, data.own, data.file]
        shown_analysis = [data.analysis, data.chosen, data.about, data.sql, data.own, *data.outputs]
        for event, show, inputs in (
            (data.analysis.select, data.choose, [data.analysis, *typed]),
            (data.analysis.input, data.leave_list, [data.analysis, data.chosen, *typed]),
        ):
            event(show, inputs, shown_analysis, preprocess=False, **QUIET)
        gr.on(
            [data.run.click, data.sql.submit],
            data.answer,
            [data.sql, data.file],
            data.outputs,
            show_progress_on=data.result,
            trigger_mode="once",
            **PRIVATE,
            **DATA_QUEUE,
        )
        pair.change(
            behind(service.model, predict.answer, "page: predict"),
            [pair, predict.task],
            predict.outputs,
            show_progress_on=[
                predict.rating,
                predict.click,
                *(shown.words for shown in predict.panels),
            ],
            trigger_mode="always_last",
            **PRIVATE,
            **GATED,
        )
        contrast.wire(pair, behind(service.model, contrast.answer, "page: contrast"))
        predict.task.change(
            behind(service.model, predict.prompt_of, "page: prompt"),
            [pair, predict.task],
            predict.prompt,
            **PRIVATE,
            **GATED,
        )

        def stop(request: gr.Request) -> None:
            stops.stop(request.session_hash)

        def forget(request: gr.Request) -> None:
            stops.forget(request.session_hash)
            why.leave(request)
            cold.forget(request)

        why.halt.click(why.stop, why.latest, [why.halt, why.again], **QUIET)
        for words in predict.panels:
            words.again.click(
                behind(service.model, predict.explain, "page: explain"),
                pair,
                [part for shown in predict.panels for part in shown.components],
                trigger_mode="once",
                **PRIVATE,
                **GATED,
            )
            words.stop.click(stop, **QUIET)

        described = [sidebar.draft, sidebar.taste, sidebar.new_age, sidebar.new_occupation]

        def read_address(current: Pair, request: gr.Request):
            """What the address names, and no more: a visitor may have chosen the rest meanwhile."""
            params = dict(request.query_params)
            # a number field without a value shows 0 until it is told
            shown: dict = {sidebar.new_age: None, opened: True}
            try:
                if tab := params.get("tab"):
                    if tab not in TABS:
                        raise UserError(
                            f"tab={tab[:40]!r} in the address is unknown; "
                            f"choose one of {', '.join(TABS)}"
                        )
                    shown |= {active: tab, tabs: gr.update(selected=tab)}
                chosen = from_query(
                    store, params, current, recommender.methods, recommender.domain.things
                )
                if chosen != current or not chosen.user:
                    form = zip(described, sidebar.form(chosen), strict=True)
                    who = gr.Tabs(selected="known" if chosen.user else "new")
                    shown |= {pair: chosen, sidebar.tabs: who, **dict(form)}
            except UserError as error:
                warn(error)
            try:
                if k := params.get("k"):
                    shown[cold.k] = cold.k_of(k)
            except UserError as error:
                warn(error)
            return shown

        demo.load(
            read_address,
            pair,
            [pair, opened, active, tabs, sidebar.tabs, cold.k, *described],
            **QUIET,
        )
        gr.on([demo.load, pair.change], python.show, pair, python.outputs, **QUIET)
        demo.load(None, js="() => window.ckf.start()", **PRIVATE)
        demo.unload(forget)
    demo.service = service
    # closed, or calls could pass the queues by
    return demo.queue(default_concurrency_limit=8, max_size=service.threads, api_open=False)


def _wire_cold_start(
    cold: ColdStartTab, active: gr.State, pair: gr.State, behind: Callable, gate: Gate
) -> None:
    """Wire the Cold start tab: the replay of the pair's person, and the two measurements."""

    def replay(
        tab: str,
        current: Pair,
        latest: Latest | None,
        question,
        k,
        first,
        targets,
        request: gr.Request,
    ):
        if tab == "cold":
            yield from cold.replay(current, latest, question, k, first, targets, request)
        else:
            yield {cold.latest: gr.skip()}

    gr.on(
        [active.change, pair.change, *cold.changes],
        behind(gate, replay, "page: replay", "cold"),
        [active, pair, cold.latest, *cold.controls],
        cold.outputs,
        show_progress_on=cold.shown,
        trigger_mode="always_last",
        # The page may still show the slider of a longer replay; its k is cut to the present one.
        preprocess=False,
        **PRIVATE,
        **GATED,
    )
    cold.k.change(None, cold.k, js="(k) => window.ckf.known(k)", **PRIVATE)
    cold.k.change(
        cold.move,
        [cold.k, cold.latest, cold.question],
        cold.after,
        trigger_mode="always_last",
        preprocess=False,
        **QUIET,
    )
    cold.halt.click(cold.stop, **QUIET)
    cold.compare.change(lambda two: gr.Column(visible=two), cold.compare, cold.second, **QUIET)
    groups = [control for group in cold.groups for control in group.controls]
    for measurement, measure, inputs in (
        (
            cold.people,
            cold.measure_people,
            [cold.compare, *cold.people.controls, *groups],
        ),
        (cold.items, cold.measure_items, cold.items.controls),
    ):
        measurement.start.click(
            behind(gate, measure, f"page: {measure.__name__}"),
            inputs,
            measurement.outputs,
            show_progress_on=measurement.progress,
            trigger_mode="once",
            **PRIVATE,
            **GATED,
        )
        measurement.cancel.click(measurement.stop, **QUIET)
        measurement.metric.change(
            measurement.show,
            [measurement.outcome, measurement.metric],
            measurement.result,
            **QUIET,
        )


def expect_session(demo: gr.Blocks, opened: gr.State, thing: str) -> None:
    """Raise a UserError for a page that was opened on a server that is no more.

    ``thing`` is what the message calls an item.
    Gradio gives its session a beginner's state instead, in which somebody else is asked about.
    """
    session = LocalContext.request.get().session_hash
    end = time.monotonic() + OPENING
    while not demo.app.state_holder[session][opened._id]:
        # what opens a page may still be on its way
        if time.monotonic() > end:
            raise UserError(
                "The server was started anew since this page was opened. Please load the page "
                f"again; its address holds the person and the {thing} that you see."
            )
        time.sleep(0.05)


def choose_film(current: Pair, event: gr.EventData) -> Pair:
    """The same person with the film of the chosen row or point."""
    return current.with_item(event.pick)


def film_list(recommender, text: str) -> str:
    """Films whose title holds ``text``, to choose from (HTML)."""
    thing, things = recommender.domain.thing, recommender.domain.things
    if not text.strip():
        return notice(f"Type part of a title; {things} in any table or map can be chosen as well.")
    genres = has_genres(recommender)
    rows = [
        Row(
            pick=film["item"],
            cells=[film_text(film), *([", ".join(film["genres"])] if genres else [])],
        )
        for film in recommender.search_items(text.strip(), limit=12)
    ]
    return table(
        [
            Column(thing.capitalize(), pick=True, wide=True),
            *([Column("Genres", wide=True)] if genres else []),
        ],
        rows,
        caption=f"{things.capitalize()} found",
        empty=f"No title holds “{text.strip()}”; try a shorter part of it.",
        height=260,
    )


def _choose_person(sidebar: Sidebar, ready, pair: gr.State, recommender) -> None:
    """Wire everything in the sidebar that chooses a person."""
    store = recommender.store
    close = {"js": "() => window.ckf.closeDrawer()", **PRIVATE}
    described = [sidebar.draft, sidebar.taste, sidebar.new_age, sidebar.new_occupation]

    def take(chosen: Pair):
        # a described person stands in the form too, so that their picks can be changed
        return chosen, *((gr.skip(),) * len(described) if chosen.user else sidebar.form(chosen))

    for button, example in zip(sidebar.examples, ready, strict=True):
        button.click(
            lambda current, example=example: take(replace(example.pair, method=current.method)),
            pair,
            [pair, *described],
            **QUIET,
        ).then(None, **close)

    filters = [sidebar.search, sidebar.group, sidebar.age, sidebar.occupation]
    gr.on(
        [sidebar.search.input, sidebar.group.change, sidebar.age.change, sidebar.occupation.change],
        sidebar.user_table,
        filters,
        sidebar.users,
        trigger_mode="always_last",
        **QUIET,
    )

    def choose_user(current: Pair, event: gr.EventData) -> Pair:
        return known_user(store, event.pick, current.item, method=current.method)

    sidebar.users.select(choose_user, pair, pair, **QUIET).then(None, **close)

    sidebar.find.change(
        sidebar.found_films,
        [sidebar.find, sidebar.draft],
        sidebar.found,
        trigger_mode="always_last",
        **QUIET,
    )

    def give_stars(draft: tuple, event: gr.EventData) -> tuple:
        if event.rating is None and event.remove is None:
            return draft
        return sidebar.rerate(draft, event.pick, event.rating)

    for source in (sidebar.found, sidebar.rated):
        source.select(give_stars, sidebar.draft, sidebar.draft, **QUIET)
    sidebar.draft.change(
        lambda text, draft: (sidebar.found_films(text, draft), sidebar.rated_films(draft)),
        [sidebar.find, sidebar.draft],
        [sidebar.found, sidebar.rated],
        **QUIET,
    )

    def follow(current: Pair, draft: tuple, taste: str, age: float | None, occupation: str):
        """Changed picks change the person at once, when the page is about a described one."""
        if current.user or tuple(draft) == current.history:
            return gr.skip()
        person = sidebar.person(current, draft, taste, age, occupation)
        return person if any(person.person.values()) else gr.skip()

    sidebar.draft.change(follow, [pair, *described], pair, trigger_mode="always_last", **QUIET)

    def use(current: Pair, draft: tuple, taste: str, age: float | None, occupation: str):
        person = sidebar.person(current, draft, taste, age, occupation)
        if not any(person.person.values()):
            return gr.skip(), notice(sidebar.ask, "problem")
        return person, ""

    sidebar.use.click(
        use,
        [pair, *described],
        [pair, sidebar.problem],
        **QUIET,
    ).then(None, sidebar.problem, **CLOSE)
