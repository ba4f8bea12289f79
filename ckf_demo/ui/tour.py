"""The short tour of a first visit: a strip above the pair, so that it covers nothing.

Which step is shown, what it points at and whether it was dismissed is the page's business
(assets/app.js); all steps share one cell, so that the strip keeps its height.
"""

from ckf_demo.ui.markup import escape

NOW = ' class="ckf-now"'


def _steps(recommender) -> tuple[tuple[str, str, str], ...]:
    """What each step points at (a selector), its heading and its text."""
    thing, things = recommender.domain.thing, recommender.domain.things
    at, heading = "#rating", "Three answers"
    answers = "How many stars, would they like it, and why."
    if "rating" not in recommender.tasks:
        at, heading, answers = "#click", "Two answers", "Would they like it, and why."
    stars = "" if recommender.prepared.positive_only else " with stars"
    return (
        (
            "#pair",
            f"One person, one {thing}",
            "Everything here is about the pair in the bar below. Another person is chosen in the "
            f"sidebar, another {thing} in any table or map.",
        ),
        (at, heading, f"{answers} The marks show what simpler methods say of the same pair."),
        (
            "#try",
            "Nobody is unknown for long",
            f"“Try it yourself” describes a new person: two or three {things}{stars}, or a "
            "sentence. No training is needed.",
        ),
        (
            "#tabs > .tab-wrapper",
            "Other views of the same pair",
            "Rank the catalogue, see what a prediction rests on, compare methods, look at the maps "
            "and at what was measured.",
        ),
        (
            "[data-copy-link]",
            "Send what you see",
            f"“Copy link” keeps person, {thing}, moment, method and tab. The Python tab asks the "
            "same in code.",
        ),
    )


def tour_markup(recommender) -> str:
    """All steps of the tour with their buttons (HTML)."""
    shown = _steps(recommender)
    steps = "".join(
        f'<li data-at="{escape(at)}"{"" if number else NOW}><strong>{escape(heading)}</strong> '
        f"{escape(text)}</li>"
        for number, (at, heading, text) in enumerate(shown)
    )
    return (
        f'<section class="ckf-tour" aria-label="Short tour"><ol>{steps}</ol>'
        f'<p class="ckf-tour-place"><span aria-hidden="true">1 of {len(shown)}</span></p>'
        '<div class="ckf-tour-buttons">'
        '<button type="button" class="ckf-button" data-tour="back">Back</button>'
        '<button type="button" class="ckf-button ckf-strong" data-tour="next">Next</button>'
        '<button type="button" class="ckf-button" data-tour="close">Close the tour</button>'
        '</div><p class="ckf-hidden" role="status"></p></section>'
    )
