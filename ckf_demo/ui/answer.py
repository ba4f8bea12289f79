"""An answer about a pair: what it holds, how it is made, and the words that explain it."""

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import gradio as gr

from ckf_demo.runtime.errors import UserError
from ckf_demo.ui.charts import card, facts
from ckf_demo.ui.controls import stop_button
from ckf_demo.ui.items import about_item
from ckf_demo.ui.markup import escape, film_text, panel, stars_text
from ckf_demo.ui.pair import Pair, counted

HEADINGS = {
    "positive": "Why they may like it",
    "mixed": "Why it could go either way",
    "negative": "Why it may not suit them",
}
QUOTED_WORDS = 25
WORDS = "ckf-card ckf-words"


@dataclass
class Answer:
    """What has been answered so far for a pair; fields fill up in this order.

    ``rating`` stays empty where the checkpoint knows no ratings. ``label`` names the method that
    answers, ``silence`` says why there are no words.
    """

    pair: Pair
    rating: dict | None = None
    click: dict | None = None
    comparison: list[dict] = field(default_factory=list)
    explanation: dict | None = None
    finished: bool = False
    label: str = "CKF"
    silence: str = ""


def answer_steps(recommender, pair: Pair, stop: threading.Event) -> Iterator[Answer]:
    """Answer a pair step by step: figures first, then what others say, then the words.

    Ends early once ``stop`` is set. Figures are answered even where a method writes no words.

    Raises
    ------
    UserError
        As the recommender does for figures.
    """
    question = {**pair.person, "item": pair.item}
    method = pair.method or recommender.methods[0]
    answer = Answer(pair, label=recommender.labels[method])
    if "rating" in recommender.tasks:
        answer.rating = recommender.rate(**question, method=pair.method)
    answer.click = recommender.click(**question, method=pair.method)
    yield answer
    if stop.is_set():
        return
    rows = recommender.compare(**question)
    rows.sort(key=lambda row: row["method"] != method)
    # the last digit may differ with what is computed beside it; one answer has one figure on screen
    if answer.rating is not None:
        rows[0] |= {key: answer.rating[key] for key in ("rating", "distribution")}
    rows[0]["probability"] = answer.click["probability"]
    answer.comparison = rows
    yield answer
    yield from explained(recommender, answer, stop)


def explained(
    recommender, answer: Answer, stop: threading.Event, again: int = 0
) -> Iterator[Answer]:
    """An answer as its explanation grows, or with its silence; ends soon after ``stop`` is set.

    ``again`` is how often the same was explained before.
    """
    pair = answer.pair
    if stop.is_set():
        return
    try:
        for step in recommender.explain(
            **pair.person, item=pair.item, method=pair.method, stop=stop, again=again
        ):
            yield replace(answer, explanation=step, finished="sentences" in step)
    except UserError as error:
        yield replace(answer, silence=str(error), finished=True)


def finished_answer(recommender, pair: Pair) -> Answer:
    """The complete answer for a pair, for the page that visitors land on."""
    *_, answer = answer_steps(recommender, pair, threading.Event())
    return answer


def explanation_card(recommender, answer: Answer, *, linked: bool) -> str:
    """The words so far, and what the item is about, which the words need not say.

    Films found in the history are underlined, or linked to their row.
    """
    step, about = answer.explanation, about_item(recommender, answer.pair.item)
    if step is None:
        waiting = answer.silence or (
            "Nothing was written. “Explain again” starts it."
            if answer.finished
            else "The explanation comes after the figures."
        )
        return card("Why?", facts(waiting), about, style=WORDS)
    text = escape(step["text"])
    titles = {
        escape(film["title"]): film["item"] for film in step.get("evidence", []) if film["title"]
    }
    if titles:
        # the item's own title may hold another one, as Batman Returns does
        own = escape(recommender.store.item(answer.pair.item)["title"] or "")
        held = sorted({*titles, *([own] if own else [])}, key=len, reverse=True)
        pattern = rf"(?<!\w)(?:{'|'.join(map(re.escape, held))})(?!\w)"

        def emphasise(title: re.Match) -> str:
            if title[0] not in titles:
                return title[0]
            if not linked:
                return f"<u>{title[0]}</u>"
            anchor = f"rated-{escape(titles[title[0]])}"
            return f'<a href="#{anchor}" data-jump="{anchor}">{title[0]}</a>'

        text = re.sub(pattern, emphasise, text)
    caret = "" if answer.finished else '<span class="ckf-caret" aria-hidden="true"></span>'
    time = ""
    if "seconds" in step:
        first = step.get("first_words_seconds")
        words = f"first words after {first:.2f} s, " if first is not None else ""
        time = f'<p class="ckf-time">{words}{step["seconds"]:.2f} s in all</p>'
    return card(
        HEADINGS.get(step.get("polarity", ""), "Why?"),
        f'<p aria-live="polite">{text}{caret}</p>',
        evidence_markup(recommender, step),
        about,
        time,
        style=WORDS,
    )


def _quoted(text: str) -> str:
    """The first words of a text, in quotation marks. Not escaped."""
    words = text.split()
    cut = "…" if len(words) > QUOTED_WORDS else ""
    return f"“{' '.join(words[:QUOTED_WORDS])}{cut}”"


def _named(entry: dict) -> str:
    """An item of the history, with its stars where there are ratings. Not escaped."""
    name = film_text(entry)
    return name if entry["rating"] is None else f"{name} ({stars_text(entry['rating'])})"


def evidence_markup(recommender, step: Mapping) -> str:
    """The evidence of each sentence of a finished explanation, what was left out, and the first
    draft (HTML)."""
    if "sentences" not in step:
        return ""
    thing = recommender.domain.thing
    nothing = "no source needed"
    if recommender.prepared.has_ratings:
        nothing = f"names no {thing} that they rated"
    rows = []
    for sentence in step["sentences"]:
        evidence = sentence["evidence"]
        named = ", ".join(_named(entry) for entry in evidence if "text" not in entry)
        quotes = [
            f"{film_text(entry)}: {_quoted(entry['text'])}" for entry in evidence if "text" in entry
        ]
        lines = [line for line in (named, *quotes) if line] or [nothing]
        shown = "<br>".join(map(escape, lines))
        rows.append(
            f'<li>{escape(sentence["text"])}<br><span class="ckf-facts">{shown}</span></li>'
        )
    left_out = [
        f"{counted(step[key], 'sentences')} {'was' if step[key] == 1 else 'were'} {what}"
        for key, what in (("regenerated", "written again"), ("dropped", "left out"))
        if step[key]
    ]
    checked = (
        f"Every {thing}, name, theme, rating and amount in the text was looked up. An amount is "
        "the prediction minus the prediction without that rating, as on the tab “Why”."
    )
    if recommender.prepared.has_texts:
        checked = "Every word was compared with the names and with what others wrote."
    if left_out:
        checked = f"{' and '.join(left_out)}, since the data do not support the draft. {checked}"
    draft = ""
    if step.get("draft") and step["draft"] != step["text"]:
        draft = facts("The first draft was not checked, so it may say what does not hold:")
        draft += f"<p>{escape(step['draft'])}</p>"
    return (
        f'<details class="ckf-rests"><summary>Evidence</summary><ul>{"".join(rows)}</ul>'
        f"{facts(checked)}{draft}</details>"
    )


class ExplanationPanel:
    """The explanation of the pair with its stop button; several tabs show one."""

    def __init__(self, recommender, answer: Answer, name: str, *, linked: bool) -> None:
        self.recommender, self.linked = recommender, linked
        self.words = panel(
            explanation_card(recommender, answer, linked=linked), elem_id=f"explanation-{name}"
        )
        with gr.Row(elem_classes="ckf-buttons"):
            self.stop = stop_button(f"stop-{name}", min_width=90)
            self.again = gr.Button("Explain again", size="sm", elem_id=f"again-{name}")

    @property
    def components(self) -> list:
        """What ``show`` may update."""
        return [self.words, self.stop]

    def show(self, answer: Answer, running: bool) -> dict:
        """The updates that show ``answer``."""
        return {
            self.words: explanation_card(self.recommender, answer, linked=self.linked),
            self.stop: gr.update(interactive=running),
        }
