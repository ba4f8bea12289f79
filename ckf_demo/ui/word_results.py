"""What words do, on the Results tab: each measured sentence."""

from functools import partial

from ckf_demo.ui.charts import cell, count, section, table_of
from ckf_demo.ui.markup import Cell, Column, percent
from ckf_demo.ui.stored_results import (
    EVERYTHING,
    GROUP_LABELS,
    VALUE,
    Results,
    Sentence,
    View,
)


def sentences_markup(results: Results, view: View) -> str:
    """The chosen measure of each sentence, one line each (HTML); empty for other tasks."""
    if view.task != "control":
        return ""
    sentences = [s for s in results.sentences if view.group in (EVERYTHING, s.kind)]
    if not sentences:
        return ""
    methods = results.own_first({row.method for row in results.chosen(view, VALUE)})
    shares = table_of(
        sentences,
        [
            (Column("Sentence", wide=True), lambda sentence: sentence.text),
            (
                Column("Kind", wide=True),
                lambda sentence: GROUP_LABELS.get(sentence.kind, sentence.kind),
            ),
            ("Fitting items", lambda sentence: Cell(f"{sentence.fitting:,}", sentence.fitting)),
            *((method, partial(_share, view.metric, method)) for method in methods),
        ],
        caption=f"{view.name}, by sentence",
        height=640,
    )
    about = (
        f"{count(len(sentences), 'sentence')}. Each share is of the ten items that a person of "
        "whom only the sentence is known gets first. Means of what fits leave out sentences that "
        "fewer than ten items fit, and the other means leave out nonsense."
    )
    return section("Sentence by sentence", about, shares)


def _share(metric: str, method: str, sentence: Sentence) -> Cell:
    return cell(sentence.share(method, metric), percent)
