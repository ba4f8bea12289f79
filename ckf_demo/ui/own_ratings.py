"""Bring your own ratings: a dialog that takes an export or pasted lines, shows what each rating was
matched with, lets one mend it, and makes it the new person's ratings."""

from collections.abc import Sequence

import gradio as gr

from ckf_demo.data.rating_rows import SCALES, read_ratings
from ckf_demo.retrieval.own_ratings import (
    MATCHED,
    MOST,
    NOT_FOUND,
    QUESTION,
    Match,
    Matches,
    open_rows,
)
from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.downloads import Downloads
from ckf_demo.ui.events import CHOICE, PRIVATE, QUIET
from ckf_demo.ui.markup import escape, film_text, notice, panel, stars_text, warn
from ckf_demo.ui.page import Page
from ckf_demo.ui.pair import Pair
from ckf_demo.ui.reading import accepted
from ckf_demo.ui.sidebar import Sidebar

LONGEST_LINES = 100_000
"""Characters of pasted lines."""
SHOWN_OPEN = 200
"""Ratings without a match that are listed; the file holds all of them."""
FOUND = 6
RECOGNISED = "recognise it"
SCALE_NAMES: dict[str, int | None] = {RECOGNISED: None} | {f"up to {top}": top for top in SCALES}
ASK = "Who rated what? Drop a file, or paste lines."
FILM_HINT = "Fargo (1996) 4.5\nThe Third Man; 1949; 9/10\n★★★★ Alien"
HINT = "Blue lamp; 4\nRed lamp; 9/10"


class OwnRatingsDialog:
    """Builds the dialog in the current Blocks context. The sidebar's button opens it."""

    def __init__(self, recommender) -> None:
        self.recommender = recommender
        self._people = recommender.predictor.people
        self._thing, self._things = recommender.domain.thing, recommender.domain.things
        with (
            gr.Column(elem_id="own-ratings", elem_classes="ckf-dialog"),
            gr.Column(elem_classes="ckf-dialog-box"),
        ):
            panel(self._head())
            self.drop = panel(
                self._drop_zone(),
                js_on_load="window.ckf.ownRatings(element, (data) => trigger('select', data))",
                elem_id="own-drop",
            )
            with gr.Accordion("Or paste lines, or say the scale", open=False, elem_id="own-paste"):
                self.lines = gr.Textbox(
                    label="Lines: title, year, rating",
                    placeholder=FILM_HINT if self._thing == "film" else HINT,
                    lines=3,
                    max_lines=8,
                    max_length=LONGEST_LINES,
                    elem_id="own-lines",
                )
                with gr.Row(elem_classes="ckf-controls"):
                    self.scale = gr.Radio(
                        list(SCALE_NAMES),
                        value=RECOGNISED,
                        label="Scale of the ratings",
                        min_width=220,
                        elem_id="own-scale",
                    )
                    self.match = gr.Button(
                        "Match", size="sm", scale=0, min_width=110, elem_id="own-match"
                    )
            self.problem = panel("", elem_id="own-problem")
            with gr.Column(visible=False, elem_id="own-mend") as self.mend:
                self.asked = self._acting("own-asked")
                self.find = gr.Textbox(
                    label=f"Find the {self._thing}",
                    placeholder="part of a title, a name or a theme",
                    elem_id="own-find",
                )
                self.found = self._acting("own-found")
            self.listing = self._acting("own-listing")
            with gr.Row(elem_classes="ckf-dialog-end") as self.end:
                self.unmatched = Downloads("own-unmatched", "Ratings without a match:", ("csv",))
                self.use = gr.Button(
                    "Use these ratings",
                    variant="primary",
                    interactive=False,
                    scale=0,
                    min_width=200,
                    elem_id="own-use",
                )
        self.matches, self.row = gr.State(None), gr.State(None)

    @staticmethod
    def _acting(name: str) -> gr.HTML:
        """A panel whose buttons report what they are for."""
        script = "window.ckf.acts(element, (data) => trigger('select', data))"
        return panel("", js_on_load=script, elem_id=name)

    def _head(self) -> str:
        return (
            '<div class="ckf-dialog-head"><div><h2 id="own-ratings-title">Bring your ratings</h2>'
            f'<p class="ckf-facts">The {self._things} of this data set that you rated become your '
            "history. The file is read in memory, and nothing of it is stored.</p></div>"
            '<button type="button" class="ckf-button" data-close-dialog>Close</button></div>'
        )

    def _drop_zone(self) -> str:
        kinds = "A Letterboxd or IMDb export (zip or CSV), or any table of title, year and rating"
        if self._thing != "film":
            kinds = "A table of title and rating: CSV, JSON or zip"
        return (
            '<label class="ckf-drop"><input type="file" id="own-file" data-first '
            'accept=".zip,.csv,.tsv,.txt,.json,.jsonl,.gz">'
            f"<strong>Choose a file, or drop it here</strong><span>{kinds}.</span></label>"
            '<p class="ckf-facts" id="own-reading" role="status"></p>'
        )

    def wire(self, page: Page, sidebar: Sidebar) -> None:
        """Match what is given, mend matches, and make them the person's ratings."""
        sidebar.bring.click(None, js="() => window.ckf.openDialog('own-ratings')", **PRIVATE)
        shown = [self.matches, self.row, self.listing, self.use, self.mend, self.end, self.problem]
        last = {"trigger_mode": "always_last", **QUIET}
        self.drop.select(self._from_file, None, shown, **CHOICE)
        gr.on(
            [self.match.click, self.lines.submit],
            self._from_lines,
            [self.lines, self.scale],
            shown,
            **last,
        )
        self.scale.input(self._again, [self.lines, self.scale], shown, **last)
        # a file that was chosen is read again; its bytes are in the page alone
        self.scale.input(None, self.scale, js="(scale) => window.ckf.readAgain(scale)", **PRIVATE)
        for source in (self.listing, self.found, self.asked):
            source.select(
                self._act,
                self.matches,
                [*shown, self.asked, self.find, self.found],
                **CHOICE,
            )
        self.find.change(self._films, [self.find, self.matches, self.row], self.found, **last)
        self.unmatched.wire(self._open_rows, [self.matches])
        self.use.click(
            self._use(sidebar),
            [page.pair, self.matches, *sidebar.described],
            [page.pair, sidebar.draft, sidebar.tabs, self.problem],
            **QUIET,
        ).then(
            None,
            self.problem,
            js="(problem) => { if (!problem) window.ckf.closeDialog(); }",
            **PRIVATE,
        )

    # What is given

    def _from_file(self, event: gr.EventData) -> tuple:
        try:
            if event.problem:
                raise UserError(event.problem)
            return self._shown(self._people.matcher.match(accepted(event.read)))
        except UserError as error:
            return self._nothing(error)

    def _from_lines(self, lines: str | None, scale: str) -> tuple:
        try:
            read = read_ratings(lines or "", SCALE_NAMES.get(scale))
            return self._shown(self._people.matcher.match(read))
        except UserError as error:
            return self._nothing(error)

    def _again(self, lines: str | None, scale: str) -> tuple:
        """The pasted lines on another scale; nothing changes without any."""
        return self._from_lines(lines, scale) if (lines or "").strip() else (gr.skip(),) * 7

    def _nothing(self, error: UserError) -> tuple:
        off = gr.update(interactive=False, value="Use these ratings")
        closed = gr.update(visible=False)
        return None, None, "", off, closed, gr.update(), warn(error)

    def _shown(self, matches: Matches) -> tuple:
        used = min(len(matches.history()), MOST)
        label = f"Use {used:,} rating{'' if used == 1 else 's'}"
        use = gr.update(interactive=used > 0, value=label)
        return matches, None, self.markup(matches), use, gr.update(visible=False), gr.update(), ""

    # What is mended

    def _act(self, matches: Matches | None, event: gr.EventData) -> tuple:
        """Answer a question, choose another film, or leave a rating out."""
        place = int(event.row)
        if matches is None or not 0 <= place < len(matches.rows):
            return (gr.skip(),) * 10
        if event.act == "mend":
            rating = matches.rows[place].rating
            skipped = (gr.skip(),) * 2
            mine = escape(_own_text(matches.rows[place]))
            about = f"<h3>Which {self._thing} is “{mine}”?</h3> "
            about += _button("close", place, "Cancel", "")
            found = self._films(rating.title, matches, place)
            return (
                *(gr.skip(), place, *skipped),
                *(gr.update(visible=True), gr.skip(), "", about, rating.title, found),
            )
        if event.act == "choose":
            matches = matches.changed(place, self._people.item(event.item))
        elif event.act == "drop":
            matches = matches.changed(place, None)
        return (*self._shown(matches), "", "", "")

    def _films(self, text: str | None, matches: Matches | None, place: int | None) -> str:
        """Films that a search finds, each with a button that chooses it (HTML)."""
        if matches is None or place is None or not (text or "").strip():
            return ""
        films = self.recommender.search_items(text.strip(), limit=FOUND)
        if not films:
            return notice(f"No title holds “{text.strip()}”; try a shorter part of it.")
        rows = "".join(
            f"<li><span>{escape(film_text(film))}</span>"
            f"{_button('choose', place, 'This one', film_text(film), film['item'])}</li>"
            for film in films
        )
        return f'<ul class="ckf-own">{rows}</ul>'

    # What is shown

    def markup(self, matches: Matches) -> str:
        """The questions, the matches and what was not found (HTML)."""
        by_status: dict[str, list[tuple[int, Match]]] = {}
        for place, row in enumerate(matches.rows):
            by_status.setdefault(row.status, []).append((place, row))
        questions, found = by_status.get(QUESTION, []), by_status.get(MATCHED, [])
        lost = by_status.get(NOT_FOUND, [])
        parts = [self._summary(matches, len(questions), len(found), len(lost))]
        if questions:
            parts.append(_group("Please say", [self._question(*each) for each in questions]))
        if found:
            newest = [self._matched(*each) for each in reversed(found)]
            parts.append(_group(f"Matched: {len(found):,}", newest))
        if lost:
            listed = [self._lost(*each) for each in lost[:SHOWN_OPEN]]
            more = len(lost) - len(listed)
            label = f"Not found: {len(lost):,}" + (f", the first {SHOWN_OPEN} listed" * (more > 0))
            parts.append(
                f'<details class="ckf-own-lost"{"" if found else " open"}><summary>{label}'
                f"</summary>{_group('', listed)}</details>"
            )
        return "".join(parts)

    def _summary(self, matches: Matches, questions: int, found: int, lost: int) -> str:
        read = matches.read
        out = "".join(f"; {n:,} left out ({escape(why)})" for why, n in read.left_out.items())
        text = (
            f"<strong>{found:,} of {len(matches.rows):,} ratings matched</strong>"
            f"{f', {questions:,} to be asked' if questions else ''}. "
            f"Read as {escape(read.source)}, scale of {read.scale}{out}."
        )
        notes = list(read.notes)
        if matches.repeated:
            notes.append(f"Of {matches.repeated:,} repeated ratings the newest counts.")
        if len(matches.history()) > MOST:
            notes.append(f"The newest {MOST:,} are used.")
        if self.recommender.prepared.positive_only:
            notes.append("This data set knows likes alone, so only four stars and more count.")
        return f'<p class="ckf-own-sum" role="status">{text} {escape(" ".join(notes))}</p>'

    def _question(self, place: int, row: Match) -> str:
        choices = "".join(
            _button("choose", place, f"{self._film(item)}?", "", self._id(item), "ckf-strong")
            for item in row.candidates
        )
        return (
            f"<li>{_own(row)}<span class='ckf-own-ask'><span>Is it {choices}"
            f'<span class="ckf-below">{escape(row.reason)}</span></span>'
            f"{_button('mend', place, 'Another', _own_text(row))}"
            f"{_button('drop', place, 'Leave out', _own_text(row))}</span></li>"
        )

    def _matched(self, place: int, row: Match) -> str:
        film = self._film(row.item) if row.item is not None else ""
        same = film.casefold() == _own_text(row).casefold()
        shown = f'<span class="ckf-own-same">{escape(film)}</span>' if same else escape(film)
        return (
            f"<li>{_own(row)}<span class='ckf-own-film'>{shown}</span>"
            f"{_button('mend', place, 'Change', _own_text(row))}"
            f"{_button('drop', place, 'Leave out', _own_text(row))}</li>"
        )

    def _lost(self, place: int, row: Match) -> str:
        return (
            f'<li>{_own(row)}<span class="ckf-own-film ckf-facts">{escape(row.reason)}</span>'
            f"{_button('mend', place, 'Choose', _own_text(row))}</li>"
        )

    def _film(self, item: int) -> str:
        prepared = self.recommender.prepared
        year = int(prepared.years[item]) or None
        return film_text({"item": self._id(item), "title": prepared.titles[item], "year": year})

    def _id(self, item: int) -> str:
        return self.recommender.prepared.item_ids[item]

    # What becomes of it

    def _open_rows(self, matches: Matches | None) -> tuple[str, list[dict]]:
        if matches is None:
            raise UserError("There are no ratings yet; choose a file or paste lines first.")
        rows = open_rows(matches)
        if not rows:
            raise UserError("Every rating has a match, so there is nothing to save.")
        return "ratings-without-a-match", rows

    def _use(self, sidebar: Sidebar):
        def use(current: Pair, matches: Matches | None, draft: Sequence, *others) -> tuple:
            try:
                merged = self._merged(matches, draft)
            except UserError as error:
                return gr.skip(), gr.skip(), gr.skip(), warn(error)
            person = sidebar.person(current, merged, *others)
            return person, merged, gr.update(selected="new"), ""

        return use

    def _merged(self, matches: Matches | None, draft: Sequence[tuple[str, float]]) -> tuple:
        """The picks of the new person with the matched ratings, which count before older picks."""
        prepared = self.recommender.prepared
        if matches is None:
            raise UserError(ASK)
        least = prepared.liked_from if prepared.positive_only else 0
        own = {
            prepared.item_ids[item]: stars
            for item, stars in matches.history().items()
            if stars >= least
        }
        if not own:
            raise UserError("None of these ratings can be used; match another one first.")
        before = [(item, stars) for item, stars in draft if item not in own]
        return (*before, *own.items())[-MOST:]


def _group(heading: str, rows: Sequence[str]) -> str:
    over = f'<p class="ckf-over">{escape(heading)}</p>' if heading else ""
    return f'{over}<ul class="ckf-own" tabindex="0">{"".join(rows)}</ul>'


def _own(row: Match) -> str:
    return (
        f'<span class="ckf-own-mine">{escape(_own_text(row))}'
        f'<span class="ckf-own-stars">{stars_text(row.rating.stars)}&nbsp;★</span></span>'
    )


def _own_text(row: Match) -> str:
    rating = row.rating
    title = rating.title or f"No. {rating.item}"
    return f"{title} ({rating.year})" if rating.year else title


def _button(act: str, place: int, label: str, about: str, item: str = "", style: str = "") -> str:
    spoken = f' aria-label="{escape(f"{label}: {about}")}"' if about else ""
    return (
        f'<button type="button" class="ckf-button {style}" data-act="{act}" data-row="{place}" '
        f'data-item="{escape(item)}"{spoken}>{escape(label)}</button>'
    )
