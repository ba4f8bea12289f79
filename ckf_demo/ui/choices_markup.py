"""What the page of choices shows, as HTML: what is likely, why, what next, and what is known.

``thing`` is what the data call an item, such as "place".
"""

import html
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from ckf_demo.ui.markup import (
    Cell,
    Column,
    Row,
    escape,
    film_text,
    notice,
    percent,
    plain_table,
    present,
    table,
)
from ckf_demo.ui.pair import Pair, counted, history_of

GRID = "rgba(128, 128, 128, 0.22)"
# Letters of a method's name on one line beside its bar.
BAR_LABEL = 16


def name_cell(item: Mapping, note: str = "") -> Cell:
    """A name with a note below it, as a table's cell."""
    name = film_text(item)
    below = f'<span class="ckf-below">{escape(note)}</span>' if note else ""
    return Cell(f"{escape(name)}{below}", name)


def number_note(item: Mapping) -> str:
    """The id of an item whose title others may have as well."""
    return f"No. {item['item']}" if present(item["title"]) else ""


def choices_bar(store, pair: Pair, thing: str) -> str:
    """The slim bar: who and what, and what is known of them.

    It carries the pair's query, from which the page makes a link.
    """
    item, known = store.item(pair.item), len(history_of(store, pair))
    name = f"User {pair.user}" if pair.user else "New person"
    moment = f"Known are the {thing}s that you added."
    if pair.user:
        moment = f"Known are the {thing}s that they chose earlier; later ones are left out."
    times = counted(int(item["n_ratings"]), "times")
    facts = " · ".join(filter(None, [number_note(item), f"chosen {times} in the training part"]))
    return (
        f'<div class="ckf-pair" data-query="{escape(pair.query())}">'
        f'<div class="ckf-who"><span class="ckf-over">Who</span><strong>{escape(name)}</strong>'
        f'<span class="ckf-facts">{counted(known, f"{thing}s")} known</span></div>'
        '<div class="ckf-times" aria-hidden="true">×</div>'
        f'<div class="ckf-what"><span class="ckf-over">{thing.capitalize()}</span>'
        f"<strong>{escape(film_text(item))}</strong>"
        f'<span class="ckf-facts">{escape(facts)}</span></div>'
        f'<div class="ckf-when"><span class="ckf-over">What counts</span>{moment}'
        '<span class="ckf-share"><button type="button" class="ckf-button" data-copy-link>Copy link'
        '</button> <span class="ckf-said" role="status"></span></span></div></div>'
    )


def chances(rows: Sequence[tuple[str, float]], thing: str) -> str:
    """How probably they would like it by each method, ``(label, probability)``, own first."""
    spoken = "; ".join(f"{label}: {percent(value)}" for label, value in rows)
    figures = plain_table(
        ["Method", "Would like it"],
        [(label, f"{100 * value:.1f} %") for label, value in rows],
        f"Probability that they would like the {thing}, by method",
    )
    return (
        '<section class="ckf-card"><h3>Would they like it?</h3>'
        f'<p class="ckf-figure"><strong>{percent(rows[0][1])}</strong></p>'
        f'<p class="ckf-facts">The probability that they choose this {thing}, asked against one '
        f"{thing} that they did not choose, popular ones drawn more often: 50 % says nothing "
        "either way. It is not comparable with a rating.</p>"
        f'<div role="img" aria-label="Bars of the probability by method. {escape(spoken)}" '
        f'data-figure="{escape(_bars(rows))}"></div>{figures}</section>'
    )


def _bars(rows: Sequence[tuple[str, float]]) -> str:
    """The bars as Plotly's JSON, the first on top; the page gives them their colours."""
    # Plotly reads a few tags in its texts.
    labels = [
        "<br>".join(textwrap.wrap(html.escape(label, quote=False), BAR_LABEL)) for label, _ in rows
    ]
    values = [value for _, value in rows]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": values,
        "y": labels,
        "width": 0.55,
        "text": [percent(value) for value in values],
        "textposition": "auto",
        "hovertemplate": "%{x:.1%}<extra></extra>",
    }
    even = {
        "type": "line",
        "layer": "below",
        "x0": 0.5,
        "x1": 0.5,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": "rgba(128, 128, 128, 0.9)", "dash": "dot"},
    }
    layout = {
        "height": 52 * len(rows) + 44,
        "margin": {"l": 8, "r": 28, "t": 6, "b": 32},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {
            "range": [0, 1],
            "tickformat": ".0%",
            "tickangle": 0,
            "dtick": 0.25,
            "gridcolor": GRID,
            "zeroline": False,
            "fixedrange": True,
        },
        "yaxis": {
            "autorange": "reversed",
            "automargin": True,
            "ticks": "",
            "fixedrange": True,
        },
        "shapes": [even],
        "dragmode": False,
    }
    return json.dumps({"data": [bars], "layout": layout})


def words_card(step: Mapping | None, item: str, thing: str) -> str:
    """The explanation: as it is written, or sentence by sentence with what each rests on.

    ``item`` is the id of what it is about. ``step`` is one of `Recommender.explain`, None before
    anything is written, or ``{"problem"}`` where nothing could be.
    """
    said = '<p class="ckf-facts">“Explain” writes it, from what people wrote and chose.</p>'
    if step:
        said = said_markup(step, item, thing)
    return f'<section class="ckf-card ckf-words"><h3>Why?</h3>{said}</section>'


def said_markup(step: Mapping, item: str, thing: str) -> str:
    """What an explanation says, without a card around it; as `words_card` takes it."""
    if "problem" in step:
        return notice(step["problem"], "problem")
    if "sentences" in step:
        return _finished(step, item, thing)
    return (
        f'<p aria-live="polite">{escape(step["text"])}'
        '<span class="ckf-caret" aria-hidden="true"></span></p>'
        '<p class="ckf-facts">Being written; held against what people wrote at the end.</p>'
    )


def _finished(step: Mapping, item: str, thing: str) -> str:
    sentences = "".join(
        f"<li>{escape(own['text'])}{_rests_on(own['evidence'], item, thing)}</li>"
        for own in step["sentences"]
    )
    said = f'<ul class="ckf-films">{sentences}</ul>'
    if not sentences:
        said = f"<p>{escape(step['text'] or 'Nothing was written.')}</p>"
    return (
        f'{said}<p class="ckf-facts">{_held(step)}</p>'
        f'<p class="ckf-time">{step["seconds"]:.2f} s</p>'
    )


def _rests_on(evidence: Iterable[Mapping], item: str, thing: str) -> str:
    """What a sentence rests on, a line each."""
    lines = []
    for own in evidence:
        name = escape(film_text(own))
        if "text" not in own:
            line = f"{name}, a {thing} of their history that the same people chose"
        else:
            by = "somebody" if own["item"] == item else "they themselves"
            line = f"“{escape(own['text'])}” ({by} about {name})"
        lines.append(f'<p class="ckf-facts">Rests on: {line}</p>')
    return "".join(lines) or '<p class="ckf-facts">Says nothing that would need a source.</p>'


def _held(step: Mapping) -> str:
    counts = [
        f"{counted(step[key], 'sentences')} {'was' if step[key] == 1 else 'were'} {what}"
        for key, what in (("regenerated", "written once more"), ("dropped", "left out"))
        if step[key]
    ]
    if not counts:
        return "Every sentence of the first draft was borne out; none was left out."
    return f"{' and '.join(counts)}, since nobody’s words bore out what was said."


def draft_markup(step: Mapping | None) -> str:
    """What was written at first, marked as such."""
    draft = (step or {}).get("draft")
    if not draft:
        return notice("The first draft stands here once an explanation is written.")
    return (
        '<p class="ckf-facts">This was not held against anything: it may say what nobody wrote.</p>'
        f"<p>{escape(draft)}</p>"
    )


def next_table(rows: Iterable[Mapping], chosen: str, thing: str) -> str:
    """The ranked list; the row of the item in question is marked."""
    listed = [
        Row(
            pick=row["item"],
            selected=row["item"] == chosen,
            cells=[
                row["rank"],
                name_cell(row, "chosen later" if row["later_rating"] is not None else ""),
                row["collaborative_rank"],
            ],
        )
        for row in rows
    ]
    listing = table(
        [
            Column("Rank", numeric=True),
            Column(thing.capitalize(), pick=True, wide=True),
            Column("Rank by the collaborative model", numeric=True),
        ],
        listed,
        caption="Best first; select one to ask about it",
        empty=f"No {thing} is left to propose.",
        height=560,
    )
    heading = f"{thing.capitalize()}s next"
    return f'<section class="ckf-card"><h3>{heading}</h3>{listing}</section>'


def before_markup(store, pair: Pair, thing: str) -> str:
    """What they chose before with a title, latest first, and how many have none."""
    history = list(enumerate(history_of(store, pair), start=1))[::-1]
    titled = [(place, own) for place, own in history if present(own["title"])]
    rows = [
        Row(pick=None, cells=[place, name_cell(own, number_note(own))]) for place, own in titled
    ]
    untitled = len(history) - len(titled)
    listing = table(
        [Column("As number", numeric=True), Column(thing.capitalize(), wide=True)],
        rows,
        caption="Latest first",
        empty=f"No {thing} with a title is known of them.",
        height=330,
    )
    more = f"{counted(untitled, f'{thing}s')} without a title counted as well." if untitled else ""
    return (
        '<section class="ckf-card"><h3>What they chose before</h3>'
        f'<p class="ckf-facts">{counted(len(titled), f"{thing}s")} with a title. {more}</p>'
        f"{listing}</section>"
    )


def found_table(items: Iterable[Mapping], text: str, thing: str) -> str:
    """Items whose title holds ``text``, to choose one from."""
    if not text.strip():
        return notice(f"Type part of a title; a row of “{thing.capitalize()}s next” does as well.")
    return table(
        [Column(thing.capitalize(), pick=True, wide=True), Column("Chosen", numeric=True)],
        [
            Row(
                pick=item["item"],
                cells=[name_cell(item, number_note(item)), int(item["n_ratings"])],
            )
            for item in items
        ],
        caption=f"{thing.capitalize()}s found",
        empty=f"No title holds “{text.strip()}”; try a shorter part of it.",
        height=260,
    )


def pick_list(items: Iterable[Mapping], draft: Sequence[str], caption: str) -> str:
    """Items with a button each that adds it to the draft or removes it."""
    rows = []
    for item in items:
        number, name = str(item["item"]), film_text(item)
        known = number in draft
        word = "Remove" if known else "Add"
        remove = ' data-remove="1"' if known else ""
        rows.append(
            f'<li><span class="ckf-rate"><span>{escape(name)}'
            f'<span class="ckf-below">{escape(number_note(item))}</span></span>'
            f'<button type="button" class="ckf-remove" data-pick="{escape(number)}"{remove} '
            f'aria-label="{escape(f"{word} {name}")}">{word}</button></span></li>'
        )
    return f'<p class="ckf-over">{escape(caption)}</p><ul class="ckf-films">{"".join(rows)}</ul>'
