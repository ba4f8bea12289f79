"""The fold that chooses the moment at which the pair is asked about, and the method."""

from dataclasses import replace
from datetime import UTC, datetime

import gradio as gr

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import facts
from ckf_demo.ui.events import CHOICE, QUIET
from ckf_demo.ui.markup import date_text, notice, panel
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair, opinions


class MomentControls:
    """Builds the controls in the current Blocks context."""

    def __init__(self, recommender, pair: Pair) -> None:
        self.store, self._times = recommender.store, recommender.prepared.has_times
        self._first_method, self._what = recommender.methods[0], opinions(recommender)
        title = "Choose moment and method" if self._times else "Choose the method"
        with gr.Accordion(title, open=False, elem_id="choose-moment"):
            with gr.Row(equal_height=False):
                with gr.Column(min_width=260, visible=self._times):
                    # A text field: the calendar of gr.DateTime cannot be worked by keyboard.
                    self.moment = gr.Textbox(
                        moment_text(pair.at),
                        label=f"Moment (UTC): only earlier {self._what} are known",
                        placeholder="1998-04-22 or 1998-04-22 19:10:38",
                        elem_id="moment",
                    )
                    self.default = gr.Button(
                        "Back to the default", size="sm", elem_id="moment-default"
                    )
                with gr.Column(min_width=260):
                    self.method = gr.Radio(
                        [(recommender.labels[name], name) for name in recommender.methods],
                        value=pair.method or self._first_method,
                        label="Method that answers on Predict and Top-K",
                        elem_id="method",
                    )
            about = moment_markup(self.store, pair, self._what)
            self.about = panel(about, visible=self._times, elem_id="moment-about")

    def wire(self, page: Page) -> None:
        """Let the controls change the pair, and the pair the controls."""
        pair = page.pair
        gr.on(
            [self.moment.submit, self.moment.blur],
            self.choose_moment,
            [pair, self.moment],
            [pair, self.about],
            **CHOICE,
        )

        def choose_method(current: Pair, name: str) -> Pair:
            return replace(current, method=None if name == self._first_method else name)

        self.default.click(
            lambda current: replace(current, at=self._default(current)), pair, pair, **CHOICE
        )
        self.method.input(choose_method, [pair, self.method], pair, **CHOICE)
        pair.change(self.show, pair, [self.moment, self.default, self.method, self.about], **QUIET)

    def _default(self, pair: Pair) -> int | None:
        return self.store.default_at(pair.user) if pair.user else None

    def choose_moment(self, pair: Pair, text: str | None) -> tuple:
        """The pair at the moment that was typed or picked, or a message in place."""
        if not text or not pair.user:
            return gr.skip(), gr.skip()
        try:
            at = read_moment(text)
        except UserError as error:
            return gr.skip(), notice(str(error), "problem")
        if at == pair.at:
            return gr.skip(), moment_markup(self.store, pair, self._what)
        return replace(pair, at=at), gr.skip()

    def show(self, pair: Pair) -> tuple:
        """The controls as the pair has them."""
        known = pair.user is not None
        return (
            gr.update(value=moment_text(pair.at), interactive=known),
            gr.update(interactive=known and pair.at != self._default(pair)),
            pair.method or self._first_method,
            moment_markup(self.store, pair, self._what),
        )


def moment_text(at: int | None) -> str:
    """Seconds since 1970 as they are typed: "1998-04-22 19:10:38", UTC; nothing for now."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds")[:19]


def read_moment(text: str) -> int:
    """A date with or without time, in UTC, as seconds since 1970.

    Raises
    ------
    UserError
        When the text is no date.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UserError(
            f"{text[:40]!r} is no date; write it as 1998-04-22 or 1998-04-22 19:10:38"
        ) from error
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def moment_markup(store, pair: Pair, what: str = "ratings") -> str:
    """What the moment means for the pair: its default, and how much lies before it (HTML).

    ``what`` is as in `opinions`.
    """
    if not pair.user:
        return notice(
            f"The {what} of a new person carry no dates. The moment is now, and all of them are "
            "known."
        )
    default = date_text(store.default_at(pair.user))
    before, later = len(store.history(pair.user, pair.at)), len(store.later(pair.user, pair.at))
    return facts(
        f"The default of user {pair.user} is {default}. At the chosen moment {before} of their "
        f"{before + later} {what} are known and {later} come later."
    )
