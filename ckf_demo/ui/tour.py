"""The short tour of a first visit: a strip above the pair, so that it covers nothing.

Which step is shown, what it points at and whether it was dismissed is the page's business
(assets/app.js); all steps share one cell, so that the strip keeps its height.
"""

from ckf_demo.ui.markup import escape

# What each step points at (a selector), its heading and its text.
STEPS = (
    (
        "#pair",
        "One person, one film",
        "Everything here is about the pair in the bar below. Another person is chosen in the "
        "sidebar, another film in any table or map.",
    ),
    (
        "#rating",
        "Three answers",
        "How many stars, would they like it, and why. The marks show what simpler methods say of "
        "the same pair.",
    ),
    (
        "#try",
        "Nobody is unknown for long",
        "“Try it yourself” describes a new person: two or three films with stars, or a sentence. "
        "No training is needed.",
    ),
    (
        "#tabs > .tab-wrapper",
        "Other views of the same pair",
        "Rank the catalogue, see what a prediction rests on, compare methods, look at the maps and "
        "at what was measured.",
    ),
    (
        "[data-copy-link]",
        "Send what you see",
        "“Copy link” keeps person, film, moment, method and tab. The Python tab asks the same in "
        "code.",
    ),
)


def tour_markup() -> str:
    """All steps of the tour with their buttons (HTML)."""
    steps = "".join(
        f'<li data-at="{escape(at)}"{now}><strong>{escape(heading)}</strong> {escape(text)}</li>'
        for (at, heading, text), now in zip(
            STEPS, [' class="ckf-now"', *[""] * (len(STEPS) - 1)], strict=True
        )
    )
    return (
        f'<section class="ckf-tour" aria-label="Short tour"><ol>{steps}</ol>'
        f'<p class="ckf-tour-place"><span aria-hidden="true">1 of {len(STEPS)}</span></p>'
        '<div class="ckf-tour-buttons">'
        '<button type="button" class="ckf-button" data-tour="back">Back</button>'
        '<button type="button" class="ckf-button ckf-strong" data-tour="next">Next</button>'
        '<button type="button" class="ckf-button" data-tour="close">Close the tour</button>'
        '</div><p class="ckf-hidden" role="status"></p></section>'
    )
