"""The page: a sidebar for who, a slim bar for the pair, one tab for each way of looking at it, and
the named endpoints. `build` makes it around a recommender and `launch` serves it."""

from collections.abc import Callable, Sequence

import gradio as gr
from starlette.middleware import Middleware

from ckf_demo.inference.projections import Spaces
from ckf_demo.runtime.assets import ASSETS, asset
from ckf_demo.runtime.errors import UserError
from ckf_demo.serving.method_comparison import MethodComparison
from ckf_demo.ui.answer import Answer, finished_answer
from ckf_demo.ui.api import add_endpoints
from ckf_demo.ui.cold_start import ColdStartTab
from ckf_demo.ui.compare import CompareTab
from ckf_demo.ui.data import DataTab
from ckf_demo.ui.events import PRIVATE, QUIET
from ckf_demo.ui.items import ItemPicker
from ckf_demo.ui.map import MapTab
from ckf_demo.ui.markup import panel, warn
from ckf_demo.ui.model_card import ModelCardTab
from ckf_demo.ui.moment import MomentControls
from ckf_demo.ui.own_ratings import OwnRatingsDialog
from ckf_demo.ui.page import Page
from ckf_demo.ui.pages import Late, Place, data_links
from ckf_demo.ui.pair import Pair, bar, from_query
from ckf_demo.ui.predict import PredictTab
from ckf_demo.ui.python import PythonTab
from ckf_demo.ui.reading import ratings_route
from ckf_demo.ui.results import ResultsTab
from ckf_demo.ui.routes import OpenRoutes
from ckf_demo.ui.service import Service
from ckf_demo.ui.sidebar import Sidebar, examples
from ckf_demo.ui.theme import theme
from ckf_demo.ui.tools import adapt_tools
from ckf_demo.ui.topk import TopKTab
from ckf_demo.ui.tour import tour_markup
from ckf_demo.ui.training import Training, TrainingPanel
from ckf_demo.ui.why import WhyTab

LABELS: dict[str, str] = asset("page.toml")["tabs"]
"""What the page calls each tab, by its name in an address."""
TABS = tuple(LABELS)
# A person and a film, and the bridge between them.
LOGO = (
    '<svg class="ckf-logo" viewBox="0 0 48 32" width="48" height="32" aria-hidden="true">'
    '<path d="M9 21 C15 3 33 3 39 21"/><path d="M4 21 H44"/>'
    '<path class="ckf-cables" d="M16.5 11.5 V21 M24 7.6 V21 M31.5 11.5 V21"/>'
    '<circle cx="9" cy="21" r="5"/><rect x="34" y="16" width="10" height="10" rx="1.5"/></svg>'
)
Builder = Callable[[], gr.Blocks]


def launch_options() -> dict:
    """What ``launch`` needs beside host and port: theme, styles, scripts, and what is shut."""
    return {
        "theme": theme(),
        "css_paths": [ASSETS / "style.css"],
        "head": f"<script>{(ASSETS / 'app.js').read_text(encoding='utf-8')}</script>",
        "footer_links": ["api", "settings"],
        # Nothing is uploaded here, and no visitor's questions are kept.
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
    demo.service.pages = {page.place.path: lambda page=page: page.state for page in late}
    routes = [
        demo.service.route,
        ratings_route(),
        *(route for page in late for route in page.routes),
    ]
    middleware = [Middleware(OpenRoutes, below=list(demo.service.pages))]
    demo.launch(
        **where,
        **launch_options(),
        mcp_server=True,
        ssr_mode=False,
        quiet=True,
        prevent_thread_lock=True,
        max_threads=demo.service.threads,
        app_kwargs={"routes": routes, "middleware": middleware},
    )
    adapt_tools(demo)


def build(
    recommender,
    method_comparison: MethodComparison | None = None,
    *,
    places: Sequence[Place] = (),
    own: Place | None = None,
    beside: Service | None = None,
    training: Training | None = None,
) -> gr.Blocks:
    """The app around a loaded recommender.

    The first answer that visitors see is computed here, once. What the first map shows is fitted,
    or read from the cache.

    Parameters
    ----------
    method_comparison
        The methods to compare; those of the checkpoints beside the recommender's own by default.
    places, own
        Where all data sets are served, and which of them this is.
    beside
        The service of a page in the same process, whose gates hold for this one too.
    training
        A training of the recommender in the background, which the page shows.
    """
    ready = examples(recommender)
    first_answer = finished_answer(recommender, ready[0].pair)
    method_comparison = method_comparison or MethodComparison(recommender)
    spaces = Spaces(recommender)
    spaces.prepare()
    service = Service(recommender, beside)
    with gr.Blocks(title="CKF demo", analytics_enabled=False, fill_width=True) as demo:
        # Before all other events: the first of a name gets it without a number behind it.
        add_endpoints(recommender, method_comparison, service)
        page = Page(demo, recommender, service, first_answer.pair)
        with gr.Sidebar(label="Who", width=350):
            if links := data_links(places, own):
                gr.HTML(links, apply_default_css=False, elem_id="data-sets")
            training_panel = TrainingPanel(training) if training else None
            sidebar = Sidebar(recommender, ready)
        show_round, try_it = _head(recommender.domain.thing)
        panel(tour_markup(recommender), elem_id="tour")
        pair_bar = panel(bar(recommender, first_answer.pair), elem_id="pair")
        with gr.Row(equal_height=False, elem_classes="ckf-folds"):
            with gr.Column(min_width=300):
                picker = ItemPicker(recommender)
            with gr.Column(min_width=300):
                moment = MomentControls(recommender, first_answer.pair)
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            views = _views(page, first_answer, method_comparison, spaces)
        own_ratings = OwnRatingsDialog(recommender)

        page.show(pair_bar, lambda current: bar(recommender, current))
        for part in (sidebar, picker, moment, *views.values()):
            part.wire(page)
        own_ratings.wire(page, sidebar)
        page.wire()
        if training_panel:
            training_panel.wire()
        show_round.click(None, js="() => window.ckf.tour(0)", **PRIVATE)
        try_it.click(
            lambda: gr.update(selected="new"),
            outputs=sidebar.tabs,
            js="() => window.ckf.openDrawer()",
            **QUIET,
        )
        _open(page, tabs, sidebar, views["cold"], views["topk"])
    demo.service = service
    # closed, or calls could pass the queues by
    return demo.queue(default_concurrency_limit=8, max_size=service.threads, api_open=False)


def _head(thing: str) -> tuple[gr.Button, gr.Button]:
    """The title, and the buttons that start the tour and describe a new person."""
    with gr.Row(elem_classes="ckf-head"):
        gr.HTML(
            f'<div class="ckf-title">{LOGO}<div><h1>Collaborative knowledge fusion</h1>'
            f"<p>Collaborative filtering and a small language model: what one person thinks of "
            f"one {thing}, also when almost nothing is known of them.</p></div></div>",
            apply_default_css=False,
        )
        options = {"size": "sm", "scale": 0, "min_width": 120}
        show_round = gr.Button("Show me round", elem_id="tour-again", **options)
        try_it = gr.Button("Try it yourself", variant="primary", elem_id="try", **options)
    return show_round, try_it


def _views(
    page: Page, first_answer: Answer, method_comparison: MethodComparison, spaces: Spaces
) -> dict:
    """Build every tab in the current Tabs; returns those with events, by their names."""
    recommender = page.recommender
    makers = {
        "predict": lambda: PredictTab(recommender, page.stops, first_answer),
        "topk": lambda: TopKTab(recommender, first_answer, page.ranking),
        "why": lambda: WhyTab(recommender),
        "compare": lambda: CompareTab(recommender, method_comparison),
        "cold": lambda: ColdStartTab(recommender),
        "map": lambda: MapTab(recommender, spaces),
        "results": lambda: ResultsTab(recommender),
        "data": lambda: DataTab(recommender),
        "card": lambda: ModelCardTab(recommender),
        "python": lambda: PythonTab(recommender, first_answer.pair),
    }
    views: dict = {}
    for name, make in makers.items():
        with gr.Tab(LABELS[name], id=name) as tab:
            views[name] = make()
        select = {"outputs": page.active, "js": f"() => window.ckf.tab('{name}')", **QUIET}
        tab.select(lambda name=name: name, **select)
    views["predict"].panels.append(views["topk"].panel)
    # the model card does not change
    del views["card"]
    return views


def _open(page: Page, tabs: gr.Tabs, sidebar: Sidebar, cold: ColdStartTab, topk: TopKTab) -> None:
    """Wire the opening of the page, whose address may name a pair, a tab, filters and a k."""
    recommender = page.recommender

    def read_address(current: Pair, request: gr.Request):
        """What the address names, and no more: a visitor may have chosen the rest meanwhile."""
        params = dict(request.query_params)
        # a number field without a value shows 0 until it is told
        shown: dict = {sidebar.new_age: None, page.opened: True}
        try:
            if tab := params.get("tab"):
                if tab not in TABS:
                    raise UserError(
                        f"tab={tab[:40]!r} in the address is unknown; "
                        f"choose one of {', '.join(TABS)}"
                    )
                shown |= {page.active: tab, tabs: gr.update(selected=tab)}
            things = recommender.domain.things
            pair = from_query(recommender.store, params, current, recommender.methods, things)
            if pair != current or not pair.user:
                who = gr.update(selected="known" if pair.user else "new")
                shown |= {page.pair: pair, sidebar.tabs: who}
                shown |= zip(sidebar.described, sidebar.form(pair), strict=True)
        except UserError as error:
            warn(error)
        try:
            shown |= topk.from_address(params)
        except UserError as error:
            warn(error)
        try:
            if k := params.get("k"):
                shown[cold.k] = cold.k_of(k)
        except UserError as error:
            warn(error)
        return shown

    outputs = [page.pair, page.opened, page.active, tabs, sidebar.tabs, cold.k, *topk.controls]
    page.demo.load(read_address, page.pair, [*outputs, *sidebar.described], **QUIET)
    page.demo.load(None, js="() => window.ckf.start()", **PRIVATE)
